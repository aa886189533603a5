//! Streams that go wrong, each in one way that has a name. They show what EventSource makes
//! of it, at the first connection and when it comes back.
//!
//!     cargo run --example faults
//!     curl -N http://127.0.0.1:8698/faults/cut-mid-event
//!
//! An EventSource asks one URL again and again. So a script says what each attempt gets;
//! its last word holds for all that follow:
//!
//!     curl -X PUT -d 'cut-mid-event 502 good' http://127.0.0.1:8698/streams/mine
//!     curl -N http://127.0.0.1:8698/streams/mine
//!     curl http://127.0.0.1:8698/streams/mine/attempts
//!
//! Or open http://127.0.0.1:8698/, which draws it all on a time line. Chapter 4 of the
//! book explains what you see. `fault.rs` has the faults, `script.rs` the scripts, and
//! `edge.rs` keeps strangers from holding the program up (see `chat`). Left out:
//! heartbeats and a stop on a signal, because you say how a stream ends; and the refusal of
//! the connection itself, which a program that has accepted it cannot do any more: `refuse`
//! closes it without an answer instead.

#[allow(dead_code)] // each answer of this program closes its connection anyway
mod edge;
mod fault;
mod script;

use std::{env, future, io, process::ExitCode, sync::Arc};

use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use parking_lot::Mutex;
use salvo::http::{HeaderName, HeaderValue, header};
use salvo::prelude::*;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Duration, sleep, timeout};
use tokio_util::sync::CancellationToken;

use edge::{Limits, read, refuse_foreign};
use fault::{Fault, Step, chunks, find};
use script::{Asked, Script, Stream, Streams};

/// Bytes of a script: some 60 faults.
const MAX_SCRIPT: usize = 1_024;
/// Bytes of an id, and characters of a header that are remembered.
const MAX_TEXT: usize = 64;
/// How long one answer may take: nothing else ends a stream that does nothing.
const LIFETIME: Duration = Duration::from_secs(600);
/// Answers that are under way at once.
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

pub fn router(open: usize) -> Router {
    let streams = Arc::<Mutex<Streams>>::default();
    let places = Arc::new(Semaphore::new(open));
    let attempts = Attempts(streams.clone());
    let attempts =
        Router::with_path("attempts").head(attempts.clone()).get(attempts);
    let one = Router::with_path("streams/{id}")
        .put(Switch(streams.clone()))
        .head(Peek(streams.clone(), places.clone()))
        .get(Play(streams, places.clone()));
    let direct = Direct(places);
    Router::new()
        .hoop(one_request_each)
        .head(page)
        .get(page)
        .push(Router::with_path("draw.js").head(draw).get(draw))
        .push(Router::with_path("faults/{fault}").head(direct.clone()).get(direct))
        .push(one.push(attempts))
}

type Reply<T> = Result<T, StatusError>;

/// A browser whose request on a kept connection gets no answer asks again by itself, and
/// the server would see attempts that EventSource knows nothing of. So each connection is
/// for one request.
#[handler]
async fn one_request_each(res: &mut Response) {
    let close = HeaderValue::from_static("close");
    res.headers_mut().insert(header::CONNECTION, close);
}

#[handler]
async fn page() -> Text<&'static str> {
    Text::Html(include_str!("index.html"))
}

#[handler]
async fn draw() -> Text<&'static str> {
    Text::Js(include_str!("draw.js"))
}

/// Plays a fault by its name in the URL.
#[derive(Clone)]
struct Direct(Arc<Semaphore>);

#[handler]
impl Direct {
    async fn handle(
        &self,
        req: &Request,
        res: &mut Response,
        conn: &mut ConnCtrl,
    ) -> Reply<()> {
        let name = req.param::<String>("fault").unwrap_or_default();
        let fault =
            find(&name).map_err(|why| StatusError::not_found().brief(why))?;
        let place = place(&self.0)?;
        act(fault, req, res, conn, Bytes::new(), lifetime(place)).await
    }
}

/// A place among the answers that are under way.
fn place(places: &Arc<Semaphore>) -> Reply<OwnedSemaphorePermit> {
    let full =
        |_| StatusError::service_unavailable().brief("too many streams are open");
    places.clone().try_acquire_owned().map_err(full)
}

/// Ends an answer, and gives its place back.
async fn lifetime(_place: OwnedSemaphorePermit) {
    sleep(LIFETIME).await;
}

/// Gives a stream a script, and ends the connections that it has.
struct Switch(Arc<Mutex<Streams>>);

#[handler]
impl Switch {
    async fn handle(&self, req: &mut Request, res: &mut Response) -> Reply<()> {
        let body = read(req, MAX_SCRIPT).await?;
        refuse_foreign(req)?;
        let id = req.param::<String>("id").unwrap_or_default();
        if id.len() > MAX_TEXT {
            return Err(bad(format!("the id has more than {MAX_TEXT} bytes")));
        }
        let text =
            str::from_utf8(&body).map_err(|_| bad("the script is not UTF-8"))?;
        let script = Script::parse(text).map_err(bad)?;
        let mut streams = self.0.lock();
        if let Some(stream) = streams.by_id(&id) {
            stream.switch(script);
            res.status_code(StatusCode::NO_CONTENT);
        } else {
            streams.add(id, script);
            res.status_code(StatusCode::CREATED).render("created\n");
        }
        Ok(())
    }
}

/// Plays the next fault of a stream's script.
struct Play(Arc<Mutex<Streams>>, Arc<Semaphore>);

