//! Writers and readers of the feed: raw sockets.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use memchr::{memchr, memmem};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::http::Head;

/// Bytes of each event's data.
const LENGTH: usize = 100;
/// What the readers look for; the event's number and the time when it was sent follow.
const MARKER: &[u8] = b"load-";

/// The data of an event.
pub fn data(number: usize, sent: Duration) -> String {
    format!("{:.<LENGTH$}", format!("load-{number}@{} ", sent.as_nanos()))
}

/// As the feed sends it.
pub fn encoded(number: usize, id: &str) -> String {
    let data = data(number, Duration::from_nanos(1_234_567_890));
    format!("event: note\ndata: {data}\nid: {id}\n\n")
}

/// Posts events, over one connection that is kept.
pub struct Writer {
    addr: SocketAddr,
    stream: BufReader<TcpStream>,
}

impl Writer {
    pub async fn connect(addr: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(addr).await?;
        stream.set_nodelay(true)?;
        Ok(Self { addr, stream: BufReader::new(stream) })
    }

    /// When the event was sent, and when it was acknowledged.
    pub async fn post(
        &mut self,
        number: usize,
        origin: Instant,
    ) -> Result<(Duration, Duration)> {
        let sent = origin.elapsed();
        let json = format!(r#"{{"type":"note","data":"{}"}}"#, data(number, sent));
        let request = format!(
            "POST /events HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{json}",
            self.addr,
            json.len()
        );
        self.stream.write_all(request.as_bytes()).await?;
        let head = Head::read(&mut self.stream).await?.context("no answer")?;
        let body = head.body(&mut self.stream).await?;
        let acknowledged = origin.elapsed();
        ensure!(
            head.start.starts_with("HTTP/1.1 201 "),
            "POST /events: {} {}",
            head.start,
            String::from_utf8_lossy(&body)
        );
        Ok((sent, acknowledged))
    }
}

/// A stream of events.
pub struct Reader {
    stream: TcpStream,
    scanner: Scanner,
    room: usize,
}

impl Reader {
    /// Returns when the server has said where the stream begins: what is stored from then
    /// on comes. Reads up to `room` bytes at a time.
    pub async fn open(addr: SocketAddr, path: &str, room: usize) -> Result<Self> {
        let mut stream = TcpStream::connect(addr).await?;
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: {addr}\r\naccept: text/event-stream\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await?;
        let mut reader = Self { stream, scanner: Scanner::default(), room };
        while !reader.scanner.has_begun() {
            reader.read().await?;
        }
        Ok(reader)
    }

    pub async fn read(&mut self) -> Result<()> {
        let buf = &mut self.scanner.buf;
        buf.drain(..self.scanner.done);
        self.scanner.done = 0;
        buf.reserve(self.room);
        let read = self.stream.read_buf(buf).await?;
        ensure!(read > 0, "the server ended a stream");
        Ok(())
    }

