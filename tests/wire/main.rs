//! `wire.md`: `wire` streams bytes as they are, and a browser reads them as the standard
//! says.

mod edge;
mod eventsource;
mod page;
mod parse;

use std::time::{Duration, Instant};

use reqwest::header::HeaderValue;
use serde_json::Value;
use tests::cases::cases;
use tests::{Program, chunks, within};

/// As in `examples/wire/main.rs`.
const MAX_BYTES: usize = 64 << 10;
const MAX_STREAMS: usize = 256;
const MAX_ID: usize = 64;

/// Puts the bytes of a stream, and returns the status of the answer.
async fn put(wire: &Program, id: &str, bytes: &[u8]) -> u16 {
    let request = wire.request("PUT", &format!("/wire/{id}")).body(bytes.to_vec());
    wire.send(request).await.status().as_u16()
}

#[tokio::test]
async fn wire_streams_all_bytes_as_they_are() {
    let wire = Program::start("wire").await;
    let all: Vec<u8> = (0..=255).cycle().take(MAX_BYTES).collect();
    for (bytes, status) in [(&b""[..], 201), (b"data: a\n\n", 204), (&all, 204)] {
        assert_eq!(put(&wire, "a", bytes).await, status);
        for query in ["", "?chunk=1000", "?chunk=0", "?chunk=99999999999&pace=0"] {
            let stream = wire.get(&format!("/wire/a{query}")).await;
            for (name, value) in [
                ("content-type", "text/event-stream"),
                ("cache-control", "no-cache"),
                ("x-accel-buffering", "no"),
            ] {
                assert_eq!(stream.headers()[name], value);
            }
            let body = stream.bytes().await.unwrap();
            assert!(
                body == bytes,
                "{query}: {} bytes of {}",
                body.len(),
                bytes.len()
            );
        }
    }
}

#[tokio::test]
async fn chunk_says_how_many_bytes_are_sent_at_once() {
    let wire = Program::start("wire").await;
    put(&wire, "a", b"data: ab\n\n").await;
    let chunks = async |query: &str| {
        let mut stream = wire.get(&format!("/wire/a{query}")).await;
        let mut chunks = Vec::new();
        while let Some(chunk) = within("a chunk", stream.chunk()).await.unwrap() {
            chunks.push(String::from_utf8(chunk.to_vec()).unwrap());
        }
        chunks
    };
    assert_eq!(chunks("").await, ["data: ab\n\n"]);
    assert_eq!(chunks("?chunk=4").await, ["data", ": ab", "\n\n"]);
    assert_eq!(chunks("?chunk=1").await.len(), 10);
    let start = Instant::now();
    assert_eq!(chunks("?chunk=4&pace=150").await.len(), 3);
    assert!(start.elapsed() >= Duration::from_millis(300), "{:?}", start.elapsed());
    // No chunk is empty, and nobody waits longer than the longest pace.
    assert_eq!(chunks("?chunk=0").await.len(), 10);
    assert_eq!(chunks("?chunk=4&pace=100000000").await.len(), 3);
}

#[tokio::test]
async fn a_request_that_is_too_large_or_wrong_is_refused_with_a_reason() {
    let wire = Program::start("wire").await;
    put(&wire, "a", b"data: a\n\n").await;
    let too_long = vec![b'a'; MAX_BYTES + 1];
    let long_id = format!("/wire/{}", "a".repeat(MAX_ID + 1));
    for (request, status, part) in [
        (wire.request("PUT", "/wire/a").body(too_long.clone()), 413, "65536 bytes"),
        (wire.request("PUT", "/wire/a").body(chunks(&too_long)), 413, "65536 bytes"),
        (wire.request("PUT", &long_id).body("a"), 400, "the id is too long"),
        (wire.request("POST", "/parse").body(vec![b'a'; 4_097]), 413, "4096 bytes"),
        (wire.request("POST", "/parse?chunk=x").body("a"), 400, "`chunk` is not"),
        (wire.request("GET", "/wire/a?chunk=x"), 400, "`chunk` is not a number"),
        (wire.request("GET", "/wire/a?pace=-1"), 400, "`pace` is not a number"),
    ] {
        let request = request.header("accept", "application/json");
        let answer = wire.send(request).await;
        assert_eq!(answer.status(), status);
        let body: Value =
            serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        let brief = body["error"]["brief"].as_str().unwrap();
        assert!(brief.contains(part), "{brief}");
    }
    assert_eq!(wire.get("/wire/a").await.text().await.unwrap(), "data: a\n\n");
}

#[tokio::test]
async fn the_oldest_stream_makes_room_for_one_too_many() {
    let wire = Program::start("wire").await;
    for id in 0..=MAX_STREAMS {
        assert_eq!(put(&wire, &id.to_string(), b"data: a\n\n").await, 201);
    }
    assert_eq!(wire.get("/wire/0").await.status(), 404);
    assert_eq!(wire.get("/wire/1").await.status(), 200);
    // The same id again replaces its stream, so that no other one has to make room.
    assert_eq!(put(&wire, "1", b"data: b\n\n").await, 204);
    assert_eq!(wire.get("/wire/1").await.text().await.unwrap(), "data: b\n\n");
    assert_eq!(wire.get("/wire/2").await.status(), 200);
    assert!(!wire.stderr().contains("WARN"), "{}", wire.stderr());
}

#[tokio::test]
async fn put_says_whether_there_was_a_stream_before() {
    let wire = Program::start("wire").await;
    let put = async || {
        let put = wire.request("PUT", "/wire/a").body("data: a\n\n");
        let answer = wire.send(put).await;
        let kind = answer.headers().get("content-type").cloned();
        (answer.status().as_u16(), kind, answer.text().await.unwrap())
    };
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    assert_eq!(put().await, (201, Some(plain), "created\n".into()));
    assert_eq!(put().await, (204, None, String::new()));
}

#[test]
fn the_table_has_more_than_a_hundred_cases_each_with_a_name_of_its_own() {
    let mut names: Vec<_> = cases().into_iter().map(|case| case.name).collect();
    assert!(names.len() > 100, "{}", names.len());
    names.sort();
    let all = names.len();
    names.dedup();
    assert_eq!(names.len(), all);
}
