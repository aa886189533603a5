//! `feed.md` and `servers.md`: a log of events, and readers who lose nothing of it. Run one subject
//! with, for example, `cargo test -p tests --test feed kills`.

// A client of the program, for all of the tests.
mod client;
// The same as bytes.
mod wire;

// Limits and refusals for strangers.
#[cfg(unix)]
mod edge;
// A failing sync, a clock that jumps.
#[cfg(target_os = "linux")]
mod faults;
// The gap between replay and live, without the program.
mod gap;
// Idempotency keys.
mod keys;
// Kills, and connections that break.
mod kills;
// Readers far behind, in bounded memory.
#[cfg(target_os = "linux")]
mod memory;
// A model of the log, and a property test against it.
mod model;
// The page, in a browser.
mod page;
// Sessions that the book shows.
mod pages;
// Many servers on one Redis.
#[cfg(unix)]
mod redis;
// Posts that are refused, and those that are not.
mod refusals;
// Where a reader begins.
mod resume;
// Events that are removed.
mod retention;
// The smallest log, and the steps to it.
mod small;
// A full disk.
#[cfg(target_os = "linux")]
mod small_disk;
// Folders, files and settings with which the program does not start.
mod start;
// Order, and readers that are cut off.
mod stories;
