//! A parser that turns bytes into events, by sections 9.2.5 and 9.2.6 of the HTML standard,
//! <https://html.spec.whatwg.org/multipage/server-sent-events.html>. It knows nothing of
//! HTTP, allocates nothing for an event, and looks at each byte a fixed number of times,
//! however the bytes are cut.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::mem::take;
use std::time::Duration;

use memchr::{memchr, memchr2};

/// A byte order mark at the start of a stream is not part of its first line (9.2.6).
const BOM: &[u8] = "\u{feff}".as_bytes();

// ANCHOR: event
/// An event as EventSource would hand it to the page.
#[derive(Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// The event type: `message` where the stream gives none.
    pub event_type: &'a str,
    pub data: Cow<'a, str>,
    /// The ID of this event or of an earlier one; empty where there was none.
    pub last_event_id: &'a str,
}
// ANCHOR_END: event

/// The error for an event that has more bytes than [`Parser::new`] allows.
#[derive(Debug, PartialEq, Eq)]
pub struct TooLarge;

/// The state between two pieces of a stream.
#[derive(Debug)]
pub struct Parser {
    max_event: usize,
    /// Bytes of the current event in its whole lines: of its type, its data and its ID.
    size: usize,
    /// Bytes of the line that has not ended yet.
    line_size: usize,
    /// The start of that line.
    line: Vec<u8>,
    /// Whether that line is the first one of the stream.
    first: bool,
    /// Whether that line is a long line of data, whose value is in `data` already.
    in_data: bool,
    /// Whether the last line ended in CR: an LF right after it belongs to it.
    after_cr: bool,
    /// The data buffer of section 9.2.6; the next two fields are its other buffers.
    data: Vec<u8>,
    event_type: String,
    /// `None` where no line of this event has set an ID.
    id: Option<String>,
    /// Whether the buffers hold an event that has been handed out.
    dispatched: bool,
    /// The last event ID, which outlives the event and the connection.
    last_event_id: String,
    /// The reconnection time, which outlives them, too.
    retry: Option<Duration>,
}

impl Parser {
    /// A parser that stops with [`TooLarge`] where it would have to keep more than
    /// `max_event` bytes of one event: of its type, its data and its ID, and of the line
    /// that has not ended. `last_event_id` is the ID to begin with.
    pub fn new(max_event: usize, last_event_id: String) -> Self {
        Self {
            max_event,
            size: 0,
            line_size: 0,
            line: Vec::new(),
            first: true,
            in_data: false,
            after_cr: false,
            data: Vec::new(),
            event_type: String::new(),
            id: None,
            dispatched: false,
            last_event_id,
            retry: None,
        }
    }

    /// Takes the next bytes of the stream. Read all the events that it returns: the bytes
    /// are parsed while the events are read.
    pub fn feed<'a>(&'a mut self, bytes: &'a [u8]) -> Events<'a> {
        Events { parser: self, bytes }
    }

    /// Ends the stream, and discards the event that it left unfinished (9.2.6). The last
    /// event ID and the reconnection time stay for the next stream.
    pub fn end(&mut self) {
        let retry = self.retry;
        *self = Self::new(self.max_event, take(&mut self.last_event_id));
        self.retry = retry;
    }

    /// The value that a client sends as `Last-Event-ID` when it connects again (9.2.3),
    /// unless it is empty.
    pub fn last_event_id(&self) -> &str {
        &self.last_event_id
    }

    /// The reconnection time, if a stream has set one (9.2.6, `retry`).
    pub fn retry(&self) -> Option<Duration> {
        self.retry
    }

