//! Two readers wait at once, and one of them holds the thread.
//!
//!     cargo run --example wait_block
//!
//! The page `async-tasks.md` explains it. Its `read` is wrong on purpose.

use std::thread;
use std::time::{Duration, Instant};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let start = Instant::now();
    tokio::join!(read("ann", 2), read("bob", 1));
    println!("both at once: {} s", start.elapsed().as_secs());
}

// ANCHOR: read
async fn read(name: &str, seconds: u64) {
    println!("{name} waits");
    thread::sleep(Duration::from_secs(seconds));
    println!("{name} has an event");
}
// ANCHOR_END: read
