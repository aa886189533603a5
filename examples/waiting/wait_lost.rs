//! Ten tasks count together. Counted in two steps, most of it is lost.
//!
//!     cargo run --example wait_lost
//!
//! The page `async-shared.md` explains it.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::task::{JoinSet, yield_now};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    // ANCHOR: main
    let count = Arc::new(Mutex::new(0));
    let mut tasks = JoinSet::new();
    for _ in 0..10 {
        tasks.spawn(in_two_steps(Arc::clone(&count)));
    }
    println!("{} owners", Arc::strong_count(&count));
    tasks.join_all().await;
    println!("{} owner", Arc::strong_count(&count));
    println!("in two steps: {}", count.lock());
    // ANCHOR_END: main
    *count.lock() = 0;
    let tasks: JoinSet<()> =
        (0..10).map(|_| in_one_step(Arc::clone(&count))).collect();
    tasks.join_all().await;
    println!("in one step: {}", count.lock());
}

// ANCHOR: two
async fn in_two_steps(count: Arc<Mutex<u32>>) {
    let seen = *count.lock();
    yield_now().await;
    *count.lock() = seen + 1;
}
// ANCHOR_END: two

// ANCHOR: one
async fn in_one_step(count: Arc<Mutex<u32>>) {
    yield_now().await;
    *count.lock() += 1;
}
// ANCHOR_END: one
