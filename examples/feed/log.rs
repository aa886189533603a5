//! A log of events, wherever it is kept: IDs that never come again, events in their order,
//! and the newest of them in memory.

use std::collections::VecDeque;
use std::fmt::{self, Display, Formatter};
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::RwLock;
use salvo::sse::SseEvent;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, futures::Notified};

/// Bytes of an event's type, which is a name.
const MAX_TYPE: usize = 64;
/// Bytes of an event's data: a few paragraphs. Larger things have a URL.
pub const MAX_DATA: usize = 4_096;
/// Bytes that one write to a reader carries, unless one event is longer.
pub const MAX_CHUNK: usize = 32 << 10;
/// Events that a reader who is behind gets from the store at a time.
pub const PAGE: usize = 256;
/// Events in memory for readers who are up to date: 4 MiB, if all are that long, and 28 MiB
/// if they are nothing but newlines, because each newline begins another `data: ` line.
const TAIL: usize = 1_024;

/// How much a log keeps: no more events than `keep`, and none that is older than `age`. Redis
/// may keep some more, because it removes them by the hundred. The newest event always stays.
#[derive(Clone, Copy)]
pub struct Retention {
    pub keep: usize,
    pub age: Duration,
}

/// An event's ID, written `1764001234567-0`: the millisecond in which it was stored, and
/// its number within that. IDs only grow, also when the clock is set back. Redis Streams
/// have the same.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Id {
    pub ms: u64,
    pub n: u64,
}

impl Id {
    /// The next possible ID: nothing lies in between.
    pub fn next(self) -> Self {
        match self.n.checked_add(1) {
            Some(n) => Self { n, ..self },
            None => Self { ms: self.ms.saturating_add(1), n: 0 },
        }
    }

    /// The inverse of `next`.
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

    /// Refuses what is not written exactly as above, such as `+1-00`: an ID comes from a
    /// client, so it may be anything.
    fn from_str(text: &str) -> Result<Self, ()> {
        let (ms, n) = text.split_once('-').ok_or(())?;
        let id = Self { ms: ms.parse().or(Err(()))?, n: n.parse().or(Err(()))? };
        if id.to_string() == text { Ok(id) } else { Err(()) }
    }
}

/// An event as a client posts it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    #[serde(rename = "type")]
    pub event_type: String,
    pub data: String,
}

impl Event {
    /// Says why this cannot be sent as an event, if it cannot.
    pub fn fault(&self) -> Option<String> {
        let Self { event_type, data } = self;
        if event_type.is_empty() || event_type.len() > MAX_TYPE {
            return Some(format!("a type has 1 to {MAX_TYPE} bytes"));
        }
        if event_type.contains(char::is_control) {
            return Some("the type has control characters".into());
        }
        // An EventSource fires the first two itself; the others are the feed's own.
        let taken = ["open", "error", "begin", "resync", "foreign"];
        if taken.contains(&event_type.as_str()) {
            return Some(format!("the type `{event_type}` has a meaning already"));
        }
        if data.len() > MAX_DATA {
            return Some(format!("data has {MAX_DATA} bytes at most"));
        }
        // A carriage return ends a line like a newline, and would arrive as one. Firefox
        // drops the NUL.
        let lost = [('\r', "carriage return"), ('\0', "character U+0000")];
        let lost = lost.iter().find(|(character, _)| data.contains(*character));
        lost.map(|(_, name)| {
            format!("the data has a {name}, which would not arrive")
        })
    }

    /// Stands for what another program has put into the log.
    pub fn foreign() -> Self {
        Self { event_type: "foreign".into(), data: String::new() }
    }

    /// Encodes the event for the stream: the same bytes go to all readers.
    pub fn encode(&self, id: Id) -> Bytes {
        let event = SseEvent::default().name(&self.event_type).text(&self.data);
        event.id(id.to_string()).to_string().into()
    }
}

