//! The code on the page of symptoms that stands in no program: each piece is run here. Those
//! of a server are in `server.rs`; the others are files in `code/`.
//!
//! ```sh
//! cargo test -p tests --test symptoms -- --include-ignored
//! ```

mod boxes;
mod browser;
mod commands;
mod ends;
mod middleboxes;
mod server;
mod tabs;

use std::fs;

use tests::root;

/// The text of a file in `code/`, as the page shows it.
fn code(name: &str) -> String {
    let file = root().join("tests/symptoms/code").join(name);
    fs::read_to_string(&file).unwrap_or_else(|_| panic!("no {file:?}"))
}
