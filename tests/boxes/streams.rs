//! Streams to compress, in `tests/recorded/streams/`: what `chat`, the stand-in for a model
//! and `llm` send, and rows of HTML. `RECORD=1` records them anew; else the test looks at
//! whether the programs still send such events. `bench/squeeze` reads the same files.

use std::fs;
use std::path::PathBuf;

use serde_json::json;
use tests::{Program, root, within};

/// Tokens of the stand-in, which has no more to say.
const COUNT: usize = 150;
const PROMPT: &str = "What is a heartbeat?";

/// The events of a recorded stream, each with its empty line.
pub fn recorded(name: &str) -> Vec<String> {
    let text = fs::read_to_string(file(name)).unwrap();
    text.split_inclusive("\n\n").map(str::to_string).collect()
}

fn file(name: &str) -> PathBuf {
    root().join(format!("tests/recorded/streams/{name}.sse"))
}

/// The sentences of the text that the stand-in imitates, which people say in the room: each
/// of them once.
fn sentences() -> Vec<String> {
    let text = fs::read_to_string(root().join("examples/llm/corpus.txt")).unwrap();
    let sentences = text.split_inclusive(['.', '?', '!']).map(str::trim);
    sentences.filter(|sentence| !sentence.is_empty()).map(str::to_string).collect()
}

/// The first events of a stream, as they come.
async fn read(answer: reqwest::Response, count: usize) -> Vec<String> {
    let mut answer = answer;
    let mut text = String::new();
    while text.matches("\n\n").count() < count {
        let piece = within("events", answer.chunk()).await.unwrap();
        text += str::from_utf8(&piece.expect("the stream goes on")).unwrap();
    }
    text.split_inclusive("\n\n").take(count).map(str::to_string).collect()
}

/// Compares events with those recorded, save for digits and ids, or records them.
fn assert_recorded(name: &str, events: &[String]) {
    if std::env::var_os("RECORD").is_some() {
        fs::create_dir_all(file(name).parent().unwrap()).unwrap();
        fs::write(file(name), events.concat()).unwrap();
    }
    let recorded = recorded(name);
    assert!(recorded.len() >= events.len());
    for (now, was) in events.iter().zip(&recorded) {
        assert_eq!(shape(now), shape(was), "RECORD=1 records it anew");
    }
}

/// An event without the words that are another in each run: those with digits.
fn shape(event: &str) -> String {
    let words = event.split_inclusive(|c: char| !c.is_ascii_alphanumeric());
    words.filter(|word| !word.contains(|c: char| c.is_ascii_digit())).collect()
}

/// As many tokens as the run compares; the recording has all.
fn count() -> usize {
    if std::env::var_os("RECORD").is_some() { COUNT } else { 8 }
}

#[tokio::test]
async fn the_room_still_sends_such_lines() {
    let chat = Program::start("chat").await;
    let id = |n: usize| format!("{n:032x}");
    // Readers who only write: what one of them sees is what all of them see.
    let ann = chat.get(&format!("/chat?as={}", id(1))).await;
    let mut others = Vec::new();
    for n in 2..8 {
        others.push(chat.get(&format!("/chat?as={}", id(n))).await);
    }
    let sentences = sentences();
    // Its id and name, and the six who join.
    let welcome = 8;
    for (n, sentence) in sentences.iter().enumerate() {
        let path = format!("/chat/{}", id(2 + (n * n) % 6));
        let said =
            chat.send(chat.request("POST", &path).body(sentence.clone())).await;
        assert_eq!(said.status(), 204);
    }
    let events = read(ann, welcome + sentences.len()).await;
    assert_recorded("chat", &events[welcome..]);
}

#[tokio::test]
async fn a_model_and_llm_still_send_such_tokens() {
    let model = Program::start("model").await;
    let question = json!({
        "model": "stand-in", "stream": true,
        "messages": [{ "role": "user", "content": PROMPT }],
    });
    let request = model.request("POST", "/v1/chat/completions");
    let chunks = model.send(request.json(&question)).await;
    let base = format!("{}/v1/", model.url);
    let llm = Program::start_with(
        "llm",
        &[("OPENAI_BASE_URL", &base), ("OPENAI_MODEL", "stand-in")],
    )
    .await;
    let request = llm.request("POST", "/answers");
    let created = llm.send(request.json(&json!({ "prompt": PROMPT }))).await;
    let created: serde_json::Value = within("an id", created.json()).await.unwrap();
    let path = format!("/answers/{}", created["id"].as_str().unwrap());
    let tokens = llm.get(&path).await;
    let (chunks, tokens) =
        tokio::join!(read(chunks, count()), read(tokens, count()));
    assert_recorded("chunks", &chunks);
    assert_recorded("tokens", &tokens);
}

#[test]
fn rows_of_a_table_are_made_of_the_same_text() {
    let row = |(n, sentence): (usize, &String)| {
        let words = sentence.split_whitespace().count();
        format!(
            "event: row\ndata: <tr id=\"row-{n}\" class=\"sentence\">\
             <td class=\"number\">{n}</td><td class=\"text\">{sentence}</td>\
             <td class=\"number\">{words}</td><td><a class=\"button\" \
             href=\"/sentences/{n}\">Open</a></td></tr>\nid: {n}\n\n"
        )
    };
    let sentences = sentences();
    let rows = (1..).zip(&sentences).map(row);
    assert_recorded("rows", &rows.collect::<Vec<_>>());
}
