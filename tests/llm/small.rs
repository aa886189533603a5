//! `llm_small`, the program that the chapter builds, and the relay that it begins with.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::scripted::{Asked, Server, chunked};
use tests::{Browser, Events, Program, pause, within};

use crate::server::{
    ModelServer, SOON, back, data, finish, plain, text, token, whole,
};

/// The time of `examples/llm_small` and of `examples/llm/answer.rs`.
const GRACE: Duration = Duration::from_secs(5);

/// Starts `llm_small`, which asks this server.
async fn small(server: &ModelServer) -> Program {
    let base = server.url("/v1");
    Program::start_with("llm_small", &[("OPENAI_BASE_URL", &base)]).await
}

/// Asks, and returns the path of the answer.
async fn ask(small: &Program) -> String {
    let request = small.request("POST", "/answers").json(&json!({ "prompt": "Hi" }));
    let answer = small.send(request).await;
    assert_eq!(answer.status(), 201);
    format!("/{}", answer.headers()["location"].to_str().unwrap())
}

/// Asks, and returns the answer and the request that the model server gets.
async fn asked(small: &Program, server: &ModelServer) -> (Events, Asked) {
    let events = small.events(&ask(small).await).await;
    (events, server.asked().await)
}

/// The last event of a reader if this is all that the model server sends.
async fn told(
    small: &Program,
    server: &ModelServer,
    response: &[u8],
) -> (String, Value) {
    let (events, mut asked) = asked(small, server).await;
    asked.write(response).await;
    drop(asked);
    let (_, last, data) = whole(events).await;
    (last, data)
}

#[tokio::test]
async fn a_reload_of_a_relay_asks_and_pays_again() {
    let upstream = Server::start().await;
    let relay =
        Program::start_with("cure_relay", &[("UPSTREAM", &upstream.url("/"))]).await;
    for _ in 0..2 {
        let request = relay.request("POST", "/").body("{}");
        let reader = tokio::spawn(request.send());
        let mut asked = upstream.asked().await;
        asked.stream(token("Once")).await;
        let answer = within("an answer", reader).await.unwrap().unwrap();
        let mut reader = Events::of(answer);
        assert!(reader.data().await.contains("Once"));
        drop(reader);
        asked.is_left().await;
    }
}

