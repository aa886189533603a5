//! A pair that is half read when something else comes first: its first half is lost.
//!
//!     cargo run --example wait_half
//!
//! The page `async-select.md` explains it.

use std::pin::pin;
use std::time::Duration;

use tokio::sync::mpsc::{Receiver, channel};
use tokio::time::sleep;

const SECOND: Duration = Duration::from_secs(1);

/// Sends the left half of a pair at once, and the rest much later.
fn halves() -> Receiver<&'static str> {
    let (sender, halves) = channel(1);
    tokio::spawn(async move {
        sender.send("left 1").await?;
        sleep(SECOND * 3 / 2).await;
        sender.send("right 1").await?;
        sender.send("left 2").await?;
        sender.send("right 2").await
    });
    halves
}

// ANCHOR: pair
async fn pair(halves: &mut Receiver<&'static str>) -> Option<[&'static str; 2]> {
    let left = halves.recv().await?;
    let right = halves.recv().await?;
    Some([left, right])
}
// ANCHOR_END: pair

#[tokio::main(flavor = "current_thread")]
async fn main() {
    // ANCHOR: anew
    let mut source = halves();
    for _ in 0..2 {
        tokio::select! {
            pair = pair(&mut source) => println!("a pair: {pair:?}"),
            () = sleep(SECOND) => println!("nothing for a second"),
        }
    }
    // ANCHOR_END: anew
    println!("and now with one future:");
    // ANCHOR: one
    let mut source = halves();
    let mut pair = pin!(pair(&mut source));
    for _ in 0..2 {
        tokio::select! {
            pair = &mut pair => println!("a pair: {pair:?}"),
            () = sleep(SECOND) => println!("nothing for a second"),
        }
    }
    // ANCHOR_END: one
}
