//! Another program writes to the stream, or puts something else in its place.

use std::time::Duration;

use tests::redis::Redis;
use tests::{Ended, pause, run, until};

use super::{STREAM, feed};
use crate::client::Reader;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server"]
async fn entries_of_other_programs_in_the_stream_break_no_reader() {
    let redis = Redis::start().await;
    let server = feed(&redis).await;
    let mut now = Reader::now(&server).await;
    let long = "x".repeat(1 << 20);
    let foreign: [&[&[u8]]; _] = [
        &[b"some", b"thing"],
        &[b"type", b"note"],
        &[b"data", b"injected"],
        &[b"type", b"note\ndata: injected\n\n", b"data", b"injected"],
        &[b"type", b"note\rdata: injected\r\r", b"data", b"injected"],
        &[b"type", b"", b"data", b"injected"],
        &[b"type", b"resync", b"data", b"injected"],
        &[b"type", b"error", b"data", b"injected"],
        &[b"type", b"note", b"data", b"injected\rid: 1-1\revent: x"],
        &[b"type", b"note", b"data", b"injected \xff\xfe\x00"],
        &[b"type", b"\xc3", b"data", b"injected"],
        &[b"type", b"note", b"data", long.as_bytes()],
        &[b"\r\n", b"\n\ndata: injected\n\n"],
    ];
    let mut ids = Vec::new();
    for fields in foreign {
        let command = [&[b"XADD", STREAM.as_bytes(), b"*"], fields].concat();
        ids.push(redis.ask(&command).await.as_str().unwrap().to_string());
    }
    // This entry is an event like any other.
    let good: [&[u8]; _] = [
        b"XADD",
        STREAM.as_bytes(),
        b"*",
        b"type",
        b"note",
        b"data",
        b"a\n\nb",
        b"more",
        b"x",
    ];
    redis.ask(&good).await;
    server.note("next").await;
    let later = feed(&redis).await;
    let mut start = Reader::start(&later).await;
    let mut between = Reader::after(&later, &ids[5]).await;
    for reader in [&mut now, &mut start, &mut between] {
        let event = reader.next().await;
        assert_eq!((&*event.event, &*event.data), ("note", "a\n\nb"));
        assert_eq!(reader.data().await, "next");
        assert!(!reader.text.contains("injected"), "{}", reader.text);
        assert!(reader.text.len() < 2_000);
    }
    for id in &ids {
        let sent = format!("event: foreign\ndata: \nid: {id}\n\n");
        assert!(now.text.contains(&sent));
        assert_eq!(server.get(&format!("/events/{id}")).await.status(), 404);
        let mut back = Reader::after(&later, id).await;
        assert_eq!(back.data().await, "a\n\nb");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server"]
async fn a_foreign_value_under_its_key_stops_the_feed_without_flooding_its_log() {
    let redis = Redis::start().await;
    redis.ask(&["SET", STREAM, "something else"]).await;
    let Ended { code, stderr, .. } = run("feed", &[("REDIS_URL", &redis.url())]);
    assert_eq!(code, Some(1), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    redis.ask(&["DEL", STREAM]).await;
    let server = feed(&redis).await;
    let mut reader = Reader::now(&server).await;
    server.note("before").await;
    assert_eq!(reader.data().await, "before");
    redis.ask(&["SET", STREAM, "something else"]).await;
    assert_eq!(server.post_note("x", None).await.status(), 503);
    assert_eq!(server.post_note("x", Some("key")).await.status(), 503);
    pause(Duration::from_secs(10)).await;
    assert!(server.stderr().lines().count() < 20);
    redis.ask(&["DEL", STREAM]).await;
    until("the server writes again", async || {
        server.post_note("after", Some("key")).await.status() == 201
    })
    .await;
    // The reason depends on what the server sees first: no events, or the new one.
    assert_eq!(reader.next().await.event, "resync");
    assert_eq!(reader.data().await, "after");
}
