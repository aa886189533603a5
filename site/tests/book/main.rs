//! `cargo book`: what it builds, what it finds, what it serves, and how it helps
//! translators. Every test works on a copy of the book.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test says what it expects"
)]

mod build;
mod check;
mod feed;
mod languages;
mod middle;
mod page;
mod search;
mod serve;
mod stock;
mod translate;

use std::fs;
use std::path::Path;

use tests::run_book;

/// Changes a file of a book.
pub fn edit(book: &Path, file: &str, from: &str, to: &str) {
    let path = book.join(file);
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{file} does not contain {from}");
    fs::write(path, text.replacen(from, to, 1)).unwrap();
}

pub fn add(book: &Path, file: &str, text: &str) {
    let path = book.join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let old = fs::read_to_string(&path).unwrap_or_default();
    fs::write(path, old + text).unwrap();
}

/// Builds a book into `out` beside it, and gives a page of it.
pub fn built(book: &Path, page: &str) -> String {
    let ended = run_book(book, &["build", "--dest", "out"]);
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    fs::read_to_string(book.join("out").join(page)).unwrap()
}
