//! Server-Sent Events with the standard library alone: an HTTP response that never ends.
//!
//!     cargo run --example hello
//!     curl -N http://127.0.0.1:8698/
//!
//! An event arrives every second until you press Ctrl-C. Chapter 1 of the book explains
//! it. Left out: a page, most of HTTP, and a clean stop.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::{env, process::ExitCode, thread, time::Duration};

// ANCHOR: bounds
/// Readers at once. Each has a thread: when all are taken, the next reader waits until
/// somebody leaves.
const MAX_READERS: usize = 32;
/// Bytes of the head of a request: a longer one gets no answer.
const MAX_HEAD: u64 = 8 * 1024;
/// How long a reader may send nothing, or take nothing, before its thread is free again.
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

fn serve(addr: &str) -> io::Result<()> {
    let listener = TcpListener::bind(addr)?;
    println!("listening on http://{}", listener.local_addr()?);
    let work = || {
        loop {
            let answered = listener.accept().and_then(|(stream, _)| answer(stream));
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
// ANCHOR_END: main

// ANCHOR: answer
fn answer(mut stream: TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut head = Vec::new();
    let mut request = BufReader::new(&stream).take(MAX_HEAD);
    while !head.ends_with(b"\r\n\r\n") {
        if request.read_until(b'\n', &mut head)? == 0 {
            return Err(io::Error::other("the request is cut off or too long"));
        }
    }
    if !head.starts_with(b"GET ") {
        return stream.write_all(NOT_ALLOWED.as_bytes());
    }
    if !head.starts_with(b"GET / ") {
        return stream.write_all(NOT_FOUND.as_bytes());
    }
    stream.write_all(STREAM.as_bytes())?;
    for n in 1_u64.. {
        stream.write_all(format!("data: hello {n}\n\n").as_bytes())?;
        thread::sleep(Duration::from_secs(1));
    }
    Ok(())
}
// ANCHOR_END: answer

// ANCHOR: heads
const STREAM: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
    Cache-Control: no-cache\r\nX-Accel-Buffering: no\r\nConnection: close\r\n\r\n";
// ANCHOR_END: heads
const NOT_FOUND: &str = "HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\n\
    Connection: close\r\n\r\nthe only stream is at /\n";
const NOT_ALLOWED: &str = "HTTP/1.1 405 Method Not Allowed\r\nAllow: GET\r\n\
    Content-Type: text/plain\r\nConnection: close\r\n\r\nonly GET is answered here\n";
