//! A chat room that holds: who you are survives a dropped connection, what you missed
//! is made up for or counted, and nothing in it grows without a bound.
//!
//!     cargo run --example chat
//!     curl -N http://127.0.0.1:8698/chat
//!     curl -d hello http://127.0.0.1:8698/chat/ID
//!
//! ID is the data of the first event in the stream of somebody else: nobody hears
//! themself. Or open http://127.0.0.1:8698/ in two windows. Chapters 5 and 6 of the book
//! explain it. Left out: more rooms than one, names and passwords, more servers than one
//! (chapter 13).

use std::collections::{HashMap, VecDeque, hash_map::Entry};
use std::sync::{Arc, atomic::AtomicU64, atomic::Ordering::Relaxed};
use std::{convert::Infallible, env, fmt::Display, io, process::ExitCode};

use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use futures_util::stream::{AbortHandle, AbortRegistration, Abortable};
use parking_lot::{Mutex, RwLock};
use salvo::conn::tcp::TcpAcceptor;
use salvo::http::{HeaderName, HeaderValue, header};
use salvo::prelude::*;
use salvo::sse::SseEvent;
use tokio::net::{TcpSocket, lookup_host};
use tokio::time::{Duration, sleep, timeout};
use tokio::{signal, sync::Notify};

// ANCHOR: bounds
/// Users at once: an idle one costs less than 16 KiB, so all together 256 MiB.
const MAX_USERS: usize = 16_384;
/// Users whose coming and going is announced: n who come cost n²/2 deliveries.
const MAX_ANNOUNCED: usize = 100;
/// Bytes of one message: a few paragraphs.
const MAX_MESSAGE: usize = 4_096;
/// Events kept for readers who are slow or were away: 4 MiB, if all are that long, and
/// 28 MiB, if somebody sends almost nothing but newlines: each becomes a `data: ` line.
const HISTORY: usize = 1_024;
/// Bytes that wait in this program for one reader who does not read, and of a request's
/// head: the least that hyper accepts. Its default is 400 KiB.
const MAX_BUFFER: usize = 8_192;
/// How long a user without a connection stays.
const GRACE: Duration = Duration::from_secs(5);
/// When a client connects again that has lost its connection: well within `GRACE`.
const RETRY: Duration = Duration::from_secs(1);
/// Silence after which a comment is sent: proxies cut a stream after 30 or 60 s.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Connections that may wait to be accepted, as when all readers come back at once.
const BACKLOG: u32 = 4_096;
/// How long the streams may take to end when the program ends.
const STOP: Duration = Duration::from_secs(3);
// ANCHOR_END: bounds

// ANCHOR: main
#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(io::stderr).init();
    let addr = env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:8698".into());
    // On a worker thread, like the streams: what one connection gives back to the
    // allocator, the next one can use. (On this one, a reader takes 1 KiB more.)
    let served = tokio::spawn(serve(addr.clone())).await;
    if let Err(error) = served.map_err(io::Error::other).flatten() {
        eprintln!("cannot listen on {addr}: {error}; try ADDR=127.0.0.1:0");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

async fn serve(addr: String) -> io::Result<()> {
    let addr =
        lookup_host(addr).await?.next().ok_or(io::ErrorKind::AddrNotAvailable)?;
    let socket =
        if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    let listener = socket.listen(BACKLOG)?;
    println!("listening on http://{}", listener.local_addr()?);
    let mut server = Server::new(TcpAcceptor::try_from(listener)?);
    // Events are small: to copy one into a single piece costs less than to send three.
    server.http1_mut().writev(false).max_buf_size(MAX_BUFFER);

    let (room, handle) = (Room::new(), server.handle());
    let stop = async {
        stop_signal().await?;
        handle.stop_graceful(STOP); // lets nobody in any more, and waits for the streams
        room.close();
        Ok(())
    };
    tokio::try_join!(server.try_serve(router(room.clone())), stop).map(|_| ())
}

/// Waits for Ctrl-C or what a service manager sends.
async fn stop_signal() -> io::Result<()> {
    #[cfg(unix)]
    let mut stop = signal::unix::signal(signal::unix::SignalKind::terminate())?;
    #[cfg(windows)]
    let mut stop = signal::windows::ctrl_shutdown()?;
    tokio::select! { stopped = signal::ctrl_c() => stopped, _ = stop.recv() => Ok(()) }
}

pub fn router(room: Arc<Room>) -> Router {
    let say = Router::with_path("{id}").post(Say(room.clone()));
    Router::new()
        .get(page)
        .push(Router::with_path("chat").get(Listen(room)).push(say))
}
// ANCHOR_END: main

#[handler]
async fn page() -> Text<&'static str> {
    Text::Html(include_str!("index.html"))
}

// ANCHOR: listen
struct Listen(Arc<Room>);

