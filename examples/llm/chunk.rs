//! Chunks of a model server: tokens, an end, a bill, errors. Servers differ in the types of
//! their fields. So each field is looked at by itself, and one that is missing, null or odd
//! costs no answer.

use serde_json::{Map, Value};

/// Parts of a `finish_reason` that is not an end: something has broken off.
// ANCHOR: faults
const FAULTS: [&str; 7] =
    ["error", "fail", "abort", "cancel", "timeout", "interrupt", "insufficient"];
// ANCHOR_END: faults
/// Where the words of an error stand, the best place first.
const WORDS: [&str; 8] = [
    "error_message",
    "message",
    "msg",
    "detail",
    "title",
    "error_description",
    "error",
    "error_type",
];
/// Those of them that speak of an error where there is no choice.
const SIGNS: usize = 5;
/// The counts of the bill.
pub const COUNTS: [&str; 3] = ["prompt_tokens", "completion_tokens", "total_tokens"];

// ANCHOR: chunk
/// The parts of an event that are read.
#[derive(Default)]
pub struct Chunk {
    pub text: String,
    /// The text of a message that is not in pieces.
    pub whole: String,
    /// The name of a tool that the model wants to call.
    pub tool: Option<String>,
    pub finish_reason: Option<String>,
    pub usage: Map<String, Value>,
    /// Why the answer ends here, in words for a person.
    pub error: Option<String>,
}

impl Chunk {
    /// Reads the data of an event; `None` if it says nothing of the answer.
    pub fn parse(data: &str) -> Result<Option<Self>, String> {
        let no_chunk = || format!("the model server sent no chunk: {}", quote(data));
        let data = json(data).ok_or_else(no_chunk)?;
        let mut chunk = Self::default();
        // ANCHOR: choices
        let choices = data["choices"].as_array().map_or(&[][..], Vec::as_slice);
        for choice in choices.iter().filter(|choice| is_first(choice)) {
            chunk.take(choice);
        }
        // ANCHOR_END: choices
        // ANCHOR: counts
        for count in COUNTS {
            let value = data["usage"].get(count).filter(|value| value.is_number());
            chunk.usage.extend(value.map(|value| (count.into(), value.clone())));
        }
        // ANCHOR_END: counts
        // ANCHOR: error
        if is_error(&data) || choices.is_empty() && speaks_of_an_error(&data) {
            chunk.error = Some(gave_up(&data));
            return Ok(Some(chunk));
        }
        // ANCHOR_END: error
        let is_choice_odd =
            !data["choices"].is_array() && !is_nothing(&data["choices"]);
        if is_choice_odd || !data.is_object() && !is_nothing(&data) {
            return Err(no_chunk());
        }
        let is_chunk = data["choices"].is_array() || !chunk.usage.is_empty();
        Ok(is_chunk.then_some(chunk))
    }
    // ANCHOR_END: chunk

    // ANCHOR: choice
    fn take(&mut self, choice: &Value) {
        let delta = &choice["delta"];
        let texts = [&delta["content"], &delta["refusal"]].map(text);
        self.text +=
            texts.iter().find(|text| !text.is_empty()).map_or("", |text| text);
        self.whole = text(&choice["message"]["content"]);
        for calls in [&delta["tool_calls"], &delta["function_call"]] {
            // ANCHOR: tool
            if !is_nothing(calls) {
                let name = calls.pointer("/0/function/name").or(calls.get("name"));
                let name = name.and_then(Value::as_str).unwrap_or_default();
                self.tool = Some(name.into());
            }
            // ANCHOR_END: tool
        }
        // Some say with an empty text that the answer goes on.
        let end = choice["finish_reason"].as_str().unwrap_or_default().trim();
        if is_error(choice) {
            self.error = Some(gave_up(choice));
        } else if FAULTS.iter().any(|fault| end.to_lowercase().contains(fault)) {
            self.error = Some(format!("the model server gave up, with `{end}`"));
        } else if !["", "null"].contains(&end) {
            self.finish_reason = Some(end.into());
        }
    }
    // ANCHOR_END: choice
}

/// Whether this is the choice to read. A server may number none of them.
fn is_first(choice: &Value) -> bool {
    match &choice["index"] {
        Value::Number(index) => index.as_f64() == Some(0.0),
        Value::String(index) => index == "0",
        _ => true,
    }
}

