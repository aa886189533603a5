//! A writer to `feed` and a reader that follows it, whatever becomes of the server in
//! between: it is killed, comes back on another port, or its readers move to another one.
//! A `tokio::sync::watch` channel tells them where it is now.

#[allow(dead_code)] // the tests need no reconnection time
#[path = "../../examples/client/parser.rs"]
mod parser;

use std::collections::BTreeSet;
use std::future::pending;
use std::time::Duration;

use eventsource_stream::Event;
use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::timeout;

use self::parser::Parser;
use crate::wait::within;

/// The pause before the next attempt, unless the server moves sooner.
const PAUSE: Duration = Duration::from_millis(10);
/// How long one attempt may take before the next: a server that was stopped may not say so.
const ATTEMPT: Duration = Duration::from_secs(5);

/// Where the server is now, as in `http://127.0.0.1:40123`.
pub type Address = watch::Receiver<String>;

async fn pause(at: &mut Address) {
    let moved = async {
        if at.changed().await.is_err() {
            pending().await // nobody can move it any more
        }
    };
    let _ = timeout(PAUSE, moved).await;
}

/// Posts events with numbers as their data, each until it is acknowledged.
pub struct Writer {
    at: Address,
    client: Client,
    /// The IDs of the events 1, 2, 3, … as they were acknowledged.
    pub ids: Vec<String>,
    /// Attempts that brought no acknowledgement.
    pub failed: usize,
}

impl Writer {
    pub fn new(at: &Address) -> Self {
        let at = at.clone();
        Self { at, client: Client::new(), ids: Vec::new(), failed: 0 }
    }

    /// Goes on with the next number, until this one has been acknowledged.
    pub async fn write_to(&mut self, last: usize) {
        while self.ids.len() < last {
            self.write().await;
        }
    }

    /// Writes the next number, again and again until it is acknowledged.
    pub async fn write(&mut self) {
        let number = self.ids.len() + 1;
        let what = format!("the acknowledgement of {number}");
        let id = within(&what, async {
            loop {
                if let Some(id) = self.attempt(number).await {
                    return id;
                }
                self.failed += 1;
                pause(&mut self.at).await;
            }
        });
        let id = id.await;
        self.ids.push(id);
    }

    async fn attempt(&mut self, number: usize) -> Option<String> {
        let url = format!("{}/events", *self.at.borrow_and_update());
        let event = json!({ "type": "count", "data": number.to_string() });
        let request = self.client.post(url).json(&event);
        let key = format!("number-{number}");
        let answer = request.header("idempotency-key", key).send();
        let answer = timeout(ATTEMPT, answer).await.ok()?.ok()?;
        match answer.status() {
            StatusCode::CREATED => {
                let body = timeout(ATTEMPT, answer.json::<Value>()).await.ok()?;
                Some(body.ok()?["id"].as_str().expect("an id").to_string())
            }
            // A proxy in front of the server says 502.
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::BAD_GATEWAY => None,
            status => panic!("{status} for {number}: {:?}", answer.text().await),
        }
    }
}

/// Reads the numbers that a [`Writer`] writes, and connects again whenever it is cut, as
/// an EventSource does.
pub struct Follower {
    at: Address,
    client: Client,
    path: String,
    stream: Option<Response>,
    reading: Reading,
    /// Cuts the connection itself now and then.
    cuts: Option<Cuts>,
    pub seen: Seen,
}

/// The record of what a follower has seen.
#[derive(Debug, Default)]
pub struct Seen {
    /// Numbers and IDs, in the order in which they came.
    pub events: Vec<(usize, String)>,
    /// Numbers that a higher one came before, and that did not come later.
    pub lost: BTreeSet<usize>,
    /// Numbers that came again.
    pub repeated: Vec<usize>,
    /// Numbers that came after a higher one.
    pub disordered: Vec<usize>,
    /// The data of the `resync` events.
    pub resyncs: Vec<String>,
    /// How often it has connected.
    pub connections: usize,
    /// The highest number. `None` means that any number may come first.
    highest: Option<usize>,
}

impl Seen {
    /// Fails unless everything has come once, in order, and without a word of a gap.
    pub fn assert_whole(&self) {
        assert!(self.lost.is_empty(), "lost: {:?}", self.lost);
        assert!(self.repeated.is_empty(), "repeated: {:?}", self.repeated);
        assert!(self.disordered.is_empty(), "disordered: {:?}", self.disordered);
        assert!(self.resyncs.is_empty(), "resyncs: {:?}", self.resyncs);
    }

    fn take(&mut self, event: &Event) {
        if event.event == "resync" {
            self.resyncs.push(event.data.clone());
            return;
        }
        let number = event.data.parse().expect("a number");
        self.events.push((number, event.id.clone()));
        let Some(highest) = self.highest.replace(number) else { return };
        if number > highest {
            self.lost.extend(highest + 1..number);
            return;
        }
        self.highest = Some(highest);
        let late = self.lost.remove(&number);
        if late { &mut self.disordered } else { &mut self.repeated }.push(number);
    }
}

