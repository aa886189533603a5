//! A server that follows a test's script, byte for byte: it stands where a program of the
//! book, or a browser, expects a server of events.
//!
//! ```ignore
//! let server = Server::start().await;
//! let client = Process::start("client", &[&server.url("/events")]);
//! let mut asked = server.asked().await;
//! assert_eq!(asked.header("accept"), Some("text/event-stream"));
//! asked.stream("data: a\n\n").await;
//! ```

use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::wait::{pause, within};

/// The status line and the type of a stream. More header lines, and an empty one, follow.
pub const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n";

/// A server that accepts a connection and answers a request when the test says so.
pub struct Server(TcpListener);

/// A request, and the connection on which it came.
pub struct Asked {
    /// The request line and the header lines, without the empty line behind them.
    pub head: String,
    pub body: Vec<u8>,
    pub socket: TcpStream,
    /// When its connection was accepted. The next request on the same connection has the
    /// time at which its first bytes came.
    pub at: Instant,
}

impl Server {
    /// Listens on a port of its own.
    pub async fn start() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    /// Listens where another server did, as in `http://127.0.0.1:40122`.
    pub async fn start_in_place_of(url: &str) -> Self {
        let addr = url.strip_prefix("http://").expect("a URL");
        let bind = async {
            // Meanwhile, somebody's connection may go out from this port.
            loop {
                match TcpListener::bind(addr).await {
                    Ok(listener) => return listener,
                    Err(_) => pause(Duration::from_millis(20)).await,
                }
            }
        };
        Self(within("a free port", bind).await)
    }

    /// The URL of a path on this server.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.0.local_addr().unwrap())
    }

    /// The first request on the next connection.
    pub async fn asked(&self) -> Asked {
        let accept = within("a connection to the scripted server", self.0.accept());
        let (mut socket, _) = accept.await.unwrap();
        let at = Instant::now();
        socket.set_nodelay(true).unwrap();
        let (head, body) = within("a whole request", read(&mut socket)).await;
        Asked { head, body, socket, at }
    }

    /// Answers the first request on the next connection with these bytes, and closes the
    /// connection.
    pub async fn answer(&self, bytes: impl AsRef<[u8]>) -> Asked {
        let mut asked = self.asked().await;
        asked.write(bytes).await;
        asked.socket.shutdown().await.unwrap();
        asked
    }

    /// Asserts that for this long nobody connects.
    pub async fn stays_alone_for(&self, time: Duration) {
        let accepted = timeout(time, self.0.accept()).await;
        assert!(accepted.is_err(), "somebody has connected");
    }
}

impl Asked {
    /// The value of a header of the request. Its name may have capital letters.
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }

    /// The body of the request, which must be JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("a body of JSON")
    }

    /// Writes these bytes as they are.
    pub async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        let write = self.socket.write_all(bytes.as_ref());
        within("the client reads", write).await.unwrap();
    }

    /// Writes the head of a stream that ends when the connection does, and these bytes of
    /// the stream.
    pub async fn stream(&mut self, bytes: impl AsRef<[u8]>) {
        self.write(format!("{HEAD}\r\n")).await;
        self.write(bytes).await;
    }

    /// The next request on the same connection, which must not be closed.
    pub async fn next(mut self) -> Self {
        within("another request", self.socket.readable()).await.unwrap();
        let at = Instant::now();
        let (head, body) = within("a whole request", read(&mut self.socket)).await;
        Self { head, body, socket: self.socket, at }
    }

    /// Waits until the client has closed the connection, and returns how long that took.
    pub async fn is_left(&mut self) -> Duration {
        let start = Instant::now();
        let end = within("the client leaves", self.socket.read(&mut [0])).await;
        assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
        start.elapsed()
    }
}

/// A whole response that is a stream of these bytes, and ends when the connection does.
pub fn stream(bytes: &str) -> String {
    format!("{HEAD}\r\n{bytes}")
}

/// A whole response that is a stream of these bytes in HTTP chunks of this size.
pub fn chunked(bytes: &[u8], size: usize) -> Vec<u8> {
    let mut response =
        format!("{HEAD}transfer-encoding: chunked\r\n\r\n").into_bytes();
    for chunk in bytes.chunks(size) {
        response.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        response.extend_from_slice(chunk);
        response.extend_from_slice(b"\r\n");
    }
    response.extend_from_slice(b"0\r\n\r\n");
    response
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = head.lines().filter_map(|line| line.split_once(':'));
    let found = lines.find(|(other, _)| other.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.trim())
}

/// Reads a request: its head, and a body of the length that the head gives.
async fn read(socket: &mut TcpStream) -> (String, Vec<u8>) {
    const END: &[u8] = b"\r\n\r\n";
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(END.len()).position(|part| part == END) {
            break end;
        }
        let count = socket.read_buf(&mut bytes).await.unwrap();
        assert!(count > 0, "the client left in the head of its request");
    };
    let mut body = bytes.split_off(end + END.len());
    bytes.truncate(end);
    let head = String::from_utf8(bytes).unwrap();
    let coding = header(&head, "transfer-encoding");
    assert_eq!(coding, None, "the scripted server reads no body in chunks");
    let length = header(&head, "content-length");
    let length = length.map_or(0, |length| length.parse().expect("a length"));
    while body.len() < length {
        let count = socket.read_buf(&mut body).await.unwrap();
        assert!(count > 0, "the client left in the body of its request");
    }
    assert_eq!(body.len(), length, "the client did not wait for its answer");
    (head, body)
}
