//! Chapter 7: what `llm` makes of a model server's stream, whatever that server does.

mod glued;
mod model;

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use eventsource_stream::Event;
use nix::sys::signal::Signal;
use salvo::prelude::*;
use serde_json::{Value, json};
use tests::{
    Browser, Ended, Events, Program, Recording, assert_recorded,
    assert_text_but_numbers, chunks, pause, root, run, serve, until, within,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// As in `examples/llm/main.rs`.
const MAX_PROMPT: usize = 16 << 10;
const MAX_REQUEST: usize = 8 * MAX_PROMPT;
const MAX_ANSWER: usize = 1 << 20;
const MAX_EVENT: usize = 256 << 10;
const MAX_GENERATING: usize = 200;
const MAX_KEPT: usize = 256;
const GRACE: Duration = Duration::from_secs(5);
const HEARTBEAT: Duration = Duration::from_secs(15);
const CONNECT: Duration = Duration::from_secs(10);
const IDLE: Duration = Duration::from_secs(60);

/// How soon the model server must see that nobody wants the rest.
const SOON: Duration = Duration::from_secs(1);
const KEY: &str = "sk-very-secret-0123456789";
const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n";

/// A model server that does what the test says, word for word.
struct ModelServer(TcpListener);

/// One request to it, and the connection that it came on.
struct Asked {
    head: String,
    body: Value,
    socket: TcpStream,
}

impl ModelServer {
    async fn start() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    /// `llm`, which asks this server.
    async fn llm(&self) -> Program {
        let base = format!("http://{}/v1/", self.0.local_addr().unwrap());
        Program::start_with(
            "llm",
            &[
                ("OPENAI_BASE_URL", &base),
                ("OPENAI_API_KEY", KEY),
                ("OPENAI_MODEL", "some-model"),
            ],
        )
        .await
    }

    /// The next request.
    async fn asked(&self) -> Asked {
        let (mut socket, _) =
            within("a request to the model server", self.0.accept()).await.unwrap();
        socket.set_nodelay(true).unwrap();
        let mut bytes = Vec::new();
        let request = async {
            loop {
                assert!(socket.read_buf(&mut bytes).await.unwrap() > 0);
                let text = String::from_utf8(bytes.clone()).unwrap();
                let Some((head, body)) = text.split_once("\r\n\r\n") else {
                    continue;
                };
                if let Ok(body) = serde_json::from_str(body) {
                    return (head.to_string(), body);
                }
            }
        };
        let (head, body) = within("a whole request", request).await;
        Asked { head, body, socket }
    }
}

impl Asked {
    async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        self.socket.write_all(bytes.as_ref()).await.unwrap();
    }

    /// The head of a stream that ends when the connection does.
    async fn begin(&mut self) {
        self.write(format!("{HEAD}\r\n")).await;
    }

    async fn token(&mut self, text: &str) {
        self.write(token(text)).await;
    }

    async fn finish(&mut self) {
        self.write(finish()).await;
    }

    /// Waits until the client has closed the connection, and says how long that took.
    async fn is_left(&mut self) -> Duration {
        let start = Instant::now();
        let end = within("the client leaves", self.socket.read(&mut [0])).await;
        assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
        start.elapsed()
    }
}

fn data(chunk: &Value) -> String {
    format!("data: {chunk}\n\n")
}

fn token(text: &str) -> String {
    data(&json!({ "choices": [{ "index": 0, "delta": { "content": text } }] }))
}

fn finish() -> String {
    let end = json!({ "index": 0, "delta": {}, "finish_reason": "stop" });
    data(&json!({ "choices": [end] })) + "data: [DONE]\n\n"
}

/// Asks, and returns the path of the answer.
async fn ask(llm: &Program, prompt: &str) -> String {
    let answer = llm
        .send(llm.request("POST", "/answers").json(&json!({ "prompt": prompt })))
        .await;
    assert_eq!(answer.status(), 201);
    let location = answer.headers()["location"].to_str().unwrap();
    assert!(
        location.starts_with("answers/") && location.len() == 8 + 32,
        "{location}"
    );
    format!("/{location}")
}

/// A reader that comes back with this last event ID.
async fn back(llm: &Program, path: &str, last: &str) -> Events {
    llm.events_of(llm.request("GET", path).header("last-event-id", last)).await
}

fn text(token: &Event) -> String {
    assert_eq!(token.event, "token", "{token:?}");
    let data: Value = serde_json::from_str(&token.data).unwrap();
    data["text"].as_str().unwrap().to_string()
}

