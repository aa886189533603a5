//! The log that everybody writes first: a list for readers that come back, and a channel for
//! those that are here. It works, and it is wrong: chapter 8 of the book cures it, step by
//! step. `small.rs` is where the steps end; copy `feed` instead.
//!
//!     cargo run --example feed_naive
//!     curl -N http://127.0.0.1:8698/
//!     curl -d hello http://127.0.0.1:8698/

use std::{collections::VecDeque, convert::Infallible, env, sync::Arc};

use futures_util::StreamExt;
use parking_lot::RwLock;
use salvo::{http::HeaderValue, prelude::*};
use tokio::sync::{broadcast, mpsc};
use tokio_stream::wrappers::ReceiverStream;

/// Events that are kept for readers that come back.
const KEEP: usize = 100;

#[tokio::main]
async fn main() -> salvo::Result<()> {
    let addr = env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:8698".into());
    let acceptor = TcpListener::new(addr).try_bind().await?;
    let log = Arc::new(Log::new());
    let router = Router::new().get(Listen(log.clone())).post(Say(log));
    println!("listening on http://{}", acceptor.local_addr()?);
    Ok(Server::new(acceptor).try_serve(router).await?)
}

// ANCHOR: log
#[derive(Clone)]
struct Event {
    id: u64,
    text: String,
}

struct Log {
    /// The newest events, for readers that come back.
    kept: RwLock<Kept>,
    /// The way to readers that are here.
    live: broadcast::Sender<Event>,
}

impl Log {
    fn append(&self, text: String) -> u64 {
        let mut kept = self.kept.write();
        let event = Event { id: kept.newest() + 1, text };
        kept.push(event.clone());
        drop(self.live.send(event)); // nobody may be here
        kept.newest()
    }
    // ANCHOR_END: log

    fn new() -> Self {
        Self { kept: RwLock::default(), live: broadcast::Sender::new(16) }
    }
}

#[derive(Default)]
struct Kept {
    events: VecDeque<Event>,
}

impl Kept {
    fn newest(&self) -> u64 {
        self.events.back().map_or(0, |event| event.id)
    }

    fn push(&mut self, event: Event) {
        self.events.push_back(event);
        if self.events.len() > KEEP {
            self.events.pop_front();
        }
    }

    fn after(&self, last: u64) -> Vec<Event> {
        self.events.iter().filter(|event| event.id > last).cloned().collect()
    }
}

struct Listen(Arc<Log>);

#[handler]
impl Listen {
    async fn handle(&self, req: &Request, res: &mut Response) {
        // ANCHOR: listen
        let log = self.0.clone();
        let last = req.header("last-event-id").unwrap_or(log.kept.read().newest());
        let (to_reader, events) = mpsc::channel(1);
        tokio::spawn(async move {
            let missed = log.kept.read().after(last);
            for event in missed {
                to_reader.send(event).await.ok()?;
            }
            let mut live = log.live.subscribe();
            while let Ok(event) = live.recv().await {
                to_reader.send(event).await.ok()?; // an error: the reader has left
            }
            Some(())
        });
        let events = ReceiverStream::new(events);
        // ANCHOR_END: listen
        let events = events.map(|event: Event| {
            SseEvent::default().id(event.id.to_string()).text(event.text)
        });
        res.headers_mut()
            .insert("x-accel-buffering", HeaderValue::from_static("no"));
        SseKeepAlive::new(events.map(Ok::<_, Infallible>)).stream(res);
    }
}

struct Say(Arc<Log>);

#[handler]
impl Say {
    async fn handle(&self, req: &mut Request) -> salvo::Result<String> {
        let text = String::from_utf8_lossy(req.payload().await?).into_owned();
        Ok(format!("{}\n", self.0.append(text)))
    }
}