impl Follower {
    /// Begins with the first event.
    pub fn from_start(at: &Address) -> Self {
        let seen = Seen { highest: Some(0), ..Seen::default() };
        Self { seen, ..Self::new(at, "/events?from=start") }
    }

    /// Begins with the first event after [`Follower::connect`] has returned.
    pub fn from_now(at: &Address) -> Self {
        Self::new(at, "/events")
    }

    fn new(at: &Address, path: &str) -> Self {
        Self {
            at: at.clone(),
            client: Client::new(),
            path: path.into(),
            stream: None,
            reading: Reading::default(),
            cuts: None,
            seen: Seen::default(),
        }
    }

    /// Cuts its own connection again and again, each after so many bytes at most, in the
    /// middle of a line or not.
    pub fn with_cuts(mut self, seed: u64, most: usize) -> Self {
        self.cuts = Some(Cuts { random: Random(seed), most, left: 0 });
        self
    }

    /// The last event ID, as an EventSource remembers it.
    pub fn last_event_id(&self) -> &str {
        &self.reading.last_event_id
    }

    /// Cuts the connection. It connects again when it goes on.
    pub fn cut(&mut self) {
        self.stream = None;
    }

    /// Connects, if it is not connected, and waits until something has come.
    pub async fn connect(&mut self) {
        while self.stream.is_none() {
            within("a stream", self.step()).await;
        }
    }

    /// Goes on until this number, or a higher one, has come.
    pub async fn follow_to(&mut self, last: usize) {
        while self.seen.highest.is_none_or(|highest| highest < last) {
            let seen = self.seen.events.len();
            let what = format!("the event after {:?}", self.seen.events.last());
            within(&what, async {
                while self.seen.events.len() == seen {
                    self.step().await;
                }
            })
            .await;
        }
    }

    /// Connects, if it is not connected, and reads what comes next.
    async fn step(&mut self) {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            None => match self.attempt().await {
                Some(stream) => self.stream.insert(stream),
                None => return pause(&mut self.at).await,
            },
        };
        let chunk = tokio::select! {
            biased;
            chunk = stream.chunk() => chunk,
            // The follower is sent to another server, and the old one may not even know.
            Ok(()) = self.at.changed() => Ok(None),
        };
        let Ok(Some(mut chunk)) = chunk else { return self.cut() };
        if let Some(cuts) = &mut self.cuts {
            chunk.truncate(cuts.left);
            cuts.left -= chunk.len();
            if cuts.left == 0 {
                self.stream = None;
            }
        }
        for event in self.reading.read(&chunk) {
            self.seen.take(&event);
        }
    }

    async fn attempt(&mut self) -> Option<Response> {
        let url = format!("{}{}", *self.at.borrow_and_update(), self.path);
        self.reading = Reading::after(&self.reading.last_event_id);
        let mut request = self.client.get(url);
        if !self.last_event_id().is_empty() {
            request = request.header("last-event-id", self.last_event_id());
        }
        let answer = timeout(ATTEMPT, request.send()).await.ok()?.ok()?;
        match answer.status() {
            StatusCode::OK => {
                self.seen.connections += 1;
                if let Some(cuts) = &mut self.cuts {
                    cuts.left = 1 + cuts.random.below(cuts.most);
                }
                Some(answer)
            }
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::BAD_GATEWAY => None,
            status => panic!("{status}: {:?}", answer.text().await),
        }
    }
}

struct Cuts {
    random: Random,
    most: usize,
    /// Bytes until the next cut.
    left: usize,
}

/// Numbers that look like random ones, the same for the same seed (SplitMix64).
pub struct Random(pub u64);

impl Random {
    /// The next number, which is lower than this.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }
}

/// Makes of the bytes of one stream what an EventSource does, with the parser of `client`.
/// It also keeps the ID of a block that is no event (9.2.6): the parsers of crates tell
/// only of events.
pub struct Reading {
    /// The ID that an EventSource would send as `Last-Event-ID`.
    pub last_event_id: String,
    parser: Parser,
}

impl Reading {
    /// A stream that begins where another one has ended.
    pub fn after(last_event_id: &str) -> Self {
        Self {
            last_event_id: last_event_id.into(),
            parser: Parser::new(usize::MAX, last_event_id.into()),
        }
    }

    /// The events that these bytes complete. Those that only give a reader a place are left
    /// out: [`Reading::last_event_id`] has it.
    pub fn read(&mut self, bytes: &[u8]) -> Vec<Event> {
        let mut found = Vec::new();
        let mut events = self.parser.feed(bytes);
        while let Some(event) = events.next().expect("no event is too large") {
            if ["begin", "foreign"].contains(&event.event_type) {
                assert_eq!(event.data, "", "{}", event.event_type);
                continue;
            }
            found.push(Event {
                event: event.event_type.to_string(),
                data: event.data.into_owned(),
                id: event.last_event_id.to_string(),
                retry: None,
            });
        }
        self.last_event_id = self.parser.last_event_id().to_string();
        found
    }
}

impl Default for Reading {
    fn default() -> Self {
        Self::after("")
    }
}
