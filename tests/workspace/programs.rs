//! The places where a program must be entered, and the promises of its folder.

use std::fs;
use std::path::Path;

use tests::root;

use crate::manifests::{PROGRAMS, TESTS, entries, folders, targets};

/// Programs whose tests stand in a file of another program's folder.
const TESTED_ELSEWHERE: &[(&str, &str)] = &[
    ("chat_naive", "tests/chat/naive.rs"),
    ("client_first", "tests/client/first.rs"),
    ("feed_naive", "tests/feed/small.rs"),
    ("llm_small", "tests/llm/small.rs"),
];

/// Packages of programs so small that the README has one row for all of them.
const IN_ONE_ROW: &[&str] = &["cures", "waiting"];

/// Programs that the book does not mount under `/live/`, with the reason.
const NOT_MOUNTED: &[(&str, &str)] = &[
    ("hello", "it has no router: it needs no crate"),
    ("chat_naive", "it is wrong on purpose"),
    ("client", "it is no server"),
    ("client_first", "it is no server"),
    (
        "feed_naive",
        "it is wrong on purpose, and becomes `feed_small`, which has no page",
    ),
    ("llm_small", "`llm` is mounted, which is the same for a reader"),
    ("cures", "they are many, have no page, and are there to be copied"),
    ("waiting", "they are no servers: they print, and end"),
];

/// Folders of the tests that hold something else than a target.
const NO_TARGETS: [(&str, &str); 6] = [
    ("harness", "the library that the targets use"),
    ("model-servers", "recorded answers of real model servers"),
    ("pages", "pages and scripts for the browser"),
    ("preload", "a library in C that the system loads"),
    ("recorded", "large runs: `harness/whole.rs` writes them down"),
    ("sdk", "clients in other languages"),
];

