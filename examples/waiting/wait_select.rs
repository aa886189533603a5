//! Whatever comes first: a message, or a heartbeat.
//!
//!     cargo run --example wait_select
//!
//! The page `async-select.md` explains it.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{interval, sleep};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let (sender, mut messages) = mpsc::channel(1);
    tokio::spawn(async move {
        sleep(Duration::from_secs(3)).await;
        sender.send("hi").await
    });
    // ANCHOR: main
    let mut beat = interval(Duration::from_secs(2));
    loop {
        tokio::select! {
            message = messages.recv() => match message {
                Some(message) => println!("data: {message}"),
                None => break,
            },
            _ = beat.tick() => println!(":"),
        }
    }
    println!("the sender is gone");
    // ANCHOR_END: main
}
