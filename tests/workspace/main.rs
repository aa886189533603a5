//! What the packages promise to those who copy or build them.

mod mounted;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use tests::cases::cases;
use tests::root;

/// Crates that `tick` may need in all, itself among them.
const MOST_CRATES: usize = 115;

fn manifests() -> BTreeMap<String, toml::Table> {
    let mut manifests = BTreeMap::new();
    for folder in fs::read_dir(root().join("examples")).unwrap().flatten() {
        let text = fs::read_to_string(folder.path().join("Cargo.toml")).unwrap();
        let name = folder.file_name().to_string_lossy().to_string();
        manifests.insert(name, text.parse().unwrap());
    }
    for name in ["site", "tests"] {
        let text = fs::read_to_string(root().join(name).join("Cargo.toml")).unwrap();
        manifests.insert(name.to_string(), text.parse().unwrap());
    }
    manifests
}

/// Crates that have nothing to do with a reader's first program.
const HEAVY: [&str; 6] =
    ["reqwest", "rustls", "aws-lc", "mdbook", "thirtyfour", "fantoccini"];

/// The crates that `cargo tree` lists, each once.
fn crates(arguments: &[&str]) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .current_dir(root())
        .args(["tree", "--locked", "--prefix", "none"])
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tree = String::from_utf8(output.stdout).unwrap();
    tree.lines().map(|line| line.trim_end_matches(" (*)").to_string()).collect()
}

#[test]
fn a_crate_has_one_version_in_all_packages() {
    let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for manifest in manifests().values() {
        for kind in ["dependencies", "dev-dependencies"] {
            let Some(table) = manifest.get(kind).and_then(|kind| kind.as_table())
            else {
                continue;
            };
            for (name, wanted) in table {
                // A package of this repository has a path instead.
                let Some(version) =
                    wanted.as_str().or_else(|| wanted.get("version")?.as_str())
                else {
                    continue;
                };
                versions.entry(name.clone()).or_default().insert(version.into());
            }
        }
    }
    for (name, versions) in versions {
        assert_eq!(versions.len(), 1, "{name}: {versions:?}");
    }
}

#[test]
fn packages_inherit_nothing_so_that_a_copy_builds() {
    for (name, manifest) in manifests() {
        assert!(
            !manifest.to_string().contains("workspace = true"),
            "{name} inherits"
        );
        let package = &manifest["package"];
        assert_eq!(package["edition"].as_str(), Some("2024"), "{name}");
        assert_eq!(package["rust-version"].as_str(), Some("1.95"), "{name}");
    }
}

#[test]
fn hello_needs_no_crate_and_tick_a_bounded_number() {
    assert_eq!(crates(&["-p", "hello", "-e", "normal"]).len(), 1);
    let tick = crates(&["-p", "tick", "-e", "normal"]).len();
    assert!(tick <= MOST_CRATES, "{tick} crates");
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    assert!(
        readme.contains(&format!("\n{tick} in all (")),
        "README.md: it is {tick}"
    );
}

/// The crates that `cargo run --example` builds at the root, by Cargo's own plan. Printing
/// the plan is unstable, and the variable lets a stable Cargo do it.
fn built(example: &str) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .current_dir(root())
        .env("RUSTC_BOOTSTRAP", "1")
        .args(["build", "--locked", "--example", example])
        .args(["--unit-graph", "-Zunstable-options"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let plan: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let units = plan["units"].as_array().unwrap().iter();
    units.map(|unit| unit["pkg_id"].as_str().unwrap().to_string()).collect()
}

#[test]
fn running_an_example_from_the_root_builds_no_heavy_crate() {
    let heavy = |example| {
        let built = built(example);
        assert!(built.iter().any(|id| id.contains(&format!("/{example}#"))));
        HEAVY.iter().any(|heavy| built.iter().any(|id| id.contains(heavy)))
    };
    for light in ["hello", "tick", "wire", "faults", "chat_naive", "chat"] {
        assert!(!heavy(light), "{light}: {:?}", built(light));
    }
    assert!(heavy("llm"), "this test finds nothing");
}

#[test]
fn the_readme_names_every_program_its_chapter_and_its_tests() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    for folder in fs::read_dir(root().join("examples")).unwrap().flatten() {
        let name = folder.file_name().to_string_lossy().to_string();
        let row =
            readme.lines().find(|line| line.starts_with(&format!("| [`{name}`]")));
        let row = row.unwrap_or_else(|| panic!("README.md has no row for {name}"));
        let links: Vec<_> = row.split("](").skip(1).collect();
        assert!(links.len() >= 3, "program, chapter and tests: {row}");
        for link in links {
            let (file, _) = link.split_once(')').unwrap();
            assert!(root().join(file).is_file(), "README.md names {file}");
        }
    }
}

/// The Rust sources in a folder and the folders in it, as one text.
fn sources(folder: &Path) -> String {
    let mut text = String::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            text += &sources(&path);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            text += &fs::read_to_string(path).unwrap();
        }
    }
    text
}

/// Pages name tests and cases; a name that is none sends a reader astray.
#[test]
fn every_test_and_case_that_a_page_names_is_there() {
    let tests =
        ["tests", "site/tests"].map(|name| sources(&root().join(name))).concat();
    let cases: BTreeSet<_> = cases().into_iter().map(|case| case.name).collect();
    for language in ["en", "it"] {
        for page in
            fs::read_dir(root().join("src").join(language)).unwrap().flatten()
        {
            let page = page.path();
            let text = fs::read_to_string(&page).unwrap_or_default();
            // In code spans; a name of a test is a sentence.
            for name in text.split('`').skip(1).step_by(2) {
                let is_name = name.matches('_').count() > 2
                    && name.chars().all(|c| {
                        c.is_ascii_lowercase() || c == '_' || c.is_ascii_digit()
                    });
                assert!(
                    !is_name || tests.contains(&format!("fn {name}(")),
                    "{page:?} names {name}"
                );
            }
            for (_, names) in
                text.lines().filter_map(|line| line.split_once(" cases: "))
            {
                for name in names.split('*').skip(1).step_by(2) {
                    assert!(cases.contains(name), "{page:?} names {name}");
                }
            }
        }
    }
}
