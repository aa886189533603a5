//! How long a reader of the book waits for each engine.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Result, ensure};
use record::{output, root, version};

use crate::report::row;

/// Name, dependency, and a line that uses it.
const PACKAGES: [(&str, &str); 3] = [
    ("redb", "redb = \"=V\""),
    ("fjall", "fjall = \"=V\""),
    (
        "rusqlite",
        "rusqlite = { version = \"=V\", default-features = false, features = [\"bundled\", \"cache\"] }",
    ),
];

/// The table in Markdown.
pub fn table(dir: &Path) -> Result<String> {
    let mut table = "| cold debug build, `-j2` | seconds | crates | C compiler |\n\
         | --- | --: | --: | --- |\n"
        .to_string();
    for (name, dependency) in PACKAGES {
        eprintln!("{name}: build");
        let package = dir.join(name);
        fs::create_dir_all(package.join("src"))?;
        let dependency = dependency.replace('V', &version(name)?);
        fs::write(
            package.join("Cargo.toml"),
            format!(
                "[package]\nname = \"alone\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n\
                 [dependencies]\n{dependency}\n\n[workspace]\n"
            ),
        )?;
        fs::write(package.join("src/main.rs"), "fn main() {}\n")?;
        fs::copy(root().join("bench/Cargo.lock"), package.join("Cargo.lock"))?;
        let manifest = package.join("Cargo.toml");
        let manifest = manifest.to_string_lossy();
        let cargo = |args: &[&str]| {
            let mut command = Command::new("cargo");
            command.args(args).args(["--quiet", "--manifest-path", &manifest]);
            command.env("CARGO_TARGET_DIR", package.join("target"));
            command
        };
        ensure!(cargo(&["fetch"]).status()?.success(), "cannot fetch {name}");
        let args = [
            "tree",
            "-e",
            "normal,build",
            "--prefix",
            "none",
            "--manifest-path",
            &manifest,
        ];
        let tree = output("cargo", &args)?;
        let mut crates: Vec<_> =
            tree.lines().map(|line| line.trim_end_matches(" (*)")).collect();
        crates.sort_unstable();
        crates.dedup();
        let needs_c = crates.iter().any(|line| line.starts_with("cc v"));
        let start = Instant::now();
        ensure!(cargo(&["build", "-j2"]).status()?.success(), "cannot build {name}");
        let seconds = start.elapsed().as_secs_f64();
        table += &row([
            format!("{name} {}", version(name)?),
            format!("{seconds:.1}"),
            // But itself.
            (crates.len() - 1).to_string(),
            if needs_c { "yes" } else { "no" }.into(),
        ]);
    }
    Ok(table)
}
