//! Streams the bytes that you give it, exactly as they are, as an event stream, so that you
//! can see what a client makes of them.
//!
//!     cargo run --example wire
//!     printf 'data: a\n\n' | curl -T - http://127.0.0.1:8698/wire/mine
//!     curl -N 'http://127.0.0.1:8698/wire/mine?chunk=1&pace=200'
//!
//! `chunk` is how many bytes are sent at once, `pace` how many milliseconds lie between two
//! chunks. And it says which events are in the bytes:
//!
//!     printf 'data: a\n\n' | curl --data-binary @- http://127.0.0.1:8698/parse
//!
//! Or open http://127.0.0.1:8698/. Chapter 3 of the book explains the format. `parse.rs` has
//! the parser, and `edge.rs` keeps strangers from holding the program up. Left out:
//! heartbeats and a stop on a signal, because every byte is yours.

use std::collections::VecDeque;
use std::{
    convert::Infallible, env, io, process::ExitCode, sync::Arc, time::Duration,
};

use bytes::Bytes;
use futures_util::stream::{self, Stream, StreamExt};
use parking_lot::Mutex;
use salvo::http::{HeaderName, HeaderValue, header};
use salvo::prelude::*;
use serde_json::json;
use tokio::{net::TcpListener, sync::Semaphore, time::sleep};
use tokio_util::sync::CancellationToken;

mod edge;
mod parse;

use edge::{Limits, read, refuse_foreign};
use parse::Parser;

