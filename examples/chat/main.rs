//! A chat room that holds: a user survives a dropped connection, missed events are sent
//! later or counted, and nothing grows without a bound.
//!
//!     cargo run --example chat
//!     curl -N http://127.0.0.1:8698/chat
//!     curl -d hello http://127.0.0.1:8698/chat/ID
//!
//! ID is the data of the first event in another user's stream: users do not hear their own
//! messages. Or open http://127.0.0.1:8698/ in two windows. This file answers requests,
//! `room.rs` has the room, and `edge.rs` keeps strangers from holding the program up.
//! Chapters 5 and 6 of the book explain them. Left out: more rooms than one, names and
//! passwords, more servers than one (`feed`).

use std::{convert::Infallible, env, io, process::ExitCode, sync::Arc};

use bytes::Bytes;
use futures_util::stream::{self, Stream, StreamExt};
use salvo::http::{HeaderName, HeaderValue, Method, header};
use salvo::prelude::*;
use salvo::sse::SseEvent;
use socket2::SockRef;
use tokio::{net::TcpListener, signal, time::Duration};

mod edge;
mod room;

use edge::{Limits, read, refuse_foreign};
use room::Kind;
pub use room::{MAX_USERS, Room};

/// Bytes of one message: a few paragraphs.
const MAX_MESSAGE: usize = 4_096;
/// Files that are open besides the connections of the users.
const FILES: usize = 64;
/// Connections that may wait to be accepted, as when all readers come back at once.
const BACKLOG: i32 = 4_096;
/// How long the streams may take to end when the program ends.
const STOP: Duration = Duration::from_secs(3);

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
    let limits = Limits::raise(MAX_USERS, FILES).map_err(|why| why.to_string())?;
    let addr = env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:8698".into());
    let listen =
        |error| format!("cannot listen on {addr}: {error}; try ADDR=127.0.0.1:0");
    serve(&addr, &limits).await.map_err(listen)
}

async fn serve(addr: &str, limits: &Limits) -> io::Result<()> {
    // ANCHOR: backlog
    let listener = TcpListener::bind(addr).await?;
    SockRef::from(&listener).listen(BACKLOG)?;
    // ANCHOR_END: backlog
    let stopped = stop_signal()?; // before the line below: a script may answer it at once
    println!("listening on http://{}", listener.local_addr()?);
    let room = Room::new(limits.streams);
    // ANCHOR: stop
    let server = edge::server(listener, limits, room.stop.clone())?;
    let handle = server.handle();
    // On a worker thread, like the streams: what one connection gives back to the
    // allocator, the next one can use. (On this thread, a reader takes about 1 KiB more.)
    let serving = tokio::spawn(server.try_serve(router(room.clone())));
    let stopping = async {
        stopped.await;
        // ANCHOR: stopping
        handle.stop_graceful(STOP); // lets nobody in any more, and waits for the streams
        room.stop.cancel();
        // ANCHOR_END: stopping
        Ok(())
    };
    tokio::try_join!(async { serving.await? }, stopping).map(|_| ())
    // ANCHOR_END: stop
}

// ANCHOR: signal
/// Listens from now on for Ctrl-C and SIGTERM. The future waits for the first of them.
fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    #[cfg(unix)]
    let mut ctrl_c = signal::unix::signal(signal::unix::SignalKind::interrupt())?;
    #[cfg(unix)]
    let mut stop = signal::unix::signal(signal::unix::SignalKind::terminate())?;
    #[cfg(windows)]
    let mut ctrl_c = signal::windows::ctrl_c()?;
    #[cfg(windows)]
    let mut stop = signal::windows::ctrl_shutdown()?;
    Ok(async move {
        tokio::select! { _ = ctrl_c.recv() => {}, _ = stop.recv() => {} }
    })
}
// ANCHOR_END: signal

// ANCHOR: router
pub fn router(room: Arc<Room>) -> Router {
    let say = Router::with_path("{id}").post(Say(room.clone()));
    let listen = Listen(room);
    let chat = Router::with_path("chat").head(listen.clone()).get(listen).push(say);
    let script = Router::with_path("stream.js").head(module).get(module);
    let edge = Router::new().hoop(edge::close_if_refused);
    edge.head(page).get(page).push(script).push(chat)
}
// ANCHOR_END: router

#[handler]
async fn page() -> Text<&'static str> {
    Text::Html(include_str!("index.html"))
}

