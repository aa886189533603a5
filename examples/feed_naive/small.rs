//! A log in one file, which its reader has written from `main.rs` in the five steps of
//! chapter 8. `kill -9` costs it nothing, and no reader has a gap without a word. Copy
//! `feed` instead, which has limits, refuses strangers, and ends well.
//!
//!     cargo run --example feed_small
//!     curl -N http://127.0.0.1:8698/
//!     curl -d hello http://127.0.0.1:8698/
//!
//! The events are in `LOG_FILE` (default: `log.jsonl`), a line each.

use std::io::{self, Read, Write};
use std::time::SystemTime;
use std::{collections::VecDeque, convert::Infallible, env, fs::File, sync::Arc};

use futures_util::stream::{self, StreamExt};
use parking_lot::Mutex;
use salvo::{http::HeaderValue, prelude::*};
use serde::{Deserialize, Serialize};
use serde_json::Deserializer;
use tokio::sync::watch;

/// Events that are kept for readers that come back.
const KEEP: usize = 100;

#[tokio::main]
async fn main() -> salvo::Result<()> {
    let addr = env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:8698".into());
    let acceptor = TcpListener::new(addr).try_bind().await?;
    let log = Arc::new(Log::open()?);
    let router = Router::new().get(Listen(log.clone())).post(Say(log));
    println!("listening on http://{}", acceptor.local_addr()?);
    Ok(Server::new(acceptor).try_serve(router).await?)
}

#[derive(Clone, Deserialize, Serialize)]
struct Event {
    id: u64,
    key: Option<String>,
    text: String,
}

struct Log {
    file: Mutex<File>,
    /// The newest events, in a channel that wakes the readers at each change.
    kept: watch::Sender<Kept>,
}

impl Log {
    fn append(&self, key: Option<String>, text: String) -> Result<u64, StatusError> {
        let mut file = self.file.lock(); // one writer at a time
        // ANCHOR: known
        if let Some(known) = self.kept.borrow().with_key(key.as_deref()) {
            let taken = StatusError::unprocessable_entity().brief("another event");
            return if known.text == text { Ok(known.id) } else { Err(taken) };
        }
        // ANCHOR_END: known
        // ANCHOR: durable
        let id = now().max(self.kept.borrow().newest() + 1);
        let event = Event { id, key, text };
        if let Err(why) = store(&mut file, &event) {
            eprintln!("not known to be stored: {why}");
            std::process::exit(1); // the next process looks at what the file has
        }
        self.kept.send_modify(|kept| kept.push(event));
        Ok(id)
        // ANCHOR_END: durable
    }

    // ANCHOR: open
    /// Reads the file. A line that a kill has cut was never acknowledged, and goes.
    fn open() -> io::Result<Self> {
        let path = env::var("LOG_FILE").unwrap_or_else(|_| "log.jsonl".into());
        let mut file =
            File::options().create(true).read(true).append(true).open(path)?;
        file.try_lock()?; // a second process would give the same ids
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let end =
            bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        file.set_len(end as u64)?;
        file.sync_data()?;
        let mut kept = Kept::default();
        for event in Deserializer::from_slice(&bytes[..end]).into_iter() {
            kept.push(event?);
        }
        Ok(Self { file: Mutex::new(file), kept: watch::Sender::new(kept) })
    }
    // ANCHOR_END: open
}

fn store(file: &mut File, event: &Event) -> io::Result<()> {
    file.write_all(format!("{}\n", serde_json::to_string(event)?).as_bytes())?;
    file.sync_data()
}

/// Milliseconds since 1970.
fn now() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_millis() as u64
}

#[derive(Default)]
struct Kept {
    /// The newest event that is not kept any more.
    forgot: u64,
    events: VecDeque<Event>,
}

impl Kept {
    fn newest(&self) -> u64 {
        self.events.back().map_or(self.forgot, |event| event.id)
    }

    fn push(&mut self, event: Event) {
        self.events.push_back(event);
        if self.events.len() > KEEP
            && let Some(oldest) = self.events.pop_front()
        {
            self.forgot = oldest.id;
        }
    }

    fn has_news(&self, last: u64) -> bool {
        self.newest() != last
    }

    // ANCHOR: after
    /// The event that follows this one, and its id. If nobody knows, the reader may have
    /// missed some: it is told, and goes on with all that is kept.
    fn after(&self, last: u64) -> (SseEvent, u64) {
        let next = match self.events.binary_search_by_key(&last, |event| event.id) {
            Ok(at) => at + 1,
            Err(_) if last == self.forgot => 0,
            Err(_) => {
                let resync = SseEvent::default().name("resync").text("");
                return (resync.id(self.forgot.to_string()), self.forgot);
            }
        };
        let Event { id, text, .. } = &self.events[next];
        (SseEvent::default().id(id.to_string()).text(text), *id)
    }
    // ANCHOR_END: after

    fn with_key(&self, key: Option<&str>) -> Option<&Event> {
        let key = key?;
        self.events.iter().find(|event| event.key.as_deref() == Some(key))
    }
}

struct Listen(Arc<Log>);

#[handler]
impl Listen {
    async fn handle(&self, req: &Request, res: &mut Response) {
        let kept = self.0.kept.subscribe();
        let newest = kept.borrow().newest();
        // An id that is not even a number is unknown, too: `resync` says so.
        let known = |id: String| id.parse().unwrap_or(u64::MAX);
        let last = req.header("last-event-id").map_or(newest, known);
        let begin = SseEvent::default().name("begin").text("").id(last.to_string());
        // ANCHOR: stream
        let events = stream::unfold((kept, last), async |(mut kept, last)| {
            let news = kept.wait_for(|kept| kept.has_news(last)).await;
            let (event, last) = news.ok()?.after(last);
            Some((event, (kept, last)))
        });
        // ANCHOR_END: stream
        let events = stream::iter([begin]).chain(events);
        res.headers_mut()
            .insert("x-accel-buffering", HeaderValue::from_static("no"));
        SseKeepAlive::new(events.map(Ok::<_, Infallible>)).stream(res);
    }
}

struct Say(Arc<Log>);

#[handler]
impl Say {
    async fn handle(&self, req: &mut Request) -> salvo::Result<String> {
        let key = req.header("idempotency-key");
        let text = String::from_utf8_lossy(req.payload().await?).into_owned();
        let id = tokio::task::block_in_place(|| self.0.append(key, text))?;
        Ok(format!("{id}\n"))
    }
}
