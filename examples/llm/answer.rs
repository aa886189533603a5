//! Answers that outlive the connections of their readers. This file knows nothing of HTTP.

use std::collections::VecDeque;
use std::mem::take;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use salvo::sse::SseEvent;
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::upstream::Upstream;

// ANCHOR: bounds
/// Bytes of an answer as events, so about 20,000 tokens. A longer one is cut off.
const MAX_ANSWER: usize = 1 << 20;
/// Answers that are generated at once: each costs money, or a processor.
pub const MAX_GENERATING: usize = 200;
/// Answers kept, 300 MiB at most; the oldest that is complete makes room.
const MAX_KEPT: usize = 256;
const _: () =
    assert!(MAX_KEPT > MAX_GENERATING, "a complete one can always make room");
/// How long a complete answer can be read again. It is forgotten at the next question.
const LIFE: Duration = Duration::from_secs(600);
/// How long an answer is generated that nobody reads: enough for a reload.
const GRACE: Duration = Duration::from_secs(5);
/// When a client connects again that has lost its connection: well within `GRACE`.
const RETRY: Duration = Duration::from_secs(1);
const _: () = assert!(
    RETRY.as_millis() < GRACE.as_millis(),
    "a reader who comes back is in time"
);
/// Silence after which a comment is sent: models think, and proxies cut silent streams.
const HEARTBEAT: Duration = Duration::from_secs(15);
// ANCHOR_END: bounds

/// All answers that this program knows.
pub struct Answers {
    upstream: Upstream,
    /// Answers with their ids, the oldest first. An id is a secret: whoever has it can read
    /// and stop the answer.
    kept: Mutex<VecDeque<(u128, Arc<Answer>)>>,
    /// A place for each answer that may be generated.
    generating: Arc<Semaphore>,
    /// A place for each reader of any answer.
    reading: Arc<Semaphore>,
    /// Cancelled when this program ends.
    stop: CancellationToken,
}

impl Answers {
    pub fn new(
        upstream: Upstream,
        readers: usize,
        stop: CancellationToken,
    ) -> Arc<Self> {
        Arc::new(Self {
            upstream,
            kept: Mutex::default(),
            generating: Arc::new(Semaphore::new(MAX_GENERATING)),
            reading: Arc::new(Semaphore::new(readers)),
            stop,
        })
    }

    // ANCHOR: begin
    /// Starts a task that generates an answer, and returns the answer's id; or `None`, if
    /// too many are being generated already.
    pub fn begin(self: &Arc<Self>, prompt: String) -> Option<u128> {
        let permit = self.generating.clone().try_acquire_owned().ok()?;
        let id = rand::random();
        let answer = Arc::<Answer>::default();
        self.keep(id, answer.clone());

        let answers = self.clone();
        tokio::spawn(async move {
            answer.generate(&prompt, &answers.upstream, &answers.stop).await;
            drop(permit);
        });
        Some(id)
    }
    // ANCHOR_END: begin

    pub fn place_for_a_reader(&self) -> Option<OwnedSemaphorePermit> {
        self.reading.clone().try_acquire_owned().ok()
    }

    /// Makes room for an answer, and keeps it.
    fn keep(&self, id: u128, answer: Arc<Answer>) {
        let mut kept = self.kept.lock();
        kept.retain(|(_, answer)| !answer.is_over_for(LIFE));
        if kept.len() == MAX_KEPT {
            let oldest =
                kept.iter().position(|(_, one)| one.is_over_for(Duration::ZERO));
            oldest.and_then(|oldest| kept.remove(oldest));
        }
        kept.push_back((id, answer));
    }

    pub fn find(&self, id: u128) -> Option<Arc<Answer>> {
        let kept = self.kept.lock();
        let (_, answer) = kept.iter().find(|(known, _)| *known == id)?;
        (!answer.is_over_for(LIFE)).then(|| answer.clone())
    }
}

// ANCHOR: answer
#[derive(Default)]
pub struct Answer {
    /// Readers wait until it changes.
    log: watch::Sender<Log>,
    /// How many connections read this answer.
    readers: watch::Sender<usize>,
    stop: CancellationToken,
}

#[derive(Default)]
struct Log {
    /// All events, encoded once for all readers.
    bytes: Vec<u8>,
    /// Where each event ends in `bytes`. The id of an event is its place here, from 1.
    ends: Vec<usize>,
    /// When the last event came, if it has come.
    over: Option<Instant>,
}
// ANCHOR_END: answer

