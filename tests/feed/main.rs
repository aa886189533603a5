//! Chapter 8: a log of events in a file, and readers who lose nothing of it.

mod gap;
mod pages;
#[cfg(unix)]
mod redis;

use std::collections::VecDeque;
use std::fs;
use std::path::Path;
#[cfg(target_os = "linux")]
use std::process::Command;
use std::time::{Duration, Instant};

use eventsource_stream::Event;
use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream;
#[cfg(target_os = "linux")]
use nix::errno::Errno;
use nix::sys::signal::Signal;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::Config;
use reqwest::header::HeaderValue;
use reqwest::{Body, Client, Response};
use serde_json::{Value, json};
#[cfg(target_os = "linux")]
use tempfile::TempDir;
use tempfile::tempdir;
use tests::follow::{Follower, Random, Reading, Writer};
use tests::{Program, Recording, pause, until, within};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::time::timeout;

/// As in `examples/feed/disk.rs`: the file of the log, and the bytes of it in memory.
const FILE: &str = "feed.redb";
const CACHE: u64 = 64 << 20;

/// The program on a folder, and a client for single requests.
struct Feed {
    program: Program,
    client: Client,
}

impl Feed {
    async fn start(folder: &Path) -> Self {
        Self::start_with(folder, &[]).await
    }

    async fn start_with(folder: &Path, variables: &[(&str, &str)]) -> Self {
        let mut all = vec![("FEED_DIR", folder.to_str().unwrap())];
        all.extend(variables);
        let program = Program::start_with("feed", &all).await;
        Self { program, client: Client::new() }
    }

    /// Posts this, as JSON, and returns the answer.
    async fn post(&self, body: impl Into<Body>, key: Option<&str>) -> Response {
        let url = format!("{}/events", self.program.url);
        let request = self.client.post(url).body(body.into());
        let mut request = request
            .header("content-type", "application/json")
            .header("accept", "application/json");
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        self.program.send(request).await
    }

    async fn post_note(&self, data: &str, key: Option<&str>) -> Response {
        self.post(json!({ "type": "note", "data": data }).to_string(), key).await
    }

    /// Posts a note, and returns its ID.
    async fn note(&self, data: &str) -> String {
        id(self.post_note(data, None).await).await
    }

    /// Reads a single event.
    async fn look(&self, id: &str) -> Option<Value> {
        let url = format!("{}/events/{id}", self.program.url);
        let answer = self.program.send(self.client.get(url)).await;
        if answer.status() == 404 {
            return None;
        }
        assert_eq!(answer.status(), 200, "{id}");
        Some(answer.json().await.unwrap())
    }

    async fn listen(&self, path: &str) -> Reader {
        self.listen_after("", path).await
    }

    /// Comes back with the ID of the last event.
    async fn back(&self, last: &str) -> Reader {
        self.listen_after(last, "/events").await
    }

    async fn listen_after(&self, last: &str, path: &str) -> Reader {
        let url = format!("{}{path}", self.program.url);
        let mut request = self.client.get(url);
        if !last.is_empty() {
            request = request.header("last-event-id", last);
        }
        let stream = self.program.send(request).await;
        assert_eq!(stream.status(), 200, "{path}");
        let events = VecDeque::new();
        Reader { stream, reading: Reading::after(last), events }
    }
}

/// The ID that a post was answered with.
async fn id(answer: Response) -> String {
    assert_eq!(answer.status(), 201);
    let location = answer.headers()["location"].to_str().unwrap().to_string();
    let body: Value = answer.json().await.unwrap();
    let id = body["id"].as_str().unwrap();
    assert_eq!(location, format!("events/{id}"));
    id.into()
}

/// A stream, read as an EventSource reads it.
struct Reader {
    stream: Response,
    reading: Reading,
    events: VecDeque<Event>,
}

impl Reader {
    async fn next(&mut self) -> Event {
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

    /// Reads a chunk; false at the end, which must be a clean one.
    async fn more(&mut self) -> bool {
        let chunk = self.stream.chunk().await.expect("a whole stream");
        let Some(chunk) = chunk else { return false };
        self.events.extend(self.reading.read(&chunk));
        true
    }

    /// Waits for the first bytes, and returns the ID that a client remembers from them.
    async fn begin(&mut self) -> String {
        within("the begin", self.more()).await;
        assert!(self.events.is_empty(), "{:?}", self.events);
        self.reading.last_event_id.clone()
    }

    /// The data of the next event, which is a note.
    async fn note(&mut self) -> String {
        let event = self.next().await;
        assert_eq!(event.event, "note", "{event:?}");
        event.data
    }

    /// The next event, which is a resync: why, and after which event it goes on.
    async fn resync(&mut self) -> (String, String) {
        let event = self.next().await;
        assert_eq!(event.event, "resync", "{event:?}");
        let data: Value = serde_json::from_str(&event.data).unwrap();
        assert_eq!(data.as_object().unwrap().len(), 2, "{data}");
        let after = data["after"].as_str().unwrap();
        assert_eq!(event.id, after, "the ID of a resync is that after which it is");
        (data["reason"].as_str().unwrap().into(), after.into())
    }

    /// Goes on to this note, and returns what came, with it.
    async fn notes_to(&mut self, last: &str) -> Vec<String> {
        let mut notes = Vec::new();
        while notes.last().is_none_or(|note| note != last) {
            notes.push(self.note().await);
        }
        notes
    }
}

/// The parts of an ID, which can be compared.
fn parts(id: &str) -> (u64, u64) {
    let (ms, n) = id.split_once('-').unwrap();
    (ms.parse().unwrap(), n.parse().unwrap())
}

fn assert_strictly_growing<'a>(ids: impl IntoIterator<Item = &'a String>) {
    let ids: Vec<_> = ids.into_iter().map(|id| parts(id)).collect();
    assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
}

#[tokio::test]
async fn no_event_is_lost_or_repeated_over_200_kills() {
    const EVENTS: usize = 10_000;
    const KILLS: usize = 200;
    let seed = std::process::id().into();
    eprintln!("seed {seed}");
    let mut random = Random(seed);
    let folder = tempdir().unwrap();
    let mut feed = Feed::start(folder.path()).await;
    let (moved, at) = tokio::sync::watch::channel(feed.program.url.clone());
    let mut writer = Writer::new(&at);
    let mut steady = Follower::from_start(&at);
    let mut shaky = Follower::from_start(&at).with_cuts(seed, 4_000);
    let written = tokio::sync::watch::Sender::new(0);

    let writing = async {
        for number in 1..=EVENTS {
            writer.write_to(number).await;
            written.send_replace(number);
        }
    };
    let killing = async {
        let mut written = written.subscribe();
        for kill in 0..KILLS {
            // Some time in the life of so many events, in the middle of a write or not.
            let number = kill * EVENTS / KILLS + random.below(EVENTS / KILLS);
            let reached = written.wait_for(|&written| written >= number);
            within("events", reached).await.unwrap();
            pause(Duration::from_micros(random.below(8_000) as u64)).await;
            feed.program.stop();
            if kill % 4 == 0 {
                // It is killed again while it starts.
                let time = Duration::from_millis(random.below(30) as u64);
                drop(timeout(time, Feed::start(folder.path())).await);
            }
            feed = Feed::start(folder.path()).await;
            moved.send_replace(feed.program.url.clone());
        }
    };
    tokio::join!(
        writing,
        killing,
        steady.follow_to(EVENTS),
        shaky.follow_to(EVENTS)
    );

    eprintln!(
        "{} posts repeated, {} and {} connections",
        writer.failed, steady.seen.connections, shaky.seen.connections
    );
    assert!(writer.failed > 0 && steady.seen.connections > KILLS / 2);
    assert!(shaky.seen.connections > steady.seen.connections);
    // It is killed a last time, at rest.
    feed.program.stop();
    let feed = Feed::start(folder.path()).await;
    moved.send_replace(feed.program.url.clone());
    let mut again = Follower::from_start(&at);
    again.follow_to(EVENTS).await;
    let acknowledged: Vec<_> = (1..).zip(writer.ids.iter().cloned()).collect();
    for seen in [&steady.seen, &shaky.seen, &again.seen] {
        seen.assert_whole();
        assert_eq!(seen.events, acknowledged);
    }
    assert_strictly_growing(&writer.ids);
    stream::iter(&acknowledged)
        .for_each_concurrent(16, async |(number, id)| {
            let event = feed.look(id).await.expect("what was acknowledged");
            let data = number.to_string();
            assert_eq!(event, json!({ "id": id, "type": "count", "data": data }));
        })
        .await;
}

/// The data of what is written where the bytes matter: lines, other alphabets, and what
/// could be taken for a field.
const NOTES: [&str; 12] = [
    "one",
    "two\nlines",
    "",
    "città 👩‍🚀 日本",
    "\n",
    " a space",
    "id: 5-5\n\nevent: resync",
    "\u{feff}mark",
    ": no comment",
    "nul \0",
    "two\n\nthree",
    "the end",
];

