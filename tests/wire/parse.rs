//! The parser of `wire`, on the streams of `tests/cases.toml`.

use serde_json::{Value, json};
use tests::cases::{Case, cases};
use tests::{Program, within};

#[allow(clippy::duplicate_mod, reason = "`eventsource.rs` has the whole program")]
#[path = "../../examples/wire/parse.rs"]
mod parser;

use parser::Parser;

/// As in `examples/wire/main.rs`.
const MAX_PARSED: usize = 4 << 10;

/// The events and the last event ID of a stream that comes in these pieces.
fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Value>, String) {
    let mut parser = Parser::default();
    let events = pieces.into_iter().flat_map(|piece| parser.feed(piece));
    let events = events.map(|event| {
        json!({
            "type": event.event_type,
            "data": event.data,
            "lastEventId": event.last_event_id,
        })
    });
    (events.collect(), parser.last_event_id)
}

fn right(case: &Case) -> (Vec<Value>, String) {
    (case.events.clone(), case.last.clone())
}

#[test]
fn the_parser_reads_every_case_wherever_it_is_cut() {
    for case in cases() {
        let bytes = &case.bytes[..];
        assert_eq!(read([bytes]), right(&case), "{}", case.name);
        assert_eq!(read(bytes.chunks(1)), right(&case), "{}", case.name);
        for at in 0..bytes.len().min(200) {
            let (one, two) = bytes.split_at(at);
            assert_eq!(read([one, two]), right(&case), "{}, at {at}", case.name);
        }
    }
}

#[tokio::test]
async fn wire_says_which_events_are_in_the_bytes() {
    let wire = Program::start("wire").await;
    for case in cases().iter().filter(|case| case.bytes.len() <= MAX_PARSED) {
        for query in ["", "?chunk=1", "?chunk=0", "?chunk=3"] {
            let request = wire.request("POST", &format!("/parse{query}"));
            let answer = wire.send(request.body(case.bytes.clone())).await;
            assert_eq!(answer.status(), 200, "{}", case.name);
            let kind = &answer.headers()["content-type"];
            assert_eq!(kind, "application/json; charset=utf-8");
            let answer = within("the events", answer.json::<Value>()).await.unwrap();
            let should = json!({ "events": case.events, "lastEventId": case.last });
            assert_eq!(answer, should, "{}, {query}", case.name);
        }
    }
}

#[tokio::test]
async fn the_session_on_the_page_is_what_wire_answers() {
    let wire = Program::start("wire").await;
    wire.assert_session("wire/recorded/parse.txt");
}
