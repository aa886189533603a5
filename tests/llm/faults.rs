//! Model servers that break off, fall silent, never end, or stand behind a proxy.

use std::time::{Duration, Instant};

use serde_json::Value;
use tests::Program;
use tests::scripted::{self, Server};
use tokio::io::AsyncWriteExt;

use crate::server::{ModelServer, SOON, ask, plain, respond, whole};

/// The limit of `examples/llm` for the body of an error.
const ERROR: Duration = Duration::from_secs(5);
const MAX_EVENT: usize = 256 << 10;
/// All that the kernels of both sides may keep of what nobody reads.
const IN_BETWEEN: usize = 16 << 20;

fn reason(last: &str, data: &Value) -> String {
    assert_eq!(last, "failure", "{data}");
    data["reason"].as_str().unwrap().to_string()
}

#[tokio::test]
async fn an_error_whose_body_is_cut_keeps_its_status_and_what_came() {
    let server = ModelServer::start().await;
    let llm = server.llm().await;
    let events = llm.events(&ask(&llm, "Hi").await).await;
    let head = "HTTP/1.1 401 Unauthorized\r\ncontent-type: application/json\r\n";
    let mut asked = server.asked().await;
    asked
        .write(format!("{head}content-length: 99\r\n\r\n{{\"error\": \"no k"))
        .await;
    drop(asked);
    let (_, last, data) = whole(events).await;
    let reason = reason(&last, &data);
    assert!(reason.contains("401 without a stream: {\"error\": \"no k"), "{reason}");
    assert!(reason.contains("broke off"), "{reason}");
}

#[tokio::test]
async fn an_error_that_falls_silent_is_told_soon_with_its_status_and_what_came() {
    let server = ModelServer::start().await;
    let llm = server.llm().await;
    for came in ["", "the GPU is on f"] {
        let events = llm.events(&ask(&llm, "Hi").await).await;
        let mut asked = server.asked().await;
        let head = "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 99\r\n";
        asked.write(format!("{head}\r\n{came}")).await;
        let start = Instant::now();
        let (_, last, data) = whole(events).await;
        let reason = reason(&last, &data);
        assert!(
            reason.contains(&format!("500 without a stream: {came}")),
            "{reason}"
        );
        assert!(start.elapsed() >= ERROR - SOON, "{:?}", start.elapsed());
        asked.is_left().await;
    }
}

#[tokio::test]
async fn an_error_without_an_end_is_read_up_to_a_bound() {
    let server = ModelServer::start().await;
    let llm = server.llm().await;
    let events = llm.events(&ask(&llm, "Hi").await).await;
    let mut asked = server.asked().await;
    asked.write("HTTP/1.1 500 Internal Server Error\r\n\r\n").await;
    let mut taken = 0;
    // It is taken as long as `llm` reads.
    while asked.socket.write_all(&[b'x'; 1 << 16]).await.is_ok() {
        taken += 1 << 16;
        assert!(taken < MAX_EVENT + IN_BETWEEN, "{taken} bytes of an error");
    }
    let (_, last, data) = whole(events).await;
    assert!(reason(&last, &data).contains("500 without a stream: xxx"), "{data}");
}

/// Each of these tokens may cost.
#[tokio::test]
async fn tokens_that_are_no_stream_are_left_at_their_head() {
    let server = ModelServer::start().await;
    let llm = server.llm().await;
    for kind in ["text/plain", "application/json"] {
        let events = llm.events(&ask(&llm, "Hi").await).await;
        let mut asked = server.asked().await;
        let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\n\r\nHi");
        asked.write(head).await;
        let time = asked.is_left().await;
        assert!(time < 3 * SOON, "{time:?}");
        let (_, last, data) = whole(events).await;
        let reason = reason(&last, &data);
        assert!(reason.contains("200 without a stream: Hi"), "{reason}");
        assert!(reason.contains(&format!("its type is `{kind}`")), "{reason}");
    }
}

