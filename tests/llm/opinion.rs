//! A second opinion: the official Python SDK gets the streams of `cases` and `odd`, too.

use std::process::{Command, Stdio};

use serde_json::Value;
use tests::{Process, root};

use crate::cases::{Case, End, cases};
use crate::odd;
use crate::server::{ModelServer, respond};

/// Streams of which `llm` makes something else, and why.
const DIFFERENT: [(&str, &str); 23] = [
    ("no [DONE]", NO_DONE),
    ("the last event without its empty line", NO_DONE),
    ("a byte order mark first", "the SDK loses the first token"),
    ("the key in a finish_reason", "the key is shown to nobody"),
    ("a finish_reason of spaces", END),
    ("a finish_reason that says null", END),
    ("a finish_reason that is no text", END),
    ("an end that is an error, with its message in the choice", END),
    ("an end that is an error without a message", END),
    ("an end that is an interruption", END),
    ("an end that was aborted", END),
    ("a text in parts", PARTS),
    ("a text in one part", PARTS),
    ("a text that is a number", PARTS),
    ("a message that is not in pieces", "the SDK looks for pieces only"),
    ("half a character in each of two tokens", "here each half is U+FFFD"),
    ("a keepalive that looks like a token", TYPES),
    ("a keepalive that looks like the end", TYPES),
    ("a call of a tool, and no text", TOOLS),
    ("a call that ends with stop", TOOLS),
    ("a call in the old way", TOOLS),
    ("a call and a line break", TOOLS),
    ("a call that nobody has seen", TOOLS),
];
const NO_DONE: &str =
    "the SDK does not tell an end of the stream from an end by accident";
const END: &str = "the SDK leaves it to its caller what an end means";
const TYPES: &str = "the SDK does not look at types of events";
const PARTS: &str = "the SDK hands on what is no text";
const TOOLS: &str = "the SDK has tools";

#[tokio::test]
#[ignore = "needs the openai SDKs: tests/sdk/install"]
async fn where_the_official_sdk_gets_a_whole_answer_llm_gets_the_same() {
    let server = ModelServer::start().await;
    let all: Vec<_> = cases().into_iter().chain(odd::cases()).collect();
    let mut python = Command::new(root().join("target/sdk/python/bin/python"));
    python.arg(root().join("tests/sdk/streams.py")).arg(all.len().to_string());
    python.env_clear().env("OPENAI_API_KEY", "none");
    python.env("OPENAI_BASE_URL", server.url("/v1")).stdout(Stdio::piped());
    let mut sdk = Process::spawn(python);
    let mut known = DIFFERENT.map(|(what, _)| what).to_vec();
    for Case { what, head, body, tokens, end } in all {
        let mut asked = server.asked().await;
        respond(&mut asked, head, body.chunks(body.len().max(1)), true).await;
        drop(asked);
        let sdk: Value = serde_json::from_str(&sdk.line().await).unwrap();
        let is_whole = sdk["error"].is_null() && !sdk["end"].is_null();
        let is_same = match end {
            // Where `llm` has an answer, the SDK has the same one, or has raised an error.
            End::Done(end, _) => {
                let same = sdk["text"] == tokens.concat() && sdk["end"] == end;
                same || !sdk["error"].is_null()
            }
            End::Failure(_) => !is_whole,
        };
        let is_known = known.iter().position(|known| *known == what);
        is_known.map(|at| known.remove(at));
        assert!(is_same != is_known.is_some(), "{what}: the SDK got {sdk}");
    }
    assert!(known.is_empty(), "there is no such case: {known:?}");
}
