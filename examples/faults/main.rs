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
//! book explains what you see. `fault.rs` has the faults, `script.rs` the scripts. Left out:
//! heartbeats and a stop on a signal, because you say how a stream ends; and the refusal of
//! the connection itself, which a program that has accepted it cannot do any more: `refuse`
//! closes it without an answer instead.

mod fault;
mod script;

use std::{env, future, io, process::ExitCode, sync::Arc};

use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use parking_lot::Mutex;
use salvo::conn::tcp::TcpAcceptor;
use salvo::http::{HeaderName, HeaderValue, header};
use salvo::prelude::*;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::time::{Duration, sleep, timeout};

use fault::{Fault, Step, chunks, find};
use script::{Asked, Script, Stream, Streams};

/// Bytes of a script: some 60 faults.
const MAX_SCRIPT: usize = 1_024;
/// Bytes of an id, and characters of a header that are remembered.
const MAX_TEXT: usize = 64;
/// How long one answer may take: nothing else ends a stream that does nothing.
const LIFETIME: Duration = Duration::from_secs(600);

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
    println!("listening on http://{}", listener.local_addr()?);
    let acceptor = TcpAcceptor::try_from(listener)?;
    Server::new(acceptor).try_serve(router()).await
}

pub fn router() -> Router {
    let streams = Arc::<Mutex<Streams>>::default();
    let attempts = Attempts(streams.clone());
    let attempts =
        Router::with_path("attempts").get(attempts.clone()).head(attempts);
    let one = Router::with_path("streams/{id}")
        .put(Switch(streams.clone()))
        .head(Peek(streams.clone()))
        .get(Play(streams));
    Router::new()
        .hoop(one_request_each)
        .get(page)
        .head(page)
        .push(Router::with_path("faults/{fault}").head(play).get(play))
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

/// Plays a fault by its name in the URL.
#[handler]
async fn play(req: &Request, res: &mut Response, conn: &mut ConnCtrl) -> Reply<()> {
    let name = req.param::<String>("fault").unwrap_or_default();
    let fault = find(&name).map_err(|why| StatusError::not_found().brief(why))?;
    act(fault, req, res, conn, Bytes::new(), sleep(LIFETIME)).await
}

/// Gives a stream a script, and ends the connections that it has. A page of another
/// origin cannot `PUT`: its browser asks first, and gets no permission.
struct Switch(Arc<Mutex<Streams>>);

#[handler]
impl Switch {
    async fn handle(&self, req: &mut Request, res: &mut Response) -> Reply<()> {
        let id = req.param::<String>("id").unwrap_or_default();
        let body = read(req, MAX_SCRIPT).await?;
        if body.len() > MAX_SCRIPT {
            let why = format!("a script has {MAX_SCRIPT} bytes at most");
            return Err(StatusError::payload_too_large().brief(why));
        }
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
struct Play(Arc<Mutex<Streams>>);

#[handler]
impl Play {
    async fn handle(
        &self,
        req: &Request,
        res: &mut Response,
        conn: &mut ConnCtrl,
    ) -> Reply<()> {
        let asked = Asked {
            last_event_id: last_event_id(req),
            moved: moved(req),
            accept: header_text(req, "accept"),
        };
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
            timeout(LIFETIME, switched.changed()).await.ok();
        };
        act(fault, req, res, conn, first.into(), over).await
    }
}

/// Answers HEAD as the next attempt will be answered, and is none itself.
struct Peek(Arc<Mutex<Streams>>);

#[handler]
impl Peek {
    async fn handle(
        &self,
        req: &Request,
        res: &mut Response,
        conn: &mut ConnCtrl,
    ) -> Reply<()> {
        let fault = find_stream(&mut self.0.lock(), req)?.next();
        act(fault, req, res, conn, Bytes::new(), sleep(LIFETIME)).await
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

/// An EventSource sends the header when it comes back. A page that makes a new one can
/// only write the id into the URL.
fn last_event_id(req: &Request) -> Option<String> {
    let query = || req.query::<String>("lastEventId").map(shortened);
    header_text(req, "last-event-id").or_else(query)
}

/// The number of the last event that the client has. Our ids are numbers; a client with
/// any other id begins at the beginning.
fn position(req: &Request) -> Option<u32> {
    last_event_id(req)?.parse().ok()
}

/// Whether a redirect has led here.
fn moved(req: &Request) -> bool {
    req.query::<String>("moved").is_some()
}

fn header_text(req: &Request, name: &str) -> Option<String> {
    let bytes = req.headers().get(name)?.as_bytes();
    Some(shortened(String::from_utf8_lossy(bytes).into()))
}

fn shortened(text: String) -> String {
    text.chars().take(MAX_TEXT).collect()
}

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

fn bad(why: impl Into<String>) -> StatusError {
    StatusError::bad_request().brief(why)
}
