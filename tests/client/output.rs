//! The output of the client, when its reader is slow, gone, or never was there.

use std::time::Duration;
#[cfg(unix)]
use std::{io::Read, os::fd::OwnedFd, os::unix::net::UnixStream, process::Stdio};

use tests::scripted::{Server, stream};
use tests::{Process, example, pause, within};
use tokio::io::AsyncWriteExt;

use crate::client::{Client, no_content};

#[tokio::test]
async fn the_client_ends_quietly_when_nobody_reads_its_output_any_more() {
    let server = Server::start().await;
    let mut client = Client::of(&server, &[]);
    let mut asked = server.asked().await;
    asked.stream("data: a\n\n").await;
    assert_eq!(client.line().await, "message: a");
    client.close_stdout();
    // A process that another test starts at this moment holds the pipe for an instant, too.
    // Then one event still finds a reader, and the client ends with the next one.
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    let write = async {
        while asked.socket.write_all(b"data: b\n\n").await.is_ok() {
            ticks.tick().await;
        }
    };
    within("the client leaves", write).await;
    let ended = client.ended().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(ended.stderr, "client: connected\n");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn output_that_cannot_be_written_ends_the_client_with_a_reason() {
    let server = Server::start().await;
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = example("client");
    command.arg(server.url("/events")).stdout(full);
    let client = Client::from(Process::spawn(command));
    server.answer(stream("data: a\n\n")).await;
    let ended = client.ended().await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("cannot write"), "{ended:?}");
}

#[cfg(unix)]
#[tokio::test]
async fn the_client_ends_when_its_reader_has_left_and_only_heartbeats_come() {
    let server = Server::start().await;
    let mut client = Client::of(&server, &[]);
    let mut asked = server.asked().await;
    asked.stream("data: a\n\n").await;
    assert_eq!(client.line().await, "message: a");
    client.close_stdout();
    let heartbeats = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(20));
        while asked.socket.write_all(b":\n").await.is_ok() {
            ticks.tick().await;
        }
    };
    within("the client leaves", heartbeats).await;
    let ended = client.ended().await;
    assert_eq!((ended.code, &*ended.stderr), (Some(0), "client: connected\n"));

    // One that waits for its next attempt writes nothing, either.
    let mut client = Client::of(&server, &[]);
    server.answer(stream("retry: 1000000\n\n")).await;
    client.wait_after(0).await;
    client.close_stdout();
    assert_eq!(client.exit_code().await, Some(0));
}

/// The text of an event, which is so long that a pipe holds but a few.
fn long(n: usize) -> String {
    format!("{n} {}", "x".repeat(20_000))
}

/// More than pipes and sockets hold.
const MANY: usize = 400;

/// Sends events until nobody takes them for now, and the rest of them when they are taken.
async fn flood(server: &Server) {
    let mut asked = server.asked().await;
    let events: String =
        (0..MANY).map(|n| format!("data: {}\n\n", long(n))).collect();
    asked.stream("retry: 0\n").await;
    within("all events are taken", asked.socket.write_all(events.as_bytes()))
        .await
        .unwrap();
    asked.socket.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_slow_reader_of_the_output_is_not_taken_for_a_silent_server() {
    let server = Server::start().await;
    let mut client = Client::of(&server, &["--idle", "0.5"]);
    let read = async {
        pause(Duration::from_secs(2)).await;
        for n in 0..MANY {
            assert_eq!(client.line().await, format!("message: {}", long(n)));
        }
    };
    tokio::join!(flood(&server), read);
    no_content(&server).await;
    let ended = client.ended().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(!ended.stderr.contains("nothing came"), "{}", ended.stderr);
}

/// All processes that share a pipe share whether it blocks.
#[cfg(unix)]
#[tokio::test]
async fn output_that_does_not_block_waits_for_its_reader() {
    let server = Server::start().await;
    let (mut reader, output) = UnixStream::pair().unwrap();
    output.set_nonblocking(true).unwrap();
    let mut command = example("client");
    command.arg(server.url("/events")).stdout(Stdio::from(OwnedFd::from(output)));
    let client = Client::from(Process::spawn(command));
    let read = async {
        pause(Duration::from_secs(1)).await;
        let read = move || {
            let mut text = String::new();
            reader.read_to_string(&mut text).map(|_| text)
        };
        tokio::task::spawn_blocking(read).await.unwrap().unwrap()
    };
    let send = async {
        flood(&server).await;
        no_content(&server).await;
    };
    let (text, ()) =
        within("all of the output", async { tokio::join!(read, send) }).await;
    let all: String = (0..MANY).map(|n| format!("message: {}\n", long(n))).collect();
    assert!(text == all, "{} bytes, and not {}", text.len(), all.len());
    let ended = client.ended().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
}