/// Reads a stream to its end: its tokens, and the event after them.
async fn whole(mut events: Events) -> (Vec<String>, String, Value) {
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

/// How an answer ends.
enum End {
    Done(&'static str, Value),
    /// The reason has this in it.
    Failure(&'static str),
}
use End::{Done, Failure};

/// What a model server sends, and what has to become of it.
struct Case {
    what: &'static str,
    /// Status line and header.
    head: &'static str,
    body: Vec<u8>,
    tokens: &'static [&'static str],
    end: End,
}

fn case(
    what: &'static str,
    body: impl Into<Vec<u8>>,
    tokens: &'static [&'static str],
    end: End,
) -> Case {
    Case { what, head: HEAD, body: body.into(), tokens, end }
}

fn refusal(
    what: &'static str,
    head: &'static str,
    body: String,
    why: &'static str,
) -> Case {
    Case { what, head, body: body.into(), tokens: &[], end: Failure(why) }
}

fn plain() -> String {
    [token("Hi"), token(" you"), finish()].concat()
}

fn cases() -> Vec<Case> {
    let choice = |choice: Value| data(&json!({ "choices": [choice] }));
    let stopped = || Done("stop", Value::Null);
    let usage =
        json!({ "prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5 });
    let error =
        |message: &str| json!({ "error": { "message": message } }).to_string();
    vec![
        case("two tokens", plain(), &["Hi", " you"], stopped()),
        case(
            "a role first, then null, then nothing, then a token",
            choice(json!({ "index": 0, "delta": { "role": "assistant", "content": "" } }))
                + &*choice(json!({ "delta": { "role": "assistant", "content": null } }))
                + &*choice(json!({ "delta": {}, "finish_reason": null }))
                + &*plain(),
            &["Hi", " you"],
            stopped(),
        ),
        case(
            "several choices",
            choice(json!({ "index": 1, "delta": { "content": "No" } }))
                + &*token("Hi")
                + &*choice(json!({ "index": 1, "delta": {}, "finish_reason": "length" }))
                + &*finish(),
            &["Hi"],
            stopped(),
        ),
        case(
            "usage in an event without choices",
            token("Hi")
                + &*finish().replace(
                    "data: [DONE]",
                    &(data(&json!({ "choices": [], "usage": usage })) + "data: [DONE]"),
                ),
            &["Hi"],
            Done("stop", usage.clone()),
        ),
        case(
            "usage in each event, null at first",
            data(&json!({ "choices": [{ "delta": { "content": "Hi" } }], "usage": null }))
                + &*data(&json!({ "choices": [{ "finish_reason": "length" }], "usage": usage }))
                + "data: [DONE]\n\n",
            &["Hi"],
            Done("length", usage),
        ),
        case("no [DONE]", plain().replace("data: [DONE]\n\n", ""), &["Hi", " you"], Failure("broke off")),
        case("no finish_reason", token("Hi") + "data: [DONE]\n\n", &["Hi"], Failure("broke off")),
        case("the last event without its empty line", plain().trim_end(), &["Hi", " you"], Failure("broke off")),
        case("an empty body", "", &[], Failure("before the first token")),
        case("only comments", ": ping\n\n", &[], Failure("before the first token")),
        case(
            "comments before the first token and between events",
            format!(": ping\n\n:\n\n{}: ping\n\n{}", token("Hi"), finish()),
            &["Hi"],
            stopped(),
        ),
        case(
            "an error after some tokens",
            token("Hi") + "data: " + &*error("the GPU is on fire") + "\n\n",
            &["Hi"],
            Failure("the GPU is on fire"),
        ),
        case(
            "an error as an event of its own type, in a string",
            token("Hi") + "event: error\ndata: {\"error\": \"overloaded\"}\n\n",
            &["Hi"],
            Failure("overloaded"),
        ),
        case("an error with the key in it", "data: ".to_string() + &*error(&format!("no such key: {KEY}")) + "\n\n", &[], Failure("no such key: [key]")),
        case("no JSON", token("Hi") + "data: {\n\n", &["Hi"], Failure("no chunk")),
        case("lines end in CRLF", plain().replace('\n', "\r\n"), &["Hi", " you"], stopped()),
        case("lines end in CR", plain().replace('\n', "\r"), &["Hi", " you"], stopped()),
        case("no space after the colon", plain().replace("data: ", "data:"), &["Hi", " you"], stopped()),
        case("a byte order mark first", "\u{feff}".to_string() + &*plain(), &["Hi", " you"], stopped()),
        case("two byte order marks first: the line is no field that anybody knows", "\u{feff}\u{feff}".to_string() + &*plain(), &[" you"], stopped()),
        case("a byte order mark before a later line", token("Hi") + "\u{feff}" + &*token("lost") + &*finish(), &["Hi"], stopped()),
        case(
            "the key where no text should be",
            format!("data: {{\"choices\": \"the key is {KEY}\"}}\n\n"),
            &[],
            Failure("the key is [key]"),
        ),
        case(
            "the key in a finish_reason",
            choice(json!({ "index": 0, "delta": {}, "finish_reason": format!("no {KEY}") }))
                + "data: [DONE]\n\n",
            &[],
            Done("no [key]", Value::Null),
        ),
        case(
            "a refusal",
            choice(json!({ "index": 0, "delta": { "content": null, "refusal": "I can't." } }))
                + &*finish(),
            &["I can't."],
            stopped(),
        ),
        case(
            "an error that is no member",
            "data: {\"object\": \"error\", \"message\": \"out of memory\"}\n\n",
            &[],
            Failure("gave up: out of memory"),
        ),
        case("a byte order mark in the text", token("\u{feff}a") + &*finish(), &["\u{feff}a"], stopped()),
        case(
            "an emoji that is split over tokens",
            token("👩") + &*token("\u{200d}👩") + &*token("\u{200d}👧") + &*finish(),
            &["👩", "\u{200d}👩", "\u{200d}👧"],
            stopped(),
        ),
        case(
            "letters as escapes",
            r#"data: {"choices": [{"delta": {"content": "perch\u00e9 \ud83d\ude42"}}]}"#
                .to_string()
                + "\n\n"
                + &*finish(),
            &["perché 🙂"],
            stopped(),
        ),
        case(
            "bytes that are not UTF-8",
            [b"data: {\"choices\": [{\"delta\": {\"content\": \"a\xff\xf0\x9fb\"}}]}\n\n".as_slice(), plain().as_bytes()].concat(),
            &["a\u{fffd}\u{fffd}b", "Hi", " you"],
            stopped(),
        ),
        case("line breaks and control characters in a token", token("a\r\n\n\u{0}\u{2028}\u{85}b") + &*finish(), &["a\r\n\n\u{0}\u{2028}\u{85}b"], stopped()),
        case(
            "a JSON text on several data lines",
            "data: {\"choices\":\ndata: [{\"delta\": {\"content\": \"Hi\"}}]}\n\n".to_string() + &*finish(),
            &["Hi"],
            stopped(),
        ),
        case("a line without an end", format!("data: {}", "x".repeat(MAX_EVENT + 1)), &[], Failure("more than 262144 bytes")),
        case("an event without an end", "data: xxxxx\n".repeat(MAX_EVENT / 10), &[], Failure("more than 262144 bytes")),
        case("[DONE], and more after it", plain() + &*token("more"), &["Hi", " you"], stopped()),
        refusal(
            "a wrong key",
            "HTTP/1.1 401 Unauthorized\r\ncontent-type: application/json\r\n",
            error(&format!("Incorrect API key provided: {KEY}.")),
            "401 without a stream: Incorrect API key provided: [key].",
        ),
        refusal("too many requests", "HTTP/1.1 429 Too Many Requests\r\ncontent-type: application/json\r\n", error("slow down"), "429 without a stream: slow down"),
        refusal("a proxy's page", "HTTP/1.1 502 Bad Gateway\r\ncontent-type: text/html\r\n", "<h1>Bad Gateway</h1>".into(), "502 without a stream: a page of HTML"),
        refusal("a message elsewhere", "HTTP/1.1 422 Unprocessable Entity\r\ncontent-type: application/json\r\n", r#"{"detail": "no model"}"#.into(), "422 without a stream: no model"),
        refusal("an error without words", "HTTP/1.1 500 Internal Server Error\r\n", String::new(), "500"),
        refusal("an error with too many words", "HTTP/1.1 500 Internal Server Error\r\n", "x".repeat(2 * MAX_EVENT), "500 without a stream: xxx"),
        refusal("200 with an error as JSON", "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n", error("out of memory"), "out of memory"),
        refusal("200 without a type", "HTTP/1.1 200 OK\r\n", "hello".into(), "200 without a stream: hello"),
        Case {
            head: "HTTP/1.1 200 OK\r\ncontent-type: Text/Event-Stream; charset=UTF-8\r\n",
            ..case("a type in other letters", plain(), &["Hi", " you"], stopped())
        },
        refusal("a redirect", "HTTP/1.1 307 Temporary Redirect\r\nlocation: http://127.0.0.1:1/\r\n", String::new(), "307"),
    ]
}

#[tokio::test]
async fn whatever_a_model_server_sends_ends_in_done_or_in_a_reason() {
    let server = ModelServer::start().await;
    let llm = server.llm().await;
    for Case { what, head, body, tokens, end } in cases() {
        // As one chunk of HTTP, and with each byte as a chunk.
        for size in [body.len().max(1), 1] {
            let path = ask(&llm, "What is this?").await;
            let events = llm.events(&path).await;
            let mut asked = server.asked().await;
            respond(&mut asked, head, body.chunks(size), true).await;
            let (came, last, data) = whole(events).await;
            assert_eq!(came, tokens, "{what}, in chunks of {size}");
            match &end {
                Done(reason, usage) => {
                    assert_eq!(last, "done", "{what}, in chunks of {size}: {data}");
                    let expected =
                        json!({ "finish_reason": reason, "usage": usage });
                    assert_eq!(data, expected, "{what}");
                }
                Failure(part) => {
                    let reason = data["reason"].as_str().unwrap();
                    assert!(
                        reason.contains(part),
                        "{what}, in chunks of {size}: {reason}"
                    );
                    assert!(reason.len() < 600, "{what}: {reason}");
                    assert!(!reason.contains(KEY), "{what}: {reason}");
                }
            }
        }
    }
    assert!(!llm.stderr().contains(KEY), "{}", llm.stderr());
}

/// Sends a response, each of these as a chunk of HTTP, and the last chunk if it is whole.
async fn respond(
    asked: &mut Asked,
    head: &str,
    chunks: impl Iterator<Item = &[u8]>,
    is_whole: bool,
) {
    let mut sent = format!("{head}transfer-encoding: chunked\r\n\r\n").into_bytes();
    for chunk in chunks {
        sent.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        sent.extend_from_slice(chunk);
        sent.extend_from_slice(b"\r\n");
    }
    if is_whole {
        sent.extend_from_slice(b"0\r\n\r\n");
    }
    // It may be refused halfway.
    drop(asked.socket.write_all(&sent).await);
}

/// What model servers sent is in `tests/model-servers`: a file's first line says which
/// one, to which request, and with which status.
#[tokio::test]
async fn what_real_servers_sent_is_understood() {
    let server = ModelServer::start().await;
    let llm = server.llm().await;
    let mut ends = BTreeMap::new();
    for file in fs::read_dir(root().join("tests/model-servers")).unwrap().flatten() {
        let file = file.path();
        if file.extension().is_none_or(|kind| kind != "jsonl") {
            continue;
        }
        let recording = fs::read_to_string(&file).unwrap();
        let mut lines = recording
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        let meta = lines.next().unwrap();
        if meta["request"]["stream"] != true {
            continue;
        }
        let texts = lines.map(|line| line["text"].as_str().unwrap().to_string());
        let texts: Vec<_> = texts.collect();

        // Read in a way of its own, which has to be right for these recordings only.
        let body = texts.concat();
        let data = || body.lines().filter_map(|line| line.strip_prefix("data: "));
        let chunks = data().filter_map(|data| serde_json::from_str(data).ok());
        let chunks: Vec<Value> = chunks.collect();
        let field = |pointer: &str| {
            let found = chunks.iter().filter_map(|chunk| chunk.pointer(pointer));
            found.filter(|value| !value.is_null()).cloned().collect::<Vec<_>>()
        };
        let words = field("/choices/0/delta/content");
        let words = words.iter().filter_map(Value::as_str);
        let words: Vec<_> = words.filter(|word| !word.is_empty()).collect();
        let reason = field("/choices/0/finish_reason").pop();
        let is_whole = reason.is_some() && data().any(|data| data == "[DONE]");

        let events = llm.events(&ask(&llm, "Hi").await).await;
        let head = format!(
            "HTTP/1.1 {} Status\r\ncontent-type: {}\r\n",
            meta["status"],
            meta["content_type"].as_str().unwrap_or("text/plain")
        );
        let mut asked = server.asked().await;
        let chunks = texts.iter().map(|text| text.as_bytes());
        respond(&mut asked, &head, chunks, meta["cut"] != true).await;
        drop(asked);
        let (tokens, last, end) = whole(events).await;
        let name = file.file_stem().unwrap().to_string_lossy().to_string();
        assert_eq!(tokens, words, "{name}");
        assert_eq!(last == "done", is_whole, "{name}: {end}");
        if is_whole {
            assert_eq!(Some(&end["finish_reason"]), reason.as_ref(), "{name}");
            let usage = field("/usage").pop().unwrap_or_default();
            for count in ["prompt_tokens", "completion_tokens", "total_tokens"] {
                assert_eq!(end["usage"][count], usage[count], "{name}");
            }
        }
        let said = end["reason"].as_str().or(end["finish_reason"].as_str()).unwrap();
        ends.insert(name, format!("{last}: {said}"));
    }
    assert!(ends.len() > 10, "{ends:?}");
    let width = ends.keys().map(String::len).max().unwrap();
    let table = ends.iter().map(|(name, end)| format!("{name:width$}  {end}\n"));
    assert_recorded("llm/recorded/ends.txt", &table.collect::<String>());
}

/// The table of chapter 3 has what makes eventsource-stream panic, wait or err.
#[tokio::test]
async fn each_stream_of_chapter_3_ends_in_a_reason() {
    let server = ModelServer::start().await;
    let llm = server.llm().await;
    for tests::cases::Case { name, bytes, .. } in tests::cases::cases() {
        let bytes = [&bytes, plain().as_bytes()].concat();
        for size in [bytes.len(), 1] {
            if size == 1 && bytes.len() > 10_000 {
                continue;
            }
            let events = llm.events(&ask(&llm, "Hi").await).await;
            let mut asked = server.asked().await;
            respond(&mut asked, HEAD, bytes.chunks(size), true).await;
            let (_, last, _) = whole(events).await;
            // Data that is no JSON is a failure; where there is none, the answer is whole.
            assert!(["done", "failure"].contains(&&*last), "{name}: {last}");
        }
    }
    assert!(!llm.stderr().contains("panicked"), "{}", llm.stderr());
}

#[tokio::test]
async fn a_connection_that_is_cut_is_a_failure_and_what_came_before_stays() {
    let server = ModelServer::start().await;
    let llm = server.llm().await;
    let path = ask(&llm, "Hi").await;
    let events = llm.events(&path).await;
    let mut asked = server.asked().await;
    asked.write(format!("{HEAD}transfer-encoding: chunked\r\n\r\n")).await;
    let token = token("Hi");
    asked.write(format!("{:x}\r\n{token}\r\n", token.len())).await;
    drop(asked);
    let (tokens, last, data) = whole(events).await;
    assert_eq!((tokens, &*last), (vec!["Hi".to_string()], "failure"));
    assert!(data["reason"].as_str().unwrap().contains("broke off"), "{data}");
}

#[tokio::test]
async fn the_model_server_is_asked_by_the_protocol() {
    let server = ModelServer::start().await;
    let llm = server.llm().await;
    ask(&llm, "What is \"this\"?\n").await;
    let asked = server.asked().await;
    assert!(
        asked.head.starts_with("POST /v1/chat/completions HTTP/1.1\r\n"),
        "{}",
        asked.head
    );
    assert!(asked.head.contains(&format!("authorization: Bearer {KEY}")));
    assert!(asked.head.contains("content-type: application/json"));
    let expected = json!({
        "model": "some-model",
        "messages": [{ "role": "user", "content": "What is \"this\"?\n" }],
        "stream": true,
        "stream_options": { "include_usage": true },
    });
    assert_eq!(asked.body, expected);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_a_failure() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let base = format!("http://{free}/v1");
    let variables = [("OPENAI_BASE_URL", &*base), ("OPENAI_MODEL", "m")];
    let llm = Program::start_with("llm", &variables).await;
    let path = ask(&llm, "Hi").await;
    let (tokens, last, data) = whole(llm.events(&path).await).await;
    assert_eq!((tokens.len(), &*last), (0, "failure"));
    let reason = data["reason"].as_str().unwrap();
    assert!(
        reason.starts_with(&format!("cannot reach the model server at {free}: ")),
        "{reason}"
    );
}

/// A listener's queue that is full lets no connection in, and refuses none.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_server_that_accepts_nothing_is_a_failure_after_ten_seconds() {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let full = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    while let Ok(connection) =
        tokio::time::timeout(SOON, TcpStream::connect(full)).await
    {
        waiting.push(connection.unwrap());
    }
    let base = format!("http://{full}/v1");
    let variables = [("OPENAI_BASE_URL", &*base), ("OPENAI_MODEL", "m")];
    let llm = Program::start_with("llm", &variables).await;
    let path = ask(&llm, "Hi").await;
    let start = Instant::now();
    let (_, last, data) = whole(llm.events(&path).await).await;
    assert_eq!(last, "failure");
    assert!(
        data["reason"].as_str().unwrap().contains("accepted no connection"),
        "{data}"
    );
    assert!(start.elapsed() >= CONNECT - SOON, "{:?}", start.elapsed());
}

#[tokio::test]
async fn tokens_arrive_one_by_one_while_the_model_goes_on() {
    let server = ModelServer::start().await;
    let llm = server.llm().await;
    let mut events = llm.events(&ask(&llm, "Count").await).await;
    let mut asked = server.asked().await;
    asked.begin().await;
    for word in [" one", " two", " three"] {
        // The next one is sent when this one has arrived.
        asked.token(word).await;
        assert_eq!(text(&events.next().await.unwrap()), word);
    }
    asked.finish().await;
    assert_eq!(events.next().await.unwrap().event, "done");
    assert!(events.next().await.is_none());
}

#[tokio::test]
async fn two_readers_read_one_answer_and_the_model_is_asked_once() {
    let server = ModelServer::start().await;
    let llm = server.llm().await;
    let path = ask(&llm, "Hi").await;
    let mut ann = llm.events(&path).await;
    let mut asked = server.asked().await;
    asked.begin().await;
    asked.token("a").await;
    assert_eq!(text(&ann.next().await.unwrap()), "a");
    let mut bob = llm.events(&path).await;
    assert_eq!(text(&bob.next().await.unwrap()), "a");
    asked.token("b").await;
    assert_eq!(text(&bob.next().await.unwrap()), "b");
    // That one of them leaves is no reason to stop.
    drop(bob);
    assert_eq!(text(&ann.next().await.unwrap()), "b");
    pause(GRACE + SOON).await;
    asked.token("c").await;
    asked.finish().await;
    assert_eq!(text(&ann.next().await.unwrap()), "c");
    let (tokens, last, _) = whole(llm.events(&path).await).await;
    assert_eq!((tokens.concat(), &*last), ("abc".to_string(), "done"));
    let again = tokio::time::timeout(SOON, server.0.accept()).await;
    assert!(again.is_err(), "the model is asked again");
}

#[tokio::test]
async fn who_comes_back_continues_and_at_the_end_there_is_nothing() {
    let server = ModelServer::start().await;
    let llm = server.llm().await;
    let path = ask(&llm, "Hi").await;
    let mut events = llm.events(&path).await;
    let mut asked = server.asked().await;
    asked.begin().await;
    asked.token("a").await;
    let first = events.next().await.unwrap();
    drop(events);
    asked.token("b").await;
    asked.finish().await;
    let mut events = back(&llm, &path, &first.id).await;
    assert_eq!(text(&events.next().await.unwrap()), "b");
    let done = events.next().await.unwrap();
    assert_eq!((&*done.event, &*done.id), ("done", "3"));
    assert!(events.next().await.is_none());

    let request = llm.request("GET", &path).header("last-event-id", &done.id);
    assert_eq!(llm.send(request).await.status(), 204);
    for forged in ["4", "-1", "99999999999999999999999", "x", "", "1.0", " 1\t2"] {
        let (tokens, last, _) = whole(back(&llm, &path, forged).await).await;
        assert_eq!(
            (tokens.concat(), &*last),
            ("ab".to_string(), "done"),
            "{forged}"
        );
    }
}

#[tokio::test]
async fn the_model_server_is_left_when_the_last_reader_has_gone() {
    for tokens in [0, 1] {
        let server = ModelServer::start().await;
        let llm = server.llm().await;
        let path = ask(&llm, "Hi").await;
        let mut events = llm.events(&path).await;
        let mut asked = server.asked().await;
        if tokens > 0 {
            asked.begin().await;
            asked.token("a").await;
            events.next().await.unwrap();
        }
        drop(events);
        let time = asked.is_left().await;
        assert!(time > GRACE - SOON && time < GRACE + SOON, "{tokens}: {time:?}");
        let (came, last, data) = whole(llm.events(&path).await).await;
        assert_eq!((came.len(), &*last), (tokens, "failure"));
        assert_eq!(data["reason"], "nobody was reading any more");
    }
}

#[tokio::test]
async fn an_answer_that_nobody_ever_reads_is_not_paid_for() {
    let server = ModelServer::start().await;
    let llm = server.llm().await;
    ask(&llm, "Hi").await;
    let mut asked = server.asked().await;
    let time = asked.is_left().await;
    assert!(time > GRACE - SOON && time < GRACE + SOON, "{time:?}");
}

#[tokio::test]
async fn a_reload_within_the_grace_period_keeps_the_answer_going() {
    let server = ModelServer::start().await;
    let llm = server.llm().await;
    let path = ask(&llm, "Hi").await;
    let mut asked = server.asked().await;
    asked.begin().await;
    // Together they are away for longer than the period, but none of them alone.
    for _ in 0..9 {
        drop(llm.events(&path).await);
        pause(GRACE / 8).await;
    }
    let events = llm.events(&path).await;
    asked.token("a").await;
    asked.finish().await;
    let (tokens, last, _) = whole(events).await;
    assert_eq!((tokens.concat(), &*last), ("a".to_string(), "done"));
}

#[tokio::test]
async fn stop_ends_the_answer_and_leaves_the_model_server() {
    let server = ModelServer::start().await;
    let llm = server.llm().await;
    let path = ask(&llm, "Hi").await;
    let mut events = llm.events(&path).await;
    let mut asked = server.asked().await;
    asked.begin().await;
    asked.token("a").await;
    events.next().await.unwrap();
    let stop = || llm.send(llm.request("DELETE", &path));
    assert_eq!(stop().await.status(), 204);
    let time = asked.is_left().await;
    assert!(time < SOON, "{time:?}");
    let done = events.next().await.unwrap();
    assert_eq!(done.event, "done");
    assert_eq!(done.data, r#"{"finish_reason":"stopped","usage":null}"#);
    assert!(events.next().await.is_none());
    assert_eq!(stop().await.status(), 204);
    let foreign =
        llm.request("DELETE", &path).header("origin", "http://example.com");
    assert_eq!(llm.send(foreign).await.status(), 403);
}

#[tokio::test]
async fn a_comment_shows_that_the_server_is_there_while_the_model_thinks() {
    let server = ModelServer::start().await;
    let llm = server.llm().await;
    let path = ask(&llm, "Think").await;
    let start = Instant::now();
    let mut recording = Recording::of(llm.get(&path).await);
    let _asked = server.asked().await;
    assert_eq!(recording.chunk().await, ":\n\n");
    let time = start.elapsed();
    assert!(time > HEARTBEAT - SOON && time < HEARTBEAT + SOON, "{time:?}");
}

#[tokio::test]
#[ignore = "takes two minutes"]
async fn silence_has_a_limit_and_the_whole_has_none() {
    let server = ModelServer::start().await;
    let llm = server.llm().await;
    let path = ask(&llm, "Think").await;
    let mut recording = Recording::of(llm.get(&path).await);
    let mut asked = server.asked().await;
    asked.begin().await;
    let start = Instant::now();
    while start.elapsed() < IDLE + SOON {
        asked.token("hm").await;
        assert!(recording.chunk().await.contains("hm"));
        pause(HEARTBEAT - SOON).await;
    }
    let silence = Instant::now();
    while recording.chunk().await == ":\n\n" {}
    let time = silence.elapsed() + HEARTBEAT - SOON;
    assert!(time > IDLE - SOON && time < IDLE + SOON, "{time:?}");
    let (tokens, last, data) = whole(llm.events(&path).await).await;
    assert_eq!(
        (tokens.concat().replace("hm", ""), &*last),
        (String::new(), "failure")
    );
    assert_eq!(data["reason"], "the model server said nothing for 60s");
}

#[tokio::test]
async fn a_request_that_is_refused_gets_a_reason_and_asks_no_model() {
    let server = ModelServer::start().await;
    let llm = server.llm().await;
    let json = |text: &str| {
        let request = llm
            .request("POST", "/answers")
            .header("content-type", "application/json");
        request.body(text.to_string())
    };
    let as_type = |kind: &str| {
        let request = llm.request("POST", "/answers").header("content-type", kind);
        request.body(r#"{"prompt": "Hi"}"#)
    };
    let from = |origin: &str| json(r#"{"prompt": "Hi"}"#).header("origin", origin);
    let own = llm.url.replace("127.0.0.1", "localhost");
    let port = llm.url.rsplit_once(':').unwrap().1;
    let long = |bytes: usize| json!({ "prompt": "x".repeat(bytes) }).to_string();
    let too_long = "a".repeat(MAX_REQUEST + 1);
    let refused = [
        (json(""), 400, "EOF"),
        (json("{"), 400, "EOF"),
        (json("[]"), 400, "prompt"),
        (json(r#"{"promt": "Hi"}"#), 400, "missing field `prompt`"),
        (json(r#"{"prompt": 7}"#), 400, "invalid type"),
        (json(r#"{"prompt": " \n"}"#), 400, "the prompt is empty"),
        (json("{}").body(b"{\"prompt\": \"\xff\"}".as_slice()), 400, "unicode"),
        (json(&long(MAX_PROMPT + 1)), 413, "16384 bytes"),
        (json(&too_long), 413, "131072 bytes"),
        (json("").body(chunks(too_long.as_bytes())), 413, "131072 bytes"),
        (json("").body(chunks(&[b'a'; 20_000_000])), 413, "131072 bytes"),
        (
            llm.request("POST", "/answers").body(r#"{"prompt": "Hi"}"#),
            415,
            "application/json",
        ),
        (as_type("text/plain"), 415, "application/json"),
        (as_type("application/x-www-form-urlencoded"), 415, "application/json"),
        (as_type("text/plain; application/json"), 415, "application/json"),
        (from("http://example.com"), 403, "another origin"),
        (from(&format!("http://example.com:{port}")), 403, "another origin"),
        (from(&own), 403, "another origin"),
        (from("null"), 403, "another origin"),
        (from(""), 403, "another origin"),
        (llm.request("GET", "/answers/0"), 404, "no such answer"),
        (llm.request("GET", "/answers/x"), 404, "no such answer"),
        (llm.request("DELETE", "/answers/1"), 404, "no such answer"),
        (llm.request("PUT", "/answers/1"), 405, ""),
        (llm.request("GET", "/answers"), 405, ""),
    ];
    for (request, status, part) in refused {
        let request = request.header("accept", "application/json");
        let shown = format!("{request:?}");
        let answer = llm.send(request).await;
        assert_eq!(answer.status(), status, "{shown}");
        let body: Value =
            serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        let brief = body["error"]["brief"].as_str().unwrap();
        assert!(brief.contains(part), "{brief}");
    }
    let asked = tokio::time::timeout(SOON, server.0.accept()).await;
    assert!(asked.is_err(), "a refused request has reached the model");

    for request in [
        from(&llm.url),
        as_type("application/json; charset=utf-8"),
        as_type("Application/JSON"),
        json(&long(MAX_PROMPT)),
        json(&format!(r#"{{"prompt": "{}"}}"#, r"\u0061".repeat(MAX_PROMPT))),
    ] {
        assert_eq!(llm.send(request).await.status(), 201);
        server.asked().await;
    }
}

#[tokio::test]
async fn so_many_answers_are_generated_at_once_and_no_more() {
    let server = ModelServer::start().await;
    let llm = server.llm().await;
    let mut open = Vec::new();
    for _ in 0..MAX_GENERATING {
        let path = ask(&llm, "Hi").await;
        open.push((llm.events(&path).await, server.asked().await, path));
    }
    let request =
        || llm.request("POST", "/answers").json(&json!({ "prompt": "Hi" }));
    let answer = llm.send(request().header("accept", "application/json")).await;
    assert_eq!(answer.status(), 503);
    assert_eq!(answer.headers()["retry-after"], "5");
    assert!(
        answer.text().await.unwrap().contains("200 answers are being generated")
    );
    // One that has ended makes room for one more.
    let (_, mut asked, path) = open.pop().unwrap();
    assert_eq!(llm.send(llm.request("DELETE", &path)).await.status(), 204);
    asked.is_left().await;
    until("a place", async || llm.send(request()).await.status() == 201).await;
}

#[tokio::test]
async fn so_many_answers_are_kept_and_the_oldest_makes_room() {
    let server = ModelServer::start().await;
    let llm = server.llm().await;
    let first = ask(&llm, "Hi").await;
    let mut reader = llm.events(&first).await;
    let mut first_asked = server.asked().await;
    first_asked.begin().await;
    let mut paths = Vec::new();
    for _ in 0..MAX_KEPT {
        let path = ask(&llm, "Hi").await;
        let events = llm.events(&path).await;
        let mut asked = server.asked().await;
        asked.begin().await;
        asked.finish().await;
        whole(events).await;
        paths.push(path);
    }
    // The very first one is still being generated: it stays, and the next one goes.
    assert_eq!(llm.get(&paths[0]).await.status(), 404);
    assert_eq!(llm.get(&paths[1]).await.status(), 200);
    first_asked.token("a").await;
    assert_eq!(text(&reader.next().await.unwrap()), "a");
}

#[tokio::test]
async fn an_answer_has_a_greatest_length() {
    let server = ModelServer::start().await;
    let llm = server.llm().await;
    let events = llm.events(&ask(&llm, "Hi").await).await;
    let mut asked = server.asked().await;
    asked.begin().await;
    let page = token(&"x".repeat(MAX_EVENT / 2)).repeat(10);
    drop(asked.socket.write_all(page.as_bytes()).await);
    let (tokens, last, data) = whole(events).await;
    assert_eq!(last, "failure");
    assert_eq!(
        data["reason"],
        format!("the answer is cut off at {MAX_ANSWER} bytes")
    );
    let bytes = tokens.concat().len();
    assert!(
        bytes > MAX_ANSWER - MAX_EVENT && bytes < MAX_ANSWER + MAX_EVENT,
        "{bytes}"
    );
    asked.is_left().await;
}

#[tokio::test]
async fn a_wrong_environment_is_one_clear_line_without_the_key() {
    let model = ("OPENAI_MODEL", "m");
    let key = ("OPENAI_API_KEY", KEY);
    let with_key = format!("http://{KEY}@127.0.0.1/v1");
    let with_query = format!("http://127.0.0.1/v1?key={KEY}");
    let broken = format!("{KEY}\n{KEY}");
    for (variables, part) in [
        (
            vec![("OPENAI_BASE_URL", "banana"), model, key],
            "OPENAI_BASE_URL is no URL",
        ),
        (
            vec![("OPENAI_BASE_URL", "ftp://127.0.0.1/"), model, key],
            "OPENAI_BASE_URL is no URL",
        ),
        (vec![("OPENAI_BASE_URL", &*with_key), model], "OPENAI_BASE_URL is no URL"),
        (
            vec![("OPENAI_BASE_URL", &*with_query), model],
            "OPENAI_BASE_URL is no URL",
        ),
        (
            vec![("OPENAI_BASE_URL", "http://127.0.0.1/v1#x"), model],
            "OPENAI_BASE_URL is no URL",
        ),
        (vec![("OPENAI_BASE_URL", "http://127.0.0.1/v1"), key], "OPENAI_MODEL"),
        (
            vec![
                ("OPENAI_BASE_URL", "http://127.0.0.1/v1"),
                model,
                ("OPENAI_API_KEY", &*broken),
            ],
            "OPENAI_API_KEY has what",
        ),
    ] {
        let Ended { code, stdout, stderr } = run("llm", &variables);
        assert_eq!((code, &*stdout), (Some(1), ""));
        assert!(stderr.lines().count() == 1 && stderr.contains(part), "{stderr}");
        assert!(!stderr.contains(KEY), "{stderr}");
    }
}

#[tokio::test]
async fn the_bytes_are_those_of_the_transcript() {
    let llm = Program::start("llm").await;
    let path = ask(&llm, "What is a token?").await;
    let mut recording = Recording::of(llm.get(&path).await);
    while !recording.chunk().await.contains("event: done") {}
    recording.assert("llm");
    assert!(
        llm.stderr().contains("asking stand-in at 127.0.0.1:"),
        "{}",
        llm.stderr()
    );
}

#[tokio::test]
async fn the_page_and_the_head_of_a_stream() {
    let llm = Program::start("llm").await;
    let page = llm.get("/").await;
    assert_eq!(page.headers()["content-type"], "text/html; charset=utf-8");
    assert!(page.text().await.unwrap().contains("new EventSource"));
    let stream = llm.get(&ask(&llm, "Hi").await).await;
    for (name, value) in [
        ("content-type", "text/event-stream"),
        ("cache-control", "no-cache"),
        ("x-accel-buffering", "no"),
    ] {
        assert_eq!(stream.headers()[name], value);
    }
}

#[tokio::test]
async fn the_program_ends_soon_and_its_readers_are_told() {
    let server = ModelServer::start().await;
    let mut llm = server.llm().await;
    let path = ask(&llm, "Hi").await;
    let events = llm.events(&path).await;
    let mut asked = server.asked().await;
    asked.begin().await;
    asked.token("a").await;
    llm.signal(Signal::SIGTERM);
    let start = Instant::now();
    let (_, last, data) = whole(events).await;
    assert_eq!(last, "failure");
    assert_eq!(data["reason"], "this server is being stopped");
    assert_eq!(llm.exit_code().await, Some(0));
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    asked.is_left().await;
}

#[tokio::test]
async fn a_bad_address_is_one_clear_line() {
    let llm = Program::start("llm").await;
    llm.assert_bad_addresses_are_one_clear_line("llm");
}

#[test]
fn the_figures_on_the_page_are_those_of_the_recording() {
    let table = fs::read_to_string(root().join("bench/recorded/tokens.md")).unwrap();
    let row = table.lines().find(|line| line.starts_with("| llm |")).unwrap();
    let cells: Vec<_> = row.split(" | ").collect();
    let number = |cell: &str| -> f64 {
        cell.trim_end_matches([' ', '|', 'm', 's', 'µ']).parse().unwrap()
    };
    // Of one core, by 200 answers with 50 tokens a second each.
    let part = number(cells[12]) * 1e-6 * 10_000.0;
    assert!((1.0 / 6.5..1.0 / 5.5).contains(&part), "{part}");
    let figures = [
        format!("{:.2} ms", number(cells[4])),
        format!("{:.1} ms", number(cells[5])),
        format!("{:.1} ", number(cells[13])),
    ];
    assert_eq!(
        [cells[8], cells[9], cells[10], cells[11]],
        ["300000", "0", "0", "0"]
    );
    let page = |language: &str| {
        fs::read_to_string(root().join(format!("src/{language}/llm.md"))).unwrap()
    };
    for figure in figures {
        assert!(page("en").contains(&figure), "{figure}");
        assert!(page("it").contains(&figure.replace('.', ",")), "{figure}");
    }
}

/// The llm page in a browser, which has asked something.
async fn page_that_asks(url: &str, prompt: &str) -> Browser {
    let browser = Browser::start().await;
    browser.open(&format!("{url}/")).await;
    browser.type_into("#prompt", &format!("{prompt}\n")).await;
    browser
}

const ANSWER: &str = "document.querySelector('#answer').textContent";
const NOTE: &str = "document.querySelector('#note').textContent";

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn a_reload_in_mid_sentence_repeats_and_loses_nothing() {
    let server = ModelServer::start().await;
    let llm = server.llm().await;
    let browser = page_that_asks(&llm.url, "Count").await;
    let mut asked = server.asked().await;
    asked.begin().await;
    asked.token("one").await;
    asked.token(" two").await;
    browser.until(&format!("{ANSWER} == 'one two'")).await;
    browser.eval("location.reload()").await;
    browser.until(&format!("performance.getEntriesByType('navigation')[0].type == 'reload' && {ANSWER} == 'one two'")).await;
    asked.token(" three").await;
    browser.until(&format!("{ANSWER} == 'one two three'")).await;
    // Whoever has the address reads the same answer.
    let address = browser.eval("location.href").await;
    browser.new_tab().await;
    browser.open(address.as_str().unwrap()).await;
    browser.until(&format!("{ANSWER} == 'one two three'")).await;
    asked.finish().await;
    browser.until(&format!("{NOTE} == 'The answer is complete.'")).await;
    let again = tokio::time::timeout(SOON, server.0.accept()).await;
    assert!(again.is_err(), "the model is asked again");
}

/// Passes bytes on to a server, until it is told to cut all connections.
async fn cuttable(to: &str) -> (String, tokio::sync::watch::Sender<()>) {
    let to = to.strip_prefix("http://").unwrap().to_string();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (cut, _) = tokio::sync::watch::channel(());
    let told = cut.clone();
    tokio::spawn(async move {
        while let Ok((mut from, _)) = listener.accept().await {
            let mut to = TcpStream::connect(&to).await.unwrap();
            let mut cut = told.subscribe();
            tokio::spawn(async move {
                tokio::select! {
                    _ = tokio::io::copy_bidirectional(&mut from, &mut to) => {}
                    _ = cut.changed() => {}
                }
            });
        }
    });
    (url, cut)
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn a_connection_that_is_lost_in_mid_sentence_repeats_and_loses_nothing() {
    let server = ModelServer::start().await;
    let llm = server.llm().await;
    let (url, cut) = cuttable(&llm.url).await;
    let browser = page_that_asks(&url, "Count").await;
    let mut asked = server.asked().await;
    asked.begin().await;
    asked.token("one").await;
    browser.until(&format!("{ANSWER} == 'one'")).await;
    cut.send(()).unwrap();
    asked.token(" two").await;
    browser.until(&format!("{NOTE}.includes('trying again')")).await;
    browser.until(&format!("{ANSWER} == 'one two' && {NOTE} == ''")).await;
    asked.token(" three").await;
    browser.until(&format!("{ANSWER} == 'one two three'")).await;
    asked.finish().await;
    browser.until(&format!("{NOTE} == 'The answer is complete.'")).await;
    // At the end it is gone for good.
    cut.send(()).unwrap();
    browser.never(&format!("{NOTE} != 'The answer is complete.'"), 2 * SOON).await;
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn what_is_on_the_page_stays_when_the_server_has_gone() {
    let server = ModelServer::start().await;
    let mut llm = server.llm().await;
    let browser = page_that_asks(&llm.url, "Count").await;
    let mut asked = server.asked().await;
    asked.begin().await;
    asked.token("one").await;
    browser.until(&format!("{ANSWER} == 'one'")).await;
    let addr = llm.url.strip_prefix("http://").unwrap().to_string();
    llm.stop();
    browser.until(&format!("{NOTE}.includes('trying again')")).await;
    browser.eval("document.querySelector('form button').click()").await;
    browser.until(&format!("{NOTE} == 'The server does not answer.'")).await;
    let label = "document.querySelector('form button').textContent";
    assert_eq!(browser.eval(&format!("{ANSWER} + {label}")).await, "oneAsk");
    // What is asked in vain stays in its place.
    browser.type_into("#prompt", "Again\n").await;
    browser
        .until(&format!("{NOTE} == 'Not asked: the server does not answer.'"))
        .await;
    assert_eq!(
        browser.eval("document.querySelector('#prompt').value").await,
        "Again"
    );
    // A new server knows nothing of the answer, and the text stays.
    let _llm = Program::start_at("llm", &addr).await;
    browser.eval("listen()").await;
    browser.until(&format!("{NOTE} == 'This answer is not kept any more.'")).await;
    assert_eq!(browser.eval(ANSWER).await, "one");
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn the_page_stops_an_answer_and_asks_the_next_one() {
    let server = ModelServer::start().await;
    let llm = server.llm().await;
    let browser = page_that_asks(&llm.url, "Count").await;
    let mut asked = server.asked().await;
    asked.begin().await;
    asked.token("one").await;
    browser.until(&format!("{ANSWER} == 'one'")).await;
    browser.eval("document.querySelector('form button').click()").await;
    asked.is_left().await;
    browser.until(&format!("{NOTE} == 'You stopped it.'")).await;
    browser.type_into("#prompt", "Again\n").await;
    let mut asked = server.asked().await;
    asked.begin().await;
    asked.token("uno").await;
    browser.until(&format!("{ANSWER} == 'uno'")).await;
    // Back to the first one, which is kept.
    browser.eval("history.back()").await;
    browser
        .until(&format!("{ANSWER} == 'one' && {NOTE} == 'You stopped it.'"))
        .await;
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn the_page_shows_text_as_text_and_failures_in_words() {
    let server = ModelServer::start().await;
    let llm = server.llm().await;
    let browser = page_that_asks(&llm.url, "Show").await;
    let mut asked = server.asked().await;
    asked.begin().await;
    let text = "<img src=x onerror=alert(1)>\n\n- `**a**`\n    b 👩\u{200d}👧 &amp;";
    for token in text.split_inclusive(' ') {
        asked.token(token).await;
    }
    asked.write("data: {\"error\": {\"message\": \"out of memory\"}}\n\n").await;
    browser.until(&format!("{ANSWER} == {}", json!(text))).await;
    let note =
        "This is not the whole answer: the model server gave up: out of memory.";
    browser.until(&format!("{NOTE} == '{note}'")).await;
    assert_eq!(
        browser.eval("document.querySelector('#answer').children.length").await,
        0
    );
    let shown = browser.eval("document.querySelector('#answer').innerText").await;
    assert_eq!(shown, text, "line breaks and indentation are seen, too");
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn a_screen_reader_hears_sentences() {
    let server = ModelServer::start().await;
    let llm = server.llm().await;
    let browser = page_that_asks(&llm.url, "Tell").await;
    let spoken =
        "Array.from(document.querySelectorAll('#spoken p'), (p) => p.textContent)";
    let mut asked = server.asked().await;
    asked.begin().await;
    for token in ["It", " cost", "s 3", ".50 €", ".", " Buy", " it"] {
        asked.token(token).await;
    }
    browser.until(&format!("{ANSWER}.endsWith(' it')")).await;
    assert_eq!(browser.eval(spoken).await, json!(["It costs 3.50 €. "]));
    asked.token("!").await;
    asked.finish().await;
    browser.until(&format!("{NOTE} == 'The answer is complete.'")).await;
    assert_eq!(browser.eval(spoken).await, json!(["It costs 3.50 €. ", "Buy it!"]));
    let live = "document.querySelector('#answer').closest('[aria-live], [role=log], [role=status]')";
    assert_eq!(
        browser.eval(live).await,
        Value::Null,
        "tokens are announced one by one"
    );
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn who_comes_back_to_an_answer_that_is_over_is_told_to_stay_away() {
    let server = ModelServer::start().await;
    let llm = server.llm().await;
    let browser = Browser::start().await;
    browser.open(&format!("{}/", llm.url)).await;
    // As if the page had forgotten to close its stream at the end.
    browser.eval("(EventSource.prototype.close = () => {}, 0)").await;
    let count = "(window.statuses = [], ask_ = fetch, fetch = async (...of) => {
            const response = await ask_(...of); statuses.push(response.status); return response;
        }, 0)";
    browser.eval(count).await;
    browser.type_into("#prompt", "Hi\n").await;
    let mut asked = server.asked().await;
    asked.begin().await;
    asked.token("one").await;
    asked.finish().await;
    // The stream again, which gets 204; then a look at why it is closed gets it, too.
    browser.until("statuses.join() == '201,204'").await;
    browser.until(&format!("{ANSWER} == 'one' && {NOTE} == ''")).await;
    browser
        .never(&format!("{ANSWER} != 'one' || statuses.length > 2"), 5 * SOON)
        .await;
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn an_address_without_an_answer_lets_the_reader_ask() {
    let server = ModelServer::start().await;
    let llm = server.llm().await;
    let browser = page_that_asks(&llm.url, "Hi").await;
    let mut asked = server.asked().await;
    asked.begin().await;
    asked.token("one").await;
    browser.until(&format!("{ANSWER} == 'one'")).await;
    let label = "document.querySelector('form button').textContent";
    for elsewhere in
        ["history.back()", "location.hash = '../../x'", "location.hash = '.'"]
    {
        browser.eval(elsewhere).await;
        browser.until(&format!("{ANSWER} == '' && {label} == 'Ask'")).await;
    }
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn a_long_answer_is_shown_in_the_time_of_a_long_answer() {
    let server = ModelServer::start().await;
    let llm = server.llm().await;
    let browser = page_that_asks(&llm.url, "Count").await;
    let mut asked = server.asked().await;
    asked.begin().await;
    let words = (0..8_000).map(|n| token(&format!(" {n}"))).collect::<String>();
    asked.write(words).await;
    asked.finish().await;
    // A page that measures itself for each token takes more than a minute.
    browser.until(&format!("{ANSWER}.endsWith(' 7999')")).await;
    let page = "document.documentElement";
    browser
        .until(&format!("{page}.scrollTop + innerHeight > {page}.scrollHeight - 80"))
        .await;
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn the_page_says_when_an_answer_is_not_kept_any_more() {
    let llm = Program::start("llm").await;
    let browser = Browser::start().await;
    browser.open(&format!("{}/#{}", llm.url, "0".repeat(32))).await;
    browser.until(&format!("{NOTE} == 'This answer is not kept any more.'")).await;
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn a_post_that_is_streamed_with_fetch_ends_with_its_connection() {
    let model = Program::start("model").await;
    let (url, cut) = cuttable(&model.url).await;
    let browser = Browser::start().await;
    browser.open(&format!("{url}/")).await;
    let script = include_str!("../pages/fetch.js")
        .replace("async function ask", "window.ask = async function ask");
    browser.eval(&format!("eval({})", json!(script))).await;
    let ask = "(window.text = '', window.end = '', ask('Hi', (token) => { window.text += token; })\
               .then(() => { window.end = 'done'; }, (error) => { window.end = String(error); }), 0)";
    browser.eval(ask).await;
    browser.until("window.end == 'done'").await;
    let text = browser.eval("window.text").await;
    assert!(text.as_str().unwrap().starts_with("I am only a stand-in"), "{text}");

    browser.eval(ask).await;
    browser.until("window.text.length > 20").await;
    cut.send(()).unwrap();
    browser.until("window.end.includes('network error')").await;
    // Nobody comes back for the rest.
    browser.never("window.end == 'done'", 2 * SOON).await;
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn chapter_7_asks_the_stand_in() {
    let book = Program::serve_book().await;
    let browser = Browser::start().await;
    for page in ["llm.html", "it/llm.html"] {
        browser.open(&format!("{}/{page}", book.url)).await;
        let frame = "document.querySelector('live-page iframe').contentDocument";
        browser.until(&format!("!!{frame}?.querySelector('#prompt')")).await;
        browser
            .eval(&format!(
                "({frame}.querySelector('#prompt').value = 'Hi', {frame}.querySelector('form').requestSubmit())"
            ))
            .await;
        let answer = format!("{frame}.querySelector('#answer').textContent");
        browser.until(&format!("{answer}.startsWith('I am only a stand-in')")).await;

        let panel = "document.querySelector('live-stream')";
        browser.eval(&format!("{panel}.scrollIntoView()")).await;
        browser.until(&format!("{panel}.dataset.state == 'live'")).await;
        browser.until(&format!("{panel}.querySelectorAll('li').length > 5")).await;
    }
}

#[tokio::test]
async fn the_protocol_is_as_it_is_shown() {
    let model = Program::start("model").await;
    let session = model.session("llm/recorded/protocol.txt");
    assert_text_but_numbers("llm/recorded/protocol.txt", &session);
}

#[tokio::test]
async fn each_fault_has_its_answer() {
    Program::start("llm").await.assert_session("llm/recorded/refused.txt");
}

#[tokio::test]
async fn a_failure_is_an_event_because_eventsource_shows_no_body() {
    let variables =
        [("OPENAI_BASE_URL", "http://127.0.0.1:9/v1"), ("OPENAI_MODEL", "m")];
    let llm = Program::start_with("llm", &variables).await;
    assert_text_but_numbers(
        "llm/recorded/failure.txt",
        &llm.session("llm/recorded/failure.txt"),
    );
}

#[tokio::test]
async fn the_stand_in_says_how_far_it_came_when_its_client_leaves() {
    let model = Program::start("model").await;
    let base = format!("{}/v1", model.url);
    let variables = [("OPENAI_BASE_URL", &*base), ("OPENAI_MODEL", "stand-in")];
    let llm = Program::start_with("llm", &variables).await;
    let mut events = llm.events(&ask(&llm, "What is a token?").await).await;
    for _ in 0..10 {
        events.next().await.unwrap();
    }
    drop(events);
    until("both have noticed", async || {
        model.stderr().contains("sent") && llm.stderr().contains("nobody")
    })
    .await;
    let said = |program: &Program, word: &str| {
        let said = program.stderr();
        let line = said.lines().find(|line| line.contains(word)).unwrap();
        line.split_once("Z ").unwrap().1.trim().to_string() + "\n"
    };
    let both = said(&llm, "nobody") + &*said(&model, "sent");
    assert_text_but_numbers("llm/recorded/left.txt", &both);
    let (sent, of) =
        both.rsplit_once("sent ").unwrap().1.split_once(" of ").unwrap();
    let of = of.trim_end_matches(" events\n");
    assert!(sent.parse::<u32>().unwrap() < of.parse::<u32>().unwrap(), "{both}");
}

#[handler]
async fn foreign_page() -> Text<&'static str> {
    Text::Html("<!doctype html><title>another origin</title>")
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn a_page_of_another_origin_cannot_ask() {
    let server = ModelServer::start().await;
    let llm = server.llm().await;
    let browser = Browser::start().await;
    browser.open(&serve(Router::new().get(foreign_page)).await).await;
    for (options, expected) in [
        // The browser asks first, and this server does not agree.
        (
            "{ method: 'POST', headers: { 'content-type': 'application/json' }, body }",
            "refused",
        ),
        // The browser sends it, and hides the answer: 415.
        ("{ method: 'POST', mode: 'no-cors', body }", "opaque"),
    ] {
        let ask = format!(
            "(window.end = '', body = JSON.stringify({{ prompt: 'Hi' }}), \
             fetch('{}/answers', {options}).then((response) => {{ end = response.type; }}, \
             () => {{ end = 'refused'; }}), 0)",
            llm.url
        );
        browser.eval(&ask).await;
        browser.until(&format!("end == '{expected}'")).await;
    }
    let asked = tokio::time::timeout(SOON, server.0.accept()).await;
    assert!(asked.is_err(), "another origin has asked the model");
}
