//! Numbers for a page that is to lose none, however often its connection goes: here the
//! reader of the page cuts it, blinds it, delays it and has it refused.
//!
//!     cargo run --example page
//!     curl -N 'http://127.0.0.1:8698/events?line=mine'
//!     curl -d '' http://127.0.0.1:8698/lines/mine/kill
//!
//! `mine` is the id of a line, which its client chooses: who knows it can listen and do
//! harm, so the page draws 128 random bits. A line knows these acts:
//!
//!     kill              cuts the open connections
//!     blind, ms         for so long, connections that are open or opened go silent for good
//!     delay, ms         events come so late, until you say otherwise
//!     refuse, ms        cuts the connections, and answers 503 for so long
//!     end               no more numbers; an event `end`, and then 204 to whoever has it all
//!     heal              takes all that back
//!
//! Or open http://127.0.0.1:8698/ in two tabs. Chapter 10 of the book explains the page and
//! its modules. `line.rs` has the lines, and `edge.rs` keeps strangers from holding the
//! program up (see `chat`). Left out: numbers that anybody makes; a clock counts.

use std::{convert::Infallible, env, io, process::ExitCode, sync::Arc};

use bytes::Bytes;
use futures_util::stream::{self, Stream, StreamExt};
use salvo::http::{HeaderName, HeaderValue, Method, header};
use salvo::prelude::*;
use tokio::{net::TcpListener, signal, time::Duration};

mod edge;
mod fragments;
mod line;

use edge::{Limits, read, refuse_foreign};
pub use line::Lines;

/// Streams at once.
pub const MAX_STREAMS: usize = 1_024;
/// Bytes of the id of a line, and of a time in milliseconds.
const MAX_ID: usize = 64;
const MAX_TIME: usize = 8;
/// How long a fault may last, and how long it lasts if nobody says it.
const LONGEST: u64 = 60_000;
const USUAL: u64 = 5_000;
/// Files that are open besides the connections of the readers.
const FILES: usize = 64;
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
    let limits = Limits::raise(MAX_STREAMS, FILES).map_err(|why| why.to_string())?;
    let addr = env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:8698".into());
    let listen =
        |error| format!("cannot listen on {addr}: {error}; try ADDR=127.0.0.1:0");
    serve(&addr, &limits).await.map_err(listen)
}

async fn serve(addr: &str, limits: &Limits) -> io::Result<()> {
    let listener = TcpListener::bind(addr).await?;
    let stopped = stop_signal()?; // before the line below: a script may answer it at once
    println!("listening on http://{}", listener.local_addr()?);
    let lines = Lines::new(limits.streams);
    let server = edge::server(listener, limits, lines.stop.clone())?;
    let handle = server.handle();
    let stopping = async {
        stopped.await;
        handle.stop_graceful(STOP); // lets nobody in any more, and waits for the streams
        lines.stop.cancel();
        Ok(())
    };
    let serving = server.try_serve(router(lines.clone()));
    tokio::try_join!(serving, stopping).map(|_| ())
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

pub fn router(lines: Arc<Lines>) -> Router {
    let events = |path, write| {
        let listen = Listen(lines.clone(), write);
        Router::with_path(path).head(listen.clone()).get(listen)
    };
    let look = Look(lines.clone());
    let act = Router::with_path("{act}").post(Act(lines.clone()));
    let line =
        Router::with_path("lines/{id}").head(look.clone()).get(look).push(act);
    Router::new()
        .hoop(edge::close_if_refused)
        .head(page)
        .get(page)
        .push(script("stream.js", include_str!("stream.js")))
        .push(script("shared.js", include_str!("shared.js")))
        .push(script("worker.js", include_str!("worker.js")))
        .push(events("events", line::plain))
        .push(events("fragments/htmx", fragments::htmx))
        .push(events("fragments/datastar", fragments::datastar))
        .push(fragments::pages())
        .push(line)
}

/// The page loads its modules from here.
fn script(name: &str, text: &'static str) -> Router {
    Router::with_path(name).head(Script(text)).get(Script(text))
}

struct Script(&'static str);

#[handler]
impl Script {
    async fn handle(&self) -> Text<&'static str> {
        Text::Js(self.0)
    }
}

#[handler]
async fn page() -> Text<&'static str> {
    Text::Html(include_str!("index.html"))
}

type Reply<T> = Result<T, StatusError>;

// ANCHOR: listen
#[derive(Clone)]
struct Listen(Arc<Lines>, line::Write);

