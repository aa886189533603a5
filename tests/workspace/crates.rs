//! The crates that packages need, and the crates that their readers build.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

use tests::root;

use crate::manifests::{ALL, PROGRAMS, dependencies, targets};

/// Crates that `tick` may need in all, itself among them.
const MOST_CRATES: usize = 115;

/// Crates that have nothing to do with a reader's first program.
const HEAVY: [&str; 9] = [
    "reqwest",
    "rustls",
    "aws-lc",
    "mdbook",
    "thirtyfour",
    "fantoccini",
    "quinn",
    "salvo-http3",
    "#h2@",
];

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
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for manifest in ALL.values() {
        for kind in ["dependencies", "dev-dependencies"] {
            for (name, wanted) in dependencies(manifest, kind) {
                // A package of this repository has a path instead.
                let Some(version) =
                    wanted.as_str().or_else(|| wanted.get("version")?.as_str())
                else {
                    continue;
                };
                versions.entry(name).or_default().insert(version);
            }
        }
    }
    for (name, versions) in versions {
        assert_eq!(versions.len(), 1, "{name}: {versions:?}");
    }
}

#[test]
fn packages_inherit_nothing_so_that_a_copy_builds() {
    for (name, manifest) in &*ALL {
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
    // The sentence may break its line anywhere.
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let words = readme.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        words.contains(&format!("and `tick` {tick} in all (")),
        "README.md: it is {tick}"
    );
}

/// The crates that `cargo run --example` builds at the root, by Cargo's own plan. Printing
/// the plan is unstable, and the variable lets a stable Cargo do it.
fn built(example: &str) -> BTreeSet<String> {
    built_with(example, "")
}

/// The same, with these features of packages.
fn built_with(example: &str, features: &str) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .current_dir(root())
        .env("RUSTC_BOOTSTRAP", "1")
        .args(["build", "--locked", "--example", example, "--features", features])
        .args(["--unit-graph", "-Zunstable-options"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let plan: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let units = plan["units"].as_array().unwrap().iter();
    units.map(|unit| unit["pkg_id"].as_str().unwrap().to_string()).collect()
}

/// A program builds a heavy crate only if its own manifest names one.
#[test]
fn running_an_example_from_the_root_builds_no_heavy_crate() {
    let mut heavy = Vec::new();
    for (program, manifest) in &*PROGRAMS {
        let (example, _) = targets(manifest, "example")[0];
        let built = built(example);
        assert!(built.iter().any(|id| id.contains(&format!("/{program}#"))));
        let found: Vec<_> = HEAVY
            .iter()
            .filter(|heavy| built.iter().any(|id| id.contains(*heavy)))
            .collect();
        let wants_one = dependencies(manifest, "dependencies")
            .any(|(name, _)| HEAVY.contains(&name));
        if wants_one {
            heavy.push(program.as_str());
            assert!(!found.is_empty(), "this test finds nothing in {program}");
        } else {
            assert!(found.is_empty(), "{program} builds {found:?}");
        }
    }
    assert_eq!(
        heavy,
        ["client", "client_first", "cures", "llm", "llm_small"],
        "programs that need a heavy crate"
    );
}

/// HTTP/2 and HTTP/3 are a feature of `boxes`. Without it, not even `boxes` builds them.
#[test]
fn http_2_and_3_are_built_only_where_a_reader_asks_for_them() {
    let crates = ["#h2@", "quinn", "rustls", "salvo-http3"];
    let has = |built: &BTreeSet<String>, name: &str| {
        built.iter().any(|id| id.contains(name))
    };
    for program in ["tick", "boxes"] {
        let without = built(program);
        let found = crates.iter().find(|name| has(&without, name));
        assert_eq!(found, None, "in what `cargo run --example {program}` builds");
    }
    let with = built_with("boxes", "boxes/tls");
    let lacking = crates.iter().find(|name| !has(&with, name));
    assert_eq!(lacking, None, "with the feature");
}
