//! A stream as a check reads it: its lines, its comments, and the events in it.

use std::fmt;
use std::mem::take;
use std::time::Duration;

use reqwest::Response;
use reqwest::header::HeaderMap;
use tokio::time::{Instant, timeout_at};

use crate::fault::Fault;

/// The body of a response, which is read line by line.
pub struct Events {
    response: Response,
    patience: Duration,
    /// Bytes that have arrived, and of which no line has been made.
    bytes: Vec<u8>,
    /// Whether the last line ended in CR: an LF right after it belongs to it.
    after_cr: bool,
    ended: bool,
    last_event_id: String,
    /// The event whose empty line has not come, and its data.
    event: Event,
    data: Option<String>,
}

/// An event as EventSource would hand it to a page.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Event {
    /// The event type: empty where the stream gives none.
    pub event: String,
    pub data: String,
    /// The ID of this event or of an earlier one; empty where there was none.
    pub id: String,
    /// The reconnection time in this event, if it has one.
    pub retry: Option<u64>,
}

/// Something that a check may wait for.
enum Part {
    Event(Event),
    /// A line that begins with a colon, without it.
    Comment(String),
}

impl Events {
    pub(crate) fn new(response: Response, patience: Duration) -> Self {
        Self {
            response,
            patience,
            bytes: Vec::new(),
            after_cr: false,
            ended: false,
            last_event_id: String::new(),
            event: Event::default(),
            data: None,
        }
    }

    /// The header fields of the response.
    pub fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// The next event, which must come.
    pub async fn next(&mut self) -> Result<Event, Fault> {
        let until = Instant::now() + self.patience;
        loop {
            match self.part_before(until).await? {
                Some(Part::Event(event)) => return Ok(event),
                Some(Part::Comment(_)) => {}
                None => return Err(self.nothing("an event")),
            }
        }
    }

    /// The next comment, which must come. Events before it are passed over.
    pub async fn comment(&mut self) -> Result<String, Fault> {
        let until = Instant::now() + self.patience;
        loop {
            match self.part_before(until).await? {
                Some(Part::Comment(text)) => return Ok(text),
                Some(Part::Event(_)) => {}
                None => return Err(self.nothing("a comment")),
            }
        }
    }

    /// The event that comes within this time, if one does. The end of the stream counts as
    /// none: `ended` tells.
    pub async fn within(&mut self, time: Duration) -> Result<Option<Event>, Fault> {
        let until = Instant::now() + time;
        while let Some(part) = self.part_before(until).await? {
            if let Part::Event(event) = part {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    /// All events until the server ends the stream, which it must do.
    pub async fn rest(&mut self) -> Result<Vec<Event>, Fault> {
        let until = Instant::now() + self.patience;
        let mut events = Vec::new();
        while let Some(part) = self.part_before(until).await? {
            if let Part::Event(event) = part {
                events.push(event);
            }
        }
        if self.ended {
            Ok(events)
        } else {
            Err(Fault::silent("the end of the stream", self.patience))
        }
    }

    /// The next line, without its end. `None` is the end of the stream.
    pub async fn line(&mut self) -> Result<Option<String>, Fault> {
        let line = self.line_before(Instant::now() + self.patience).await?;
        if line.is_none() && !self.ended {
            return Err(Fault::silent("a line", self.patience));
        }
        Ok(line)
    }

    /// Whether the server has ended the stream, as far as it has been read.
    pub fn ended(&self) -> bool {
        self.ended
    }

    fn nothing(&self, should: &str) -> Fault {
        if self.ended {
            Fault::new("closed", should, "the end of the stream")
        } else {
            Fault::silent(should, self.patience)
        }
    }

    /// The next event or comment, unless the stream ends or the time is over.
    async fn part_before(&mut self, until: Instant) -> Result<Option<Part>, Fault> {
        while let Some(line) = self.line_before(until).await? {
            if line.is_empty() {
                let mut event = take(&mut self.event);
                if let Some(data) = self.data.take() {
                    event.data = data;
                    event.id.clone_from(&self.last_event_id);
                    return Ok(Some(Part::Event(event)));
                }
                continue;
            }
            let (name, value) = line.split_once(':').unwrap_or((&line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match name {
                "" => return Ok(Some(Part::Comment(value.into()))),
                "data" => match &mut self.data {
                    Some(data) => {
                        data.push('\n');
                        data.push_str(value);
                    }
                    None => self.data = Some(value.into()),
                },
                "event" => self.event.event = value.into(),
                "id" if !value.contains('\0') => self.last_event_id = value.into(),
                "retry" => {
                    self.event.retry = value.parse().ok().or(self.event.retry)
                }
                _ => {}
            }
        }
        Ok(None)
    }

    /// The next whole line, unless the stream ends or the time is over.
    async fn line_before(
        &mut self,
        until: Instant,
    ) -> Result<Option<String>, Fault> {
        loop {
            if self.after_cr && !self.bytes.is_empty() {
                self.after_cr = false;
                if self.bytes[0] == b'\n' {
                    self.bytes.remove(0);
                }
            }
            let end = self.bytes.iter().position(|byte| b"\r\n".contains(byte));
            if let Some(end) = end {
                self.after_cr = self.bytes[end] == b'\r';
                let line = String::from_utf8_lossy(&self.bytes[..end]).into_owned();
                self.bytes.drain(..=end);
                return Ok(Some(line));
            }
            if self.ended {
                return Ok(None);
            }
            match timeout_at(until, self.response.chunk()).await {
                Err(_) => return Ok(None),
                Ok(Ok(Some(bytes))) => self.bytes.extend_from_slice(&bytes),
                Ok(Ok(None)) => self.ended = true,
                Ok(Err(error)) => {
                    return Err(Fault::new(
                        "cut",
                        "the stream goes on, or ends with a last chunk",
                        why(&error),
                    ));
                }
            }
        }
    }
}

/// The innermost reason of an error, which says most.
pub(crate) fn why(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let mut lines = Vec::new();
        if !self.event.is_empty() {
            lines.push(format!("event: {}", self.event));
        }
        if !self.id.is_empty() {
            lines.push(format!("id: {}", self.id));
        }
        lines.extend(self.retry.map(|retry| format!("retry: {retry}")));
        lines.extend(self.data.split('\n').map(|line| format!("data: {line}")));
        f.write_str(&lines.join("\n"))
    }
}
