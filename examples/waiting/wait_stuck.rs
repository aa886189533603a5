//! Two futures on one thread that hold a lock while they wait: this program never ends.
//!
//!     cargo run --example wait_stuck
//!
//! The page `async-shared.md` explains it. Ctrl-C ends it.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::sleep;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let count = Mutex::new(0);
    tokio::join!(add("ann", &count), add("bob", &count));
    println!("counted: {}", count.lock());
}

#[expect(clippy::await_holding_lock)] // It is what this program shows.
// ANCHOR: add
async fn add(name: &str, count: &Mutex<u32>) {
    println!("{name} asks for the lock");
    let mut count = count.lock();
    println!("{name} has the lock");
    sleep(Duration::from_millis(100)).await;
    *count += 1;
}
// ANCHOR_END: add
