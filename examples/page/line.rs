//! A line: numbers that count up, five a second, for the reader who knows its id, and the
//! faults that this reader has asked for. Nothing here knows HTTP, apart from the format of
//! an event.

use std::collections::VecDeque;
use std::{future, sync::Arc};

use bytes::Bytes;
use parking_lot::Mutex;
use salvo::prelude::*;
use salvo::sse::SseEvent;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Duration, Instant, sleep_until};
use tokio_util::sync::CancellationToken;

/// Lines at once; the one that was asked for least lately makes room, if nobody listens to it.
const MAX_LINES: usize = 1_024;
/// The time between two numbers.
const PACE: Duration = Duration::from_millis(200);
/// Numbers that a reader gets later, if it was away: those of ten minutes.
const KEPT: u64 = 3_000;
/// Numbers that are sent at once to a reader who is behind: 32 KiB.
const PAGE: u64 = 500;
/// Silence after which a comment is sent. It is short because the page waits for no more
/// than 4 s for a sign of life.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// How long a client that has lost its connection waits before it connects again.
const RETRY: Duration = Duration::from_secs(1);
/// How long a blind connection is held: nothing is ever written to it, so that nothing tells
/// this program that its client is gone.
const BLIND: Duration = Duration::from_secs(300);

/// The lines, the one that was asked for last at the end.
pub struct Lines {
    lines: Mutex<VecDeque<Arc<Line>>>,
    /// One for each stream.
    places: Arc<Semaphore>,
    /// Ends all streams when it is cancelled.
    pub stop: CancellationToken,
}

// ANCHOR: line
/// Number `n` is due `n` × `PACE` after the line began. So the log is a clock: it takes no
/// memory, and every reader finds the same numbers in it.
pub struct Line {
    id: String,
    /// Random for each line: an event id of an earlier one is no event id of this one.
    epoch: u64,
    began: Instant,
    /// Each stream has a receiver.
    faults: watch::Sender<Faults>,
}

#[derive(Clone, Default)]
struct Faults {
    /// How often all connections were cut.
    kills: u64,
    /// How late each event is.
    delay: Duration,
    /// Until then, connections go blind.
    blind: Option<Instant>,
    /// Until then, nobody is let in.
    refused: Option<Instant>,
    /// The last number, if the line is over.
    end: Option<u64>,
}
// ANCHOR_END: line

/// How a reader gets an event: made of the line's id, the event's type and its data.
pub type Write = fn(line: &str, event_type: &str, data: &str) -> SseEvent;

/// An event as it is.
pub fn plain(_: &str, event_type: &str, data: &str) -> SseEvent {
    SseEvent::default().name(event_type).text(data)
}

/// A line for which there is no place, or no place for one more stream.
pub struct Full;

impl Lines {
    pub fn new(max_streams: usize) -> Arc<Self> {
        let places = Arc::new(Semaphore::new(max_streams));
        let stop = CancellationToken::new();
        Arc::new(Self { lines: Mutex::default(), places, stop })
    }

    pub fn find(&self, id: &str) -> Option<Arc<Line>> {
        self.lines.lock().iter().find(|line| line.id == id).cloned()
    }

    /// Finds a line, or begins one, and opens a stream after this event id.
    pub fn read(
        &self,
        id: &str,
        last: Option<&[u8]>,
        write: Write,
        conn: ConnCtrl,
    ) -> Result<Reader, Full> {
        let place = self.places.clone().try_acquire_owned().map_err(|_| Full)?;
        let mut lines = self.lines.lock();
        let known = lines.iter().position(|line| line.id == id);
        let known = known.and_then(|at| lines.remove(at));
        if known.is_none() && lines.len() == MAX_LINES {
            let idle = lines.iter().position(|line| line.open() == 0).ok_or(Full)?;
            lines.remove(idle);
        }
        let line = known.unwrap_or_else(|| Arc::new(Line::new(id)));
        lines.push_back(line.clone());
        Ok(line.read(last, write, conn, place))
    }
}

impl Line {
    fn new(id: &str) -> Self {
        Self {
            id: id.into(),
            epoch: rand::random(),
            began: Instant::now(),
            faults: watch::Sender::default(),
        }
    }

    /// How many connections are open.
    pub fn open(&self) -> usize {
        self.faults.receiver_count()
    }

    /// How late each event is.
    pub fn delay(&self) -> Duration {
        self.faults.borrow().delay
    }

    /// Whether no number follows.
    pub fn is_over(&self) -> bool {
        self.faults.borrow().end.is_some()
    }

    // ANCHOR: act
    /// Does what the reader asks for, and says whether it knows that.
    pub fn act(&self, act: &str, time: Duration) -> bool {
        let until = Some(Instant::now() + time);
        let newest = self.newest(Duration::ZERO);
        self.faults.send_if_modified(|faults| {
            match act {
                "kill" => faults.kills += 1,
                "blind" => faults.blind = until,
                "delay" => faults.delay = time,
                "refuse" => {
                    faults.kills += 1;
                    faults.refused = until;
                }
                "end" => faults.end = faults.end.or(Some(newest)),
                "heal" => {
                    *faults = Faults { kills: faults.kills, ..Faults::default() }
                }
                _ => return false,
            }
            true
        })
    }
    // ANCHOR_END: act

    /// How long nobody is let in.
    pub fn refuses(&self) -> Option<Duration> {
        let until = self.faults.borrow().refused?;
        until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
    }

