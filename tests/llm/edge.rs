//! Strangers cannot hold the connections, the memory or the end of `llm` and `model`.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use nix::sys::signal::Signal;
use serde_json::json;
use tests::{Program, until, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::server::{ModelServer, ask, text, token};

/// Bytes of a body that are read, as in `examples/llm/edge.rs`.
const MAX_DRAINED: usize = 2 << 20;
/// Where each program takes a body.
const PATHS: [(&str, &str); 2] =
    [("llm", "/answers"), ("model", "/v1/chat/completions")];

/// A whole request with a body of JSON.
fn post(path: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\n\r\n{body}"
    )
}

/// A question to the stand-in, which answers with a stream.
fn completion() -> String {
    let message = json!({ "role": "user", "content": "Hi" });
    let asked =
        json!({ "model": "stand-in", "stream": true, "messages": [message] });
    post("/v1/chat/completions", &asked.to_string())
}

/// A connection that has sent this, and the head of its answer.
async fn asked(program: &Program, request: &str) -> (TcpStream, String) {
    let mut socket = within("a connection", program.socket()).await;
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    within("a head", async {
        while !head.ends_with(b"\r\n\r\n") {
            head.push(socket.read_u8().await.unwrap());
        }
    })
    .await;
    (socket, String::from_utf8(head).unwrap())
}

#[tokio::test]
async fn a_body_that_is_too_long_is_answered_and_kept_nowhere() {
    for (name, path) in PATHS {
        let program = Program::start(name).await;
        let send = async |length: usize| {
            let request = program.request("POST", path);
            let request = request.header("content-type", "application/json");
            program.send(request.body(vec![b'x'; length])).await
        };
        for length in [MAX_DRAINED, 3 * MAX_DRAINED] {
            assert_eq!(send(length).await.status(), 413, "{name}: {length}");
        }
        let before = program.peak_memory();
        let refused = send(20 << 20).await;
        assert_eq!(refused.status(), 413, "{name}");
        assert_eq!(refused.headers()["connection"], "close", "{name}");
        let grown = program.peak_memory() - before;
        assert!(grown < 4 << 20, "{name}: {grown} bytes more for a body of 20 MiB");
    }
}