/// The payload of a chunked body, as far as these bytes have it.
fn payload(mut wire: &[u8]) -> Vec<u8> {
    let mut payload = Vec::new();
    while let Some(end) = wire.windows(2).position(|pair| pair == b"\r\n") {
        let size = str::from_utf8(&wire[..end]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        wire = &wire[end + 2..];
        payload.extend_from_slice(&wire[..size.min(wire.len())]);
        wire = wire.get(size + 2..).unwrap_or_default();
    }
    payload
}

/// Asks for a stream, and returns when its body begins.
async fn raw_stream(feed: &Feed, path: &str) -> BufReader<TcpStream> {
    let mut socket = BufReader::new(feed.program.socket().await);
    let request = format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        within("a head", socket.read_line(&mut head)).await.unwrap();
    }
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("chunked"), "{head}");
    socket
}

#[tokio::test]
async fn a_connection_may_break_after_any_byte() {
    let folder = tempdir().unwrap();
    let feed = Feed::start(folder.path()).await;
    for note in NOTES {
        feed.note(note).await;
    }
    let path = "/events?from=start";
    let mut wire = Vec::new();
    let mut whole = raw_stream(&feed, path).await;
    while Reading::default().read(&payload(&wire)).len() < NOTES.len() {
        within("a byte", whole.read_buf(&mut wire)).await.unwrap();
    }
    let cut_after = async |count: usize| {
        let mut bytes = vec![0; count];
        let mut socket = raw_stream(&feed, path).await;
        within("bytes", socket.read_exact(&mut bytes)).await.unwrap();
        drop(socket);
        let mut reading = Reading::default();
        let mut events = reading.read(&payload(&bytes));
        let mut again = feed.listen_after(&reading.last_event_id, path).await;
        while events.len() < NOTES.len() {
            events.push(again.next().await);
        }
        assert_eq!(again.events, [], "nothing comes twice: {count}");
        let data: Vec<_> = events.iter().map(|event| &*event.data).collect();
        assert_eq!(data, NOTES, "cut after {count} bytes");
        assert!(events.iter().all(|event| event.event == "note"));
    };
    assert!(wire.len() > 500, "{}", wire.len());
    stream::iter(0..=wire.len()).for_each_concurrent(16, cut_after).await;
}

mod model {
    //! What readers must see, from what was acknowledged alone.

    use super::{before, parts};

    /// The log as it must be.
    #[derive(Default)]
    pub struct Log {
        /// IDs and data of all events that there ever were.
        pub all: Vec<(String, String)>,
        /// How many of the first are not kept any more.
        pub gone: usize,
        /// How many there were when the server started.
        pub old: usize,
    }

    pub const KEEP: usize = 8;

    impl Log {
        pub fn append(&mut self, id: &str, data: &str) {
            self.all.push((id.into(), data.into()));
            self.gone = self.gone.max(self.all.len().saturating_sub(KEEP));
        }

        /// The ID of the newest event.
        pub fn newest(&self) -> String {
            self.all.last().map_or("0-0".into(), |(id, _)| id.clone())
        }

        /// The ID right before the oldest event that is kept.
        pub fn start(&self) -> String {
            self.all
                .get(self.gone)
                .map_or("0-0".into(), |(oldest, _)| before(oldest))
        }

        /// Types, IDs and data of what a reader with this ID gets, up to now.
        pub fn after(&self, last: &str) -> Vec<[String; 3]> {
            let note = |(id, data): &(String, String)| {
                ["note".into(), id.clone(), data.clone()]
            };
            // How many events are no newer than this ID, which may be that of none.
            let had = self.all.partition_point(|(id, _)| parts(id) <= parts(last));
            let is_event = match had {
                0 => last == "0-0",
                had => self.all[had - 1].0 == last,
            };
            // The last one that has gone is remembered, if it went in this life.
            let is_remembered = had == self.gone && (had == 0 || self.old <= had);
            // Nothing fits between `5-1` and `5-2`.
            let is_right_before = had >= self.gone
                && self.all.get(had).is_some_and(|(id, _)| before(id) == last);
            if is_event && (had > self.gone || is_remembered) || is_right_before {
                return self.all[had..].iter().map(note).collect();
            }
            let (reason, after) = match had > self.gone {
                true => ("unknown", self.all[had - 1].0.clone()),
                false => ("expired", self.start()),
            };
            let data = format!("{reason} after {after}");
            let kept = self.all[had.max(self.gone)..].iter().map(note);
            [["resync".into(), after, data]].into_iter().chain(kept).collect()
        }
    }
}

#[derive(Clone, Debug)]
enum Op {
    /// Posts so many new events, one after the other.
    Post(usize),
    /// Posts an event again that is so many before the newest, with its key.
    Again(usize),
    /// Posts another event with the key of one that is so many before the newest.
    Clash(usize),
    /// A reader comes, or comes back, and reads all there is.
    Come(usize),
    /// The same, but hangs up after so many bytes.
    Glimpse(usize, usize),
    /// A reader that is there reads all there is.
    Read(usize),
    /// Goes, without reading what has come.
    Cut(usize),
    /// A reader that is not there takes for its last event ID that of an event so many
    /// before the newest, with so much added to its parts.
    Stray(usize, usize, u64, u64),
    /// Kills the server, and starts it again.
    Kill,
}

const READERS: usize = 3;

fn op() -> impl Strategy<Value = Op> {
    let reader = 0..READERS;
    prop_oneof![
        4 => (1..6usize).prop_map(Op::Post),
        1 => (9..20usize).prop_map(Op::Post),
        1 => (0..12usize).prop_map(Op::Again),
        1 => (0..12usize).prop_map(Op::Clash),
        3 => reader.clone().prop_map(Op::Come),
        2 => (reader.clone(), 0..400usize).prop_map(|(r, k)| Op::Glimpse(r, k)),
        2 => reader.clone().prop_map(Op::Read),
        2 => reader.clone().prop_map(Op::Cut),
        2 => (reader, 0..12usize, 0..4u64, prop_oneof![0..3u64, Just(u64::MAX)])
            .prop_map(|(r, back, ms, n)| Op::Stray(r, back, ms, n)),
        1 => Just(Op::Kill),
    ]
}

/// A reader in the model: its last event ID, and its stream while it has one.
struct Somebody {
    path: &'static str,
    last: String,
    stream: Option<Reader>,
}

/// As the model says it.
fn told(event: Event) -> [String; 3] {
    let Event { event, id, data, .. } = event;
    if event != "resync" {
        return [event, id, data];
    }
    let data: Value = serde_json::from_str(&data).unwrap();
    let text = |name: &str| data[name].as_str().unwrap();
    let data = format!("{} after {}", text("reason"), text("after"));
    [event, id, data]
}

/// Reads what is expected, and nothing else.
async fn read(who: &mut Somebody, expected: Vec<[String; 3]>) {
    let stream = who.stream.as_mut().unwrap();
    for expected in expected {
        assert_eq!(told(stream.next().await), expected);
    }
    assert_eq!(stream.events, [], "and no more");
    who.last.clone_from(&stream.reading.last_event_id);
}

/// A stream that is cut has brought some of what is expected, from the first on.
fn cut(who: &mut Somebody, expected: &[[String; 3]], got: Vec<Event>) {
    assert!(got.len() <= expected.len(), "{got:?}, {expected:?}");
    for (event, expected) in got.into_iter().zip(expected) {
        assert_eq!(&told(event), expected);
    }
    who.stream = None;
}

