//! How fast each parser is.

use std::fmt::Write as _;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use record::{anchored, median};

use crate::subjects::{SUBJECTS, Subject};
use crate::worker::Worker;

const RUNS: usize = 5;
/// How long one run may take.
const DEADLINE: Duration = Duration::from_secs(120);

/// Streams to be parsed.
struct Load {
    what: &'static str,
    chunks: fn() -> Vec<Bytes>,
    /// Its events, and the bytes of their data.
    events: usize,
    data: usize,
}

impl Load {
    /// As the table shows it: the time of each small event, of a large one the bytes.
    fn speed(&self, seconds: f64) -> String {
        match self.events {
            1 => format!("{:.0} MB/s", self.data as f64 / 1e6 / seconds),
            events => format!("{:.0} ns", seconds * 1e9 / events as f64),
        }
    }
}

const TOKENS: usize = 100_000;
const BATCH: usize = 26_000;
const LINE: usize = 8 << 20;
const TOKEN: &str = r#"data: {"text":" token"}"#;

const LOADS: [Load; 3] = [
    Load {
        what: "100,000 events of a token each, a chunk each",
        chunks: || vec![Bytes::from(format!("{TOKEN}\n\n")); TOKENS],
        events: TOKENS,
        data: TOKENS * (TOKEN.len() - 6),
    },
    Load {
        what: "one line of 8 MB in chunks of 8 KB",
        chunks: || {
            let line = Bytes::from(format!("data: {}\n\n", "x".repeat(LINE)));
            let cuts = (0..line.len()).step_by(8 << 10);
            cuts.map(|cut| line.slice(cut..line.len().min(cut + (8 << 10))))
                .collect()
        },
        events: 1,
        data: LINE,
    },
    Load {
        what: "26,000 events in one chunk",
        chunks: || vec![Bytes::from(format!("{TOKEN}\n\n").repeat(BATCH))],
        events: BATCH,
        data: BATCH * (TOKEN.len() - 6),
    },
];

/// In a process of its own: the nanoseconds of each run, a line each.
pub fn work(subject: &str, load: &str) -> Result<()> {
    let subject = Subject::named(subject)?;
    let load = LOADS.iter().find(|other| other.what == load);
    let load = load.context("no such load")?;
    // One run more than is counted: the first one warms up.
    for _ in 0..=RUNS {
        let chunks = (load.chunks)();
        let mut events = 0;
        let mut bytes = 0;
        let start = Instant::now();
        (subject.run)(chunks, &mut |_, data, _| {
            events += 1;
            bytes += data.len();
        })?;
        let time = start.elapsed();
        ensure!((events, bytes) == (load.events, load.data));
        println!("{}", time.as_nanos());
    }
    Ok(())
}

/// The median of the runs in seconds, or why there is none.
fn measured(subject: &str, load: &Load) -> Result<Result<f64, String>> {
    let worker = Worker::start(&["speed", subject, load.what])?;
    let mut runs = Vec::new();
    loop {
        match worker.lines.recv_timeout(DEADLINE) {
            Ok(nanos) => {
                let seconds = nanos.parse::<f64>()? / 1e9;
                runs.push(seconds);
                // A run that takes so long is as slow the next time.
                if seconds > 10.0 {
                    return Ok(Ok(seconds));
                }
            }
            Err(RecvTimeoutError::Timeout) => {
                return Ok(Err(format!("> {} s", DEADLINE.as_secs())));
            }
            Err(RecvTimeoutError::Disconnected) if runs.len() > RUNS => {
                return Ok(Ok(median(runs.split_off(1))));
            }
            Err(RecvTimeoutError::Disconnected) => return Ok(Err("exit".into())),
        }
    }
}

/// The table in Markdown. The book includes its rows: their heading is a page's own.
pub fn table() -> Result<String> {
    let mut head = "| parser |".to_string();
    let mut rows = Vec::new();
    for subject in &SUBJECTS {
        rows.push(format!("| {} |", subject.title()?));
    }
    for load in &LOADS {
        write!(head, " {} | × best |", load.what)?;
        let mut column = Vec::new();
        for subject in &SUBJECTS {
            eprintln!("{}: {}", subject.name, load.what);
            column.push(measured(subject.name, load)?);
        }
        let best = column.iter().flatten().copied().fold(f64::INFINITY, f64::min);
        for (row, measured) in rows.iter_mut().zip(column) {
            match measured {
                Ok(seconds) => {
                    let times = seconds / best;
                    write!(row, " {} | {times:.2} |", load.speed(seconds))?;
                }
                Err(why) => write!(row, " {why} | – |")?,
            }
        }
    }
    let line = " --: | --: |".repeat(LOADS.len());
    Ok(format!("{head}\n| --- |{line}\n{}", anchored("rows", &rows.join("\n"))))
}
