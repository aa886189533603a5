//! The model server: it answers as the prompt tells it, in the format of real ones, and
//! every token says its number and when it left.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::{Context, Error, Result, ensure};
use serde_json::{Value, json};
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant as Tick, interval_at};

use crate::http::{Head, chunked};

/// The readers look for this; the token's number and its time follow.
pub const MARKER: &str = " token-";

/// An answer as a prompt asks for it: `20 ms 500 tokens`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plan {
    /// The time before each token.
    pub pace: Duration,
    pub tokens: usize,
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms {} tokens", self.pace.as_millis(), self.tokens)
    }
}

impl FromStr for Plan {
    type Err = Error;

    fn from_str(prompt: &str) -> Result<Self> {
        let words: Vec<_> = prompt.split_whitespace().collect();
        let [pace, "ms", tokens, "tokens"] = words[..] else {
            return Err(Error::msg(format!("{prompt:?} is no plan")));
        };
        let pace = Duration::from_millis(pace.parse()?);
        ensure!(!pace.is_zero(), "{prompt:?} has no pace");
        Ok(Self { pace, tokens: tokens.parse()? })
    }
}

/// Starts it on a free port. Its tokens count the time from `origin`.
pub async fn start(origin: Instant) -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let addr = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                if let Err(error) = serve(stream, origin).await {
                    eprintln!("the model server, on one connection: {error:#}");
                }
            });
        }
    });
    Ok(addr)
}

/// One connection: any number of questions.
async fn serve(stream: TcpStream, origin: Instant) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    while let Some(head) = Head::read(&mut stream).await? {
        ensure!(
            head.start == "POST /v1/chat/completions HTTP/1.1",
            "{:?} is no question",
            head.start
        );
        let plan = plan(&head.body(&mut stream).await?)?;
        answer(stream.get_mut(), plan, origin).await?;
    }
    Ok(())
}

/// The last message of a question is the prompt.
fn plan(question: &[u8]) -> Result<Plan> {
    let question: Value = serde_json::from_slice(question)?;
    let last = question["messages"].as_array().and_then(|messages| messages.last());
    let prompt = last.and_then(|message| message["content"].as_str());
    prompt.context("a question without a prompt")?.parse()
}

/// Each event is one chunk and one write, as servers do that wait for each token.
async fn answer(stream: &mut TcpStream, plan: Plan, origin: Instant) -> Result<()> {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n\
                cache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await?;
    let role = r#"{"role":"assistant","content":""}"#;
    stream.write_all(chunked(&delta(role, "null")).as_bytes()).await?;
    let mut next = interval_at(Tick::now() + plan.pace, plan.pace);
    for number in 0..plan.tokens {
        next.tick().await;
        let text = text(number, origin.elapsed());
        let token = delta(&format!(r#"{{"content":"{text}"}}"#), "null");
        stream.write_all(chunked(&token).as_bytes()).await?;
    }
    stream.write_all(chunked(&delta("{}", r#""stop""#)).as_bytes()).await?;
    let usage = json!({
        "prompt_tokens": 9,
        "completion_tokens": plan.tokens,
        "total_tokens": plan.tokens + 9,
    });
    let usage = event("[]", &usage.to_string());
    stream.write_all(chunked(&usage).as_bytes()).await?;
    let end = chunked("data: [DONE]\n\n") + "0\r\n\r\n";
    stream.write_all(end.as_bytes()).await?;
    Ok(())
}

/// The text of a token.
pub fn text(number: usize, sent: Duration) -> String {
    format!("{MARKER}{number}@{}", sent.as_nanos())
}

fn delta(delta: &str, finish_reason: &str) -> String {
    let choice = format!(
        r#"[{{"index":0,"delta":{delta},"logprobs":null,"finish_reason":{finish_reason}}}]"#
    );
    event(&choice, "null")
}

fn event(choices: &str, usage: &str) -> String {
    format!(
        "data: {{\"id\":\"chatcmpl-load\",\"object\":\"chat.completion.chunk\",\
         \"created\":1767225600,\"model\":\"scripted\",\"system_fingerprint\":\"fp_load\",\
         \"choices\":{choices},\"usage\":{usage}}}\n\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_says_what_it_is_parsed_to() {
        let plan = Plan { pace: Duration::from_millis(20), tokens: 500 };
        assert_eq!(plan.to_string(), "20 ms 500 tokens");
        assert_eq!(plan.to_string().parse::<Plan>().unwrap(), plan);
        for wrong in
            ["", "20 ms", "0 ms 5 tokens", "20 ms x tokens", "20 s 5 tokens"]
        {
            assert!(wrong.parse::<Plan>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn the_last_message_is_the_prompt() {
        let question = br#"{"messages":[{"role":"system","content":"Be brief."},
            {"role":"user","content":"5 ms 2 tokens"}]}"#;
        assert_eq!(plan(question).unwrap().tokens, 2);
        assert!(plan(b"{}").is_err());
    }

    #[test]
    fn every_event_is_json() {
        let events =
            [delta("{}", "null"), delta("{}", r#""stop""#), event("[]", "{}")];
        for event in events {
            let data = event.strip_prefix("data: ").unwrap();
            let data: Value = serde_json::from_str(data).unwrap();
            assert_eq!(data["object"], "chat.completion.chunk");
        }
    }
}
