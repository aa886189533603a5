//! The readers: raw sockets, so that ten thousand of them cost less than the server.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use memchr::{memchr, memmem};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep, timeout};

/// A connect that takes longer is tried again, as a browser's user would.
const PATIENCE: Duration = Duration::from_secs(5);
/// Connects under way at once: more would overflow the listen backlog (1,024).
const PACE: usize = 256;
/// What the readers look for; the message's number follows.
const MARKER: &[u8] = b"load-message-";

/// Numbered, and about as long as what people say in a chat.
pub fn message(number: usize) -> String {
    format!("load-message-{number} and some more words, as people would say")
}

/// What all readers share.
pub struct Crowd {
    pub addr: SocketAddr,
    pub size: usize,
    pace: Semaphore,
    /// How often a reader has been told who it is.
    pub joined: watch::Sender<usize>,
    /// Connects that failed and were repeated.
    pub repeats: AtomicUsize,
    pub last_failure: watch::Sender<String>,
    /// Deliveries of each message.
    pub heard: Vec<AtomicUsize>,
    /// The last message that all have heard, and when the last of them did.
    pub all_heard: watch::Sender<Option<(usize, Instant)>>,
    storm: watch::Sender<()>,
}

impl Crowd {
    pub fn new(addr: SocketAddr, size: usize, messages: usize) -> Self {
        Self {
            addr,
            size,
            pace: Semaphore::new(PACE.min(size)),
            joined: watch::Sender::new(0),
            repeats: AtomicUsize::new(0),
            last_failure: watch::Sender::default(),
            heard: (0..messages).map(|_| AtomicUsize::new(0)).collect(),
            all_heard: watch::Sender::new(None),
            storm: watch::Sender::new(()),
        }
    }

    /// All readers close and connect again at once.
    pub fn storm(&self) {
        self.pace.add_permits(self.size);
        self.storm.send_replace(());
    }

    /// Joins and listens, again after each storm. Ends only with an error.
    pub async fn reader(&self, number: usize) -> Result<Infallible> {
        let mut scanner = Scanner::default();
        let mut storm = self.storm.subscribe();
        loop {
            let mut stream = self.join(number, &mut scanner).await?;
            self.joined.send_modify(|joined| *joined += 1);
            tokio::select! {
                end = self.listen(number, &mut stream, &mut scanner) => return end,
                _ = storm.changed() => {}
            }
        }
    }

    async fn join(&self, number: usize, scanner: &mut Scanner) -> Result<TcpStream> {
        let _permit = self.pace.acquire().await?;
        loop {
            let why =
                match timeout(PATIENCE, connect(self.addr, number, scanner)).await {
                    Ok(Ok((stream, _))) => return Ok(stream),
                    Ok(Err(error)) => format!("{error:#}"),
                    Err(_) => format!("no `user` event within {PATIENCE:?}"),
                };
            self.repeats.fetch_add(1, Relaxed);
            self.last_failure.send_replace(why);
            sleep(Duration::from_millis(10)).await;
        }
    }

    async fn listen(
        &self,
        number: usize,
        stream: &mut TcpStream,
        scanner: &mut Scanner,
    ) -> Result<Infallible> {
        loop {
            while let Some(heard) = scanner.next() {
                if let Heard::Message(message) = heard {
                    self.heard(message);
                }
            }
            let read = scanner.read(stream).await;
            let read = read.with_context(|| format!("reader {number}"))?;
            ensure!(read > 0, "the server ended the stream of reader {number}");
        }
    }

    fn heard(&self, message: usize) {
        let Some(count) = self.heard.get(message) else { return };
        if count.fetch_add(1, Relaxed) + 1 == self.size {
            self.all_heard.send_replace(Some((message, Instant::now())));
        }
    }
}

