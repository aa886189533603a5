//! Exercises that a reader writes and the book checks: their definitions, the folders that
//! they are written in, and the checks, which talk HTTP to a program. `cargo book exercise`
//! and the tests use it; `README.md` beside this folder is for authors.
//!
//! A file uses only files that stand below it here:
//!
//! ```text
//! attempt    what is in try/NAME, compiled and checked
//! checks     a function for each exercise, a file for each chapter
//! course     all exercises, in the order of the book's pages
//! proof      all versions of all exercises, for the tests
//! folder     try/NAME          progress   try/progress.json
//! definition exercises/NAME    pages      titles and tasks
//! subject    the program       server     the other side of a client
//! events     its streams       cargo      compiles it
//! redis      a server that some of them need
//! source     programs, their regions and differences
//! fault      words             what is wrong, in the page's language
//! ```

pub mod attempt;
pub mod cargo;
pub mod checks;
pub mod course;
pub mod definition;
pub mod events;
pub mod fault;
pub mod folder;
pub mod pages;
pub mod progress;
pub mod proof;
pub mod redis;
pub mod server;
pub mod source;
pub mod subject;
pub mod words;
