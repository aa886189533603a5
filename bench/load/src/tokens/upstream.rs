//! The model server: it answers with as many tokens as the prompt asks for, in the format of real ones, and
//! every token says its number and when it left.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::{Instant as Tick, interval_at};

use crate::http::{Head, chunked, serve};

/// The readers look for this; the token's number and its time follow.
pub const MARKER: &str = " token-";

/// The time before each token: 50 tokens a second, as a fast model sends.
pub const PACE: Duration = Duration::from_millis(20);

/// Starts it on a free port. Its tokens count the time from `origin`.
pub async fn start(origin: Instant) -> Result<SocketAddr> {
    serve("the model server", move |stream| converse(stream, origin)).await
}

/// One connection: any number of questions.
async fn converse(mut stream: BufReader<TcpStream>, origin: Instant) -> Result<()> {
    stream.get_ref().set_nodelay(true)?;
    while let Some(head) = Head::read(&mut stream).await? {
        ensure!(
            head.start == "POST /v1/chat/completions HTTP/1.1",
            "{:?} is no question",
            head.start
        );
        let tokens = tokens(&head.body(&mut stream).await?)?;
        answer(stream.get_mut(), tokens, origin).await?;
    }
    Ok(())
}

/// The last message of a question is the prompt, and the prompt is the number of tokens.
fn tokens(question: &[u8]) -> Result<usize> {
    let question: Value = serde_json::from_slice(question)?;
    let last = question["messages"].as_array().and_then(|messages| messages.last());
    let prompt = last.and_then(|message| message["content"].as_str());
    let prompt = prompt.context("a question without a prompt")?;
    prompt.parse().with_context(|| format!("{prompt:?} is no number of tokens"))
}

/// Each event is one chunk and one write, as servers do that wait for each token.
async fn answer(
    stream: &mut TcpStream,
    tokens: usize,
    origin: Instant,
) -> Result<()> {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n\
                cache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await?;
    let role = r#"{"role":"assistant","content":""}"#;
    stream.write_all(chunked(&delta(role, "null")).as_bytes()).await?;
    let mut next = interval_at(Tick::now() + PACE, PACE);
    for number in 0..tokens {
        next.tick().await;
        let text = text(number, origin.elapsed());
        let token = delta(&format!(r#"{{"content":"{text}"}}"#), "null");
        stream.write_all(chunked(&token).as_bytes()).await?;
    }
    stream.write_all(chunked(&delta("{}", r#""stop""#)).as_bytes()).await?;
    let usage = json!({
        "prompt_tokens": 9,
        "completion_tokens": tokens,
        "total_tokens": tokens + 9,
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
    fn the_last_message_says_how_many_tokens_to_send() {
        let question = br#"{"messages":[{"role":"system","content":"Be brief."},
            {"role":"user","content":"2"}]}"#;
        assert_eq!(tokens(question).unwrap(), 2);
        assert!(tokens(b"{}").is_err());
        for wrong in ["", "x", "2 tokens", "-2"] {
            let question = json!({ "messages": [{ "content": wrong }] });
            assert!(tokens(question.to_string().as_bytes()).is_err(), "{wrong:?}");
        }
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
