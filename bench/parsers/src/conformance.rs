//! Which cases each parser reads right, and its faults in the others.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bytes::Bytes;
use serde_json::{Value, json};

use crate::cases::{Case, cases};
use crate::root;
use crate::subjects::{End, SUBJECTS, Subject};
use crate::worker::Worker;

/// How long a parser may take for one stream in one way of cutting it. The longest has
/// 120,000 bytes, which is some milliseconds' work.
const DEADLINE: Duration = Duration::from_secs(10);
/// Longer streams are cut in two at so many positions instead of at each.
const MOST_CUTS: usize = 200;
/// The same in a quick run.
const QUICK_CUTS: usize = 4;
/// Bytes of the pieces in which a longer stream comes in a quick run, instead of single
/// bytes: of some parsers these would take a minute.
const QUICK_PIECE: usize = 1_000;
/// Longest streams that are cut at each position.
const SHORT: usize = 1_100;

/// The ways in which a stream can arrive.
fn ways(bytes: &[u8], quick: bool) -> Vec<(String, Vec<Bytes>)> {
    let bytes = Bytes::copy_from_slice(bytes);
    let mut ways = vec![("whole".to_string(), vec![bytes.clone()])];
    let short = bytes.len() <= SHORT;
    let most = if quick { QUICK_CUTS } else { MOST_CUTS };
    let cuts: Vec<_> = if short {
        (1..bytes.len()).collect()
    } else {
        (1..=most).map(|part| part * bytes.len() / (most + 1)).collect()
    };
    for cut in cuts {
        let two = vec![bytes.slice(..cut), bytes.slice(cut..)];
        ways.push((format!("cut at {cut}"), two));
    }
    let (way, size) = match quick && !short {
        true => ("piece by piece", QUICK_PIECE),
        false => ("byte by byte", 1),
    };
    let pieces = bytes.chunks(size).map(|piece| bytes.slice_ref(piece)).collect();
    ways.push((way.into(), pieces));
    ways
}

