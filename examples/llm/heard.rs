//! How an answer ends: whole, or why not. This file knows nothing of HTTP.

use std::mem;

use serde_json::{Map, Value, json};

use super::chunk::{COUNTS, Chunk, is_real_error, quote};
use super::parser::Event;

/// Bytes that are kept of what is not an event.
const MAX_BESIDE: usize = 16 << 10;

/// An answer, as far as it has been heard.
#[derive(Default)]
pub struct Heard {
    has_begun: bool,
    has_words: bool,
    tool: Option<String>,
    finish_reason: Option<String>,
    usage: Map<String, Value>,
    /// The last data that was no chunk: where nothing else came, it may say why.
    odd: String,
}

impl Heard {
    // ANCHOR: event
    /// Takes an event, and returns whether a whole answer ends with it.
    pub fn event(
        &mut self,
        event: &Event,
        on_token: impl Fn(&str) -> Result<(), String>,
    ) -> Result<bool, String> {
        let data = event.data.trim();
        if event.event_type == "error" {
            return Err(format!("the model server gave up: {}", quote(data)));
        }
        // An event of a type of its own is not a chunk, and neither is one without data.
        if event.event_type != "message" || data.is_empty() {
            self.odd = data.into();
            return Ok(false);
        }
        self.has_begun = true;
        if data.starts_with("[DONE]") {
            return Ok(true);
        }
        let Some(mut chunk) = Chunk::parse(data)? else {
            self.odd = data.into();
            return Ok(false);
        };
        if !self.has_words && chunk.text.is_empty() {
            chunk.text = chunk.whole; // not in pieces, as was asked for, but not lost
        }
        self.has_words |= !chunk.text.trim().is_empty();
        self.tool = self.tool.take().or(chunk.tool);
        self.finish_reason = chunk.finish_reason.or(self.finish_reason.take());
        self.usage.extend(chunk.usage);
        if !chunk.text.is_empty() {
            on_token(&chunk.text)?;
        }
        chunk.error.map_or(Ok(false), Err)
    }
    // ANCHOR_END: event

    /// How a whole answer ended, and what it cost.
    pub fn done(self, beside: &str) -> Result<Value, String> {
        // ANCHOR: no_reason
        let Some(reason) = &self.finish_reason else {
            // Without a reason, something else has ended the answer.
            return Err(self.broken(beside, "", None));
        };
        // ANCHOR_END: no_reason
        let calls = ["tool_calls", "function_call"].contains(&reason.as_str());
        if !self.has_words && (calls || self.tool.is_some()) {
            let tool = self.tool.unwrap_or_default();
            return Err(format!(
                "the model wrote nothing, it calls a tool `{tool}`; there are no tools here"
            ));
        }
        let count = |name| json!(self.usage.get(name));
        let usage = COUNTS.map(|name| (name.to_string(), count(name)));
        let usage = (!self.usage.is_empty()).then(|| Map::from_iter(usage));
        Ok(json!({ "finish_reason": reason, "usage": usage }))
    }

    /// Why an answer is not whole: what the server has said beside its events, or in an event
    /// that it did not complete, or else what was seen.
    pub fn broken(&self, beside: &str, last: &str, seen: Option<String>) -> String {
        if let Ok(Some(Chunk { error: Some(error), .. })) = Chunk::parse(last) {
            return error;
        }
        let is_silent = !self.has_begun && seen.is_none();
        let last = if is_silent { last } else { "" };
        let odd = if self.has_words { "" } else { &self.odd };
        let said =
            [beside, last, odd].into_iter().find(|text| !text.trim().is_empty());
        let why = if self.has_begun { BROKEN } else { NOTHING };
        let why = seen.unwrap_or(why.into());
        match said.map(quote) {
            None => why,
            Some(said) if is_silent => {
                format!("the model server sent no chunk: {said}")
            }
            Some(said) => format!("{why}; it also sent: {said}"),
        }
    }
}

/// Lines that are not fields of the format: a page, or an error in the place of events.
#[derive(Default)]
pub struct Beside {
    pub text: String,
    /// The start of a line whose end has not come.
    line: Vec<u8>,
}

impl Beside {
    /// Takes a line, or a piece of one. Some servers send `error: {…}` for an error, which is
    /// a field that no parser knows.
    pub fn take(&mut self, piece: &[u8]) -> Result<(), String> {
        if self.line.len() < MAX_BESIDE {
            self.line.extend_from_slice(piece);
        }
        if piece.ends_with(b"\n") || piece.ends_with(b"\r") {
            self.end_line()
        } else {
            Ok(())
        }
    }

    /// Ends the last line, even where the stream has not.
    pub fn end_line(&mut self) -> Result<(), String> {
        let line = mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&line);
        let line = line.trim_start_matches('\u{feff}').trim_end();
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        if name == "error" && is_real_error(value) {
            return Err(format!("the model server gave up: {}", quote(value)));
        }
        let is_field = ["", "data", "event", "id", "retry", "error"].contains(&name);
        if !is_field && self.text.len() < MAX_BESIDE {
            self.text += line;
            self.text.push('\n');
        }
        Ok(())
    }
}

const NOTHING: &str = "the model server ended its answer before the first token; some do \
    that when the prompt is too long";
const BROKEN: &str =
    "the answer broke off: the model server did not say that it is over";