#[handler]
impl Play {
    async fn handle(
        &self,
        req: &Request,
        res: &mut Response,
        conn: &mut ConnCtrl,
    ) -> Reply<()> {
        let asked = Asked {
            last_event_id: last_event_id(req).map(shortened),
            moved: moved(req),
            accept: header_text(req, "accept"),
        };
        let place = place(&self.1)?;
        let (fault, attempt, mut switched) = {
            let mut streams = self.0.lock();
            let stream = find_stream(&mut streams, req)?;
            let (fault, attempt) = stream.attempt(&asked);
            (fault, attempt, stream.switched())
        };
        let data = json!({ "attempt": attempt, "lastEventId": asked.last_event_id });
        // A client that brings an id in the URL gets it back in the stream, because an
        // EventSource that is new knows none.
        let id = position(req).map(|id| format!("id: {id}\n")).unwrap_or_default();
        let first = format!("event: attempt\n{id}data: {data}\n\n");
        // A stream that had to make room for a new one is over as well.
        let over = async move {
            let _place = place;
            timeout(LIFETIME, switched.changed()).await.ok();
        };
        act(fault, req, res, conn, first.into(), over).await
    }
}

/// Answers HEAD as the next attempt will be answered, and is none itself.
struct Peek(Arc<Mutex<Streams>>, Arc<Semaphore>);

#[handler]
impl Peek {
    async fn handle(
        &self,
        req: &Request,
        res: &mut Response,
        conn: &mut ConnCtrl,
    ) -> Reply<()> {
        let place = place(&self.1)?;
        let fault = find_stream(&mut self.0.lock(), req)?.next();
        act(fault, req, res, conn, Bytes::new(), lifetime(place)).await
    }
}

/// Lists the attempts that a stream has seen.
#[derive(Clone)]
struct Attempts(Arc<Mutex<Streams>>);

#[handler]
impl Attempts {
    async fn handle(&self, req: &Request) -> Reply<Text<String>> {
        let mut streams = self.0.lock();
        Ok(Text::Json(find_stream(&mut streams, req)?.seen()))
    }
}

fn find_stream<'a>(
    streams: &'a mut Streams,
    req: &Request,
) -> Reply<&'a mut Stream> {
    let id = req.param::<String>("id").unwrap_or_default();
    let none = || StatusError::not_found().brief("nothing was put here");
    streams.by_id(&id).ok_or_else(none)
}

/// Answers with a fault, until it is `over`. The bytes of `first` begin the stream.
async fn act(
    (_, steps): &'static Fault,
    req: &Request,
    res: &mut Response,
    conn: &ConnCtrl,
    first: Bytes,
    over: impl Future<Output = ()> + Send + 'static,
) -> Reply<()> {
    let (content_type, steps) = match steps {
        // The 401 names no way to log in, or a browser would ask for a password.
        [Step::Status(code), ..] => {
            res.status_code(*code);
            return match StatusError::from_code(*code) {
                Some(error) => Err(error.brief("you asked for this")),
                None => Ok(()),
            };
        }
        [Step::Redirect(code), ..] if !moved(req) => {
            let query = req.uri().query().map(|query| format!("{query}&"));
            let to = format!("?{}moved=yes", query.unwrap_or_default());
            let to =
                HeaderValue::try_from(to).map_err(|_| bad("a strange query"))?;
            res.status_code(*code).headers_mut().insert(header::LOCATION, to);
            return Ok(());
        }
        [Step::Redirect(_), ..] => ("text/event-stream", &[Step::Events][..]),
        [Step::Head(content_type), steps @ ..] => (*content_type, steps),
        steps => {
            if let [Step::Stall, ..] = steps {
                over.await;
            }
            // The connection goes, and this request with it.
            conn.abort();
            return future::pending().await;
        }
    };
    let mut ids = u64::from(position(req).unwrap_or(0)) + 1..;
    let chunks = stream::iter(steps).flat_map(move |step| chunks(step, &mut ids));
    let chunks = stream::iter([Ok(first)]).chain(chunks);
    let unbuffered = HeaderName::from_static("x-accel-buffering");
    res.headers_mut().extend([
        (header::CONTENT_TYPE, HeaderValue::from_static(content_type)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (unbuffered, HeaderValue::from_static("no")),
    ]);
    res.stream(chunks.take_until(Box::pin(over)));
    Ok(())
}

// ANCHOR: ids
/// An EventSource sends the header when it comes back. A page that makes a new one can
/// only write the id into the URL. Two libraries call it `lastEventId`.
fn last_event_id(req: &Request) -> Option<&[u8]> {
    let header = req.headers().get("last-event-id").map(HeaderValue::as_bytes);
    let query = |name| req.queries().get(name).map(|id: &String| id.as_bytes());
    let ids = [header, query("after"), query("lastEventId")];
    ids.into_iter().flatten().find(|id| !id.is_empty())
}
// ANCHOR_END: ids

/// The number of the last event that the client has. Our ids are numbers; a client with
/// any other id begins at the beginning.
fn position(req: &Request) -> Option<u32> {
    str::from_utf8(last_event_id(req)?).ok()?.parse().ok()
}

/// Whether a redirect has led here.
fn moved(req: &Request) -> bool {
    req.query::<String>("moved").is_some()
}

fn header_text(req: &Request, name: &str) -> Option<String> {
    Some(shortened(req.headers().get(name)?.as_bytes()))
}

fn shortened(text: &[u8]) -> String {
    String::from_utf8_lossy(text).chars().take(MAX_TEXT).collect()
}

fn bad(why: impl Into<String>) -> StatusError {
    StatusError::bad_request().brief(why)
}
