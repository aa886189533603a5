//! Heads of responses that are those of a stream, and heads that are not.

use crate::cases::{Case, End, case};
use crate::odd::stopped;
use crate::server::plain;

use End::Failure;

pub fn cases() -> Vec<Case> {
    let good = |what, head| Case {
        head,
        ..case(what, plain(), &["Hi", " you"], stopped())
    };
    let bad = |what, head, body: &str, why| Case {
        head,
        ..case(what, body, &[], Failure(why))
    };
    vec![
        good(
            "a list of types",
            "HTTP/1.1 200 OK\r\ncontent-type: text/plain, text/event-stream\r\n",
        ),
        good(
            "two headers",
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\ncontent-type: TEXT/event-stream\r\n",
        ),
        good(
            "the last one is no type",
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream, banana, */*,\r\n",
        ),
        good(
            "odd parameters",
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream ; charset=\"utf-8, text/html\";x\r\n",
        ),
        good(
            "no encoding, as was asked",
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-encoding: Identity\r\n",
        ),
        bad(
            "the last type is another one",
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-type: text/plain\r\n",
            "hello",
            "200 without a stream: hello; its type is `text/plain`",
        ),
        bad(
            "a type that only begins so",
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream-of-mine\r\n",
            "",
            "its type is `text/event-stream-of-mine`",
        ),
        bad(
            "gzip that nobody asked for",
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-encoding: gzip\r\n",
            "\u{1f}\u{8b}",
            "content-encoding: gzip",
        ),
        bad(
            "an error as gzip",
            "HTTP/1.1 429 Too Many Requests\r\ncontent-type: application/json\r\ncontent-encoding: identity, br\r\n",
            "x",
            "429 without a stream: it has content-encoding: identity, br",
        ),
        bad(
            "lines of JSON",
            "HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\n",
            "{\"response\": \"Hi\"}\n",
            "200 without a stream: {\"response\": \"Hi\"}; its type is `application/x-ndjson`",
        ),
        bad(
            "a lasting redirect",
            "HTTP/1.1 308 Permanent Redirect\r\nlocation: https://models.example/v1/chat/completions\r\n",
            "",
            "308 without a stream: it leads to https://models.example/v1/chat/completions",
        ),
        bad(
            "a redirect to the key",
            "HTTP/1.1 302 Found\r\nlocation: /?key=sk-very-secret-0123456789\r\n",
            "",
            "it leads to /?key=[key]",
        ),
        bad(
            "details in a list",
            "HTTP/1.1 422 Unprocessable Entity\r\ncontent-type: application/json\r\n",
            "{\"detail\": [{\"msg\": \"Field required\"}]}",
            "422 without a stream: Field required",
        ),
        bad(
            "an error in a list",
            "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\n",
            "[{\"error\": {\"message\": \"no such model\"}}]",
            "400 without a stream: no such model",
        ),
        bad(
            "a field that was not expected",
            "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\n",
            "{\"error\": {\"message\": \"Unrecognized request argument supplied: stream_options\"}}",
            "stream_options",
        ),
    ]
}
