//! The limits of the client: silence, attempts, and the size of an event.

use std::time::Duration;

use tests::scripted::{Server, chunked, stream};
use tests::{pause, within};
use tokio::io::AsyncWriteExt;

use crate::client::{Client, no_content};

#[tokio::test]
async fn a_silent_stream_is_given_up_and_one_with_heartbeats_is_not() {
    let server = Server::start().await;
    let mut client = Client::of(&server, &["--idle", "0.6"]);
    let mut asked = server.asked().await;
    asked.stream("retry: 0\ndata: a\n\n").await;
    assert_eq!(client.line().await, "message: a");
    for _ in 0..10 {
        pause(Duration::from_millis(200)).await;
        asked.write(":\n\n").await;
    }
    asked.write("data: b\n\n").await;
    assert_eq!(client.line().await, "message: b");
    assert!(client.waits().is_empty(), "one connection, for all these heartbeats");
    let silent = asked.is_left().await;
    assert!(silent >= Duration::from_millis(500), "{silent:?}");
    assert!(client.wait_after(0).await < 0.2);
    assert!(
        client.stderr().contains("nothing came for 600ms"),
        "{}",
        client.stderr()
    );
    // The server accepts the next connection, and does not even answer.
    let mut asked = server.asked().await;
    asked.is_left().await;
    server.asked().await;
}

#[tokio::test]
async fn an_attempt_with_heartbeats_for_some_time_does_not_count_as_failed() {
    let server = Server::start().await;
    let client = Client::of(&server, &["--idle", "1", "--max-attempts", "1"]);
    let mut asked = server.asked().await;
    asked.stream("retry: 0\n\n").await;
    pause(Duration::from_millis(700)).await;
    asked.write(":\n\n").await;
    drop(asked);
    client.wait_after(0).await;
    server.answer(stream(":\n\n")).await;
    let ended = client.ended().await;
    assert_eq!(ended.code, Some(3), "{ended:?}");
}

#[tokio::test]
async fn an_event_without_an_end_ends_the_client_with_exit_code_4() {
    for endless in ["x", "x\ndata: ", ":\ndata:x\n"] {
        let server = Server::start().await;
        let client = Client::of(&server, &["--max-event", "100000"]);
        let mut asked = server.asked().await;
        asked.stream("data: first\n\ndata: ").await;
        let piece = endless.repeat(1_000);
        let write = async {
            while asked.socket.write_all(piece.as_bytes()).await.is_ok() {}
        };
        within("the client leaves", write).await;
        let ended = client.ended().await;
        assert_eq!(ended.code, Some(4), "{ended:?}");
        assert_eq!(ended.stdout, "message: first\n");
        assert!(ended.stderr.contains("too large"), "{ended:?}");
    }
}

#[tokio::test]
async fn the_greatest_size_of_an_event_is_the_same_however_its_bytes_are_cut() {
    let x = |count| "x".repeat(count);
    let exact = format!("data: {}\n\n", x(94)); // 100 bytes and two line ends
    let over = format!("data: {}\n\n", x(95));
    let lines = format!("{}\n", "data: 567890\r\n".repeat(8));
    // Only the bytes that are kept count: no comments, nothing that a line has replaced.
    let others = format!(
        "{}data: {}\n\n",
        ": comment\nretry: 0\nevent: e\nid: 1\n".repeat(50),
        x(92)
    );
    let within = format!("data: a\n{}\n", ": comment\n".repeat(50));
    // The type, the ID and the data count together, and so does a line that has no end.
    let parts = |size| format!("event: {0}\nid: {0}\ndata: {0}\n\n", x(size));
    let no_data = format!("event: {0}\nid: {0}\n\n", x(60));
    let unfinished = format!("event: {0}\nid: {0}\n: {0}", x(40));
    for (bytes, code) in [
        (&exact, 0),
        (&over, 4),
        (&lines, 0),
        (&others, 0),
        (&within, 0),
        (&parts(31), 0),
        (&parts(32), 4),
        (&parts(90), 4),
        (&no_data, 4),
        (&unfinished, 4),
    ] {
        for size in [1, 7, usize::MAX] {
            let server = Server::start().await;
            let client = Client::of(&server, &["--max-event", "100"]);
            let bytes = format!("retry: 0\n\n{bytes}{bytes}");
            server.answer(chunked(bytes.as_bytes(), size)).await;
            if code == 0 {
                no_content(&server).await;
            }
            let ended = client.ended().await;
            assert_eq!(ended.code, Some(code), "{size}: {bytes} {ended:?}");
        }
    }
}

/// A parser that looks at a line from its start whenever a piece arrives would look at
/// 350,000,000,000 bytes here.
#[tokio::test]
async fn a_long_line_in_small_pieces_takes_linear_time() {
    const LINE: usize = 8 << 20;
    for (before, data) in [("data: ", LINE + 1), (": ", 0), ("data", 0)] {
        let server = Server::start().await;
        let mut client = Client::of(&server, &["--json"]);
        let line = format!("{before}{}\ndata:\n\n", "x".repeat(LINE));
        server.answer(chunked(line.as_bytes(), 100)).await;
        let event = client.json().await;
        assert_eq!(event["data"].as_str().unwrap().len(), data, "{before}");
    }
}

#[tokio::test]
async fn the_client_gives_up_after_so_many_attempts_without_an_event() {
    let server = Server::start().await;
    let client = Client::of(&server, &["--max-attempts", "3"]);
    for bytes in ["retry: 0\n\n", "", "data: a\n\n", "", ": c\n\n", "id: 1\n\n"] {
        server.answer(stream(bytes)).await;
    }
    let ended = client.ended().await;
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(ended.stderr.contains("giving up"), "{ended:?}");

    let url = server.url("/events");
    drop(server);
    let ended = Client::start(&["--max-attempts=1", &url]).ended().await;
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(ended.stderr.contains("no connection"), "{ended:?}");
}
