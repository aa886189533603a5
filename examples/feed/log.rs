//! What a log of events is, wherever it is kept: IDs that never come again, events in
//! their order, and the newest of them in memory.

use std::collections::VecDeque;
use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

use bytes::Bytes;
use parking_lot::RwLock;
use salvo::sse::SseEvent;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, futures::Notified};

use super::{MAX_CHUNK, MAX_DATA, MAX_TYPE, TAIL};

// ANCHOR: id
/// An event's ID, written `1764001234567-0`: the millisecond in which it was stored, and
/// its number within that. IDs only grow, also when the clock is set back. Redis Streams
/// have the same.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Id {
    pub ms: u64,
    pub n: u64,
}

impl Id {
    /// The next ID that could be: nothing lies in between.
    pub fn next(self) -> Self {
        match self.n.checked_add(1) {
            Some(n) => Self { n, ..self },
            None => Self { ms: self.ms.saturating_add(1), n: 0 },
        }
    }

    /// The way back.
    pub fn previous(self) -> Self {
        match self.n.checked_sub(1) {
            Some(n) => Self { n, ..self },
            None => Self { ms: self.ms.saturating_sub(1), n: u64::MAX },
        }
    }
}

impl Display for Id {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.n)
    }
}

impl FromStr for Id {
    type Err = ();

    /// An ID comes from a client, so anything may be in it, as in `+1-00`.
    fn from_str(text: &str) -> Result<Self, ()> {
        let (ms, n) = text.split_once('-').ok_or(())?;
        let id = Self { ms: ms.parse().or(Err(()))?, n: n.parse().or(Err(()))? };
        if id.to_string() == text { Ok(id) } else { Err(()) }
    }
}
// ANCHOR_END: id

// ANCHOR: event
/// What a client posts.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    #[serde(rename = "type")]
    pub event_type: String,
    pub data: String,
}

impl Event {
    /// Why it cannot be sent as an event, if it cannot.
    pub fn fault(&self) -> Option<String> {
        let Self { event_type, data } = self;
        if event_type.is_empty() || event_type.len() > MAX_TYPE {
            return Some(format!("a type has 1 to {MAX_TYPE} bytes"));
        }
        if event_type.contains(char::is_control) {
            return Some("the type has control characters".into());
        }
        // An EventSource fires `open` and `error` itself, and `resync` is the feed's own.
        if ["open", "error", "resync"].contains(&event_type.as_str()) {
            return Some(format!("the type `{event_type}` has a meaning already"));
        }
        if data.len() > MAX_DATA {
            return Some(format!("data has {MAX_DATA} bytes at most"));
        }
        // It ends a line like a newline, and would arrive as one.
        data.contains('\r').then(|| "the data has a carriage return".into())
    }

    /// The bytes of the stream, the same for all readers.
    pub fn encode(&self, id: Id) -> Bytes {
        let event = SseEvent::default().name(&self.event_type).text(&self.data);
        event.id(id.to_string()).to_string().into()
    }
}
// ANCHOR_END: event

/// What follows an ID in the log.
pub enum Found {
    /// In order, and without a gap. Empty if nothing follows yet.
    Events(Vec<(Id, Bytes)>),
    /// Nobody can say what follows: the ID is of no event that is kept. The log goes on
    /// after this one, the newest before it, or the start.
    Nothing { kept_after: Id },
}

/// Why a store did not do what it was asked to. What was to be stored may be stored all the
/// same, unless the key is taken: who repeats it with its key finds out.
#[derive(Debug)]
pub enum Failure {
    /// There is no room.
    Full(String),
    /// The store does not answer.
    Unavailable(String),
    /// The idempotency key stands for another event.
    KeyTaken,
}

impl Display for Failure {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(why) | Self::Unavailable(why) => f.write_str(why),
            Self::KeyTaken => {
                f.write_str("this Idempotency-Key stands for another event")
            }
        }
    }
}

/// Events from the first on, as many as one write may carry, and the ID of the last.
pub fn chunk<'a>(
    events: impl IntoIterator<Item = &'a (Id, Bytes)>,
) -> Option<(Id, Bytes)> {
    let mut events = events.into_iter();
    let (mut last, first) = events.next()?.clone();
    let mut bytes = Vec::new();
    for (id, event) in events {
        if bytes.is_empty() {
            bytes.extend_from_slice(&first);
        }
        if bytes.len() + event.len() > MAX_CHUNK {
            break;
        }
        bytes.extend_from_slice(event);
        last = *id;
    }
    Some((last, if bytes.is_empty() { first } else { bytes.into() }))
}

// ANCHOR: tail
/// The newest events, in memory: readers who are up to date never touch the store.
pub struct Tail {
    /// How many: no more than the store keeps.
    most: usize,
    kept: RwLock<Kept>,
    /// Wakes all readers when there is something new.
    grew: Notify,
}

struct Kept {
    /// The event that came right before those that are kept.
    after: Id,
    /// Each encoded once for all readers.
    events: VecDeque<(Id, Bytes)>,
}

impl Kept {
    fn forget(&mut self, count: usize) {
        if let Some((id, _)) = self.events.drain(..count).next_back() {
            self.after = id;
        }
    }
}

impl Tail {
    pub fn new(newest: Id, keep: usize) -> Self {
        let kept = Kept { after: newest, events: VecDeque::new() };
        let most = TAIL.min(keep);
        Self { most, kept: RwLock::new(kept), grew: Notify::new() }
    }

    pub fn newest(&self) -> Id {
        let kept = self.kept.read();
        kept.events.back().map_or(kept.after, |(id, _)| *id)
    }

    /// Appends what follows the newest.
    pub fn push(&self, events: impl IntoIterator<Item = (Id, Bytes)>) {
        let mut kept = self.kept.write();
        kept.events.extend(events);
        let surplus = kept.events.len().saturating_sub(self.most);
        kept.forget(surplus);
        drop(kept);
        self.wake();
    }

    /// Forgets what the store does not keep any more: all that is older than this one.
    pub fn forget_before(&self, oldest: Id) {
        let mut kept = self.kept.write();
        let older = kept.events.partition_point(|(id, _)| *id < oldest);
        kept.forget(older);
    }

    /// Begins anew after this event: what followed the newest is not known.
    pub fn restart(&self, after: Id) {
        *self.kept.write() = Kept { after, events: VecDeque::new() };
        self.wake();
    }

    /// Wakes all readers, so that they look again.
    pub fn wake(&self) {
        self.grew.notify_waiters();
    }

    /// Ready when something has come after this call.
    pub fn grew(&self) -> Notified<'_> {
        self.grew.notified()
    }

    /// What follows an event: nothing yet, or a chunk and the ID of its last event. `Err` if
    /// the event is not among those that are kept here.
    pub fn after(&self, id: Id) -> Result<Option<(Id, Bytes)>, ()> {
        let kept = self.kept.read();
        let next = match kept.events.binary_search_by_key(&id, |(id, _)| *id) {
            Ok(at) => at + 1,
            Err(0) if id == kept.after => 0,
            Err(_) => return Err(()),
        };
        Ok(chunk(kept.events.range(next..)))
    }
}
// ANCHOR_END: tail