#[tokio::test]
#[ignore = "takes half a minute"]
async fn a_body_that_stops_halfway_is_answered_and_lets_its_connection_go() {
    let stops = async |(name, path): (&str, &str)| {
        let program = Program::start(name).await;
        let sockets = program.sockets();
        let half = post(path, "xxxxxxxxx").trim_end_matches("xxxxxxxx").to_string();
        let mut socket = program.socket().await;
        socket.write_all(half.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let end = socket.read_to_string(&mut answer);
        let end = timeout(Duration::from_secs(45), end).await;
        end.expect("the connection ends").unwrap();
        assert!(answer.starts_with("HTTP/1.1 408"), "{name}: {answer}");
        drop(socket);
        until("it is closed", async || program.sockets() <= sockets).await;
    };
    tokio::join!(stops(PATHS[0]), stops(PATHS[1]));
}

/// Opens so many streams, and some more, which do not fit and never hang up.
async fn fills(program: &mut Program, places: usize, more: usize, request: &str) {
    let mut streams = Vec::new();
    for _ in 0..places {
        let (socket, head) = asked(program, request).await;
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        streams.push(socket);
    }
    let mut refused = Vec::new();
    for _ in 0..more {
        let (socket, head) = asked(program, request).await;
        assert!(head.starts_with("HTTP/1.1 503"), "{head}");
        assert!(head.contains("connection: close"), "{head}");
        refused.push(socket);
    }
    assert_eq!(program.get("/").await.status(), 200, "others are still answered");
    if let Some(rest) = request.strip_prefix("GET") {
        let (_, head) = asked(program, &format!("HEAD{rest}")).await;
        assert!(head.starts_with("HTTP/1.1 200"), "it takes no place: {head}");
    }
    assert!(!program.stderr().contains("accept connection failed"));
    streams.pop();
    until("there is a place", async || {
        asked(program, request).await.1.starts_with("HTTP/1.1 200")
    })
    .await;
    program.signal(Signal::SIGTERM);
    assert_eq!(program.exit_code().await, Some(0));
}

#[tokio::test]
async fn where_few_files_may_be_open_there_are_fewer_readers_and_the_others_are_told()
 {
    let server = ModelServer::start().await;
    let variables =
        [("OPENAI_BASE_URL", &*server.url("/v1")), ("OPENAI_MODEL", "m")];
    let start = Program::start_with_open_files_and("llm", 1_024, &variables);
    let mut llm = start.await;
    let said = async || llm.stderr().contains("270 streams at once, not 2000");
    until("it says how many fit", said).await;
    let path = ask(&llm, "Hi").await;
    let mut asked = server.asked().await;
    asked.stream("").await;
    fills(&mut llm, 270, 100, &format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n"))
        .await;
}

#[tokio::test]
async fn the_stand_in_says_so_too_when_it_has_no_place() {
    let mut model = Program::start_with_open_files("model", 128).await;
    let said = async || model.stderr().contains("48 streams at once, not 2000");
    until("it says how many fit", said).await;
    fills(&mut model, 48, 10, &completion()).await;
}

/// Readers come, one after the other, until nobody answers any more. None of them may see a
/// stream without its end. Returns how many streams were whole.
async fn readers_until_the_end(program: &Program, request: &str) -> usize {
    let addr = program.url.strip_prefix("http://").unwrap();
    let mut streams = 0;
    while let Ok(mut socket) = TcpStream::connect(addr).await {
        let mut answer = Vec::new();
        let sent = socket.write_all(request.as_bytes()).await;
        let end = within("an end", socket.read_to_end(&mut answer)).await;
        if answer.is_empty() {
            continue; // nobody answered, so nothing was cut
        }
        let text = String::from_utf8_lossy(&answer);
        assert!(sent.is_ok() && end.is_ok(), "{end:?} after {text}");
        assert!(text.ends_with("\r\n0\r\n\r\n"), "cut: {text}");
        streams += 1;
    }
    streams
}

#[tokio::test]
async fn whoever_comes_while_they_stop_gets_a_whole_stream_or_none() {
    let server = ModelServer::start().await;
    for round in 0..4 {
        let (mut program, request, _asked) = match round % 2 {
            0 => {
                let llm = server.llm().await;
                let path = ask(&llm, "Hi").await;
                let mut asked = server.asked().await;
                asked.stream(token("a")).await;
                let listen = format!(
                    "GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"
                );
                (llm, listen, Some(asked))
            }
            _ => {
                let close = "host: a\r\nconnection: close";
                let asked = completion().replace("host: a", close);
                (Program::start("model").await, asked, None)
            }
        };
        let readers = (0..40).map(|_| readers_until_the_end(&program, &request));
        let stop = async {
            // A first reader is there.
            drop(asked(&program, &request).await);
            program.signal(Signal::SIGTERM);
            Instant::now()
        };
        let all = futures_util::future::join_all(readers);
        let both = async { tokio::join!(all, stop) };
        let (streams, stopped) = within("the end", both).await;
        assert!(streams.iter().sum::<usize>() >= 1);
        assert_eq!(program.exit_code().await, Some(0));
        let time = stopped.elapsed();
        assert!(time < Duration::from_secs(5), "{time:?}");
    }
}

/// 200 answers at once need more files than the readers have.
#[tokio::test]
async fn the_stand_in_within_llm_answers_many_at_once() {
    let llm = Program::start_with_open_files("llm", 1_024).await;
    let answers = (0..200).map(|n| {
        let llm = &llm;
        async move {
            let path = ask(llm, &format!("What is {n}?")).await;
            let mut events = llm.events(&path).await;
            let first = events.next().await.unwrap();
            assert_eq!(text(&first), "I", "{n}");
            events
        }
    });
    // A reader who comes too late would find that nobody was reading.
    let answers = futures_util::stream::iter(answers).buffer_unordered(20);
    assert_eq!(answers.collect::<Vec<_>>().await.len(), 200);
}
