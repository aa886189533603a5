//! A probe: numbered bytes that say when they were written, and a reader that notes when
//! each of them came. Server and reader have one clock, because they are one process.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use nix::sys::socket::{setsockopt, sockopt};
use salvo::prelude::*;
use salvo::sse::{self, SseEvent};
use serde_json::Value;
use tests::{Dechunker, serve, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::record::{self, number};

/// The beginning of all times.
static CLOCK: LazyLock<Instant> = LazyLock::new(Instant::now);
/// The bytes of an event around its number: `data: ` and two line ends.
const FRAME: usize = 8;
/// The bytes of a stream in a packet of Ethernet.
const ETHERNET: u32 = 1460;

/// The largest delay of the middle event that is called *at once*.
const AT_ONCE_US: u64 = 2_000;
/// A look in which no event was this late was not disturbed.
const UNDISTURBED_US: u64 = 10_000;

/// A stream to be asked for.
#[derive(Clone, Copy)]
pub struct Probe {
    pub events: u32,
    /// The time between two events, and in front of the first.
    pub every: Duration,
    /// The size of an event on the wire, without HTTP's chunk around it.
    pub bytes: usize,
    /// Whether the server asks proxies not to buffer.
    pub header: bool,
    /// Whether packets have the size that they have on a network. On loopback, one takes
    /// 64 kB.
    pub over_ethernet: bool,
}

/// A stream as its reader saw it. All times are microseconds since the request.
pub struct Look {
    /// When the first byte of the head came.
    pub head_us: u64,
    pub events: Vec<Event>,
    /// Whether the body came in HTTP's chunks.
    pub is_chunked: bool,
    every: Duration,
}

pub struct Event {
    pub sent_us: u64,
    pub came_us: u64,
}

/// Serves probes on a port of their own, and returns the URL.
pub async fn probes() -> String {
    serve(Router::with_path("probe").get(probe)).await
}

#[handler]
async fn probe(req: &mut Request, res: &mut Response) {
    let number = |name: &str| req.query::<u32>(name).expect(name);
    let events = number("events");
    let every = Duration::from_micros(number("every").into());
    let width = number("bytes") as usize - FRAME;
    if number("header") == 1 {
        res.headers_mut().insert("x-accel-buffering", "no".parse().unwrap());
    }
    let start = tokio::time::Instant::now();
    let event = move |number: u32| async move {
        tokio::time::sleep_until(start + every * number).await;
        let sent = CLOCK.elapsed().as_micros();
        Ok::<_, salvo::Error>(SseEvent::default().text(format!("{sent:0width$}")))
    };
    sse::stream(res, stream::iter(1..=events).then(event));
}

impl Probe {
    /// An event of 23 bytes each 50 ms: 60 of them.
    pub const SMALL: Self = Self {
        events: 60,
        every: Duration::from_millis(50),
        bytes: 23,
        header: false,
        over_ethernet: false,
    };

    /// Asks a server or a proxy for the stream, and reads it to its end.
    pub async fn look(&self, url: &str) -> Look {
        within("a stream to its end", self.read(url)).await
    }

    async fn connected(&self, addr: &str) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        if self.over_ethernet {
            setsockopt(&socket, sockopt::TcpMaxSeg, &ETHERNET).unwrap();
        }
        socket.connect(addr.parse().unwrap()).await.unwrap()
    }

    async fn read(&self, url: &str) -> Look {
        let addr = url.strip_prefix("http://").expect("a URL");
        let mut socket = self.connected(addr).await;
        let Self { events, every, bytes, header, .. } = *self;
        let start = CLOCK.elapsed();
        let request = format!(
            "GET /probe?events={events}&every={}&bytes={bytes}&header={}&at={} HTTP/1.1\r\n\
             Host: {addr}\r\nAccept: text/event-stream\r\n\r\n",
            every.as_micros(),
            u8::from(header),
            start.as_micros(), // a URL of its own, for caches
        );
        socket.write_all(request.as_bytes()).await.unwrap();
        let since = |time: Duration| (time - start).as_micros() as u64;
        let mut head = None;
        let mut wire = Vec::new();
        let mut body = Body::default();
        while body.events.len() < events as usize {
            let count = socket.read_buf(&mut wire).await.unwrap();
            assert!(count > 0, "{addr} ended the stream: {:?}", body.events.len());
            let came = CLOCK.elapsed();
            head.get_or_insert(since(came));
            if body.is_chunked.is_none() {
                let Some(end) = wire.windows(4).position(|part| part == b"\r\n\r\n")
                else {
                    continue;
                };
                let rest = wire.split_off(end + 4);
                let head = String::from_utf8(std::mem::replace(&mut wire, rest));
                let head = head.unwrap().to_lowercase();
                assert!(head.starts_with("http/1.1 200"), "{head}");
                body.is_chunked = Some(head.contains("transfer-encoding: chunked"));
            }
            body.read(&std::mem::take(&mut wire), bytes, |sent| Event {
                sent_us: since(Duration::from_micros(sent)),
                came_us: since(came),
            });
        }
        Look {
            is_chunked: body.is_chunked == Some(true),
            head_us: head.expect("a head"),
            events: body.events,
            every,
        }
    }
}

