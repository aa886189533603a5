//! A parser of the format, by sections 9.2.5 and 9.2.6 of the HTML standard,
//! <https://html.spec.whatwg.org/multipage/server-sent-events.html>: bytes go in, events
//! come out. Left out: `retry`, and a bound for what it keeps (`main.rs` bounds the body).

use std::mem::{replace, take};

/// An event as EventSource would hand it to a page.
pub struct Event {
    /// `message` where the stream names no type.
    pub event_type: String,
    pub data: String,
    /// The id of this event or of an earlier one; empty where there was none.
    pub last_event_id: String,
}

// ANCHOR: parser
/// The state between two bytes of a stream.
#[derive(Default)]
pub struct Parser {
    /// The line that has not ended yet.
    line: Vec<u8>,
    /// Whether the byte before was a CR.
    after_cr: bool,
    /// Whether a line has ended already.
    begun: bool,
    /// The three buffers of section 9.2.6.
    data: String,
    event_type: String,
    id: String,
    /// The id that a client sends when it connects again.
    pub last_event_id: String,
}

impl Parser {
    // ANCHOR: feed
    /// Takes the next bytes, which may end anywhere, and returns the events that they
    /// complete.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<Event> {
        let mut events = Vec::new();
        for &byte in bytes {
            let after_cr = replace(&mut self.after_cr, byte == b'\r');
            match byte {
                b'\n' if after_cr => {} // the second half of CR LF
                b'\r' | b'\n' => events.extend(self.end_line()),
                _ => self.line.push(byte),
            }
        }
        events
    }
    // ANCHOR_END: feed

    // ANCHOR: line
    /// Interprets a line that is whole. So no character is in pieces any more.
    fn end_line(&mut self) -> Option<Event> {
        let bytes = take(&mut self.line);
        let text = String::from_utf8_lossy(&bytes);
        let is_first = !replace(&mut self.begun, true);
        let line = match text.strip_prefix('\u{feff}') {
            Some(rest) if is_first => rest, // a byte order mark
            _ => &text,
        };
        if line.is_empty() {
            return self.dispatch();
        }
        let (name, value) = field(line);
        match name {
            "data" => self.data.extend([value, "\n"]),
            "event" => self.event_type = value.into(),
            "id" if !value.contains('\0') => self.id = value.into(),
            _ => {} // a comment, whose name is empty, or a field that the format lacks
        }
        None
    }
    // ANCHOR_END: line

    // ANCHOR: dispatch
    /// Ends an event. Its id stays for the events after it, even if it has no data.
    fn dispatch(&mut self) -> Option<Event> {
        self.last_event_id.clone_from(&self.id);
        let mut event_type = take(&mut self.event_type);
        let mut data = take(&mut self.data);
        data.pop()?; // the line feed after the last line, if there is a line
        if event_type.is_empty() {
            event_type.push_str("message");
        }
        let last_event_id = self.last_event_id.clone();
        Some(Event { event_type, data, last_event_id })
    }
    // ANCHOR_END: dispatch
}

// ANCHOR: field
/// Splits a line into the name of its field and the value, without one leading space.
fn field(line: &str) -> (&str, &str) {
    let (name, value) = line.split_once(':').unwrap_or((line, ""));
    (name, value.strip_prefix(' ').unwrap_or(value))
}
// ANCHOR_END: field
// ANCHOR_END: parser
