//! Which cases each parser reads right, and its faults in the others.

use std::collections::BTreeMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bytes::Bytes;
use record::anchored;
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

/// A fault, and what came of it: the parser returns `Err`, it panics, hangs, is slow or
/// ends its process; or one of the fields of a case is wrong (`events`, `last`, `retry`).
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
            .unwrap_or_else(|_| vec![("panic", String::new())]);
        if start.elapsed() > DEADLINE {
            found.push(("slow", format!("{:?}", start.elapsed())));
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
const BESIDES: [&str; 2] = ["last", "retry"];

fn differences(case: &Case, events: Vec<Value>, end: Result<End>) -> Vec<Fault> {
    let end = match end {
        Ok(end) => end,
        Err(error) => return vec![("Err", error.to_string())],
    };
    let mut faults = Vec::new();
    if events != case.events {
        let mut text = Value::from(events).to_string();
        text.truncate(text.floor_char_boundary(200));
        faults.push(("events", text));
    }
    if end.last != case.last {
        faults.push(("last", format!("{:?}", end.last)));
    }
    if end.retry != case.retry {
        faults.push(("retry", format!("{:?}", end.retry)));
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
                Err(RecvTimeoutError::Timeout) => "hang",
                Err(RecvTimeoutError::Disconnected) => "exit",
            };
            results.push(vec![(fault.to_string(), format!("within {deadline:?}"))]);
            break;
        }
    }
    Ok(results)
}

/// The rules of `tests/cases.toml`, in the order of the standard.
const RULES: [&str; 20] = [
    "decode", "bom", "lines", "empty", "comment", "colon", "space", "bare", "event",
    "data", "id", "retry", "unknown", "case", "commit", "nodata", "strip", "type",
    "reset", "end",
];

/// The table in Markdown. The book includes its rows: their heading and notes are a page's
/// own.
pub fn table(verbose: bool, quick: bool) -> Result<String> {
    let cases = cases();
    let rules = rules()?;
    let count = cases.len();
    let head = format!(
        "| parser | passed, of {count} | events right | rule: fault (cases) |\n\
         | --- | --: | --: | --- |\n"
    );
    let mut rows = Vec::new();
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
            .flat_map(|(rule, kinds)| {
                kinds.into_iter().map(move |(kind, count)| {
                    format!("`{}: {kind}` ({count})", RULES[rule])
                })
            })
            .collect();
        let wrong = if wrong.is_empty() { "–".into() } else { wrong.join(", ") };
        rows.push(format!(
            "| {} | {passed} | {events} | {wrong} |",
            subject.title()?
        ));
    }
    Ok(head + &anchored("rows", &rows.join("\n")))
}

/// Returns the rule of each case: its place in `RULES`.
fn rules() -> Result<Vec<usize>> {
    let table = fs::read_to_string(root().join("tests/cases.toml"))?;
    let table: toml::Table = table.parse()?;
    let cases = table["case"].as_array().context("a list of cases")?;
    let rule = |case: &toml::Value| {
        let rule = case.get("rule")?.as_str()?;
        RULES.iter().position(|name| *name == rule)
    };
    cases.iter().map(|case| rule(case).context("a case has a rule")).collect()
}
