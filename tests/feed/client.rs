//! A client of `feed`, whether its log is on a disk or in Redis: it posts events, and reads
//! streams as an EventSource does.

use std::collections::VecDeque;
use std::ops::{Deref, DerefMut, RangeInclusive};
use std::path::Path;

use eventsource_stream::Event;
use reqwest::{Body, Client, Response, header::HeaderValue};
use serde_json::{Value, json};
use tests::follow::Reading;
use tests::{Program, within};

/// Bytes of a stream that a reader keeps, at least, for tests that look at its text.
const KEPT_TEXT: usize = 64 << 10;

/// The program, and a client for single requests.
pub struct Feed {
    program: Program,
    client: Client,
}

impl Deref for Feed {
    type Target = Program;

    fn deref(&self) -> &Program {
        &self.program
    }
}

impl DerefMut for Feed {
    fn deref_mut(&mut self) -> &mut Program {
        &mut self.program
    }
}

impl Feed {
    /// Starts the program on a log in this folder.
    pub async fn start(folder: &Path) -> Self {
        Self::start_with(folder, &[]).await
    }

    pub async fn start_with(folder: &Path, variables: &[(&str, &str)]) -> Self {
        let folder = [("FEED_DIR", folder.to_str().unwrap())];
        Self::start_in(&[&folder, variables].concat()).await
    }

    /// Starts the program with these variables in its environment.
    pub async fn start_in(variables: &[(&str, &str)]) -> Self {
        let program = Program::start_with("feed", variables).await;
        Self { program, client: Client::new() }
    }

    /// Posts this body as JSON, and returns the answer.
    pub async fn post(&self, body: impl Into<Body>, key: Option<&str>) -> Response {
        let url = format!("{}/events", self.url);
        let request = self.client.post(url).body(body.into());
        let mut request = request
            .header("content-type", "application/json")
            .header("accept", "application/json");
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        self.send(request).await
    }

    pub async fn post_note(&self, data: &str, key: Option<&str>) -> Response {
        self.post(json!({ "type": "note", "data": data }).to_string(), key).await
    }

    /// Posts a note, and returns its ID.
    pub async fn note(&self, data: &str) -> String {
        id(self.post_note(data, None).await).await
    }

    /// Posts a note with an idempotency key, and returns its ID.
    pub async fn note_once(&self, key: &str, data: &str) -> String {
        id(self.post_note(data, Some(key)).await).await
    }

    /// Posts these numbers as notes, and returns their IDs.
    pub async fn notes(&self, numbers: RangeInclusive<usize>) -> Vec<String> {
        let mut ids = Vec::new();
        for number in numbers {
            ids.push(self.note(&number.to_string()).await);
        }
        ids
    }

    /// Reads a single event.
    pub async fn look(&self, id: &str) -> Option<Value> {
        let url = format!("{}/events/{id}", self.url);
        let answer = self.send(self.client.get(url)).await;
        if answer.status() == 404 {
            return None;
        }
        assert_eq!(answer.status(), 200, "{id}");
        Some(answer.json().await.unwrap())
    }

    pub async fn listen(&self, path: &str) -> Reader {
        self.listen_after("", path).await
    }

    /// Comes back as a reader whose last event had this ID.
    pub async fn back(&self, last: &str) -> Reader {
        self.listen_after(last, "/events").await
    }

    pub async fn listen_after(&self, last: &str, path: &str) -> Reader {
        let url = format!("{}{path}", self.url);
        let mut request = self.client.get(url);
        if !last.is_empty() {
            request = request.header("last-event-id", last);
        }
        let mut reader = Reader::of(self.send(request).await);
        reader.reading = Reading::after(last);
        reader
    }

    /// Counts these words in the program's log.
    pub fn said(&self, words: &str) -> usize {
        self.stderr().matches(words).count()
    }
}

/// Takes the ID from the answer to a post.
pub async fn id(answer: Response) -> String {
    let status = answer.status();
    let location = answer.headers().get("location").cloned();
    let text = answer.text().await.unwrap();
    assert_eq!(status, 201, "{text}");
    let body: Value = serde_json::from_str(&text).unwrap();
    let id = body["id"].as_str().unwrap();
    assert_eq!(location.unwrap().to_str().unwrap(), format!("events/{id}"));
    id.into()
}

/// A stream, read as an EventSource reads it.
pub struct Reader {
    pub stream: Response,
    pub reading: Reading,
    /// Events that have come, and that the test has not asked for yet.
    pub events: VecDeque<Event>,
    /// The first bytes of the stream, as text.
    pub text: String,
}

