//! A reader of one answer: a raw socket, which notes when each token is there.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use memchr::{memchr, memmem};
use serde_json::json;
use tokio::io::{AsyncBufRead, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::Way;
use super::upstream::{MARKER, Plan};
use crate::http::{Head, chunk};

/// What a reader has heard of an answer that came to its end.
pub struct Heard {
    /// From the model server's write to this reader's read, of each token.
    pub times: Vec<Duration>,
    pub sequence: Sequence,
}

/// Asks for an answer, and reads it to its end.
pub async fn read(
    way: Way,
    addr: SocketAddr,
    plan: Plan,
    origin: Instant,
) -> Result<Heard> {
    let mut stream = BufReader::new(TcpStream::connect(addr).await?);
    stream.get_ref().set_nodelay(true)?;
    let prompt = plan.to_string();
    let request = match way {
        Way::Direct => {
            let message = json!({ "role": "user", "content": prompt });
            let question = json!({ "model": "scripted", "messages": [message], "stream": true });
            post(addr, "/v1/chat/completions", &question.to_string())
        }
        Way::PeerRelay => {
            get(addr, &format!("/relay?prompt={}", prompt.replace(' ', "%20")))
        }
        Way::Llm => {
            let question = json!({ "prompt": prompt });
            let request = post(addr, "/answers", &question.to_string());
            stream.write_all(request.as_bytes()).await?;
            let head = response(&mut stream, "201").await?;
            head.body(&mut stream).await?;
            let location = head.get("location").context("201 without a location")?;
            get(addr, &format!("/{location}"))
        }
    };
    stream.write_all(request.as_bytes()).await?;
    response(&mut stream, "200").await?;
    listen(&mut stream, plan.tokens, origin).await
}

fn get(addr: SocketAddr, path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nhost: {addr}\r\naccept: text/event-stream\r\n\r\n"
    )
}

fn post(addr: SocketAddr, path: &str, json: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nhost: {addr}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{json}",
        json.len()
    )
}

async fn response(stream: &mut BufReader<TcpStream>, status: &str) -> Result<Head> {
    let head = Head::read(stream).await?.context("no response")?;
    if head.start.split(' ').nth(1) != Some(status) {
        let body = head.body(stream).await.unwrap_or_default();
        bail!("{:?}: {}", head.start, String::from_utf8_lossy(&body));
    }
    Ok(head)
}

/// Until the response ends, which it may do only after the answer has.
async fn listen(
    stream: &mut (impl AsyncBufRead + Unpin),
    tokens: usize,
    origin: Instant,
) -> Result<Heard> {
    let (mut text, mut done) = (Vec::new(), false);
    let mut heard = Heard { times: Vec::new(), sequence: Sequence::new(tokens) };
    let count = |heard: &Heard| format!("after {} tokens", heard.times.len());
    while let Some(data) = chunk(stream).await.with_context(|| count(&heard))? {
        let now = origin.elapsed();
        text.extend(data); // a chunk may end within a line
        let mut rest = text.as_slice();
        while let Some(end) = memchr(b'\n', rest) {
            let (line, after) = rest.split_at(end);
            rest = &after[1..];
            if let Some((number, sent)) = token(line) {
                heard.sequence.hear(number)?;
                heard.times.push(now.saturating_sub(sent));
            }
            done |= is_end(line);
        }
        let left = rest.len();
        text.drain(..text.len() - left);
    }
    ensure!(done, "the answer ended {} without saying so", count(&heard));
    Ok(heard)
}

/// The number of a token and the time when it was sent, if this line has one.
fn token(line: &[u8]) -> Option<(usize, Duration)> {
    let data = line.strip_prefix(b"data:")?;
    let token = &data[memmem::find(data, MARKER.as_bytes())? + MARKER.len()..];
    let token = std::str::from_utf8(&token[..memchr(b'"', token)?]).ok()?;
    let (number, sent) = token.split_once('@')?;
    Some((number.parse().ok()?, Duration::from_nanos(sent.parse().ok()?)))
}

/// As a model server says it, and as llm does.
fn is_end(line: &[u8]) -> bool {
    matches!(line.trim_ascii_end(), b"data: [DONE]" | b"event: done")
}