/// One connect: returns when the server has said who this reader is.
pub async fn connect(
    addr: SocketAddr,
    number: usize,
    scanner: &mut Scanner,
) -> Result<(TcpStream, String)> {
    let mut stream = TcpStream::connect(addr).await?;
    let last = match scanner.last_id.as_slice() {
        [] => String::new(),
        id => format!("last-event-id: {}\r\n", String::from_utf8_lossy(id)),
    };
    let request = format!(
        "GET /chat?as={number:032x} HTTP/1.1\r\nhost: {addr}\r\n\
         accept: text/event-stream\r\n{last}\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    scanner.restart();
    while scanner.read(&mut stream).await? > 0 {
        while let Some(heard) = scanner.next() {
            match heard {
                Heard::User(user) => return Ok((stream, user)),
                Heard::Refusal(status) => bail!("the server answered {status:?}"),
                Heard::Message(_) => {}
            }
        }
    }
    bail!("the server ended a stream before its `user` event")
}

#[derive(Debug, PartialEq)]
pub enum Heard {
    /// A status line that is not 200.
    Refusal(String),
    User(String),
    Message(usize),
}

/// Cuts an HTTP response into lines and picks those that matter here. Lines of the head
/// and of the chunked encoding are no fields of an event, and so fall through.
/// Whatever is split over two reads waits in the buffer for its line feed.
#[derive(Default)]
pub struct Scanner {
    buf: Vec<u8>,
    /// How much of `buf` has been looked at.
    done: usize,
    in_user: bool,
    data: Vec<u8>,
    /// Of the last event that had one.
    last_id: Vec<u8>,
}

impl Scanner {
    fn restart(&mut self) {
        self.buf.clear();
        self.done = 0;
        self.in_user = false;
        self.data.clear();
    }

    pub async fn read(&mut self, stream: &mut TcpStream) -> std::io::Result<usize> {
        self.buf.drain(..self.done);
        self.done = 0;
        self.buf.reserve(1024);
        stream.read_buf(&mut self.buf).await
    }

    pub fn next(&mut self) -> Option<Heard> {
        while let Some(length) = memchr(b'\n', &self.buf[self.done..]) {
            let line = self.buf[self.done..self.done + length].trim_ascii_end();
            self.done += length + 1;
            if let Some(value) = line.strip_prefix(b"data:") {
                if let Some(number) = number(value) {
                    return Some(Heard::Message(number));
                }
                self.data = value.trim_ascii().to_vec();
            } else if let Some(value) = line.strip_prefix(b"id:") {
                self.last_id.clear();
                self.last_id.extend(value.trim_ascii());
            } else if let Some(value) = line.strip_prefix(b"event:") {
                self.in_user = value.trim_ascii() == b"user";
            } else if line.is_empty() {
                let data = std::mem::take(&mut self.data);
                if std::mem::take(&mut self.in_user) {
                    return Some(Heard::User(String::from_utf8_lossy(&data).into()));
                }
            } else if line.starts_with(b"HTTP/1.1 ")
                && !line.starts_with(b"HTTP/1.1 200")
            {
                return Some(Heard::Refusal(String::from_utf8_lossy(line).into()));
            }
        }
        None
    }
}

/// The number of the message in this line, if it has the marker.
fn number(line: &[u8]) -> Option<usize> {
    let digits = &line[memmem::find(line, MARKER)? + MARKER.len()..];
    let end = digits
        .iter()
        .position(|byte| !byte.is_ascii_digit())
        .unwrap_or(digits.len());
    std::str::from_utf8(&digits[..end]).ok()?.parse().ok()
}

/// Says something in the room, over one connection that is kept.
pub struct Poster {
    user: String,
    addr: SocketAddr,
    stream: BufReader<TcpStream>,
}

impl Poster {
    /// Also returns the stream of its own, which somebody has to read.
    pub async fn join(addr: SocketAddr, number: usize) -> Result<(Self, TcpStream)> {
        let mut scanner = Scanner::default();
        let connected = connect(addr, number, &mut scanner);
        let (events, user) = timeout(PATIENCE, connected).await??;
        let stream = TcpStream::connect(addr).await?;
        stream.set_nodelay(true)?;
        Ok((Self { user, addr, stream: BufReader::new(stream) }, events))
    }

    pub async fn post(&mut self, text: &str) -> Result<()> {
        let request = format!(
            "POST /chat/{} HTTP/1.1\r\nhost: {}\r\ncontent-type: text/plain\r\n\
             content-length: {}\r\n\r\n{text}",
            self.user,
            self.addr,
            text.len()
        );
        self.stream.write_all(request.as_bytes()).await?;
        let (mut status, mut length) = (String::new(), 0);
        self.stream.read_line(&mut status).await?;
        loop {
            let mut line = String::new();
            ensure!(
                self.stream.read_line(&mut line).await? > 0,
                "no answer to POST"
            );
            match line.split_once(':') {
                Some((name, value))
                    if name.eq_ignore_ascii_case("content-length") =>
                {
                    length = value.trim().parse()?;
                }
                Some(_) => {}
                None => break,
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).await?;
        ensure!(
            status.starts_with("HTTP/1.1 20"),
            "POST /chat/{}: {} {}",
            self.user,
            status.trim(),
            String::from_utf8_lossy(&body)
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the scanner hears when the response arrives in two parts.
    fn scan(first: &[u8], second: &[u8]) -> (Vec<Heard>, Vec<u8>) {
        let mut scanner = Scanner::default();
        let mut all = Vec::new();
        for part in [first, second] {
            scanner.buf.drain(..scanner.done);
            scanner.done = 0;
            scanner.buf.extend(part);
            while let Some(heard) = scanner.next() {
                all.push(heard);
            }
        }
        (all, scanner.last_id)
    }

    #[test]
    fn nothing_is_lost_or_doubled_wherever_a_response_is_split() {
        let response =
            b"HTTP/1.1 200 OK\r\ndate: today\r\ntransfer-encoding: chunked\r\n\r\n\
            2c\r\nretry: 1000\ndata: 7f\nid: a-1\nevent: user\n\n\r\n\
            3\r\n:\n\n\r\n\
            20\r\nevent: joined\ndata: 9\n\n\r\n\
            25\r\nid:a-2\ndata: <User#9>: load-message-12 and\n\n\r\n\
            25\r\ndata:<User#9>: load-message-3\nid: a-3\n\n\r\n";
        for split in 0..=response.len() {
            let (heard, last_id) = scan(&response[..split], &response[split..]);
            let user = Heard::User("7f".into());
            assert_eq!(
                heard,
                [user, Heard::Message(12), Heard::Message(3)],
                "split at {split}"
            );
            assert_eq!(last_id, b"a-3");
        }
    }

    #[test]
    fn a_number_ends_where_its_digits_end() {
        assert_eq!(number(message(120).as_bytes()), Some(120));
        assert_eq!(number(b" load-message-7"), Some(7));
        assert_eq!(number(b" load-message-"), None);
        assert_eq!(number(b" load-messag"), None);
    }

    #[test]
    fn another_status_than_200_is_a_refusal() {
        let (heard, _) = scan(b"HTTP/1.1 503 Service Unavailable\r\n\r\n", b"");
        assert_eq!(
            heard,
            [Heard::Refusal("HTTP/1.1 503 Service Unavailable".into())]
        );
    }

    #[test]
    fn an_event_of_another_type_is_not_the_user() {
        let (heard, _) = scan(b"event: users\ndata: 5\n\ndata: 6\n\n", b"");
        assert_eq!(heard, []);
    }
}
