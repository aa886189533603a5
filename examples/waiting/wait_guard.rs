//! Streams that end when something happens, and say so: one guard is in the stream, one is not.
//!
//!     cargo run --example wait_guard
//!
//! The page `async-select.md` explains it.

use futures_util::{Stream, StreamExt, stream};
use tokio::sync::Notify;

// ANCHOR: guard
struct Guard(&'static str);

impl Drop for Guard {
    fn drop(&mut self) {
        println!("{} has left", self.0);
    }
}
// ANCHOR_END: guard

// ANCHOR: wrong
fn ann() -> impl Stream<Item = u32> {
    let _guard = Guard("ann");
    stream::unfold(1, async |n| Some((n, n + 1)))
}
// ANCHOR_END: wrong

// ANCHOR: right
fn bob() -> impl Stream<Item = u32> {
    let guard = Guard("bob");
    stream::unfold((1, guard), async |(n, guard)| Some((n, (n + 1, guard))))
}
// ANCHOR_END: right

#[tokio::main(flavor = "current_thread")]
async fn main() {
    read(ann()).await;
    read(bob()).await;
}

// ANCHOR: read
async fn read(events: impl Stream<Item = u32>) {
    let stop = Notify::new();
    let events = events.take_until(stop.notified());
    let show = async |n| {
        println!("data: {n}");
        if n == 2 {
            stop.notify_waiters();
        }
    };
    events.for_each(show).await;
    println!("the stream has ended");
}
// ANCHOR_END: read