/// The text in a text, or in a list of parts, of which some are thoughts.
fn text(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Array(parts) => parts.iter().map(text).collect(),
        Value::Object(part) => match part.get("type").map(Value::as_str) {
            None | Some(None | Some("text" | "output_text")) => {
                part.get("text").map(text).unwrap_or_default()
            }
            Some(Some("refusal")) => {
                part.get("refusal").map(text).unwrap_or_default()
            }
            _ => String::new(),
        },
        _ => String::new(),
    }
}

/// Whether a value says nothing: some servers send `"error": {}` beside good tokens.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) => false,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.trim().is_empty(),
        Value::Array(values) => values.iter().all(is_nothing),
        Value::Object(fields) => fields.values().all(is_nothing),
    }
}

fn is_error(value: &Value) -> bool {
    !is_nothing(&value["error"])
        || !is_nothing(&value["errors"])
        || ["object", "type"].iter().any(|field| value[field] == "error")
}

/// Whether a value without choices has the words of an error in it.
fn speaks_of_an_error(value: &Value) -> bool {
    match value {
        Value::Object(fields) => {
            let names = |(name, value): (&String, &Value)| {
                (name.starts_with("error") && !is_nothing(value))
                    || WORDS[..SIGNS].contains(&&**name) && words(value).is_some()
            };
            fields.iter().any(names)
        }
        Value::Array(values) => {
            values.iter().any(|value| is_error(value) || speaks_of_an_error(value))
        }
        _ => false,
    }
}

fn gave_up(error: &Value) -> String {
    let said = words(error).unwrap_or_else(|| error.to_string());
    format!("the model server gave up: {said}")
}

/// Finds the words of an error in the places where model servers put them.
fn words(error: &Value) -> Option<String> {
    match error {
        Value::String(text) => {
            Some(text.trim().to_string()).filter(|text| !text.is_empty())
        }
        Value::Array(errors) => errors.iter().find_map(words),
        Value::Object(fields) => {
            let inner =
                ["error", "errors"].iter().filter_map(|name| fields.get(*name));
            let inner = inner.filter(|value| !value.is_string()).find_map(words);
            inner.or_else(|| WORDS.iter().find_map(|name| words(fields.get(*name)?)))
        }
        _ => None,
    }
}

/// Quotes a text that should have been something else: the words of an error, or all of it.
pub fn quote(text: &str) -> String {
    let text = text.trim();
    if text.starts_with('<') {
        return format!("a page of HTML (is OPENAI_BASE_URL right?): {text}");
    }
    let said = json(text).as_ref().and_then(words);
    said.unwrap_or_else(|| text.into())
}

/// Whether a text is an error, as the value of a field `error:` may be.
pub fn is_real_error(text: &str) -> bool {
    !json(text).map_or(text.trim().is_empty(), |value| is_nothing(&value))
}

/// Reads JSON as JavaScript and Python do, where serde_json is stricter: half of a character
/// as an escape, which becomes U+FFFD, and numbers that are none, which become null.
fn json(text: &str) -> Option<Value> {
    serde_json::from_str(text).or_else(|_| serde_json::from_str(&mended(text))).ok()
}

fn mended(json: &str) -> String {
    let mut mended = String::new();
    let mut rest = json;
    let mut in_text = false;
    while let Some(first) = rest.chars().next() {
        let mut length = first.len_utf8();
        let mut instead = None;
        match first {
            '"' => in_text = !in_text,
            '\\' => match (escape(rest), rest.get(6..).and_then(escape)) {
                (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => length = 12,
                (Some(0xd800..=0xdfff), _) => {
                    length = 6;
                    instead = Some("\\ufffd");
                }
                _ => length = 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
            },
            _ if in_text => {}
            _ => {
                let none = ["NaN", "Infinity", "-Infinity"];
                if let Some(none) = none.iter().find(|none| rest.starts_with(**none))
                {
                    length = none.len();
                    instead = Some("null");
                }
            }
        }
        mended.push_str(instead.unwrap_or(&rest[..length]));
        rest = &rest[length..];
    }
    mended
}

/// The number of an escape such as `\u00e9` at the start of a text.
fn escape(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    u32::from_str_radix(digits, 16).ok()
}
