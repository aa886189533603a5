//! Streams and posts as bytes on a connection: for tests that cut, that stop reading, or
//! that post more than a client for single requests can.

use futures_util::future::join_all;
use serde_json::json;
use tests::within;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::client::Feed;

/// Asks for a stream, and returns when its body begins.
pub async fn raw_stream(feed: &Feed, path: &str) -> BufReader<TcpStream> {
    let mut socket = BufReader::new(feed.socket().await);
    let request = format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        within("a head", socket.read_line(&mut head)).await.unwrap();
    }
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("chunked"), "{head}");
    socket
}

/// Posts so many notes of this length over many connections at once. Each note begins with
/// the number of its connection, and its own number there.
pub async fn fill(feed: &Feed, connections: usize, count: usize, length: usize) {
    let each = count / connections;
    assert_eq!(each * connections, count);
    let posting = (0..connections).map(async |connection| {
        let mut socket = feed.socket().await;
        let (mut from, mut to) = socket.split();
        let requests = async {
            for n in 0..each {
                let data = format!("{connection}:{n}:");
                let data = format!("{data:.<length$}");
                let body = json!({ "type": "note", "data": data }).to_string();
                let head = format!(
                    "POST /events HTTP/1.1\r\nhost: test\r\n\
                     content-type: application/json\r\ncontent-length: {}\r\n\r\n",
                    body.len()
                );
                to.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
            }
        };
        let answers = async {
            let mut answers = String::new();
            let mut count = 0;
            while count < each {
                let mut buffer = [0; 16_384];
                let read = within("answers", from.read(&mut buffer)).await.unwrap();
                assert!(read > 0, "the server closed: {answers}");
                answers += str::from_utf8(&buffer[..read]).unwrap();
                while let Some(end) = answers.find("}") {
                    assert!(answers.starts_with("HTTP/1.1 201"), "{answers}");
                    answers.drain(..=end);
                    count += 1;
                }
            }
        };
        tokio::join!(requests, answers);
    });
    join_all(posting).await;
}