    // ANCHOR: over
    /// Whether nothing follows this event id: the line is over, and this client has it all.
    pub fn is_over_after(&self, last: Option<&[u8]>) -> bool {
        let last = last.and_then(|id| self.number(id));
        last.is_some_and(|last| {
            self.faults.borrow().end.is_some_and(|end| last >= end)
        })
    }
    // ANCHOR_END: over

    /// The newest number that is due, if each is late by this time.
    fn newest(&self, delay: Duration) -> u64 {
        let since = self.began.elapsed().saturating_sub(delay);
        (since.as_millis() / PACE.as_millis()) as u64
    }

    fn due(&self, number: u64, delay: Duration) -> Instant {
        self.began + Duration::from_millis(PACE.as_millis() as u64 * number) + delay
    }

    // ANCHOR: ids
    fn event_id(&self, number: u64) -> String {
        format!("{:016x}-{number}", self.epoch)
    }

    /// The inverse of `event_id`. A client sends the id, so anything may be in it.
    fn number(&self, event_id: &[u8]) -> Option<u64> {
        let event_id = str::from_utf8(event_id).ok()?;
        let number = event_id.split_once('-')?.1.parse().ok()?;
        (self.event_id(number) == event_id).then_some(number)
    }
    // ANCHOR_END: ids

    // ANCHOR: begin
    fn read(
        self: Arc<Self>,
        last: Option<&[u8]>,
        write: Write,
        conn: ConnCtrl,
        place: OwnedSemaphorePermit,
    ) -> Reader {
        let faults = self.faults.subscribe();
        let Faults { kills, delay, .. } = *faults.borrow();
        let newest = self.newest(Duration::ZERO);
        let known = last.map(|id| self.number(id).filter(|known| *known <= newest));
        let mut welcome = SseEvent::default().retry(RETRY).to_string();
        let position = match known {
            None => self.newest(delay), // a newcomer starts with the next number
            Some(Some(number)) => number,
            Some(None) => {
                let oldest = newest.saturating_sub(KEPT);
                welcome += &self.event(write, "missed", "unknown", oldest);
                oldest
            }
        };
        let welcome = Some(welcome.into());
        Reader {
            line: self,
            write,
            conn,
            faults,
            kills,
            position,
            welcome,
            is_blind: false,
            is_done: false,
            _place: place,
        }
    }
    // ANCHOR_END: begin

    fn event(
        &self,
        write: Write,
        event_type: &str,
        data: impl ToString,
        number: u64,
    ) -> String {
        let event = write(&self.id, event_type, &data.to_string());
        event.id(self.event_id(number)).to_string()
    }
}

/// One stream: a position in the line.
pub struct Reader {
    line: Arc<Line>,
    write: Write,
    conn: ConnCtrl,
    faults: watch::Receiver<Faults>,
    /// How often the connections of the line had been cut before this one came.
    kills: u64,
    /// The last number that was sent.
    position: u64,
    /// The bytes that are sent first.
    welcome: Option<Bytes>,
    is_blind: bool,
    is_done: bool,
    _place: OwnedSemaphorePermit,
}

impl Reader {
    // ANCHOR: next
    /// The bytes to send next. They come late, or never, if the reader has asked for that.
    pub async fn next(&mut self) -> Option<Bytes> {
        let quiet = Instant::now() + HEARTBEAT;
        let blind = Instant::now() + BLIND;
        while !self.is_done {
            let faults = self.faults.borrow_and_update().clone();
            if faults.kills != self.kills {
                self.conn.abort(); // no last chunk, as where a network goes
                return future::pending().await;
            }
            self.is_blind |= faults.blind.is_some_and(|end| Instant::now() < end);
            let mut wake = blind;
            if self.is_blind {
                self.is_done = Instant::now() >= blind;
            } else {
                if let Some(bytes) = self.unread(&faults) {
                    return Some(bytes);
                }
                if Instant::now() >= quiet {
                    return Some(Bytes::from_static(b":\n"));
                }
                wake = quiet.min(self.line.due(self.position + 1, faults.delay));
            }
            tokio::select! { _ = self.faults.changed() => {}, () = sleep_until(wake) => {} }
        }
        None
    }
    // ANCHOR_END: next

    // ANCHOR: unread
    /// The events that this reader does not have yet.
    fn unread(&mut self, faults: &Faults) -> Option<Bytes> {
        if let Some(welcome) = self.welcome.take() {
            return Some(welcome);
        }
        let newest = self.line.newest(faults.delay);
        let newest = faults.end.unwrap_or(newest);
        let oldest = newest.saturating_sub(KEPT);
        if self.position < oldest {
            let missed = self.event("missed", oldest - self.position, oldest);
            self.position = oldest;
            return Some(missed.into());
        }
        // Nobody is sent away who lacks a number.
        if faults.end.is_some_and(|end| self.position >= end) {
            self.is_done = true;
            return Some(self.event("end", "", self.position).into());
        }
        let numbers = self.position + 1..=newest.min(self.position + PAGE);
        let events = numbers.map(|number| {
            self.position = number;
            self.event("number", number, number)
        });
        let events: String = events.collect();
        (!events.is_empty()).then(|| events.into())
    }
    // ANCHOR_END: unread

    fn event(&self, event_type: &str, data: impl ToString, number: u64) -> String {
        self.line.event(self.write, event_type, data, number)
    }
}