#[handler]
impl Listen {
    async fn handle(&self, req: &Request, res: &mut Response) -> Answer<()> {
        let id = match req.query::<String>("as") {
            Some(id) => {
                parse_id(&id).ok_or_else(|| bad("`as` is not 32 hex digits"))?
            }
            None => rand::random(),
        };
        // An EventSource that the page had to make anew knows no last event ID.
        let last = req.header("last-event-id").or_else(|| req.query("after"));
        let (reader, ended) = self.0.join(id, last)?;
        let events = stream::unfold(reader, async |mut reader| {
            Some((Ok::<_, Infallible>(reader.next().await), reader))
        });
        let unbuffered = HeaderName::from_static("x-accel-buffering");
        res.headers_mut().extend([
            (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
            (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
            (unbuffered, HeaderValue::from_static("no")),
        ]);
        res.stream(Abortable::new(events, ended));
        Ok(())
    }
}
// ANCHOR_END: listen

// ANCHOR: say
struct Say(Arc<Room>);

#[handler]
impl Say {
    async fn handle(&self, req: &mut Request) -> Answer<StatusCode> {
        // All of it is read, even what is too much: a server that closes with bytes
        // unread resets the connection, and the client may never see the answer.
        let (mut bytes, mut body) = (Vec::new(), req.take_body());
        while let Some(frame) = body.next().await {
            let frame = frame.map_err(|_| bad("the body broke off"))?;
            if let (Ok(data), 0..=MAX_MESSAGE) = (frame.into_data(), bytes.len()) {
                bytes.extend_from_slice(&data);
            }
        }
        // A browser says if a page of another origin sends a request; curl says nothing.
        let from: Option<&str> = req.header("sec-fetch-site");
        if !matches!(from, None | Some("same-origin" | "none")) {
            let why = "a page of another origin has sent this";
            return Err(StatusError::forbidden().brief(why));
        }
        let id = parse_id(&req.param::<String>("id").unwrap_or_default());
        let Some((id, number)) = id.and_then(|id| Some((id, self.0.number(id)?)))
        else {
            let why = "nobody in the room has this id";
            return Err(StatusError::not_found().brief(why));
        };
        if bytes.len() > MAX_MESSAGE {
            let why = format!("a message has {MAX_MESSAGE} bytes at most");
            return Err(StatusError::payload_too_large().brief(why));
        }
        let text =
            str::from_utf8(&bytes).map_err(|_| bad("the body is not UTF-8"))?;
        if text.trim().is_empty() {
            return Err(bad("the message is empty"));
        }
        // A terminal obeys them: a message could rewrite the screen of a `curl` reader.
        if text.contains(|c: char| c.is_control() && !"\t\r\n".contains(c)) {
            return Err(bad("the message has control characters"));
        }
        let event = SseEvent::default().text(format!("<User#{number}>: {text}"));
        self.0.publish(id, event);
        Ok(StatusCode::NO_CONTENT)
    }
}
// ANCHOR_END: say

type Answer<T> = Result<T, StatusError>;

fn bad(why: &str) -> StatusError {
    StatusError::bad_request().brief(why)
}

fn full() -> StatusError {
    StatusError::service_unavailable().brief("the room is full")
}

fn parse_id(text: &str) -> Option<u128> {
    let id = u128::from_str_radix(text, 16).ok()?;
    format!("{id:032x}").eq_ignore_ascii_case(text).then_some(id)
}

fn event(event_type: &str, data: impl Display) -> SseEvent {
    SseEvent::default().name(event_type).text(data.to_string())
}

// ANCHOR: room
#[derive(Default)]
pub struct Room {
    /// Random for each run: an event id of an earlier run is no event id of this one.
    epoch: u64,
    /// By id, which stays a secret: who knows it can speak for the user.
    users: Mutex<HashMap<u128, User>>,
    /// Users so far; the latest one's number.
    count: AtomicU64,
    log: RwLock<Log>,
    /// Wakes all readers when the log has grown.
    grew: Notify,
}

struct User {
    /// What everybody sees.
    number: u64,
    /// Ends the user's stream.
    stream: Option<AbortHandle>,
}

/// The latest events, each with its sender's id, encoded once for all readers.
#[derive(Default)]
struct Log {
    kept: VecDeque<(u128, Bytes)>,
    /// How many events there were before those that are kept.
    forgotten: u64,
}

impl Log {
    /// The positions of the newest event, and of the newest that is forgotten.
    fn ends(&self) -> (u64, u64) {
        (self.forgotten + self.kept.len() as u64, self.forgotten)
    }
}
// ANCHOR_END: room

impl Room {
    pub fn new() -> Arc<Self> {
        Arc::new(Self { epoch: rand::random(), ..Self::default() })
    }

    // ANCHOR: publish
    /// Appends an event to the log. Every reader gets it but its sender.
    fn publish(&self, sender: u128, event: SseEvent) {
        let mut log = self.log.write();
        let event = event.id(self.event_id(log.ends().0 + 1));
        log.kept.push_back((sender, event.to_string().into()));
        if log.kept.len() > HISTORY {
            log.kept.pop_front();
            log.forgotten += 1;
        }
        drop(log);
        self.grew.notify_waiters();
    }
    // ANCHOR_END: publish

    // ANCHOR: join
    /// A user comes, or comes back. A stream that the user still has ends: the client
    /// has given it up, even if the server does not know that yet.
    fn join(
        self: &Arc<Self>,
        id: u128,
        last: Option<&str>,
    ) -> Answer<(Reader, AbortRegistration)> {
        let (stream, ended) = AbortHandle::new_pair();
        let mut users = self.users.lock();
        let others = users.len();
        let user = match users.entry(id) {
            Entry::Occupied(user) => user.into_mut(),
            Entry::Vacant(_) if others == MAX_USERS => return Err(full()),
            Entry::Vacant(place) => {
                let number = self.count.fetch_add(1, Relaxed) + 1;
                self.announce("joined", id, number, others);
                place.insert(User { number, stream: None })
            }
        };
        let number = user.number;
        user.stream.replace(stream.clone()).inspect(AbortHandle::abort);
        drop(users);

        let (newest, forgotten) = self.log.read().ends();
        let known = last.map(|id| self.position(id).filter(|at| *at <= newest));
        // Who brings no id begins now. Who brings one of another run gets all there is.
        let position = known.map_or(newest, |known| known.unwrap_or(forgotten));
        let user = event("user", format!("{id:032x}")).id(self.event_id(position));
        let name = event("name", format!("User#{number}"));
        let mut welcome = format!("{}{name}", user.retry(RETRY));
        if known == Some(None) {
            welcome += &event("missed", "unknown").to_string();
        }
        let room = self.clone();
        let welcome = Some(welcome.into());
        Ok((Reader { room, id, stream, welcome, position }, ended))
    }
    // ANCHOR_END: join

    // ANCHOR: leave
    /// Forgets a user, unless this stream is no longer the user's.
    fn leave(&self, id: u128, stream: &AbortHandle) {
        let mut users = self.users.lock();
        if !stream.is_aborted()
            && let Some(user) = users.remove(&id)
        {
            self.announce("left", id, user.number, users.len());
        }
    }

    fn announce(&self, event_type: &str, id: u128, number: u64, others: usize) {
        if others < MAX_ANNOUNCED {
            self.publish(id, event(event_type, format!("User#{number}")));
        }
    }
    // ANCHOR_END: leave

    /// Ends all streams, each with its last chunk.
    fn close(&self) {
        let users = self.users.lock();
        users.values().flat_map(|user| &user.stream).for_each(AbortHandle::abort);
    }

    fn number(&self, id: u128) -> Option<u64> {
        self.users.lock().get(&id).map(|user| user.number)
    }

    // ANCHOR: ids
    fn event_id(&self, position: u64) -> String {
        format!("{:016x}-{position}", self.epoch)
    }

    /// The way back. The id comes from a client, so anything may be in it.
    fn position(&self, event_id: &str) -> Option<u64> {
        let position = event_id.split_once('-')?.1.parse().ok()?;
        (self.event_id(position) == event_id).then_some(position)
    }
    // ANCHOR_END: ids
}

// ANCHOR: reader
/// One stream: a position in the log of the room.
struct Reader {
    room: Arc<Room>,
    id: u128,
    stream: AbortHandle,
    /// What is sent first.
    welcome: Option<Bytes>,
    /// Of the last event that this reader has.
    position: u64,
}

impl Reader {
    /// What to send next: an event, or a comment when there is none for a while.
    async fn next(&mut self) -> Bytes {
        if let Some(welcome) = self.welcome.take() {
            return welcome;
        }
        loop {
            // Asked for before the look: what is published in between wakes it, too.
            let grew = self.room.grew.notified();
            if let Some((bytes, position)) = self.unread() {
                self.position = position;
                return bytes;
            }
            if timeout(HEARTBEAT, grew).await.is_err() {
                return Bytes::from_static(b":\n\n");
            }
        }
    }

    /// The bytes of the first event that this reader has not, and its position.
    fn unread(&self) -> Option<(Bytes, u64)> {
        let log = self.room.log.read();
        let missed = log.forgotten.saturating_sub(self.position);
        if missed > 0 {
            let id = self.room.event_id(log.forgotten);
            let event = event("missed", missed).id(id).to_string();
            return Some((event.into(), log.forgotten));
        }
        let unread = (self.position - log.forgotten) as usize;
        let (sender, event) = log.kept.get(unread)?;
        let position = self.position + 1;
        if *sender == self.id {
            // An id alone is no event. After a reconnect, one's own words are not missed.
            let id = self.room.event_id(position);
            return Some((format!("id: {id}\n\n").into(), position));
        }
        Some((event.clone(), position))
    }
}
// ANCHOR_END: reader

// ANCHOR: guard
impl Drop for Reader {
    /// The client has closed the connection, or a write to it has failed.
    fn drop(&mut self) {
        let (room, id, stream) = (self.room.clone(), self.id, self.stream.clone());

        tokio::spawn(async move {
            sleep(GRACE).await;
            room.leave(id, &stream);
        });
    }
}
// ANCHOR_END: guard
