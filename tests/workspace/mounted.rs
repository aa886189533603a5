//! The book compiles the programs that it mounts into itself, so it needs their crates.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use tests::root;

/// The crates that a package needs to be built, with their features; `default` stands for
/// the default ones.
fn needs(manifest: &toml::Table) -> BTreeMap<String, BTreeSet<String>> {
    let for_targets = manifest.get("target").and_then(|targets| targets.as_table());
    let tables = for_targets
        .into_iter()
        .flatten()
        .map(|(_, target)| target.get("dependencies"));
    let tables = tables.chain([manifest.get("dependencies")]).flatten();
    let mut needs = BTreeMap::new();
    for (name, wanted) in tables.filter_map(|table| table.as_table()).flatten() {
        let is_optional = wanted.get("optional").and_then(|one| one.as_bool());
        if is_optional == Some(true) {
            continue; // a feature needs it, and the book leaves that out
        }
        let features = wanted.get("features").and_then(|list| list.as_array());
        let features = features.into_iter().flatten().filter_map(|one| one.as_str());
        let mut features: BTreeSet<_> = features.map(str::to_string).collect();
        let default = wanted.get("default-features").and_then(|one| one.as_bool());
        if default != Some(false) {
            features.insert("default".into());
        }
        needs.insert(name.clone(), features);
    }
    needs
}

fn manifest(folder: &str) -> toml::Table {
    let file = root().join(folder).join("Cargo.toml");
    fs::read_to_string(file).unwrap().parse().unwrap()
}

#[test]
fn the_book_has_the_crates_of_every_program_that_it_mounts() {
    let programs = fs::read_to_string(root().join("site/src/programs.rs")).unwrap();
    let mounted: Vec<_> = programs
        .split("\"../../examples/")
        .skip(1)
        .filter_map(|rest| rest.split('/').next())
        .collect();
    assert!(mounted.contains(&"tick"), "{mounted:?}");
    let site = needs(&manifest("site"));
    let mut lacking = Vec::new();
    for program in mounted {
        for (name, features) in needs(&manifest(&format!("examples/{program}"))) {
            match site.get(&name) {
                None => lacking.push(format!("{program} needs {name}")),
                Some(own) => {
                    let missing = features.difference(own);
                    lacking.extend(missing.map(|feature| {
                        format!("{program} needs the feature {feature} of {name}")
                    }));
                }
            }
        }
    }
    assert!(lacking.is_empty(), "add to site/Cargo.toml: {lacking:#?}");
}
