//! Strangers, and how little they can do to `wire`. `tests/chat/edge.rs` tests the rest of
//! `edge.rs`, which is the same file in both.

use reqwest::Response;
use tests::{Program, until};

use crate::put;

/// Asks for a stream that takes its time.
async fn play(wire: &Program) -> Response {
    wire.get("/wire/a?chunk=1&pace=1000").await
}

#[tokio::test]
async fn where_few_files_may_be_open_a_stream_too_many_is_refused() {
    let wire = Program::start_with_open_files("wire", 128).await;
    let said = async || wire.stderr().contains("48 streams at once, not 1024");
    until("it says how many fit", said).await;
    put(&wire, "a", &[b':'; 1_000]).await;
    let mut playing = Vec::new();
    for _ in 0..48 {
        let stream = play(&wire).await;
        assert_eq!(stream.status(), 200);
        playing.push(stream);
    }
    let refused = play(&wire).await;
    assert_eq!(refused.status(), 503);
    assert_eq!(refused.headers()["connection"], "close");
    assert_eq!(wire.get("/").await.status(), 200, "others are still answered");
    playing.pop();
    until("there is room", async || play(&wire).await.status() == 200).await;
}

#[tokio::test]
async fn a_body_that_is_too_long_is_not_kept() {
    let wire = Program::start("wire").await;
    put(&wire, "a", b"data: a\n\n").await;
    let before = wire.peak_memory();
    assert_eq!(put(&wire, "a", &vec![b'x'; 20 << 20]).await, 413);
    let grown = wire.peak_memory() - before;
    assert!(grown < 4 << 20, "{grown} bytes more for a body of 20 MiB");
}

#[tokio::test]
async fn a_page_of_another_origin_can_neither_put_nor_ask_for_the_events() {
    let wire = Program::start("wire").await;
    let host = wire.url.clone();
    for (name, value, status) in [
        ("origin", "http://evil.example", 403),
        ("origin", &*host, 201),
        ("sec-fetch-site", "cross-site", 403),
        ("sec-fetch-site", "same-origin", 204),
    ] {
        let request = wire.request("PUT", "/wire/a").header(name, value);
        let answer = wire.send(request.body("data: a\n\n")).await;
        assert_eq!(answer.status(), status, "{name}: {value}");
        let request = wire.request("POST", "/parse").header(name, value);
        let answer = wire.send(request.body("data: a\n\n")).await;
        let status = if status == 403 { 403 } else { 200 };
        assert_eq!(answer.status(), status, "{name}: {value}");
    }
}
