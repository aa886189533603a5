//! The stream of `boxes`, and its refusals.

use std::time::{SystemTime, UNIX_EPOCH};

use tests::{Program, within};

/// The number of an event, and the microseconds since 1970 when it was written.
fn number(data: &str) -> (u64, u128) {
    let mut words = data.split(' ');
    let mut next = || words.next().expect("a number and a time");
    (next().parse().unwrap(), next().parse().unwrap())
}

#[tokio::test]
async fn each_event_says_when_it_was_written_and_the_last_one_that_it_is_the_last() {
    let boxes = Program::start("boxes").await;
    let began = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros();
    let mut ann = boxes.events("/events?every=50&count=4").await;
    let mut before = began;
    for wanted in 1..=4 {
        let (count, at) = number(&ann.data().await);
        assert_eq!(count, wanted);
        assert!(at >= before, "{at} is before {before}");
        before = at;
    }
    assert!(before - began >= 150_000, "three pauses of 50 ms");
    let end = ann.next().await.expect("the last event");
    assert_eq!((&*end.event, &*end.data), ("end", "4"));
    assert!(ann.next().await.is_none(), "the stream ends");
}

#[tokio::test]
async fn an_event_is_as_long_as_a_client_asks_and_the_header_is_left_out() {
    let boxes = Program::start("boxes").await;
    let answer = boxes.get("/events?every=1&count=3&bytes=1000&header=no").await;
    assert!(!answer.headers().contains_key("x-accel-buffering"));
    let text = within("the whole stream", answer.text()).await.unwrap();
    let (events, _) = text.split_once("event: end").unwrap();
    assert_eq!(events.len(), 3_000, "{text}");
}

#[tokio::test]
async fn the_heartbeat_is_as_a_client_asks() {
    let boxes = Program::start("boxes").await;
    let mut answer = boxes.get("/events?every=60000&heartbeat=100").await;
    let mut text = String::new();
    while !text.ends_with("\n\n:\n:\n") {
        let chunk = within("a comment", answer.chunk()).await.unwrap();
        text += str::from_utf8(&chunk.expect("the stream goes on")).unwrap();
    }
}
