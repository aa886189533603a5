//! Posts that are no event are refused with a reason, and all others arrive unchanged.

use eventsource_stream::Event;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::Config;
use serde_json::json;
use tempfile::tempdir;
use tokio::runtime::Runtime;

use crate::client::{Feed, id};

#[tokio::test]
async fn a_post_that_is_no_event_is_refused_with_a_reason() {
    let folder = tempdir().unwrap();
    let feed = Feed::start(folder.path()).await;
    let event =
        |kind: &str, data: &str| json!({ "type": kind, "data": data }).to_string();
    let long = "t".repeat(65);
    let longest = "x".repeat(4_097);
    let wide = "è".repeat(2_049);
    for (body, reason) in [
        (event("", "x"), "a type has 1 to 64 bytes"),
        (event(&long, "x"), "a type has 1 to 64 bytes"),
        (event(&"è".repeat(33), "x"), "a type has 1 to 64 bytes"),
        (event("a\nb", "x"), "control characters"),
        (event("a\rb", "x"), "control characters"),
        (event("a\0", "x"), "control characters"),
        (event("a\u{85}", "x"), "control characters"),
        (event("open", "x"), "has a meaning already"),
        (event("error", "x"), "has a meaning already"),
        (event("resync", "x"), "has a meaning already"),
        (event("begin", "x"), "has a meaning already"),
        (event("foreign", "x"), "has a meaning already"),
        (event("note", "a\rb"), "carriage return"),
        (event("note", "\r\n"), "carriage return"),
        (event("note", "a\0b"), "U+0000"),
        (event("note", "\0"), "U+0000"),
        (event("note", &longest), "4096 bytes at most"),
        (event("note", &wide), "4096 bytes at most"),
        (r#"{"type":"note","data":"x","id":"1-1"}"#.into(), "unknown field"),
        (r#"{"type":"note","data":"x","data":"y"}"#.into(), "duplicate field"),
        (r#"{"type":"note"}"#.into(), "missing field"),
        (r#"{"data":"x"}"#.into(), "missing field"),
        (r#"{"type":"note","data":1}"#.into(), "expected a string"),
        (r#"{"type":"note","data":null}"#.into(), "expected a string"),
        (r#"{"type":"note","data":"\ud800"}"#.into(), "hex escape"),
        (r#"{"type":"note","data":"x"} x"#.into(), "trailing characters"),
        (r#"{"type":"note","data":"x""#.into(), "EOF"),
        ("{\"type\":\"note\",\"data\":\"a\nb\"}".into(), "control character"),
        ("[]".into(), "type"),
        ("hello".into(), "expected value"),
        ("".into(), "EOF"),
    ] {
        let answer = feed.post(body.clone(), Some("refused")).await;
        assert_eq!(answer.status(), 400, "{body}");
        let answer = answer.text().await.unwrap();
        assert!(answer.contains("\"brief\"") && answer.contains(reason), "{answer}");
    }
    let not_utf_8 = feed.post(&b"{\"type\":\"note\",\"data\":\"\xff\"}"[..], None);
    assert_eq!(not_utf_8.await.status(), 400);
    for size in [32 << 10, 20 << 20] {
        let body = event("note", &"x".repeat(size));
        let answer = feed.post(body.clone(), None).await;
        assert_eq!(answer.status(), 413);
        assert!(answer.text().await.unwrap().contains("more than 32768 bytes"));
        let answer = feed.post(tests::chunks(body.as_bytes()), None).await;
        assert_eq!(answer.status(), 413, "its length is not told before");
    }
    let post = || feed.request("POST", "/events").body(event("note", "x"));
    for kind in [
        None,
        Some("text/plain"),
        Some("application/x-www-form-urlencoded"),
        Some("application/json-seq"),
        Some("banana"),
    ] {
        let request = match kind {
            Some(kind) => post().header("content-type", kind),
            None => post(),
        };
        let answer = feed.send(request).await;
        assert_eq!(answer.status(), 415, "{kind:?}");
        assert!(answer.text().await.unwrap().contains("not application/json"));
    }
    let host = feed.url.strip_prefix("http://").unwrap();
    for (origin, status) in [
        ("http://example.com", 403),
        ("null", 403),
        ("", 403),
        (host, 403),
        ("http://127.0.0.1", 403),
        ("file://", 403),
        (&*feed.url, 201),
    ] {
        let request = post()
            .header("content-type", "application/json; charset=utf-8")
            .header("origin", origin);
        let answer = feed.send(request).await;
        assert_eq!(answer.status(), status, "{origin}");
        if status == 403 {
            assert!(answer.text().await.unwrap().contains("another origin"));
        }
    }
    // The key of a refused post is free, and nothing else was stored.
    id(feed.post_note("the end", Some("refused")).await).await;
    let notes = feed.listen("/events?from=start").await.notes_to("the end").await;
    assert_eq!(notes, ["x", "the end"]);
}

#[test]
fn every_event_that_is_accepted_arrives_unchanged() {
    let runtime = Runtime::new().unwrap();
    let folder = tempdir().unwrap();
    let feed = runtime.block_on(Feed::start(folder.path()));
    let reader = runtime.block_on(feed.listen("/events"));
    let reader = tokio::sync::Mutex::new(reader);
    let config =
        Config { cases: 500, failure_persistence: None, ..Config::default() };
    // Make up any type and data that are allowed, and often text that means something in
    // the format.
    let kind = r"\PC{1,16}|(data|id|event|retry|[: ]){1,4}"
        .prop_filter("has a meaning", |kind| {
            !["open", "error", "begin", "resync", "foreign"].contains(&&**kind)
        });
    let piece = prop_oneof![
        Just("\n".to_string()),
        Just("\n\n".to_string()),
        r"(data|id|event|retry|[: \u{feff}\u{1}\u{2028}\u{85}]){1,4}",
        any::<String>(),
    ];
    let data = vec(piece, 0..6)
        .prop_map(|pieces| pieces.concat().replace(['\r', '\0'], ""));
    proptest!(config, |(kind in kind, data in data)| {
        runtime.block_on(async {
            let body = json!({ "type": kind, "data": data }).to_string();
            let id = id(feed.post(body, None).await).await;
            let retry = None;
            let expected = Event { event: kind, data, id: id.clone(), retry };
            assert_eq!(reader.lock().await.next().await, expected);
            let Event { event, data, .. } = expected;
            let looked = json!({ "id": id, "type": event, "data": data });
            assert_eq!(feed.look(&id).await, Some(looked));
        });
    });
}

#[tokio::test]
async fn the_longest_event_arrives_whole() {
    let folder = tempdir().unwrap();
    let mut feed = Feed::start(folder.path()).await;
    let longest = ["x".repeat(4_096), "\n".repeat(4_096), "\u{1}".repeat(4_096)];
    for data in &longest {
        feed.note(data).await;
    }
    for _ in 0..2 {
        let mut reader = feed.listen("/events?from=start").await;
        for data in &longest {
            assert_eq!(reader.note().await, *data);
        }
        feed.stop();
        feed = Feed::start(folder.path()).await;
    }
}
