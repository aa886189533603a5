//! A server whose streams say no more than their type, and what its reader sees of them
//! through a proxy.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use futures_util::stream::{self, FuturesUnordered, Stream, StreamExt};
use reqwest::{Client, RequestBuilder, Response};
use salvo::prelude::{Request, Router, handler};
use tests::{Events, Middlebox, pause, serve};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::timeout;

/// An event that comes later than this does not come at once; a pause of HAProxy has 200 ms.
const AT_ONCE: Duration = Duration::from_millis(100);
/// An event that has not come until now does not come, and a server that has not been told
/// is not told.
const LATE: Duration = Duration::from_secs(2);
/// How long a head and a first event may take on a busy machine.
const BEGIN: Duration = Duration::from_secs(6);
/// Bytes that a proxy took for a reader that reads nothing: more than the kernels' buffers
/// of two connections.
const MANY: usize = 40 << 20;
/// Readers at once: more than any of the proxies takes by default.
const CROWD: usize = 1_100;

/// The server, whose streams have a first event, and the next ones when the test says so.
pub struct Server {
    pub url: String,
    streams: Arc<Streams>,
}

#[derive(Default)]
struct Streams {
    begun: AtomicUsize,
    left: AtomicUsize,
    written: AtomicUsize,
    next: Notify,
}

/// Tells that a reader has left.
struct Leaving(Arc<Streams>);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.left.fetch_add(1, SeqCst);
    }
}

struct Steps(Arc<Streams>);
struct Flood(Arc<Streams>);
struct Broken(Arc<Streams>);
struct Head;

fn send<S>(res: &mut salvo::Response, events: S)
where
    S: Stream<Item = Result<String, io::Error>> + Send + 'static,
{
    res.add_header("content-type", "text/event-stream", true).unwrap();
    res.stream(events);
}

#[handler]
impl Steps {
    async fn handle(&self, res: &mut salvo::Response) {
        let number = self.0.begun.fetch_add(1, SeqCst) + 1;
        let leaving = Leaving(Arc::clone(&self.0));
        let steps =
            stream::unfold((leaving, true), move |(leaving, is_first)| async move {
                if !is_first {
                    leaving.0.next.notified().await;
                }
                Some((Ok(format!("data: {number}\n\n")), (leaving, false)))
            });
        send(res, steps);
    }
}

#[handler]
impl Flood {
    async fn handle(&self, res: &mut salvo::Response) {
        let event = format!("data: {}\n\n", "x".repeat(16 << 10));
        let streams = Arc::clone(&self.0);
        let flood = stream::repeat_with(move || {
            streams.written.fetch_add(event.len(), SeqCst);
            Ok(event.clone())
        });
        send(res, flood);
    }
}

/// A stream that breaks off after its first event, as when the program is killed.
#[handler]
impl Broken {
    async fn handle(&self, res: &mut salvo::Response) {
        let streams = Arc::clone(&self.0);
        let first = stream::once(async { Ok("data: 1\n\n".to_string()) });
        let rest = stream::once(async move {
            streams.next.notified().await;
            Err(io::Error::other("killed"))
        });
        send(res, first.chain(rest));
    }
}

#[handler]
impl Head {
    async fn handle(&self, req: &Request) -> String {
        let of = |name| req.header::<String>(name).unwrap_or_default();
        format!("{:?} {} {}", req.version(), of("host"), of("x-forwarded-for"))
    }
}

/// The address that a connection comes from: each has its own.
#[handler]
async fn connection(req: &Request) -> String {
    req.remote_addr().to_string()
}

impl Server {
    pub async fn start() -> Self {
        let streams = Arc::new(Streams::default());
        let router = Router::new()
            .push(Router::with_path("steps").get(Steps(Arc::clone(&streams))))
            .push(Router::with_path("flood").get(Flood(Arc::clone(&streams))))
            .push(Router::with_path("broken").get(Broken(Arc::clone(&streams))))
            .push(Router::with_path("connection").get(connection))
            .push(Router::with_path("head").get(Head));
        Self { url: serve(router).await, streams }
    }
}

/// All looks, the quick ones first.
pub const LOOKS: [&str; 10] = [
    "at once", "by fetch", "head", "broken", "leaving", "shared", "unread",
    "silence", "reload", "crowd",
];

