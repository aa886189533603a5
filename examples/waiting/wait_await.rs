//! Two readers wait, one after the other and then both at once, on one thread.
//!
//!     cargo run --example wait_await
//!
//! The page `async-tasks.md` explains it.

use std::time::{Duration, Instant};

use tokio::time::sleep;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let start = Instant::now();
    // ANCHOR: turns
    read("ann", 2).await;
    read("bob", 1).await;
    println!("one after the other: {} s", start.elapsed().as_secs());
    // ANCHOR_END: turns
    let start = Instant::now();
    // ANCHOR: both
    tokio::join!(read("ann", 2), read("bob", 1));
    println!("both at once: {} s", start.elapsed().as_secs());
    // ANCHOR_END: both
}

// ANCHOR: read
async fn read(name: &str, seconds: u64) {
    println!("{name} waits");
    sleep(Duration::from_secs(seconds)).await;
    println!("{name} has an event");
}
// ANCHOR_END: read
