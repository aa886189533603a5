//! Streams that go wrong, each in one way that has a name: to see what EventSource makes
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
//! book explains what you see. Left out: heartbeats and a stop on a signal, because how a
//! stream ends is yours to say; and the refusal of the connection itself, which no
//! program can do that has accepted it: `refuse` closes it without an answer instead.

use std::collections::VecDeque;
use std::{env, future, io, iter, ops::RangeFrom, process::ExitCode, sync::Arc};

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};
use parking_lot::Mutex;
use salvo::conn::tcp::TcpAcceptor;
use salvo::http::{HeaderName, HeaderValue, header};
use salvo::prelude::*;
use serde_json::json;
use tokio::time::{Duration, Instant, sleep, timeout};
use tokio::{net::TcpListener, sync::watch, task::yield_now};

// ANCHOR: faults
/// What happens to one attempt, in this order. After the last step the stream ends as it
/// should, with its last chunk.
type Fault = (&'static str, &'static [Step]);

enum Step {
    /// Answers with this status, and no stream.
    Status(StatusCode),
    /// Sends the client to a good stream.
    Redirect(StatusCode),
    /// The head of a stream: 200, and this content type.
    Head(&'static str),
    Event,
    /// An event each second.
    Events,
    /// An event without the empty line at its end.
    Half,
    Retry(&'static str),
    /// Events, one byte at a time.
    Drip,
    /// One line that never ends.
    Line,
    Pause,
    /// Nothing more, and the connection stays open.
    Stall,
    /// The connection ends in the middle of the answer.
    Cut,
}
use Step::*;

const STREAM: Step = Head("text/event-stream");

#[rustfmt::skip]
const FAULTS: [Fault; 24] = [
    ("good",                &[STREAM, Events]),
    ("refuse",              &[Cut]),
    ("silent-head",         &[Stall]),
    ("204",                 &[Status(StatusCode::NO_CONTENT)]),
    ("301",                 &[Redirect(StatusCode::MOVED_PERMANENTLY)]),
    ("307",                 &[Redirect(StatusCode::TEMPORARY_REDIRECT)]),
    ("401",                 &[Status(StatusCode::UNAUTHORIZED)]),
    ("404",                 &[Status(StatusCode::NOT_FOUND)]),
    ("500",                 &[Status(StatusCode::INTERNAL_SERVER_ERROR)]),
    ("502",                 &[Status(StatusCode::BAD_GATEWAY)]),
    ("wrong-type",          &[Head("text/plain"), Event]),
    ("wrong-type-open",     &[Head("text/plain"), Events]),
    ("charset",             &[Head("text/event-stream; charset=utf-8"), Events]),
    ("latin1",              &[Head("text/event-stream; charset=iso-8859-1"), Events]),
    ("cut-between-events",  &[STREAM, Event, Cut]),
    ("cut-mid-event",       &[STREAM, Event, Half, Cut]),
    ("no-final-blank-line", &[STREAM, Event, Half]),
    ("stall",               &[STREAM, Event, Stall]),
    ("drip",                &[STREAM, Drip]),
    ("endless-line",        &[STREAM, Event, Line, Cut]),
    ("retry-0",             &[STREAM, Retry("0"), Event, Pause]),
    ("retry-10000",         &[STREAM, Retry("10000"), Event]),
    ("retry-huge",          &[STREAM, Retry("86400000"), Event]),
    ("retry-overflow",      &[STREAM, Retry("99999999999999999999"), Event]),
];
// ANCHOR_END: faults

/// Streams with a script, 16 MiB at most with their attempts; the oldest makes room.
const MAX_STREAMS: usize = 64;
/// Attempts remembered for each; the oldest are forgotten.
const MAX_ATTEMPTS: usize = 256;
/// Bytes of a script: some 60 faults.
const MAX_SCRIPT: usize = 1_024;
/// Bytes of an id, and characters of what is remembered of a header.
const MAX_TEXT: usize = 64;
/// How long one answer may take: nobody else ends a stream that does nothing.
const LIFETIME: Duration = Duration::from_secs(600);
/// Between two events of a stream that is good.
const SECOND: Duration = Duration::from_secs(1);
/// Between two bytes of `drip`, and two pieces of `endless-line`.
const PACE: Duration = Duration::from_millis(100);
/// `endless-line` sends pieces of this many bytes, 40 KiB a second,
const PIECE: usize = 4_096;
/// and ends after so many: a client that waits for the end of the line keeps 512 KiB.
const PIECES: usize = 128;
/// How long `retry-0` holds its stream open: with none, it is a denial of service.
const PAUSE: Duration = Duration::from_millis(500);

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
    let streams = Arc::<Streams>::default();
    let attempts = Router::with_path("attempts").get(Attempts(streams.clone()));
    let one = Router::with_path("streams/{id}")
        .put(Switch(streams.clone()))
        .get(Play(streams));
    Router::new()
        .hoop(one_request_each)
        .get(page)
        .push(Router::with_path("faults/{fault}").get(play))
        .push(one.push(attempts))
}

/// A browser whose request on a kept connection gets no answer asks again by itself:
/// the server would see attempts that EventSource knows nothing of.
#[handler]
async fn one_request_each(res: &mut Response) {
    let close = HeaderValue::from_static("close");
    res.headers_mut().insert(header::CONNECTION, close);
}

#[handler]
async fn page() -> Text<&'static str> {
    Text::Html(include_str!("index.html"))
}