/// Looks through a proxy that stands before this server.
pub async fn look(at: &str, middlebox: &Middlebox, server: &Server) -> String {
    let url = &middlebox.url;
    match at {
        "at once" => is_at_once(|| steps(url), server).await.to_string(),
        // One who does not say that it wants events.
        "by fetch" => {
            let ask = || Client::new().get(format!("{url}/steps"));
            is_at_once(ask, server).await.to_string()
        }
        "head" => head(url).await,
        "broken" => {
            let reader = first_event(get(url, "broken")).await;
            server.streams.next.notify_one();
            end_of(reader, 4).await
        }
        "leaving" => leaving_is_told(url, server).await.to_string(),
        "shared" => is_shared(url, server).await.to_string(),
        "unread" => takes_much(url, server).await.to_string(),
        "silence" => end_of(first_event(steps(url)).await, 5).await,
        "reload" => {
            let Some(mut old) = first_event(steps(url)).await else {
                return "no stream".into();
            };
            middlebox.reload();
            // While the old stream goes on: it does for another four seconds, or forever.
            let others =
                timeout(Duration::from_secs(3), first_event(steps(url))).await;
            let others = others.is_ok_and(|other| other.is_some());
            let mut end = ended(&mut old, 3).await;
            if end == "goes on" {
                // A signal may have come while the proxy was still starting.
                middlebox.reload();
                end = ended(&mut old, 5).await;
            }
            format!("{end}, others {}", if others { "come" } else { "wait" })
        }
        "crowd" => crowd(url).await,
        _ => unreachable!("{at}"),
    }
}

fn get(url: &str, path: &str) -> RequestBuilder {
    Client::new().get(format!("{url}/{path}")).header("accept", "text/event-stream")
}

fn steps(url: &str) -> RequestBuilder {
    get(url, "steps")
}

async fn answer(request: RequestBuilder) -> Option<Response> {
    timeout(BEGIN, request.send()).await.ok()?.ok()
}

/// A stream of which the first event has come, if it came.
async fn first_event(request: RequestBuilder) -> Option<Events> {
    let mut events = Events::of(answer(request).await?);
    timeout(BEGIN, events.next()).await.ok()??;
    Some(events)
}

/// Whether events pass when they happen: each is written when the one before has come. On a
/// busy machine one look may come late.
async fn is_at_once(ask: impl Fn() -> RequestBuilder, server: &Server) -> bool {
    for _ in 0..3 {
        let Some(mut events) = first_event(ask()).await else { continue };
        let mut late = 0;
        for _ in 0..5 {
            let start = Instant::now();
            server.streams.next.notify_waiters();
            let came = timeout(LATE, events.next()).await.is_ok();
            late += u32::from(!came || start.elapsed() > AT_ONCE);
        }
        if late < 3 {
            return true;
        }
    }
    false
}

/// The head of a request as the server gets it, after one of a client that names itself.
async fn head(url: &str) -> String {
    let request =
        Client::new().get(format!("{url}/head")).header("host", "book.example");
    let Some(answer) = answer(request).await else { return "no answer".into() };
    answer.text().await.unwrap()
}

/// Whether the server learns at once that the reader of a silent stream has left.
async fn leaving_is_told(url: &str, server: &Server) -> bool {
    let Some(events) = first_event(steps(url)).await else { return false };
    let before = server.streams.left.load(SeqCst);
    drop(events);
    let start = Instant::now();
    while start.elapsed() < LATE {
        if server.streams.left.load(SeqCst) > before {
            return true;
        }
        pause(Duration::from_millis(20)).await;
    }
    false
}

/// Whether a second reader, who does not say that it wants events, gets the stream of the
/// first one.
async fn is_shared(url: &str, server: &Server) -> bool {
    let ask = || Client::new().get(format!("{url}/steps"));
    let before = server.streams.begun.load(SeqCst);
    let first = first_event(ask()).await;
    let second = first_event(ask()).await;
    let begun = server.streams.begun.load(SeqCst) - before;
    first.is_some() && second.is_some() && begun == 1
}

/// Whether the proxy goes on to take a stream whose reader reads nothing.
async fn takes_much(url: &str, server: &Server) -> bool {
    let mut reader =
        TcpStream::connect(url.strip_prefix("http://").unwrap()).await.unwrap();
    let request =
        "GET /flood HTTP/1.1\r\nhost: test\r\naccept: text/event-stream\r\n\r\n";
    reader.write_all(request.as_bytes()).await.unwrap();
    let mut before = 0;
    loop {
        pause(Duration::from_millis(500)).await;
        let written = server.streams.written.load(SeqCst);
        if written > MANY || written == before {
            return written > MANY;
        }
        before = written;
    }
}

/// Whether a stream on which nothing happens ends within so many seconds, and how.
async fn end_of(events: Option<Events>, seconds: u64) -> String {
    let Some(mut events) = events else { return "no stream".into() };
    ended(&mut events, seconds).await
}

async fn ended(events: &mut Events, seconds: u64) -> String {
    let end = timeout(Duration::from_secs(seconds), events.end()).await;
    end.map_or("goes on", |is_clean| if is_clean { "ends" } else { "is cut" }).into()
}

/// Whether a crowd of readers has a stream each, as long as there is always one who gets it.
async fn crowd(url: &str) -> String {
    let client = Client::new();
    let come = (0..CROWD).map(async |_| {
        let request = client.get(format!("{url}/steps"));
        request.header("accept", "text/event-stream").send().await
    });
    let mut come: FuturesUnordered<_> = come.collect();
    let mut there = Vec::new();
    while let Ok(Some(answer)) = timeout(BEGIN, come.next()).await {
        there.extend(answer.ok().filter(|answer| answer.status().is_success()));
    }
    if there.len() == CROWD { "all".into() } else { "not all".into() }
}
