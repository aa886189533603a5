//! How the sources read: their length, the shape of a few lines, and copies that stay equal.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use tests::root;

use crate::manifests::entries;

/// Folders of sources, with the lines that a file of them may have.
const BOUNDS: [(&str, usize); 6] = [
    ("examples", 350),
    ("exercises", 500),
    ("tests", 500),
    ("site", 500),
    ("bench", 500),
    ("theme", 500),
];

/// The kinds of files that have a bound.
const KINDS: [&str; 7] = ["rs", "js", "mjs", "html", "hbs", "css", "py"];

/// Lines of code in a smallest cure: without blank lines, and lines that are comments.
const CURE: usize = 40;

/// Folders that hold no sources.
const NO_SOURCES: [&str; 3] = ["target", "node_modules", "dist"];

/// Functions that stand in several programs, because a copied folder works alone, and that
/// are the same in each of them.
const COPIES: [&str; 5] =
    ["stop_signal", "bad", "last_event_id", "refuse_unknown", "send"];

/// The files of some kinds in a folder, and in the folders in it.
fn files(folder: &Path, kinds: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in entries(folder) {
        let name = path.file_name().unwrap().to_str().unwrap();
        let kind =
            path.extension().and_then(|kind| kind.to_str()).unwrap_or_default();
        if path.is_dir() && !NO_SOURCES.contains(&name) {
            found.append(&mut files(&path, kinds));
        } else if path.is_file() && kinds.contains(&kind) {
            found.push(path);
        }
    }
    found
}

/// All Rust sources of the repository, with their texts.
fn rust() -> Vec<(String, String)> {
    let folders = ["examples", "exercises", "tests", "site", "bench"]
        .map(|name| root().join(name));
    let files = folders.iter().flat_map(|folder| files(folder, &["rs"]));
    files.map(|file| (shown(&file), fs::read_to_string(&file).unwrap())).collect()
}

/// A file, as seen from the repository.
fn shown(file: &Path) -> String {
    file.strip_prefix(root()).unwrap().display().to_string()
}

#[test]
fn no_file_is_too_long_to_be_read_in_one_sitting() {
    let mut long = Vec::new();
    for (folder, bound) in BOUNDS {
        for file in files(&root().join(folder), &KINDS) {
            let text = fs::read_to_string(&file).unwrap();
            let lines = text.lines().count();
            let reason = format!("Longer than {bound} lines: ");
            let has_reason =
                text.lines().take(20).any(|line| line.contains(&reason));
            if lines > bound && !has_reason {
                long.push(format!("{}: {lines} lines, not {bound}", shown(&file)));
            }
        }
    }
    assert!(long.is_empty(), "split these, or give the reason: {long:#?}");
}

#[test]
fn a_smallest_cure_stays_small() {
    let cures = files(&root().join("examples/cures"), &["rs", "js", "py"]);
    assert!(cures.len() > 1);
    for cure in cures {
        let text = fs::read_to_string(&cure).unwrap();
        let is_code =
            |line: &&str| !line.trim().is_empty() && comment(line).is_none();
        let lines = text.lines().filter(is_code).count();
        assert!(lines <= CURE, "{}: {lines} lines, not {CURE}", shown(&cure));
    }
}

/// The text behind a group in parentheses that this text begins with, if its end is there.
fn behind_group(text: &str) -> Option<&str> {
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(&text[at + c.len_utf8()..]);
        }
    }
    None
}

/// Whether a text begins with `let (a, b) = (x, y);`, over as many lines as it takes. A
/// call or a single value on the right is no such thing.
fn is_tuple_let(text: &str) -> bool {
    let right = text
        .strip_prefix("let (")
        .and_then(|_| behind_group(&text["let ".len()..]))
        .and_then(|rest| rest.trim_start().strip_prefix('='))
        .map(str::trim_start)
        .filter(|right| right.starts_with('('));
    let rest = right.and_then(behind_group).map(str::trim_start);
    rest.is_some_and(|rest| rest.starts_with(';') || rest.starts_with("else"))
}

#[test]
fn each_name_has_a_let_of_its_own() {
    assert!(is_tuple_let("let (a, mut b) =\n    (x(1, 2), y);\n"));
    assert!(is_tuple_let("let (Some(a), b) = (x, y) else { return };"));
    assert!(!is_tuple_let("let (a, b) = (0..9).partition(even);"));
    assert!(!is_tuple_let("let (a, b) = pair;"));
    let mut found = Vec::new();
    for (file, text) in rust() {
        let mut at = 0;
        for (number, line) in text.split_inclusive('\n').enumerate() {
            let indent = line.len() - line.trim_start().len();
            if is_tuple_let(&text[at + indent..]) {
                found.push(format!("{file}:{}: {}", number + 1, line.trim()));
            }
            at += line.len();
        }
    }
    assert!(found.is_empty(), "one `let`, one name: {found:#?}");
}

/// The text of a line that is a comment and nothing else.
fn comment(line: &str) -> Option<&str> {
    let rest = line.trim_start().strip_prefix("//")?;
    let rest = rest.strip_prefix(['/', '!']).unwrap_or(rest);
    Some(rest.trim_start())
}

/// *What*, *Who* and *Of* make a puzzle of a comment that begins with them.
#[test]
fn a_comment_starts_with_the_thing_or_the_deed() {
    let mut found = Vec::new();
    for (file, text) in rust() {
        let mut before = None;
        for (number, line) in text.lines().enumerate() {
            let text = comment(line);
            let begins = before.is_none_or(str::is_empty);
            let subject =
                text.and_then(|text| text.split(' ').next()).unwrap_or_default();
            if begins && ["What", "Who", "Of"].contains(&subject) {
                found.push(format!("{file}:{}: {}", number + 1, line.trim()));
            }
            before = text;
        }
    }
    assert!(found.is_empty(), "name the thing or the deed: {found:#?}");
}

/// The functions of this name in a text that stand in no other item, each without `pub`.
fn functions<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
    let mut found = Vec::new();
    let head = format!("fn {name}(");
    let mut rest = text;
    while let Some(at) = rest.find(&head) {
        let line = rest[..at].rfind('\n').map_or(0, |end| end + 1);
        let is_top = ["", "pub ", "async ", "pub async "].contains(&&rest[line..at]);
        let end = rest[at..].find("\n}").map_or(rest.len(), |end| at + end + 2);
        if is_top {
            let start = if rest[line..at].contains("async") {
                at - "async ".len()
            } else {
                at
            };
            found.push(&rest[start..end]);
        }
        rest = &rest[at + head.len()..];
    }
    found
}

#[test]
fn a_function_that_several_programs_have_is_the_same_in_each() {
    for name in COPIES {
        let mut copies: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (file, text) in rust() {
            if file.starts_with("examples/") {
                for copy in functions(&text, name) {
                    copies.entry(copy.to_string()).or_default().push(file.clone());
                }
            }
        }
        let count: usize = copies.values().map(Vec::len).sum();
        assert!(count > 1, "no two programs have a function {name}");
        assert!(copies.len() == 1, "{name} is not the same in each: {copies:#?}");
    }
}
