//! From bytes to events, by sections 9.2.5 and 9.2.6 of the HTML standard,
//! <https://html.spec.whatwg.org/multipage/server-sent-events.html>. It knows nothing of
//! HTTP, allocates nothing for an event, and looks at each byte a fixed number of times,
//! however the bytes are cut.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::mem::take;
use std::time::Duration;

use memchr::{memchr, memchr2};

/// One leading byte order mark is no part of the stream (9.2.6).
const BOM: &[u8] = "\u{feff}".as_bytes();

// ANCHOR: types
/// What EventSource would hand to the page.
#[derive(Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// The event type: `message` where the stream gives none.
    pub kind: &'a str,
    pub data: Cow<'a, str>,
    /// Of this event or an earlier one; empty where there was none.
    pub last_event_id: &'a str,
}

/// An event has more bytes than [`Parser::new`] allows.
#[derive(Debug, PartialEq, Eq)]
pub struct TooLarge;

/// What is kept between two pieces of a stream.
#[derive(Debug)]
pub struct Parser {
    max_event: usize,
    /// Bytes of the current event so far.
    size: usize,
    /// The start of a line that has not ended yet.
    line: Vec<u8>,
    /// That line is the first one of the stream.
    first: bool,
    /// It is a long line of data, and the value is in that buffer already.
    in_data: bool,
    /// The last line ended in CR: an LF right after it belongs to it.
    after_cr: bool,
    /// The buffers of section 9.2.6. Where there is no ID, it is as it was.
    data: Vec<u8>,
    kind: String,
    id: Option<String>,
    /// The buffers hold an event that has been handed out.
    dispatched: bool,
    /// What outlives an event, and a connection.
    last_event_id: String,
    retry: Option<Duration>,
}
// ANCHOR_END: types

impl Parser {
    /// A parser that stops with [`TooLarge`] where it would have to keep more than
    /// `max_event` bytes of one event. `last_event_id` is the one to begin with.
    pub fn new(max_event: usize, last_event_id: String) -> Self {
        Self {
            max_event,
            size: 0,
            line: Vec::new(),
            first: true,
            in_data: false,
            after_cr: false,
            data: Vec::new(),
            kind: String::new(),
            id: None,
            dispatched: false,
            last_event_id,
            retry: None,
        }
    }

    // ANCHOR: feed
    /// Takes the next bytes of the stream. Read its events to their end: they are what
    /// parses the bytes.
    pub fn feed<'a>(&'a mut self, bytes: &'a [u8]) -> Events<'a> {
        Events { parser: self, bytes }
    }

    /// The stream has ended, and what it left unfinished is discarded (9.2.6). The last
    /// event ID and the reconnection time stay for the next stream.
    pub fn end(&mut self) {
        self.line.clear();
        self.data.clear();
        self.kind.clear();
        self.id = None;
        (self.size, self.first) = (0, true);
        (self.in_data, self.after_cr, self.dispatched) = (false, false, false);
    }
    // ANCHOR_END: feed

    /// What a client sends as `Last-Event-ID` when it connects again (9.2.3), unless it is
    /// empty.
    pub fn last_event_id(&self) -> &str {
        &self.last_event_id
    }

    /// The reconnection time, if a stream has set one (9.2.6, `retry`).
    pub fn retry(&self) -> Option<Duration> {
        self.retry
    }

    // ANCHOR: lines
    /// Takes the rest of a line, if its end is among the bytes, and says whether an event
    /// is complete.
    fn next_line(&mut self, bytes: &mut &[u8]) -> Result<Option<bool>, TooLarge> {
        if !bytes.is_empty() && take(&mut self.after_cr) && bytes[0] == b'\n' {
            *bytes = &bytes[1..];
        }
        let end = memchr2(b'\r', b'\n', bytes);
        let piece = &bytes[..end.unwrap_or(bytes.len())];
        self.size += piece.len();
        if self.size > self.max_event {
            return Err(TooLarge);
        }
        let Some(end) = end else {
            self.keep(piece);
            *bytes = &[];
            return Ok(None);
        };
        self.after_cr = bytes[end] == b'\r';
        *bytes = &bytes[end + 1..];
        let complete = if take(&mut self.in_data) {
            self.data.extend_from_slice(piece);
            self.data.push(b'\n');
            false
        } else if self.line.is_empty() {
            self.interpret(piece)
        } else {
            let mut line = take(&mut self.line);
            line.extend_from_slice(piece);
            let complete = self.interpret(&line);
            line.clear();
            self.line = line; // its memory is for the next one
            complete
        };
        if complete || self.data.is_empty() {
            self.size = 0;
        }
        Ok(Some(complete))
    }

