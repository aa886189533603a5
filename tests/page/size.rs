//! How much the modules weigh, and whether the types of `stream.js` are right.

use std::fs;
use std::io::Write;
use std::process::Command;

use flate2::Compression;
use flate2::write::GzEncoder;
use tests::root;

/// The modules, with the bytes that they may have for a page: compressed, without comments.
const MODULES: [(&str, usize); 2] = [("stream.js", 3_500), ("shared.js", 1_500)];

#[test]
fn the_modules_are_small() {
    for (name, most) in MODULES {
        let text = fs::read_to_string(root().join("examples/page").join(name));
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        gzip.write_all(without_comments(&text.unwrap()).as_bytes()).unwrap();
        let size = gzip.finish().unwrap().len();
        println!("{name}: {size} bytes");
        assert!(size <= most, "{name}: {size} bytes, not {most}");
    }
}

/// A script without its comments and empty lines. No string of these modules has a comment's
/// beginning behind a space.
fn without_comments(text: &str) -> String {
    let mut code = String::new();
    for (n, part) in text.split("/*").enumerate() {
        let part = if n == 0 { part } else { part.split_once("*/").unwrap().1 };
        code += part;
    }
    let lines = code.lines().map(|line| {
        let end = if line.trim_start().starts_with("//") {
            Some(0)
        } else {
            line.find(" //")
        };
        line[..end.unwrap_or(line.len())].trim_end()
    });
    lines.filter(|line| !line.is_empty()).flat_map(|line| [line, "\n"]).collect()
}

#[test]
#[ignore = "needs its package: tests/sdk/install"]
fn the_types_of_the_module_are_right() {
    let check = Command::new("node")
        .arg(root().join("target/sdk/node/node_modules/typescript/bin/tsc"))
        .args([
            "--allowJs",
            "--checkJs",
            "--strict",
            "--noEmit",
            "--target",
            "es2023",
        ])
        .args(["--lib", "es2023,dom,dom.iterable", "--module", "esnext"])
        .arg(root().join("examples/page/stream.js"))
        .output()
        .expect("Node (nodejs)");
    let said = String::from_utf8_lossy(&check.stdout);
    assert!(
        check.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&check.stderr)
    );
}