impl Answer {
    // ANCHOR: generate
    async fn generate(
        &self,
        prompt: &str,
        upstream: &Upstream,
        server_stop: &CancellationToken,
    ) {
        let end = tokio::select! {
            biased;
            () = server_stop.cancelled() => Err("this server is being stopped".into()),
            () = self.stop.cancelled() => Ok(json!({ "finish_reason": "stopped", "usage": null })),
            // ANCHOR: abandoned
            () = self.abandoned() => Err("nobody was reading any more".into()),
            end = upstream.ask(prompt, |text| self.token(text)) => end,
            // ANCHOR_END: abandoned
        };
        // If `ask` was not through, it has been dropped, and its connection with it.
        match end {
            Ok(done) => self.append("done", &done, true),
            Err(reason) => {
                tracing::warn!("no whole answer: {reason}");
                self.append("failure", &json!({ "reason": reason }), true)
            }
        };
    }

    /// Waits until there has been no reader for a while.
    async fn abandoned(&self) {
        let mut readers = self.readers.subscribe();
        loop {
            // An error would mean that the sender is gone; it is a part of `self`.
            _ = readers.wait_for(|count| *count == 0).await;
            let back = readers.wait_for(|count| *count > 0);
            if timeout(GRACE, back).await.is_err() {
                return;
            }
        }
    }
    // ANCHOR_END: generate

    // ANCHOR: append
    fn token(&self, text: &str) -> Result<(), String> {
        if self.append("token", &json!({ "text": text }), false) > MAX_ANSWER {
            return Err(format!("the answer is cut off at {MAX_ANSWER} bytes"));
        }
        Ok(())
    }

    /// Appends an event, and returns how many bytes the log has now.
    fn append(&self, event_type: &str, data: &Value, is_last: bool) -> usize {
        let mut bytes = 0;
        self.log.send_modify(|log| {
            let id = (log.ends.len() + 1).to_string();
            let event = SseEvent::default().name(event_type).text(data.to_string());
            log.bytes.extend_from_slice(event.id(id).to_string().as_bytes());
            log.ends.push(log.bytes.len());
            if is_last {
                log.bytes.shrink_to_fit();
                log.over = Some(Instant::now());
            }
            bytes = log.bytes.len();
        });
        bytes
    }
    // ANCHOR_END: append

    /// Ends the answer, because a reader wants no more of it.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    // ANCHOR: position
    /// Where a reader continues who has this last event ID. A page that was reloaded has none,
    /// and begins at the start.
    pub fn position_after(&self, last: Option<&[u8]>) -> usize {
        let last = last.and_then(|id| str::from_utf8(id).ok()?.parse().ok());
        let events = self.log.borrow().ends.len();
        last.filter(|last| *last <= events).unwrap_or(0)
    }

    /// Whether nothing will ever follow at this position.
    pub fn is_over_at(&self, position: usize) -> bool {
        let log = self.log.borrow();
        log.over.is_some() && position == log.ends.len()
    }
    // ANCHOR_END: position

    /// Whether the answer has been complete for at least this time.
    fn is_over_for(&self, time: Duration) -> bool {
        self.log.borrow().over.is_some_and(|over| over.elapsed() >= time)
    }
}

// ANCHOR: reader
pub struct Reader {
    answer: Arc<Answer>,
    log: watch::Receiver<Log>,
    /// How many events have been sent to this reader, or to its client before.
    position: usize,
    is_new: bool,
    _place: OwnedSemaphorePermit,
}

impl Reader {
    pub fn new(
        answer: Arc<Answer>,
        position: usize,
        place: OwnedSemaphorePermit,
    ) -> Self {
        answer.readers.send_modify(|count| *count += 1);
        let log = answer.log.subscribe();
        Self { answer, log, position, is_new: true, _place: place }
    }

    /// Returns the bytes to send next: at first, when to come back; then an event, or a
    /// comment when there is none for a while; `None` after the last event.
    pub async fn next(&mut self) -> Option<Bytes> {
        if take(&mut self.is_new) {
            return Some(format!("retry: {}\n", RETRY.as_millis()).into());
        }
        loop {
            if let Some(event) = self.unread() {
                self.position += 1;
                return Some(event);
            }
            if self.answer.is_over_at(self.position) {
                return None;
            }
            if timeout(HEARTBEAT, self.log.changed()).await.is_err() {
                return Some(Bytes::from_static(b":\n"));
            }
        }
    }

    fn unread(&mut self) -> Option<Bytes> {
        let log = self.log.borrow_and_update();
        let end = *log.ends.get(self.position)?;
        let start = self.position.checked_sub(1).map_or(0, |last| log.ends[last]);
        Some(Bytes::copy_from_slice(&log.bytes[start..end]))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.answer.readers.send_modify(|count| *count -= 1);
    }
}
// ANCHOR_END: reader