async fn follow_the_model(ops: &[Op]) {
    let folder = tempdir().unwrap();
    let variables = [("FEED_KEEP", &*model::KEEP.to_string())];
    let mut feed = Feed::start_with(folder.path(), &variables).await;
    let mut log = model::Log::default();
    let mut unread = 0;
    // One begins with what comes next, the others with the first.
    let mut readers = ["/events", "/events?from=start", "/events?from=start"]
        .map(|path| Somebody { path, last: String::new(), stream: None });

    /// What is sent to somebody who comes: the ID in the first block, and events.
    fn coming(log: &model::Log, who: &Somebody) -> (String, Vec<[String; 3]>) {
        let begin = match (&*who.last, who.path) {
            ("", "/events") => log.newest(),
            ("", _) => log.start(),
            (last, _) => last.into(),
        };
        let expected = log.after(&begin);
        (begin, expected)
    }

    for op in ops {
        match *op {
            Op::Post(count) => {
                for _ in 0..count {
                    let data = log.all.len().to_string();
                    let id = id(feed.post_note(&data, Some(&data)).await).await;
                    assert!(parts(&id) > parts(&log.newest()), "{id}");
                    log.append(&id, &data);
                    unread += 1;
                    // Nobody who is there is overtaken.
                    if unread < model::KEEP / 2 {
                        continue;
                    }
                    unread = 0;
                    for who in readers.iter_mut().filter(|who| who.stream.is_some())
                    {
                        let expected = log.after(&who.last);
                        read(who, expected).await;
                    }
                }
            }
            Op::Again(back) | Op::Clash(back) => {
                let Some(at) = log.all.len().checked_sub(back + 1) else { continue };
                let (known, data) = log.all[at].clone();
                let key = &*data;
                // What is not kept any more is forgotten, with its key.
                if at < log.gone {
                    continue;
                }
                if let Op::Again(_) = op {
                    let answer = feed.post_note(&data, Some(key)).await;
                    assert_eq!(id(answer).await, known);
                } else {
                    let answer = feed.post_note("another", Some(key)).await;
                    assert_eq!(answer.status(), 422);
                }
            }
            Op::Come(reader) => {
                let who = &mut readers[reader];
                if who.stream.is_some() {
                    continue;
                }
                let (begin, expected) = coming(&log, who);
                let mut stream = feed.listen_after(&who.last, who.path).await;
                assert_eq!(stream.begin().await, begin);
                who.stream = Some(stream);
                read(who, expected).await;
            }
            Op::Glimpse(reader, count) => {
                let who = &mut readers[reader];
                if who.stream.is_some() {
                    continue;
                }
                let (_, expected) = coming(&log, who);
                let mut stream = feed.listen_after(&who.last, who.path).await;
                let mut left = count;
                let mut got = Vec::new();
                // No more than what will come.
                while left > 0 && got.len() < expected.len() {
                    let chunk = within("bytes", stream.stream.chunk()).await;
                    let mut chunk = chunk.unwrap().unwrap();
                    chunk.truncate(left);
                    left -= chunk.len();
                    got.extend(stream.reading.read(&chunk));
                }
                who.last = stream.reading.last_event_id;
                cut(who, &expected, got);
            }
            Op::Read(reader) => {
                let who = &mut readers[reader];
                if who.stream.is_some() {
                    let expected = log.after(&who.last);
                    read(who, expected).await;
                }
            }
            Op::Cut(reader) => readers[reader].stream = None,
            Op::Stray(reader, back, more_ms, more_n) => {
                let Some(at) = log.all.len().checked_sub(back + 1) else { continue };
                let (ms, n) = parts(&log.all[at].0);
                let who = &mut readers[reader];
                if who.stream.is_none() {
                    who.last =
                        format!("{}-{}", ms + more_ms, n.saturating_add(more_n));
                }
            }
            Op::Kill => {
                feed.program.stop();
                for who in &mut readers {
                    // What was still on its way arrives, or some of it.
                    let Some(stream) = &mut who.stream else { continue };
                    let expected = log.after(&who.last);
                    while let Ok(Some(chunk)) =
                        within("the end", stream.stream.chunk()).await
                    {
                        stream.events.extend(stream.reading.read(&chunk));
                    }
                    who.last.clone_from(&stream.reading.last_event_id);
                    let got = std::mem::take(&mut stream.events).into();
                    cut(who, &expected, got);
                }
                log.old = log.all.len();
                feed = Feed::start_with(folder.path(), &variables).await;
            }
        }
    }
    // In the end, everybody comes, and reads all there is.
    for who in &mut readers {
        let (_, expected) = match &who.stream {
            Some(_) => (String::new(), log.after(&who.last)),
            None => {
                let coming = coming(&log, who);
                let stream = feed.listen_after(&who.last, who.path).await;
                who.stream = Some(stream);
                coming
            }
        };
        read(who, expected).await;
    }
}

#[test]
fn every_reader_sees_what_a_simple_model_says() {
    let runtime = Runtime::new().unwrap();
    let config = Config {
        cases: 40,
        failure_persistence: None,
        max_shrink_iters: 200,
        ..Config::default()
    };
    proptest!(config, |(ops in vec(op(), 1..40))| {
        runtime.block_on(follow_the_model(&ops));
    });
}

#[tokio::test]
async fn writers_at_once_make_one_order_that_all_readers_see() {
    const WRITERS: usize = 32;
    const EACH: usize = 40;
    let folder = tempdir().unwrap();
    let feed = Feed::start(folder.path()).await;
    let mut readers = Vec::new();
    for _ in 0..5 {
        readers.push(feed.listen("/events?from=start").await);
    }
    let writing = join_all((0..WRITERS).map(async |writer| {
        let mut ids = Vec::new();
        for n in 0..EACH {
            ids.push(feed.note(&format!("{writer}: {n}")).await);
        }
        assert_strictly_growing(&ids);
        ids
    }));
    let reading = join_all(readers.iter_mut().map(async |reader| {
        let mut seen = Vec::new();
        while seen.len() < WRITERS * EACH {
            let Event { id, data, .. } = reader.next().await;
            seen.push((id, data));
        }
        seen
    }));
    let (written, seen) = tokio::join!(writing, reading);
    assert_strictly_growing(seen[0].iter().map(|(id, _)| id));
    assert!(seen.iter().all(|same| *same == seen[0]), "one order for all");
    let mut once: Vec<_> = written
        .iter()
        .enumerate()
        .flat_map(|(writer, ids)| {
            let note = move |(n, id): (usize, &String)| {
                (parts(id), id.clone(), format!("{writer}: {n}"))
            };
            ids.iter().enumerate().map(note)
        })
        .collect();
    once.sort();
    assert!(once.into_iter().map(|(_, id, data)| (id, data)).eq(seen[0].clone()));
}

