//! `llm` and model servers: it understands each stream that they send, or says why not.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::scripted::HEAD;
use tests::{
    Ended, Program, Recording, assert_recorded, assert_text_but_numbers, pause,
    root, run,
};
use tokio::net::{TcpListener, TcpStream};

use crate::cases::{Case, End, cases};
use crate::server::{KEY, ModelServer, SOON, ask, plain, respond, token, whole};
use crate::{heads, odd};

/// The limits of `examples/llm`.
const HEARTBEAT: Duration = Duration::from_secs(15);
const CONNECT: Duration = Duration::from_secs(10);
const IDLE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn whatever_a_model_server_sends_ends_in_done_or_in_a_reason() {
    all_end_as_they_should(cases()).await;
}

#[tokio::test]
async fn odd_streams_that_people_have_met_end_in_done_or_in_the_servers_own_words() {
    all_end_as_they_should(odd::cases()).await;
}

#[tokio::test]
async fn a_response_is_a_stream_if_its_head_says_so_or_else_what_it_says_is_shown() {
    all_end_as_they_should(heads::cases()).await;
}

async fn all_end_as_they_should(cases: Vec<Case>) {
    let server = ModelServer::start().await;
    let llm = server.llm().await;
    for Case { what, head, body, tokens, end } in cases {
        // As one chunk of HTTP, and with each byte as a chunk.
        for size in [body.len().max(1), 1] {
            let path = ask(&llm, "What is this?").await;
            let events = llm.events(&path).await;
            let mut asked = server.asked().await;
            respond(&mut asked, head, body.chunks(size), true).await;
            let (came, last, data) = whole(events).await;
            assert_eq!(came, tokens, "{what}, in chunks of {size}: {data}");
            match &end {
                End::Done(reason, usage) => {
                    assert_eq!(last, "done", "{what}, in chunks of {size}: {data}");
                    let expected =
                        json!({ "finish_reason": reason, "usage": usage });
                    assert_eq!(data, expected, "{what}");
                }
                End::Failure(part) => {
                    assert_eq!(last, "failure", "{what}, in chunks of {size}");
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

/// The recordings are in `tests/model-servers`. The first line of each names the server, the
/// request and the status.
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

        // This test reads the events in its own way, which has to be right for these
        // recordings only.
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

/// The table of `wire.md` has streams at which other parsers panic, wait or give up.
#[tokio::test]
async fn each_stream_of_chapter_3_ends_in_done_or_in_a_reason() {
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
    assert_eq!(asked.json(), expected);
}

#[tokio::test]
async fn a_model_server_that_is_not_there_is_a_failure() {
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

/// A listener whose queue is full neither accepts nor refuses a connection.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_model_server_that_accepts_no_connection_is_a_failure_after_ten_seconds() {
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
#[ignore = "takes two minutes"]
async fn a_model_server_may_be_silent_for_a_minute_and_write_for_longer() {
    let server = ModelServer::start().await;
    let llm = server.llm().await;
    let path = ask(&llm, "Think").await;
    let mut recording = Recording::of(llm.get(&path).await);
    let mut asked = server.asked().await;
    asked.stream("").await;
    assert_eq!(recording.chunk().await, "retry: 1000\n");
    let start = Instant::now();
    while start.elapsed() < IDLE + SOON {
        asked.write(token("hm")).await;
        assert!(recording.chunk().await.contains("hm"));
        pause(HEARTBEAT - SOON).await;
    }
    let silence = Instant::now();
    while recording.chunk().await == ":\n" {
        assert!(silence.elapsed() < IDLE, "it waits for a silent server for ever");
    }
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