/// A fault, by its name in the URL.
#[handler]
async fn play(req: &Request, res: &mut Response) -> Result<(), StatusError> {
    let name = req.param::<String>("fault").unwrap_or_default();
    let fault = find(&name).map_err(|why| StatusError::not_found().brief(why))?;
    act(fault, req, res, Bytes::new(), sleep(LIFETIME)).await
}

/// Does what a fault says, until it is `over`. The bytes of `first` begin the stream.
async fn act(
    (_, steps): &'static Fault,
    req: &Request,
    res: &mut Response,
    first: Bytes,
    over: impl Future<Output = ()> + Send + 'static,
) -> Result<(), StatusError> {
    let (kind, steps) = match steps {
        // The 401 names no way to log in, or a browser would ask for a password.
        [Status(code), ..] => {
            res.status_code(*code);
            return match StatusError::from_code(*code) {
                Some(error) => Err(error.brief("you asked for this")),
                None => Ok(()),
            };
        }
        [Redirect(code), ..] if !moved(req) => {
            let query = req.uri().query().map(|query| format!("{query}&"));
            let to = format!("?{}moved=yes", query.unwrap_or_default());
            let to =
                HeaderValue::try_from(to).map_err(|_| bad("a strange query"))?;
            res.status_code(*code).headers_mut().insert(header::LOCATION, to);
            return Ok(());
        }
        [Redirect(_), ..] => ("text/event-stream", &[Events][..]),
        [Head(kind), steps @ ..] => (*kind, steps),
        steps => {
            if let [Stall, ..] = steps {
                over.await;
            }
            // An error before the first byte: the head is never sent, either.
            res.stream(stream::once(future::ready(Chunk::Err(broken()))));
            return Ok(());
        }
    };
    let mut ids = u64::from(position(req).unwrap_or(0)) + 1..;
    let chunks = stream::iter(steps).flat_map(move |step| chunks(step, &mut ids));
    let chunks = stream::iter([Ok(first)]).chain(chunks);
    let unbuffered = HeaderName::from_static("x-accel-buffering");
    res.headers_mut().extend([
        (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (unbuffered, HeaderValue::from_static("no")),
    ]);
    res.stream(chunks.take_until(Box::pin(over)));
    Ok(())
}

// ANCHOR: steps
type Chunk = io::Result<Bytes>;

/// What a step sends.
fn chunks(step: &Step, ids: &mut RangeFrom<u64>) -> BoxStream<'static, Chunk> {
    let mut next = || ids.next().map(event).unwrap_or_default();
    match step {
        Event => one(next()),
        Half => one(next().replace("\n\n", "\n")),
        Retry(value) => one(format!("retry: {value}\n\n")),
        Events => every(SECOND, ids.clone().map(event)),
        Drip => {
            let bytes = ids.clone().flat_map(|id| event(id).into_bytes());
            every(PACE, bytes.map(|byte| char::from(byte).into()))
        }
        Line => {
            let pieces = iter::repeat_n("x".repeat(PIECE), PIECES);
            every(PACE, iter::once("data: ".into()).chain(pieces))
        }
        Pause => {
            stream::once(sleep(PAUSE)).filter_map(|()| future::ready(None)).boxed()
        }
        Stall => stream::pending().boxed(),
        Cut => stream::once(cut()).boxed(),
        Status(_) | Redirect(_) | Head(_) => stream::empty().boxed(),
    }
}

