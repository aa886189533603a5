//! Requests that `llm` refuses, bounds that it keeps, and the figures in its chapter.

use std::fs;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tests::{Program, chunks, root, until};
use tokio::io::AsyncWriteExt;

use crate::server::{ModelServer, SOON, ask, finish, text, token, whole};

/// The limits of `examples/llm`.
const MAX_PROMPT: usize = 16 << 10;
const MAX_REQUEST: usize = 8 * MAX_PROMPT;
const MAX_ANSWER: usize = 1 << 20;
const MAX_EVENT: usize = 256 << 10;
const MAX_GENERATING: usize = 200;
const MAX_KEPT: usize = 256;
const LIFE: Duration = Duration::from_secs(600);

#[tokio::test]
async fn bad_requests_are_answered_as_the_page_shows() {
    Program::start("llm").await.assert_session("llm/recorded/refused.txt");
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
    let site =
        |site: &str| json(r#"{"prompt": "Hi"}"#).header("sec-fetch-site", site);
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
        (from(""), 403, "does not pass on the Host"),
        (site("cross-site"), 403, "another origin"),
        (site("same-site"), 403, "another origin"),
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
    server.stays_alone_for(SOON).await;

    for request in [
        from(&llm.url),
        from(&llm.url.to_uppercase().replace("HTTP:", "http:")),
        from("http://example.com").header("sec-fetch-site", "same-origin"),
        site("none"),
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
async fn at_most_200_answers_are_generated_at_once() {
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
async fn at_most_256_answers_are_kept_and_the_oldest_complete_one_makes_room() {
    let server = ModelServer::start().await;
    let llm = server.llm().await;
    let first = ask(&llm, "Hi").await;
    let mut reader = llm.events(&first).await;
    let mut first_asked = server.asked().await;
    first_asked.stream("").await;
    let mut paths = Vec::new();
    for _ in 0..MAX_KEPT {
        let path = ask(&llm, "Hi").await;
        let events = llm.events(&path).await;
        let mut asked = server.asked().await;
        asked.stream("").await;
        asked.write(finish()).await;
        whole(events).await;
        paths.push(path);
    }
    // The very first one is still being generated: it stays, and the next one goes.
    assert_eq!(llm.get(&paths[0]).await.status(), 404);
    assert_eq!(llm.get(&paths[1]).await.status(), 200);
    first_asked.write(token("a")).await;
    assert_eq!(text(&reader.next().await.unwrap()), "a");
}

/// `tests/preload/clock.c` lets ten minutes pass in no time.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_complete_answer_is_kept_for_ten_minutes_and_no_longer() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_string();
    let mut cc = Command::new("cc");
    cc.args(["-shared", "-fPIC", "-o", &path("clock.so")]);
    let source = root().join("tests/preload/clock.c");
    assert!(cc.arg(source).status().unwrap().success());
    let pass = |seconds: u64| {
        // The program may look at any time: the file is replaced at once.
        fs::write(path("new"), seconds.to_string()).unwrap();
        fs::rename(path("new"), path("passed")).unwrap();
    };
    pass(0);
    let server = ModelServer::start().await;
    let variables = [
        ("OPENAI_BASE_URL", &*server.url("/v1")),
        ("OPENAI_MODEL", "m"),
        ("LD_PRELOAD", &path("clock.so")),
        ("SECONDS_PASSED", &path("passed")),
    ];
    let llm = Program::start_with("llm", &variables).await;
    let answer = ask(&llm, "Hi").await;
    let events = llm.events(&answer).await;
    server.asked().await.stream(token("a") + &*finish()).await;
    assert_eq!(whole(events).await.1, "done");
    // A minute is more than this test may take.
    pass(LIFE.as_secs() - 60);
    assert_eq!(llm.get(&answer).await.status(), 200);
    pass(LIFE.as_secs() + 1);
    assert_eq!(llm.get(&answer).await.status(), 404);
}

#[tokio::test]
async fn an_answer_is_cut_off_at_its_greatest_length() {
    let server = ModelServer::start().await;
    let llm = server.llm().await;
    let events = llm.events(&ask(&llm, "Hi").await).await;
    let mut asked = server.asked().await;
    asked.stream("").await;
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

#[test]
fn the_figures_on_the_page_are_those_of_the_recording() {
    let table = fs::read_to_string(root().join("bench/recorded/tokens.md")).unwrap();
    let row = |start| table.lines().find(|line| line.starts_with(start)).unwrap();
    let cells: Vec<_> = row("| llm |").split(" | ").collect();
    let copier: Vec<_> = row("| peer-relay |").split(" | ").collect();
    let number = |cell: &str| -> f64 {
        cell.trim_end_matches([' ', '|', 'm', 's', 'µ']).parse().unwrap()
    };
    // The part of one core that 200 answers with 50 tokens a second each take.
    let part = number(cells[12]) * 1e-6 * 10_000.0;
    assert!((1.0 / 6.5..1.0 / 5.5).contains(&part), "{part}");
    let figures = [
        format!("{:.2} ms", number(cells[4])),
        format!("{:.1} ms", number(cells[5])),
        format!("{:.1} ms", number(cells[6])),
        format!("{:.1} ms", number(copier[6])),
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
