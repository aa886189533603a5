//! The book: `cargo book`, and copies of the book for tests that change it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::binaries::{Ended, binary, root};
use crate::program::Program;

/// The files and folders that the book is made of.
const BOOK: [&str; 8] = [
    "src/en",
    "src/it",
    "theme",
    "examples",
    "exercises",
    "book.toml",
    "Cargo.toml",
    "Cargo.lock",
];

/// The command behind `cargo book`, in the book of this folder. A reader's exercises are
/// built with the crates that are compiled already.
pub fn book(folder: &Path) -> Command {
    let book = binary("--bin", "book");
    let target = book.ancestors().nth(2).expect("it stands in target/debug");
    let mut command = Command::new(&book);
    command.current_dir(folder);
    command.env("CARGO_TARGET_DIR", target).env("CARGO_INCREMENTAL", "0");
    command
}

/// Runs `cargo book` with these arguments to its end.
pub fn run_book(folder: &Path, arguments: &[&str]) -> Ended {
    book(folder).args(arguments).output().unwrap().into()
}

impl Program {
    /// Serves a copy of the book, as `cargo book` does.
    pub async fn serve_book() -> Self {
        let folder = copy_book();
        Self::serve_book_in(folder.path()).await.in_folder(folder)
    }

    /// Serves the book in this folder, which somebody else removes.
    pub async fn serve_book_in(folder: &Path) -> Self {
        let mut command = book(folder);
        command.env("BOOK_ADDR", "127.0.0.1:0");
        Self::spawn(&mut command).await.of_many_words()
    }
}

/// A copy of what the book is made of, for a test that changes it: its English and Italian
/// sources, its theme, the programs, the exercises, and the other files that its pages include. Tests are
/// about these two languages, so that a language that has just begun breaks none.
pub fn copy_book() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in BOOK {
        copy(&root().join(name), &folder.path().join(name));
    }
    for name in included(&root().join("src")) {
        copy(&root().join(&name), &folder.path().join(&name));
    }
    folder
}

/// The files that the pages in a folder include and that are there, as seen from the
/// repository. `cargo book check` is what finds the others.
fn included(folder: &Path) -> BTreeSet<PathBuf> {
    let mut files = BTreeSet::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.append(&mut included(&path));
        } else if path.extension().is_some_and(|kind| kind == "md") {
            let text = fs::read_to_string(&path).unwrap();
            files.extend(includes(&text).filter_map(|file| {
                let file = fs::canonicalize(folder.join(file)).ok()?;
                let root = fs::canonicalize(root()).unwrap();
                Some(file.strip_prefix(root).ok()?.to_path_buf())
            }));
        }
    }
    files
}

/// The paths in `{{#include path:anchor}}` and in mdBook's other words for it.
fn includes(text: &str) -> impl Iterator<Item = &str> {
    text.split("{{#").skip(1).filter_map(|rest| {
        let (inner, _) = rest.split_once("}}")?;
        let (_, target) = inner.split_once(char::is_whitespace)?;
        target.trim().split(':').next()
    })
}

/// Copies a file or a folder, whose parent need not be there.
fn copy(from: &Path, to: &Path) {
    if !from.is_dir() {
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(from, to).unwrap();
        return;
    }
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        if entry.file_name() == "node_modules" || entry.file_name() == "dist" {
            continue; // what npm has put there
        }
        copy(&entry.path(), &to.join(entry.file_name()));
    }
}