fn event(id: u64) -> String {
    format!("id: {id}\ndata: event {id}\n\n")
}

fn one(text: String) -> BoxStream<'static, Chunk> {
    stream::once(future::ready(Ok(text.into()))).boxed()
}

/// The first now, and each of the others after a while.
fn every(
    pause: Duration,
    pieces: impl Iterator<Item = String> + Send + 'static,
) -> BoxStream<'static, Chunk> {
    let pieces = stream::iter(pieces.enumerate());
    let chunks = pieces.then(move |(n, piece)| async move {
        if n > 0 {
            sleep(pause).await;
        }
        Ok(piece.into())
    });
    chunks.boxed()
}

/// An error where bytes should be: the server has no way left to say that it failed, and
/// closes the connection.
async fn cut() -> Chunk {
    // What was sent before shall arrive: the server writes when it has to wait.
    yield_now().await;
    Err(broken())
}

fn broken() -> io::Error {
    io::Error::other("broken, as you asked")
}
// ANCHOR_END: steps

/// The streams that have a script, the oldest first.
type Streams = Mutex<VecDeque<Stream>>;

struct Stream {
    id: String,
    /// What the attempts to come get; the last one is for all that follow.
    script: VecDeque<&'static Fault>,
    /// As JSON.
    attempts: VecDeque<String>,
    /// How many there were, with those that are forgotten.
    count: u64,
    /// When the first one came.
    start: Instant,
    /// Says to the connection that is open that there is another script.
    switched: watch::Sender<()>,
}

/// Gives a stream a script, and ends the connections that it has. A page of another
/// origin cannot `PUT`: its browser asks first, and gets no permission.
struct Switch(Arc<Streams>);

#[handler]
impl Switch {
    async fn handle(&self, req: &mut Request) -> Result<StatusCode, StatusError> {
        let id = req.param::<String>("id").unwrap_or_default();
        // Read to its end, even if it is too long, or the client never sees the reason.
        let (mut bytes, mut body) = (Vec::new(), req.take_body());
        while let Some(frame) = body.next().await {
            let frame = frame.map_err(|_| bad("the body broke off"))?;
            if let (Ok(data), 0..=MAX_SCRIPT) = (frame.into_data(), bytes.len()) {
                bytes.extend_from_slice(&data);
            }
        }
        if bytes.len() > MAX_SCRIPT {
            let why = format!("a script has {MAX_SCRIPT} bytes at most");
            return Err(StatusError::payload_too_large().brief(why));
        }
        if id.len() > MAX_TEXT {
            return Err(bad(format!("the id has more than {MAX_TEXT} bytes")));
        }
        let words =
            str::from_utf8(&bytes).map_err(|_| bad("the script is not UTF-8"))?;
        let script = words.split_whitespace().map(find).collect::<Result<_, _>>();
        let script: VecDeque<_> = script.map_err(bad)?;
        if script.is_empty() {
            return Err(bad("the script is empty"));
        }
        let mut streams = self.0.lock();
        if let Some(stream) = streams.iter_mut().find(|stream| stream.id == id) {
            stream.script = script;
            stream.switched.send_replace(());
            return Ok(StatusCode::NO_CONTENT);
        }
        if streams.len() == MAX_STREAMS {
            streams.pop_front();
        }
        let (start, switched) = (Instant::now(), watch::Sender::default());
        let attempts = VecDeque::new();
        let stream = Stream { id, script, attempts, count: 0, start, switched };
        streams.push_back(stream);
        Ok(StatusCode::CREATED)
    }
}

