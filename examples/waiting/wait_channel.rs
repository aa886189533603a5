//! A channel with room for two: a fast writer waits for a slow reader.
//!
//!     cargo run --example wait_channel
//!
//! The page `async-shared.md` explains it.

use std::time::Duration;

use tokio::{sync::mpsc, time::sleep};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    // ANCHOR: main
    let (sender, mut receiver) = mpsc::channel(2);
    tokio::spawn(async move {
        for n in 1..=5 {
            if sender.send(n).await.is_ok() {
                println!("sent {n}");
            }
        }
    });
    while let Some(n) = receiver.recv().await {
        println!("  received {n}");
        sleep(Duration::from_millis(100)).await;
    }
    println!("the sender is gone");
    // ANCHOR_END: main
}
