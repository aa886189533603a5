//! The names of tests and cases on the pages of the book.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use tests::cases::cases;
use tests::root;

use crate::manifests::{entries, folders};

/// The Rust sources in a folder and the folders in it, as one text.
fn sources(folder: &Path) -> String {
    let mut text = String::new();
    for path in entries(folder) {
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
    let languages = folders(&root().join("src"));
    assert!(languages.len() >= 2, "{languages:?}");
    for language in languages {
        for page in entries(&root().join("src").join(language)) {
            let text = fs::read_to_string(&page).unwrap_or_default();
            // They stand in code spans; the name of a test is a sentence.
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
            let lists = text.lines().filter_map(|line| line.split_once(" cases: "));
            for (_, names) in lists {
                for name in names.split('*').skip(1).step_by(2) {
                    assert!(cases.contains(name), "{page:?} names {name}");
                }
            }
        }
    }
}

/// A row of *How we know* says in which file its test is.
#[test]
fn every_file_of_tests_that_a_page_names_is_there() {
    for language in folders(&root().join("src")) {
        for page in entries(&root().join("src").join(language)) {
            let text = fs::read_to_string(&page).unwrap_or_default();
            for name in text.split('`').skip(1).step_by(2) {
                let is_file =
                    name.starts_with("tests/") && !name.contains([' ', '*']);
                assert!(
                    !is_file || root().join(name).exists(),
                    "{page:?} names {name}"
                );
            }
        }
    }
}
