//! The readers of the room, and who speaks to them.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use anyhow::{Context, Result};
use indicatif::ProgressBar;
use memchr::memmem;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep, timeout};

use crate::http::{Connection, Events};
use crate::scan::{Block, digits};

/// A connect that takes longer is tried again, as a browser's user would.
const PATIENCE: Duration = Duration::from_secs(5);
/// Connects under way at once: more would overflow the listen backlog (1,024).
const PACE: usize = 256;
/// Bytes that a reader reads at a time, at most.
const ROOM: usize = 1_024;
/// The readers look for this; the message's number follows.
const MARKER: &[u8] = b"load-message-";

/// Numbered, and about as long as what people say in a chat.
pub fn message(number: usize) -> String {
    format!("load-message-{number} and some more words, as people would say")
}

/// The state that all readers share.
pub struct Crowd {
    pub addr: SocketAddr,
    pub size: usize,
    pub progress: ProgressBar,
    pace: Semaphore,
    /// How often a reader has been told who it is.
    pub joined: watch::Sender<usize>,
    /// Connects that failed and were repeated.
    pub repeats: AtomicUsize,
    pub last_failure: watch::Sender<String>,
    /// Deliveries of each message.
    pub heard: Vec<AtomicUsize>,
    /// The last message that all have heard, and when the last of them did.
    pub all_heard: watch::Sender<Option<(usize, Instant)>>,
    storm: watch::Sender<()>,
}

impl Crowd {
    pub fn new(
        addr: SocketAddr,
        size: usize,
        messages: usize,
        progress: ProgressBar,
    ) -> Self {
        Self {
            addr,
            size,
            progress,
            pace: Semaphore::new(PACE.min(size)),
            joined: watch::Sender::new(0),
            repeats: AtomicUsize::new(0),
            last_failure: watch::Sender::default(),
            heard: (0..messages).map(|_| AtomicUsize::new(0)).collect(),
            all_heard: watch::Sender::new(None),
            storm: watch::Sender::new(()),
        }
    }

    /// All readers close and connect again at once.
    pub fn storm(&self) {
        self.pace.add_permits(self.size);
        self.storm.send_replace(());
    }

    /// Joins and listens, again after each storm. Ends only with an error.
    pub async fn reader(&self, number: usize) -> Result<Infallible> {
        let mut last_id = Vec::new();
        let mut storm = self.storm.subscribe();
        loop {
            let mut events = self.join(number, &mut last_id).await?;
            self.joined.send_modify(|joined| *joined += 1);
            tokio::select! {
                end = listen(&mut events, &mut last_id, |message| self.heard(message)) => {
                    return end.with_context(|| format!("reader {number}"));
                }
                _ = storm.changed() => {}
            }
        }
    }

    async fn join(&self, number: usize, last_id: &mut Vec<u8>) -> Result<Events> {
        let _permit = self.pace.acquire().await?;
        loop {
            let why =
                match timeout(PATIENCE, connect(self.addr, number, last_id)).await {
                    Ok(Ok((events, _))) => return Ok(events),
                    Ok(Err(error)) => format!("{error:#}"),
                    Err(_) => format!("no `user` event within {PATIENCE:?}"),
                };
            self.repeats.fetch_add(1, Relaxed);
            self.last_failure.send_replace(why);
            sleep(Duration::from_millis(10)).await;
        }
    }

    fn heard(&self, message: usize) {
        let Some(count) = self.heard.get(message) else { return };
        if count.fetch_add(1, Relaxed) + 1 == self.size {
            self.all_heard.send_replace(Some((message, Instant::now())));
        }
    }
}