impl Reader {
    pub fn of(stream: Response) -> Self {
        assert_eq!(stream.status(), 200, "{}", stream.url());
        Self {
            stream,
            reading: Reading::default(),
            events: VecDeque::new(),
            text: String::new(),
        }
    }

    /// Begins with the next event, and returns when the server has let this reader in.
    pub async fn now(feed: &Feed) -> Self {
        Self::let_in(feed.get("/events").await).await
    }

    /// Begins with the oldest event that is kept, and returns when the reader is let in.
    pub async fn start(feed: &Feed) -> Self {
        Self::let_in(feed.get("/events?from=start").await).await
    }

    /// Comes back with this last event ID, and returns when the reader is let in.
    pub async fn after(feed: &Feed, id: impl AsRef<[u8]>) -> Self {
        let id = HeaderValue::from_bytes(id.as_ref()).unwrap();
        let request = feed.request("GET", "/events").header("last-event-id", id);
        Self::let_in(feed.send(request).await).await
    }

    /// Returns when something has come.
    pub async fn let_in(stream: Response) -> Self {
        let mut reader = Self::of(stream);
        reader.chunk().await;
        reader
    }

    /// Reads a chunk. Returns false at the end of the stream, which must be a clean one.
    pub async fn more(&mut self) -> bool {
        let chunk = self.stream.chunk().await.expect("a whole stream");
        let Some(chunk) = chunk else { return false };
        if self.text.len() < KEPT_TEXT {
            self.text += &String::from_utf8_lossy(&chunk);
        }
        self.events.extend(self.reading.read(&chunk));
        true
    }

    /// Reads a chunk, which must come.
    pub async fn chunk(&mut self) {
        assert!(within("a chunk", self.more()).await, "the stream goes on");
    }

    pub async fn next(&mut self) -> Event {
        // Heartbeats are no event: they must not put the deadline off.
        within("an event", async {
            loop {
                if let Some(event) = self.events.pop_front() {
                    return event;
                }
                assert!(self.more().await, "the stream goes on");
            }
        })
        .await
    }

    /// Waits for the first bytes, and returns the ID that a client remembers from them.
    pub async fn begin(&mut self) -> String {
        within("the begin", self.more()).await;
        assert!(self.events.is_empty(), "{:?}", self.events);
        self.reading.last_event_id.clone()
    }

    /// The data of the next event, which must not be a `resync`.
    pub async fn data(&mut self) -> String {
        let event = self.next().await;
        assert_ne!(event.event, "resync", "{event:?}");
        event.data
    }

    /// The data of the next event, which must be a note.
    pub async fn note(&mut self) -> String {
        let event = self.next().await;
        assert_eq!(event.event, "note", "{event:?}");
        event.data
    }

    /// Reads up to this note, and returns all notes that came, this one too.
    pub async fn notes_to(&mut self, last: &str) -> Vec<String> {
        let mut notes = Vec::new();
        while notes.last().is_none_or(|note| note != last) {
            notes.push(self.note().await);
        }
        notes
    }

    /// Reads the numbers up to this one, with nothing in between, and returns the first.
    pub async fn numbers_to(&mut self, last: usize) -> usize {
        let first: usize = self.data().await.trim().parse().unwrap();
        for number in first + 1..=last {
            assert_eq!(self.data().await.trim(), number.to_string());
        }
        first
    }

    /// Reads the next event, which must be a `resync` with this reason. Returns the ID after
    /// which the stream goes on.
    pub async fn resync(&mut self, reason: &str) -> String {
        let event = self.next().await;
        assert_eq!(event.event, "resync", "{event:?} of {}", self.text);
        let data: Value = serde_json::from_str(&event.data).unwrap();
        assert_eq!(data, json!({ "reason": reason, "after": event.id }));
        event.id
    }

    /// Reads all events up to this note.
    pub async fn all_to(mut self, last: &str) -> Vec<Event> {
        let mut events: Vec<Event> = Vec::new();
        while events.last().is_none_or(|event| event.data != last) {
            events.push(self.next().await);
        }
        events
    }
}

/// The parts of an ID, which can be compared.
pub fn parts(id: &str) -> (u64, u64) {
    let (ms, n) = id.split_once('-').unwrap();
    (ms.parse().unwrap(), n.parse().unwrap())
}

/// The ID that is right before this one.
pub fn before(id: &str) -> String {
    match parts(id) {
        (ms, 0) => format!("{}-{}", ms - 1, u64::MAX),
        (ms, n) => format!("{ms}-{}", n - 1),
    }
}

pub fn assert_strictly_growing<'a>(ids: impl IntoIterator<Item = &'a String>) {
    let ids: Vec<_> = ids.into_iter().map(|id| parts(id)).collect();
    assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
}
