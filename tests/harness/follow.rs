//! Who writes to `feed` and who follows it, whatever becomes of the server in between: it
//! is killed, comes back on another port, or its readers move to another one. Where it is
//! now, a `tokio::sync::watch` channel says.

use std::collections::BTreeSet;
use std::future::pending;
use std::time::Duration;

use eventsource_stream::Event;
use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::within;

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
    /// Of the events 1, 2, 3, … as they were acknowledged.
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
            // The second one is a proxy's.
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

/// What a follower has to say in the end.
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
    /// The highest number. None where the first that comes may be any.
    highest: Option<usize>,
}

impl Seen {
    /// Fails unless everything has come once, in order, and without a word of a gap.
    pub fn assert_whole(&self) {
        let faults = (&self.lost, &self.repeated, &self.disordered, &self.resyncs);
        let none = (&BTreeSet::new(), &vec![], &vec![], &vec![]);
        assert_eq!(faults, none, "lost, repeated, disordered, resyncs");
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

    /// As an EventSource remembers it.
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
            // It is sent to another server, and the old one may not even know.
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
    /// Bytes until the next.
    left: usize,
}

/// Numbers that look like random ones, the same for the same seed (SplitMix64).
pub struct Random(pub u64);

impl Random {
    /// One that is lower than this.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }
}

/// What an EventSource makes of the bytes of one stream, by the standard (9.2.6), which
/// also remembers the ID of a block that is no event: the parsers of crates tell only events.
#[derive(Default)]
pub struct Reading {
    /// What would be sent as `Last-Event-ID`.
    pub last_event_id: String,
    line: Vec<u8>,
    after_cr: bool,
    lines: usize,
    event_type: String,
    data: String,
    id: String,
}

impl Reading {
    /// A stream that begins where another one has ended.
    pub fn after(last_event_id: &str) -> Self {
        let id = last_event_id.to_string();
        Self { last_event_id: id.clone(), id, ..Self::default() }
    }

    /// The events that these bytes complete.
    pub fn read(&mut self, bytes: &[u8]) -> Vec<Event> {
        let mut events = Vec::new();
        for &byte in bytes {
            let is_second = byte == b'\n' && self.after_cr;
            self.after_cr = byte == b'\r';
            match byte {
                b'\n' if is_second => {}
                b'\n' | b'\r' => events.extend(self.end_of_line()),
                _ => self.line.push(byte),
            }
        }
        events
    }

    fn end_of_line(&mut self) -> Option<Event> {
        let line = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&line);
        let is_first = self.lines == 0;
        self.lines += 1;
        let line =
            line.strip_prefix('\u{feff}').filter(|_| is_first).unwrap_or(&line);
        if line.is_empty() {
            return self.dispatch();
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => self.event_type = value.into(),
            "data" => self.data += &format!("{value}\n"),
            "id" if !value.contains('\0') => self.id = value.into(),
            _ => {}
        }
        None
    }

    fn dispatch(&mut self) -> Option<Event> {
        self.last_event_id.clone_from(&self.id);
        let event = std::mem::take(&mut self.event_type);
        let mut data = std::mem::take(&mut self.data);
        data.pop()?;
        let event = if event.is_empty() { "message".into() } else { event };
        Some(Event { event, data, id: self.id.clone(), retry: None })
    }
}