fn read(file: &str) -> String {
    fs::read_to_string(root().join(file))
        .unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// The pages that the English SUMMARY lists, as one text.
fn chapters() -> String {
    let summary = read("src/en/SUMMARY.md");
    let links =
        summary.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let pages = links.filter(|page| !page.is_empty());
    pages.map(|page| read(&format!("src/en/{page}"))).collect()
}

/// Each entry that a new program needs, and that nothing else would miss.
#[test]
fn a_program_is_entered_in_every_place() {
    let readme = read("README.md");
    let contract = read("tests/contract/main.rs");
    let mounts = read("site/src/programs.rs");
    let chapters = chapters();
    let mut forgotten = Vec::new();
    let mut expect = |holds: bool, program: &str, place: &str| {
        if !holds {
            forgotten.push(format!("{program}: {place}"));
        }
    };
    for (folder, manifest) in &*PROGRAMS {
        for (program, _) in targets(manifest, "example") {
            let in_one_row = IN_ONE_ROW.contains(&&**folder);
            let name = if in_one_row { folder } else { program };
            let row = format!("\n| [`{name}`]");
            expect(readme.contains(&row), program, "README.md has no row");
            let rows =
                [format!("\n    {program} {{\n"), format!("(\"{program}\", ")];
            let has_row = rows.iter().any(|row| contract.contains(row));
            expect(has_row, program, "tests/contract/main.rs has no row");
        }
        let elsewhere = TESTED_ELSEWHERE.iter().find(|(name, _)| name == folder);
        let own = format!("tests/{folder}/main.rs");
        let file = elsewhere.map_or(&*own, |(_, file)| file);
        let is_tested =
            fs::read_to_string(root().join(file)).is_ok_and(|text| !text.is_empty());
        expect(is_tested, folder, &format!("there is no {file}"));
        let is_mounted =
            mounts.contains(&format!("\"../../examples/{folder}/main.rs\""));
        let is_exempt = NOT_MOUNTED.iter().any(|(name, _)| name == folder);
        expect(
            is_mounted != is_exempt,
            folder,
            "site/src/programs.rs does not mount it (or NOT_MOUNTED is out of date)",
        );
        let included = format!("../../examples/{folder}/");
        expect(chapters.contains(&included), folder, "no chapter shows its code");
    }
    assert!(forgotten.is_empty(), "forgotten: {forgotten:#?}");
}

#[test]
fn the_readme_links_each_program_to_its_chapter_and_its_tests() {
    let readme = read("README.md");
    let rows: Vec<_> =
        readme.lines().filter(|line| line.starts_with("| [`")).collect();
    assert!(rows.len() >= PROGRAMS.len());
    for row in rows {
        let links: Vec<_> = row.split("](").skip(1).collect();
        assert!(links.len() >= 3, "program, chapter and tests: {row}");
        for link in links {
            let (file, _) = link.split_once(')').unwrap();
            assert!(root().join(file).exists(), "README.md names {file}");
        }
    }
}

/// Cargo compiles no folder of tests that is not entered, and says nothing.
#[test]
fn every_folder_of_tests_is_a_target_and_every_target_a_folder() {
    let targets = targets(&TESTS, "test");
    for folder in folders(&root().join("tests")) {
        let path = format!("{folder}/main.rs");
        let is_target = targets.contains(&(&*folder, &*path));
        let has_main = root().join("tests").join(&path).is_file();
        let is_exempt = NO_TARGETS.iter().any(|(name, _)| *name == folder);
        assert_eq!(
            is_target, has_main,
            "tests/{folder} and the [[test]]s of tests/Cargo.toml disagree"
        );
        assert!(has_main != is_exempt, "tests/{folder} has no main.rs");
    }
    for (name, path) in targets {
        assert_eq!(path, format!("{name}/main.rs"), "a target is a folder");
        assert!(
            root().join("tests").join(path).is_file(),
            "there is no tests/{path}"
        );
    }
}

/// A file of tests that no `mod` names is not compiled, either.
#[test]
fn every_file_of_tests_is_a_module() {
    for folder in folders(&root().join("tests")) {
        assert_modules(&root().join("tests").join(folder));
    }
}

fn assert_modules(folder: &Path) {
    let files = entries(folder);
    let text: String = files
        .iter()
        .filter(|path| path.extension().is_some_and(|kind| kind == "rs"))
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    for path in files {
        let name = path.file_stem().unwrap().to_str().unwrap();
        let is_rust = path.extension().is_some_and(|kind| kind == "rs");
        if path.is_dir() {
            assert_modules(&path);
        } else if is_rust && !["main", "lib", "mod"].contains(&name) {
            // A file beside a folder of its name, or in the folder of its parent.
            let parent = folder.with_extension("rs");
            let parent = fs::read_to_string(parent).unwrap_or_default();
            let is_named = [&text, &parent]
                .iter()
                .any(|text| text.contains(&format!("mod {name};")));
            assert!(is_named, "no `mod {name};` compiles {path:?}");
        }
    }
}

/// The lints stand in each manifest, so that a copied folder keeps them.
#[test]
fn no_program_may_panic_and_its_manifest_says_so() {
    for (folder, manifest) in &*PROGRAMS {
        // It shows how a program fails that was written without a second thought.
        let level = if folder == "chat_naive" { "allow" } else { "deny" };
        let lints = manifest.get("lints").and_then(|lints| lints.get("clippy"));
        for lint in ["unwrap_used", "expect_used"] {
            let found = lints.and_then(|lints| lints.get(lint)?.as_str());
            assert_eq!(found, Some(level), "{lint} in examples/{folder}/Cargo.toml");
        }
    }
}

/// Each program's folder is complete, so some files stand in several of them.
#[test]
fn a_file_that_several_programs_have_is_the_same_in_each() {
    let copies = [
        ("parser.rs", &["client", "client_first", "llm"][..]),
        (
            "edge.rs",
            &["boxes", "chat", "faults", "feed", "llm", "page", "progress", "wire"],
        ),
        ("stream.js", &["page", "chat", "feed", "llm"]),
    ];
    for (file, folders) in copies {
        let text = |folder: &str| read(&format!("examples/{folder}/{file}"));
        for folder in folders {
            let is_same = text(folder) == text(folders[0]);
            let first = folders[0];
            assert!(
                is_same,
                "examples/{folder}/{file} is not examples/{first}/{file}"
            );
        }
    }
}

#[test]
fn every_script_of_the_theme_is_loaded() {
    let loaders = ["book.toml", "theme/index.hbs"].map(read).concat();
    for entry in fs::read_dir(root().join("theme")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(
            !name.ends_with(".js") || loaders.contains(&name),
            "book.toml does not name theme/{name} in additional-js"
        );
    }
}
