//! A future that is dropped while it waits, and a task that nobody waits for.
//!
//!     cargo run --example wait_drop
//!
//! The page `async-tasks.md` explains it.

use std::time::Duration;

use tokio::time::{sleep, timeout};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    // ANCHOR: main
    let patience = Duration::from_millis(500);
    let ended = timeout(patience, answer("ann")).await;
    println!("ann: {ended:?}");
    let mut task = tokio::spawn(answer("bob"));
    let ended = timeout(patience, &mut task).await;
    println!("bob: {ended:?}");
    println!("bob, later: {:?}", task.await);
    // ANCHOR_END: main
}

// ANCHOR: answer
async fn answer(name: &'static str) -> &'static str {
    println!("{name}: begun");
    sleep(Duration::from_secs(2)).await;
    println!("{name}: stored");
    "ok"
}
// ANCHOR_END: answer
