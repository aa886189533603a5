//! `feed.md`: between the replay of missed events and the live ones there is a moment. In
//! these tests, an event is stored in that moment each time.

use std::sync::{Mutex, PoisonError};

use tokio::sync::broadcast::{Receiver, Sender};

/// The events 1, 2, 3, …: kept for readers that come back, and sent to those that are here.
struct Log {
    kept: Mutex<Vec<u64>>,
    live: Sender<u64>,
}

impl Log {
    fn append(&self) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let event = kept.len() as u64 + 1;
        kept.push(event);
        drop(self.live.send(event)); // nobody may be here
    }

    /// The events after this one.
    fn after(&self, last: u64) -> Vec<u64> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().copied().filter(|event| *event > last).collect()
    }
}

fn log_with(events: usize) -> Log {
    let log = Log { kept: Mutex::default(), live: Sender::new(16) };
    (0..events).for_each(|_| log.append());
    log
}

fn all(mut live: Receiver<u64>) -> Vec<u64> {
    std::iter::from_fn(|| live.try_recv().ok()).collect()
}

// ANCHOR: lost
#[test]
#[should_panic(expected = "left: [2, 4]")]
fn replay_then_subscribe_loses_an_event() {
    let log = log_with(2);
    let missed = log.after(1); // the reader comes back, with event 1
    log.append(); // 3, at a bad moment
    let live = log.live.subscribe();
    log.append(); // 4
    assert_eq!([missed, all(live)].concat(), [2, 3, 4]);
}
// ANCHOR_END: lost

#[test]
#[should_panic(expected = "left: [2, 3, 3, 4]")]
fn subscribe_then_replay_repeats_an_event() {
    let log = log_with(2);
    let live = log.live.subscribe();
    log.append();
    let missed = log.after(1);
    log.append();
    assert_eq!([missed, all(live)].concat(), [2, 3, 4]);
}

#[test]
fn subscribe_then_replay_then_skip_what_was_replayed() {
    let log = log_with(2);
    let live = log.live.subscribe();
    log.append();
    let missed = log.after(1);
    log.append();
    // ANCHOR: skip
    let replayed = missed.last().copied().unwrap_or(1);
    let mut live = all(live);
    live.retain(|event| *event > replayed);
    // ANCHOR_END: skip
    assert_eq!([missed, live].concat(), [2, 3, 4]);
}
