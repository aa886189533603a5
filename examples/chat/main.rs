//! A chat room that holds: a user survives a dropped connection, missed events are sent
//! later or counted, and nothing grows without a bound.
//!
//!     cargo run --example chat
//!     curl -N http://127.0.0.1:8698/chat
//!     curl -d hello http://127.0.0.1:8698/chat/ID
//!
//! ID is the data of the first event in another user's stream: users do not hear their own
//! messages. Or open http://127.0.0.1:8698/ in two windows. This file answers requests, and
//! `room.rs` has the room. Chapters 5 and 6 of the book explain them. Left out: more rooms
//! than one, names and passwords, more servers than one (chapter 14).

use std::{convert::Infallible, env, io, process::ExitCode, sync::Arc};

use futures_util::stream::{self, StreamExt};
use salvo::conn::tcp::TcpAcceptor;
use salvo::http::{HeaderName, HeaderValue, header};
use salvo::prelude::*;
use salvo::sse::SseEvent;
use socket2::SockRef;
use tokio::{net::TcpListener, signal, time::Duration};

mod room;
pub use room::Room;

// ANCHOR: bounds
/// Bytes of one message: a few paragraphs.
const MAX_MESSAGE: usize = 4_096;
/// Bytes that wait in this program for one reader that does not read, and bytes of the
/// head of a request: the least that hyper accepts. Its default is 400 KiB.
const MAX_BUFFER: usize = 8_192;
/// Connections that may wait to be accepted, as when all readers come back at once.
const BACKLOG: i32 = 4_096;
/// How long the streams may take to end when the program ends.
const STOP: Duration = Duration::from_secs(3);
// ANCHOR_END: bounds

// ANCHOR: main
#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(io::stderr).init();
    let addr = env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:8698".into());
    if let Err(error) = serve(&addr).await {
        eprintln!("cannot listen on {addr}: {error}; try ADDR=127.0.0.1:0");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

async fn serve(addr: &str) -> io::Result<()> {
    let listener = TcpListener::bind(addr).await?;
    SockRef::from(&listener).listen(BACKLOG)?;
    let stopped = stop_signal()?; // before the line below: a script may answer it at once
    println!("listening on http://{}", listener.local_addr()?);
    let mut server = Server::new(TcpAcceptor::try_from(listener)?);
    // Copy the head of a chunk, the event and the end of the chunk into one buffer: for small
    // events, one write is cheaper than a vectored write of three pieces.
    server.http1_mut().writev(false).max_buf_size(MAX_BUFFER);
    let handle = server.handle();
    let room = Room::new();
    // On a worker thread, like the streams: what one connection gives back to the
    // allocator, the next one can use. (On this thread, a reader takes 1 KiB more.)
    let serving = tokio::spawn(server.try_serve(router(room.clone())));
    let stopping = async {
        stopped.await;
        handle.stop_graceful(STOP); // lets nobody in any more, and waits for the streams
        room.stop.cancel();
        Ok(())
    };
    tokio::try_join!(async { serving.await? }, stopping).map(|_| ())
}

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
// ANCHOR_END: main

// ANCHOR: router
pub fn router(room: Arc<Room>) -> Router {
    let say = Router::with_path("{id}").post(Say(room.clone()));
    let chat = Router::with_path("chat").get(Listen(room)).push(say);
    Router::new().get(page).push(chat)
}
// ANCHOR_END: router

#[handler]
async fn page() -> Text<&'static str> {
    Text::Html(include_str!("index.html"))
}

type Reply<T> = Result<T, StatusError>;

// ANCHOR: listen
struct Listen(Arc<Room>);

#[handler]
impl Listen {
    async fn handle(&self, req: &Request, res: &mut Response) -> Reply<()> {
        let id = match req.query::<String>("as") {
            Some(id) => {
                parse_id(&id).ok_or_else(|| bad("`as` is not 32 hex digits"))?
            }
            None => rand::random(),
        };
        // An EventSource that the page had to make anew knows no last event ID.
        let last = req.header("last-event-id").or_else(|| req.query("after"));
        let full = |room::Full| {
            StatusError::service_unavailable().brief("the room is full")
        };
        let reader = self.0.join(id, last).map_err(full)?;
        let end = reader.stop.clone().cancelled_owned();
        let events = stream::unfold(reader, async |mut reader| {
            Some((Ok::<_, Infallible>(reader.next().await), reader))
        });
        let unbuffered = HeaderName::from_static("x-accel-buffering");
        res.headers_mut().extend([
            (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
            (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
            (unbuffered, HeaderValue::from_static("no")),
        ]);
        res.stream(events.take_until(end));
        Ok(())
    }
}
// ANCHOR_END: listen

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
        self.0.publish(id, event);
        Ok(StatusCode::NO_CONTENT)
    }
}
// ANCHOR_END: say

// ANCHOR: read
/// Reads all of a body, and keeps at most one byte more than `max`. A server that closes a
/// connection with bytes unread resets it, and the client may never see the answer.
async fn read(req: &mut Request, max: usize) -> Reply<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut body = req.take_body();
    while let Some(frame) = body.next().await {
        let frame = frame.map_err(|_| bad("the body broke off"))?;
        if let Ok(mut data) = frame.into_data() {
            data.truncate(max + 1 - bytes.len());
            bytes.extend_from_slice(&data);
        }
    }
    Ok(bytes)
}
// ANCHOR_END: read

// ANCHOR: foreign
/// Any web page can send requests to this server. A browser says whether the page is of
/// another origin; other clients say nothing.
fn refuse_foreign(req: &Request) -> Reply<()> {
    let site: Option<&str> = req.header("sec-fetch-site");
    if matches!(site, None | Some("same-origin" | "none")) {
        return Ok(());
    }
    Err(StatusError::forbidden().brief("a page of another origin has sent this"))
}
// ANCHOR_END: foreign

// ANCHOR: message
/// The text of a message, unless the body is too long, no text, or empty.
fn message(body: &[u8]) -> Reply<&str> {
    if body.len() > MAX_MESSAGE {
        let why = format!("a message has {MAX_MESSAGE} bytes at most");
        return Err(StatusError::payload_too_large().brief(why));
    }
    let text = str::from_utf8(body).map_err(|_| bad("the body is not UTF-8"))?;
    if text.trim().is_empty() {
        return Err(bad("the message is empty"));
    }
    // A terminal obeys them: a message could rewrite the screen of a `curl` reader.
    if text.contains(|c: char| c.is_control() && !"\t\r\n".contains(c)) {
        return Err(bad("the message has control characters"));
    }
    Ok(text)
}
// ANCHOR_END: message

fn bad(why: impl Into<String>) -> StatusError {
    StatusError::bad_request().brief(why)
}

fn parse_id(text: &str) -> Option<u128> {
    let id = u128::from_str_radix(text, 16).ok()?;
    format!("{id:032x}").eq_ignore_ascii_case(text).then_some(id)
}
