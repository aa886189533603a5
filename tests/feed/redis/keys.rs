//! Idempotency keys are kept in Redis as long as their events.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use serde_json::{Value, json};
use tests::redis::Redis;
use tests::until;

use super::{
    STREAM, add_numbers, assert_refused, feed_with, redis_with_small_nodes, two,
};
use crate::client::parts;

/// Keys of Redis, as in `examples/feed/redis_streams.rs`.
const KEYS: &str = "{feed}:keys";

const KEY_ORDER: &str = "{feed}:keys-in-order";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server"]
async fn an_event_is_stored_once_however_often_it_is_posted() {
    let mut redis = Redis::start().await;
    let mut servers = two(&redis).await;
    let id = servers[0].note_once("one", "a").await;
    for server in &servers {
        assert_eq!(server.note_once("one", "a").await, id);
    }
    let posts = (0..50).map(|n| servers[n % 2].note_once("two", "b"));
    let ids: BTreeSet<_> = join_all(posts).await.into_iter().collect();
    assert_eq!(ids.len(), 1, "{ids:?}");
    assert_eq!(redis.count(&["XLEN", STREAM]).await, 2);
    for server in &mut servers {
        server.stop();
    }
    redis.kill();
    redis.start_again().await;
    let servers = two(&redis).await;
    for server in &servers {
        assert_eq!(server.note_once("one", "a").await, id);
        let why = "this Idempotency-Key stands for another event";
        assert_refused(server.post_note("b", Some("one")).await, 422, why).await;
        let other = json!({ "type": "other", "data": "a" });
        let other = server.request("POST", "/events").json(&other);
        let other = server.send(other.header("idempotency-key", "one")).await;
        assert_refused(other, 422, why).await;
    }
    // Without a key, each post is another event.
    assert_ne!(servers[0].note("a").await, servers[0].note("a").await);
    assert_eq!(redis.count(&["XLEN", STREAM]).await, 4);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server"]
async fn of_50_events_with_one_key_one_is_stored_and_the_others_are_refused() {
    let redis = Redis::start().await;
    let servers = two(&redis).await;
    let data: Vec<_> = (0..50).map(|n| n.to_string()).collect();
    let posts = (0..50).map(|n| servers[n % 2].post_note(&data[n], Some("key")));
    let answers = join_all(posts).await;
    let count = |status: u16| {
        answers.iter().filter(|answer| answer.status() == status).count()
    };
    assert_eq!((count(201), count(422)), (1, 49));
    assert_eq!(redis.count(&["XLEN", STREAM]).await, 1);
}

/// How many events Redis keeps, and how many idempotency keys.
async fn kept(redis: &Redis) -> (usize, usize) {
    let keys = redis.count(&["HLEN", KEYS]).await;
    assert_eq!(redis.count(&["LLEN", KEY_ORDER]).await, 2 * keys);
    (redis.count(&["XLEN", STREAM]).await, keys)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server"]
async fn keys_are_forgotten_with_their_events() {
    const TAKEN: &str = "this Idempotency-Key stands for another event";
    let redis = redis_with_small_nodes().await;
    let mut server = feed_with(&redis, &[("FEED_KEEP", "20")]).await;
    let mut ids = Vec::new();
    for number in 1..=100 {
        let data = number.to_string();
        ids.push(server.note_once(&format!("key-{number}"), &data).await);
        let (events, keys) = kept(&redis).await;
        assert!((20.min(number)..=30).contains(&events), "{events}");
        assert_eq!(keys, events);
    }
    let (events, _) = kept(&redis).await;
    // As long as an event is kept, its key stands for it, and costs nothing more.
    for number in 101 - events..=100 {
        let key = format!("key-{number}");
        let data = number.to_string();
        assert_eq!(server.note_once(&key, &data).await, ids[number - 1]);
        assert_refused(server.post_note("else", Some(&key)).await, 422, TAKEN).await;
    }
    assert_eq!(kept(&redis).await, (events, events));
    // When the event has gone, its key is new.
    let gone = format!("key-{}", 100 - events);
    let data = "something else";
    let new = server.note_once(&gone, data).await;
    assert!(parts(&new) > parts(&ids[99]));
    assert_eq!(server.note_once(&gone, data).await, new);
    // When fewer events are kept, there are fewer keys, too, and none for events without one.
    server.stop();
    let server = feed_with(&redis, &[("FEED_KEEP", "5")]).await;
    for number in 101..=130 {
        let data = number.to_string();
        server.note(&data).await;
        server.note_once(&format!("key-{number}"), &data).await;
    }
    let (events, keys) = kept(&redis).await;
    assert!((5..=15).contains(&events), "{events}");
    assert_eq!(keys, events.div_ceil(2)); // every other one, and the last
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server"]
async fn a_key_is_new_when_its_event_was_pushed_out_or_is_too_old() {
    for retention in [("FEED_KEEP", "20"), ("FEED_AGE", "1")] {
        let redis = redis_with_small_nodes().await;
        let server = feed_with(&redis, &[retention]).await;
        let old = server.note_once("key", "old").await;
        for number in 1..=30 {
            server.note(&number.to_string()).await;
        }
        until("the event is gone", async || {
            server.get(&format!("/events/{old}")).await.status() == 404
        })
        .await;
        let new = server.note_once("key", "new").await;
        let stored = server.get(&format!("/events/{new}")).await;
        let stored: Value = stored.json().await.unwrap();
        assert_eq!(stored, json!({ "id": new, "type": "note", "data": "new" }));
        assert_eq!(server.note_once("key", "new").await, new);
        assert_eq!(server.post_note("old", Some("key")).await.status(), 422);
        let of_key = redis.ask(&["LRANGE", KEY_ORDER, "0", "-1"]).await;
        assert_eq!(of_key, json!([new, "key"]));
        assert_eq!(redis.ask(&["HGETALL", KEYS]).await, json!(["key", new]));
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server"]
async fn keys_are_forgotten_by_the_hundred_but_none_that_is_used_again() {
    let redis = redis_with_small_nodes().await;
    let server = feed_with(&redis, &[("FEED_KEEP", "300")]).await;
    for number in 1..=250 {
        server.note_once(&format!("key-{number}"), "old").await;
    }
    add_numbers(&redis, 1, 310, 300, 10).await;
    // None of the 250 events is left. Their keys are still there, until a keyed event comes.
    let again = server.note_once("key-150", "again").await;
    let counts = async || {
        let keys = redis.count(&["HLEN", KEYS]).await;
        (keys, redis.count(&["LLEN", KEY_ORDER]).await / 2)
    };
    assert_eq!(counts().await, (150, 151)); // the old one is still in the list
    server.note_once("other", "x").await;
    assert_eq!(counts().await, (52, 52));
    server.note_once("third", "x").await;
    assert_eq!(counts().await, (3, 3));
    assert_eq!(server.note_once("key-150", "again").await, again);
    assert_eq!(server.post_note("old", Some("key-150")).await.status(), 422);
    assert_eq!(counts().await, (3, 3));
}