/// A fault in a word or two, and what came of it.
type Fault = (&'static str, String);

/// The faults that a case shows in a parser; none is the aim.
fn faults(subject: &Subject, case: &Case, quick: bool) -> Vec<Fault> {
    let mut faults: Vec<Fault> = Vec::new();
    for (way, chunks) in ways(&case.bytes, quick) {
        let start = Instant::now();
        let run = || {
            let mut events = Vec::new();
            let end = (subject.run)(chunks, &mut |kind, data, id| {
                events
                    .push(json!({ "type": kind, "data": data, "lastEventId": id }));
            });
            differences(case, events, end)
        };
        let mut found = catch_unwind(AssertUnwindSafe(run))
            .unwrap_or_else(|_| vec![("panics", String::new())]);
        if start.elapsed() > DEADLINE {
            found.push(("too slow", format!("{:?}", start.elapsed())));
        }
        for (what, detail) in found {
            // Where the whole stream is right, the first cut that makes it wrong is told.
            if faults.iter().all(|(known, _)| *known != what) {
                faults.push((what, format!("{way}: {detail}")));
            }
        }
    }
    faults
}

/// Faults of a parser whose events are right.
const BESIDES: [&str; 2] = ["wrong last ID", "wrong retry"];

fn differences(case: &Case, events: Vec<Value>, end: Result<End>) -> Vec<Fault> {
    let end = match end {
        Ok(end) => end,
        Err(error) => return vec![("stops with an error", error.to_string())],
    };
    let mut faults = Vec::new();
    if events != case.events {
        let mut text = Value::from(events).to_string();
        text.truncate(text.floor_char_boundary(200));
        faults.push(("wrong events", text));
    }
    if end.last != case.last {
        faults.push(("wrong last ID", format!("{:?}", end.last)));
    }
    if end.retry != case.retry {
        faults.push(("wrong retry", format!("{:?}", end.retry)));
    }
    faults
}

/// In a process of its own: the faults of each case, a line each.
pub fn work(subject: &str, first: usize, quick: bool) -> Result<()> {
    let subject = Subject::named(subject)?;
    for case in cases().iter().skip(first) {
        println!("{}", serde_json::to_string(&faults(subject, case, quick))?);
    }
    Ok(())
}

/// The faults of a parser, case by case.
fn results(
    subject: &Subject,
    cases: &[Case],
    quick: bool,
) -> Result<Vec<Vec<(String, String)>>> {
    // For all ways of one case together.
    let deadline = 3 * DEADLINE;
    let quick = quick.to_string();
    let mut results = Vec::new();
    while results.len() < cases.len() {
        let first = results.len().to_string();
        let worker = Worker::start(&["conformance", subject.name, &first, &quick])?;
        while results.len() < cases.len() {
            let fault = match worker.lines.recv_timeout(deadline) {
                Ok(line) => {
                    results.push(serde_json::from_str(&line)?);
                    continue;
                }
                Err(RecvTimeoutError::Timeout) => "hangs",
                Err(RecvTimeoutError::Disconnected) => "ends the process",
            };
            results.push(vec![(fault.to_string(), format!("within {deadline:?}"))]);
            break;
        }
    }
    Ok(results)
}

/// Each rule, and its subject in a word or two.
const RULES: [(&str, &str); 20] = [
    ("decode", "bytes that are not UTF-8"),
    ("bom", "BOM"),
    ("lines", "line ends"),
    ("empty", "empty lines"),
    ("comment", "comments"),
    ("colon", "colon"),
    ("space", "space after the colon"),
    ("bare", "fields without a colon"),
    ("event", "event"),
    ("data", "data"),
    ("id", "id"),
    ("retry", "retry"),
    ("unknown", "unknown fields"),
    ("case", "case of names"),
    ("commit", "id alone"),
    ("nodata", "blocks without data"),
    ("strip", "last line end of data"),
    ("type", "type"),
    ("reset", "type of one event only"),
    ("end", "end of the stream"),
];

/// The table in Markdown.
pub fn table(verbose: bool, quick: bool) -> Result<String> {
    let cases = cases();
    let rules = rules()?;
    let count = cases.len();
    let mut table = format!(
        "| parser | cases passed of {count} | with the right events | what it gets wrong (cases) |\n\
         | --- | --: | --: | --- |\n"
    );
    for subject in &SUBJECTS {
        eprintln!("{}: {count} cases", subject.name);
        let results = results(subject, &cases, quick)?;
        let passed = results.iter().filter(|faults| faults.is_empty()).count();
        let events = results.iter().filter(|faults| {
            faults.iter().all(|(what, _)| BESIDES.contains(&what.as_str()))
        });
        let events = events.count();
        let mut wrong: BTreeMap<usize, BTreeMap<String, usize>> = BTreeMap::new();
        for ((case, faults), rule) in cases.iter().zip(&results).zip(&rules) {
            if let Some((what, _)) = faults.first() {
                let kinds = wrong.entry(*rule).or_default();
                *kinds.entry(what.clone()).or_default() += 1;
            }
            if verbose {
                for (what, detail) in faults {
                    eprintln!("  {}: {what}: {detail}", case.name);
                }
            }
        }
        let wrong: Vec<_> = wrong
            .into_iter()
            .map(|(rule, kinds)| {
                let kinds: Vec<_> = kinds
                    .into_iter()
                    .map(|(kind, count)| format!("{kind} ({count})"))
                    .collect();
                format!("{}: {}", RULES[rule].1, kinds.join(", "))
            })
            .collect();
        let wrong = if wrong.is_empty() { "–".into() } else { wrong.join("; ") };
        writeln!(table, "| {} | {passed} | {events} | {wrong} |", subject.title()?)?;
    }
    table += NOTES;
    Ok(table)
}

const NOTES: &str = "
A case is passed when the events, the last event ID and the reconnection time are right \
however the stream is cut: whole, in two pieces at each byte (at 200 of a long stream), and \
byte by byte. Of several faults in a case the table counts the first. Most crates tell `retry` with an event and nowhere \
else, so one that comes without data is lost: hence the second column, which is about types, \
data and IDs alone. sse-stream hands out raw blocks, and what its documentation leaves to the caller is done here. \
eventsource-client is fed without a network. reqwest-eventsource has eventsource-stream's parser, and its version 0.6.0 \
had the same row.
";

/// Returns the rule of each case: its place in `RULES`.
fn rules() -> Result<Vec<usize>> {
    let table = fs::read_to_string(root().join("tests/cases.toml"))?;
    let table: toml::Table = table.parse()?;
    let cases = table["case"].as_array().context("a list of cases")?;
    let rule = |case: &toml::Value| {
        let rule = case.get("rule")?.as_str()?;
        RULES.iter().position(|(name, _)| *name == rule)
    };
    cases.iter().map(|case| rule(case).context("a case has a rule")).collect()
}