#[handler]
async fn module() -> Text<&'static str> {
    Text::Js(include_str!("stream.js"))
}

type Reply<T> = Result<T, StatusError>;

// ANCHOR: listen
#[derive(Clone)]
struct Listen(Arc<Room>);

#[handler]
impl Listen {
    async fn handle(&self, req: &Request, res: &mut Response) -> Reply<()> {
        refuse_foreign(req)?;
        refuse_unknown(req, &["as", "after", "lastEventId"])?;
        let id = user_id(req)?;
        if req.method() == Method::HEAD {
            send(res, stream::empty()); // the head alone, and nobody joins
            return Ok(());
        }
        let reader = self.0.join(id, last_event_id(req)).map_err(full)?;
        let end = reader.stop.clone().cancelled_owned();
        let events = stream::unfold(reader, async |mut reader| {
            Some((reader.next().await, reader))
        });
        send(res, events.take_until(end));
        Ok(())
    }
}
// ANCHOR_END: listen

/// The id of a user, which the client draws. One without an id is somebody new.
fn user_id(req: &Request) -> Reply<u128> {
    let Some(id) = req.query::<String>("as") else { return Ok(rand::random()) };
    parse_id(&id).ok_or_else(|| bad("`as` is not 32 hex digits"))
}

fn full(_: room::Full) -> StatusError {
    StatusError::service_unavailable().brief("the room is full")
}

/// The ID of the last event that a client has: in the header, or in the URL from a client
/// that cannot set it. An EventSource that connects again asks for the URL that it was made
/// with, so its header is newer. Two libraries call it `lastEventId`.
fn last_event_id(req: &Request) -> Option<&[u8]> {
    let header = req.headers().get("last-event-id").map(HeaderValue::as_bytes);
    let query = |name| req.queries().get(name).map(|id: &String| id.as_bytes());
    let ids = [header, query("after"), query("lastEventId")];
    ids.into_iter().flatten().find(|id| !id.is_empty())
}

/// A parameter with another name is a mistake of the client: it would wait for events that
/// never come.
fn refuse_unknown(req: &Request, known: &[&str]) -> Reply<()> {
    match req.queries().keys().find(|name| !known.contains(&name.as_str())) {
        Some(name) => Err(bad(format!("there is no parameter `{name}` here"))),
        None => Ok(()),
    }
}

/// Sends a stream that no cache keeps, and no proxy holds back.
fn send(res: &mut Response, events: impl Stream<Item = Bytes> + Send + 'static) {
    let unbuffered = HeaderName::from_static("x-accel-buffering");
    res.headers_mut().extend([
        (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (unbuffered, HeaderValue::from_static("no")),
    ]);
    res.stream(events.map(Ok::<_, Infallible>));
}

// ANCHOR: say
struct Say(Arc<Room>);

#[handler]
impl Say {
    async fn handle(&self, req: &mut Request) -> Reply<StatusCode> {
        let body = read(req, MAX_MESSAGE).await?;
        refuse_foreign(req)?;
        let id = parse_id(&req.param::<String>("id").unwrap_or_default());
        let user = id.and_then(|id| Some((id, self.0.number(id)?)));
        let Some((id, number)) = user else {
            let why = "nobody in the room has this id";
            return Err(StatusError::not_found().brief(why));
        };
        let text = message(&body)?;
        let event = SseEvent::default().text(format!("<User#{number}>: {text}"));
        self.0.publish(id, Kind::Message, event);
        Ok(StatusCode::NO_CONTENT)
    }
}
// ANCHOR_END: say

/// The text of a message, unless the body is no text, or empty.
fn message(body: &[u8]) -> Reply<&str> {
    let text = str::from_utf8(body).map_err(|_| bad("the body is not UTF-8"))?;
    if text.trim().is_empty() {
        return Err(bad("the message is empty"));
    }
    // A terminal obeys them: a message could rewrite the screen of a `curl` reader.
    // ANCHOR: control
    if text.contains(|c: char| c.is_control() && !"\t\r\n".contains(c)) {
        return Err(bad("the message has control characters"));
    }
    // ANCHOR_END: control
    Ok(text)
}

fn bad(why: impl Into<String>) -> StatusError {
    StatusError::bad_request().brief(why)
}

fn parse_id(text: &str) -> Option<u128> {
    let id = u128::from_str_radix(text, 16).ok()?;
    format!("{id:032x}").eq_ignore_ascii_case(text).then_some(id)
}
