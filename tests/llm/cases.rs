//! Responses of model servers, and what has to become of each.

use serde_json::{Value, json};
use tests::scripted::HEAD;

use crate::server::{KEY, data, finish, plain, token};

/// The limit of `examples/llm/upstream.rs`.
const MAX_EVENT: usize = 256 << 10;

/// How an answer ends.
pub enum End {
    Done(&'static str, Value),
    /// `failure`, and the reason has this text in it.
    Failure(&'static str),
}

use End::{Done, Failure};

/// A response, and the events that have to become of it.
pub struct Case {
    pub what: &'static str,
    /// The status line and the header lines.
    pub head: &'static str,
    pub body: Vec<u8>,
    pub tokens: &'static [&'static str],
    pub end: End,
}

pub fn case(
    what: &'static str,
    body: impl Into<Vec<u8>>,
    tokens: &'static [&'static str],
    end: End,
) -> Case {
    Case { what, head: HEAD, body: body.into(), tokens, end }
}

fn refusal(
    what: &'static str,
    head: &'static str,
    body: String,
    why: &'static str,
) -> Case {
    Case { what, head, body: body.into(), tokens: &[], end: Failure(why) }
}

pub fn cases() -> Vec<Case> {
    let choice = |choice: Value| data(&json!({ "choices": [choice] }));
    let stopped = || Done("stop", Value::Null);
    let usage =
        json!({ "prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5 });
    let error =
        |message: &str| json!({ "error": { "message": message } }).to_string();
    vec![
        case("two tokens", plain(), &["Hi", " you"], stopped()),
        case(
            "a role first, then null, then nothing, then a token",
            choice(json!({ "index": 0, "delta": { "role": "assistant", "content": "" } }))
                + &*choice(json!({ "delta": { "role": "assistant", "content": null } }))
                + &*choice(json!({ "delta": {}, "finish_reason": null }))
                + &*plain(),
            &["Hi", " you"],
            stopped(),
        ),
        case(
            "several choices",
            choice(json!({ "index": 1, "delta": { "content": "No" } }))
                + &*token("Hi")
                + &*choice(json!({ "index": 1, "delta": {}, "finish_reason": "length" }))
                + &*finish(),
            &["Hi"],
            stopped(),
        ),
        case(
            "usage in an event without choices",
            token("Hi")
                + &*finish().replace(
                    "data: [DONE]",
                    &(data(&json!({ "choices": [], "usage": usage })) + "data: [DONE]"),
                ),
            &["Hi"],
            Done("stop", usage.clone()),
        ),
        case(
            "usage in each event, null at first",
            data(&json!({ "choices": [{ "delta": { "content": "Hi" } }], "usage": null }))
                + &*data(&json!({ "choices": [{ "finish_reason": "length" }], "usage": usage }))
                + "data: [DONE]\n\n",
            &["Hi"],
            Done("length", usage),
        ),
        case("no [DONE]", plain().replace("data: [DONE]\n\n", ""), &["Hi", " you"], Failure("broke off")),
        case("no finish_reason", token("Hi") + "data: [DONE]\n\n", &["Hi"], Failure("broke off")),
        case("the last event without its empty line", plain().trim_end(), &["Hi", " you"], Failure("broke off")),
        case("an empty body", "", &[], Failure("before the first token")),
        case("only comments", ": ping\n\n", &[], Failure("before the first token")),
        case(
            "comments before the first token and between events",
            format!(": ping\n\n:\n\n{}: ping\n\n{}", token("Hi"), finish()),
            &["Hi"],
            stopped(),
        ),
        case(
            "an error after some tokens",
            token("Hi") + "data: " + &*error("the GPU is on fire") + "\n\n",
            &["Hi"],
            Failure("the GPU is on fire"),
        ),
        case(
            "an error as an event of its own type, in a string",
            token("Hi") + "event: error\ndata: {\"error\": \"overloaded\"}\n\n",
            &["Hi"],
            Failure("overloaded"),
        ),
        case("an error with the key in it", "data: ".to_string() + &*error(&format!("no such key: {KEY}")) + "\n\n", &[], Failure("no such key: [key]")),
        case("no JSON", token("Hi") + "data: {\n\n", &["Hi"], Failure("no chunk")),
        case("lines end in CRLF", plain().replace('\n', "\r\n"), &["Hi", " you"], stopped()),
        case("lines end in CR", plain().replace('\n', "\r"), &["Hi", " you"], stopped()),
        case("no space after the colon", plain().replace("data: ", "data:"), &["Hi", " you"], stopped()),
        case("a byte order mark first", "\u{feff}".to_string() + &*plain(), &["Hi", " you"], stopped()),
        case("two byte order marks first: the line is no field that anybody knows", "\u{feff}\u{feff}".to_string() + &*plain(), &[" you"], stopped()),
        case("a byte order mark before a later line", token("Hi") + "\u{feff}" + &*token("lost") + &*finish(), &["Hi"], stopped()),
        case(
            "the key where no text should be",
            format!("data: {{\"choices\": \"the key is {KEY}\"}}\n\n"),
            &[],
            Failure("the key is [key]"),
        ),
        case(
            "the key in a finish_reason",
            choice(json!({ "index": 0, "delta": {}, "finish_reason": format!("no {KEY}") }))
                + "data: [DONE]\n\n",
            &[],
            Done("no [key]", Value::Null),
        ),
        case(
            "a refusal",
            choice(json!({ "index": 0, "delta": { "content": null, "refusal": "I can't." } }))
                + &*finish(),
            &["I can't."],
            stopped(),
        ),
        case(
            "an error that is no member",
            "data: {\"object\": \"error\", \"message\": \"out of memory\"}\n\n",
            &[],
            Failure("gave up: out of memory"),
        ),
        case("a byte order mark in the text", token("\u{feff}a") + &*finish(), &["\u{feff}a"], stopped()),
        case(
            "an emoji that is split over tokens",
            token("👩") + &*token("\u{200d}👩") + &*token("\u{200d}👧") + &*finish(),
            &["👩", "\u{200d}👩", "\u{200d}👧"],
            stopped(),
        ),
        case(
            "letters as escapes",
            r#"data: {"choices": [{"delta": {"content": "perch\u00e9 \ud83d\ude42"}}]}"#
                .to_string()
                + "\n\n"
                + &*finish(),
            &["perché 🙂"],
            stopped(),
        ),
        case(
            "bytes that are not UTF-8",
            [b"data: {\"choices\": [{\"delta\": {\"content\": \"a\xff\xf0\x9fb\"}}]}\n\n".as_slice(), plain().as_bytes()].concat(),
            &["a\u{fffd}\u{fffd}b", "Hi", " you"],
            stopped(),
        ),
        case("line breaks and control characters in a token", token("a\r\n\n\u{0}\u{2028}\u{85}b") + &*finish(), &["a\r\n\n\u{0}\u{2028}\u{85}b"], stopped()),
        case(
            "a JSON text on several data lines",
            "data: {\"choices\":\ndata: [{\"delta\": {\"content\": \"Hi\"}}]}\n\n".to_string() + &*finish(),
            &["Hi"],
            stopped(),
        ),
        case("a line without an end", format!("data: {}", "x".repeat(MAX_EVENT + 1)), &[], Failure("more than 262144 bytes")),
        case("an event without an end", "data: xxxxx\n".repeat(MAX_EVENT / 5), &[], Failure("more than 262144 bytes")),
        case("[DONE], and more after it", plain() + &*token("more"), &["Hi", " you"], stopped()),
        refusal(
            "a wrong key",
            "HTTP/1.1 401 Unauthorized\r\ncontent-type: application/json\r\n",
            error(&format!("Incorrect API key provided: {KEY}.")),
            "401 without a stream: Incorrect API key provided: [key].",
        ),
        refusal("too many requests", "HTTP/1.1 429 Too Many Requests\r\ncontent-type: application/json\r\n", error("slow down"), "429 without a stream: slow down"),
        refusal("a proxy's page", "HTTP/1.1 502 Bad Gateway\r\ncontent-type: text/html\r\n", "<h1>Bad Gateway</h1>".into(), "502 without a stream: a page of HTML"),
        refusal("a message elsewhere", "HTTP/1.1 422 Unprocessable Entity\r\ncontent-type: application/json\r\n", r#"{"detail": "no model"}"#.into(), "422 without a stream: no model"),
        refusal("an error without words", "HTTP/1.1 500 Internal Server Error\r\n", String::new(), "500"),
        refusal("an error with too many words", "HTTP/1.1 500 Internal Server Error\r\n", "x".repeat(2 * MAX_EVENT), "500 without a stream: xxx"),
        refusal("200 with an error as JSON", "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n", error("out of memory"), "out of memory"),
        refusal("200 without a type", "HTTP/1.1 200 OK\r\n", "hello".into(), "200 without a stream: hello"),
        Case {
            head: "HTTP/1.1 200 OK\r\ncontent-type: Text/Event-Stream; charset=UTF-8\r\n",
            ..case("a type in other letters", plain(), &["Hi", " you"], stopped())
        },
        refusal("a redirect", "HTTP/1.1 307 Temporary Redirect\r\nlocation: http://127.0.0.1:1/\r\n", String::new(), "307"),
    ]
}
