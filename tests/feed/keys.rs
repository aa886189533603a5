//! An event that is posted again under its idempotency key is stored once.

use futures_util::future::join_all;
use reqwest::header::HeaderValue;
use serde_json::json;
use tempfile::tempdir;

use crate::client::{Feed, assert_strictly_growing, id};

#[tokio::test]
async fn a_post_that_is_repeated_is_stored_once() {
    let folder = tempdir().unwrap();
    let mut feed = Feed::start(folder.path()).await;
    let first = id(feed.post_note("hi", Some("a")).await).await;
    assert_eq!(id(feed.post_note("hi", Some("a")).await).await, first);
    // The same words with another key, or none, are another event.
    let second = id(feed.post_note("hi", Some("b")).await).await;
    let third = feed.note("hi").await;
    assert_strictly_growing([&first, &second, &third]);
    for body in [r#"{"type":"note","data":"ho"}"#, r#"{"type":"other","data":"hi"}"#]
    {
        let answer = feed.post(body, Some("a")).await;
        assert_eq!(answer.status(), 422);
        let answer = answer.text().await.unwrap();
        assert!(answer.contains("stands for another event"), "{answer}");
    }
    // Fields in another order, and white space, are the same event.
    let same = feed.post(r#" {"data": "hi", "type": "note"}"#, Some("a")).await;
    assert_eq!(id(same).await, first);

    feed.stop();
    let feed = Feed::start(folder.path()).await;
    assert_eq!(id(feed.post_note("hi", Some("a")).await).await, first);
    assert_eq!(feed.post_note("ho", Some("a")).await.status(), 422);

    let longest = "k".repeat(128);
    let odd = id(feed.post_note("keys", Some(&longest)).await).await;
    assert_eq!(id(feed.post_note("keys", Some(&longest)).await).await, odd);
    for key in ["", &"k".repeat(129)] {
        let answer = feed.post_note("hi", Some(key)).await;
        assert_eq!(answer.status(), 400, "{key:?}");
        assert!(answer.text().await.unwrap().contains("Idempotency-Key"));
    }
    for key in [&b"k\xff"[..], "è".as_bytes(), b"a\tb"] {
        let request = feed.request("POST", "/events");
        let request = request
            .header("content-type", "application/json")
            .header("idempotency-key", HeaderValue::from_bytes(key).unwrap())
            .body(r#"{"type":"note","data":"hi"}"#);
        assert_eq!(feed.send(request).await.status(), 400, "{key:?}");
    }
    let end = feed.note("the end").await;
    let mut reader = feed.listen("/events?from=start").await;
    let mut ids = Vec::new();
    while ids.last() != Some(&end) {
        ids.push(reader.next().await.id);
    }
    assert_eq!(ids, [first, second, third, odd, end]);
}

/// By the draft, a key is a string in quotes (RFC 9651, 3.3.3). Most clients leave them out.
#[tokio::test]
async fn a_key_is_the_same_with_and_without_its_quotes() {
    let folder = tempdir().unwrap();
    let feed = Feed::start(folder.path()).await;
    let longest = format!("\"{}\"", "k".repeat(128));
    for (key, same) in [
        ("order-17", r#""order-17""#),
        (r#""a""#, "a"),
        (r#""order 17""#, r#""order 17""#),
        (r#"a\"b"#, r#""a\\\"b""#),
        (&longest, &longest[1..129]),
        ("a,b;c=1", r#""a,b;c=1""#),
    ] {
        let first = id(feed.post_note(key, Some(key)).await).await;
        assert_eq!(id(feed.post_note(key, Some(same)).await).await, first, "{key}");
        assert_eq!(feed.post_note("else", Some(same)).await.status(), 422, "{key}");
    }
    for key in [
        r#"""#,
        r#""""#,
        r#""open"#,
        r#""a\""#,
        r#""a\b""#,
        r#""a"b""#,
        r#""a", "b""#,
        r#""a";b"#,
        "order 17",
        &format!("\"{}\"", "k".repeat(129)),
    ] {
        let answer = feed.post_note("hi", Some(key)).await;
        assert_eq!(answer.status(), 400, "{key}");
        let why = answer.text().await.unwrap();
        assert!(
            why.contains("Idempotency-Key") && why.contains("in quotes"),
            "{why}"
        );
    }
    let twice =
        feed.request("POST", "/events").json(&json!({ "type": "note", "data": "" }));
    let twice = twice.header("idempotency-key", "a").header("idempotency-key", "a");
    assert_eq!(feed.send(twice).await.status(), 400, "two lines are no key");
}

#[tokio::test]
async fn fifty_clients_that_post_the_same_at_once_store_it_once() {
    let folder = tempdir().unwrap();
    let feed = Feed::start(folder.path()).await;
    for round in 0..10 {
        let key = format!("key-{round}");
        let ids = join_all(
            (0..50).map(async |_| id(feed.post_note(&key, Some(&key)).await).await),
        )
        .await;
        assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    }
    // With the same key, one event of fifty different ones is stored.
    let answers = join_all((0..50).map(async |n| {
        feed.post_note(&format!("I am {n}"), Some("who")).await.status().as_u16()
    }))
    .await;
    let count = |status| answers.iter().filter(|&&it| it == status).count();
    assert_eq!((count(201), count(422)), (1, 49), "{answers:?}");
    feed.note("the end").await;
    let notes = feed.listen("/events?from=start").await.notes_to("the end").await;
    assert_eq!(notes.len(), 12, "{notes:?}");
}
