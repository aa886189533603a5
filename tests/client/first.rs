//! The client that everybody writes first, and what is wrong with it. `exercises/client-*` puts
//! it right, step by step.

use std::time::Duration;

use tests::Process;
use tests::scripted::{Asked, Server, stream};

/// The answer to so many attempts in a row.
const ATTEMPTS: usize = 5;

fn start(server: &Server) -> Process {
    Process::start("client_first", &[&server.url("/")])
}

/// Answers some attempts, and returns the requests.
async fn attempts(server: &Server, answer: &str) -> Vec<Asked> {
    let mut asked = Vec::new();
    for _ in 0..ATTEMPTS {
        asked.push(server.answer(answer).await);
    }
    asked
}

#[tokio::test]
async fn the_first_client_prints_events() {
    let server = Server::start().await;
    let mut client = start(&server);
    let mut asked = server.asked().await;
    asked.stream("data: a\n\nevent: tick\ndata: é").await;
    assert_eq!(client.line().await, "message: a");
    asked.write("\n\n").await;
    assert_eq!(client.line().await, "tick: é");
}

#[tokio::test]
async fn the_first_client_asks_again_at_once_whatever_the_stream_says() {
    let server = Server::start().await;
    let _client = start(&server);
    let asked = attempts(&server, &stream("retry: 60000\ndata: a\n\n")).await;
    let took = asked[ATTEMPTS - 1].at - asked[0].at;
    assert!(took < Duration::from_secs(10), "{took:?}");
}

#[tokio::test]
async fn the_first_client_forgets_which_event_it_has() {
    let server = Server::start().await;
    let _client = start(&server);
    for asked in attempts(&server, &stream("id: 7\ndata: a\n\n")).await {
        assert_eq!(asked.header("last-event-id"), None);
    }
}

#[tokio::test]
async fn the_first_client_takes_no_answer_for_an_end() {
    let server = Server::start().await;
    let mut client = start(&server);
    attempts(&server, "HTTP/1.1 204 No Content\r\n\r\n").await;
    let page =
        "HTTP/1.1 404 Not Found\r\ncontent-type: text/html\r\n\r\ndata: a page\n\n";
    attempts(&server, page).await;
    // It reads a page as a stream.
    assert_eq!(client.line().await, "message: a page");
}
