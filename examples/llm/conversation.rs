//! Questions to the stand-in, and refusals in the protocol's own shape.

use salvo::prelude::*;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::imitate::MAX_TOKENS;

/// Texts at which an answer stops.
const MAX_STOPS: usize = 4;

#[derive(Deserialize)]
pub struct Conversation {
    pub model: String,
    messages: Vec<Message>,
    pub stream: Option<bool>,
    pub stream_options: Option<StreamOptions>,
    pub seed: Option<i64>,
    #[serde(default)]
    max_tokens: Value,
    #[serde(default)]
    max_completion_tokens: Value,
    #[serde(default)]
    stop: Value,
    /// All that a model may be asked for besides. Some of it is refused.
    #[serde(flatten)]
    others: Map<String, Value>,
}

#[derive(Deserialize)]
struct Message {
    role: String,
    /// A text, or a list of parts, some of which have a text.
    #[serde(default)]
    content: Value,
}

#[derive(Deserialize)]
pub struct StreamOptions {
    #[serde(default)]
    pub include_usage: bool,
}

impl Conversation {
    /// The user's last message.
    pub fn prompt(&self) -> String {
        let last = self.messages.iter().rfind(|message| message.role == "user");
        match last.map(|message| &message.content) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Array(parts)) => {
                parts.iter().filter_map(|part| part["text"].as_str()).collect()
            }
            _ => String::new(),
        }
    }

    /// How many tokens the answer may have. -1 is how llama.cpp says that there is no limit.
    pub fn most(&self) -> Result<usize, Refusal> {
        for (name, most) in [
            ("max_completion_tokens", &self.max_completion_tokens),
            ("max_tokens", &self.max_tokens),
        ] {
            if most.is_null() {
                continue;
            }
            let whole = most
                .as_u64()
                .map(|most| usize::try_from(most).unwrap_or(MAX_TOKENS));
            let most = whole.or((*most == -1).then_some(MAX_TOKENS));
            let why = "it is a number of tokens, or -1 for no limit";
            return most
                .map(|most| most.min(MAX_TOKENS))
                .ok_or_else(|| refusal(name, why));
        }
        Ok(MAX_TOKENS)
    }

    /// The texts at which the answer stops.
    pub fn stops(&self) -> Result<Vec<&str>, Refusal> {
        let texts: Option<Vec<_>> = match &self.stop {
            Value::Null => Some(Vec::new()),
            Value::Array(texts) => texts.iter().map(Value::as_str).collect(),
            text => text.as_str().map(|text| vec![text]),
        };
        let texts = texts.filter(|texts| texts.len() <= MAX_STOPS);
        let why = || {
            refusal("stop", &format!("it is a text, or up to {MAX_STOPS} of them"))
        };
        let texts = texts.ok_or_else(why)?.into_iter();
        Ok(texts.filter(|text| !text.is_empty()).collect())
    }

    /// Refuses what would change the answer, and what this stand-in cannot do.
    pub fn refuse_what_is_not_here(&self) -> Result<(), Refusal> {
        for (name, value) in &self.others {
            let kind = value["type"].as_str().or(value.as_str()).unwrap_or_default();
            let is_here = match &**name {
                "n" => value.as_f64() == Some(1.0),
                "tool_choice" | "function_call" => ["none", "auto"].contains(&kind),
                "response_format" => kind == "text",
                "logprobs" => value == false,
                "temperature" => {
                    value.as_f64().is_some_and(|t| (0.0..=2.0).contains(&t))
                }
                _ => true,
            };
            if !is_here && !value.is_null() {
                let value: String = value.to_string().chars().take(100).collect();
                return Err(refusal(name, &format!("this cannot be {value} here")));
            }
        }
        Ok(())
    }
}

/// Why a request gets no answer, as the protocol says it.
pub struct Refusal {
    pub status: StatusCode,
    pub why: String,
    pub param: Option<String>,
    pub code: Option<&'static str>,
}

impl From<StatusError> for Refusal {
    fn from(error: StatusError) -> Self {
        Self { status: error.code, why: error.brief, param: None, code: None }
    }
}

fn refusal(param: &str, why: &str) -> Refusal {
    let why = format!("{param}: {why}");
    let param = Some(param.to_string());
    Refusal { status: StatusCode::BAD_REQUEST, why, param, code: None }
}

impl Refusal {
    pub fn render(self, res: &mut Response) {
        let Self { status, why, param, code } = self;
        let kind = match status.is_server_error() {
            true => "server_error",
            false => "invalid_request_error",
        };
        let error =
            json!({ "message": why, "type": kind, "param": param, "code": code });
        res.status_code(status);
        res.render(Json(json!({ "error": error })));
    }
}