struct Play(Arc<Streams>);

#[handler]
impl Play {
    async fn handle(
        &self,
        req: &Request,
        res: &mut Response,
    ) -> Result<(), StatusError> {
        let (fault, first, mut switched) = {
            let mut streams = self.0.lock();
            let stream = by_id(&mut streams, req)?;
            let (fault, first) = stream.attempt(req)?;
            (fault, first, stream.switched.subscribe())
        };
        // A stream that has had to make room is over as well.
        let over = async move {
            timeout(LIFETIME, switched.changed()).await.ok();
        };
        act(fault, req, res, first.into(), over).await
    }
}

impl Stream {
    /// Takes the next fault of the script, and keeps what the server has seen.
    fn attempt(
        &mut self,
        req: &Request,
    ) -> Result<(&'static Fault, String), StatusError> {
        let fault = match self.script.len() {
            0 | 1 => self.script.front().copied(),
            _ => self.script.pop_front(),
        };
        let fault = fault.ok_or_else(StatusError::internal_server_error)?;
        if self.count == 0 {
            self.start = Instant::now();
        }
        self.count += 1;
        let last = last_event_id(req);
        let attempt = json!({
            "attempt": self.count,
            "ms": self.start.elapsed().as_millis() as u64,
            "fault": fault.0,
            "lastEventId": last,
            "moved": moved(req),
            // An EventSource asks for text/event-stream; a look with fetch does not.
            "accept": header_text(req, "accept"),
        });
        self.attempts.push_back(attempt.to_string());
        if self.attempts.len() > MAX_ATTEMPTS {
            self.attempts.pop_front();
        }
        let data = json!({ "attempt": self.count, "lastEventId": last });
        // Who brings an id in the URL has it again in the stream: an EventSource that is
        // new knows none.
        let id = position(req).map(|id| format!("id: {id}\n")).unwrap_or_default();
        Ok((fault, format!("event: attempt\n{id}data: {data}\n\n")))
    }
}

struct Attempts(Arc<Streams>);

#[handler]
impl Attempts {
    async fn handle(&self, req: &Request) -> Result<Text<String>, StatusError> {
        let mut streams = self.0.lock();
        let stream = by_id(&mut streams, req)?;
        let ms = stream.start.elapsed().as_millis() as u64;
        let seen: Vec<_> = stream.attempts.iter().map(String::as_str).collect();
        let seen = seen.join(",");
        Ok(Text::Json(format!(r#"{{"ms":{ms},"attempts":[{seen}]}}"#)))
    }
}

fn by_id<'a>(
    streams: &'a mut VecDeque<Stream>,
    req: &Request,
) -> Result<&'a mut Stream, StatusError> {
    let id = req.param::<String>("id").unwrap_or_default();
    let found = streams.iter_mut().find(|stream| stream.id == id);
    found.ok_or_else(|| StatusError::not_found().brief("nothing was put here"))
}

fn find(name: &str) -> Result<&'static Fault, String> {
    let known = || FAULTS.map(|(name, _)| name).join(", ");
    let found = FAULTS.iter().find(|(known, _)| *known == name);
    found.ok_or_else(|| format!("the faults are: {}", known()))
}

/// An EventSource sends the header when it comes back. A page that makes a new one can
/// only write it into the URL.
fn last_event_id(req: &Request) -> Option<String> {
    let query = || req.query::<String>("lastEventId").map(shortened);
    header_text(req, "last-event-id").or_else(query)
}

/// The last event that the client has: our ids are numbers. What is none is an id of
/// somebody else's, and the client begins at the beginning.
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

fn bad(why: impl Into<String>) -> StatusError {
    StatusError::bad_request().brief(why)
}
