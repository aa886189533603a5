//! A reader of one answer, which notes when each token is there.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use memchr::{memchr, memmem};
use serde_json::json;

use super::upstream::MARKER;
use crate::http::{Connection, Source, chunk};
use crate::scan::{Scanner, pair};
use crate::server::{Home, Program};
use crate::statistics::{Sequence, ms};

const JSON: &str = "application/json";

/// How tokens get from the model server to the reader.
#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
pub enum Way {
    Direct,
    PeerRelay,
    Llm,
}

impl Way {
    pub fn relay(self) -> Option<Program> {
        let (home, name) = match self {
            Self::Direct => return None,
            Self::PeerRelay => (Home::Bench, "peer-relay"),
            Self::Llm => (Home::Book, "llm"),
        };
        Some(Program { home, name, made_with: "salvo" })
    }

    pub fn name(self) -> &'static str {
        self.relay().map_or("direct", |program| program.name)
    }
}

/// The tokens of an answer that came to its end, and how long each took from the model
/// server's write to this reader's read.
pub type Heard = Sequence<usize>;

/// Asks for an answer, and reads it to its end.
pub async fn read(
    way: Way,
    addr: SocketAddr,
    tokens: usize,
    origin: Instant,
) -> Result<Heard> {
    let mut connection = Connection::open(addr).await?;
    let prompt = tokens.to_string();
    match way {
        Way::Direct => {
            let message = json!({ "role": "user", "content": prompt });
            let question = json!({ "model": "scripted", "messages": [message], "stream": true });
            let question = question.to_string();
            connection.post("/v1/chat/completions", JSON, &question, "200").await?;
        }
        Way::PeerRelay => {
            connection.get(&format!("/relay?prompt={prompt}")).await?;
        }
        Way::Llm => {
            let question = json!({ "prompt": prompt }).to_string();
            let head = connection.post("/answers", JSON, &question, "201").await?;
            let location = head.get("location").context("201 without a location")?;
            connection.get(&format!("/{location}")).await?;
        }
    }
    listen(&mut connection.stream, tokens, origin).await
}

/// Reads until the response ends, which it may do only after the answer has.
async fn listen(
    stream: Source<'_>,
    tokens: usize,
    origin: Instant,
) -> Result<Heard> {
    let mut scanner = Scanner::default();
    let mut done = false;
    let mut heard = Heard::new(tokens);
    let count = |heard: &Heard| format!("after {} tokens", heard.times.len());
    while let Some(data) = chunk(stream).await.with_context(|| count(&heard))? {
        let now = origin.elapsed();
        scanner.room(data.len()).extend(data); // a chunk may end within a line
        while let Some(block) = scanner.next()? {
            if let Some((number, sent)) = token(block.data) {
                heard.hear(number, number)?;
                heard.times.push(ms(now.saturating_sub(sent)));
            }
            // As a model server says it, and as llm does.
            done |= block.data == b"[DONE]" || block.event == b"done";
        }
    }
    ensure!(done, "the answer ended {} without saying so", count(&heard));
    Ok(heard)
}

/// The number of a token and the time when it was sent, if this data has one.
fn token(data: &[u8]) -> Option<(usize, Duration)> {
    let token = &data[memmem::find(data, MARKER.as_bytes())? + MARKER.len()..];
    let (number, sent) = pair(&token[..memchr(b'"', token)?], b'@')?;
    Some((number as usize, Duration::from_nanos(sent)))
}

#[cfg(test)]
mod tests {
    use super::super::upstream::text;
    use super::*;
    use crate::http::chunked;

    /// A response of these events, in chunks of `size` bytes.
    async fn listen_to(events: &[String], size: usize) -> Result<Heard> {
        let mut response = Vec::new();
        for data in events.concat().as_bytes().chunks(size) {
            let text = str::from_utf8(data).unwrap();
            response.extend(chunked(text).into_bytes());
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
            assert_eq!((heard.times.len(), heard.lost()), (3, 0), "{size}");
        }
        let gap = [event(0), event(2), "data: [DONE]\n\n".into()];
        assert_eq!(listen_to(&gap, 9).await.unwrap().lost(), 1);
    }

    #[tokio::test]
    async fn an_answer_that_does_not_say_that_it_ends_is_an_error() {
        assert!(listen_to(&[event(0), event(1), event(2)], 50).await.is_err());
    }

    #[test]
    fn a_token_says_its_number_and_its_time() {
        let sent = Duration::from_nanos(345);
        let data = format!("{{\"content\":\"{}\"}}", text(12, sent));
        assert_eq!(token(data.as_bytes()), Some((12, sent)));
        assert_eq!(token(b"{\"content\":\" token-\"}"), None);
        assert_eq!(token(b"12"), None);
    }
}