/// One connect: returns when the server has said who this reader is.
pub async fn connect(
    addr: SocketAddr,
    number: usize,
    last_id: &mut Vec<u8>,
) -> Result<(Events, String)> {
    let path = format!("/chat?as={number:032x}");
    let last = match last_id.as_slice() {
        [] => String::new(),
        id => format!("last-event-id: {}\r\n", String::from_utf8_lossy(id)),
    };
    let mut events = Events::open(addr, &path, &last, ROOM).await?;
    loop {
        events.read().await.context("before its `user` event")?;
        while let Some(block) = events.next()? {
            if let Some(Heard::User(user)) = hear(block, last_id) {
                return Ok((events, user));
            }
        }
    }
}

/// Reads a stream for as long as it lasts, and does this with the number of each message.
pub async fn listen(
    events: &mut Events,
    last_id: &mut Vec<u8>,
    mut heard: impl FnMut(usize),
) -> Result<Infallible> {
    loop {
        while let Some(block) = events.next()? {
            if let Some(Heard::Message(message)) = hear(block, last_id) {
                heard(message);
            }
        }
        events.read().await?;
    }
}

#[derive(Debug, PartialEq)]
enum Heard {
    User(String),
    Message(usize),
}

/// The meaning of a block for a reader, if it has one, and the reader's last event ID.
fn hear(block: Block, last_id: &mut Vec<u8>) -> Option<Heard> {
    if !block.id.is_empty() {
        last_id.clear();
        last_id.extend(block.id);
    }
    if block.event == b"user" {
        return Some(Heard::User(String::from_utf8_lossy(block.data).into()));
    }
    number(block.data).map(Heard::Message)
}

/// The number of the message with this data, if it has the marker.
fn number(data: &[u8]) -> Option<usize> {
    let rest = &data[memmem::find(data, MARKER)? + MARKER.len()..];
    let end = rest.iter().position(|byte| !byte.is_ascii_digit());
    Some(digits(&rest[..end.unwrap_or(rest.len())])? as usize)
}

/// Says something in the room, over one connection that is kept.
pub struct Poster {
    path: String,
    connection: Connection,
}

impl Poster {
    pub async fn join(addr: SocketAddr, number: usize) -> Result<Self> {
        let mut last_id = Vec::new();
        let connected = connect(addr, number, &mut last_id);
        let (events, user) = timeout(PATIENCE, connected).await??;
        // It is told who comes and goes: nobody looks, but somebody has to take it.
        tokio::spawn(events.ignore());
        let connection = Connection::open(addr).await?;
        Ok(Self { path: format!("/chat/{user}"), connection })
    }

    pub async fn post(&mut self, text: &str) -> Result<()> {
        self.connection.post(&self.path, "text/plain", text, "20").await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hear_all(blocks: &[[&str; 3]]) -> (Vec<Heard>, Vec<u8>) {
        let mut last_id = Vec::new();
        let heard = blocks.iter().filter_map(|block| {
            let [event, data, id] = block.map(str::as_bytes);
            hear(Block { event, data, id }, &mut last_id)
        });
        (heard.collect(), last_id)
    }

    #[test]
    fn a_reader_hears_who_it_is_and_each_message_and_keeps_the_last_id() {
        let (heard, last_id) = hear_all(&[
            ["user", "7f", "a-1"],
            ["joined", "9", ""],
            ["", "<User#9>: load-message-12 and", "a-2"],
            ["", "<User#9>: load-message-3", "a-3"],
            ["", "", ""],
        ]);
        let user = Heard::User("7f".into());
        assert_eq!(heard, [user, Heard::Message(12), Heard::Message(3)]);
        assert_eq!(last_id, b"a-3");
    }

    #[test]
    fn an_event_of_another_type_is_not_the_user() {
        let (heard, _) = hear_all(&[["users", "5", ""], ["", "6", ""]]);
        assert_eq!(heard, []);
    }

    #[test]
    fn a_number_ends_where_its_digits_end() {
        assert_eq!(number(message(120).as_bytes()), Some(120));
        assert_eq!(number(b" load-message-7"), Some(7));
        assert_eq!(number(b" load-message-"), None);
        assert_eq!(number(b" load-messag"), None);
    }
}
