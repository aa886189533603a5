//! The stream: numbers that say when they were written, so that a reader sees how late each
//! of them comes.

use std::convert::Infallible;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures_util::stream::{self, Stream, StreamExt};
use salvo::http::{HeaderName, HeaderValue, Method, header};
use salvo::prelude::*;
use salvo::sse::SseEvent;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Duration, Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::edge::refuse_foreign;

/// Milliseconds between two events: from what a timer can do to an hour of silence.
const EVERY: RangeInclusive<u64> = 1..=3_600_000;
/// Events of a stream.
const COUNT: RangeInclusive<u64> = 1..=1_000_000;
/// Bytes of an event. A shorter one is as long as its number and time are.
const BYTES: RangeInclusive<u64> = 0..=65_536;
/// Milliseconds of silence before a comment; 0 stands for no comments.
const HEARTBEAT: RangeInclusive<u64> = 0..=3_600_000;

pub type Reply<T> = Result<T, StatusError>;

/// The wishes of a client, in its query.
struct Asked {
    every: Duration,
    count: u64,
    bytes: usize,
    heartbeat: Option<Duration>,
    /// Whether the answer asks nginx to hold nothing back.
    has_header: bool,
}

impl Asked {
    fn read(req: &Request) -> Reply<Self> {
        refuse_unknown(req, &["every", "count", "bytes", "heartbeat", "header"])?;
        let heartbeat = number(req, "heartbeat", 15_000, HEARTBEAT)?;
        Ok(Self {
            every: Duration::from_millis(number(req, "every", 50, EVERY)?),
            count: number(req, "count", 60, COUNT)?,
            bytes: number(req, "bytes", 0, BYTES)? as usize,
            heartbeat: (heartbeat > 0).then(|| Duration::from_millis(heartbeat)),
            has_header: yes(req, "header", true)?,
        })
    }
}

// ANCHOR: listen
/// Answers with the stream.
#[derive(Clone)]
pub struct Listen {
    pub places: Arc<Semaphore>,
    pub stop: CancellationToken,
    /// The panel hears here when an event is written.
    pub written: Option<mpsc::Sender<(u64, Instant)>>,
}

#[handler]
impl Listen {
    async fn handle(&self, req: &Request, res: &mut Response) -> Reply<()> {
        refuse_foreign(req)?;
        let asked = Asked::read(req)?;
        let has_header = asked.has_header;
        if req.method() == Method::HEAD {
            send(res, stream::empty()); // the head alone
        } else {
            let place = self.places.clone().try_acquire_owned().map_err(full)?;
            let numbers = Numbers::new(asked, self.written.clone(), place);
            let numbers = stream::unfold(numbers, async |mut numbers| {
                Some((numbers.next().await?, numbers))
            });
            send(res, numbers.take_until(self.stop.clone().cancelled_owned()));
        }
        if !has_header {
            res.headers_mut().remove("x-accel-buffering");
        }
        Ok(())
    }
}
// ANCHOR_END: listen

struct Numbers {
    asked: Asked,
    began: Instant,
    /// The last number that was written.
    number: u64,
    /// When a comment has to be written, if there is nothing else.
    quiet: Option<Instant>,
    is_over: bool,
    written: Option<mpsc::Sender<(u64, Instant)>>,
    _place: OwnedSemaphorePermit,
}

impl Numbers {
    fn new(
        asked: Asked,
        written: Option<mpsc::Sender<(u64, Instant)>>,
        _place: OwnedSemaphorePermit,
    ) -> Self {
        let began = Instant::now();
        Self {
            asked,
            began,
            number: 0,
            quiet: None,
            is_over: false,
            written,
            _place,
        }
    }

    // ANCHOR: next
    /// The next event: the first one at once, each further one at its time.
    async fn next(&mut self) -> Option<Bytes> {
        if self.is_over {
            return None;
        }
        // ANCHOR: last
        if self.number == self.asked.count {
            self.is_over = true; // no event follows this one, and the reader knows it
            let end = SseEvent::default().name("end").text(self.number.to_string());
            return Some(end.to_string().into());
        }
        // ANCHOR_END: last
        let due = self.began + self.asked.every.mul_f64(self.number as f64);
        // ANCHOR: heartbeat
        let quiet = self.quiet.filter(|quiet| *quiet < due);
        sleep_until(quiet.unwrap_or(due)).await;
        self.quiet = self.asked.heartbeat.map(|time| Instant::now() + time);
        if quiet.is_some() {
            return Some(Bytes::from_static(b":\n"));
        }
        // ANCHOR_END: heartbeat
        self.number += 1;
        Some(self.event())
    }
    // ANCHOR_END: next

    /// The number, the microseconds since 1970, and as many `x` as bytes are asked for.
    fn event(&self) -> Bytes {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut data = format!("{} {}", self.number, now.as_micros());
        let lacking =
            self.asked.bytes.saturating_sub("data: \n\n".len() + data.len());
        if lacking > 1 {
            data.push(' ');
            data.push_str(&"x".repeat(lacking - 1));
        }
        if let Some(written) = &self.written {
            // The panel has room for the events of a run.
            written.try_send((self.number, Instant::now())).ok();
        }
        SseEvent::default().text(data).to_string().into()
    }
}

/// Sends a stream that no cache keeps, and no proxy holds back.
pub fn send(res: &mut Response, events: impl Stream<Item = Bytes> + Send + 'static) {
    let unbuffered = HeaderName::from_static("x-accel-buffering");
    res.headers_mut().extend([
        (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (unbuffered, HeaderValue::from_static("no")),
    ]);
    res.stream(events.map(Ok::<_, Infallible>));
}

pub fn full<T>(_: T) -> StatusError {
    StatusError::service_unavailable().brief("too many streams are open")
}

/// A parameter with another name is a mistake of the client.
pub fn refuse_unknown(req: &Request, known: &[&str]) -> Reply<()> {
    match req.queries().keys().find(|name| !known.contains(&name.as_str())) {
        Some(name) => Err(bad(format!("there is no parameter `{name}` here"))),
        None => Ok(()),
    }
}

fn number(
    req: &Request,
    name: &str,
    usual: u64,
    range: RangeInclusive<u64>,
) -> Reply<u64> {
    let Some(text) = req.queries().get(name) else { return Ok(usual) };
    let number = text.parse().ok().filter(|number| range.contains(number));
    let why = format!("`{name}` is {} to {}", range.start(), range.end());
    number.ok_or_else(|| bad(why))
}

/// A switch: `yes` or `no`.
pub fn yes(req: &Request, name: &str, usual: bool) -> Reply<bool> {
    match req.queries().get(name).map(String::as_str) {
        None => Ok(usual),
        Some("yes") => Ok(true),
        Some("no") => Ok(false),
        Some(_) => Err(bad(format!("`{name}` is yes or no"))),
    }
}

pub fn bad(why: impl Into<String>) -> StatusError {
    StatusError::bad_request().brief(why)
}
