//! A program that runs for the contract, and its streams.

use reqwest::{RequestBuilder, Response};
use serde_json::{Value, json};
use tempfile::TempDir;
use tests::scripted::{Asked, Server};
use tests::{Program, within};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// The requests that lead to a stream of a program.
#[derive(Clone, Copy, Debug)]
pub enum Stream {
    /// It is there.
    Get(&'static str),
    /// Its bytes are put there first.
    Put(&'static str, &'static str),
    /// The answer of `llm` to a prompt.
    Answer,
    /// A job of `progress` with these steps.
    Job(&'static str),
    /// The answer of `model` to a request that is a POST itself.
    Completion,
}

/// A deed that gives the readers of a stream their first events, once they are there.
#[derive(Clone, Copy, Debug)]
pub enum Act {
    /// Nothing has to be done: the events come by themselves.
    Waits,
    /// An event is stored in `feed`.
    Stores,
    /// The model server that `llm` asks generates a token, and then thinks on.
    Generates,
}

/// A program, and all that it needs.
pub struct Running {
    pub program: Program,
    /// The model server that `llm` asks.
    model: Server,
    _folder: TempDir,
}

/// The request that opens a stream.
pub struct Opening {
    method: &'static str,
    pub path: String,
    body: String,
}

impl Running {
    /// Starts a program. Each of them finds the variables in its environment that some of
    /// them need.
    pub async fn start(name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let model = Server::start().await;
        let variables = [
            ("FEED_DIR", folder.path().to_str().unwrap()),
            ("OPENAI_BASE_URL", &*model.url("/v1/")),
            ("OPENAI_MODEL", "some-model"),
        ];
        let program = Program::start_with(name, &variables).await;
        Self { program, model, _folder: folder }
    }

    /// Does what has to be done before the stream can be opened.
    pub async fn prepare(&self, stream: Stream) -> Opening {
        let get = |path: &str| Opening {
            method: "GET",
            path: path.into(),
            body: String::new(),
        };
        match stream {
            Stream::Get(path) => get(path),
            Stream::Put(path, bytes) => {
                let put = self.program.request("PUT", path).body(bytes);
                assert_eq!(self.program.send(put).await.status(), 201);
                get(path)
            }
            Stream::Answer => {
                let post = self.program.request("POST", "/answers");
                let post = post.json(&json!({ "prompt": "Hi" }));
                get(&self.located(post).await)
            }
            Stream::Job(steps) => {
                let post = self.program.request("POST", "/jobs");
                get(&self.located(post.body(steps)).await)
            }
            Stream::Completion => {
                let message = json!({ "role": "user", "content": "Hi" });
                let body = json!({
                    "model": "stand-in", "stream": true, "messages": [message],
                });
                Opening {
                    method: "POST",
                    path: "/v1/chat/completions".into(),
                    body: body.to_string(),
                }
            }
        }
    }

    /// The path of what this request has created.
    async fn located(&self, post: RequestBuilder) -> String {
        let answer = self.program.send(post).await;
        assert_eq!(answer.status(), 201);
        format!("/{}", answer.headers()["location"].to_str().unwrap())
    }

    /// Opens the stream, and returns when its head is there.
    pub async fn open(&self, opening: &Opening) -> Response {
        let response = self.program.send(self.request(opening)).await;
        assert_eq!(response.status(), 200, "{} {}", opening.method, opening.path);
        response
    }

    fn request(&self, opening: &Opening) -> RequestBuilder {
        let request = self.program.request(opening.method, &opening.path);
        if opening.body.is_empty() {
            return request;
        }
        request.header("content-type", "application/json").body(opening.body.clone())
    }

    /// A client that opens the stream, and reads nothing of it.
    pub async fn open_and_never_read(&self, opening: &Opening) -> TcpStream {
        let Opening { method, path, body } = opening;
        let length = body.len();
        let mut socket = self.program.socket().await;
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: test\r\n\
             content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        socket.write_all(request.as_bytes()).await.unwrap();
        within("an answer", socket.readable()).await.unwrap();
        socket
    }

    /// Does the deed. The connection of `llm` to its model server lives as long as the
    /// result does.
    pub async fn act(&self, act: Act) -> Option<Asked> {
        match act {
            Act::Waits => None,
            Act::Stores => {
                let post = self.program.request("POST", "/events");
                let post = post.json(&json!({ "type": "note", "data": "the end" }));
                assert_eq!(self.program.send(post).await.status(), 201);
                None
            }
            Act::Generates => {
                let mut asked = self.model.asked().await;
                let delta = json!({ "content": "Hi" });
                let chunk = json!({ "choices": [{ "index": 0, "delta": delta }] });
                asked.stream(format!("data: {chunk}\n\n")).await;
                Some(asked)
            }
        }
    }
}

/// A stream of `chat` that was whole: users have joined, and nobody has left.
pub fn only_joined(body: &str) {
    for event in body.lines().filter_map(|line| line.strip_prefix("event: ")) {
        assert!(["user", "name", "joined"].contains(&event), "{event}: {body}");
    }
    assert!(body.ends_with("\n\n"), "{body}");
}

/// A stream of `llm` that was whole: its reader is told why it ends.
pub fn says_that_it_stops(body: &str) {
    let (_, last) = body.rsplit_once("event: ").expect("an event");
    assert!(last.starts_with("failure\n"), "{body}");
    assert!(last.contains("this server is being stopped"), "{body}");
    assert!(last.ends_with("\n\n"), "{body}");
}

/// A stream of `progress` that was whole: its reader is told how the job ends.
pub fn says_that_it_is_cancelled(body: &str) {
    let (_, last) = body.rsplit_once("event: ").expect("an event");
    assert!(last.starts_with("cancelled\n"), "{body}");
    assert!(last.ends_with("\n\n"), "{body}");
}

/// A stream of `model` that was whole and not done: each block is a line of JSON.
pub fn whole_chunks(body: &str) {
    assert!(body.ends_with("}\n\n"), "{body}");
    for block in body.split_terminator("\n\n") {
        let data = block.strip_prefix("data: ").expect("a block is data");
        serde_json::from_str::<Value>(data).expect("data is JSON");
    }
}

/// A stream of whole events.
pub fn whole_events(body: &str) {
    assert!(body.ends_with("\n\n"), "{body}");
}