#[derive(Default)]
struct Body {
    /// Known when the head has come.
    is_chunked: Option<bool>,
    dechunker: Dechunker,
    /// The beginning of an event whose end has not come.
    rest: Vec<u8>,
    events: Vec<Event>,
}

impl Body {
    fn read(&mut self, wire: &[u8], bytes: usize, event: impl Fn(u64) -> Event) {
        match self.is_chunked {
            Some(true) => self.rest.extend(self.dechunker.read(wire)),
            _ => self.rest.extend(wire),
        }
        let whole = self.rest.len() / bytes * bytes;
        for text in self.rest.drain(..whole).collect::<Vec<_>>().chunks(bytes) {
            let text = str::from_utf8(text).unwrap();
            let number = text.strip_prefix("data: ").expect("an event").trim_end();
            self.events.push(event(number.parse().expect("a number")));
        }
    }
}

/// How the events of a stream came.
pub fn delivery(look: &Look) -> &'static str {
    match look.together() {
        _ if look.is_held_to_the_end() => "at the end",
        1 if look.p50_us() <= AT_ONCE_US => "at once",
        1 => "late",
        _ => "in bursts",
    }
}

/// The first request of all finds some boxes asleep; that is not what is measured.
pub async fn warm(url: &str) {
    let every = Duration::from_millis(1);
    Probe { events: 1, every, ..Probe::SMALL }.look(url).await;
}

/// Looks again until one look was not disturbed: a busy machine makes events late, and never
/// early. A look that says what the recording says is good. Where it is written anew, the
/// best of five is, or the first in which nothing was late.
pub async fn look_again(part: &str, look: impl AsyncFn() -> Value) -> Value {
    let recorded =
        if record::is_written() { Vec::new() } else { record::read(part).1 };
    let looks = if recorded.is_empty() { 5 } else { 20 };
    let mut best = Value::Null;
    for _ in 0..looks {
        let row = look().await;
        let is_recorded = recorded.iter().any(|was| record::is_alike(&row, was));
        let max = number(&row, "max_us");
        if is_recorded || recorded.is_empty() && max < UNDISTURBED_US {
            return row;
        }
        if best.is_null() || max < number(&best, "max_us") {
            best = row;
        }
    }
    best
}

impl Look {
    /// The median of the events' delays.
    pub fn p50_us(&self) -> u64 {
        let mut delays: Vec<_> = self.events.iter().map(Event::delay_us).collect();
        delays.sort_unstable();
        delays[delays.len() / 2]
    }

    pub fn max_us(&self) -> u64 {
        self.events.iter().map(Event::delay_us).max().expect("an event")
    }

    /// How many events came together at most, though each was written at its time.
    pub fn together(&self) -> u64 {
        if self.is_held_to_the_end() {
            return self.events.len() as u64;
        }
        let every = self.every.as_micros() as u64;
        let came_as_one = |a: &Event, b: &Event| b.came_us - a.came_us < every / 5;
        let was_apart = |group: &&[Event]| {
            let sent = group[group.len() - 1].sent_us - group[0].sent_us;
            sent > every * (group.len() as u64 - 1) / 2
        };
        let groups = self.events.chunk_by(came_as_one).filter(was_apart);
        groups.map(<[_]>::len).max().unwrap_or(1) as u64
    }

    /// Whether nothing came before all was written.
    pub fn is_held_to_the_end(&self) -> bool {
        let last = self.events.last().expect("an event");
        self.events[0].came_us >= last.sent_us
    }
}

impl Event {
    pub fn delay_us(&self) -> u64 {
        self.came_us - self.sent_us
    }
}
