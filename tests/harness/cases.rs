//! The table of cases that every client of the format goes through: `cases.toml`.

use std::fs;

use serde_json::{Value, json};
use toml::{Table, Value as Toml};

use crate::binaries::root;

/// A stream, and the events that the standard makes of it.
pub struct Case {
    pub name: String,
    pub bytes: Vec<u8>,
    /// Each with `type`, `data` and `lastEventId`.
    pub events: Vec<Value>,
    /// The last event ID after the end.
    pub last: String,
    /// The reconnection time that the stream has set, in milliseconds.
    pub retry: Option<u64>,
}

/// All cases, in the table's order.
pub fn cases() -> Vec<Case> {
    let file = root().join("tests/cases.toml");
    let table: Table = fs::read_to_string(file).unwrap().parse().unwrap();
    let rules = table["rules"].as_table().unwrap();
    let cases = table["case"].as_array().unwrap().iter().map(|case| {
        let rule = text(case, "rule", "");
        assert!(rules.contains_key(&rule), "{rule} is no rule");
        let events =
            case.get("events").and_then(Toml::as_array).into_iter().flatten();
        let events = events.map(|event| {
            json!({
                "type": text(event, "type", "message"),
                "data": text(event, "data", ""),
                "lastEventId": text(event, "id", ""),
            })
        });
        Case {
            name: text(case, "name", ""),
            bytes: unescape(&text(case, "bytes", "")),
            events: events.collect(),
            last: text(case, "last", ""),
            retry: case.get("retry").map(|ms| ms.as_integer().unwrap() as u64),
        }
    });
    cases.collect()
}

/// A field of a table, in which `{3*x}` stands for `xxx`.
fn text(table: &Toml, field: &str, otherwise: &str) -> String {
    let text = table.get(field).map_or(otherwise, |value| value.as_str().unwrap());
    let mut parts = text.split('{');
    let mut whole = parts.next().unwrap().to_string();
    for part in parts {
        let repeated = part.split_once('}').and_then(|(inner, rest)| {
            let (times, what) = inner.split_once('*')?;
            Some(what.repeat(times.parse().ok()?) + rest)
        });
        whole += &*repeated.unwrap_or_else(|| format!("{{{part}"));
    }
    whole
}

/// The bytes that a text with escapes stands for.
fn unescape(text: &str) -> Vec<u8> {
    let mut parts = text.split('\\');
    let mut bytes = parts.next().unwrap().as_bytes().to_vec();
    for part in parts {
        let rest = match part.as_bytes()[0] {
            b'n' => push(&mut bytes, b"\n", &part[1..]),
            b'r' => push(&mut bytes, b"\r", &part[1..]),
            b't' => push(&mut bytes, b"\t", &part[1..]),
            b'0' => push(&mut bytes, b"\0", &part[1..]),
            b'x' => {
                let byte = u8::from_str_radix(&part[1..3], 16).unwrap();
                push(&mut bytes, &[byte], &part[3..])
            }
            b'u' => {
                let (number, rest) = part[2..].split_once('}').unwrap();
                let number = u32::from_str_radix(number, 16).unwrap();
                let letter = char::from_u32(number).unwrap().to_string();
                push(&mut bytes, letter.as_bytes(), rest)
            }
            other => panic!("no escape: \\{}", char::from(other)),
        };
        bytes.extend_from_slice(rest.as_bytes());
    }
    bytes
}

fn push<'a>(bytes: &mut Vec<u8>, what: &[u8], rest: &'a str) -> &'a str {
    bytes.extend_from_slice(what);
    rest
}