#[handler]
impl Listen {
    async fn handle(
        &self,
        req: &Request,
        res: &mut Response,
        conn: &mut ConnCtrl,
    ) -> Reply<()> {
        refuse_foreign(req)?;
        // Datastar sends what it calls signals.
        refuse_unknown(req, &["line", "after", "lastEventId", "datastar"])?;
        let id = req.query::<String>("line").unwrap_or_default();
        if id.is_empty() || id.len() > MAX_ID {
            return Err(bad(format!("`line` has to have 1 to {MAX_ID} bytes")));
        }
        let last = last_event_id(req);
        if let Some(line) = self.0.find(&id) {
            // ANCHOR: refuse
            if let Some(left) = line.refuses() {
                let seconds = left.as_millis().div_ceil(1_000) as u64;
                res.headers_mut().insert(header::RETRY_AFTER, seconds.into());
                let why = "you asked for this";
                return Err(StatusError::service_unavailable().brief(why));
            }
            // ANCHOR_END: refuse
            // ANCHOR: over
            if line.is_over_after(last) {
                res.status_code(StatusCode::NO_CONTENT);
                return Ok(());
            }
            // ANCHOR_END: over
        }
        if req.method() == Method::HEAD {
            send(res, stream::empty()); // the head alone, and no line begins
            return Ok(());
        }
        let reader = self.0.read(&id, last, self.1, conn.clone());
        let reader = reader.map_err(full)?;
        let events = stream::unfold(reader, async |mut reader| {
            Some((reader.next().await?, reader))
        });
        let end = self.0.stop.clone().cancelled_owned();
        send(res, events.take_until(end));
        Ok(())
    }
}
// ANCHOR_END: listen

fn full(_: line::Full) -> StatusError {
    StatusError::service_unavailable().brief("too many streams are open")
}

// ANCHOR: last_event_id
/// The ID of the last event that a client has: in the header, or in the URL from a client
/// that cannot set it. An EventSource that connects again asks for the URL that it was made
/// with, so its header is newer. Two libraries call it `lastEventId`.
fn last_event_id(req: &Request) -> Option<&[u8]> {
    let header = req.headers().get("last-event-id").map(HeaderValue::as_bytes);
    let query = |name| req.queries().get(name).map(|id: &String| id.as_bytes());
    let ids = [header, query("after"), query("lastEventId")];
    ids.into_iter().flatten().find(|id| !id.is_empty())
}
// ANCHOR_END: last_event_id

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

/// Says how many connections a line has, how late its events are, and whether it is over.
#[derive(Clone)]
struct Look(Arc<Lines>);

#[handler]
impl Look {
    async fn handle(&self, req: &Request) -> Text<String> {
        let line = find(&self.0, req).ok(); // nobody may have listened yet
        let open = line.as_ref().map_or(0, |line| line.open());
        let delay = line.as_ref().map_or(0, |line| line.delay().as_millis());
        let over = line.is_some_and(|line| line.is_over());
        Text::Json(format!(r#"{{"open":{open},"delay":{delay},"over":{over}}}"#))
    }
}

struct Act(Arc<Lines>);

#[handler]
impl Act {
    async fn handle(&self, req: &mut Request) -> Reply<StatusCode> {
        let body = read(req, MAX_TIME).await?;
        refuse_foreign(req)?;
        let line = find(&self.0, req)?;
        let time = match str::from_utf8(&body).map(str::trim) {
            Ok("") => Some(USUAL),
            text => text.ok().and_then(|text| text.parse().ok()),
        };
        let Some(time) = time.filter(|time| *time <= LONGEST) else {
            return Err(bad(format!("the body is no time of 0 to {LONGEST} ms")));
        };
        let act = req.param::<String>("act").unwrap_or_default();
        if line.act(&act, Duration::from_millis(time)) {
            return Ok(StatusCode::NO_CONTENT);
        }
        let acts = "the acts are: kill, blind, delay, refuse, end, heal";
        Err(StatusError::not_found().brief(acts))
    }
}

fn find(lines: &Lines, req: &Request) -> Reply<Arc<line::Line>> {
    let id = req.param::<String>("id").unwrap_or_default();
    let none = || StatusError::not_found().brief("nobody listens to this line");
    lines.find(&id).ok_or_else(none)
}

fn bad(why: impl Into<String>) -> StatusError {
    StatusError::bad_request().brief(why)
}