    /// The next event of what was read.
    pub fn next(&mut self) -> Result<Option<Event>> {
        self.scanner.next()
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Event {
    pub id: (u64, u64),
    pub number: usize,
    pub sent: Duration,
}

/// Cuts an HTTP response into lines and picks those of the events. Lines of the head and
/// of the chunked encoding are no fields of an event, and so fall through: the feed begins
/// no chunk within a line. What is split over two reads waits for its line feed.
#[derive(Default)]
struct Scanner {
    buf: Vec<u8>,
    /// How much of `buf` has been looked at.
    done: usize,
    id: Option<(u64, u64)>,
    text: Option<(usize, Duration)>,
}

impl Scanner {
    /// The head is there, and the first block of the stream: it has no event in it.
    fn has_begun(&self) -> bool {
        let mut ends = memmem::find_iter(&self.buf, b"\r\n\r\n");
        ends.next().is_some_and(|head| {
            memmem::find(&self.buf[head + 4..], b"\n\n").is_some()
        })
    }

    fn next(&mut self) -> Result<Option<Event>> {
        while let Some(length) = memchr(b'\n', &self.buf[self.done..]) {
            let line = &self.buf[self.done..self.done + length];
            self.done += length + 1;
            match line {
                [b'd', b'a', b't', b'a', b':', b' ', data @ ..] => {
                    self.text = text(data)
                }
                [b'i', b'd', b':', b' ', id @ ..] => self.id = pair(id, b'-'),
                [] => {
                    if let (Some((number, sent)), Some(id)) =
                        (self.text.take(), self.id.take())
                    {
                        return Ok(Some(Event { id, number, sent }));
                    }
                }
                b"event: resync" => bail!("the feed says that events are missing"),
                _ if line.starts_with(b"HTTP/1.1 ")
                    && !line.starts_with(b"HTTP/1.1 200") =>
                {
                    bail!("the server answered {}", String::from_utf8_lossy(line));
                }
                _ => {}
            }
        }
        Ok(None)
    }
}

/// The number of the event with this data, and when it was sent.
fn text(data: &[u8]) -> Option<(usize, Duration)> {
    let text = data.strip_prefix(MARKER)?;
    let (number, sent) = pair(&text[..memchr(b' ', text)?], b'@')?;
    Some((number as usize, Duration::from_nanos(sent)))
}

fn pair(text: &[u8], between: u8) -> Option<(u64, u64)> {
    let at = memchr(between, text)?;
    Some((digits(&text[..at])?, digits(&text[at + 1..])?))
}

fn digits(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// What one reader has heard of the events that were sent.
pub struct Sequence {
    heard: Vec<bool>,
    pub distinct: usize,
    pub repeated: usize,
    pub out_of_order: usize,
    last: (u64, u64),
}

impl Sequence {
    pub fn new(events: usize) -> Self {
        let heard = vec![false; events];
        Self { heard, distinct: 0, repeated: 0, out_of_order: 0, last: (0, 0) }
    }

    /// The order is that of the IDs: writers at once do not know who comes first.
    pub fn hear(&mut self, event: &Event) -> Result<()> {
        let heard = self.heard.get_mut(event.number);
        let heard = heard
            .with_context(|| format!("event {} was never sent", event.number))?;
        if std::mem::replace(heard, true) {
            self.repeated += 1;
        } else {
            self.distinct += 1;
            self.out_of_order += usize::from(event.id <= self.last);
        }
        self.last = self.last.max(event.id);
        Ok(())
    }

    /// Of the events that were acknowledged, from the first on.
    pub fn lost(&self) -> usize {
        self.heard.len() - self.distinct
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(parts: &[&[u8]]) -> Result<Vec<Event>> {
        let mut scanner = Scanner::default();
        let mut events = Vec::new();
        for part in parts {
            scanner.buf.drain(..scanner.done);
            scanner.done = 0;
            scanner.buf.extend(*part);
            while let Some(event) = scanner.next()? {
                events.push(event);
            }
        }
        Ok(events)
    }

    fn response() -> Vec<u8> {
        let events = encoded(12, "1764001234567-0") + &encoded(3, "1764001234567-1");
        format!(
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n\
             24\r\nretry: 1000\nid: 1764001234566-9\n\n\r\n\
             3\r\n:\n\n\r\n{:x}\r\n{events}\r\n",
            events.len()
        )
        .into_bytes()
    }

    #[test]
    fn every_event_is_found_wherever_a_response_is_split() {
        let response = response();
        let sent = Duration::from_nanos(1_234_567_890);
        let event = |number, n| Event { id: (1_764_001_234_567, n), number, sent };
        for split in 0..=response.len() {
            let (first, second) = response.split_at(split);
            let events = scan(&[first, second]).unwrap();
            assert_eq!(events, [event(12, 0), event(3, 1)], "split at {split}");
        }
    }

    #[test]
    fn a_refusal_and_a_gap_are_errors() {
        assert!(scan(&[b"HTTP/1.1 503 Service Unavailable\r\n\r\n"]).is_err());
        let gap = b"HTTP/1.1 200 OK\r\n\r\nevent: resync\ndata: {}\nid: 1-0\n\n";
        assert!(scan(&[gap]).is_err());
    }

    #[test]
    fn a_stream_has_begun_after_its_first_block() {
        let response = response();
        let mut scanner = Scanner::default();
        let first = response.windows(2).position(|two| two == b"\n\n").unwrap() + 2;
        for (at, byte) in response[..first].iter().enumerate() {
            assert!(!scanner.has_begun(), "before byte {at}");
            scanner.buf.push(*byte);
        }
        assert!(scanner.has_begun());
    }

    #[test]
    fn data_has_its_length_and_says_its_number() {
        for number in [0, 7, 999_999] {
            let data = data(number, Duration::from_secs(3600));
            assert_eq!(data.len(), LENGTH);
            let found = text(data.as_bytes());
            assert_eq!(found, Some((number, Duration::from_secs(3600))));
        }
        assert_eq!(text(b"load-"), None);
    }

    #[test]
    fn an_event_that_is_lost_repeated_or_out_of_order_is_found() {
        let check = |heard: &[(usize, u64)]| {
            let mut sequence = Sequence::new(3);
            for (number, n) in heard {
                let event =
                    Event { id: (1, *n), number: *number, sent: Duration::ZERO };
                sequence.hear(&event).unwrap();
            }
            (sequence.lost(), sequence.repeated, sequence.out_of_order)
        };
        assert_eq!(check(&[(0, 0), (1, 1), (2, 2)]), (0, 0, 0));
        assert_eq!(
            check(&[(1, 0), (0, 1), (2, 2)]),
            (0, 0, 0),
            "another's came first"
        );
        assert_eq!(check(&[(0, 0), (2, 2)]), (1, 0, 0));
        assert_eq!(check(&[(0, 0), (1, 1), (1, 1), (2, 2)]), (0, 1, 0));
        assert_eq!(check(&[(0, 0), (2, 2), (1, 1)]), (0, 0, 1));
        assert_eq!(check(&[]), (3, 0, 0));
    }
}
