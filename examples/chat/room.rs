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

/// Users at once, if so many files may be open: an idle one costs less than 16 KiB in this
/// program, so all together 256 MiB. (One that does not read costs more in the kernel.)
pub const MAX_USERS: usize = 16_384;
/// Users whose coming and going is announced: n users who come cost n²/2 deliveries.
const MAX_ANNOUNCED: usize = 100;
/// Messages kept for readers who are slow or were away: 4 MiB, if all have 4 KiB, and
/// 28 MiB, if somebody sends almost nothing but newlines: each becomes a `data: ` line.
const HISTORY: usize = 1_024;
/// Announcements kept besides: they do not push messages out, however many come and go.
const ANNOUNCEMENTS: usize = 256;
/// How long a user without a connection stays.
const GRACE: Duration = Duration::from_secs(5);
/// How long a client that has lost its connection waits before it connects again: well
/// within `GRACE`.
const RETRY: Duration = Duration::from_secs(1);
/// Silence after which a comment is sent: proxies cut quiet streams, nginx after 60 s.
const HEARTBEAT: Duration = Duration::from_secs(15);

// ANCHOR: room
#[derive(Default)]
pub struct Room {
    /// Random for each run: an event id of an earlier run is no event id of this one.
    epoch: u64,
    /// How many users there may be.
    max_users: usize,
    users: Mutex<Users>,
    log: RwLock<Log>,
    /// Wakes all readers when the log has grown.
    grew: Notify,
    /// Ends all streams when it is cancelled.
    pub stop: CancellationToken,
}
// ANCHOR_END: room

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

// ANCHOR: log
/// The latest events, in order.
#[derive(Default)]
struct Log {
    kept: VecDeque<Entry>,
    /// How many of them are announcements.
    announcements: usize,
    /// The position of the newest event: how many events there have been.
    newest: u64,
    /// The position of the newest message that is no longer kept.
    forgotten: u64,
}

struct Entry {
    position: u64,
    sender: u128,
    kind: Kind,
    /// The event, encoded once for all readers.
    bytes: Bytes,
}
// ANCHOR_END: log

#[derive(Clone, Copy, PartialEq)]
pub enum Kind {
    Message,
    /// Somebody joined, or left.
    Announcement,
}

impl Log {
    /// Removes the oldest event of a kind of which there is one too many.
    fn forget(&mut self) {
        let is_announcement = |entry: &Entry| entry.kind == Kind::Announcement;
        if self.announcements > ANNOUNCEMENTS {
            let oldest = self.kept.iter().position(is_announcement);
            oldest.and_then(|oldest| self.kept.remove(oldest));
            self.announcements -= 1;
        }
        while self.kept.len() - self.announcements > HISTORY
            && let Some(oldest) = self.kept.pop_front()
        {
            match oldest.kind {
                Kind::Announcement => self.announcements -= 1,
                Kind::Message => self.forgotten = oldest.position,
            }
        }
    }

    /// The first event after this position.
    fn after(&self, position: u64) -> Option<&Entry> {
        // It is there, or some announcements further on, where some have been removed.
        let later = usize::try_from(self.newest - position).ok()?;
        let from = self.kept.len().saturating_sub(later);
        self.kept.range(from..).find(|entry| entry.position > position)
    }
}

/// The room has no place for one more user.
pub struct Full;

impl Room {
    pub fn new(max_users: usize) -> Arc<Self> {
        Arc::new(Self { epoch: rand::random(), max_users, ..Self::default() })
    }

    // ANCHOR: publish
    /// Appends an event to the log. Every reader gets it but its sender.
    pub fn publish(&self, sender: u128, kind: Kind, event: SseEvent) {
        let mut log = self.log.write();
        log.newest += 1;
        let position = log.newest;
        let bytes = event.id(self.event_id(position)).to_string().into();
        log.kept.push_back(Entry { position, sender, kind, bytes });
        log.announcements += usize::from(kind == Kind::Announcement);
        log.forget();
        drop(log);
        self.grew.notify_waiters();
    }
    // ANCHOR_END: publish

