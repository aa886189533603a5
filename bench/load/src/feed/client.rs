//! Writers and readers of the feed.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use memchr::memchr;

use crate::http::{Connection, Events};
use crate::scan::{Block, pair};

/// Bytes of each event's data: those of `--bytes`.
pub static LENGTH: AtomicUsize = AtomicUsize::new(100);
/// The readers look for this; the event's number and the time when it was sent follow.
const MARKER: &[u8] = b"load-";

/// The data of an event.
pub fn data(number: usize, sent: Duration) -> String {
    let data = format!("load-{number}@{} ", sent.as_nanos());
    format!("{data:.<0$}", LENGTH.load(Relaxed))
}

/// An event as the feed sends it.
pub fn encoded(number: usize, id: &str) -> String {
    let data = data(number, Duration::from_nanos(1_234_567_890));
    format!("event: note\ndata: {data}\nid: {id}\n\n")
}

/// Posts events, over one connection that is kept.
pub struct Writer(Connection);

impl Writer {
    pub async fn connect(addr: SocketAddr) -> Result<Self> {
        Ok(Self(Connection::open(addr).await?))
    }

    /// Returns when the event was sent, and when it was acknowledged.
    pub async fn post(
        &mut self,
        number: usize,
        origin: Instant,
    ) -> Result<(Duration, Duration)> {
        let sent = origin.elapsed();
        let json = format!(r#"{{"type":"note","data":"{}"}}"#, data(number, sent));
        self.0.post("/events", "application/json", &json, "201").await?;
        Ok((sent, origin.elapsed()))
    }
}

/// A stream of events.
pub struct Reader(Events);

impl Reader {
    /// Returns when the server has said where the stream begins: everything that is stored
    /// from then on comes. Reads up to `room` bytes at a time.
    pub async fn open(addr: SocketAddr, path: &str, room: usize) -> Result<Self> {
        let mut events = Events::open(addr, path, "", room).await?;
        loop {
            if let Some(block) = events.next()? {
                event(block)?;
                return Ok(Self(events));
            }
            events.read().await?;
        }
    }

    pub async fn read(&mut self) -> Result<()> {
        self.0.read().await
    }

    /// The next event of what was read.
    pub fn next(&mut self) -> Result<Option<Event>> {
        while let Some(block) = self.0.next()? {
            if let Some(event) = event(block)? {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Event {
    pub id: (u64, u64),
    pub number: usize,
    pub sent: Duration,
}

/// The event of a block, if it has one. A gap is an error.
fn event(block: Block) -> Result<Option<Event>> {
    ensure!(block.event != b"resync", "the feed says that events are missing");
    let event = text(block.data).zip(pair(block.id, b'-'));
    Ok(event.map(|((number, sent), id)| Event { id, number, sent }))
}

/// The number of the event with this data, and when it was sent.
fn text(data: &[u8]) -> Option<(usize, Duration)> {
    let text = data.strip_prefix(MARKER)?;
    let (number, sent) = pair(&text[..memchr(b' ', text)?], b'@')?;
    Some((number as usize, Duration::from_nanos(sent)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::Scanner;

    #[test]
    fn an_event_is_found_as_the_feed_sends_it() {
        let mut scanner = Scanner::default();
        let sent = encoded(12, "1764001234567-1");
        scanner.room(sent.len()).extend(sent.as_bytes());
        let found = event(scanner.next().unwrap().unwrap()).unwrap();
        let sent = Duration::from_nanos(1_234_567_890);
        let id = (1_764_001_234_567, 1);
        assert_eq!(found, Some(Event { id, number: 12, sent }));
    }

    #[test]
    fn the_first_block_of_a_stream_is_no_event_and_a_gap_is_an_error() {
        let first = Block { event: b"begin", data: b"", id: b"1764001234566-9" };
        assert_eq!(event(first).unwrap(), None);
        let gap = Block { event: b"resync", data: b"{}", id: b"1-0" };
        assert!(event(gap).is_err());
    }

    #[test]
    fn data_has_its_length_and_says_its_number() {
        for number in [0, 7, 999_999] {
            let data = data(number, Duration::from_secs(3600));
            assert_eq!(data.len(), 100);
            let found = text(data.as_bytes());
            assert_eq!(found, Some((number, Duration::from_secs(3600))));
        }
        assert_eq!(text(b"load-"), None);
    }
}
