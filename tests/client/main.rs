//! `client.md`: `client` reads a stream as the standard says, and prints it so that people and
//! programs can trust its output.

mod answers;
mod arguments;
mod certificates;
mod client;
mod comes_back;
mod first;
mod libraries;
mod limits;
mod others;
mod output;
mod pages;
mod proxies;
mod requests;

use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;
use tests::cases::{Case, cases};
use tests::scripted::{Server, chunked, stream};
use tests::{Ended, Program, example, until};
use tokio::io::AsyncWriteExt;
use tokio::sync::Semaphore;

use client::{Client, JITTER, no_content};

/// As in `examples/client/main.rs`, in milliseconds.
const RETRY: u64 = 3_000;
const MIN_WAIT: u64 = 100;

/// How many clients run at the same time.
const AT_ONCE: usize = 48;

/// Serves a case in chunks of this size. Checks the events that the client prints, how long
/// it waits, and with which last event ID it comes back.
async fn goes_through(case: &Case, size: usize) {
    let name = &case.name;
    let server = Server::start().await;
    let client = Client::of(&server, &["--json"]);
    let first = server.answer(chunked(&case.bytes, size)).await;
    assert_eq!(first.header("last-event-id"), None, "{name}");
    let mut second = server.asked().await;
    let last = second.header("last-event-id").unwrap_or_default();
    assert_eq!(last, case.last.trim(), "{name}"); // HTTP trims, too
    let retry = case.retry.unwrap_or(RETRY).max(MIN_WAIT);
    let waited = second.at - first.at;
    assert!(waited >= Duration::from_millis(retry), "{name}: {waited:?}");
    let announced = client.waits()[0];
    let least = retry as f64 / 1_000.0;
    assert!(
        (least - 0.05..=least * JITTER + 0.05).contains(&announced),
        "{name}: {announced} s, and not {retry} ms"
    );
    second.write("HTTP/1.1 204 No Content\r\n\r\n").await;
    let ended = client.ended().await;
    assert_eq!(ended.code, Some(0), "{name}: {ended:?}");
    let events: Vec<Value> = ended
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(events == case.events, "{name}: {}", &ended.stdout);
}

async fn all_go_through(size: usize) {
    example("client"); // builds the program before the clocks run
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let mut running = Vec::new();
    for case in cases() {
        let place = Arc::clone(&places).acquire_owned().await.unwrap();
        running.push(tokio::spawn(async move {
            goes_through(&case, size).await;
            drop(place);
        }));
    }
    assert!(running.len() > 100);
    for case in running {
        case.await.unwrap();
    }
}

#[tokio::test]
async fn every_case_is_read_as_the_standard_says() {
    all_go_through(usize::MAX).await;
}

#[tokio::test]
async fn every_case_is_read_the_same_when_it_comes_byte_by_byte() {
    all_go_through(1).await;
}

#[tokio::test]
async fn an_event_is_printed_when_it_arrives() {
    let server = Server::start().await;
    let mut client = Client::of(&server, &[]);
    let mut asked = server.asked().await;
    asked.stream("data: one\n\n").await;
    assert_eq!(client.line().await, "message: one");
    asked.write("event: token\nid: 7\ndata: {\ndata:   1 }\n\ndata\n\n").await;
    assert_eq!(client.line().await, "token (id 7): {");
    assert_eq!(client.line().await, "      1 }");
    assert_eq!(client.line().await, "message (id 7): ");
    // A CR may be the first half of a line end, and is one already.
    asked.write("data: two\r\r").await;
    assert_eq!(client.line().await, "message (id 7): two");
}

#[tokio::test]
async fn control_characters_in_a_stream_do_not_reach_the_terminal() {
    let evil = "\u{1b}[2J\u{1b}]0;x\u{7}\u{8}\u{7f}\u{9b}31m\u{202e}\u{0}é\t\"\\🙂";
    let bytes = format!("event: {evil}\nid: \u{1b}[1m\ndata: {evil}\ndata: b\n\n");
    let server = Server::start().await;
    let client = Client::of(&server, &[]);
    server.answer(stream(&bytes)).await;
    server
        .answer("HTTP/1.1 200 OK\r\ncontent-type: \u{9b}31m\u{202e}\r\n\r\n")
        .await;
    let Ended { code, stdout, stderr } = client.ended().await;
    assert_eq!(code, Some(2), "{stderr}");
    assert!(!stderr.contains(['\u{9b}', '\u{202e}']), "{stderr}");
    let shown = r#"\u{1b}[2J\u{1b}]0;x\u{7}\u{8}\u{7f}\u{9b}31m\u{202e}\u{0}é	"\🙂"#;
    assert_eq!(stdout, format!("{shown} (id \\u{{1b}}[1m): {shown}\n    b\n"));

    let server = Server::start().await;
    let client = Client::of(&server, &["--json"]);
    server.answer(stream(&bytes)).await;
    no_content(&server).await;
    let Ended { stdout, stderr, .. } = client.ended().await;
    let event: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(event["type"], evil);
    assert_eq!(event["data"], format!("{evil}\nb"));
    assert_eq!(event["lastEventId"], "\u{1b}[1m");
    let harmless = |c: char| !c.is_control() && c != '\u{202e}' || c == '\n';
    assert!(stdout.chars().chain(stderr.chars()).all(harmless), "{stdout}{stderr}");
    // An ID that no header can have is not sent, and the client says so.
    assert!(stderr.contains("no header can have"), "{stderr}");
}

#[tokio::test]
async fn a_signal_ends_the_client_whether_it_reads_waits_or_writes() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let server = Server::start().await;
        let reading = Client::of(&server, &[]);
        let mut asked = server.asked().await;
        asked.stream("").await;
        let reads = async || reading.stderr().contains("connected");
        until("the client reads", reads).await;
        reading.signal(signal);
        let ended = reading.ended().await;
        assert_eq!(ended.code, Some(0), "reading: {ended:?}");

        let waiting = Client::of(&server, &[]);
        server.answer(stream("retry: 100000\n\n")).await;
        waiting.wait_after(0).await;
        waiting.signal(signal);
        let ended = waiting.ended().await;
        assert_eq!(ended.code, Some(0), "waiting: {ended:?}");

        // The client cannot write, because nobody reads its output.
        let mut writing = Client::of(&server, &[]);
        let mut asked = server.asked().await;
        asked.stream("").await;
        let flood = "data: flood\n\n".repeat(1_000);
        let flood = async {
            while asked.socket.write_all(flood.as_bytes()).await.is_ok() {}
        };
        let stuck = tokio::time::timeout(Duration::from_secs(1), flood).await;
        assert!(stuck.is_err(), "the client has read more than it could write");
        writing.signal(signal);
        assert_eq!(writing.exit_code().await, Some(0), "writing");
    }
}

#[tokio::test]
async fn the_client_follows_tick_through_a_restart() {
    let mut tick = Program::start("tick").await;
    let mut client = Client::start(&[&format!("{}/ticks", tick.url)]);
    assert_eq!(client.line().await, "message: 1");
    assert_eq!(client.line().await, "message: 2");
    tick.stop();
    client.wait_after(0).await;
    let addr = tick.url.strip_prefix("http://").unwrap();
    let _tick = Program::start_at("tick", addr).await;
    assert_eq!(client.line().await, "message: 1");
}
