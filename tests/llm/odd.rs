//! Odd streams of model servers, of kinds that people have met, and what has to become of
//! each.

use serde_json::{Value, json};

use crate::cases::{Case, End, case};
use crate::server::{data, finish, plain, token};

use End::{Done, Failure};

const DONE: &str = "data: [DONE]\n\n";

fn choice(choice: Value) -> String {
    data(&json!({ "choices": [choice] }))
}

fn end(reason: Value) -> String {
    choice(json!({ "index": 0, "delta": {}, "finish_reason": reason })) + DONE
}

pub fn stopped() -> End {
    Done("stop", Value::Null)
}

pub fn cases() -> Vec<Case> {
    [halves(), types(), silences(), errors(), tools()]
        .into_iter()
        .flatten()
        .collect()
}

/// Half an answer is never `done`.
fn halves() -> Vec<Case> {
    let usage =
        json!({ "prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5 });
    let last = json!({
        "choices": [{ "index": 0, "delta": { "content": "" }, "finish_reason": "" }],
        "usage": usage,
    });
    let broke = json!({ "code": 502, "message": "provider disconnected" });
    vec![
        case(
            "an empty finish_reason",
            token("Half an") + &*end(json!("")),
            &["Half an"],
            Failure("did not say that it is over"),
        ),
        case(
            "a finish_reason of spaces",
            token("Half an") + &*end(json!(" ")),
            &["Half an"],
            Failure("did not say that it is over"),
        ),
        case(
            "a finish_reason that says null",
            token("Half an") + &*end(json!("null")),
            &["Half an"],
            Failure("did not say that it is over"),
        ),
        case(
            "a finish_reason that is no text",
            token("Half an") + &*end(json!(7)),
            &["Half an"],
            Failure("did not say that it is over"),
        ),
        case(
            "an empty finish_reason with each token",
            choice(json!({ "delta": { "content": "Hi" }, "finish_reason": "" }))
                + &*finish(),
            &["Hi"],
            stopped(),
        ),
        case(
            "a finish_reason, and then an empty one with the usage",
            token("Hi") + &*finish().replace(DONE, "") + &*data(&last) + DONE,
            &["Hi"],
            Done("stop", usage),
        ),
        case(
            "an end that is an error, with its message in the choice",
            token("Half an")
                + &*choice(
                    json!({ "delta": {}, "finish_reason": "error", "error": broke }),
                )
                + DONE,
            &["Half an"],
            Failure("gave up: provider disconnected"),
        ),
        case(
            "an end that is an error, with its message beside the choices",
            token("Half an")
                + &*data(
                    &json!({ "choices": [{ "delta": { "content": " x" }, "finish_reason": "error" }], "error": broke }),
                )
                + DONE,
            &["Half an", " x"],
            Failure("gave up: provider disconnected"),
        ),
        case(
            "an end that is an error without a message",
            token("Half an") + &*end(json!("error")),
            &["Half an"],
            Failure("gave up, with `error`"),
        ),
        case(
            "an end that is an interruption",
            token("Half an") + &*end(json!("insufficient_system_resource")),
            &["Half an"],
            Failure("gave up, with `insufficient"),
        ),
        case(
            "an end that was aborted",
            token("Half an") + &*end(json!("ABORT")),
            &["Half an"],
            Failure("gave up, with `ABORT`"),
        ),
        case(
            "an error after the end",
            token("Hi")
                + &*finish().replace(DONE, "")
                + &*data(&json!({ "error": broke }))
                + DONE,
            &["Hi"],
            Failure("provider disconnected"),
        ),
    ]
}

/// One field of another type throws no good answer away.
fn types() -> Vec<Case> {
    let raw = |content: &str| {
        format!(
            "data: {{\"choices\": [{{\"delta\": {{\"content\": {content}}}}}]}}\n\n"
        )
    };
    let counted = |usage: Value| data(&json!({ "choices": [], "usage": usage }));
    let whole =
        |extra: String| token("Hi") + &*finish().replace(DONE, "") + &*extra + DONE;
    let odd = json!({ "prompt_tokens": 37.25, "completion_tokens": 2, "total_tokens": null });
    let counts =
        json!({ "prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5 });
    let parts = json!([
        { "type": "thinking", "thinking": [{ "type": "text", "text": "Hm." }] },
        { "type": "reasoning", "text": "Hm." },
        { "type": "text", "text": "H" },
        { "text": "i" },
        7,
        null,
    ]);
    vec![
        case("a text in parts", choice(json!({ "delta": { "content": parts } })) + &*finish(), &["Hi7"], stopped()),
        case("a text in one part", choice(json!({ "delta": { "content": { "type": "text", "text": "Hi" } } })) + &*finish(), &["Hi"], stopped()),
        case(
            "a message that is not in pieces",
            data(&json!({ "choices": [{ "message": { "content": "Hi you" }, "finish_reason": "stop" }] })) + DONE,
            &["Hi you"],
            stopped(),
        ),
        case(
            "a message in pieces, and once more as a whole",
            plain().replace(DONE, "")
                + &*data(&json!({ "choices": [{ "message": { "content": "Hi you" }, "finish_reason": "stop" }] }))
                + DONE,
            &["Hi", " you"],
            stopped(),
        ),
        case("a text that is false", choice(json!({ "delta": { "content": false } })) + &*plain(), &["Hi", " you"], stopped()),
        case("a text that is a number", raw("4.5") + &*plain(), &["4.5", "Hi", " you"], stopped()),
        case("a thought beside the text", choice(json!({ "delta": { "content": null, "reasoning_content": "Hm." } })) + &*plain(), &["Hi", " you"], stopped()),
        case("a delta that is a text", choice(json!({ "delta": "Hi" })) + &*plain(), &["Hi", " you"], stopped()),
        case("a choice that is none", data(&json!({ "choices": [null, 7, "x"] })) + &*plain(), &["Hi", " you"], stopped()),
        case("choices that are null", data(&json!({ "choices": null, "id": 7 })) + &*plain(), &["Hi", " you"], stopped()),
        case("an index that is a text, or a float", choice(json!({ "index": "0", "delta": { "content": "a" } })) + &*choice(json!({ "index": 0.0, "delta": { "content": "b" } })) + &*choice(json!({ "index": 1.0, "delta": { "content": "c" } })) + &*finish(), &["a", "b"], stopped()),
        case("half a character in each of two tokens", raw("\"a\\ud83d\"") + &*raw("\"\\ude42b\"") + &*finish(), &["a\u{fffd}", "\u{fffd}b"], stopped()),
        case("half a character beside a whole one", raw("\"\\\\ud83d \\ude42\\ud83d\\ude42\\ud83d\\u0041\"") + &*finish(), &["\\ud83d \u{fffd}🙂\u{fffd}A"], stopped()),
        case("a field that comes twice", "data: {\"choices\": [{\"delta\": {\"content\": \"no\", \"content\": \"yes\"}}], \"usage\": null, \"usage\": null}\n\n".to_string() + &*finish(), &["yes"], stopped()),
        case("a JSON text on two data lines that end in CRLF", "data: {\"choices\":\r\ndata: [{\"delta\": {\"content\": \"Hi\"}}]}\r\n\r\n".to_string() + &*finish(), &["Hi"], stopped()),
        case("a number that is none", "data: {\"choices\": [{\"delta\": {\"content\": \"NaN\"}, \"logprobs\": [NaN, -Infinity, Infinity]}]}\n\n".to_string() + &*finish(), &["NaN"], stopped()),
        case("counts that are no whole numbers", whole(counted(odd.clone())), &["Hi"], Done("stop", odd)),
        case("counts that are texts", whole(counted(json!({ "prompt_tokens": "3" }))), &["Hi"], stopped()),
        case("usage that is empty later", whole(counted(counts.clone()) + &*counted(json!({}))), &["Hi"], Done("stop", counts.clone())),
        case("usage that is null or partial later", whole(counted(counts.clone()) + &*counted(Value::Null) + &*counted(json!({ "prompt_tokens": 3, "total_tokens": null }))), &["Hi"], Done("stop", counts.clone())),
        case("usage that is a list", whole(counted(counts.clone()) + &*counted(json!([1]))), &["Hi"], Done("stop", counts.clone())),
        case("usage without choices", whole(data(&json!({ "usage": counts }))), &["Hi"], Done("stop", counts)),
    ]
}

/// Events that say nothing are skipped.
fn silences() -> Vec<Case> {
    let among = |event: &str| token("Hi") + event + &*token(" you") + &*finish();
    let skipped =
        |what, event: &str| case(what, among(event), &["Hi", " you"], stopped());
    vec![
        skipped("empty data", "data:\n\n"),
        skipped("empty data, and a space", "data: \n\n"),
        skipped("two lines of empty data", "data\ndata\n\n"),
        skipped("an empty object", "data: {}\n\n"),
        skipped("null", "data: null\n\n"),
        skipped("an object that is no chunk", "data: {\"type\": \"ping\"}\n\n"),
        skipped("a keepalive without data", "event: keepalive\ndata:\n\n"),
        skipped("a keepalive with a word", "event: keepalive\ndata: ok\n\n"),
        skipped(
            "a keepalive that looks like a token",
            &("event: keepalive\n".to_string() + &*token("no")),
        ),
        skipped(
            "a keepalive that looks like the end",
            &("event: ping\n".to_string() + DONE),
        ),
        skipped(
            "a message that says so",
            &("event: message\n".to_string() + &*token("")),
        ),
        skipped("an error that is an empty object", "data: {\"error\": {}}\n\n"),
        skipped(
            "an error that is an empty object, beside a choice",
            &data(&json!({ "error": {}, "choices": [] })),
        ),
        skipped(
            "errors that say nothing",
            &data(
                &json!({ "error": null, "errors": [], "error_code": 0, "message": "", "detail": null, "choices": [] }),
            ),
        ),
        skipped(
            "an error of empty fields",
            &data(&json!({ "error": { "code": 0, "message": "" }, "choices": [] })),
        ),
        skipped("a field of an error that is empty", "error: {}\n\n"),
    ]
}

/// Where the server says why, its words arrive.
fn errors() -> Vec<Case> {
    let beside = |what, line: &str, why| {
        case(what, token("Hi") + line, &["Hi"], Failure(why))
    };
    let alone =
        |what, body: &str, why| case(what, body.to_string(), &[], Failure(why));
    vec![
        alone(
            "JSON in place of events",
            "{\"error\": {\"message\": \"no GPU\"}}",
            "no chunk: no GPU",
        ),
        alone(
            "JSON in place of events, on lines",
            "{\n  \"error\": {\n    \"message\": \"no GPU\"\n  }\n}\n",
            "no chunk: no GPU",
        ),
        alone(
            "a page in place of events",
            "<!doctype html>\n<title>504 Gateway Time-out</title>\n",
            "504 Gateway Time-out",
        ),
        alone(
            "words in place of events",
            "upstream connect error",
            "upstream connect error",
        ),
        alone(
            "a page as data",
            "data: <h1>Bad Gateway</h1>\n\n",
            "<h1>Bad Gateway</h1>",
        ),
        alone(
            "an object that is neither a chunk nor an error",
            "data: {\"fault\": \"no GPU\"}\n\n",
            "it also sent: {\"fault\": \"no GPU\"}",
        ),
        alone(
            "only events of another type",
            "event: completion\ndata: {\"choices\": [{\"delta\": {\"content\": \"Hi\"}}]}\n\n",
            "no chunk: {\"choices\"",
        ),
        alone("words as data", "data: overloaded\n\n", "no chunk: overloaded"),
        alone(
            "an error without its empty line",
            "data: {\"error\": {\"message\": \"no GPU\"}}",
            "gave up: no GPU",
        ),
        beside(
            "an error without its empty line, later",
            "data: {\"error\": {\"message\": \"no GPU\"}}\n",
            "gave up: no GPU",
        ),
        alone(
            "an error as a field",
            "error: {\"code\": 500, \"message\": \"no GPU\"}\n\n",
            "gave up: no GPU",
        ),
        beside(
            "an error as a field, later",
            "error: {\"message\": \"no GPU\"}\n\n",
            "gave up: no GPU",
        ),
        beside(
            "an error as a field, and [DONE]",
            "error:{\"error\":{\"message\":\"no GPU\"}}\n\ndata: [DONE]\n\n",
            "gave up: no GPU",
        ),
        beside("words as a field", "error: no GPU", "gave up: no GPU"),
        beside(
            "JSON behind events",
            "{\"detail\": \"no GPU\"}\n",
            "it also sent: no GPU",
        ),
        beside(
            "a page behind events",
            "<html>\n<h1>Bad Gateway</h1>\n",
            "<h1>Bad Gateway</h1>",
        ),
        beside(
            "a page behind events, and [DONE]",
            "<html>\n<h1>Bad Gateway</h1>\n\ndata: [DONE]\n\n",
            "<h1>Bad Gateway</h1>",
        ),
        beside("detail", "data: {\"detail\": \"no GPU\"}\n\n", "gave up: no GPU"),
        beside(
            "a list of details",
            "data: {\"detail\": [{\"loc\": [\"body\"], \"msg\": \"no GPU\", \"type\": \"x\"}]}\n\n",
            "gave up: no GPU",
        ),
        beside(
            "errors",
            "data: {\"errors\": [{\"message\": \"no GPU\"}]}\n\n",
            "gave up: no GPU",
        ),
        beside(
            "errors that are texts",
            "data: {\"errors\": [\"no GPU\", \"no fan\"]}\n\n",
            "gave up: no GPU",
        ),
        beside(
            "a list with an error",
            "data: [{\"error\": {\"code\": 400, \"message\": \"no GPU\"}}]\n\n",
            "gave up: no GPU",
        ),
        beside(
            "error_type and error_message",
            "data: {\"error_type\": \"overloaded\", \"error_message\": \"no GPU\"}\n\n",
            "gave up: no GPU",
        ),
        beside(
            "error_type and error_message, beside no choices",
            "data: {\"choices\": [], \"error_type\": \"overloaded\", \"error_message\": \"no GPU\"}\n\n",
            "gave up: no GPU",
        ),
        beside(
            "an error and a message",
            "data: {\"error\": \"Bad Request\", \"message\": \"no GPU\"}\n\n",
            "gave up: no GPU",
        ),
        beside(
            "an error without words",
            "data: {\"error\": {\"code\": 503}}\n\n",
            "{\"error\":{\"code\":503}}",
        ),
        beside(
            "an error that is true",
            "data: {\"error\": true, \"message\": \"no GPU\"}\n\n",
            "gave up: no GPU",
        ),
        beside(
            "an event that is an error",
            "event: error\ndata: {\"message\": \"no GPU\"}\n\n",
            "gave up: no GPU",
        ),
        beside(
            "an event that is an error in words",
            "event: error\ndata: no GPU\n\n",
            "gave up: no GPU",
        ),
        beside(
            "a type that is an error",
            "data: {\"type\": \"error\", \"message\": \"no GPU\"}\n\n",
            "gave up: no GPU",
        ),
    ]
}

/// A model that calls a tool has not answered.
fn tools() -> Vec<Case> {
    let call = json!([{ "index": 0, "id": "a", "type": "function", "function": { "name": "weather", "arguments": "" } }]);
    let rest = json!([{ "index": 0, "function": { "arguments": "{}" } }]);
    let calls = |calls: &Value| {
        choice(json!({ "index": 0, "delta": { "tool_calls": calls } }))
    };
    let old = choice(
        json!({ "delta": { "content": null, "function_call": { "name": "weather" } } }),
    );
    vec![
        case(
            "a call of a tool, and no text",
            calls(&call) + &*calls(&rest) + &*end(json!("tool_calls")),
            &[],
            Failure("calls a tool `weather`"),
        ),
        case(
            "a call that ends with stop",
            calls(&call) + &*calls(&rest) + &*end(json!("stop")),
            &[],
            Failure("calls a tool `weather`"),
        ),
        case(
            "a call in the old way",
            old + &*end(json!("function_call")),
            &[],
            Failure("calls a tool `weather`"),
        ),
        case(
            "a call and a line break",
            token("\n") + &*calls(&call) + &*end(json!("tool_calls")),
            &["\n"],
            Failure("calls a tool `weather`"),
        ),
        case(
            "a call that nobody has seen",
            end(json!("tool_calls")),
            &[],
            Failure("calls a tool"),
        ),
        case(
            "a text, and then a call",
            token("Wait.") + &*calls(&call) + &*end(json!("tool_calls")),
            &["Wait."],
            Done("tool_calls", Value::Null),
        ),
        case(
            "no call in an empty list",
            choice(json!({ "delta": { "content": "Hi", "tool_calls": [] } }))
                + &*finish(),
            &["Hi"],
            stopped(),
        ),
        case("an answer of nothing", finish(), &[], stopped()),
    ]
}
