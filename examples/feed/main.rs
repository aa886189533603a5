//! A log of events that readers follow, and of which they lose nothing: cut the network,
//! kill this program in the middle of a write, or send its readers to another server, and
//! each of them sees every event once, in order.
//!
//!     cargo run --example feed
//!     curl -N http://127.0.0.1:8698/events
//!     curl http://127.0.0.1:8698/events --json '{"type": "note", "data": "hello"}'
//!
//! Or open http://127.0.0.1:8698/. The events are in `FEED_DIR` (default: `feed-data`), or
//! in Redis, where any number of servers can share them:
//!
//!     REDIS_URL=redis://127.0.0.1 cargo run --example feed
//!
//! `FEED_KEEP` is how many events are kept, `FEED_AGE` how many seconds. Chapters 8 and 13 of the
//! book explain it. Left out: more feeds than one, users, and who may read or write what
//! (chapter 11).

use std::collections::{HashMap, hash_map::Entry};
use std::time::Duration;
use std::{convert::Infallible, env, io, process::ExitCode, sync::Arc};

use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use parking_lot::Mutex;
use salvo::conn::tcp::TcpAcceptor;
use salvo::http::{HeaderName, HeaderValue, header};
use salvo::prelude::*;
use salvo::sse::SseEvent;
use serde::Serialize;
use serde_json::json;
use tokio::net::{TcpSocket, lookup_host};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::{signal, time::timeout};
use tokio_util::sync::CancellationToken;

mod disk;
mod log;
mod redis_streams;

use disk::Disk;
use log::{Event, Failure, Found, Id, Tail, chunk};
use redis_streams::RedisStreams;

// ANCHOR: bounds
/// Bytes of an event's type: a name.
const MAX_TYPE: usize = 64;
/// Bytes of an event's data: a few paragraphs. Larger things have a URL.
const MAX_DATA: usize = 4_096;
/// Bytes of a request: data in which JSON writes each byte as `\u0000`, and the rest.
const MAX_REQUEST: usize = 8 * MAX_DATA;
/// Bytes of an idempotency key: a UUID has 36.
const MAX_KEY: usize = 128;
/// Events in memory for those who are up to date: 4 MiB, if all are that long, and 28 MiB
/// if they are nothing but newlines: each becomes a `data: ` line.
const TAIL: usize = 1_024;
/// Events that a reader who is behind gets from the store at a time.
const PAGE: usize = 256;
/// Readers that are served from the store at once; the others wait for their turn.
const MAX_READS: usize = 16;
/// Bytes that one write to a reader carries, unless one event is longer.
const MAX_CHUNK: usize = 32 << 10;
/// Bytes of a request's head: the least that hyper accepts. Its default is 400 KiB.
const MAX_BUFFER: usize = 8_192;
/// Readers at once.
const MAX_READERS: usize = 16_384;
/// When a client connects again that has lost its connection.
const RETRY: Duration = Duration::from_secs(1);
/// Silence after which a comment is sent: proxies cut a stream after 30 or 60 s.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Connections that may wait to be accepted, as when all readers come back at once.
const BACKLOG: u32 = 4_096;
/// How long the streams may take to end when the program ends.
const STOP: Duration = Duration::from_secs(3);
// ANCHOR_END: bounds

/// What is kept: not more events than this, and none that is older. Redis may keep some
/// more, for it removes them by the hundred; and the newest always stays.
#[derive(Clone, Copy)]
pub struct Retention {
    pub keep: usize,
    pub age: Duration,
}