    // ANCHOR: ids
    // ANCHOR: event_id
    fn event_id(&self, position: u64) -> String {
        format!("{:016x}-{position}", self.epoch)
    }
    // ANCHOR_END: event_id

    /// The inverse of `event_id`. A client sends the id, so anything may be in it.
    fn position(&self, event_id: &[u8]) -> Option<u64> {
        let event_id = str::from_utf8(event_id).ok()?;
        let position = event_id.split_once('-')?.1.parse().ok()?;
        (self.event_id(position) == event_id).then_some(position)
    }
    // ANCHOR_END: ids

    // ANCHOR: join
    /// A user comes, or comes back, with the id of the last event that its client has.
    pub fn join(
        self: &Arc<Self>,
        id: u128,
        last: Option<&[u8]>,
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

    /// Gives a user this stream, and a newcomer a number. A stream that the user still has
    /// ends: the client has given it up, even if the server does not know that yet.
    fn enter(&self, id: u128, stop: &CancellationToken) -> Result<u64, Full> {
        let mut users = self.users.lock();
        // ANCHOR: replace
        if let Some(user) = users.by_id.get_mut(&id) {
            mem::replace(&mut user.stop, stop.clone()).cancel();
            return Ok(user.number);
        }
        // ANCHOR_END: replace
        let others = users.by_id.len();
        if others == self.max_users {
            return Err(Full);
        }
        users.count += 1;
        let number = users.count;
        users.by_id.insert(id, User { number, stop: stop.clone() });
        self.announce("joined", id, number, others);
        Ok(number)
    }

    // ANCHOR: begin
    /// The position after which a reader continues, and whether its last event is unknown.
    fn begin(&self, last: Option<&[u8]>) -> (u64, bool) {
        let log = self.log.read();
        let Some(last) = last else { return (log.newest, false) };
        match self.position(last) {
            Some(position) if position <= log.newest => (position, false),
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
    // ANCHOR_END: leave

    fn announce(&self, event_type: &str, id: u128, number: u64, others: usize) {
        // ANCHOR: crowd
        if others < MAX_ANNOUNCED {
            let event = event(event_type, format!("User#{number}"));
            self.publish(id, Kind::Announcement, event);
        }
        // ANCHOR_END: crowd
    }
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
// ANCHOR_END: reader

impl Reader {
    // ANCHOR: next
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
                return Bytes::from_static(b":\n");
            }
        }
    }
    // ANCHOR_END: next

    // ANCHOR: unread
    /// The bytes of the first event that this reader does not have yet, and its position.
    fn unread(&self) -> Option<(Bytes, u64)> {
        let log = self.room.log.read();
        let missed = log.forgotten.saturating_sub(self.position);
        // ANCHOR: missed_some
        if missed > 0 {
            let id = self.room.event_id(log.forgotten);
            let event = event("missed", missed).id(id).to_string();
            return Some((event.into(), log.forgotten));
        }
        // ANCHOR_END: missed_some
        let entry = log.after(self.position)?;
        // ANCHOR: own
        if entry.sender == self.id {
            // This counts one's own words as received, so that they are not missed after a
            // reconnect. Firefox, for one, takes no notice of an ID without data.
            let id = self.room.event_id(entry.position);
            return Some((
                event("own", "").id(id).to_string().into(),
                entry.position,
            ));
        }
        // ANCHOR_END: own
        Some((entry.bytes.clone(), entry.position))
    }
    // ANCHOR_END: unread
}

// ANCHOR: guard
impl Drop for Reader {
    /// The client has closed the connection, or a write to it has failed.
    fn drop(&mut self) {
        let room = self.room.clone();
        let id = self.id;
        let stop = self.stop.clone();
        // ANCHOR: grace
        tokio::spawn(async move {
            sleep(GRACE).await;
            room.leave(id, &stop);
        });
        // ANCHOR_END: grace
    }
}
// ANCHOR_END: guard
