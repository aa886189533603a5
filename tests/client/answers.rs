//! The answers that the client takes for a stream, and those that it refuses: types,
//! codings, odd heads.

use tests::scripted::{HEAD, Server, stream};
use tests::until;

use crate::client::{Client, no_content};

/// Header lines of responses that are streams by the Fetch standard, which finds the type
/// that decides.
pub const STREAMS: [&str; 13] = [
    "content-type: text/event-stream\r\n",
    "content-type: Text/Event-Stream; charset=UTF-8\r\n",
    "CONTENT-TYPE: TEXT/EVENT-STREAM\r\n",
    "content-type: text/event-stream;charset=iso-8859-1\r\n",
    "content-type: text/event-stream;bogus\r\n",
    "content-type: text/event-stream ; a=\"b,c/d\"; e=f\r\n",
    "content-type: application/json, text/event-stream\r\n",
    "content-type: text/html;charset=utf-8,text/event-stream;v=1\r\n",
    "content-type: text/html\r\ncontent-type: text/event-stream\r\n",
    "content-type: text/event-stream, */*\r\n",
    "content-type: text/event-stream, none, , a b/c, text/\r\n",
    "content-type: text/event-stream\r\ncontent-type: \r\n",
    "content-type: a/b; c=\"\\\",\", text/event-stream\r\n",
];

/// Header lines of responses that are none.
pub const NO_STREAMS: [&str; 11] = [
    "content-type: text/plain\r\n",
    "content-type: text/event-streams\r\n",
    "content-type: text/event-stream/x\r\n",
    "content-type: text / event-stream\r\n",
    "content-type: application/json\r\n",
    "content-type: \r\n",
    "",
    "content-type: text/event-stream, application/json\r\n",
    "content-type: text/event-stream\r\ncontent-type: text/html; a=b\r\n",
    "content-type: text/html; a=\", text/event-stream\r\n",
    "content-type: text/html; a=\"\\\", text/event-stream\"\r\n",
];

/// A whole response with these header lines, whose body is one event.
pub fn response(headers: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{headers}\r\ndata: é\n\n")
}

#[tokio::test]
async fn the_last_valid_type_decides_as_the_fetch_standard_says() {
    for headers in STREAMS {
        let server = Server::start().await;
        let mut client = Client::of(&server, &[]);
        server.answer(response(headers)).await;
        assert_eq!(client.line().await, "message: é", "{headers}");
    }
    for headers in NO_STREAMS {
        let server = Server::start().await;
        let client = Client::of(&server, &[]);
        server.answer(response(headers)).await;
        let ended = client.ended().await;
        assert_eq!(
            (ended.code, &*ended.stdout),
            (Some(2), ""),
            "{headers}: {ended:?}"
        );
        assert!(ended.stderr.contains("not text/event-stream"), "{ended:?}");
    }
}

#[tokio::test]
async fn a_content_coding_is_not_asked_for_and_refused_with_a_reason() {
    for coding in ["gzip", "Deflate", "br", "identity, zstd", "gzip, identity", "x"]
    {
        let server = Server::start().await;
        let client = Client::of(&server, &[]);
        let headers =
            format!("{HEAD}content-encoding: {coding}\r\n\r\n\u{1f}\u{8b}");
        let asked = server.answer(headers).await;
        assert_eq!(asked.header("accept-encoding"), Some("identity"));
        let ended = client.ended().await;
        assert_eq!(
            (ended.code, &*ended.stdout),
            (Some(2), ""),
            "{coding}: {ended:?}"
        );
        assert!(ended.stderr.contains(coding), "{ended:?}");
    }
    for coding in ["identity", "Identity", ""] {
        let server = Server::start().await;
        let mut client = Client::of(&server, &[]);
        let head = format!("{HEAD}content-encoding: {coding}\r\n\r\ndata: a\n\n");
        server.answer(head).await;
        assert_eq!(client.line().await, "message: a", "{coding}");
    }
}

#[tokio::test]
async fn odd_heads_that_browsers_read_are_read() {
    let many: String = (0..900).map(|n| format!("x-{n}: {n}\r\n")).collect();
    for headers in [
        "x-a : b\r\n",
        "x-a: b\r\n  and more\r\n\tand more\r\n",
        "not a name: b\r\n",
        "no colon\r\n",
        &many,
    ] {
        let server = Server::start().await;
        let mut client = Client::of(&server, &[]);
        server.answer(format!("{HEAD}{headers}\r\ndata: a\n\n")).await;
        assert_eq!(client.line().await, "message: a", "{headers}");
    }
}

/// hyper lets the extensions of all chunks together have 16 KiB.
#[tokio::test]
async fn a_stream_with_many_chunk_extensions_is_cut_and_goes_on_where_it_was() {
    let extension = format!(";chunk-signature={}", "0".repeat(1_000));
    let mut response = format!("{HEAD}transfer-encoding: chunked\r\n\r\n");
    for n in 1..=30 {
        let event = format!("retry: 0\nid: {n}\ndata: {n}\n\n");
        response += &format!("{:x}{extension}\r\n{event}\r\n", event.len());
    }
    let server = Server::start().await;
    let mut client = Client::of(&server, &[]);
    let mut asked = server.asked().await;
    asked.write(response).await;
    let mut asked = server.asked().await;
    let last: u32 = asked.header("last-event-id").unwrap().parse().unwrap();
    assert!((10..30).contains(&last), "{last}");
    for n in 1..=last {
        assert_eq!(client.line().await, format!("message (id {n}): {n}"));
    }
    asked.stream("data: b\n\n").await;
    assert_eq!(client.line().await, format!("message (id {last}): b"));
    let says_why = async || client.stderr().contains("the connection is lost");
    until("the client says why", says_why).await;
}

#[tokio::test]
async fn a_refusal_is_not_a_stream_although_its_type_says_so() {
    let server = Server::start().await;
    let client = Client::of(&server, &[]);
    server.answer(stream("retry: 0\ndata: a\n\n")).await;
    let refused = HEAD.replace("200 OK", "503 Busy");
    server.answer(format!("{refused}\r\ndata: b\n\n")).await;
    no_content(&server).await;
    assert_eq!(client.ended().await.stdout, "message: a\n");
}