    /// Takes the rest of a line, if the end of the line is among the bytes, and returns
    /// whether the line has completed an event.
    fn next_line(&mut self, bytes: &mut &[u8]) -> Result<Option<bool>, TooLarge> {
        if !bytes.is_empty() && take(&mut self.after_cr) && bytes[0] == b'\n' {
            *bytes = &bytes[1..];
        }
        let end = memchr2(b'\r', b'\n', bytes);
        let piece = &bytes[..end.unwrap_or(bytes.len())];
        self.line_size += piece.len();
        if self.size + self.line_size > self.max_event {
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
            self.line = line; // the next line uses its memory again
            complete
        };
        self.line_size = 0;
        let id = self.id.as_ref().map_or(0, String::len);
        // The buffers of a complete event are emptied when the next one is asked for.
        let buffers = self.data.len() + self.event_type.len() + id;
        self.size = if complete { 0 } else { buffers };
        Ok(Some(complete))
    }

    /// Keeps a piece of a line until the rest comes. Data goes straight into its buffer, so
    /// that a long line is copied once.
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

    /// Interprets one line by section 9.2.6, and returns whether an event is complete. The
    /// line is decoded here, when all of it has arrived, so that no character is cut in two.
    fn interpret(&mut self, mut line: &[u8]) -> bool {
        if take(&mut self.first) {
            line = line.strip_prefix(BOM).unwrap_or(line);
        }
        // ANCHOR: dispatch
        if line.is_empty() {
            // ANCHOR: commit
            if let Some(id) = self.id.take() {
                self.last_event_id = id;
            }
            if self.data.pop().is_some() {
                return true; // the LF of the last line of data is gone
            }
            // ANCHOR_END: commit
            self.event_type.clear();
            return false;
        }
        // ANCHOR_END: dispatch
        // ANCHOR: fields
        let (name, value) = field(line);
        match name {
            b"data" => {
                self.data.extend_from_slice(value);
                self.data.push(b'\n');
            }
            b"event" => {
                self.event_type.clear();
                self.event_type.push_str(&decode(value));
            }
            b"id" if memchr(0, value).is_none() => {
                self.id = Some(decode(value).into_owned());
            }
            b"retry" => self.retry = milliseconds(value).or(self.retry),
            _ => {} // a comment, whose name is empty, or an unknown field
        }
        // ANCHOR_END: fields
        false
    }
}

/// Splits a line into the name of its field and the value, without one leading space.
fn field(line: &[u8]) -> (&[u8], &[u8]) {
    let Some(colon) = memchr(b':', line) else { return (line, b"") };
    let value = &line[colon + 1..];
    (&line[..colon], value.strip_prefix(b" ").unwrap_or(value))
}

/// Decodes UTF-8, with U+FFFD in place of bytes that are not UTF-8.
fn decode(bytes: &[u8]) -> Cow<'_, str> {
    // `from_utf8` is the faster one of the two, and nearly all streams are good UTF-8.
    str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::from)
}

/// Reads a time of ASCII digits and nothing else. A number that is too large counts as
/// none, as in Chromium.
fn milliseconds(value: &[u8]) -> Option<Duration> {
    let digits = str::from_utf8(value).ok()?;
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok().map(Duration::from_millis)
}

/// The events in the bytes that [`Parser::feed`] was given.
#[must_use = "the bytes are parsed by reading their events"]
pub struct Events<'a> {
    parser: &'a mut Parser,
    bytes: &'a [u8],
}

impl Events<'_> {
    /// The next event, or `None` when more bytes are needed. (This is not an `Iterator`,
    /// because an event is lent only until the next one is asked for.)
    pub fn next(&mut self) -> Result<Option<Event<'_>>, TooLarge> {
        if take(&mut self.parser.dispatched) {
            self.parser.data.clear();
            self.parser.event_type.clear();
        }
        while let Some(complete) = self.parser.next_line(&mut self.bytes)? {
            if complete {
                self.parser.dispatched = true;
                let Parser { event_type, data, last_event_id, .. } = &*self.parser;
                let event_type =
                    if event_type.is_empty() { "message" } else { event_type };
                let data = decode(data);
                return Ok(Some(Event { event_type, data, last_event_id }));
            }
        }
        Ok(None)
    }
}

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an event is too large")
    }
}

impl Error for TooLarge {}
