//! How a test asks the stand-in, and reads its answers.

use std::time::Duration;

use reqwest::Response;
use serde_json::{Value, json};
use tests::{Program, within};

/// The name, the words, the pace and the limits of the stand-in in `examples/llm`.
pub const NAME: &str = "stand-in";
pub const CONFESSION: &str =
    "I am only a stand-in, and imitate a text of two pages.";
pub const PACE: Duration = Duration::from_millis(60);
pub const ENOUGH: u64 = 150;
pub const MAX_TOKENS: u64 = 240;
pub const MAX_REQUEST: usize = 1 << 20;

/// A question with these settings.
pub fn question(prompt: impl Into<Value>, settings: Value) -> Value {
    let message = json!({ "role": "user", "content": prompt.into() });
    let mut question = json!({ "model": NAME, "messages": [message] });
    let fields = settings.as_object().unwrap().clone();
    question.as_object_mut().unwrap().extend(fields);
    question
}

pub async fn ask(model: &Program, body: impl Into<reqwest::Body>) -> Response {
    let request = model.request("POST", "/v1/chat/completions");
    let request = request.header("content-type", "application/json");
    // The SDKs ask for JSON, even when they want a stream.
    model.send(request.header("accept", "application/json").body(body)).await
}

pub async fn json_of(response: Response) -> Value {
    assert_eq!(
        response.headers()["content-type"],
        "application/json; charset=utf-8"
    );
    let text = within("the body", response.text()).await.unwrap();
    serde_json::from_str(&text).unwrap_or_else(|_| panic!("no JSON: {text}"))
}

/// The answer in one piece.
pub async fn answer(model: &Program, question: &Value) -> Value {
    let response = ask(model, question.to_string()).await;
    assert_eq!(response.status(), 200);
    json_of(response).await
}

pub fn content(answer: &Value) -> &str {
    answer["choices"][0]["message"]["content"].as_str().unwrap()
}

/// Reads a body to its end, and returns it behind the part that has been read before. A cut is
/// an error.
pub async fn to_the_end(mut stream: Response, mut body: String) -> String {
    while let Some(chunk) = within("a chunk", stream.chunk()).await.unwrap() {
        body += str::from_utf8(&chunk).unwrap();
    }
    body
}

/// An answer that came as a whole stream.
pub struct Streamed {
    /// The data of all events but the last one, which is `[DONE]`.
    pub chunks: Vec<Value>,
}

impl Streamed {
    pub async fn from(model: &Program, question: &Value) -> Self {
        let mut question = question.clone();
        question["stream"] = true.into();
        let response = ask(model, question.to_string()).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self::parse(&to_the_end(response, String::new()).await)
    }

    /// Asserts that each block is one line of data. The SDKs know no more of the format: no other
    /// fields, and no block without data.
    pub fn parse(body: &str) -> Self {
        let blocks = body.strip_suffix("\n\n").expect("the last event is whole");
        let mut data: Vec<_> = blocks
            .split("\n\n")
            .map(|block| block.strip_prefix("data: ").expect("a block is data"))
            .collect();
        assert_eq!(data.pop(), Some("[DONE]"));
        Self {
            chunks: data
                .into_iter()
                .map(|data| serde_json::from_str(data).unwrap())
                .collect(),
        }
    }

    /// The texts of the chunks that have one.
    pub fn tokens(&self) -> Vec<&str> {
        let texts = self.chunks.iter().filter_map(|chunk| {
            chunk.pointer("/choices/0/delta/content").and_then(Value::as_str)
        });
        texts.filter(|text| !text.is_empty()).collect()
    }

    pub fn finish_reason(&self) -> &str {
        let reasons: Vec<_> = self
            .chunks
            .iter()
            .filter_map(|chunk| {
                chunk.pointer("/choices/0/finish_reason").and_then(Value::as_str)
            })
            .collect();
        assert_eq!(reasons.len(), 1, "it finishes once: {reasons:?}");
        reasons[0]
    }
}
