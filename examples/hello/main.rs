//! Server-Sent Events with the standard library alone: an HTTP response that never ends.
//!
//!     cargo run --example hello
//!     curl -N http://127.0.0.1:8698/
//!
//! An event arrives every second until you press Ctrl-C. Chapter 1 of the book explains
//! it. Left out: a page, most of HTTP, and a clean stop.

// ANCHOR: uses
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::{Duration, Instant};
use std::{env, process::ExitCode, thread};
// ANCHOR_END: uses

// ANCHOR: bounds
/// Readers at once. Each has a thread: when all are taken, the next reader waits until
/// somebody leaves.
const MAX_READERS: usize = 32;
/// Bytes of the head of a request: a longer one gets no answer.
const MAX_HEAD: u64 = 8 * 1024;
/// How long a whole request may take, and how long a write may wait, before the thread is
/// free again.
const PATIENCE: Duration = Duration::from_secs(10);
// ANCHOR_END: bounds

// ANCHOR: main
fn main() -> ExitCode {
    let addr = env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:8698".into());
    if let Err(error) = serve(&addr) {
        eprintln!("cannot listen on {addr}: {error}; try ADDR=127.0.0.1:0");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
// ANCHOR_END: main

// ANCHOR: serve
fn serve(addr: &str) -> io::Result<()> {
    let listener = TcpListener::bind(addr)?;
    println!("listening on http://{}", listener.local_addr()?);
    let work = || {
        loop {
            let answered = listener.accept().and_then(|(stream, _)| answer(&stream));
            if let Err(error) = answered {
                eprintln!("a reader left: {error}");
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..MAX_READERS {
            scope.spawn(work);
        }
    });
    Ok(())
}
// ANCHOR_END: serve

// ANCHOR: read
fn answer(mut stream: &TcpStream) -> io::Result<()> {
    stream.set_write_timeout(Some(PATIENCE))?;
    let until = Instant::now() + PATIENCE;
    let mut request = BufReader::new(Request { stream, until }).take(MAX_HEAD);
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if request.read_until(b'\n', &mut head)? == 0 {
            return Err(io::Error::other("the request is cut off or too long"));
        }
    }
    // ANCHOR_END: read
    // ANCHOR: choice
    let head = String::from_utf8_lossy(&head);
    let (line, fields) = head.split_once("\r\n").unwrap_or_default();
    let (answer, body) = match line.split(' ').collect::<Vec<_>>()[..] {
        [_, _, "HTTP/1.1"] if !has_host(fields) => NO_HOST,
        ["GET", "/", _] => return send_events(stream),
        ["HEAD", "/", _] => (STREAM, ""),
        ["GET" | "HEAD", ..] => NOT_FOUND,
        _ => NOT_ALLOWED,
    };
    stream.write_all(answer.as_bytes())?;
    if !line.starts_with("HEAD ") {
        stream.write_all(body.as_bytes())?;
    }
    // ANCHOR_END: choice
    // ANCHOR: drain
    // To close a connection with bytes unread is to reset it, and the answer may be lost:
    // so say that this was all, and read on until the client has left, or time is over.
    stream.shutdown(Shutdown::Write)?;
    io::copy(&mut request.into_inner(), &mut io::sink())?;
    Ok(())
}
// ANCHOR_END: drain

fn has_host(fields: &str) -> bool {
    let mut names = fields.lines().filter_map(|line| line.split_once(':'));
    names.any(|(name, _)| name.eq_ignore_ascii_case("host"))
}

// ANCHOR: events
fn send_events(mut stream: &TcpStream) -> io::Result<()> {
    stream.write_all(STREAM.as_bytes())?;
    for n in 1_u64.. {
        stream.write_all(format!("data: hello {n}\n\n").as_bytes())?;
        thread::sleep(Duration::from_secs(1));
    }
    Ok(())
}
// ANCHOR_END: events

// ANCHOR: request
/// A request that must be there, all of it, before a certain time.
struct Request<'a> {
    stream: &'a TcpStream,
    until: Instant,
}

impl Read for Request<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::Error::other("the request took too long"));
        }
        self.stream.set_read_timeout(Some(left))?;
        self.stream.read(bytes)
    }
}
// ANCHOR_END: request

// ANCHOR: heads
const STREAM: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
    Cache-Control: no-cache\r\nX-Accel-Buffering: no\r\nConnection: close\r\n\r\n";
// ANCHOR_END: heads
/// The head of an answer, and its body.
type Answer = (&'static str, &'static str);
const NO_HOST: Answer = (
    "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n",
    "a request of HTTP/1.1 has a Host\n",
);
const NOT_FOUND: Answer = (
    "HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n",
    "the only stream is at /\n",
);
const NOT_ALLOWED: Answer = (
    "HTTP/1.1 405 Method Not Allowed\r\nAllow: GET, HEAD\r\n\
     Content-Type: text/plain\r\nConnection: close\r\n\r\n",
    "only GET and HEAD are answered here\n",
);
