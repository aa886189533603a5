//! Redis trims the stream, and readers that this overtakes get a `resync`.

use serde_json::{Value, json};
use tests::redis::Redis;
use tests::{until, within};

use super::{STREAM, add_numbers, feed, feed_with, redis_with_small_nodes};
use crate::client::{Reader, parts};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server"]
async fn a_reader_away_too_long_gets_one_resync_and_continues() {
    let redis = redis_with_small_nodes().await;
    let server = feed_with(&redis, &[("FEED_KEEP", "20")]).await;
    let mut reader = Reader::now(&server).await;
    let begin = reader.reading.last_event_id.clone();
    let first = server.note("1").await;
    assert_eq!(reader.data().await, "1");
    drop(reader);
    let mut present = Reader::after(&server, &first).await;
    for number in 2..=100 {
        server.note(&number.to_string()).await;
    }
    assert_eq!(present.numbers_to(100).await, 2);
    let kept = redis.count(&["XLEN", STREAM]).await;
    assert!((20..=30).contains(&kept), "{kept}");
    // The first server has more events in memory; a server that starts later has not.
    let later = feed_with(&redis, &[("FEED_KEEP", "20")]).await;
    for id in [&begin, &first] {
        let mut reader = Reader::after(&later, id).await;
        let after = reader.resync("expired").await;
        assert_eq!(reader.numbers_to(100).await, 101 - kept);
        // A reader that is cut right after the resync comes back where it was.
        let mut reader = Reader::after(&later, after).await;
        assert_eq!(reader.numbers_to(100).await, 101 - kept);
    }
    let mut start = Reader::start(&later).await;
    assert_eq!(start.numbers_to(100).await, 101 - kept);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server"]
async fn a_reader_that_does_not_keep_up_gets_a_resync_for_each_gap() {
    /// 16 MB of events: more than the buffers and the memory of the server hold.
    const EVENTS: usize = 4_000;
    let redis = redis_with_small_nodes().await;
    let server = feed(&redis).await;
    let mut slow = Reader::now(&server).await;
    let mut quick = server.get("/events").await;
    for step in (0..EVENTS).step_by(200) {
        add_numbers(&redis, step + 1, step + 200, 500, 4_000).await;
        let last = format!("data: {} ", step + 200);
        let mut text = String::new(); // of two chunks: it may be cut in two
        while !text.contains(&last) {
            let chunk = within("a chunk", quick.chunk()).await.unwrap().unwrap();
            let before = text.len().saturating_sub(last.len());
            text.drain(..before);
            text += str::from_utf8(&chunk).unwrap();
            assert!(!text.contains("resync"));
        }
    }
    // Nobody knows how many of them are in buffers on their way.
    let mut last = 0;
    let mut gaps = 0;
    while last < EVENTS {
        let mut event = slow.next().await;
        let mut is_after_gap = false;
        if event.event == "resync" {
            let data: Value = serde_json::from_str(&event.data).unwrap();
            assert_eq!(data, json!({ "reason": "expired", "after": event.id }));
            event = slow.next().await;
            is_after_gap = true;
            gaps += 1;
        }
        let number: usize = event.data.trim().parse().expect("a number");
        let is_next = number == last + 1;
        assert_ne!(is_next, is_after_gap, "{number} comes after {last}");
        assert!(number > last);
        last = number;
    }
    assert!((1..5).contains(&gaps), "{gaps}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server"]
async fn a_server_that_trimming_overtakes_sends_all_its_readers_a_resync() {
    let redis = redis_with_small_nodes().await;
    let server = feed_with(&redis, &[("FEED_KEEP", "20")]).await;
    let mut readers = Vec::new();
    for _ in 0..3 {
        readers.push(Reader::now(&server).await);
    }
    // A script runs in one moment: no server sees the events that it adds and removes.
    add_numbers(&redis, 1, 1_000, 20, 10).await;
    server.note("1001").await;
    for reader in &mut readers {
        reader.resync("expired").await;
        let first = reader.numbers_to(1_001).await;
        assert!((970..=981).contains(&first), "{first}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server"]
async fn events_that_are_too_old_are_removed_but_the_newest_stays() {
    let redis = Redis::start().await;
    // Events of 1970, by the clock of Redis.
    for second in 1..=10 {
        let id = format!("{second}000-0");
        let data = second.to_string();
        redis.ask(&["XADD", STREAM, &id, "type", "n", "data", &data]).await;
    }
    let variables = [("FEED_AGE", "3600")];
    let server = feed_with(&redis, &variables).await;
    let mut waiting = Reader::after(&server, "10000-0").await;
    let mut new = Reader::now(&server).await;
    until("the old ones are gone", async || {
        redis.count(&["XLEN", STREAM]).await < 10
    })
    .await;
    assert_eq!(redis.count(&["XLEN", STREAM]).await, 1);
    for id in ["1000-0", "9000-0", "0-0"] {
        let mut absent = Reader::after(&server, id).await;
        let after = absent.resync("expired").await;
        assert_eq!(parts(&after), (9_999, u64::MAX));
        assert_eq!(absent.data().await, "10");
    }
    // A reader that has the newest event has missed nothing, also on a server that comes now.
    let later = feed_with(&redis, &variables).await;
    let mut back = Reader::after(&later, "10000-0").await;
    let mut new_there = Reader::now(&later).await;
    assert_eq!(new_there.reading.last_event_id, "10000-0");
    server.note("11").await;
    for reader in [&mut waiting, &mut new, &mut back, &mut new_there] {
        assert_eq!(reader.data().await, "11");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server"]
async fn events_that_are_too_old_leave_the_memory_of_each_server_too() {
    let redis = Redis::start().await;
    let variables = [("FEED_AGE", "3600")];
    let servers =
        [feed_with(&redis, &variables).await, feed_with(&redis, &variables).await];
    let mut waiting = Vec::new();
    for server in &servers {
        waiting.push(Reader::now(server).await);
    }
    // Events of 1970, each in memory as soon as a reader has it.
    for second in 1..=10 {
        let id = format!("{second}000-0");
        let data = second.to_string();
        redis.ask(&["XADD", STREAM, &id, "type", "n", "data", &data]).await;
    }
    for reader in &mut waiting {
        assert_eq!(reader.numbers_to(10).await, 1);
    }
    for server in &servers {
        until("the first one is gone", async || {
            let mut absent = Reader::after(server, "1000-0").await;
            absent.next().await.event == "resync"
        })
        .await;
        for id in ["1000-0", "5000-0", "8000-0"] {
            let mut absent = Reader::after(server, id).await;
            let after = absent.resync("expired").await;
            assert_eq!(parts(&after), (9_999, u64::MAX));
            assert_eq!(absent.data().await, "10");
        }
        // A reader that has the newest event has missed nothing.
        waiting.push(Reader::after(server, "10000-0").await);
    }
    servers[0].note("11").await;
    for reader in &mut waiting {
        assert_eq!(reader.data().await, "11");
    }
}
