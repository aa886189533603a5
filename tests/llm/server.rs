//! The model server of these tests, and how a test asks `llm`.

use std::ops::Deref;
use std::time::Duration;

use eventsource_stream::Event;
use serde_json::{Value, json};
use tests::scripted::{Asked, Server};
use tests::{Events, Program};
use tokio::io::AsyncWriteExt;

/// The model server must learn within this time that nobody wants the rest.
pub const SOON: Duration = Duration::from_secs(1);
pub const KEY: &str = "sk-very-secret-0123456789";

/// A model server that does what the test says, word for word.
pub struct ModelServer(Server);

impl ModelServer {
    pub async fn start() -> Self {
        Self(Server::start().await)
    }

    /// Starts `llm`, which asks this server.
    pub async fn llm(&self) -> Program {
        Program::start_with(
            "llm",
            &[
                ("OPENAI_BASE_URL", &self.0.url("/v1/")),
                ("OPENAI_API_KEY", KEY),
                ("OPENAI_MODEL", "some-model"),
            ],
        )
        .await
    }
}

impl Deref for ModelServer {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.0
    }
}

/// An event with this chunk.
pub fn data(chunk: &Value) -> String {
    format!("data: {chunk}\n\n")
}

/// An event with a token, as model servers send it.
pub fn token(text: &str) -> String {
    data(&json!({ "choices": [{ "index": 0, "delta": { "content": text } }] }))
}

/// The end of a whole answer.
pub fn finish() -> String {
    let end = json!({ "index": 0, "delta": {}, "finish_reason": "stop" });
    data(&json!({ "choices": [end] })) + "data: [DONE]\n\n"
}

/// A whole answer of two tokens.
pub fn plain() -> String {
    [token("Hi"), token(" you"), finish()].concat()
}

/// Asks, and returns the path of the answer.
pub async fn ask(llm: &Program, prompt: &str) -> String {
    let answer = llm
        .send(llm.request("POST", "/answers").json(&json!({ "prompt": prompt })))
        .await;
    let status = answer.status();
    let Some(location) = answer.headers().get("location") else {
        panic!("{status}: {}", answer.text().await.unwrap());
    };
    assert_eq!(status, 201);
    let location = location.to_str().unwrap();
    assert!(
        location.starts_with("answers/") && location.len() == 8 + 32,
        "{location}"
    );
    format!("/{location}")
}

/// A reader that comes back with this last event ID.
pub async fn back(llm: &Program, path: &str, last: &str) -> Events {
    llm.events_of(llm.request("GET", path).header("last-event-id", last)).await
}

/// The text of a token.
pub fn text(token: &Event) -> String {
    assert_eq!(token.event, "token", "{token:?}");
    let data: Value = serde_json::from_str(&token.data).unwrap();
    data["text"].as_str().unwrap().to_string()
}

/// Reads a stream to its end, and returns its tokens, and the type and the data of the event
/// after them.
pub async fn whole(mut events: Events) -> (Vec<String>, String, Value) {
    let mut tokens = Vec::new();
    let mut ids = 1..;
    while let Some(event) = events.next().await {
        assert_eq!(event.id, ids.next().unwrap().to_string());
        if event.event != "token" {
            assert!(events.next().await.is_none(), "something after {event:?}");
            return (
                tokens,
                event.event,
                serde_json::from_str(&event.data).unwrap(),
            );
        }
        tokens.push(text(&event));
    }
    panic!("the stream just ended after {tokens:?}");
}

/// Sends a response with each of these as a chunk of HTTP, and with the last, empty chunk if it
/// is to be whole.
pub async fn respond(
    asked: &mut Asked,
    head: &str,
    chunks: impl Iterator<Item = &[u8]>,
    is_whole: bool,
) {
    // The test will close the connection: without a word of that, `llm` could send its next
    // request on it.
    let head =
        format!("{head}connection: close\r\ntransfer-encoding: chunked\r\n\r\n");
    let mut sent = head.into_bytes();
    for chunk in chunks {
        sent.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        sent.extend_from_slice(chunk);
        sent.extend_from_slice(b"\r\n");
    }
    if is_whole {
        sent.extend_from_slice(b"0\r\n\r\n");
    }
    // `llm` may stop reading halfway.
    drop(asked.socket.write_all(&sent).await);
}
