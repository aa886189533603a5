//! Requests that the stand-in refuses, and the time that its answers take.

use std::time::{Duration, Instant};

use serde_json::json;
use tests::{Program, until, within};

use super::client::{
    MAX_REQUEST, PACE, Streamed, answer, ask, content, json_of, question,
};

#[tokio::test]
async fn a_request_that_the_stand_in_cannot_answer_gets_a_reason_as_json() {
    let model = Program::start("model").await;
    let [unknown, unknown_streamed] = [false, true].map(|stream| {
        let settings = json!({ "model": "gpt-5", "stream": stream });
        question("Hi", settings).to_string()
    });
    let no_model = "there is no model `gpt-5`, only `stand-in`";
    let deep =
        question("[", json!({})).to_string().replace("\"[\"", &"[".repeat(10_000));
    let long = question("x".repeat(MAX_REQUEST), json!({})).to_string();
    let cases: [(&[u8], u16, &str); 15] = [
        (b"", 400, "EOF while parsing"),
        (b"Hi", 400, "expected value at line 1 column 1"),
        (b"{\"model\": \"stand-in\"", 400, "EOF while parsing"),
        (b"\xff", 400, "expected value at line 1 column 1"),
        (b"{\"model\": \"\xff\"}", 400, "unicode"),
        (b"null", 400, "invalid type: null"),
        (br#"{"messages": []}"#, 400, "missing field `model`"),
        (br#"{"model": "stand-in"}"#, 400, "missing field `messages`"),
        (br#"{"model": 1, "messages": []}"#, 400, "expected a string"),
        (br#"{"model": "stand-in", "messages": "Hi"}"#, 400, "expected a sequence"),
        (
            br#"{"model": "stand-in", "messages": [{"content": "Hi"}]}"#,
            400,
            "missing field `role`",
        ),
        (deep.as_bytes(), 400, "recursion limit exceeded"),
        (unknown.as_bytes(), 404, no_model),
        (unknown_streamed.as_bytes(), 404, no_model),
        (long.as_bytes(), 413, "the body has more than 1048576 bytes"),
    ];
    for (body, status, why) in cases {
        let start = String::from_utf8_lossy(&body[..body.len().min(60)]);
        // Once with a Content-Length, and once in chunks.
        for body in [reqwest::Body::from(body.to_vec()), tests::chunks(body)] {
            let response = ask(&model, body).await;
            assert_eq!(response.status(), status, "{start}");
            let answer = json_of(response).await;
            let message = answer["error"]["message"].as_str().expect("a message");
            assert!(message.contains(why), "{start}: {message}");
            let error = json!({
                "message": message, "type": "invalid_request_error",
                "param": null, "code": null,
            });
            assert_eq!(answer, json!({ "error": error }), "{start}");
        }
    }
}

#[tokio::test]
async fn what_the_stand_in_cannot_do_is_refused_by_name() {
    let model = Program::start("model").await;
    let tool = json!({ "type": "function", "function": { "name": "weather" } });
    let schema = json!({ "type": "json_schema", "json_schema": {} });
    for (name, value) in [
        ("n", json!(2)),
        ("n", json!(0)),
        ("n", json!("1")),
        ("tool_choice", json!("required")),
        ("tool_choice", tool.clone()),
        ("function_call", json!({ "name": "weather" })),
        ("response_format", json!({ "type": "json_object" })),
        ("response_format", schema),
        ("logprobs", json!(true)),
        ("temperature", json!(99)),
        ("temperature", json!(-0.1)),
        ("temperature", json!("warm")),
        ("max_tokens", json!(-2)),
        ("max_tokens", json!(1.5)),
        ("max_completion_tokens", json!("10")),
        ("stop", json!(7)),
        ("stop", json!(["a", "b", "c", "d", "e"])),
        ("stop", json!(["a", null])),
    ] {
        for stream in [false, true] {
            let asked = question("Hi", json!({ name: value, "stream": stream }));
            let response = ask(&model, asked.to_string()).await;
            assert_eq!(response.status(), 400, "{name}: {value}");
            let error = &json_of(response).await["error"];
            assert_eq!(error["param"], name, "{error}");
            assert_eq!(error["type"], "invalid_request_error", "{error}");
            let message = error["message"].as_str().unwrap();
            assert!(message.starts_with(&format!("{name}: ")), "{message}");
        }
    }
    // Settings that say the same as nothing at all, or leave the choice.
    let plain = answer(&model, &question("Hi", json!({}))).await;
    for settings in [
        json!({ "n": 1, "tool_choice": "auto", "response_format": { "type": "text" } }),
        json!({ "n": null, "tool_choice": null, "response_format": null }),
        json!({ "tools": [tool], "tool_choice": "none", "logprobs": false }),
        json!({ "temperature": 0, "top_p": 0.5, "user": "ann", "stop": null }),
        json!({ "temperature": 2.0, "stop": [], "seed": null, "max_tokens": null }),
        json!({ "max_tokens": -1 }),
        json!({ "max_completion_tokens": -1, "stop": "" }),
        json!({ "max_tokens": u64::MAX, "stop": ["this is nowhere in it"] }),
    ] {
        let answer = answer(&model, &question("Hi", settings.clone())).await;
        assert_eq!(content(&answer), content(&plain), "{settings}");
    }
}

#[tokio::test]
async fn another_path_or_method_gets_a_reason_in_the_shape_that_sdks_know() {
    let model = Program::start("model").await;
    for (method, path, status, code) in [
        ("POST", "/v1/responses", 404, "unknown_url"),
        ("POST", "/v1/embeddings", 404, "unknown_url"),
        ("POST", "/v1/completions", 404, "unknown_url"),
        ("GET", "/v1/models/stand-in", 404, "unknown_url"),
        ("POST", "/chat/completions", 404, "unknown_url"),
        ("GET", "/v1", 404, "unknown_url"),
        ("GET", "/v1/chat/completions", 405, "unsupported_method"),
        ("DELETE", "/v1/models", 405, "unsupported_method"),
        ("POST", "/", 405, "unsupported_method"),
        // A page of another origin asks so for permission, and gets none.
        ("OPTIONS", "/v1/chat/completions", 405, "unsupported_method"),
    ] {
        for accept in
            ["application/json", "*/*", "", "application/json, text/plain, */*"]
        {
            let request = model.request(method, path).header("accept", accept);
            let response = model.send(request).await;
            assert_eq!(response.status(), status, "{method} {path}");
            let allows = response.headers().get("access-control-allow-origin");
            assert_eq!(allows, None, "{method} {path}");
            let answer = json_of(response).await;
            let message = answer["error"]["message"].as_str().expect("a message");
            let called = format!("Invalid URL ({method} {path}): ");
            assert!(message.starts_with(&called), "{message}");
            assert!(message.contains("POST /v1/chat/completions"), "{message}");
            let error = json!({
                "message": message, "type": "invalid_request_error",
                "param": null, "code": code,
            });
            assert_eq!(answer, json!({ "error": error }), "{method} {path}");
        }
    }
}

#[tokio::test]
async fn a_page_of_another_origin_gets_no_answer() {
    let model = Program::start("model").await;
    let asked = question("Hi", json!({})).to_string();
    let from = |origin: &str| {
        let request = model.request("POST", "/v1/chat/completions");
        request.header("origin", origin).body(asked.clone())
    };
    let refused = model.send(from("http://example.com")).await;
    assert_eq!(refused.status(), 403);
    let error = &json_of(refused).await["error"];
    assert!(
        error["message"].as_str().unwrap().contains("another origin"),
        "{error}"
    );
    assert_eq!(model.send(from(&model.url)).await.status(), 200);
}

#[tokio::test]
async fn a_request_that_breaks_off_gets_a_reason() {
    let model = Program::start("model").await;
    let body = question("Hi", json!({})).to_string();
    let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: test\r\n";
    let length = body.len() + 1;
    let request = format!("{head}content-length: {length}\r\n\r\n{body}");
    let answer = model.raw(request).await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert!(answer.contains(r#"{"error":{"#), "{answer}");
}

#[tokio::test]
async fn the_longest_request_is_answered_within_a_second() {
    let model = Program::start("model").await;
    let rest = question("", json!({ "max_tokens": 3 })).to_string().len();
    // The prompt has words that are in the text, so that there is the most to look for.
    let mut prompt = "stream reader ".repeat(MAX_REQUEST / 14);
    prompt.truncate(MAX_REQUEST - rest);
    let asked = question(prompt, json!({ "max_tokens": 3 }));
    assert_eq!(asked.to_string().len(), MAX_REQUEST);
    // Looking for each word took five seconds, in which a thread served nobody else.
    until("an answer within a second", async || {
        let start = Instant::now();
        assert_eq!(content(&answer(&model, &asked).await), "I am only");
        start.elapsed() < Duration::from_secs(1)
    })
    .await;
}

#[tokio::test]
async fn tokens_come_at_a_human_pace() {
    let model = Program::start("model").await;
    let asked = question("Hi", json!({ "max_tokens": 10, "stream": true }));
    // No token may come before its time. On a busy machine one try may be late, so there
    // are several; a program that collects tokens fails them all.
    until("each token in its time", async || {
        let start = Instant::now();
        let mut stream = ask(&model, asked.to_string()).await;
        let mut body = String::new();
        let mut late = Duration::ZERO;
        while let Some(chunk) = within("a chunk", stream.chunk()).await.unwrap() {
            body += str::from_utf8(&chunk).unwrap();
            let time = start.elapsed();
            let events = body.matches("\n\n").count() as u32;
            assert!(time >= PACE * events, "{events} events in {time:?}");
            late = late.max(time - PACE * events);
        }
        assert_eq!(Streamed::parse(&body).tokens().len(), 10);
        late < PACE * 4
    })
    .await;
}

#[tokio::test]
async fn the_body_ends_right_after_done() {
    let model = Program::start("model").await;
    let asked = question("Hi", json!({ "max_tokens": 1, "stream": true }));
    // The Node SDK waits for the end of the body. On a busy machine one try may be late; a
    // program that leaves its stream open fails them all.
    until("the end right after [DONE]", async || {
        let mut stream = ask(&model, asked.to_string()).await;
        let mut body = Vec::new();
        while !body.ends_with(b"data: [DONE]\n\n") {
            let chunk = within("a chunk", stream.chunk()).await.unwrap();
            body.extend(chunk.expect("it says [DONE] before it ends"));
        }
        let done = Instant::now();
        assert_eq!(within("the end", stream.chunk()).await.unwrap(), None);
        done.elapsed() < PACE
    })
    .await;
}

#[tokio::test]
async fn when_the_client_leaves_the_answer_ends() {
    let model = Program::start("model").await;
    let asked = question("Hi", json!({ "stream": true }));
    let mut stream = ask(&model, asked.to_string()).await;
    within("a chunk", stream.chunk()).await.unwrap().expect("the role");
    let left = Instant::now();
    drop(stream);
    until("a word on it", async || model.stderr().ends_with(" events\n")).await;
    let time = left.elapsed();
    assert!(time < Duration::from_secs(1), "the answer goes on: {time:?}");
    let said = model.stderr();
    let (_, counts) = said.rsplit_once("sent ").unwrap();
    let (sent, of) = counts.split_once(" of ").unwrap();
    let of = of.trim_end_matches(" events\n").parse::<u64>().unwrap();
    assert!(sent.parse::<u64>().unwrap() < of / 2, "{said}");
}