/// A server closes a kept connection when it likes, also while a question is on its way.
#[tokio::test]
async fn no_question_is_asked_on_an_old_connection() {
    let server = ModelServer::start().await;
    let llm = server.llm().await;
    let mut kept = Vec::new();
    for _ in 0..3 {
        let events = llm.events(&ask(&llm, "Hi").await).await;
        // This one says nothing of closing the connection, and does not do it.
        let mut asked = server.asked().await;
        asked.write(scripted::chunked(plain().as_bytes(), 1_000)).await;
        let (_, last, data) = whole(events).await;
        assert_eq!(last, "done", "{data}");
        kept.push(asked);
    }
    for asked in &mut kept {
        asked.is_left().await;
    }
}

#[tokio::test]
async fn a_model_server_is_asked_not_to_compress() {
    let server = ModelServer::start().await;
    let llm = server.llm().await;
    ask(&llm, "Hi").await;
    let asked = server.asked().await;
    assert_eq!(asked.header("accept-encoding"), Some("identity"));
}

async fn llm_behind(proxy: &str, variable: &str, server: &ModelServer) -> Program {
    let variables = [
        ("OPENAI_BASE_URL", &*server.url("/v1")),
        ("OPENAI_MODEL", "m"),
        (variable, proxy),
    ];
    Program::start_with("llm", &variables).await
}

#[tokio::test]
async fn a_proxy_that_is_not_there_is_named_and_not_the_model_server_alone() {
    let server = ModelServer::start().await;
    for variable in ["HTTP_PROXY", "http_proxy", "ALL_PROXY"] {
        let llm =
            llm_behind("http://ann:secret@127.0.0.1:9", variable, &server).await;
        let (_, last, data) = whole(llm.events(&ask(&llm, "Hi").await).await).await;
        let reason = reason(&last, &data);
        let named =
            format!("through the proxy at 127.0.0.1:9, which {variable} names");
        assert!(reason.starts_with("cannot reach the model server at"), "{reason}");
        assert!(reason.contains(&named), "{reason}");
        assert!(!reason.contains("secret") && !llm.stderr().contains("secret"));
    }
    server.stays_alone_for(SOON).await;
    // For https, the client asks the proxy for a tunnel.
    let variables = [
        ("OPENAI_BASE_URL", "https://models.example/v1"),
        ("OPENAI_MODEL", "m"),
        ("https_proxy", "127.0.0.1:9"),
    ];
    let llm = Program::start_with("llm", &variables).await;
    let (_, last, data) = whole(llm.events(&ask(&llm, "Hi").await).await).await;
    let reason = reason(&last, &data);
    let named =
        "models.example:443 (through the proxy at 127.0.0.1:9, which https_proxy";
    assert!(reason.contains(named), "{reason}");
}

#[tokio::test]
async fn a_proxy_that_answers_itself_is_named() {
    let server = ModelServer::start().await;
    let proxy = Server::start().await;
    let llm = llm_behind(&proxy.url(""), "http_proxy", &server).await;
    let events = llm.events(&ask(&llm, "Hi").await).await;
    proxy.answer("HTTP/1.1 403 Forbidden\r\ncontent-length: 3\r\n\r\nno!").await;
    let (_, last, data) = whole(events).await;
    let reason = reason(&last, &data);
    assert!(reason.contains("through the proxy at 127.0.0.1:"), "{reason}");
    assert!(reason.contains("403 without a stream: no!"), "{reason}");
}

#[tokio::test]
async fn no_proxy_stands_between_llm_and_what_no_proxy_lists() {
    let server = ModelServer::start().await;
    let variables = [
        ("OPENAI_BASE_URL", &*server.url("/v1")),
        ("OPENAI_MODEL", "m"),
        ("HTTP_PROXY", "http://127.0.0.1:9"),
        ("NO_PROXY", "127.0.0.1"),
    ];
    let llm = Program::start_with("llm", &variables).await;
    let events = llm.events(&ask(&llm, "Hi").await).await;
    respond(&mut server.asked().await, "HTTP/1.1 500 No\r\n", [].into_iter(), true)
        .await;
    let (_, last, data) = whole(events).await;
    assert!(!reason(&last, &data).contains("proxy"), "{data}");
    // The stand-in is on this machine, and needs no such word.
    let llm = Program::start_with("llm", &variables[2..3]).await;
    let mut events = llm.events(&ask(&llm, "Hi").await).await;
    assert_eq!(events.next().await.unwrap().event, "token");
}
