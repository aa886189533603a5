//! The streams that follow a script, and the attempts that each of them has seen.

use std::collections::VecDeque;
use std::mem;

use serde_json::json;
use tokio::sync::watch;
use tokio::time::Instant;

use super::fault::{Fault, find};

/// How many streams have a script. With their attempts they take 16 MiB at most; the oldest
/// one makes room for a new one.
const MAX_STREAMS: usize = 64;
/// How many attempts of each stream are remembered; the oldest ones are forgotten.
const MAX_ATTEMPTS: usize = 256;

/// The faults that the next attempts get. The last one is for all that follow.
pub struct Script {
    next: &'static Fault,
    rest: VecDeque<&'static Fault>,
}

impl Script {
    /// Reads the names of faults, with spaces between them.
    pub fn parse(text: &str) -> Result<Self, String> {
        let faults = text.split_whitespace().map(find);
        let mut rest = faults.collect::<Result<VecDeque<_>, _>>()?;
        let next = rest.pop_front().ok_or("the script is empty")?;
        Ok(Self { next, rest })
    }

    fn take(&mut self) -> &'static Fault {
        let following = self.rest.pop_front().unwrap_or(self.next);
        mem::replace(&mut self.next, following)
    }
}

/// The parts of a request that an attempt is remembered by.
pub struct Asked {
    pub last_event_id: Option<String>,
    /// Whether a redirect has led here.
    pub moved: bool,
    /// An EventSource asks for text/event-stream; a look with fetch does not.
    pub accept: Option<String>,
}

pub struct Stream {
    id: String,
    script: Script,
    /// Each attempt as JSON.
    attempts: VecDeque<String>,
    /// How many attempts there were, with those that are forgotten.
    count: u64,
    /// The time of the first attempt.
    start: Instant,
    /// Tells the connections that are open that there is another script.
    switched: watch::Sender<()>,
}

/// The streams that have a script, the oldest first.
#[derive(Default)]
pub struct Streams(VecDeque<Stream>);

impl Streams {
    pub fn by_id(&mut self, id: &str) -> Option<&mut Stream> {
        self.0.iter_mut().find(|stream| stream.id == id)
    }

    /// Adds a stream, and ends the oldest one where there are too many.
    pub fn add(&mut self, id: String, script: Script) {
        if self.0.len() == MAX_STREAMS {
            self.0.pop_front();
        }
        self.0.push_back(Stream {
            id,
            script,
            attempts: VecDeque::new(),
            count: 0,
            start: Instant::now(),
            switched: watch::Sender::default(),
        });
    }
}

impl Stream {
    /// Gives the stream another script, and ends its connections.
    pub fn switch(&mut self, script: Script) {
        self.script = script;
        self.switched.send_replace(());
    }

    /// The fault that the next attempt will get.
    pub fn next(&self) -> &'static Fault {
        self.script.next
    }

    /// Takes the next fault of the script, and remembers the attempt that gets it. Returns
    /// the number of the attempt, too.
    pub fn attempt(&mut self, asked: &Asked) -> (&'static Fault, u64) {
        let fault = self.script.take();
        if self.count == 0 {
            self.start = Instant::now();
        }
        self.count += 1;
        let attempt = json!({
            "attempt": self.count,
            "ms": self.ms(),
            "fault": fault.0,
            "lastEventId": asked.last_event_id,
            "moved": asked.moved,
            "accept": asked.accept,
        });
        self.attempts.push_back(attempt.to_string());
        if self.attempts.len() > MAX_ATTEMPTS {
            self.attempts.pop_front();
        }
        (fault, self.count)
    }

    /// Changes when the stream gets another script, and closes when it is gone.
    pub fn switched(&self) -> watch::Receiver<()> {
        self.switched.subscribe()
    }

    /// All attempts that are remembered, as JSON.
    pub fn seen(&self) -> String {
        let attempts: Vec<_> = self.attempts.iter().map(String::as_str).collect();
        let attempts = attempts.join(",");
        format!(r#"{{"ms":{},"attempts":[{attempts}]}}"#, self.ms())
    }

    /// Milliseconds since the first attempt.
    fn ms(&self) -> u64 {
        self.start.elapsed().as_millis() as u64
    }
}
