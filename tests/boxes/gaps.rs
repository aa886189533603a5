//! The tools of `silence.rs`, `leaving.rs`, `unread.rs` and `reload.rs`: a server that knows
//! when a reader has left, the boxes before it, and a reader that looks at bytes.

use std::io::{Error, ErrorKind, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::stream;
use salvo::prelude::*;
use serde_json::Value;
use tests::{Middlebox, pause, serve, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::spawn;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::record;

/// Between two events of the stream `busy`.
pub const DISTANCE: Duration = Duration::from_millis(50);
/// The heartbeat of the stream `heartbeat`.
pub const COMMENT: &str = ":\n";
/// No more than this does the server write for a reader that reads nothing.
pub const CAP: usize = 64 << 20;
/// An event of the stream `large`.
const PIECE: usize = 16 << 10;

/// A server of streams, in the test's own process.
pub struct Server {
    pub url: String,
    left: mpsc::Receiver<Instant>,
    written: Arc<AtomicUsize>,
}

impl Server {
    pub async fn start() -> Self {
        let (drops, left) = mpsc::channel(64);
        let written = Arc::new(AtomicUsize::new(0));
        let streams = Streams { drops, written: written.clone() };
        let router = Router::new()
            .push(Router::with_path("page").get(page))
            .push(Router::with_path("{kind}").get(streams));
        Self { url: serve(router).await, left, written }
    }

    /// When Salvo drops the next stream, for which nothing but the end of its connection is a
    /// reason. `None` where that does not happen within this time.
    pub async fn dropped(&mut self, at_most: Duration) -> Option<Instant> {
        let left = timeout(at_most, self.left.recv()).await.ok()?;
        Some(left.expect("the server runs"))
    }

    /// How many bytes of events it has written.
    pub fn written(&self) -> usize {
        self.written.load(Ordering::Relaxed)
    }
}

/// A page of the same origin, for scripts of a test.
#[handler]
async fn page() -> Text<&'static str> {
    Text::Html("<!doctype html>")
}

struct Streams {
    drops: mpsc::Sender<Instant>,
    written: Arc<AtomicUsize>,
}

/// A value that a stream owns, so that it is dropped with it.
struct Guard(mpsc::Sender<Instant>);

impl Drop for Guard {
    fn drop(&mut self) {
        // Full, or nobody asks any more: not this stream's test.
        let _ = self.0.try_send(Instant::now());
    }
}

#[handler]
impl Streams {
    async fn handle(&self, req: &mut Request, res: &mut Response) {
        let kind = req.param::<String>("kind").expect("in the path");
        let every = req.query("every").map_or(DISTANCE, Duration::from_millis);
        let count = req.query("count").unwrap_or(usize::MAX);
        let guard = Guard(self.drops.clone());
        let written = self.written.clone();
        let headers = [
            ("content-type", "text/event-stream"),
            ("cache-control", "no-cache"),
            ("x-accel-buffering", "no"),
        ];
        let with_header = req.query("header").unwrap_or(false);
        for (name, value) in &headers[..if with_header { 3 } else { 2 }] {
            res.add_header(*name, *value, true).unwrap();
        }
        res.stream(stream::unfold(0, move |n| {
            let _owned = &guard;
            let written = written.clone();
            let kind = kind.clone();
            async move {
                let piece = piece(&kind, n, every, count).await?;
                let bytes = piece.as_ref().map_or(0, Bytes::len);
                written.fetch_add(bytes, Ordering::Relaxed);
                Some((piece, n + 1))
            }
        }));
    }
}

/// The next piece of a stream: an event at once, and then what its kind says.
async fn piece(
    kind: &str,
    n: usize,
    every: Duration,
    count: usize,
) -> Option<Result<Bytes>> {
    if n == count {
        return None;
    }
    let event = Ok(format!("data: {n}\n\n").into());
    match kind {
        "large" if n < CAP / PIECE => {
            return Some(Ok(format!("data: {}\n\n", "x".repeat(PIECE - 8)).into()));
        }
        _ if n == 0 => {}
        "busy" => pause(every).await,
        "heartbeat" => {
            pause(every).await;
            return Some(Ok(COMMENT.into()));
        }
        "cut" => {
            pause(every).await;
            return Some(Err(Error::other("the server breaks off")));
        }
        _ => std::future::pending().await,
    }
    Some(event)
}

/// A box with a configuration of its folder, and perhaps a line in it.
#[derive(Clone, Copy)]
pub struct Case {
    pub name: &'static str,
    pub configuration: &'static str,
    /// A place in the configuration, and the line that is added behind it.
    pub added: Option<(&'static str, &'static str)>,
}

impl Case {
    /// No box, and this run's boxes with both configurations, and these cases of them.
    pub fn all(more: &[Case]) -> Vec<Case> {
        let mut cases =
            vec![Case { name: "none", configuration: "default", added: None }];
        for &name in record::boxes() {
            let case = |configuration| Case { name, configuration, added: None };
            cases.push(case("default"));
            cases.extend(more.iter().filter(|case| case.name == name));
            cases.push(case("right"));
        }
        cases
    }

    /// As in `right + option abortonclose`.
    pub fn title(&self) -> String {
        match self.added {
            Some((_, line)) => format!("{} + {line}", self.configuration),
            None => self.configuration.to_string(),
        }
    }

    /// The box before this server, and the URL to ask: the server's own without a box.
    pub async fn start(&self, server: &Server) -> (Option<Middlebox>, String) {
        self.start_changed(server, |text| text).await
    }

    pub async fn start_changed(
        &self,
        server: &Server,
        change: impl FnOnce(String) -> String,
    ) -> (Option<Middlebox>, String) {
        if self.name == "none" {
            return (None, server.url.clone());
        }
        let change = |text: String| match self.added {
            Some((place, line)) => change(put(text, place, line)),
            None => change(text),
        };
        let Self { name, configuration, .. } = self;
        let middlebox =
            Middlebox::start_changed(name, configuration, &server.url, change);
        let middlebox = middlebox.await;
        let url = middlebox.url.clone();
        (Some(middlebox), url)
    }
}

/// A configuration with a line behind a place in it.
pub fn put(text: String, place: &str, line: &str) -> String {
    replaced(text, place, &format!("{place}\n{line}"))
}

/// A configuration with a part in place of another one.
pub fn replaced(text: String, old: &str, new: &str) -> String {
    assert!(text.contains(old), "no {old:?} in {text}");
    text.replace(old, new)
}

/// Measures cases beside each other, and returns their rows in order.
pub async fn rows<T, F>(
    cases: impl IntoIterator<Item = T>,
    row: impl Fn(T) -> F,
) -> Vec<Value>
where
    F: Future<Output = Value> + Send + 'static,
{
    let rows: Vec<_> = cases.into_iter().map(|case| spawn(row(case))).collect();
    join_all(rows).await.into_iter().map(|row| row.unwrap()).collect()
}

/// How a reader over HTTP/1.1 sees a body end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// By a last chunk, by its length, or because nothing had announced another end.
    Whole,
    /// The connection was closed in the middle of it.
    Cut,
}

