//! Libraries of others, as the table of `client.md` describes them. These tests do not ask for
//! what is right: where one fails with a new version, the table has to change.

use std::fs::File;
use std::process::{Command, Stdio};
use std::time::Duration;

use tests::scripted::{Server, stream};
use tests::{Process, root};
use tokio::time::timeout;

use crate::client::Client;

/// Starts a script whose packages are in this folder of `target/sdk`.
fn start(mut command: Command, script: &str, url: &str) -> Client {
    let script = File::open(root().join("tests/sdk").join(script)).unwrap();
    command
        .args(["-", url])
        .stdin(script)
        .stdout(Stdio::piped())
        .env("NO_PROXY", "*");
    Client::from(Process::spawn(command))
}

fn eventsource(server: &Server) -> Client {
    let mut node = Command::new("node");
    node.arg("--input-type=module").current_dir(root().join("target/sdk/node"));
    start(node, "library.mjs", &server.url("/"))
}

#[tokio::test]
#[ignore = "needs its package: tests/sdk/install"]
async fn eventsource_for_node_takes_an_id_only_from_an_event() {
    let server = Server::start().await;
    let mut client = eventsource(&server);
    server.answer(stream("retry: 10\n\nid: 1\n\n:\n\n")).await;
    let begin = "event: begin\ndata:\nid: 2\n\n:\n\nevent: note\ndata: a\n\n";
    let asked = server.answer(stream(begin)).await;
    assert_eq!(asked.header("last-event-id"), None, "an ID alone is lost");
    let asked = server.asked().await;
    assert_eq!(asked.header("last-event-id"), Some("2"));
    assert_eq!(client.line().await, "begin ");
    assert_eq!(client.line().await, "note a");
}

#[tokio::test]
#[ignore = "needs its package: tests/sdk/install"]
async fn eventsource_for_node_does_not_come_back_with_an_id_beyond_latin_1() {
    let server = Server::start().await;
    let mut client = eventsource(&server);
    server.answer(stream("retry: 10\nid: €\ndata: a\n\n")).await;
    assert_eq!(client.line().await, "message a");
    let asked = timeout(Duration::from_secs(2), server.asked()).await;
    assert!(asked.is_err(), "{}", asked.unwrap().head);
}

#[tokio::test]
#[ignore = "needs its package: tests/sdk/install"]
async fn eventsource_for_node_takes_a_very_long_wait_for_none() {
    let server = Server::start().await;
    let _client = eventsource(&server);
    let attempts = async {
        for _ in 0..20 {
            server.answer(stream("retry: 9999999999999999\ndata: a\n\n")).await;
        }
    };
    timeout(Duration::from_secs(15), attempts)
        .await
        .expect("no wait between attempts");
}

#[tokio::test]
#[ignore = "needs its package: tests/sdk/install"]
async fn httpx_sse_makes_an_event_of_each_block() {
    let server = Server::start().await;
    let python = Command::new(root().join("target/sdk/python/bin/python"));
    let client = start(python, "library.py", &server.url("/"));
    server
        .answer(stream("retry: -5\n\nid: 1\n\n:\n\nevent: note\ndata: a\n\n:\n\n"))
        .await;
    let ended = client.ended().await;
    let ghost = "message  None\n";
    let lines = ["message  -5\n", ghost, ghost, "note a None\n", ghost].concat();
    assert_eq!(ended.stdout, lines, "{ended:?}");
}
