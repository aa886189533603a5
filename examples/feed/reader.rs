//! The feed and its readers. A reader is a position in the log, whatever it is kept in.

use std::collections::{HashMap, hash_map::Entry};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use salvo::sse::SseEvent;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::log::{Chunk, Failure, Id, Next, Tail};
use super::store::Store;

/// Readers at once, where the system allows as many open files.
pub const MAX_READERS: usize = 16_384;
/// How long a client waits that has lost its connection, before it connects again.
const RETRY: Duration = Duration::from_secs(1);
/// Silence after which a comment is sent: proxies cut quiet streams, nginx after 60 s.
const HEARTBEAT: Duration = Duration::from_secs(15);

pub struct Feed {
    pub store: Store,
    tail: Arc<Tail>,
    places: Arc<Semaphore>,
    /// Readers that can be cut, by the ID that only they know.
    named: Mutex<HashMap<u128, CancellationToken>>,
    /// Ends all streams, each with its last chunk.
    pub stop: CancellationToken,
}

impl Feed {
    pub fn new(store: Store, tail: Arc<Tail>, readers: usize) -> Self {
        Self {
            store,
            tail,
            places: Arc::new(Semaphore::new(readers)),
            named: Mutex::default(),
            stop: CancellationToken::new(),
        }
    }

    /// Ends the stream of the reader that has this ID, and says whether there was one.
    pub fn cut(&self, id: u128) -> bool {
        let found = self.named.lock().remove(&id);
        found.inspect(CancellationToken::cancel).is_some()
    }

    pub async fn reader(
        self: &Arc<Self>,
        from: Begin,
        id: Option<u128>,
    ) -> Result<Reader, Failure> {
        let full = |_| Failure::Unavailable("too many readers".into());
        let place = self.places.clone().try_acquire_owned().map_err(full)?;
        let position = match from {
            Begin::Now => self.tail.newest(),
            Begin::After(id) => id,
            Begin::Start | Begin::Malformed => self.store.start().await?,
        };
        let begin = match from {
            Begin::Malformed => {
                resync("malformed", position).retry(RETRY).to_string()
            }
            _ => begin(position),
        };
        let stop = self.stop.child_token();
        if let Some(id) = id {
            // A stream that this reader still has ends: the client has given it up.
            match self.named.lock().entry(id) {
                Entry::Occupied(mut old) => old.insert(stop.clone()).cancel(),
                Entry::Vacant(free) => drop(free.insert(stop.clone())),
            }
        }
        let begin = Some(begin.into());
        let feed = self.clone();
        Ok(Reader { feed, id, begin, position, stop, _place: place })
    }

    /// Says how the log goes on after an event: from memory if it can, or from the store.
    async fn next_after(&self, id: Id) -> Result<Next<Chunk>, Failure> {
        if let Some(next) = self.tail.next_after(id) {
            return Ok(next);
        }
        Ok(match self.store.after(id).await? {
            Next::Events(events) => Next::chunk(&events),
            Next::UpToDate => Next::UpToDate,
            Next::Gap { resume_after } => Next::Gap { resume_after },
        })
    }
}

/// Where a reader wants to begin.
#[derive(Clone, Copy)]
pub enum Begin {
    /// With the next event.
    Now,
    /// With the oldest event that is kept.
    Start,
    /// After this event.
    After(Id),
    /// After something that is no ID of this feed.
    Malformed,
}

/// The first event of a stream says nothing, and gives its reader a place: who is cut off
/// before the next one comes back with this ID, and misses nothing. By the standard, an ID
/// would count without type and data. In Firefox and Safari it does not.
// ANCHOR: begin_event
fn begin(position: Id) -> String {
    let retry = RETRY.as_millis();
    format!("event: begin\ndata:\nid: {position}\nretry: {retry}\n\n")
}
// ANCHOR_END: begin_event

/// Says that a reader may have missed events, why, and after which event it continues.
fn resync(reason: &str, position: Id) -> SseEvent {
    let data = format!(r#"{{"reason":"{reason}","after":"{position}"}}"#);
    SseEvent::default().name("resync").text(data).id(position.to_string())
}

/// One stream: a position in the log, and nothing that could fill up.
pub struct Reader {
    feed: Arc<Feed>,
    id: Option<u128>,
    /// The first block of the stream, until it is sent.
    begin: Option<Bytes>,
    /// The last event that was sent to this reader.
    position: Id,
    /// Ends the stream.
    pub stop: CancellationToken,
    _place: OwnedSemaphorePermit,
}

impl Reader {
    /// Waits for events, and returns them, or a comment when there are none for a while.
    pub async fn next(&mut self) -> Bytes {
        if let Some(begin) = self.begin.take() {
            return begin;
        }
        let comment = Bytes::from_static(b":\n"); // no block: some clients make events of these
        timeout(HEARTBEAT, self.news()).await.unwrap_or(comment)
    }

    async fn news(&mut self) -> Bytes {
        let feed = self.feed.clone();
        loop {
            // Register before looking. An event that is stored between the look and the
            // wait still wakes this reader.
            let grew = feed.tail.grew();
            match feed.next_after(self.position).await {
                Ok(Next::Events(chunk)) => {
                    self.position = chunk.last;
                    return chunk.bytes;
                }
                Ok(Next::Gap { resume_after }) => {
                    let is_older = self.position < resume_after;
                    let reason = if is_older { "expired" } else { "unknown" };
                    self.position = resume_after;
                    return resync(reason, resume_after).to_string().into();
                }
                Ok(Next::UpToDate) => {}
                // Heartbeats go on, and so does the reader when the store is back.
                Err(failure) => tracing::debug!("a reader waits: {failure}"),
            }
            grew.await;
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // A stream that was cut, or has a successor, is no longer the one of this ID.
        if let Some(id) = self.id
            && !self.stop.is_cancelled()
        {
            self.feed.named.lock().remove(&id);
        }
    }
}
