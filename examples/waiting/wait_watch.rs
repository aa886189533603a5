//! A value that changes faster than its reader looks.
//!
//!     cargo run --example wait_watch
//!
//! The page `async-shared.md` explains it.

use std::time::Duration;

use tokio::{sync::watch, time::sleep};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    // ANCHOR: main
    let (sender, mut receiver) = watch::channel(0);
    tokio::spawn(async move {
        for percent in [20, 40, 60, 80, 100] {
            sender.send_replace(percent);
            println!("{percent} %");
        }
    });
    while receiver.changed().await.is_ok() {
        println!("  the reader sees {} %", *receiver.borrow_and_update());
        sleep(Duration::from_millis(100)).await;
    }
    println!("the sender is gone");
    // ANCHOR_END: main
}
