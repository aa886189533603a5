//! The room: its users, the log of what they have said, and the readers of that log.
//! Nothing here knows HTTP, apart from the format of an event: `main.rs` answers requests.

use std::collections::{HashMap, VecDeque};
use std::{fmt::Display, mem, sync::Arc};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use salvo::sse::SseEvent;
use tokio::sync::Notify;
use tokio::time::{Duration, sleep, timeout};
use tokio_util::sync::CancellationToken;

// ANCHOR: bounds
/// Users at once: an idle one costs less than 16 KiB, so all together 256 MiB.
const MAX_USERS: usize = 16_384;
/// Users whose coming and going is announced: n users who come cost n²/2 deliveries.
const MAX_ANNOUNCED: usize = 100;
/// Events kept for readers who are slow or were away: 4 MiB, if all have 4 KiB, and
/// 28 MiB, if somebody sends almost nothing but newlines: each becomes a `data: ` line.
const HISTORY: usize = 1_024;
/// How long a user without a connection stays.
const GRACE: Duration = Duration::from_secs(5);
/// How long a client that has lost its connection waits before it connects again: well
/// within `GRACE`.
const RETRY: Duration = Duration::from_secs(1);
/// Silence after which a comment is sent: proxies cut a stream after 30 or 60 s.
const HEARTBEAT: Duration = Duration::from_secs(15);
// ANCHOR_END: bounds

// ANCHOR: room
#[derive(Default)]
pub struct Room {
    /// Random for each run: an event id of an earlier run is no event id of this one.
    epoch: u64,
    users: Mutex<Users>,
    log: RwLock<Log>,
    /// Wakes all readers when the log has grown.
    grew: Notify,
    /// Ends all streams when it is cancelled.
    pub stop: CancellationToken,
}

#[derive(Default)]
struct Users {
    /// The id of a user stays a secret: whoever knows it can speak for the user.
    by_id: HashMap<u128, User>,
    /// How many users there have been so far: the latest one has this number.
    count: u64,
}

struct User {
    /// The number that everybody sees.
    number: u64,
    /// Ends the user's stream when it is cancelled.
    stop: CancellationToken,
}

/// The latest events, each with its sender's id, encoded once for all readers.
#[derive(Default)]
struct Log {
    kept: VecDeque<(u128, Bytes)>,
    /// How many events there were before those that are kept.
    forgotten: u64,
}

impl Log {
    /// The position of the newest event: how many events there have been.
    fn newest(&self) -> u64 {
        self.forgotten + self.kept.len() as u64
    }
}
// ANCHOR_END: room

/// The room has no place for one more user.
pub struct Full;

impl Room {
    pub fn new() -> Arc<Self> {
        Arc::new(Self { epoch: rand::random(), ..Self::default() })
    }

    // ANCHOR: publish
    /// Appends an event to the log. Every reader gets it but its sender.
    pub fn publish(&self, sender: u128, event: SseEvent) {
        let mut log = self.log.write();
        let event = event.id(self.event_id(log.newest() + 1));
        log.kept.push_back((sender, event.to_string().into()));
        if log.kept.len() > HISTORY {
            log.kept.pop_front();
            log.forgotten += 1;
        }
        drop(log);
        self.grew.notify_waiters();
    }
    // ANCHOR_END: publish

    // ANCHOR: ids
    fn event_id(&self, position: u64) -> String {
        format!("{:016x}-{position}", self.epoch)
    }

    /// The inverse of `event_id`. A client sends the id, so anything may be in it.
    fn position(&self, event_id: &str) -> Option<u64> {
        let position = event_id.split_once('-')?.1.parse().ok()?;
        (self.event_id(position) == event_id).then_some(position)
    }
    // ANCHOR_END: ids

    // ANCHOR: join
    /// A user comes, or comes back, with the id of the last event that its client has.
    pub fn join(
        self: &Arc<Self>,
        id: u128,
        last: Option<&str>,
    ) -> Result<Reader, Full> {
        let stop = self.stop.child_token();
        let number = self.enter(id, &stop)?;
        let (position, is_unknown) = self.begin(last);
        let user = event("user", format!("{id:032x}")).id(self.event_id(position));
        let name = event("name", format!("User#{number}"));
        let mut welcome = format!("{}{name}", user.retry(RETRY));
        if is_unknown {
            welcome += &event("missed", "unknown").to_string();
        }
        let welcome = Some(welcome.into());
        Ok(Reader { room: self.clone(), id, stop, welcome, position })
    }
    // ANCHOR_END: join

