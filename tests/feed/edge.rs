//! Strangers who would take all connections of `feed`, hold its memory or its end, or read and
//! write through the browser of somebody else.

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::json;
use tempfile::tempdir;
use tests::{Program, until, until_at_most, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::client::{Feed, Reader};
use crate::wire::{fill, raw_stream};

const LISTEN: &str = "GET /events HTTP/1.1\r\nhost: test\r\n\r\n";

/// A connection that has sent this, and the head of its answer.
async fn asked(feed: &Program, request: &str) -> (TcpStream, String) {
    let mut socket = feed.socket().await;
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    within("a head", async {
        while !head.ends_with(b"\r\n\r\n") {
            head.push(socket.read_u8().await.unwrap());
        }
    })
    .await;
    (socket, String::from_utf8(head).unwrap())
}

#[tokio::test]
async fn where_few_files_may_be_open_a_full_feed_says_so() {
    let folder = tempdir().unwrap();
    let dir = folder.path().to_str().unwrap();
    let start = Program::start_with_open_files_and;
    let mut feed = start("feed", 1_024, &[("FEED_DIR", dir)]).await;
    let said = async || feed.stderr().contains("720 streams at once, not 16384");
    until("it says how many fit", said).await;
    let mut readers = Vec::new();
    for _ in 0..720 {
        let (socket, head) = asked(&feed, LISTEN).await;
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        readers.push(socket);
    }
    // Two hundred more do not fit, and never hang up.
    let mut refused = Vec::new();
    for _ in 0..200 {
        let (socket, head) = asked(&feed, LISTEN).await;
        assert!(head.starts_with("HTTP/1.1 503"), "{head}");
        assert!(head.contains("connection: close"), "{head}");
        refused.push(socket);
    }
    // Everything but a stream is still answered, and a head alone needs no place.
    let post = feed.request("POST", "/events");
    let post = post.json(&json!({ "type": "note", "data": "x" }));
    assert_eq!(feed.send(post).await.status(), 201);
    let head = feed.request("HEAD", "/events");
    assert_eq!(feed.send(head).await.status(), 200);
    assert!(!feed.stderr().contains("accept connection failed"));
    readers.pop();
    let free = async || feed.get("/events").await.status() == 200;
    until("there is room", free).await;
    feed.signal(Signal::SIGTERM);
    assert_eq!(feed.exit_code().await, Some(0));
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_body_that_is_too_long_is_kept_nowhere() {
    let folder = tempdir().unwrap();
    let feed = Feed::start(folder.path()).await;
    let data = |length| json!({ "type": "note", "data": "x".repeat(length) });
    feed.post(data(4_000).to_string(), None).await;
    let before = feed.peak_memory();
    for body in [vec![b'x'; 20 << 20], data(20 << 20).to_string().into_bytes()] {
        let answer = feed.post(body, None).await;
        assert_eq!(answer.status(), 413);
        assert!(answer.text().await.unwrap().contains("more than 32768 bytes"));
    }
    let grown = feed.peak_memory() - before;
    assert!(grown < 4 << 20, "{grown} bytes more for a body of 20 MiB");
}

#[tokio::test]
#[ignore = "takes half a minute"]
async fn half_a_body_and_half_a_head_end_with_a_reason_or_closed() {
    let folder = tempdir().unwrap();
    let feed = Feed::start(folder.path()).await;
    let post =
        "POST /events HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n";
    let halves = [
        format!("{post}content-length: 9\r\n\r\n{{"),
        format!("{post}transfer-encoding: chunked\r\n\r\n1\r\n{{\r\n"),
        format!("{post}content-length: 20000000\r\n\r\n{{"),
        post.into(),
        "GET /events HT".into(),
        String::new(),
    ];
    let all = halves.iter().map(async |half| {
        let mut socket = feed.socket().await;
        socket.write_all(half.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let end = socket.read_to_string(&mut answer);
        let end = timeout(Duration::from_secs(45), end).await;
        drop(end.unwrap_or_else(|_| panic!("{half} is still open")));
        if half.ends_with('{') || half.ends_with("{\r\n") {
            assert!(answer.starts_with("HTTP/1.1 408"), "{half}: {answer}");
        }
    });
    futures_util::future::join_all(all).await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
#[ignore = "takes half a minute"]
async fn streams_that_are_replaced_end_although_nobody_reads_them() {
    let folder = tempdir().unwrap();
    let feed = Feed::start(folder.path()).await;
    fill(&feed, 50, 2_000, 4_000).await;
    let sockets = feed.sockets();
    let path = format!("/events?from=start&reader={:032x}", 7);
    let mut stuck = Vec::new();
    for _ in 0..20 {
        stuck.push(raw_stream(&feed, &path).await);
    }
    let time = Duration::from_secs(50);
    let few = async || feed.sockets() <= sockets + 2;
    until_at_most(time, "one stream of twenty is left", few).await;
}

#[tokio::test]
async fn whoever_comes_while_it_stops_gets_a_whole_stream_or_none() {
    for _ in 0..3 {
        let folder = tempdir().unwrap();
        let mut feed = Feed::start(folder.path()).await;
        let coming = (0..40).map(async |_| {
            let mut whole = 0;
            loop {
                let addr = feed.url.strip_prefix("http://").unwrap();
                let Ok(mut socket) = TcpStream::connect(addr).await else {
                    return whole;
                };
                let asked = socket.write_all(LISTEN.as_bytes()).await;
                let mut answer = Vec::new();
                let end = within("an end", socket.read_to_end(&mut answer)).await;
                if answer.is_empty() {
                    continue; // nobody answered, so nothing was cut
                }
                let text = String::from_utf8_lossy(&answer);
                assert!(asked.is_ok() && end.is_ok(), "{end:?} after {text}");
                assert!(text.ends_with("\r\n0\r\n\r\n"), "cut: {text}");
                whole += 1;
            }
        });
        let stopping = async {
            let reader = Reader::now(&feed).await;
            feed.signal(Signal::SIGTERM);
            (reader, Instant::now())
        };
        let coming = futures_util::future::join_all(coming);
        let (whole, (_reader, stopped)) = tokio::join!(coming, stopping);
        assert!(whole.iter().sum::<usize>() >= 1);
        assert_eq!(feed.exit_code().await, Some(0));
        let took = stopped.elapsed();
        assert!(took < Duration::from_secs(3), "{took:?}");
    }
}

#[tokio::test]
async fn a_head_alone_is_answered_and_changes_nothing() {
    let folder = tempdir().unwrap();
    let feed = Feed::start(folder.path()).await;
    let id = feed.note("one").await;
    let own = format!("/events?reader={:032x}", 7);
    let mut reader = feed.listen(&own).await;
    reader.begin().await;
    for (path, status, kind) in [
        (&*own, 200, "text/event-stream"),
        ("/events", 200, "text/event-stream"),
        ("/", 200, "text/html; charset=utf-8"),
        (&format!("/events/{id}"), 200, "application/json; charset=utf-8"),
        ("/events/1-0", 404, ""),
        ("/events?from=x", 400, ""),
        ("/events?x", 400, ""),
    ] {
        let head = feed.send(feed.request("HEAD", path)).await;
        assert_eq!(head.status(), status, "{path}");
        if status == 200 {
            assert_eq!(head.headers()["content-type"], kind, "{path}");
        }
        assert_eq!(head.text().await.unwrap(), "", "{path}");
    }
    // The reader that has this name is still there, and has heard of nothing.
    feed.note("two").await;
    assert_eq!(reader.note().await, "two");
    let cut = feed.request("DELETE", &format!("/readers/{:032x}", 7));
    assert_eq!(feed.send(cut).await.status(), 204);
}

#[tokio::test]
async fn a_page_of_another_origin_can_neither_read_nor_write_nor_cut() {
    let folder = tempdir().unwrap();
    let feed = Feed::start(folder.path()).await;
    let name = format!("{:032x}", 7);
    let mut reader = feed.listen(&format!("/events?reader={name}")).await;
    reader.begin().await;
    let host = feed.url.strip_prefix("http://").unwrap();
    let own_https = format!("https://{host}");
    let event = json!({ "type": "note", "data": "x" });
    for (headers, is_ours) in [
        (vec![("sec-fetch-site", "cross-site")], false),
        (vec![("sec-fetch-site", "same-site")], false),
        (vec![("sec-fetch-site", "cross-site"), ("origin", &*feed.url)], false),
        (vec![("origin", "http://example.com")], false),
        (vec![("origin", "null")], false),
        (vec![("origin", "http://127.0.0.1")], false),
        (vec![("host", "book.example"), ("origin", &*feed.url)], false),
        (vec![("sec-fetch-site", "same-origin")], true),
        (vec![("sec-fetch-site", "none")], true),
        (vec![("origin", &*feed.url)], true),
        (vec![("origin", &*own_https)], true),
        (
            vec![("host", "Book.example:443"), ("origin", "https://book.example")],
            true,
        ),
        (vec![("host", "book.example"), ("origin", "http://BOOK.example:80")], true),
        (vec![], true),
    ] {
        for (method, path, ours) in [
            ("POST", "/events", 201),
            ("GET", "/events", 200),
            ("HEAD", "/events", 200),
            ("DELETE", &format!("/readers/{name}"), 204),
        ] {
            let mut request = feed.request(method, path);
            for (header, value) in &headers {
                request = request.header(*header, *value);
            }
            if method == "POST" {
                request = request.json(&event);
            }
            if method == "DELETE" && is_ours {
                reader = feed.listen(&format!("/events?reader={name}")).await;
                reader.begin().await;
            }
            let answer = feed.send(request).await;
            let expected = if is_ours { ours } else { 403 };
            assert_eq!(answer.status(), expected, "{method} {headers:?}");
            if !is_ours && method != "HEAD" {
                let why = answer.text().await.unwrap();
                assert!(
                    why.contains("another origin") && why.contains("Host"),
                    "{why}"
                );
            }
        }
    }
}