impl End {
    pub fn word(self) -> &'static str {
        match self {
            Self::Whole => "end",
            Self::Cut => "cut",
        }
    }
}

/// A reader over HTTP/1.1 that looks at the bytes.
pub struct Reader {
    socket: TcpStream,
    wire: Vec<u8>,
}

impl Reader {
    /// Asks for a stream, and reads nothing yet.
    pub async fn ask(url: &str, path: &str) -> Self {
        let addr = url.strip_prefix("http://").unwrap();
        let mut socket = TcpStream::connect(addr).await.unwrap();
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: {addr}\r\nAccept: text/event-stream\r\n\r\n"
        );
        socket.write_all(head.as_bytes()).await.unwrap();
        Self { socket, wire: Vec::new() }
    }

    /// Reads the end, or `None` where more may come.
    pub async fn read(&mut self) -> Option<End> {
        match self.socket.read_buf(&mut self.wire).await {
            Ok(0) if self.head().contains("\r\ntransfer-encoding: chunked") => {
                Some(End::Cut)
            }
            Ok(0) if self.wire.is_empty() => Some(End::Cut),
            Ok(0) => Some(End::Whole),
            Ok(_) => self.wire.ends_with(b"\r\n0\r\n\r\n").then_some(End::Whole),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                Some(End::Cut)
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn head(&self) -> String {
        let head = self.wire.split_inclusive(|&byte| byte == b'\n');
        let head: Vec<u8> =
            head.take_while(|line| line != b"\r\n").flatten().copied().collect();
        String::from_utf8(head).unwrap().to_lowercase()
    }

    /// Reads to the end, if that comes within this time.
    pub async fn end(&mut self, at_most: Duration) -> Option<End> {
        let end = async {
            loop {
                if let Some(end) = self.read().await {
                    return end;
                }
            }
        };
        timeout(at_most, end).await.ok()
    }

    /// Reads until this event has come, and says whether it came before the end.
    pub async fn event(&mut self, data: usize) -> bool {
        within("an event", async {
            while self.events().last() != Some(&data) {
                if self.read().await.is_some() {
                    return self.events().last() == Some(&data);
                }
            }
            true
        })
        .await
    }

    /// The data of all events that have come.
    pub fn events(&self) -> Vec<usize> {
        let text = String::from_utf8_lossy(&self.wire).into_owned();
        let data =
            text.split("data: ").skip(1).filter_map(|rest| rest.split_once("\n\n"));
        data.map(|(data, _)| data.parse().expect("a number")).collect()
    }
}