    // ANCHOR: enter
    /// Gives a user this stream, and a newcomer a number. A stream that the user still has
    /// ends: the client has given it up, even if the server does not know that yet.
    fn enter(&self, id: u128, stop: &CancellationToken) -> Result<u64, Full> {
        let mut users = self.users.lock();
        if let Some(user) = users.by_id.get_mut(&id) {
            mem::replace(&mut user.stop, stop.clone()).cancel();
            return Ok(user.number);
        }
        let others = users.by_id.len();
        if others == MAX_USERS {
            return Err(Full);
        }
        users.count += 1;
        let number = users.count;
        users.by_id.insert(id, User { number, stop: stop.clone() });
        self.announce("joined", id, number, others);
        Ok(number)
    }
    // ANCHOR_END: enter

    // ANCHOR: begin
    /// The position after which a reader continues, and whether its last event is unknown.
    fn begin(&self, last: Option<&str>) -> (u64, bool) {
        let log = self.log.read();
        let Some(last) = last else { return (log.newest(), false) };
        match self.position(last) {
            Some(position) if position <= log.newest() => (position, false),
            _ => (log.forgotten, true),
        }
    }
    // ANCHOR_END: begin

    /// The number of the user with this id, who must be in the room.
    pub fn number(&self, id: u128) -> Option<u64> {
        self.users.lock().by_id.get(&id).map(|user| user.number)
    }

    // ANCHOR: leave
    /// Forgets a user, unless a newer stream has taken the place of this one.
    fn leave(&self, id: u128, stop: &CancellationToken) {
        let mut users = self.users.lock();
        if !stop.is_cancelled()
            && let Some(user) = users.by_id.remove(&id)
        {
            self.announce("left", id, user.number, users.by_id.len());
        }
    }

    fn announce(&self, event_type: &str, id: u128, number: u64, others: usize) {
        if others < MAX_ANNOUNCED {
            self.publish(id, event(event_type, format!("User#{number}")));
        }
    }
    // ANCHOR_END: leave
}

fn event(event_type: &str, data: impl Display) -> SseEvent {
    SseEvent::default().name(event_type).text(data.to_string())
}

// ANCHOR: reader
/// One stream: a position in the log of the room.
pub struct Reader {
    room: Arc<Room>,
    id: u128,
    /// Ends this stream when it is cancelled.
    pub stop: CancellationToken,
    /// The events that are sent first.
    welcome: Option<Bytes>,
    /// The position of the last event that was sent to this reader.
    position: u64,
}

impl Reader {
    /// The bytes to send next: an event, or a comment when there is none for a while.
    pub async fn next(&mut self) -> Bytes {
        if let Some(welcome) = self.welcome.take() {
            return welcome;
        }
        loop {
            // Register before looking: an event that is published between the look and the
            // wait still wakes this reader.
            let grew = self.room.grew.notified();
            if let Some((bytes, position)) = self.unread() {
                self.position = position;
                return bytes;
            }
            if timeout(HEARTBEAT, grew).await.is_err() {
                return Bytes::from_static(b":\n\n");
            }
        }
    }

    /// The bytes of the first event that this reader does not have yet, and its position.
    fn unread(&self) -> Option<(Bytes, u64)> {
        let log = self.room.log.read();
        let missed = log.forgotten.saturating_sub(self.position);
        if missed > 0 {
            let id = self.room.event_id(log.forgotten);
            let event = event("missed", missed).id(id).to_string();
            return Some((event.into(), log.forgotten));
        }
        let unread = (self.position - log.forgotten) as usize;
        let (sender, event) = log.kept.get(unread)?;
        let position = self.position + 1;
        if *sender == self.id {
            // An id alone is no event. It counts one's own words as received, so that they
            // are not missed after a reconnect.
            let id = self.room.event_id(position);
            return Some((format!("id: {id}\n\n").into(), position));
        }
        Some((event.clone(), position))
    }
}
// ANCHOR_END: reader

// ANCHOR: guard
impl Drop for Reader {
    /// The client has closed the connection, or a write to it has failed.
    fn drop(&mut self) {
        let room = self.room.clone();
        let id = self.id;
        let stop = self.stop.clone();
        tokio::spawn(async move {
            sleep(GRACE).await;
            room.leave(id, &stop);
        });
    }
}
// ANCHOR_END: guard
