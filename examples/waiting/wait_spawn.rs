//! A task that goes on by itself, and one that fails by itself.
//!
//!     cargo run --example wait_spawn
//!
//! The page `async-tasks.md` explains it.

use std::time::Duration;

use tokio::time::sleep;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    // ANCHOR: main
    let count = tokio::spawn(count_to(2));
    let fail = tokio::spawn(async { panic!("no such reader") });
    println!("main goes on");
    println!("count returns {:?}", count.await);
    println!("fail has failed: {}", fail.await.is_err());
    tokio::spawn(count_to(5));
    println!("main ends");
    // ANCHOR_END: main
}

// ANCHOR: count
async fn count_to(last: u32) -> u32 {
    for n in 1..=last {
        sleep(Duration::from_millis(100)).await;
        println!("task: {n}");
    }
    last
}
// ANCHOR_END: count
