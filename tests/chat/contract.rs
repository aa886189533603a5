//! Chapters 5 and 6: the promises that every program of the book keeps.

use std::time::{Duration, Instant};

#[cfg(unix)]
use nix::sys::signal::Signal;
use tests::{Program, within};
use tokio::io::AsyncReadExt;

use crate::user::User;

#[tokio::test]
async fn silence_is_filled_with_comments() {
    let chat = Program::start("chat").await;
    let mut answer = chat.get("/chat").await;
    let start = Instant::now();
    let mut bytes = String::new();
    while !bytes.ends_with("\n:\n\n") {
        let chunk = within("a heartbeat", answer.chunk()).await.unwrap().unwrap();
        bytes += str::from_utf8(&chunk).unwrap();
    }
    assert!(start.elapsed() < Duration::from_secs(30), "{bytes}");
    assert!(bytes.starts_with("event: user\n"), "{bytes}");
}

#[tokio::test]
async fn the_head_names_a_stream_and_forbids_to_keep_it_back() {
    let chat = Program::start("chat").await;
    let answer = chat.get("/chat").await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    assert_eq!(answer.headers()["cache-control"], "no-cache");
    assert_eq!(answer.headers()["x-accel-buffering"], "no");
}

#[tokio::test]
async fn other_paths_and_methods_get_a_reason() {
    let chat = Program::start("chat").await;
    for (method, path, status, allow) in [
        ("GET", "/nope", 404, None),
        ("POST", "/", 405, Some("GET")),
        ("PUT", "/chat", 405, Some("GET")),
        ("GET", "/chat/1", 405, Some("POST")),
    ] {
        let request =
            chat.request(method, path).header("accept", "application/json");
        let answer = chat.send(request).await;
        assert_eq!(answer.status(), status, "{method} {path}");
        let allowed =
            answer.headers().get("allow").map(|value| value.to_str().unwrap());
        assert_eq!(allowed, allow, "{method} {path}");
        assert!(answer.text().await.unwrap().contains("\"brief\""));
    }
}

#[tokio::test]
async fn the_page_asks_for_a_relative_address() {
    let chat = Program::start("chat").await;
    chat.assert_page_with("new EventSource(`chat?as=").await;
}

#[tokio::test]
async fn a_taken_or_bad_address_is_one_clear_line() {
    let chat = Program::start("chat").await;
    chat.assert_bad_addresses_are_one_clear_line("chat");
}

#[cfg(unix)]
#[tokio::test]
async fn asked_to_end_it_ends_its_streams_whole_and_then_itself() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let mut chat = Program::start("chat").await;
        let mut readers = Vec::new();
        for _ in 0..20 {
            readers.push(User::join(&chat).await.events);
        }
        // This reader does not even notice.
        let mut stuck = chat.reader_that_never_reads("/chat").await;
        let asked = Instant::now();
        chat.signal(signal);
        for reader in &mut readers {
            while let Some(event) = reader.next().await {
                assert_eq!(event.event, "joined");
            }
        }
        assert_eq!(chat.exit_code().await, Some(0));
        assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
        let mut bytes = Vec::new();
        within("the end", stuck.read_to_end(&mut bytes)).await.unwrap();
        assert!(bytes.ends_with(b"\r\n0\r\n\r\n"), "the last chunk");
        assert!(!chat.stderr().contains("panicked"), "{}", chat.stderr());
    }
}