/// Bytes of one stream.
const MAX_BYTES: usize = 64 << 10;
/// How many streams are kept, 16 MiB at most; the oldest one makes room for a new one.
const MAX_STREAMS: usize = 256;
/// Bytes of a body that is parsed. Each event repeats the id before it, so the answer is
/// longer, 4 MiB at most.
const MAX_PARSED: usize = 4 << 10;
/// Bytes of an id.
const MAX_ID: usize = 64;
/// Milliseconds between two chunks. With one byte in each, a stream lasts 18 hours at most.
const MAX_PACE: u64 = 1_000;
/// Streams that play at once.
pub const MAX_OPEN: usize = 1_024;
/// Files that are open besides the connections of the clients.
const FILES: usize = 64;

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(io::stderr).init();
    if let Err(why) = run().await {
        eprintln!("{why}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

async fn run() -> Result<(), String> {
    let limits = Limits::raise(MAX_OPEN, FILES).map_err(|why| why.to_string())?;
    let addr = env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:8698".into());
    let listen =
        |error| format!("cannot listen on {addr}: {error}; try ADDR=127.0.0.1:0");
    serve(&addr, &limits).await.map_err(listen)
}

async fn serve(addr: &str, limits: &Limits) -> io::Result<()> {
    let listener = TcpListener::bind(addr).await?;
    println!("listening on http://{}", listener.local_addr()?);
    let server = edge::server(listener, limits, CancellationToken::new())?;
    server.try_serve(router(limits.streams)).await
}

// ANCHOR: router
pub fn router(open: usize) -> Router {
    let streams = Arc::<Streams>::default();
    let places = Arc::new(Semaphore::new(open));
    let play = Play { streams: streams.clone(), places };
    let one = Router::with_path("wire/{id}").head(play.clone()).get(play);
    Router::new()
        .hoop(edge::close_if_refused)
        .head(page)
        .get(page)
        .push(one.put(Keep(streams)))
        .push(Router::with_path("parse").post(events_in))
}
// ANCHOR_END: router

type Reply<T> = Result<T, StatusError>;

#[handler]
async fn page() -> Text<&'static str> {
    Text::Html(include_str!("index.html"))
}

// ANCHOR: keep
/// The streams with their ids, the oldest first.
type Streams = Mutex<VecDeque<(String, Bytes)>>;

/// Keeps the bytes of a stream.
struct Keep(Arc<Streams>);

#[handler]
impl Keep {
    async fn handle(&self, req: &mut Request, res: &mut Response) -> Reply<()> {
        let bytes = read(req, MAX_BYTES).await?;
        refuse_foreign(req)?;
        let id = req.param::<String>("id").unwrap_or_default();
        if id.len() > MAX_ID {
            return Err(bad("the id is too long"));
        }
        if add(&mut self.0.lock(), id, bytes.into()) {
            res.status_code(StatusCode::CREATED).render("created\n");
        } else {
            res.status_code(StatusCode::NO_CONTENT);
        }
        Ok(())
    }
}
// ANCHOR_END: keep

/// Adds a stream, in place of the one with the same id, and returns whether its id is new.
fn add(streams: &mut VecDeque<(String, Bytes)>, id: String, bytes: Bytes) -> bool {
    let before = streams.len();
    streams.retain(|(known, _)| *known != id);
    let is_new = streams.len() == before;
    if streams.len() == MAX_STREAMS {
        streams.pop_front();
    }
    streams.push_back((id, bytes));
    is_new
}

/// Streams the bytes that were kept.
#[derive(Clone)]
struct Play {
    streams: Arc<Streams>,
    places: Arc<Semaphore>,
}

#[handler]
impl Play {
    async fn handle(&self, req: &Request, res: &mut Response) -> Reply<()> {
        let id = req.param::<String>("id").unwrap_or_default();
        let found =
            self.streams.lock().iter().find(|(known, _)| *known == id).cloned();
        let none = || StatusError::not_found().brief("nothing was put here");
        let (_, bytes) = found.ok_or_else(none)?;
        let chunk = number(req, "chunk", bytes.len() as u64)?.max(1) as usize;
        let pace = Duration::from_millis(number(req, "pace", 0)?.min(MAX_PACE));

        let full = |_| {
            StatusError::service_unavailable().brief("too many streams are playing")
        };
        let place = self.places.clone().try_acquire_owned().map_err(full)?;

        let chunks = pieces(bytes, chunk, pace).map(move |piece| {
            let _until_the_stream_is_dropped = &place;
            Ok::<_, Infallible>(piece)
        });
        let unbuffered = HeaderName::from_static("x-accel-buffering");
        res.headers_mut().extend([
            (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
            (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
            (unbuffered, HeaderValue::from_static("no")),
        ]);
        res.stream(chunks);
        Ok(())
    }
}

// ANCHOR: pieces
/// Cuts the bytes into chunks, and waits before each of them but the first.
fn pieces(bytes: Bytes, chunk: usize, pace: Duration) -> impl Stream<Item = Bytes> {
    let end = bytes.len();
    let pieces = (0..end).step_by(chunk);
    let pieces = pieces.map(move |at| bytes.slice(at..end.min(at + chunk)));
    stream::iter(pieces.enumerate()).then(move |(n, piece)| async move {
        if n > 0 && !pace.is_zero() {
            sleep(pace).await;
        }
        piece
    })
}
// ANCHOR_END: pieces

// ANCHOR: events
/// Answers with the events that are in the bytes, fed to the parser `chunk` at a time.
#[handler]
async fn events_in(req: &mut Request) -> Reply<Text<String>> {
    let bytes = read(req, MAX_PARSED).await?;
    refuse_foreign(req)?;
    let chunk = number(req, "chunk", MAX_PARSED as u64)?.max(1) as usize;
    let mut parser = Parser::default();
    let events = bytes.chunks(chunk).flat_map(|piece| parser.feed(piece));
    let events = events.map(|event| {
        json!({
            "type": event.event_type,
            "data": event.data,
            "lastEventId": event.last_event_id,
        })
    });
    let events: Vec<_> = events.collect();
    let answer = json!({ "events": events, "lastEventId": parser.last_event_id });
    Ok(Text::Json(answer.to_string()))
}
// ANCHOR_END: events

/// Reads a number from the query, or returns `default` where there is none.
fn number(req: &Request, name: &str, default: u64) -> Reply<u64> {
    let Some(text) = req.query::<String>(name) else { return Ok(default) };
    text.parse().map_err(|_| bad(format!("`{name}` is not a number")))
}

fn bad(why: impl Into<String>) -> StatusError {
    StatusError::bad_request().brief(why)
}