/// Which tokens of an answer a reader has heard.
pub struct Sequence {
    heard: Vec<bool>,
    highest: usize,
    pub repeated: usize,
    /// Heard for the first time, but after a later one.
    pub out_of_order: usize,
}

impl Sequence {
    fn new(tokens: usize) -> Self {
        Self { heard: vec![false; tokens], highest: 0, repeated: 0, out_of_order: 0 }
    }

    fn hear(&mut self, number: usize) -> Result<()> {
        let heard = self.heard.get_mut(number);
        let heard =
            heard.with_context(|| format!("token {number} was never sent"))?;
        if *heard {
            self.repeated += 1;
        } else if number < self.highest {
            self.out_of_order += 1;
        }
        *heard = true;
        self.highest = self.highest.max(number);
        Ok(())
    }

    pub fn lost(&self) -> usize {
        self.heard.iter().filter(|heard| !**heard).count()
    }
}

#[cfg(test)]
mod tests {
    use super::super::upstream::text;
    use super::*;

    fn check(numbers: &[usize]) -> (usize, usize, usize) {
        let mut sequence = Sequence::new(4);
        for number in numbers {
            sequence.hear(*number).unwrap();
        }
        (sequence.lost(), sequence.repeated, sequence.out_of_order)
    }

    #[test]
    fn a_token_that_is_lost_repeated_or_out_of_order_is_found() {
        assert_eq!(check(&[0, 1, 2, 3]), (0, 0, 0));
        assert_eq!(check(&[0, 1, 3]), (1, 0, 0), "lost in the middle");
        assert_eq!(check(&[0, 1, 2]), (1, 0, 0), "lost at the end");
        assert_eq!(check(&[]), (4, 0, 0));
        assert_eq!(check(&[0, 1, 1, 2, 3]), (0, 1, 0));
        assert_eq!(check(&[0, 1, 2, 3, 0, 1]), (0, 2, 0), "from its start again");
        assert_eq!(check(&[0, 2, 1, 3]), (0, 0, 1));
        assert_eq!(check(&[1, 0, 2, 3]), (0, 0, 1));
        assert!(Sequence::new(4).hear(4).is_err(), "none that was never sent");
    }

    /// A response of these events, in chunks of `size` bytes.
    async fn listen_to(events: &[String], size: usize) -> Result<Heard> {
        let mut response = Vec::new();
        for data in events.concat().as_bytes().chunks(size) {
            response.extend(format!("{:x}\r\n", data.len()).into_bytes());
            response.extend([data, b"\r\n"].concat());
        }
        response.extend(b"0\r\n\r\n");
        listen(&mut response.as_slice(), 3, Instant::now()).await
    }

    fn event(number: usize) -> String {
        let text = text(number, Duration::from_nanos(7));
        format!("event: token\ndata: {{\"text\":\"{text}\"}}\nid: {number}\n\n")
    }

    #[tokio::test]
    async fn every_token_is_heard_wherever_chunks_begin() {
        let answer =
            [event(0), event(1), event(2), "event: done\ndata: {}\n\n".into()];
        for size in 1..=answer.concat().len() {
            let heard = listen_to(&answer, size).await.unwrap();
            assert_eq!((heard.times.len(), heard.sequence.lost()), (3, 0), "{size}");
        }
        let gap = [event(0), event(2), "data: [DONE]\n\n".into()];
        assert_eq!(listen_to(&gap, 9).await.unwrap().sequence.lost(), 1);
    }

    #[tokio::test]
    async fn an_answer_that_does_not_say_that_it_ends_is_an_error() {
        assert!(listen_to(&[event(0), event(1), event(2)], 50).await.is_err());
    }

    #[test]
    fn a_token_says_its_number_and_its_time() {
        let line = format!(
            "data: {{\"content\":\"{}\"}}",
            text(12, Duration::from_nanos(345))
        );
        assert_eq!(token(line.as_bytes()), Some((12, Duration::from_nanos(345))));
        assert_eq!(token(b"data: {\"content\":\" token-\"}"), None);
        assert_eq!(token(b"id: 12"), None);
    }
}