    /// Keeps a piece of a line until the rest comes: data where it belongs, so that a long
    /// line is copied once.
    fn keep(&mut self, piece: &[u8]) {
        if self.in_data {
            self.data.extend_from_slice(piece);
            return;
        }
        self.line.extend_from_slice(piece);
        if self.line.len() < BOM.len() + b"data: ".len() {
            return;
        }
        if take(&mut self.first) && self.line.starts_with(BOM) {
            self.line.drain(..BOM.len());
        }
        if let Some(value) = self.line.strip_prefix(b"data:") {
            self.data.extend_from_slice(value.strip_prefix(b" ").unwrap_or(value));
            self.line.clear();
            self.in_data = true;
        }
    }
    // ANCHOR_END: lines

    // ANCHOR: interpret
    /// Section 9.2.6, line by line. A line is decoded here, when all of it is there, so
    /// that no character is cut in two.
    fn interpret(&mut self, mut line: &[u8]) -> bool {
        if take(&mut self.first) {
            line = line.strip_prefix(BOM).unwrap_or(line);
        }
        if line.is_empty() {
            if let Some(id) = self.id.take() {
                self.last_event_id = id;
            }
            if self.data.pop().is_some() {
                return true; // that was the last line's LF
            }
            self.kind.clear();
            return false;
        }
        let (name, value) = field(line);
        match name {
            b"data" => {
                self.data.extend_from_slice(value);
                self.data.push(b'\n');
            }
            b"event" => {
                self.kind.clear();
                self.kind.push_str(&decode(value));
            }
            b"id" if memchr(0, value).is_none() => {
                self.id = Some(decode(value).into_owned());
            }
            b"retry" => self.retry = milliseconds(value).or(self.retry),
            _ => {} // a comment, whose name is empty, or a field that nobody knows
        }
        false
    }
    // ANCHOR_END: interpret
}

/// The name of a line's field, and its value without one leading space.
fn field(line: &[u8]) -> (&[u8], &[u8]) {
    let Some(colon) = memchr(b':', line) else { return (line, b"") };
    let value = &line[colon + 1..];
    (&line[..colon], value.strip_prefix(b" ").unwrap_or(value))
}

/// Decodes UTF-8, with U+FFFD where it is none.
fn decode(bytes: &[u8]) -> Cow<'_, str> {
    // The first of the two is faster where all is well.
    str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::from)
}

/// ASCII digits and nothing else. A number that is too large counts as none, as in Chromium.
fn milliseconds(value: &[u8]) -> Option<Duration> {
    let digits = str::from_utf8(value).ok()?;
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok().map(Duration::from_millis)
}

// ANCHOR: events
/// The events in the bytes that [`Parser::feed`] was given.
#[must_use = "the bytes are parsed by reading their events"]
pub struct Events<'a> {
    parser: &'a mut Parser,
    bytes: &'a [u8],
}

impl Events<'_> {
    /// The next event, or `None` when more bytes are needed. (This is no `Iterator`: an
    /// event is lent until the next one is asked for.)
    pub fn next(&mut self) -> Result<Option<Event<'_>>, TooLarge> {
        if take(&mut self.parser.dispatched) {
            self.parser.data.clear();
            self.parser.kind.clear();
        }
        while let Some(complete) = self.parser.next_line(&mut self.bytes)? {
            if complete {
                self.parser.dispatched = true;
                let Parser { kind, data, last_event_id, .. } = &*self.parser;
                let kind = if kind.is_empty() { "message" } else { kind };
                return Ok(Some(Event { kind, data: decode(data), last_event_id }));
            }
        }
        Ok(None)
    }
}
// ANCHOR_END: events

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an event is too large")
    }
}

impl Error for TooLarge {}
