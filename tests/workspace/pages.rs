//! The names of tests and cases on the pages of the book, the sources of what has no test, and
//! the figures of `bench`.

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

/// The pages of all languages, with their texts.
fn pages() -> Vec<(String, String)> {
    let languages = folders(&root().join("src"));
    assert!(languages.len() >= 2, "{languages:?}");
    let mut pages = Vec::new();
    for language in languages {
        for page in entries(&root().join("src").join(&language)) {
            if let Ok(text) = fs::read_to_string(&page) {
                let name = page.file_name().unwrap().to_str().unwrap();
                pages.push((format!("src/{language}/{name}"), text));
            }
        }
    }
    pages
}

/// The texts of a page that stand between backquotes.
fn code_spans(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Pages name tests and cases; a name that is none sends a reader astray.
#[test]
fn every_test_and_case_that_a_page_names_is_there() {
    let tests = ["tests", "site/tests", "bench/protocols/src", "bench/squeeze"]
        .map(|name| sources(&root().join(name)))
        .concat();
    let cases: BTreeSet<_> = cases().into_iter().map(|case| case.name).collect();
    let mut astray = Vec::new();
    for (page, text) in pages() {
        for name in code_spans(&text) {
            // The name of a test is a sentence.
            let is_name = name.matches('_').count() > 2
                && name.chars().all(|c| {
                    c.is_ascii_lowercase() || c == '_' || c.is_ascii_digit()
                });
            if is_name && !tests.contains(&format!("fn {name}(")) {
                astray.push(format!("{page}: {name}"));
            }
        }
        let lists = text.lines().filter_map(|line| line.split_once(" cases: "));
        for (_, names) in lists {
            // A translation says that they are English.
            let names = names.replace("<i lang=\"en\">", "*").replace("</i>", "*");
            let names = names.split('*').skip(1).step_by(2);
            let unknown = names.filter(|name| !cases.contains(*name));
            astray.extend(unknown.map(|name| format!("{page}: {name}")));
        }
    }
    assert!(astray.is_empty(), "there is no such test or case: {astray:#?}");
}

/// A row of *How we know* gives the file of its test, as in `tests/a/main.rs`: `name`.
#[test]
fn every_file_of_tests_that_a_page_names_is_there_and_has_its_test() {
    let mut astray = Vec::new();
    for (page, text) in pages() {
        for file in code_spans(&text) {
            let is_file = file.starts_with("tests/") && !file.contains([' ', '*']);
            if is_file && !root().join(file).exists() {
                astray.push(format!("{page}: {file}"));
            }
        }
        for row in text.split("`tests/").skip(1) {
            let Some((file, name)) = row.split_once("`: `") else { continue };
            let Some((name, _)) = name.split_once('`') else { continue };
            let source = fs::read_to_string(root().join("tests").join(file));
            if source.is_ok_and(|source| !source.contains(&format!("fn {name}("))) {
                astray.push(format!("{page}: {name} is not in tests/{file}"));
            }
        }
    }
    assert!(astray.is_empty(), "these lead nowhere: {astray:#?}");
}

/// Where the sign behind a claim without a test is explained.
const EXPLAINED: &str = "[†](index.md#how-to-use-it)";

/// A claim that rests on a document has the sign † and a link to the document, in the same
/// paragraph, item or row, and its page leads to the explanation of the sign.
#[test]
fn a_claim_that_rests_on_a_document_links_to_it() {
    let mut astray = Vec::new();
    for (page, text) in pages() {
        let claims = text.replace(EXPLAINED, "");
        for block in claims.split("\n\n") {
            let lists = block.starts_with(['|', '-']);
            let parts = block.split(|c| lists && c == '\n');
            let alone = |part: &&str| part.contains('†') && !part.contains("](http");
            let alone = parts.filter(alone).map(|part| format!("{page}: {part}"));
            astray.extend(alone);
        }
        let explains = page.ends_with("/index.md") || text.contains(EXPLAINED);
        if text.contains('†') && !explains {
            astray.push(format!("{page} does not say what † is: {EXPLAINED}"));
        }
    }
    assert!(astray.is_empty(), "{astray:#?}");
}

/// A browser's version is included from the file in which a test has recorded it. `measurements.md`
/// alone has a table of what was seen by hand, with its date.
#[test]
fn a_page_names_the_version_of_a_browser_as_a_test_has_recorded_it() {
    let mut by_hand = Vec::new();
    for (page, text) in pages() {
        for name in
            ["Chromium ", "Chrome ", "Firefox ", "Firefox ESR ", "WebKitGTK "]
        {
            let behind = text.split(name).skip(1);
            let version =
                |text: &str| text.starts_with(|c: char| c.is_ascii_digit());
            if !page.ends_with("/measurements.md") && behind.into_iter().any(version)
            {
                by_hand.push(format!("{page}: {name}"));
            }
        }
    }
    assert!(by_hand.is_empty(), "include faults/recorded/: {by_hand:#?}");
}

/// The figures of a page: its name, the recorded file, where in it the table begins, how the
/// row begins, the cell, and how many decimals the page shows.
type Figure = (&'static str, &'static str, &'static str, &'static str, usize, usize);

const FIGURES: [Figure; 12] = [
    ("slow", "table", "| server", "| chat |", 4, 1),
    ("slow", "table", "| server", "| chat |", 6, 1),
    ("measurements", "table", "| server", "| chat |", 7, 1),
    ("measurements", "table", "| server", "| peer-hyper |", 4, 1),
    ("measurements", "table", "| server", "| floor |", 4, 1),
    ("feed", "feed", "ANCHOR: short", "| redb 4.6.0 |", 1, 2),
    ("feed", "feed", "ANCHOR: throughput", "| embedded", 2, 2),
    ("feed", "feed", "ANCHOR: throughput", "| embedded", 3, 2),
    ("servers", "feed", "ANCHOR: fan_out", "| 2, for all |", 6, 0),
    ("servers", "feed", "ANCHOR: fan_out", "| 2, for all |", 7, 0),
    ("servers", "feed", "ANCHOR: fan_out", "| all |", 6, 0),
    ("servers", "feed", "ANCHOR: fan_out", "| all |", 7, 0),
];

#[test]
fn figures_in_the_text_are_those_of_the_recordings() {
    for (page, file, table, row, cell, decimals) in FIGURES {
        let recorded = root().join(format!("bench/recorded/{file}.md"));
        let recorded = fs::read_to_string(recorded).unwrap();
        let (_, table) = recorded.split_once(table).unwrap();
        let row = table.lines().find(|line| line.starts_with(row)).unwrap();
        let cells: Vec<_> = row.trim_matches(['|', ' ']).split(" | ").collect();
        let (number, unit) = cells[cell].split_once(' ').unwrap();
        let number: f64 = number.parse().unwrap();
        let figure = format!("{number:.decimals$} {unit}");
        for (language, figure) in
            [("en", figure.clone()), ("it", figure.replace('.', ","))]
        {
            let page = root().join(format!("src/{language}/{page}.md"));
            let text = fs::read_to_string(&page).unwrap();
            assert!(text.contains(&figure), "{}: {figure}", page.display());
        }
    }
}
