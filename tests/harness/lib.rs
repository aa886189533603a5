//! The tools that the tests are written with: the real programs as processes, their streams,
//! recordings, servers that follow a script, and a browser. Every wait has its deadline
//! here, and a failing test prints what its program wrote to stderr. `tests/README.md`
//! shows how a test uses them.

mod binaries;
mod book;
mod browser;
pub mod cases;
mod chunks;
mod events;
mod experiment;
mod fault;
pub mod fault_proxy;
mod firefox;
pub mod follow;
#[cfg(target_os = "linux")]
mod link;
#[cfg(unix)]
mod middlebox;
#[cfg(unix)]
mod nginx;
mod poster;
#[cfg(target_os = "linux")]
mod preload;
mod process;
mod program;
mod recorded;
#[cfg(unix)]
pub mod redis;
pub mod scripted;
mod wait;
mod webkit;
mod whole;

pub use binaries::{Ended, example, root, run};
#[cfg(unix)]
pub use binaries::{allow_open_files, run_with_open_files};
pub use book::{book, copy_book, run_book};
pub use browser::Browser;
pub use chunks::{Dechunker, chunks};
pub use events::Events;
pub use experiment::{page_of, serve, serve_at, serve_on};
#[cfg(target_os = "linux")]
pub use link::{Line, Link, leave_network};
#[cfg(unix)]
pub use middlebox::Middlebox;
#[cfg(unix)]
pub use nginx::Nginx;
pub use poster::Poster;
#[cfg(target_os = "linux")]
pub use preload::Preload;
pub use process::Process;
pub use program::Program;
pub use recorded::{
    Recording, assert_picture, assert_recorded, assert_text_but_numbers, session,
};
pub use wait::{PATIENCE, pause, until, until_at_most, within};
pub use whole::{Run, is_whole};

/// Whether Cargo builds the tests with the features of crates of the whole workspace.
pub const IN_WORKSPACE: bool = cfg!(feature = "workspace");
