//! A notification that comes between a look and a wait, and how it is not lost.
//!
//!     cargo run --example wait_notify
//!
//! The page `async-shared.md` explains it.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::yield_now;
use tokio::time::timeout;

/// The messages of a room, and the bell that rings when there is one more.
#[derive(Default)]
struct Room {
    messages: Mutex<Vec<&'static str>>,
    grew: Notify,
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    // ANCHOR: main
    let room = Room::default();
    let (wrong, ()) = tokio::join!(timeout(LONG, look_first(&room)), say(&room));
    println!("look first: {wrong:?}");
    let room = Room::default();
    let (right, ()) = tokio::join!(timeout(LONG, ask_first(&room)), say(&room));
    println!("ask first: {right:?}");
    // ANCHOR_END: main
}

/// A reader that has no message by then never gets one.
const LONG: Duration = Duration::from_secs(1);

// ANCHOR: say
async fn say(room: &Room) {
    room.messages.lock().push("hi");
    room.grew.notify_waiters();
}
// ANCHOR_END: say

// ANCHOR: look
async fn look_first(room: &Room) -> &'static str {
    loop {
        if let Some(message) = room.messages.lock().pop() {
            return message;
        }
        yield_now().await;
        room.grew.notified().await;
    }
}
// ANCHOR_END: look

// ANCHOR: ask
async fn ask_first(room: &Room) -> &'static str {
    loop {
        let grew = room.grew.notified();
        if let Some(message) = room.messages.lock().pop() {
            return message;
        }
        yield_now().await;
        grew.await;
    }
}
// ANCHOR_END: ask
