//! A stream from a state and a function, which does nothing until somebody asks.
//!
//!     cargo run --example wait_unfold
//!
//! The page `async-select.md` explains it.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio::time::sleep;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    // ANCHOR: main
    let events = stream::unfold(1, async |n| {
        println!("asked for event {n}");
        sleep(Duration::from_millis(100)).await;
        (n <= 3).then(|| (format!("data: {n}"), n + 1))
    });
    println!("the stream is made");
    events.for_each(async |event| println!("{event}")).await;
    println!("the stream has ended");
    // ANCHOR_END: main
}
