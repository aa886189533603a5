//! Until the contract has them.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tempfile::tempdir;
use tests::within;
use tokio::io::AsyncReadExt;

use crate::client::Feed;

#[tokio::test]
async fn a_taken_or_bad_address_is_one_clear_line() {
    let folder = tempdir().unwrap();
    let feed = Feed::start(folder.path()).await;
    feed.assert_bad_addresses_are_one_clear_line("feed");
}

#[cfg(unix)]
#[tokio::test]
async fn asked_to_end_it_ends_its_streams_whole_and_then_itself() {
    let folder = tempdir().unwrap();
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let mut feed = Feed::start(folder.path()).await;
        let mut readers = Vec::new();
        for _ in 0..20 {
            readers.push(feed.listen("/events?from=start").await);
        }
        let mut stuck = feed.reader_that_never_reads("/events").await;
        feed.note("the end").await;
        for reader in &mut readers {
            reader.notes_to("the end").await;
        }
        let asked = Instant::now();
        feed.signal(signal);
        for reader in &mut readers {
            while within("the end", reader.more()).await {}
        }
        assert_eq!(feed.exit_code().await, Some(0));
        assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
        let mut bytes = Vec::new();
        within("the end", stuck.read_to_end(&mut bytes)).await.unwrap();
        assert!(bytes.ends_with(b"\r\n0\r\n\r\n"), "the last chunk");
        let stderr = feed.stderr();
        assert!(!stderr.contains("panicked"), "{stderr}");
    }
}

#[tokio::test]
async fn silence_is_filled_with_comments() {
    let folder = tempdir().unwrap();
    let feed = Feed::start(folder.path()).await;
    let mut answer = feed.get("/events").await;
    let start = Instant::now();
    let mut bytes = String::new();
    while !bytes.ends_with("\n:\n\n") {
        let chunk = within("a heartbeat", answer.chunk()).await.unwrap().unwrap();
        bytes += str::from_utf8(&chunk).unwrap();
    }
    assert!(start.elapsed() < Duration::from_secs(30), "{bytes}");
}

#[tokio::test]
async fn the_head_names_a_stream_and_forbids_to_keep_it_back() {
    let folder = tempdir().unwrap();
    let feed = Feed::start(folder.path()).await;
    let answer = feed.get("/events").await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    assert_eq!(answer.headers()["cache-control"], "no-cache");
    assert_eq!(answer.headers()["x-accel-buffering"], "no");
}

#[tokio::test]
async fn other_paths_and_methods_get_a_reason_in_the_form_that_is_asked_for() {
    let folder = tempdir().unwrap();
    let feed = Feed::start(folder.path()).await;
    for (method, path, status, allow) in [
        ("GET", "/nope", 404, None),
        ("POST", "/", 405, Some("GET")),
        ("PUT", "/events", 405, Some("GET, POST")),
        ("POST", "/events/1-0", 405, Some("GET")),
        ("GET", "/readers/1", 405, Some("DELETE")),
        ("GET", "/events/1-0", 404, None),
        ("GET", "/events/x", 404, None),
        ("GET", "/events?from=x", 400, None),
        ("GET", "/events?reader=x", 400, None),
        ("DELETE", "/readers/x", 404, None),
    ] {
        for (accept, form) in [
            ("application/json", "application/json"),
            ("text/html", "text/html"),
            ("text/plain", "text/plain"),
        ] {
            let request = feed.request(method, path);
            let answer = feed.send(request.header("accept", accept)).await;
            assert_eq!(answer.status(), status, "{method} {path}");
            let head = |name| {
                let value = answer.headers().get(name);
                value.map(|value| value.to_str().unwrap().to_string())
            };
            assert_eq!(head("allow").as_deref(), allow, "{method} {path}");
            let kind = head("content-type").unwrap();
            assert!(kind.starts_with(form), "{method} {path}: {kind}");
            let text = answer.text().await.unwrap();
            assert!(text.len() > 20, "{method} {path}: {text}");
        }
    }
}

#[tokio::test]
async fn the_page_asks_for_a_relative_address() {
    let folder = tempdir().unwrap();
    let feed = Feed::start(folder.path()).await;
    feed.assert_page_with("new EventSource(`events?reader=").await;
}