/// How the log goes on after an event: the answer of the tail and of each store.
pub enum Next<Events> {
    /// At least one event, in order and without a gap.
    Events(Events),
    /// The event is the newest.
    UpToDate,
    /// The event is not kept, so nobody can say what followed it. The log goes on after
    /// `resume_after`: the newest event that is kept and older, or else the start.
    Gap { resume_after: Id },
}

/// Events as a store finds them, each with its ID and encoded.
pub type Encoded = Vec<(Id, Bytes)>;

impl From<Encoded> for Next<Encoded> {
    fn from(events: Encoded) -> Self {
        if events.is_empty() { Self::UpToDate } else { Self::Events(events) }
    }
}

/// Events for one write to a reader, and the ID of the last of them.
pub struct Chunk {
    pub last: Id,
    pub bytes: Bytes,
}

impl Next<Chunk> {
    /// Joins these events, from the first on, as many as one write may carry.
    pub fn chunk<'a>(events: impl IntoIterator<Item = &'a (Id, Bytes)>) -> Self {
        let mut events = events.into_iter();
        let Some((mut last, first)) = events.next().cloned() else {
            return Self::UpToDate;
        };
        // One event alone is the normal case, and is not copied.
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
        let bytes = if bytes.is_empty() { first } else { bytes.into() };
        Self::Events(Chunk { last, bytes })
    }
}

/// Why the feed did not do what it was asked to. An event may be stored all the same, unless
/// the key is taken: a client that repeats it with its key finds out.
#[derive(Debug)]
pub enum Failure {
    /// There is no room for the event.
    Full(String),
    /// The store does not answer, or there are too many readers.
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

/// The newest events, in memory: readers who are up to date never touch the store.
pub struct Tail {
    /// How many events it holds: no more than the store keeps.
    most: usize,
    recent: RwLock<Recent>,
    /// Wakes all readers when there is something new.
    grew: Notify,
}

struct Recent {
    /// The event that came right before these.
    after: Id,
    /// Each event is encoded once for all readers.
    events: VecDeque<(Id, Bytes)>,
}

impl Recent {
    fn forget(&mut self, count: usize) {
        if let Some((id, _)) = self.events.drain(..count).next_back() {
            self.after = id;
        }
    }
}

impl Tail {
    pub fn new(newest: Id, keep: usize) -> Self {
        let recent = Recent { after: newest, events: VecDeque::new() };
        let most = TAIL.min(keep);
        Self { most, recent: RwLock::new(recent), grew: Notify::new() }
    }

    pub fn newest(&self) -> Id {
        let recent = self.recent.read();
        recent.events.back().map_or(recent.after, |(id, _)| *id)
    }

    /// Appends the events that follow the newest.
    pub fn push(&self, events: impl IntoIterator<Item = (Id, Bytes)>) {
        let mut recent = self.recent.write();
        recent.events.extend(events);
        let surplus = recent.events.len().saturating_sub(self.most);
        recent.forget(surplus);
        drop(recent);
        self.wake();
    }

    /// Forgets all events before this one: the store does not keep them any more.
    pub fn forget_before(&self, oldest: Id) {
        let mut recent = self.recent.write();
        let older = recent.events.partition_point(|(id, _)| *id < oldest);
        recent.forget(older);
    }

    /// Begins anew after this event, when nobody knows what followed the newest.
    pub fn restart(&self, after: Id) {
        *self.recent.write() = Recent { after, events: VecDeque::new() };
        self.wake();
    }

    /// Wakes all readers, so that they look again.
    pub fn wake(&self) {
        self.grew.notify_waiters();
    }

    /// Is ready when something has come after this call.
    pub fn grew(&self) -> Notified<'_> {
        self.grew.notified()
    }

    /// Says how the log goes on after an event, unless the event is not among these.
    pub fn next_after(&self, id: Id) -> Option<Next<Chunk>> {
        let recent = self.recent.read();
        let next = match recent.events.binary_search_by_key(&id, |(id, _)| *id) {
            Ok(at) => at + 1,
            Err(0) if id == recent.after => 0,
            Err(_) => return None,
        };
        Some(Next::chunk(recent.events.range(next..)))
    }
}