#[tokio::test]
async fn a_small_answer_outlives_its_connection_and_is_asked_for_once() {
    let server = ModelServer::start().await;
    let small = small(&server).await;
    let path = ask(&small).await;
    let mut ann = small.events(&path).await;
    let mut asked = server.asked().await;
    assert_eq!(asked.json()["messages"][0]["content"], "Hi");
    asked.stream(token("a")).await;
    let first = ann.next().await.unwrap();
    assert_eq!(text(&first), "a");
    drop(ann);
    asked.write(token("b")).await;
    let mut ann = back(&small, &path, &first.id).await;
    assert_eq!(text(&ann.next().await.unwrap()), "b");
    asked.write(finish()).await;
    let done = ann.next().await.unwrap();
    assert_eq!(done.event, "done");
    assert_eq!(done.data, r#"{"finish_reason":"stop"}"#);
    let (tokens, last, _) = whole(small.events(&path).await).await;
    assert_eq!((tokens.concat(), &*last), ("ab".to_string(), "done"));
    let request = small.request("GET", &path).header("last-event-id", &done.id);
    assert_eq!(small.send(request).await.status(), 204);
    for forged in ["4", "-1", "x"] {
        let (tokens, _, _) = whole(back(&small, &path, forged).await).await;
        assert_eq!(tokens.concat(), "ab", "{forged}");
    }
    server.stays_alone_for(SOON).await;
}

#[tokio::test]
async fn a_small_answer_that_nobody_reads_leaves_the_model_server() {
    let server = ModelServer::start().await;
    let small = small(&server).await;
    let (mut events, mut asked) = asked(&small, &server).await;
    asked.stream(token("a")).await;
    events.next().await.unwrap();
    drop(events);
    let time = asked.is_left().await;
    assert!(time > GRACE - SOON && time < GRACE + SOON, "{time:?}");
    let (tokens, last, data) = whole(small.events("/answers/1").await).await;
    assert_eq!((tokens.concat(), &*last), ("a".to_string(), "failure"));
    assert_eq!(data["reason"], "nobody was reading any more");
}

/// `llm_small` looks twice, five seconds apart. `llm` counts from when the last reader left.
#[tokio::test]
async fn a_reader_that_comes_for_a_moment_counts_in_llm_and_not_in_the_small_one() {
    let server = ModelServer::start().await;
    let other = ModelServer::start().await;
    let llm = other.llm().await;
    let small = small(&server).await;
    let short = left_after_a_moment(&small, &server);
    let long = left_after_a_moment(&llm, &other);
    let (short, long) = tokio::join!(short, long);
    assert!(short > GRACE - SOON && short < GRACE + SOON, "{short:?}");
    assert!(long > GRACE + 2 * SOON, "{long:?}");
}

/// Nobody reads an answer but for a moment, three seconds after it was asked for. Returns how
/// long the model server is not left.
async fn left_after_a_moment(program: &Program, server: &ModelServer) -> Duration {
    let request =
        program.request("POST", "/answers").json(&json!({ "prompt": "Hi" }));
    let answer = program.send(request).await;
    let path = format!("/{}", answer.headers()["location"].to_str().unwrap());
    let mut asked = server.asked().await;
    let start = Instant::now();
    asked.stream(token("a")).await;
    pause(Duration::from_secs(3)).await;
    let mut events = program.events(&path).await;
    assert_eq!(text(&events.next().await.unwrap()), "a");
    drop(events);
    asked.is_left().await;
    start.elapsed()
}

#[tokio::test]
async fn half_a_small_answer_is_a_failure() {
    let server = ModelServer::start().await;
    let small = small(&server).await;
    let not_over = "the model server did not say that the answer is over";
    let error = json!({ "error": { "message": "out of memory" } });
    let refused = b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n".to_vec();
    let page =
        b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\n\r\n<p>Log in".to_vec();
    let stream = |text: String| chunked(text.as_bytes(), 1 << 10);
    for (response, why) in [
        (stream(token("Hi")), not_over),
        (stream(token("Hi") + "data: [DONE]\n\n"), not_over),
        (stream(token("Hi") + &*data(&error)), "out of memory"),
        (refused, "401 Unauthorized"),
        (page, not_over),
    ] {
        let (last, data) = told(&small, &server, &response).await;
        assert_eq!(last, "failure", "{data}");
        assert!(data["reason"].as_str().unwrap().contains(why), "{data}");
    }
    let (last, _) =
        told(&small, &server, &chunked(plain().as_bytes(), 1 << 10)).await;
    assert_eq!(last, "done");
}

#[tokio::test]
async fn an_answer_that_reaches_its_length_is_done_and_says_so() {
    let server = ModelServer::start().await;
    let small = small(&server).await;
    let answer = plain().replace("stop", "length");
    let (last, data) = told(&small, &server, &chunked(answer.as_bytes(), 99)).await;
    assert_eq!((&*last, &data["finish_reason"]), ("done", &json!("length")));
}

#[tokio::test]
async fn a_character_that_is_cut_by_the_end_of_a_chunk_stays_whole() {
    let server = ModelServer::start().await;
    let small = small(&server).await;
    let (events, mut asked) = asked(&small, &server).await;
    let answer = token("perché 👩‍👩‍👧") + &*finish();
    asked.write(chunked(answer.as_bytes(), 1)).await;
    let (tokens, last, _) = whole(events).await;
    assert_eq!((tokens.concat(), &*last), ("perché 👩‍👩‍👧".to_string(), "done"));
}

#[tokio::test]
async fn a_form_of_another_page_asks_the_small_one_nothing() {
    let server = ModelServer::start().await;
    let small = small(&server).await;
    let request = small.request("POST", "/answers").body(r#"{"prompt": "Hi"}"#);
    let plain = request.header("content-type", "text/plain");
    assert_eq!(small.send(plain).await.status(), 400);
    server.stays_alone_for(SOON).await;
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn the_small_page_finds_its_answer_after_a_reload() {
    let server = ModelServer::start().await;
    let small = small(&server).await;
    let browser = Browser::start().await;
    browser.open(&small.url).await;
    browser.eval("(document.querySelector('button').click(), 0)").await;
    let mut asked = server.asked().await;
    asked.stream(token("<b>Once")).await;
    let shown = |text: &str| {
        format!("document.querySelector('#answer').textContent == '{text}'")
    };
    browser.until(&shown("<b>Once")).await;
    browser.eval("(location.reload(), 0)").await;
    browser.until(&shown("<b>Once")).await;
    asked.write(token(" more")).await;
    asked.write(finish()).await;
    browser.until(&shown("<b>Once more")).await;
    browser.until("document.querySelector('#note').textContent == 'stop'").await;
    browser.until("stream.readyState == EventSource.CLOSED").await;
    server.stays_alone_for(SOON).await;
}
