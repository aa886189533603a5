//! Four ways to send a token in a stream, and what arrives.

use std::convert::Infallible;
use std::panic::catch_unwind;

use bytes::Bytes;
use eventsource_stream::Eventsource;
use futures_util::{StreamExt, stream};
use salvo::http::HeaderValue;
use salvo::prelude::*;
use salvo::sse::SseEvent;
use serde_json::{Value, json};
use tests::{Browser, assert_recorded, serve};

/// A model's tokens: words with their spaces, and Markdown with its line breaks.
const TOKENS: [&str; 8] =
    ["Two", " things", ":", "\n\n", "- one", "\n", "- two", "\n    code"];

// ANCHOR: ways
fn bare(token: &str) -> String {
    format!("data:{token}\n\n")
}

fn spaced(token: &str) -> String {
    format!("data: {token}\n\n")
}

// ANCHOR: by_lines
fn by_lines(token: &str) -> String {
    SseEvent::default().text(token).to_string()
}
// ANCHOR_END: by_lines

// ANCHOR: as_json
fn as_json(token: &str) -> String {
    let data = json!({ "text": token }).to_string();
    SseEvent::default().text(data).to_string()
}
// ANCHOR_END: as_json
// ANCHOR_END: ways

/// Parses these bytes, and returns the data of each event.
async fn received(bytes: String) -> Vec<String> {
    let body = stream::iter([Ok::<_, Infallible>(Bytes::from(bytes))]);
    body.eventsource().map(|event| event.unwrap().data).collect().await
}

fn sent(way: fn(&str) -> String) -> String {
    TOKENS.map(way).concat()
}

#[tokio::test]
async fn only_json_and_lines_of_data_keep_a_token_as_it_is() {
    let mut shown = format!("sent:     {:?}\n\n", TOKENS.concat());
    let mut kept = Vec::new();
    for (name, way) in
        [("bare", bare as fn(&str) -> _), ("spaced", spaced), ("by_lines", by_lines)]
    {
        let text = received(sent(way)).await.concat();
        shown += &*format!("{:9} {text:?}\n", format!("{name}:"));
        kept.push(text == TOKENS.concat());
    }
    let texts = received(sent(as_json)).await.into_iter().map(|data| {
        let data: Value = serde_json::from_str(&data).unwrap();
        data["text"].as_str().unwrap().to_string()
    });
    let text = texts.collect::<String>();
    shown += &*format!("as_json:  {text:?}\n");
    kept.push(text == TOKENS.concat());
    assert_recorded("llm/recorded/glued.txt", &shown);
    assert_eq!(kept, [false, false, true, true]);
}

#[tokio::test]
async fn a_client_that_trims_loses_the_spaces_again_unless_they_are_json() {
    let trimmed = |texts: Vec<String>| {
        texts.iter().map(|text| text.trim()).collect::<String>()
    };
    assert_eq!(trimmed(received(sent(by_lines)).await), "Twothings:- one- twocode");
    let texts = received(sent(as_json)).await;
    let text = |text: &String| serde_json::from_str::<Value>(text.trim()).unwrap();
    let texts =
        texts.iter().map(|data| text(data)["text"].as_str().unwrap().to_string());
    assert_eq!(texts.collect::<String>(), TOKENS.concat());
}

#[tokio::test]
async fn a_lone_carriage_return_does_not_survive_lines_of_data() {
    assert_eq!(received(by_lines("50 %\r100 %")).await.concat(), "50 %\n100 %");
}

#[test]
fn salvo_panics_where_an_id_would_break_the_format() {
    for id in ["a\nid: b", "a\rb", "a\0b"] {
        let made = catch_unwind(|| SseEvent::default().id(id).to_string());
        assert!(made.is_err(), "{made:?}");
    }
    let made = SseEvent::default().id("a b").to_string();
    assert_eq!(made, "id: a b\n\n");
}

struct Tokens(fn(&str) -> String);

#[handler]
impl Tokens {
    async fn handle(&self, res: &mut Response) {
        let kind = HeaderValue::from_static("text/event-stream");
        res.headers_mut().insert("content-type", kind);
        res.body(sent(self.0) + "event: end\ndata:\n\n");
    }
}

#[handler]
async fn page() -> Text<&'static str> {
    Text::Html("<!doctype html><title>tokens</title>")
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn eventsource_loses_the_same_characters_of_tokens() {
    let way = |name, way| Router::with_path(name).get(Tokens(way));
    let router = Router::new()
        .get(page)
        .push(way("bare", bare))
        .push(way("spaced", spaced))
        .push(way("by_lines", by_lines));
    let url = serve(router).await;
    let browser = Browser::start().await;
    browser.open(&url).await;
    for (name, way) in
        [("bare", bare as fn(&str) -> _), ("spaced", spaced), ("by_lines", by_lines)]
    {
        let listen = format!(
            "(window.text = '', window.ended = '', window.source = new EventSource('{name}'), \
             source.onmessage = (event) => {{ text += event.data; }}, \
             source.addEventListener('end', () => {{ source.close(); ended = '{name}'; }}), 0)"
        );
        browser.eval(&listen).await;
        browser.until(&format!("ended == '{name}'")).await;
        let text = received(sent(way)).await.concat();
        assert_eq!(browser.eval("text").await, json!(text), "{name}");
    }
}