// ANCHOR: main
#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(io::stderr).init();
    if let Err(why) = run().await {
        eprintln!("{why}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

pub async fn run() -> Result<(), String> {
    let addr = env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:8698".into());
    let listen =
        |error| format!("cannot listen on {addr}: {error}; try ADDR=127.0.0.1:0");
    let socket = bind(&addr).await.map_err(listen)?;
    let feed = Feed::open().await?;
    // On a worker thread, like the streams: see `chat`.
    let served = tokio::spawn(serve(socket, feed)).await;
    served.map_err(io::Error::other).flatten().map_err(listen)
}

async fn bind(addr: &str) -> io::Result<TcpSocket> {
    let addr =
        lookup_host(addr).await?.next().ok_or(io::ErrorKind::AddrNotAvailable)?;
    let socket =
        if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    Ok(socket)
}

async fn serve(socket: TcpSocket, feed: Arc<Feed>) -> io::Result<()> {
    let listener = socket.listen(BACKLOG)?;
    println!("listening on http://{}", listener.local_addr()?);
    let mut server = Server::new(TcpAcceptor::try_from(listener)?);
    server.http1_mut().writev(false).max_buf_size(MAX_BUFFER);
    let (stop, handle) = (feed.stop.clone(), server.handle());
    let stopping = async {
        stop_signal().await?;
        handle.stop_graceful(STOP); // lets nobody in any more, and waits for the streams
        stop.cancel();
        Ok(())
    };
    tokio::try_join!(server.try_serve(router(feed)), stopping).map(|_| ())
}

/// Waits for Ctrl-C or what a service manager sends.
async fn stop_signal() -> io::Result<()> {
    #[cfg(unix)]
    let mut stop = signal::unix::signal(signal::unix::SignalKind::terminate())?;
    #[cfg(windows)]
    let mut stop = signal::windows::ctrl_shutdown()?;
    tokio::select! { stopped = signal::ctrl_c() => stopped, _ = stop.recv() => Ok(()) }
}

fn router(feed: Arc<Feed>) -> Router {
    let one = Router::with_path("{id}").get(Look(feed.clone()));
    let events = Router::with_path("events")
        .get(Listen(feed.clone()))
        .post(Post(feed.clone()))
        .push(one);
    let cut = Router::with_path("readers/{id}").delete(Cut(feed));
    Router::new().get(page).push(events).push(cut)
}
// ANCHOR_END: main

#[handler]
async fn page() -> Text<&'static str> {
    Text::Html(include_str!("index.html"))
}

type Answer<T> = Result<T, StatusError>;

// ANCHOR: post
struct Post(Arc<Feed>);

#[handler]
impl Post {
    async fn handle(&self, req: &mut Request, res: &mut Response) -> Answer<()> {
        let body = read(req).await?;
        refuse_foreign(req)?;
        if req.content_type().is_none_or(|kind| kind.essence_str() != JSON) {
            let why = format!("the content type is not {JSON}");
            return Err(StatusError::unsupported_media_type().brief(why));
        }
        let event: Event = serde_json::from_slice(&body).map_err(|error| {
            bad(format!("not {{\"type\": \"…\", \"data\": \"…\"}}: {error}"))
        })?;
        if let Some(why) = event.fault() {
            return Err(bad(why));
        }
        let key = key(req)?;
        let id = self.0.store.append(event, key).await.map_err(not_stored)?;
        // Relative, because this program may be mounted below another path.
        let location = HeaderValue::try_from(format!("events/{id}"))
            .map_err(|_| StatusError::internal_server_error())?;
        res.headers_mut().insert(header::LOCATION, location);
        res.status_code(StatusCode::CREATED);
        res.render(Json(json!({ "id": id.to_string() })));
        Ok(())
    }
}

/// What the client calls this request, so that it can repeat it: an event is stored once.
fn key(req: &Request) -> Answer<Option<String>> {
    let Some(key) = req.headers().get("idempotency-key") else { return Ok(None) };
    let is_key = |key: &&str| {
        (1..=MAX_KEY).contains(&key.len())
            && key.bytes().all(|b| b.is_ascii_graphic())
    };
    let key = key.to_str().ok().filter(is_key);
    let why = "Idempotency-Key is not 1 to 128 visible ASCII characters";
    key.map(|key| Some(key.into())).ok_or_else(|| bad(why))
}

fn not_stored(failure: Failure) -> StatusError {
    let status = match failure {
        Failure::Full(_) => StatusError::insufficient_storage(),
        Failure::Unavailable(_) => StatusError::service_unavailable(),
        Failure::KeyTaken => StatusError::unprocessable_entity(),
    };
    status.brief(failure.to_string())
}
// ANCHOR_END: post

const JSON: &str = "application/json";

/// Reads to the end, even what is too much: a server that closes with bytes unread resets
/// the connection, and the client may never see the reason.
async fn read(req: &mut Request) -> Answer<Vec<u8>> {
    let (mut bytes, mut body) = (Vec::new(), req.take_body());
    while let Some(frame) = body.next().await {
        let frame = frame.map_err(|_| bad("the body broke off"))?;
        if let (Ok(data), 0..=MAX_REQUEST) = (frame.into_data(), bytes.len()) {
            bytes.extend_from_slice(&data);
        }
    }
    if bytes.len() > MAX_REQUEST {
        let why = format!("a request has {MAX_REQUEST} bytes at most");
        return Err(StatusError::payload_too_large().brief(why));
    }
    Ok(bytes)
}

/// Any web page can send requests to this server. A browser says from which origin a
/// request comes; other clients say nothing.
pub fn refuse_foreign(req: &Request) -> Answer<()> {
    let Some(origin) = req.headers().get(header::ORIGIN) else { return Ok(()) };
    let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
    let host = req.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    if origin.is_some_and(|(_, authority)| Some(authority) == host) {
        return Ok(());
    }
    Err(StatusError::forbidden().brief("a page of another origin has sent this"))
}

fn bad(why: impl Into<String>) -> StatusError {
    StatusError::bad_request().brief(why)
}

// ANCHOR: listen
struct Listen(Arc<Feed>);

#[handler]
impl Listen {
    async fn handle(&self, req: &Request, res: &mut Response) -> Answer<()> {
        let from = Begin::of(req)?;
        let reader = self.0.reader(from, reader_id(req)?).await?;
        let cut = reader.stop.clone().cancelled_owned();
        let events = stream::unfold(reader, async |mut reader| {
            Some((Ok::<_, Infallible>(reader.next().await), reader))
        });
        let unbuffered = HeaderName::from_static("x-accel-buffering");
        res.headers_mut().extend([
            (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
            (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
            (unbuffered, HeaderValue::from_static("no")),
        ]);
        res.stream(events.take_until(cut));
        Ok(())
    }
}
// ANCHOR_END: listen

// ANCHOR: from
/// Where a reader wants to begin.
#[derive(Clone, Copy)]
enum Begin {
    Now,
    /// With the oldest event that is kept.
    Start,
    /// After this event.
    After(Id),
    /// After something that is no ID of this feed.
    Malformed,
}

impl Begin {
    fn of(req: &Request) -> Answer<Self> {
        // An EventSource that connects again asks for the URL that it was made with, so
        // that its header is newer than what stands there.
        let header = req.headers().get("last-event-id").map(|id| id.as_bytes());
        let after = req.queries().get("after").map(|id| id.as_bytes());
        let is_id = |id: &&[u8]| !id.is_empty();
        if let Some(id) = header.filter(is_id).or(after.filter(is_id)) {
            let id = str::from_utf8(id).ok().and_then(|id| id.parse().ok());
            return Ok(id.map_or(Self::Malformed, Self::After));
        }
        match req.queries().get("from").map(String::as_str) {
            None => Ok(Self::Now),
            Some("start") => Ok(Self::Start),
            Some(_) => Err(bad("`from` can be `start` only")),
        }
    }
}
// ANCHOR_END: from

// ANCHOR: look
struct Look(Arc<Feed>);

#[handler]
impl Look {
    async fn handle(&self, req: &Request) -> Answer<Json<Kept>> {
        let none = || {
            StatusError::not_found().brief("there is no such event, or no longer")
        };
        let id = req.param::<String>("id").and_then(|id| id.parse().ok());
        let id = id.ok_or_else(none)?;
        let event =
            self.0.store.get(id).await.map_err(not_read)?.ok_or_else(none)?;
        Ok(Json(Kept { id: id.to_string(), event }))
    }
}

#[derive(Serialize)]
struct Kept {
    id: String,
    #[serde(flatten)]
    event: Event,
}

fn not_read(failure: Failure) -> StatusError {
    StatusError::service_unavailable().brief(failure.to_string())
}
// ANCHOR_END: look

// ANCHOR: cut
/// Cuts a connection, so that you can see what becomes of its reader.
struct Cut(Arc<Feed>);

#[handler]
impl Cut {
    async fn handle(&self, req: &Request) -> Answer<StatusCode> {
        refuse_foreign(req)?;
        let id = req.param::<String>("id").and_then(|id| parse_reader(&id));
        let found = id.and_then(|id| self.0.named.lock().remove(&id));
        let none = || StatusError::not_found().brief("there is no such reader");
        found.ok_or_else(none)?.cancel();
        Ok(StatusCode::NO_CONTENT)
    }
}

/// What a reader calls itself so that it can be cut: an ID that nobody can guess.
fn reader_id(req: &Request) -> Answer<Option<u128>> {
    let Some(id) = req.queries().get("reader") else { return Ok(None) };
    let why = "`reader` is not 32 hex digits";
    parse_reader(id).map(Some).ok_or_else(|| bad(why))
}

fn parse_reader(text: &str) -> Option<u128> {
    let id = u128::from_str_radix(text, 16).ok()?;
    (format!("{id:032x}") == text).then_some(id)
}
// ANCHOR_END: cut

// ANCHOR: store
/// Where the log is kept.
enum Store {
    Disk(Disk),
    Redis(Arc<RedisStreams>),
}

impl Store {
    /// Returns when the event is durable: on disk, or as durable as Redis makes it.
    async fn append(
        &self,
        event: Event,
        key: Option<String>,
    ) -> Result<Id, Failure> {
        match self {
            Self::Disk(disk) => disk.append(event, key).await,
            Self::Redis(redis) => redis.append(event, key).await,
        }
    }

    /// What comes after an event, some of it.
    async fn after(&self, id: Id) -> Result<Found, Failure> {
        match self {
            Self::Disk(disk) => disk.after(id).await,
            Self::Redis(redis) => redis.after(id).await,
        }
    }

    /// The ID right before the oldest event that is kept.
    async fn start(&self) -> Result<Id, Failure> {
        match self {
            Self::Disk(disk) => disk.start().await,
            Self::Redis(redis) => redis.start().await,
        }
    }

    async fn get(&self, id: Id) -> Result<Option<Event>, Failure> {
        match self {
            Self::Disk(disk) => disk.get(id).await,
            Self::Redis(redis) => redis.get(id).await,
        }
    }
}
// ANCHOR_END: store

// ANCHOR: feed
pub struct Feed {
    store: Store,
    tail: Arc<Tail>,
    reads: Semaphore,
    places: Arc<Semaphore>,
    /// Readers that can be cut, by the ID that only they know.
    named: Mutex<HashMap<u128, CancellationToken>>,
    /// Ends all streams, each with its last chunk.
    stop: CancellationToken,
}

impl Feed {
    /// Opens the store that the environment names.
    async fn open() -> Result<Arc<Self>, String> {
        let retention = Retention {
            keep: number("FEED_KEEP", 1_000_000)? as usize,
            age: Duration::from_secs(number("FEED_AGE", 7 * 24 * 60 * 60)?),
        };
        let (store, tail) = match env::var("REDIS_URL") {
            Ok(url) => {
                let (redis, tail) = RedisStreams::open(&url, retention).await?;
                (Store::Redis(redis), tail)
            }
            Err(_) => {
                let dir =
                    env::var("FEED_DIR").unwrap_or_else(|_| "feed-data".into());
                let (disk, tail) = Disk::open(dir.as_ref(), retention)?;
                (Store::Disk(disk), tail)
            }
        };
        Ok(Arc::new(Self {
            store,
            tail,
            reads: Semaphore::new(MAX_READS),
            places: Arc::new(Semaphore::new(MAX_READERS)),
            named: Mutex::default(),
            stop: CancellationToken::new(),
        }))
    }
    // ANCHOR_END: feed

    // ANCHOR: begin
    async fn reader(
        self: &Arc<Self>,
        from: Begin,
        id: Option<u128>,
    ) -> Answer<Reader> {
        let full = || StatusError::service_unavailable().brief("too many readers");
        let place = self.places.clone().try_acquire_owned().map_err(|_| full())?;
        let position = match from {
            Begin::Now => self.tail.newest(),
            Begin::After(id) => id,
            Begin::Start | Begin::Malformed => {
                self.store.start().await.map_err(not_read)?
            }
        };
        let begin = SseEvent::default().retry(RETRY);
        let begin = match from {
            Begin::Malformed => resync("malformed", position).retry(RETRY),
            Begin::After(_) => begin,
            // Who is cut off before the first event comes back with this ID, and
            // misses nothing. It is no event: a client only remembers it.
            Begin::Now | Begin::Start => begin.id(position.to_string()),
        };
        let stop = self.stop.child_token();
        if let Some(id) = id {
            // A stream that this reader still has ends: the client has given it up.
            match self.named.lock().entry(id) {
                Entry::Occupied(mut old) => old.insert(stop.clone()).cancel(),
                Entry::Vacant(free) => drop(free.insert(stop.clone())),
            }
        }
        let begin = Some(begin.to_string().into());
        let feed = self.clone();
        Ok(Reader { feed, id, begin, position, stop, _place: place })
    }
    // ANCHOR_END: begin

    // ANCHOR: after
    /// What comes after an event: from memory if it can, or from the store.
    async fn after(&self, id: Id) -> Result<After, Failure> {
        if let Ok(next) = self.tail.after(id) {
            return Ok(next.into());
        }
        let _turn = self.reads.acquire().await;
        match self.store.after(id).await? {
            Found::Events(events) => Ok(chunk(&events).into()),
            Found::Nothing { kept_after } => Ok(After::Gap { kept_after }),
        }
    }
    // ANCHOR_END: after
}

/// A number in the environment, from 1 on.
fn number(name: &str, default: u64) -> Result<u64, String> {
    let Ok(text) = env::var(name) else { return Ok(default) };
    let number = text.parse().ok().filter(|number| (1..=1 << 32).contains(number));
    number.ok_or_else(|| {
        format!("{name} is no number from 1 to {}: {text}", 1u64 << 32)
    })
}

enum After {
    Events(Id, Bytes),
    /// Not yet anything.
    Nothing,
    /// It is not known what comes after this event.
    Gap {
        kept_after: Id,
    },
}

impl From<Option<(Id, Bytes)>> for After {
    fn from(chunk: Option<(Id, Bytes)>) -> Self {
        chunk.map_or(Self::Nothing, |(last, bytes)| Self::Events(last, bytes))
    }
}

/// Says that a reader may have missed events, why, and after which event it continues.
fn resync(reason: &str, position: Id) -> SseEvent {
    let data = format!(r#"{{"reason":"{reason}","after":"{position}"}}"#);
    SseEvent::default().name("resync").text(data).id(position.to_string())
}

// ANCHOR: reader
/// One stream: a position in the log, and nothing that could fill up.
struct Reader {
    feed: Arc<Feed>,
    id: Option<u128>,
    /// What is sent first.
    begin: Option<Bytes>,
    /// The last event that this reader has.
    position: Id,
    stop: CancellationToken,
    _place: OwnedSemaphorePermit,
}

impl Reader {
    /// What to send next: events, or a comment when there is none for a while.
    async fn next(&mut self) -> Bytes {
        if let Some(begin) = self.begin.take() {
            return begin;
        }
        let comment = Bytes::from_static(b":\n\n");
        timeout(HEARTBEAT, self.news()).await.unwrap_or(comment)
    }

    async fn news(&mut self) -> Bytes {
        let feed = self.feed.clone();
        loop {
            // Asked for before the look: what is stored in between wakes it, too.
            let grew = feed.tail.grew();
            match feed.after(self.position).await {
                Ok(After::Events(last, bytes)) => {
                    self.position = last;
                    return bytes;
                }
                Ok(After::Gap { kept_after }) => {
                    let expired = self.position < kept_after;
                    let reason = if expired { "expired" } else { "unknown" };
                    self.position = kept_after;
                    return resync(reason, kept_after).to_string().into();
                }
                Ok(After::Nothing) => {}
                // Heartbeats go on, and so does the reader when the store is back.
                Err(failure) => tracing::debug!("a reader waits: {failure}"),
            }
            grew.await;
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // A stream that was cut, or has a successor, is no longer the one of this ID.
        if let Some(id) = self.id
            && !self.stop.is_cancelled()
        {
            self.feed.named.lock().remove(&id);
        }
    }
}
// ANCHOR_END: reader
