//! The client comes back when its connection is lost: when, and with which last event ID.

use std::time::{Duration, SystemTime};

use serde_json::json;
use tests::scripted::{Server, stream};

use crate::client::{Client, JITTER, no_content};

/// The longest time that is believed, in seconds. As in `examples/client/answer.rs`.
const DAY: f64 = 86_400.0;

#[tokio::test]
async fn the_client_comes_back_with_the_last_event_id() {
    let server = Server::start().await;
    let mut client = Client::of(&server, &["--json", "--last-event-id", "é 1"]);
    let asked = server.answer(stream("retry: 0\ndata: a\n\n")).await;
    assert_eq!(asked.header("last-event-id"), Some("é 1"));
    assert_eq!(client.json().await["lastEventId"], "é 1");
    // Each stream may begin with a byte order mark, and nothing of an event that was cut
    // off is part of the next one.
    let second = "\u{feff}id: 2\ndata: b\n\nid: 3\nevent: lost\ndata: lost\ndata: l";
    let asked = server.answer(stream(second)).await;
    assert_eq!(asked.header("last-event-id"), Some("é 1"));
    let event = client.json().await;
    assert_eq!((&event["data"], &event["lastEventId"]), (&"b".into(), &"2".into()));
    // By the standard's letter an event without an ID would forget it here.
    let asked = server.answer(stream("\u{feff}data: c\n\n")).await;
    assert_eq!(asked.header("last-event-id"), Some("2"));
    let event = client.json().await;
    assert_eq!(event, json!({ "type": "message", "data": "c", "lastEventId": "2" }));
    let asked = server.answer(stream("id\n\n")).await;
    assert_eq!(asked.header("last-event-id"), Some("2"));
    let asked = server.asked().await;
    assert_eq!(asked.header("last-event-id"), None);
}

#[tokio::test]
async fn the_client_waits_longer_each_time_until_an_event_arrives() {
    let server = Server::start().await;
    let mut client = Client::of(&server, &[]);
    let mut before = server.answer(stream("retry: 200\ndata: a\n\n")).await.at;
    // The least wait in milliseconds: after an event, then after one, two and three attempts
    // without one.
    for (answer, least) in [
        ("", 200),
        ("HTTP/1.1 200", 200),
        ("HTTP/1.1 503 Busy\r\n\r\n", 400),
        (&stream(": no event\n\nid: 1\n\n"), 800),
    ] {
        let asked = server.answer(answer).await;
        let waited = asked.at - before;
        assert!(waited >= Duration::from_millis(least), "{waited:?} < {least} ms");
        before = asked.at;
    }
    let again = server.answer(stream("data: b\n\n")).await;
    assert!(again.at - before >= Duration::from_millis(1_600));
    let last = server.asked().await;
    assert!(last.at - again.at < Duration::from_millis(1_600), "an event resets it");
    assert_eq!(client.line().await, "message: a");
    assert_eq!(client.line().await, "message (id 1): b");
    let least = [0.2, 0.2, 0.4, 0.8, 1.6, 0.2];
    for (wait, least) in client.waits().into_iter().zip(least) {
        assert!((least - 0.05..=least * JITTER + 0.05).contains(&wait), "{wait} s");
    }
}

#[tokio::test]
async fn clients_that_lose_the_server_together_come_back_at_different_times() {
    let server = Server::start().await;
    let clients: Vec<_> = (0..20).map(|_| Client::of(&server, &[])).collect();
    for _ in &clients {
        server.answer(stream("retry: 10000\ndata: a\n\n")).await;
    }
    let mut waits = Vec::new();
    for client in &clients {
        waits.push(client.wait_after(0).await);
    }
    assert!(waits.iter().all(|wait| (9.9..=15.1).contains(wait)), "{waits:?}");
    waits.sort_by(f64::total_cmp);
    waits.dedup();
    assert!(waits.len() > 5, "{waits:?}");
}

#[tokio::test]
async fn a_reconnection_time_holds_from_a_tenth_of_a_second_to_a_day() {
    for (retry, least) in [
        ("0", 0.1),
        ("7200000", 7_200.0), // two hours
        ("86400000", DAY),
        ("99999999999", DAY),
        ("9999999999999999", DAY),
        ("99999999999999999999999", 3.0), // more digits than a number has: none
        ("-5000", 3.0),
        ("+5000", 3.0),
        ("5e3", 3.0),
        ("", 3.0),
    ] {
        let server = Server::start().await;
        let client = Client::of(&server, &[]);
        server.answer(stream(&format!("retry: {retry}\ndata: a\n\n"))).await;
        let wait = client.wait_after(0).await;
        assert!((least..=least * JITTER + 0.1).contains(&wait), "{retry}: {wait} s");
    }
}