#[tokio::test]
async fn a_post_that_is_repeated_is_stored_once() {
    let folder = tempdir().unwrap();
    let mut feed = Feed::start(folder.path()).await;
    let first = id(feed.post_note("hi", Some("a")).await).await;
    assert_eq!(id(feed.post_note("hi", Some("a")).await).await, first);
    // The same words with another key, or none, are another event.
    let second = id(feed.post_note("hi", Some("b")).await).await;
    let third = feed.note("hi").await;
    assert_strictly_growing([&first, &second, &third]);
    for body in [r#"{"type":"note","data":"ho"}"#, r#"{"type":"other","data":"hi"}"#]
    {
        let answer = feed.post(body, Some("a")).await;
        assert_eq!(answer.status(), 422);
        let answer = answer.text().await.unwrap();
        assert!(answer.contains("stands for another event"), "{answer}");
    }
    // Fields in another order, and white space, are the same event.
    let same = feed.post(r#" {"data": "hi", "type": "note"}"#, Some("a")).await;
    assert_eq!(id(same).await, first);

    feed.program.stop();
    let feed = Feed::start(folder.path()).await;
    assert_eq!(id(feed.post_note("hi", Some("a")).await).await, first);
    assert_eq!(feed.post_note("ho", Some("a")).await.status(), 422);

    let longest = "k".repeat(128);
    let odd = id(feed.post_note("keys", Some(&longest)).await).await;
    assert_eq!(id(feed.post_note("keys", Some(&longest)).await).await, odd);
    for key in ["", &"k".repeat(129)] {
        let answer = feed.post_note("hi", Some(key)).await;
        assert_eq!(answer.status(), 400, "{key:?}");
        assert!(answer.text().await.unwrap().contains("Idempotency-Key"));
    }
    for key in [&b"k\xff"[..], "è".as_bytes(), b"a\tb"] {
        let request = feed.program.request("POST", "/events");
        let request = request
            .header("content-type", "application/json")
            .header("idempotency-key", HeaderValue::from_bytes(key).unwrap())
            .body(r#"{"type":"note","data":"hi"}"#);
        assert_eq!(feed.program.send(request).await.status(), 400, "{key:?}");
    }
    let end = feed.note("the end").await;
    let mut reader = feed.listen("/events?from=start").await;
    let mut ids = Vec::new();
    while ids.last() != Some(&end) {
        ids.push(reader.next().await.id);
    }
    assert_eq!(ids, [first, second, third, odd, end]);
}

#[tokio::test]
async fn fifty_who_post_the_same_at_once_store_it_once() {
    let folder = tempdir().unwrap();
    let feed = Feed::start(folder.path()).await;
    for round in 0..10 {
        let key = format!("key-{round}");
        let ids = join_all(
            (0..50).map(async |_| id(feed.post_note(&key, Some(&key)).await).await),
        )
        .await;
        assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    }
    // With the same key, one event of fifty different ones is stored.
    let answers = join_all((0..50).map(async |n| {
        feed.post_note(&format!("I am {n}"), Some("who")).await.status().as_u16()
    }))
    .await;
    let count = |status| answers.iter().filter(|&&it| it == status).count();
    assert_eq!((count(201), count(422)), (1, 49), "{answers:?}");
    feed.note("the end").await;
    let notes = feed.listen("/events?from=start").await.notes_to("the end").await;
    assert_eq!(notes.len(), 12, "{notes:?}");
}

#[tokio::test]
async fn who_is_cut_off_before_the_first_event_misses_nothing() {
    let folder = tempdir().unwrap();
    let feed = Feed::start(folder.path()).await;
    for expected in [vec!["one", "two"], vec!["three"]] {
        let mut reader = feed.listen("/events").await;
        let last = reader.begin().await;
        assert_eq!(reader.reading.read(b"\n"), [], "the begin is no event");
        drop(reader);
        for note in &expected {
            feed.note(note).await;
        }
        let mut back = feed.back(&last).await;
        assert_eq!(back.notes_to(expected.last().unwrap()).await, expected);
    }
}

#[tokio::test]
async fn who_comes_without_an_id_gets_what_comes_next() {
    let folder = tempdir().unwrap();
    let mut feed = Feed::start(folder.path()).await;
    feed.note("old").await;
    let newest = feed.note("older than the reader").await;
    for is_new in [true, false] {
        let mut now = feed.listen("/events").await;
        assert_eq!(now.begin().await, newest);
        let mut start = feed.listen("/events?from=start").await;
        assert_eq!(start.note().await, "old");
        if is_new {
            drop((now, start));
            feed.program.stop();
            feed = Feed::start(folder.path()).await;
            continue;
        }
        let id = feed.note("new").await;
        let event = now.next().await;
        assert_eq!((&*event.data, event.id), ("new", id));
    }
}

/// Numbers from here on, as notes.
async fn notes(
    feed: &Feed,
    numbers: std::ops::RangeInclusive<usize>,
) -> Vec<String> {
    let mut ids = Vec::new();
    for number in numbers {
        ids.push(feed.note(&number.to_string()).await);
    }
    ids
}

/// The ID that is right before this one.
fn before(id: &str) -> String {
    match parts(id) {
        (ms, 0) => format!("{}-{}", ms - 1, u64::MAX),
        (ms, n) => format!("{ms}-{}", n - 1),
    }
}

#[tokio::test]
async fn who_was_away_too_long_is_told_once_and_gets_all_that_is_kept() {
    let folder = tempdir().unwrap();
    let variables = [("FEED_KEEP", "10")];
    let mut feed = Feed::start_with(folder.path(), &variables).await;
    let ids = notes(&feed, 1..=30).await;
    // Only the disk knows, now.
    feed.program.stop();
    feed = Feed::start_with(folder.path(), &variables).await;
    assert_eq!(feed.look(&ids[19]).await, None);
    assert!(feed.look(&ids[20]).await.is_some());
    let kept: Vec<_> = (21..=31).map(|number| number.to_string()).collect();
    for (round, last) in [&ids[0], &ids[10], &ids[18]].into_iter().enumerate() {
        let mut late = feed.back(last).await;
        let after = before(&ids[20]);
        assert_eq!(late.resync().await, ("expired".into(), after.clone()));
        if round == 0 {
            assert_eq!(late.notes_to("30").await, kept[..10]);
        }
        // Who is cut off after that has not to be told again.
        let mut again = feed.back(&after).await;
        assert_eq!(again.notes_to("30").await, kept[..10]);
    }
    // Who has an event that is kept is told nothing.
    for had in 21..=29 {
        let mut reader = feed.back(&ids[had - 1]).await;
        assert_eq!(reader.notes_to("30").await, kept[had - 20..10]);
    }
    // Nor is who has all, while time goes on.
    let mut all = feed.back(&ids[29]).await;
    all.begin().await;
    feed.note("31").await;
    assert_eq!(all.note().await, "31");
    assert_eq!(feed.look(&ids[20]).await, None, "one came, and one went");
}

#[tokio::test]
async fn what_is_too_old_goes_but_the_newest_stays() {
    let folder = tempdir().unwrap();
    let variables = [("FEED_AGE", "2")];
    let mut feed = Feed::start_with(folder.path(), &variables).await;
    let ids = notes(&feed, 1..=5).await;
    let mut idle = feed.listen("/events").await;
    idle.begin().await;
    until("the old ones go", async || feed.look(&ids[3]).await.is_none()).await;
    pause(Duration::from_secs(3)).await;
    assert!(feed.look(&ids[4]).await.is_some(), "the newest stays");
    // It is gone from the memory of the process that wrote it, too.
    let mut late = feed.back(&ids[1]).await;
    assert_eq!(late.resync().await, ("expired".into(), before(&ids[4])));
    assert_eq!(late.note().await, "5");
    feed.program.stop();
    let mut feed = Feed::start_with(folder.path(), &variables).await;
    let mut late = feed.back(&ids[1]).await;
    assert_eq!(late.resync().await, ("expired".into(), before(&ids[4])));
    assert_eq!(late.note().await, "5");
    // Who has the newest has missed nothing, however old it is.
    let mut up_to_date = feed.back(&ids[4]).await;
    let mut now = feed.listen("/events").await;
    assert_eq!(now.begin().await, ids[4]);
    pause(Duration::from_secs(2)).await;
    feed.note("6").await;
    for reader in [&mut late, &mut up_to_date, &mut now] {
        assert_eq!(reader.note().await, "6");
    }
    until("it goes, too", async || feed.look(&ids[4]).await.is_none()).await;
    feed.program.stop();
    feed = Feed::start_with(folder.path(), &variables).await;
    feed.note("7").await;
    assert_eq!(late.reading.last_event_id, up_to_date.reading.last_event_id);
    let mut back = feed.back(&late.reading.last_event_id).await;
    assert_eq!(back.note().await, "7");
}

#[tokio::test]
async fn a_slow_reader_that_is_overtaken_is_told_once() {
    const EVENTS: usize = 4_000;
    let folder = tempdir().unwrap();
    let feed = Feed::start_with(folder.path(), &[("FEED_KEEP", "1000")]).await;
    let mut slow = raw_stream(&feed, "/events").await;
    fill(&feed, 40, EVENTS, 4_000).await;
    feed.note("the end").await;
    let (mut wire, mut reading) = (Vec::new(), Reading::default());
    let mut events: Vec<Event> = Vec::new();
    let mut pieces = Pieces::default();
    while events.last().is_none_or(|event| event.data != "the end") {
        wire.clear();
        within("bytes", slow.read_buf(&mut wire)).await.unwrap();
        events.extend(reading.read(&pieces.read(&wire)));
    }
    let resyncs: Vec<_> =
        (0..events.len()).filter(|&at| events[at].event == "resync").collect();
    let [resync] = resyncs[..] else { panic!("{} resyncs", resyncs.len()) };
    let data: Value = serde_json::from_str(&events[resync].data).unwrap();
    assert_eq!(data["reason"], "expired");
    assert_eq!(data["after"], *events[resync].id);
    assert!(resync < EVENTS && events.len() < EVENTS, "it was overtaken");
    // What is left afterwards has no hole.
    let start = feed.listen("/events?from=start").await;
    let kept = all_to(start, "the end").await;
    let got = &events[events.len() - kept.len()..];
    assert!(kept.len() == 1_000 && *got == kept);
    assert_strictly_growing(events.iter().map(|event| &event.id));
    assert!(events.len() - resync > 1_000);
}

/// All events up to this note.
async fn all_to(mut reader: Reader, last: &str) -> Vec<Event> {
    let mut events: Vec<Event> = Vec::new();
    while events.last().is_none_or(|event| event.data != last) {
        events.push(reader.next().await);
    }
    events
}

/// The payload of a chunked body whose bytes come in pieces.
#[derive(Default)]
struct Pieces {
    head: Vec<u8>,
    /// Bytes of the chunk that are to come, and of its end.
    left: usize,
}

impl Pieces {
    fn read(&mut self, wire: &[u8]) -> Vec<u8> {
        let mut payload = Vec::new();
        for &byte in wire {
            match self.left {
                0 => self.head.push(byte),
                1 | 2 => self.left -= 1,
                _ => {
                    self.left -= 1;
                    payload.push(byte);
                }
            }
            if let Some(size) = self.head.strip_suffix(b"\r\n") {
                let size = str::from_utf8(size).unwrap();
                self.left = usize::from_str_radix(size, 16).unwrap() + 2;
                self.head.clear();
            }
        }
        payload
    }
}

/// Posts so many notes of this length from many connections at once: each note begins
/// with the number of the connection, and its own there.
async fn fill(feed: &Feed, connections: usize, count: usize, length: usize) {
    let each = count / connections;
    assert_eq!(each * connections, count);
    let posting = (0..connections).map(async |connection| {
        let mut socket = feed.program.socket().await;
        let (mut from, mut to) = socket.split();
        let requests = async {
            for n in 0..each {
                let data = format!("{connection}:{n}:");
                let data = format!("{data:.<length$}");
                let body = json!({ "type": "note", "data": data }).to_string();
                let head = format!(
                    "POST /events HTTP/1.1\r\nhost: test\r\n\
                     content-type: application/json\r\ncontent-length: {}\r\n\r\n",
                    body.len()
                );
                to.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
            }
        };
        let answers = async {
            let (mut answers, mut count) = (String::new(), 0);
            while count < each {
                let mut buffer = [0; 16_384];
                let read = within("answers", from.read(&mut buffer)).await.unwrap();
                assert!(read > 0, "the server closed: {answers}");
                answers += str::from_utf8(&buffer[..read]).unwrap();
                while let Some(end) = answers.find("}") {
                    assert!(answers.starts_with("HTTP/1.1 201"), "{answers}");
                    answers.drain(..=end);
                    count += 1;
                }
            }
        };
        tokio::join!(requests, answers);
    });
    join_all(posting).await;
}

/// Whether these are what [`fill`] has posted, once, each connection's in order.
fn assert_filled<'a>(notes: impl IntoIterator<Item = &'a Event>) -> usize {
    let mut next = std::collections::HashMap::new();
    let mut count = 0;
    for note in notes {
        let mut numbers = note.data.split(':').map(|part| part.parse::<usize>());
        let mut number = || numbers.next().unwrap().unwrap();
        let expected = next.entry(number()).or_insert(0);
        assert_eq!(number(), *expected, "in order, and once");
        *expected += 1;
        count += 1;
    }
    count
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_reader_that_is_100_000_events_behind_gets_them_all_in_bounded_memory() {
    const EVENTS: usize = 100_000;
    let folder = tempdir().unwrap();
    let feed = Feed::start(folder.path()).await;
    // One that has come in time, but stops reading.
    let mut stuck = feed.program.reader_that_never_reads("/events").await;
    fill(&feed, 400, 4_000, 500).await;
    let before = feed.program.memory();
    fill(&feed, 400, EVENTS - 4_000, 500).await;
    feed.note("the end").await;
    let behind = async || {
        let reader = feed.listen("/events?from=start").await;
        all_to(reader, "the end").await
    };
    let (one, two) = tokio::join!(behind(), behind());
    let grown = feed.program.memory().saturating_sub(before);
    eprintln!("{grown} bytes more");
    // What waits for `stuck` alone would be 50 MB.
    assert!(grown < CACHE + (32 << 20), "{grown} bytes more");
    assert_eq!(one.len(), EVENTS + 1);
    assert!(one == two, "the same for both");
    assert_strictly_growing(one.iter().map(|event| &event.id));
    // Twice, as `fill` began again with its numbers.
    assert_eq!(assert_filled(&one[..4_000]), 4_000);
    assert_eq!(assert_filled(&one[4_000..EVENTS]), EVENTS - 4_000);

    // In the end it reads, and nothing is missing.
    let (mut wire, mut reading) = (Vec::new(), Reading::default());
    let (mut events, mut pieces) = (Vec::new(), Pieces::default());
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(within("a head", stuck.read_u8()).await.unwrap());
    }
    while events.len() <= EVENTS {
        wire.clear();
        within("bytes", stuck.read_buf(&mut wire)).await.unwrap();
        events.extend(reading.read(&pieces.read(&wire)));
    }
    assert!(events == one, "the same for who was stuck");
}

/// What is told to who comes with this as a last event ID: why, and after which event it
/// goes on, with these.
async fn assert_told(
    feed: &Feed,
    last: &[u8],
    reason: &str,
    after: &str,
    rest: &[String],
) {
    let header = HeaderValue::from_bytes(last).unwrap();
    let get = |path: &str| feed.program.request("GET", path);
    let mut query = "/events?after=".to_string();
    for byte in last {
        query += &format!("%{byte:02x}");
    }
    for request in [
        get("/events").header("last-event-id", header.clone()),
        get("/events?from=start").header("last-event-id", header),
        get(&query),
    ] {
        let stream = feed.program.send(request).await;
        assert_eq!(stream.status(), 200);
        let (reading, events) = (Reading::default(), VecDeque::new());
        let mut reader = Reader { stream, reading, events };
        let text = String::from_utf8_lossy(last);
        let told = reader.resync().await;
        assert_eq!(told, (reason.into(), after.into()), "{text}");
        for id in rest {
            assert_eq!(reader.next().await.id, *id, "{text}: no hole after it");
        }
    }
}

#[tokio::test]
async fn an_id_that_is_none_of_ours_is_told_why_and_where_it_goes_on() {
    let folder = tempdir().unwrap();
    let variables = [("FEED_KEEP", "5")];
    let mut feed = Feed::start_with(folder.path(), &variables).await;
    let ids = notes(&feed, 1..=8).await;
    let kept = &ids[3..];
    let start = before(&ids[3]);
    let (ms, n) = parts(&ids[7]);
    for from_disk in [false, true] {
        if from_disk {
            feed.program.stop();
            feed = Feed::start_with(folder.path(), &variables).await;
        }
        let malformed: [&[u8]; 18] = [
            b"x",
            b"1",
            b"-",
            b"1-",
            b"-1",
            b"+1-0",
            b"01-0",
            b"1-00",
            b"1-+0",
            b"1--0",
            b"1-0-0",
            b"1.0-0",
            b"0x1-0",
            b"18446744073709551616-0",
            b"0-18446744073709551616",
            "1-\u{664}".as_bytes(),
            b"\xff\xfe",
            &[b'9'; 2_000],
        ];
        for id in malformed {
            assert_told(&feed, id, "malformed", &start, kept).await;
        }
        let max = u64::MAX;
        for id in [
            format!("{max}-{max}"),
            format!("{max}-0"),
            format!("{}-0", 1u64 << 63),
            format!("{}-{max}", (1u64 << 63) - 1),
            format!("{ms}-{}", n + 1),
            format!("{}-0", ms + 1),
            format!("{ms}-{max}"),
            "9999999999999-0".into(),
        ] {
            // Whoever has that has all, as far as anybody can tell.
            assert_told(&feed, id.as_bytes(), "unknown", &ids[7], &[]).await;
        }
        // From long ago, or from another log: nobody can tell.
        for id in ["0-0", "0-1", "1-0", "1764001234567-0", &ids[0]] {
            if !from_disk && (id == "0-0" || id == ids[0]) {
                continue; // in memory there is more
            }
            assert_told(&feed, id.as_bytes(), "expired", &start, kept).await;
        }
    }
    // In the address, what a header cannot have.
    for id in ["1-0%20", "%201-0", "1-0%0a", "%00", "1-0%00"] {
        let mut reader = feed.listen(&format!("/events?after={id}")).await;
        assert_eq!(reader.resync().await.0, "malformed", "{id}");
    }
    let mut ahead = feed.back("9999999999999-0").await;
    assert_eq!(ahead.resync().await, ("unknown".into(), ids[7].clone()));
    feed.note("9").await;
    assert_eq!(ahead.note().await, "9", "and nothing before it");
    assert_eq!(feed.look("x").await, None);
    assert_eq!(feed.look(&format!("{}-{}", u64::MAX, u64::MAX)).await, None);
    assert_eq!(feed.look("0-0").await, None);
}

#[tokio::test]
async fn an_id_between_two_events_is_told_that_it_is_unknown() {
    let folder = tempdir().unwrap();
    let feed = Feed::start(folder.path()).await;
    let first = feed.note("one").await;
    pause(Duration::from_millis(5)).await;
    let second = feed.note("two").await;
    let (ms, _) = parts(&first);
    assert!(ms + 1 < parts(&second).0);
    let between = format!("{}-7", ms + 1);
    assert_told(&feed, between.as_bytes(), "unknown", &first, &[second]).await;
}

#[tokio::test]
async fn on_an_empty_log_nothing_is_known_but_its_start() {
    let folder = tempdir().unwrap();
    let feed = Feed::start(folder.path()).await;
    let mut now = feed.listen("/events").await;
    assert_eq!(now.begin().await, "0-0");
    let mut start = feed.listen("/events?from=start").await;
    assert_eq!(start.begin().await, "0-0");
    let mut known = feed.back("0-0").await;
    let mut unknown = feed.back("5-5").await;
    assert_eq!(unknown.resync().await, ("unknown".into(), "0-0".into()));
    let mut malformed = feed.back("x").await;
    assert_eq!(malformed.resync().await, ("malformed".into(), "0-0".into()));
    feed.note("one").await;
    for reader in [now, start, known, unknown, malformed].iter_mut() {
        assert_eq!(reader.note().await, "one");
    }
    known = feed.back("0-0").await;
    assert_eq!(known.note().await, "one");
}

#[tokio::test]
async fn the_header_is_newer_than_the_address() {
    let folder = tempdir().unwrap();
    let feed = Feed::start(folder.path()).await;
    let ids = notes(&feed, 1..=4).await;
    let after = format!("/events?after={}", ids[0]);
    for (header, path, expected) in [
        ("", &*after, "2"),
        (&*ids[2], &after, "4"),
        (&ids[2], "/events?after=x", "4"),
        (&ids[2], "/events?after=", "4"),
        (&ids[2], "/events?from=start", "4"),
        ("", "/events?after=&from=start", "1"),
        ("", &format!("{after}&from=start"), "2"),
    ] {
        let mut reader = feed.listen_after(header, path).await;
        assert_eq!(reader.note().await, expected, "{header}, {path}");
    }
    // An empty header is none.
    for (path, expected) in
        [("/events?from=start", "1"), (&after, "2"), ("/events?after=", "5")]
    {
        let request = feed.program.request("GET", path).header("last-event-id", "");
        let stream = feed.program.send(request).await;
        let (reading, events) = (Reading::default(), VecDeque::new());
        let mut reader = Reader { stream, reading, events };
        if expected == "5" {
            reader.begin().await;
            feed.note("5").await;
        }
        assert_eq!(reader.note().await, expected, "{path}");
    }
    for path in ["/events?from=x", "/events?from=", "/events?from=Start"] {
        let answer = feed.program.get(path).await;
        assert_eq!(answer.status(), 400, "{path}");
        assert!(answer.text().await.unwrap().contains("from"), "{path}");
    }
}

#[tokio::test]
async fn what_cannot_be_an_event_is_refused_with_a_reason() {
    let folder = tempdir().unwrap();
    let feed = Feed::start(folder.path()).await;
    let event =
        |kind: &str, data: &str| json!({ "type": kind, "data": data }).to_string();
    let (long, longest) = ("t".repeat(65), "x".repeat(4_097));
    let wide = "è".repeat(2_049);
    for (body, reason) in [
        (event("", "x"), "a type has 1 to 64 bytes"),
        (event(&long, "x"), "a type has 1 to 64 bytes"),
        (event(&"è".repeat(33), "x"), "a type has 1 to 64 bytes"),
        (event("a\nb", "x"), "control characters"),
        (event("a\rb", "x"), "control characters"),
        (event("a\0", "x"), "control characters"),
        (event("a\u{85}", "x"), "control characters"),
        (event("open", "x"), "has a meaning already"),
        (event("error", "x"), "has a meaning already"),
        (event("resync", "x"), "has a meaning already"),
        (event("note", "a\rb"), "carriage return"),
        (event("note", "\r\n"), "carriage return"),
        (event("note", &longest), "4096 bytes at most"),
        (event("note", &wide), "4096 bytes at most"),
        (r#"{"type":"note","data":"x","id":"1-1"}"#.into(), "unknown field"),
        (r#"{"type":"note","data":"x","data":"y"}"#.into(), "duplicate field"),
        (r#"{"type":"note"}"#.into(), "missing field"),
        (r#"{"data":"x"}"#.into(), "missing field"),
        (r#"{"type":"note","data":1}"#.into(), "expected a string"),
        (r#"{"type":"note","data":null}"#.into(), "expected a string"),
        (r#"{"type":"note","data":"\ud800"}"#.into(), "hex escape"),
        (r#"{"type":"note","data":"x"} x"#.into(), "trailing characters"),
        (r#"{"type":"note","data":"x""#.into(), "EOF"),
        ("{\"type\":\"note\",\"data\":\"a\nb\"}".into(), "control character"),
        ("[]".into(), "type"),
        ("hello".into(), "expected value"),
        ("".into(), "EOF"),
    ] {
        let answer = feed.post(body.clone(), Some("refused")).await;
        assert_eq!(answer.status(), 400, "{body}");
        let answer = answer.text().await.unwrap();
        assert!(answer.contains("\"brief\"") && answer.contains(reason), "{answer}");
    }
    let not_utf_8 = feed.post(&b"{\"type\":\"note\",\"data\":\"\xff\"}"[..], None);
    assert_eq!(not_utf_8.await.status(), 400);
    for size in [32 << 10, 20 << 20] {
        let body = event("note", &"x".repeat(size));
        let answer = feed.post(body.clone(), None).await;
        assert_eq!(answer.status(), 413);
        assert!(answer.text().await.unwrap().contains("32768 bytes at most"));
        let answer = feed.post(tests::chunks(body.as_bytes()), None).await;
        assert_eq!(answer.status(), 413, "its length is not told before");
    }
    let post = || feed.program.request("POST", "/events").body(event("note", "x"));
    for kind in [
        None,
        Some("text/plain"),
        Some("application/x-www-form-urlencoded"),
        Some("application/json-seq"),
        Some("banana"),
    ] {
        let request = match kind {
            Some(kind) => post().header("content-type", kind),
            None => post(),
        };
        let answer = feed.program.send(request).await;
        assert_eq!(answer.status(), 415, "{kind:?}");
        assert!(answer.text().await.unwrap().contains("not application/json"));
    }
    let host = feed.program.url.strip_prefix("http://").unwrap();
    for (origin, status) in [
        ("http://example.com", 403),
        ("null", 403),
        ("", 403),
        (host, 403),
        ("http://127.0.0.1", 403),
        ("file://", 403),
        (&*feed.program.url, 201),
    ] {
        let request = post()
            .header("content-type", "application/json; charset=utf-8")
            .header("origin", origin);
        let answer = feed.program.send(request).await;
        assert_eq!(answer.status(), status, "{origin}");
        if status == 403 {
            assert!(answer.text().await.unwrap().contains("another origin"));
        }
    }
    // The key of what was refused is free, and nothing else was stored.
    id(feed.post_note("the end", Some("refused")).await).await;
    let notes = feed.listen("/events?from=start").await.notes_to("the end").await;
    assert_eq!(notes, ["x", "the end"]);
}

#[test]
fn what_is_accepted_arrives_as_it_was() {
    let runtime = Runtime::new().unwrap();
    let folder = tempdir().unwrap();
    let feed = runtime.block_on(Feed::start(folder.path()));
    let reader = runtime.block_on(feed.listen("/events"));
    let reader = tokio::sync::Mutex::new(reader);
    let config =
        Config { cases: 500, failure_persistence: None, ..Config::default() };
    // Whatever a type and data may have, and often what has a meaning in the format.
    let kind = r"\PC{1,16}|(data|id|event|retry|[: ]){1,4}"
        .prop_filter("has a meaning", |kind| {
            !["open", "error", "resync"].contains(&&**kind)
        });
    let piece = prop_oneof![
        Just("\n".to_string()),
        Just("\n\n".to_string()),
        r"(data|id|event|retry|[: \u{feff}\u{0}\u{2028}\u{85}]){1,4}",
        any::<String>(),
    ];
    let data = vec(piece, 0..6).prop_map(|pieces| pieces.concat().replace('\r', ""));
    proptest!(config, |(kind in kind, data in data)| {
        runtime.block_on(async {
            let body = json!({ "type": kind, "data": data }).to_string();
            let id = id(feed.post(body, None).await).await;
            let retry = None;
            let expected = Event { event: kind, data, id: id.clone(), retry };
            assert_eq!(reader.lock().await.next().await, expected);
            let Event { event, data, .. } = expected;
            let looked = json!({ "id": id, "type": event, "data": data });
            assert_eq!(feed.look(&id).await, Some(looked));
        });
    });
}

#[tokio::test]
async fn the_longest_event_arrives_whole() {
    let folder = tempdir().unwrap();
    let mut feed = Feed::start(folder.path()).await;
    let longest = ["x".repeat(4_096), "\n".repeat(4_096), "\0".repeat(4_096)];
    for data in &longest {
        feed.note(data).await;
    }
    for _ in 0..2 {
        let mut reader = feed.listen("/events?from=start").await;
        for data in &longest {
            assert_eq!(reader.note().await, *data);
        }
        feed.program.stop();
        feed = Feed::start(folder.path()).await;
    }
}

/// Starts the program where it cannot run: it must end with one clear line, which is
/// returned.
async fn refused(variables: &[(&str, &str)]) -> String {
    let mut feed = tokio::process::Command::from(tests::example("feed"));
    feed.env("ADDR", "127.0.0.1:0").envs(variables.iter().copied());
    let end = feed.kill_on_drop(true).output();
    let end = within("the program ends", end).await.unwrap();
    let stderr = String::from_utf8(end.stderr).unwrap();
    assert_eq!((end.status.code(), &*end.stdout), (Some(1), &b""[..]), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    stderr
}

#[tokio::test]
async fn a_second_server_on_the_same_folder_is_refused() {
    let folder = tempdir().unwrap();
    let feed = Feed::start(folder.path()).await;
    let first = feed.note("one").await;
    let path = folder.path().to_str().unwrap();
    let line = refused(&[("FEED_DIR", path)]).await;
    assert!(line.contains(path) && line.contains("another process"), "{line}");
    // The first has not noticed.
    feed.note("two").await;
    let notes = feed.listen("/events?from=start").await.notes_to("two").await;
    assert_eq!(notes, ["one", "two"]);
    // When it has been killed, the folder is free.
    drop(feed);
    assert!(Feed::start(folder.path()).await.look(&first).await.is_some());
}

#[cfg(unix)]
#[tokio::test]
async fn a_file_that_is_no_whole_log_is_refused_and_not_overwritten() {
    let png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR";
    let mut broken: Vec<(String, Vec<u8>)> = vec![
        ("empty".into(), vec![]),
        ("text".into(), b"Dear diary,\n".repeat(1_000)),
        ("a picture".into(), png.to_vec()),
        ("a large picture".into(), [&png[..], &[7; 100_000]].concat()),
        (
            "another database".into(),
            [&b"SQLite format 3\0"[..], &[0; 8_176]].concat(),
        ),
        ("nothing but zeros".into(), vec![0; 1 << 20]),
    ];
    // Logs after a clean end, and as they are after a kill.
    for is_clean in [true, false] {
        let folder = tempdir().unwrap();
        let mut feed = Feed::start(folder.path()).await;
        for n in 0..200 {
            feed.note(&format!("these words, {n}: {}", "…".repeat(100))).await;
        }
        if is_clean {
            feed.program.signal(Signal::SIGTERM);
            assert_eq!(feed.program.exit_code().await, Some(0));
        }
        drop(feed);
        let log = fs::read(folder.path().join(FILE)).unwrap();
        let name = |fault: &str| format!("{fault}, clean: {is_clean}");
        broken.push((name("half"), log[..log.len() / 2].to_vec()));
        broken.push((name("a byte is missing"), log[..log.len() - 1].to_vec()));
        broken.push((name("the head alone"), log[..4_096].to_vec()));
        let mut other = log.clone();
        let words = b"these words, ";
        let places: Vec<_> = (0..log.len() - words.len())
            .filter(|&at| log[at..].starts_with(words))
            .collect();
        assert!(places.len() >= 200);
        places.iter().for_each(|&at| other[at] ^= 1);
        broken.push((name("other letters"), other));
        let mut garbage = log.clone();
        let mut random = Random(7);
        let (from, to) = (log.len() / 8, log.len() * 7 / 8);
        garbage[from..to]
            .iter_mut()
            .for_each(|byte| *byte = random.below(256) as u8);
        broken.push((name("garbage in the middle"), garbage));
    }
    let mut changed = Vec::new();
    for (name, bytes) in broken {
        let folder = tempdir().unwrap();
        let file = folder.path().join(FILE);
        fs::write(&file, &bytes).unwrap();
        // Again, as a service manager would start it.
        for _ in 0..2 {
            let line =
                refused(&[("FEED_DIR", folder.path().to_str().unwrap())]).await;
            assert!(line.contains(file.to_str().unwrap()), "{name}: {line}");
            assert!(line.contains("not overwritten"), "{name}: {line}");
        }
        // redb notes in its head that the file is in need of a repair, and that is all.
        let now = fs::read(&file).unwrap();
        let places =
            (0..bytes.len().min(now.len())).filter(|&at| bytes[at] != now[at]);
        let others: Vec<_> = places.collect();
        let is_noted = matches!(others[..], [] | [0..512]);
        if now.len() != bytes.len() || !is_noted {
            changed.push(format!("{name}: {} bytes, others: {others:?}", now.len()));
        }
    }
    assert_eq!(changed, [""; 0], "none is overwritten");
}

#[tokio::test]
async fn a_folder_that_cannot_be_used_is_one_clear_line() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "x").unwrap();
    for dir in
        [&*file, &file.join("below"), Path::new("/proc"), Path::new("/proc/x")]
    {
        let dir = dir.to_str().unwrap();
        let line = refused(&[("FEED_DIR", dir)]).await;
        assert!(line.contains(dir), "{line}");
    }
    // One that is not there yet is made.
    let new = folder.path().join("new/feed");
    Feed::start(&new).await.note("hi").await;
    assert!(new.join(FILE).exists());
}

#[tokio::test]
async fn bad_numbers_are_one_clear_line() {
    let folder = tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    for name in ["FEED_KEEP", "FEED_AGE"] {
        for value in ["0", "-1", "", "many", "1.5", "4294967297", "1e3"] {
            let line = refused(&[("FEED_DIR", path), (name, value)]).await;
            assert!(line.contains(name), "{line}");
            assert!(line.ends_with(&format!("{value}\n")), "{line}");
        }
    }
}

#[tokio::test]
async fn a_taken_or_bad_address_is_one_clear_line() {
    let folder = tempdir().unwrap();
    let feed = Feed::start(folder.path()).await;
    feed.program.assert_bad_addresses_are_one_clear_line("feed");
}

#[cfg(unix)]
#[tokio::test]
async fn asked_to_end_it_ends_its_streams_whole_and_then_itself() {
    let folder = tempdir().unwrap();
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let mut feed = Feed::start(folder.path()).await;
        let mut readers = Vec::new();
        for _ in 0..20 {
            readers.push(feed.listen("/events?from=start").await);
        }
        let mut stuck = feed.program.reader_that_never_reads("/events").await;
        feed.note("the end").await;
        for reader in &mut readers {
            reader.notes_to("the end").await;
        }
        let asked = Instant::now();
        feed.program.signal(signal);
        for reader in &mut readers {
            while within("the end", reader.more()).await {}
        }
        assert_eq!(feed.program.exit_code().await, Some(0));
        assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
        let mut bytes = Vec::new();
        within("the end", stuck.read_to_end(&mut bytes)).await.unwrap();
        assert!(bytes.ends_with(b"\r\n0\r\n\r\n"), "the last chunk");
        let stderr = feed.program.stderr();
        assert!(!stderr.contains("panicked"), "{stderr}");
    }
}

#[tokio::test]
async fn silence_is_filled_with_comments() {
    let folder = tempdir().unwrap();
    let feed = Feed::start(folder.path()).await;
    let mut answer = feed.program.get("/events").await;
    let start = Instant::now();
    let mut bytes = String::new();
    while !bytes.ends_with("\n:\n\n") {
        let chunk = within("a heartbeat", answer.chunk()).await.unwrap().unwrap();
        bytes += str::from_utf8(&chunk).unwrap();
    }
    assert!(start.elapsed() < Duration::from_secs(30), "{bytes}");
}

#[tokio::test]
async fn the_head_names_a_stream_and_forbids_to_keep_it_back() {
    let folder = tempdir().unwrap();
    let feed = Feed::start(folder.path()).await;
    let answer = feed.program.get("/events").await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    assert_eq!(answer.headers()["cache-control"], "no-cache");
    assert_eq!(answer.headers()["x-accel-buffering"], "no");
}

#[tokio::test]
async fn other_paths_and_methods_get_a_reason_in_the_form_that_is_asked_for() {
    let folder = tempdir().unwrap();
    let feed = Feed::start(folder.path()).await;
    for (method, path, status, allow) in [
        ("GET", "/nope", 404, None),
        ("POST", "/", 405, Some("GET")),
        ("PUT", "/events", 405, Some("GET, POST")),
        ("POST", "/events/1-0", 405, Some("GET")),
        ("GET", "/readers/1", 405, Some("DELETE")),
        ("GET", "/events/1-0", 404, None),
        ("GET", "/events/x", 404, None),
        ("GET", "/events?from=x", 400, None),
        ("GET", "/events?reader=x", 400, None),
        ("DELETE", "/readers/x", 404, None),
    ] {
        for (accept, form) in [
            ("application/json", "application/json"),
            ("text/html", "text/html"),
            ("text/plain", "text/plain"),
        ] {
            let request = feed.program.request(method, path);
            let answer = feed.program.send(request.header("accept", accept)).await;
            assert_eq!(answer.status(), status, "{method} {path}");
            let head = |name| {
                let value = answer.headers().get(name);
                value.map(|value| value.to_str().unwrap().to_string())
            };
            assert_eq!(head("allow").as_deref(), allow, "{method} {path}");
            let kind = head("content-type").unwrap();
            assert!(kind.starts_with(form), "{method} {path}: {kind}");
            let text = answer.text().await.unwrap();
            assert!(text.len() > 20, "{method} {path}: {text}");
        }
    }
}

#[tokio::test]
async fn the_page_asks_for_a_relative_address() {
    let folder = tempdir().unwrap();
    let feed = Feed::start(folder.path()).await;
    feed.program.assert_page_with("new EventSource(`events?reader=").await;
}

#[tokio::test]
async fn a_reader_can_be_cut_and_nobody_else() {
    let folder = tempdir().unwrap();
    let feed = Feed::start(folder.path()).await;
    let at = |n: u128| format!("/events?reader={n:032x}");
    let delete = async |path: &str, origin: &str| {
        let request = feed.program.request("DELETE", path);
        let request = request.header("origin", origin);
        feed.program.send(request).await.status().as_u16()
    };
    let own = &*feed.program.url;
    let (ann, bob) =
        (format!("/readers/{:032x}", 0xa1), format!("/readers/{:032x}", 0xb2));
    assert_eq!(delete(&ann, own).await, 404, "she is not there yet");
    let mut ann_reads = feed.listen(&at(0xa1)).await;
    let mut bob_reads = feed.listen(&at(0xb2)).await;
    let mut nobody_reads = feed.listen("/events").await;
    for reader in [&mut ann_reads, &mut bob_reads, &mut nobody_reads] {
        reader.begin().await;
    }
    assert_eq!(delete(&ann, "http://example.com").await, 403);
    feed.note("one").await;
    assert_eq!(ann_reads.note().await, "one");
    assert_eq!(delete(&ann, own).await, 204);
    assert!(!within("the end", ann_reads.more()).await, "and a clean one");
    assert_eq!(delete(&ann, own).await, 404);
    feed.note("two").await;
    for reader in [&mut bob_reads, &mut nobody_reads] {
        assert_eq!(reader.notes_to("two").await, ["one", "two"]);
    }
    // She comes back, and has missed nothing.
    let last = ann_reads.reading.last_event_id;
    let mut again = feed.listen_after(&last, &at(0xa1)).await;
    assert_eq!(again.note().await, "two");
    // A second stream of the same reader ends the first.
    let mut second = feed.listen(&at(0xa1)).await;
    second.begin().await;
    assert!(!within("the end", again.more()).await);
    drop(again);
    feed.note("three").await;
    assert_eq!(second.note().await, "three");
    assert_eq!(delete(&ann, own).await, 204, "the second is the one that is known");
    assert!(!within("the end", second.more()).await);
    // Who goes by itself is forgotten.
    drop(bob_reads);
    until("he is gone", async || delete(&bob, own).await == 404).await;
    for id in ["", "1", "x", &"g".repeat(32), &"A".repeat(32), &"+1".repeat(16)] {
        let answer = feed.program.get(&format!("/events?reader={id}")).await;
        assert_eq!(answer.status(), 400, "{id}");
        assert!(answer.text().await.unwrap().contains("32 hex digits"), "{id}");
    }
}

#[tokio::test]
async fn the_bytes_are_those_of_the_transcript() {
    let folder = tempdir().unwrap();
    let feed = Feed::start(folder.path()).await;
    let mut stream = Recording::of(feed.program.get("/events").await);
    stream.chunk().await;
    let mut ids = Vec::new();
    for note in ["It has begun to rain.", "It rains on:\ntake an umbrella."] {
        pause(Duration::from_millis(300)).await;
        ids.push(feed.note(note).await);
        stream.chunk().await;
    }
    stream.mask(&ids[0], "1764001234567-0");
    stream.mask(&ids[1], "1764001234868-0");
    stream.assert("feed");
}

/// A disk and a clock that a test can spoil, for the programs that it starts with them.
#[cfg(target_os = "linux")]
struct Faults(TempDir);

#[cfg(target_os = "linux")]
impl Faults {
    fn new() -> Self {
        let faults = Self(tempdir().unwrap());
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-o", &faults.path("faults.so")]);
        let source = tests::root().join("tests/preload/faults.c");
        assert!(cc.arg(source).status().unwrap().success());
        faults
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().into()
    }

    async fn start(&self, folder: &Path) -> Feed {
        let [library, sync, clock] =
            ["faults.so", "sync", "clock"].map(|name| self.path(name));
        let variables = [
            ("LD_PRELOAD", &*library),
            ("FAIL_SYNC", &sync),
            ("CLOCK_AHEAD", &clock),
        ];
        Feed::start_with(folder, &variables).await
    }

    /// The next sync fails with this error.
    fn fail_sync(&self, error: Errno) {
        self.write("sync", error as i64);
    }

    /// The clock is so many seconds ahead, or behind.
    fn set_clock(&self, seconds: i64) {
        self.write("clock", seconds);
    }

    /// At once, for the program may look at any time.
    fn write(&self, name: &str, number: i64) {
        fs::write(self.path("new"), number.to_string()).unwrap();
        fs::rename(self.path("new"), self.path(name)).unwrap();
    }
}

/// Events that are stored though the sync has failed: who has been told so repeats them,
/// and nobody gets them twice, or not at all.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_sync_that_fails_costs_no_reader_an_event() {
    let (folder, faults) = (tempdir().unwrap(), Faults::new());
    let mut feed = faults.start(folder.path()).await;
    let mut readers = Vec::new();
    for path in ["/events", "/events?from=start"] {
        let mut reader = feed.listen(path).await;
        reader.begin().await;
        readers.push(reader);
    }
    let mut ids = notes(&feed, 1..=2).await;
    for (error, status, clock) in
        [(Errno::EIO, 503, 0), (Errno::ENOSPC, 507, -60 * 60)]
    {
        // While the clock is behind, the next ID is that right after the newest.
        faults.set_clock(clock);
        for number in 0..5 {
            let key = format!("{status}-{number}");
            faults.fail_sync(error);
            assert_eq!(feed.post_note(&key, Some(&key)).await.status(), status);
            ids.push(feed.note("goes on").await);
            ids.push(id(feed.post_note(&key, Some(&key)).await).await);
        }
    }
    // Many are stored together, and none of them is acknowledged at first.
    faults.fail_sync(Errno::EIO);
    let posting = (0..50).map(async |number| {
        let key = format!("many-{number}");
        let mut answer = feed.post_note(&key, Some(&key)).await;
        let has_failed = answer.status() == 503;
        if has_failed {
            answer = feed.post_note(&key, Some(&key)).await;
        }
        (has_failed, id(answer).await)
    });
    let many = join_all(posting).await;
    assert!(many.iter().any(|(has_failed, _)| *has_failed));
    ids.extend(many.into_iter().map(|(_, id)| id));
    ids.push(feed.note("the end").await);
    ids.sort_by_key(|id| parts(id));
    for last in &ids[..ids.len() - 1] {
        readers.push(feed.back(last).await);
    }
    for life in 0..2 {
        readers.push(feed.listen("/events?from=start").await);
        for reader in readers.drain(..) {
            let last = &reader.reading.last_event_id;
            let had = ids.iter().position(|id| id == last).map_or(0, |at| at + 1);
            let came = all_to(reader, "the end").await;
            assert!(came.iter().all(|event| event.event == "note"), "{came:?}");
            assert!(came.iter().map(|event| &event.id).eq(&ids[had..]), "{came:?}");
        }
        if life == 0 {
            feed.program.stop();
            feed = faults.start(folder.path()).await;
        }
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn ids_only_grow_when_the_clock_is_set_back() {
    let (folder, faults) = (tempdir().unwrap(), Faults::new());
    let mut feed = faults.start(folder.path()).await;
    let mut reader = feed.listen("/events?from=start").await;
    let mut ids = notes(&feed, 1..=3).await;
    let (ms, n) = parts(&ids[2]);
    faults.set_clock(-60 * 60);
    ids.extend(notes(&feed, 4..=6).await);
    assert_eq!(reader.notes_to("6").await.len(), 6);
    feed.program.stop();
    feed = faults.start(folder.path()).await;
    ids.extend(notes(&feed, 7..=9).await);
    // Until the clock has come there again, they are counted.
    let counted = (1..=6).map(|more| format!("{ms}-{}", n + more));
    assert!(counted.eq(ids[3..].iter().cloned()), "{ids:?}");
    faults.set_clock(0);
    ids.push(feed.note("10").await);
    assert!(parts(&ids[9]).0 > ms);
    assert_strictly_growing(&ids);
    let mut back = feed.back(&reader.reading.last_event_id).await;
    assert_eq!(back.notes_to("10").await, ["7", "8", "9", "10"]);
    let all = all_to(feed.listen("/events?from=start").await, "10").await;
    assert!(all.iter().map(|event| &event.id).eq(&ids));
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_clock_that_jumps_a_week_ahead_and_back_ages_the_log_and_its_ids_go_on() {
    const DAY: i64 = 24 * 60 * 60;
    let (folder, faults) = (tempdir().unwrap(), Faults::new());
    let mut feed = faults.start(folder.path()).await;
    let mut reader = feed.listen("/events?from=start").await;
    let mut ids = notes(&feed, 1..=3).await;
    faults.set_clock(8 * DAY);
    until("the old ones go", async || feed.look(&ids[1]).await.is_none()).await;
    assert!(feed.look(&ids[2]).await.is_some(), "the newest stays");
    ids.push(feed.note("4").await);
    let (future, _) = parts(&ids[3]);
    assert!(future - parts(&ids[2]).0 >= 8 * DAY as u64 * 1_000);
    assert_eq!(feed.look(&ids[2]).await, None, "it is no longer the newest");
    faults.set_clock(0);
    ids.extend(notes(&feed, 5..=6).await);
    assert_eq!(reader.notes_to("6").await, ["1", "2", "3", "4", "5", "6"]);
    feed.program.stop();
    feed = faults.start(folder.path()).await;
    ids.extend(notes(&feed, 7..=8).await);
    assert!(ids[4..].iter().all(|id| parts(id).0 == future), "{ids:?}");
    let mut back = feed.back(&ids[5]).await;
    assert_eq!(back.notes_to("8").await, ["7", "8"]);
    // What the clock has not reached yet stays until a week after that.
    faults.set_clock(14 * DAY);
    ids.push(feed.note("9").await);
    assert_strictly_growing(&ids);
    let kept = all_to(feed.listen("/events?from=start").await, "9").await;
    assert!(kept.iter().map(|event| &event.id).eq(&ids[3..]), "{kept:?}");
    let mut late = feed.back(&ids[0]).await;
    assert_eq!(late.resync().await, ("expired".into(), before(&ids[3])));
}

/// A disk of its own for a folder, unmounted in the end.
#[cfg(target_os = "linux")]
struct SmallDisk<'a>(&'a Path);

#[cfg(target_os = "linux")]
impl<'a> SmallDisk<'a> {
    fn mount(folder: &'a Path, size: &str) -> Self {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]);
        assert!(mount.arg(folder).status().unwrap().success());
        Self(folder)
    }
}

#[cfg(target_os = "linux")]
impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("--lazy").arg(self.0).status());
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
#[ignore = "needs root"]
async fn on_a_full_disk_nothing_is_lost_and_reading_goes_on() {
    let folder = tempdir().unwrap();
    let _disk = SmallDisk::mount(folder.path(), "6m");
    let ballast = folder.path().join("ballast");
    fs::write(&ballast, vec![7; 3 << 20]).unwrap();
    let mut feed = Feed::start(folder.path()).await;
    let mut reader = feed.listen("/events?from=start").await;
    let mut stored = Vec::new();
    let text = "x".repeat(1_000);
    // Posts until there is no room, and returns what is said then.
    let fill = async |feed: &Feed, stored: &mut Vec<String>| {
        loop {
            let key = format!("key-{}", stored.len());
            let answer = feed.post_note(&format!("{key} {text}"), Some(&key)).await;
            if answer.status() != 201 {
                break answer;
            }
            stored.push(id(answer).await);
            assert!(stored.len() < 6_000, "6 MB were enough");
        }
    };
    let read_all = async |reader: &mut Reader, stored: &[String]| {
        for id in stored {
            assert_eq!(reader.next().await.id, *id);
        }
        assert_eq!(reader.events, [], "what was refused is not there");
    };

    let answer = fill(&feed, &mut stored).await;
    assert_eq!(answer.status(), 507);
    let answer = answer.text().await.unwrap();
    assert!(answer.contains("disk is full"), "{answer}");
    assert!(stored.len() > 100, "{}", stored.len());
    read_all(&mut reader, &stored).await;
    for _ in 0..5 {
        assert!(feed.post_note(&text, None).await.status().is_server_error());
        let mut again = feed.listen("/events?from=start").await;
        read_all(&mut again, &stored).await;
        assert!(feed.look(&stored[0]).await.is_some());
    }
    // There is room again, and nobody has to start it anew.
    fs::remove_file(&ballast).unwrap();
    let full = stored.len();
    until("it writes again", async || {
        feed.post_note("room!", Some("room")).await.status() == 201
    })
    .await;
    stored.push(id(feed.post_note("room!", Some("room")).await).await);
    let answer = fill(&feed, &mut stored).await;
    assert_eq!(answer.status(), 507);
    assert!(stored.len() > full + 100, "{full}, {}", stored.len());
    read_all(&mut reader, &stored[full..]).await;
    // It is killed, and starts on the full disk.
    feed.program.stop();
    feed = Feed::start(folder.path()).await;
    let mut again = feed.listen("/events?from=start").await;
    read_all(&mut again, &stored).await;
}
