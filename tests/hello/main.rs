//! `hello.md`: the bytes that `hello` sends, its bounds, and when it notices that nobody
//! listens.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tests::{Preload, Process, Program, pause, root, until, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{interval, timeout};

/// `MAX_READERS` of the program.
const PLACES: usize = 32;
/// A request for the stream.
const GET: &str = "GET / HTTP/1.1\r\nHost: hello\r\n\r\n";

/// Connects, and sends these bytes.
async fn connect(hello: &Program, request: &str) -> TcpStream {
    let address = hello.url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

/// Reads until the text contains this.
async fn read_to(stream: &mut TcpStream, end: &str) -> String {
    let mut text = Vec::new();
    while !String::from_utf8_lossy(&text).contains(end) {
        text.push(within(end, stream.read_u8()).await.unwrap());
    }
    String::from_utf8(text).unwrap()
}

/// Goes on to send a byte now and then, until the connection is closed.
async fn drip(mut stream: TcpStream) {
    let mut beat = interval(Duration::from_millis(500));
    while stream.write_all(b"x").await.is_ok() {
        beat.tick().await;
    }
}

#[tokio::test]
async fn the_bytes_are_those_of_the_transcript() {
    let hello = Program::start("hello").await;
    hello.assert_transcript("hello", "/", 5).await;
}

#[tokio::test]
async fn the_head_names_a_stream_and_no_length() {
    let hello = Program::start("hello").await;
    let mut reader = connect(&hello, GET).await;
    let head = read_to(&mut reader, "\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("\r\nContent-Type: text/event-stream\r\n"), "{head}");
    assert!(head.contains("\r\nCache-Control: no-cache\r\n"), "{head}");
    assert!(head.contains("\r\nX-Accel-Buffering: no\r\n"), "{head}");
    assert!(!head.contains("Content-Length"), "{head}");
    assert!(!head.contains("Transfer-Encoding"), "{head}");
}

#[tokio::test]
async fn events_arrive_one_by_one() {
    let hello = Program::start("hello").await;
    hello.assert_one_a_second("/").await;
}

#[tokio::test]
async fn two_readers_count_apart() {
    let hello = Program::start("hello").await;
    let mut ann = hello.events("/").await;
    assert_eq!(ann.data().await, "hello 1");
    assert_eq!(ann.data().await, "hello 2");
    let mut bob = hello.events("/").await;
    assert_eq!(bob.data().await, "hello 1");
    assert_eq!(ann.data().await, "hello 3");
    assert_eq!(bob.data().await, "hello 2");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_reader_that_left_is_noticed_by_writing() {
    let hello = Program::start("hello").await;
    let before = hello.sockets();
    let mut reader = connect(&hello, GET).await;
    read_to(&mut reader, "data: hello 1\n\n").await;
    assert_eq!(hello.sockets(), before + 1);
    drop(reader);
    // The server sleeps until its next write: it has noticed nothing.
    assert_eq!(hello.sockets(), before + 1);
    assert_eq!(hello.stderr(), "");

    until("the socket is closed", async || hello.sockets() == before).await;
    until("a word on stderr", async || hello.stderr().ends_with('\n')).await;
    let file = root().join("examples/hello/recorded/left.txt");
    assert_eq!(hello.stderr(), std::fs::read_to_string(file).unwrap());

    // The first write is one second after the last event, the second one two, the third one
    // three. On a busy machine a look between them may come too late, so there are several.
    until(
        "a reader that is there after the first write and not after the second",
        async || {
            let mut reader = connect(&hello, GET).await;
            read_to(&mut reader, "data: hello 1\n\n").await;
            drop(reader);
            let left = Instant::now();
            pause(Duration::from_millis(1400)).await;
            let still_there = hello.sockets() == before + 1;
            until("the socket is closed", async || hello.sockets() == before).await;
            still_there && left.elapsed() < Duration::from_millis(2700)
        },
    )
    .await;
}

/// In `tick`, the same `curl` ends with 18: see `tests/tick/chunks.rs`.
#[tokio::test]
async fn without_chunks_a_cut_looks_like_an_end() {
    let mut hello = Program::start("hello").await;
    let mut curl = Command::new("curl");
    curl.args(["-sN", &hello.url]).stdout(Stdio::piped());
    let mut curl = Process::spawn(curl);
    assert_eq!(curl.line().await, "data: hello 1");
    hello.stop();
    assert_eq!(curl.ended().await.code, Some(0));
}

#[tokio::test]
async fn the_33rd_reader_waits_until_somebody_leaves() {
    let hello = Program::start("hello").await;
    let mut readers = Vec::new();
    for _ in 0..PLACES {
        let mut reader = hello.events("/").await;
        assert_eq!(reader.data().await, "hello 1");
        readers.push(reader);
    }
    let mut late = connect(&hello, GET).await;
    let waiting = tokio::time::timeout(Duration::from_secs(2), late.read_u8()).await;
    assert!(waiting.is_err(), "the last reader was served: {waiting:?}");
    readers.pop();
    read_to(&mut late, "data: hello 1\n\n").await;
}

#[tokio::test]
async fn a_404_waits_for_a_thread_as_well() {
    let hello = Program::start("hello").await;
    let mut readers = Vec::new();
    for _ in 0..PLACES {
        let mut reader = hello.events("/").await;
        assert_eq!(reader.data().await, "hello 1");
        readers.push(reader);
    }
    let mut late =
        connect(&hello, "GET /nope HTTP/1.1\r\nHost: hello\r\n\r\n").await;
    let waiting = timeout(Duration::from_secs(2), late.read_u8()).await;
    assert!(waiting.is_err(), "there was a thread for it: {waiting:?}");
    readers.pop();
    read_to(&mut late, "the only stream is at /\n").await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_reader_that_left_something_unread_is_noticed_at_the_first_write() {
    let hello = Program::start("hello").await;
    let before = hello.sockets();
    // The first write is one second after the first event, the second one two.
    until("a reader that is gone after the first write", async || {
        let reader = connect(&hello, GET).await;
        within("the first event", reader.readable()).await.unwrap();
        drop(reader);
        let left = Instant::now();
        until("the socket is closed", async || hello.sockets() == before).await;
        left.elapsed() < Duration::from_millis(1700)
    })
    .await;
    until("a reason", async || hello.stderr().contains("reset")).await;
}

/// Some readers send the beginning of a request, and others a byte of it now and then.
#[tokio::test]
async fn half_a_request_does_not_hold_a_thread_for_ever() {
    let hello = Program::start("hello").await;
    let mut silent = Vec::new();
    for n in 0..PLACES {
        let stream = connect(&hello, "GET / HT").await;
        if n % 2 == 0 {
            silent.push(stream);
            continue;
        }
        tokio::spawn(drip(stream));
    }
    let mut readers = Vec::new();
    for _ in 0..PLACES {
        readers.push(connect(&hello, GET).await);
    }
    for reader in &mut readers {
        read_to(reader, "data: hello 1\n\n").await;
    }
}

/// The preloaded library lets the program not sleep between its events, so that the buffers
/// of both sides are full in a moment and not in two days. From then on, a write waits for
/// ten seconds at most.
#[cfg(target_os = "linux")]
#[tokio::test]
#[ignore = "takes half a minute"]
async fn a_reader_who_takes_nothing_ends_when_the_buffers_are_full() {
    let preload = Preload::compile();
    preload.set("NO_SLEEP", 1);
    let hello = preload.start("hello", &["NO_SLEEP"]).await;
    let before = hello.sockets();
    let _stuck = connect(&hello, GET).await;
    until("its stream begins", async || hello.sockets() == before + 1).await;
    let ends = async {
        let mut glances = interval(Duration::from_millis(100));
        while hello.sockets() > before {
            glances.tick().await;
        }
    };
    // On a busy machine, to fill the buffers takes its time, too.
    timeout(Duration::from_secs(90), ends).await.expect("its stream ends");
    until("a reason", async || hello.stderr().ends_with('\n')).await;
}

#[tokio::test]
async fn a_request_without_end_gets_no_answer() {
    let hello = Program::start("hello").await;
    let mut reader = connect(&hello, "GET / HTTP/1.1\r\n").await;
    let line = format!("X-Filler: {}\r\n", "x".repeat(1000));
    let flood = async { while reader.write_all(line.as_bytes()).await.is_ok() {} };
    within("the connection to be closed", flood).await;
    until("a reason", async || hello.stderr().contains("too long")).await;
}

#[tokio::test]
async fn other_paths_and_methods_get_a_reason() {
    let hello = Program::start("hello").await;
    // This asks more often than there are threads: each of them must survive an error.
    for _ in 0..=PLACES {
        let answer = hello.get("/nope").await;
        assert_eq!(answer.status(), 404);
        assert_eq!(answer.text().await.unwrap(), "the only stream is at /\n");
        let answer = hello.send(hello.request("POST", "/")).await;
        assert_eq!(answer.status(), 405);
        assert_eq!(answer.headers()["allow"], "GET, HEAD");
        let reason = "only GET and HEAD are answered here\n";
        assert_eq!(answer.text().await.unwrap(), reason);
    }
    let no_host = hello.raw("GET / HTTP/1.1\r\n\r\n").await;
    assert!(no_host.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{no_host}");
    assert!(no_host.ends_with("\r\n\r\na request of HTTP/1.1 has a Host\n"));
    // HTTP/1.0 knows no Host.
    let mut reader = connect(&hello, "GET / HTTP/1.0\r\n\r\n").await;
    read_to(&mut reader, "data: hello 1\n\n").await;
}

/// These clients look for an answer when they have sent all of their request.
#[tokio::test]
async fn a_refused_request_with_a_body_gets_its_answer() {
    let hello = Program::start("hello").await;
    for _ in 0..10 {
        for length in [1, 30_000, 1_000_000] {
            let head = format!(
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n"
            );
            let body = "x".repeat(length);
            let mut client = connect(&hello, &format!("{head}\r\n{body}")).await;
            let mut answer = String::new();
            let read = client.read_to_string(&mut answer);
            within("an answer", read).await.expect("the connection is not reset");
            assert!(answer.starts_with("HTTP/1.1 405 "), "{length}: {answer}");
        }
    }
}

/// 32 clients go on sending, and their answer has come long before.
#[tokio::test]
async fn a_body_without_end_does_not_hold_a_thread_for_ever() {
    let hello = Program::start("hello").await;
    for _ in 0..PLACES {
        let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n";
        let mut client = connect(&hello, post).await;
        read_to(&mut client, "answered here\n").await;
        tokio::spawn(drip(client));
    }
    let mut reader = connect(&hello, GET).await;
    read_to(&mut reader, "data: hello 1\n\n").await;
}
