//! A task that holds a lock while it waits: the compiler refuses it.
//!
//!     cargo check -p waiting --features wrong --example wait_held
//!
//! The page `async-shared.md` explains it.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::time::sleep;

#[tokio::main]
async fn main() {
    let count = Arc::new(Mutex::new(0));
    // ANCHOR: main
    let task = tokio::spawn(async move {
        let mut count = count.lock();
        sleep(Duration::from_millis(100)).await;
        *count += 1;
    });
    // ANCHOR_END: main
    println!("{}", task.await.is_ok());
}
