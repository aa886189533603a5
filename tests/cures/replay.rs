//! Readers who come back: the ring buffer, and one log for several servers.

use tests::redis::Redis;
use tests::{Events, Program};

/// Events that the ring keeps.
const KEPT: usize = 1_000;

/// A reader who has had the event with this id.
async fn back(ring: &Program, id: &str) -> Events {
    ring.events_of(ring.request("GET", "/").header("last-event-id", id)).await
}

#[tokio::test]
async fn a_ring_sends_a_reader_who_comes_back_what_was_missed() {
    let ring = Program::start("cure_ring").await;
    let mut bob = ring.poster("/").await;
    let mut ann = ring.events("/").await;
    bob.post("one", 1).await;
    let one = ann.next().await.unwrap();
    assert_eq!(one.data, "one");
    drop(ann);
    bob.post("two\nlines", 1).await;
    bob.post("three", 1).await;
    let mut ann = back(&ring, &one.id).await;
    let mut kim = ring.events(&format!("/?after={}", one.id)).await;
    for reader in [&mut ann, &mut kim] {
        assert_eq!(reader.data().await, "two\nlines");
        assert_eq!(reader.data().await, "three");
    }
    bob.post("live", 1).await;
    assert_eq!(ann.data().await, "live");
    // A reader who was cut off before the first event has no id, and loses nothing, either.
    assert_eq!(ring.events("/").await.data().await, "one");
}

#[tokio::test]
async fn a_ring_says_when_it_does_not_keep_what_was_missed() {
    let mut ring = Program::start("cure_ring").await;
    let mut bob = ring.poster("/").await;
    bob.post("long ago", 1).await;
    let long_ago = ring.events("/").await.next().await.unwrap().id;
    bob.post("forgotten", 1).await;
    bob.post("kept", KEPT).await;
    let mut ann = back(&ring, &long_ago).await;
    assert_eq!(ann.next().await.unwrap().event, "missed");
    let mut last = String::new();
    for _ in 0..KEPT {
        let event = ann.next().await.unwrap();
        assert_eq!(event.data, "kept");
        last = event.id;
    }
    // After a restart, no event has the id that she brings.
    ring.stop();
    let ring = Program::start("cure_ring").await;
    let mut ann = back(&ring, &last).await;
    ring.poster("/").await.post("anew", 1).await;
    assert_eq!(ann.next().await.unwrap().event, "missed");
    assert_eq!(ann.data().await, "anew");
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn servers_with_one_log_send_a_reader_who_comes_to_the_other_what_was_missed()
{
    let redis = Redis::start().await;
    let url = redis.url();
    let log = [("REDIS_URL", &*url)];
    let mut first = Program::start_with("cure_log", &log).await;
    let second = Program::start_with("cure_log", &log).await;
    let answer = first.get("/").await;
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    assert_eq!(answer.headers()["x-accel-buffering"], "no");
    let mut bob = second.poster("/").await;
    let mut ann = first.events("/").await;
    bob.post("one", 1).await;
    let one = ann.next().await.unwrap();
    assert_eq!(one.data, "one");
    first.stop();
    bob.post("two\nlines", 1).await;
    let mut ann = back(&second, &one.id).await;
    assert_eq!(ann.data().await, "two\nlines");
    bob.post("live", 1).await;
    assert_eq!(ann.data().await, "live");
    // Bytes that are no text stop nobody.
    let bytes = second.request("POST", "/").body(vec![0xff]);
    assert!(second.send(bytes).await.status().is_success());
    assert_eq!(ann.data().await, "\u{fffd}");
    // A reader without an id, as it is before the first event, gets all that is kept.
    for path in ["/", "/?after="] {
        assert_eq!(second.events(path).await.data().await, "one");
    }
}