#[tokio::test]
async fn a_204_ends_the_client_with_exit_code_0() {
    let server = Server::start().await;
    let client = Client::of(&server, &[]);
    no_content(&server).await;
    let ended = client.ended().await;
    assert_eq!((ended.code, &*ended.stdout), (Some(0), ""), "{ended:?}");
    assert!(ended.stderr.contains("204"), "{ended:?}");
}

#[tokio::test]
async fn a_temporary_refusal_is_tried_again_and_any_other_ends_the_client() {
    for status in [201, 206, 300, 304, 400, 401, 403, 404, 405, 410, 431] {
        let server = Server::start().await;
        let client = Client::of(&server, &[]);
        let kind = "content-type: text/event-stream";
        server
            .answer(format!("HTTP/1.1 {status} No\r\n{kind}\r\n\r\ndata: a\n\n"))
            .await;
        let ended = client.ended().await;
        assert_eq!(
            (ended.code, &*ended.stdout),
            (Some(2), ""),
            "{status}: {ended:?}"
        );
        assert!(ended.stderr.contains(&status.to_string()), "{ended:?}");
    }
    for status in [408, 425, 429, 500, 502, 503, 504] {
        let server = Server::start().await;
        let mut client = Client::of(&server, &[]);
        server.answer(stream("retry: 0\n\n")).await;
        server.answer(format!("HTTP/1.1 {status} No\r\n\r\n")).await;
        server.answer(stream("data: a\n\n")).await;
        assert_eq!(client.line().await, "message: a");
        assert!(client.stderr().contains(&status.to_string()), "{status}");
    }
}

#[tokio::test]
async fn the_client_does_not_come_back_before_retry_after() {
    let date = |ahead| {
        httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(ahead))
    };
    for (asked_for, least, most) in [
        ("2", 2.0, 3.0),
        ("in 10", 7.0, 15.0),
        ("0", 0.1, 0.2),
        ("soon", 0.1, 0.2),
        ("-1", 0.1, 0.2),
        ("+7200", 0.1, 0.2),
        ("in 0", 0.1, 0.2),
        ("7200", 7_200.0, 10_800.0),
        ("in 7200", 7_190.0, 10_800.0),
        ("999999", DAY, DAY * JITTER),
        ("in 999999", DAY, DAY * JITTER),
        ("99999999999999999999999", DAY, DAY * JITTER),
    ] {
        let server = Server::start().await;
        let client = Client::of(&server, &[]);
        server.answer(stream("retry: 100\ndata: a\n\n")).await;
        let value = match asked_for.strip_prefix("in ") {
            Some(ahead) => date(ahead.parse().unwrap()),
            None => asked_for.into(),
        };
        let response = format!("HTTP/1.1 503 Busy\r\nretry-after: {value}\r\n\r\n");
        let refused = server.answer(response).await;
        let wait = client.wait_after(1).await;
        assert!((least..=most).contains(&wait), "{asked_for}: {wait} s");
        if most <= 3.0 {
            let waited = server.asked().await.at - refused.at;
            assert!(waited.as_secs_f64() >= least, "{asked_for}: {waited:?}");
        }
    }
}

#[tokio::test]
async fn a_last_event_id_that_is_too_long_for_the_server_ends_the_client_and_is_named()
 {
    let server = Server::start().await;
    let mut client = Client::of(&server, &[]);
    let id = "x".repeat(100_000);
    server.answer(stream(&format!("retry: 0\nid: {id}\ndata: a\n\n"))).await;
    assert_eq!(client.line().await, format!("message (id {id}): a"));
    let refuse = "HTTP/1.1 431 Request Header Fields Too Large\r\n\r\n";
    let asked = server.answer(refuse).await;
    assert_eq!(asked.header("last-event-id").map(str::len), Some(id.len()));
    let ended = client.ended().await;
    assert_eq!(ended.code, Some(2), "{ended:?}");
    let why = "the last event ID has 100000 bytes";
    assert!(ended.stderr.contains(why), "{}", ended.stderr);
}
