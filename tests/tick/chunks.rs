//! The chunks of the body, as `curl` shows them: a stream that goes on, one that ends, and one
//! that is cut.

use std::convert::Infallible;
use std::process::{Command, Stdio};
use std::time::Duration;

use salvo::prelude::*;
use salvo::sse::{self, SseEvent};
use tests::{Process, Program, assert_recorded, serve, session};
use tokio::time::interval;
use tokio_stream::{StreamExt, wrappers::IntervalStream};

/// The address on the page.
const HERE: &str = "http://127.0.0.1:8698";

#[tokio::test]
async fn the_head_says_that_the_body_comes_in_chunks() {
    let tick = Program::start("tick").await;
    let mut head = tick.session("tick/recorded/head.txt");
    let (_, date) = head.split_once("\ndate: ").unwrap();
    let (date, _) = date.split_once('\r').unwrap();
    head = head.replace(date, "Sat, 01 Jan 2028 09:30:00 GMT").replace('\r', "");
    assert_recorded("tick/recorded/head.txt", &head);
}

#[tokio::test]
async fn each_event_is_a_chunk() {
    let tick = Program::start("tick").await;
    tick.assert_session("tick/recorded/raw.txt");
}

/// A stream that ends after its second event.
#[handler]
pub async fn two_ticks(res: &mut Response) {
    let mut n = 0_u64;
    let events = IntervalStream::new(interval(Duration::from_millis(10)))
        .map(move |_| {
            n += 1;
            Ok::<_, Infallible>(SseEvent::default().text(n.to_string()))
        })
        .take(2);
    sse::stream(res, events);
}

#[tokio::test]
async fn a_stream_that_ends_has_a_last_chunk() {
    let url = serve(Router::with_path("ticks").get(two_ticks)).await;
    let file = "tick/recorded/raw-end.txt";
    let read = move || session(file, &[(HERE, &url)]);
    assert_recorded(file, &tokio::task::spawn_blocking(read).await.unwrap());
}

#[cfg(unix)]
#[tokio::test]
async fn a_stream_that_is_cut_has_none() {
    let mut tick = Program::start("tick").await;
    let file = "tick/recorded/raw-cut.txt";
    let shown = std::fs::read_to_string(tests::root().join("examples").join(file));
    let shown = shown.unwrap();
    let command = shown.lines().next().unwrap().strip_prefix("$ ").unwrap();
    let mut shell = Command::new("sh");
    let here = command.replace(HERE, &tick.url);
    shell.args(["-c", &here]).stdout(Stdio::piped());
    let mut curl = Process::spawn(shell);
    let mut printed = format!("$ {command}\n");
    while !printed.ends_with("data: 1\n\n\r\n") {
        printed += &(curl.line().await + "\n");
    }
    tick.stop();
    let rest = curl.ended().await.stdout;
    // On a busy machine, a second event comes before the end.
    printed += rest.strip_prefix("9\r\ndata: 2\n\n\r\n").unwrap_or(&rest);
    assert_recorded(file, &printed);
}
