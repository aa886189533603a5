//! The cost of an encoder for each reader: memory, and the time of an event.

use std::env;
use std::fmt::Write as _;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use procfs::process::Process;
use record::{anchored, median};

use crate::compressed::{ENCODERS, Encoder, Server, events};

/// The events that each reader has read, when its memory is counted: enough to fill what an
/// encoder allocates as it goes.
const READ: usize = 100;
const RUNS: usize = 5;
/// Streams of a run.
const TIMES: usize = 20;
const STREAM: &str = "chunks";

pub async fn table(readers: usize) -> Result<String> {
    let mut rows = String::new();
    let plain = time("none").await?;
    let empty = in_a_process("none", readers)?;
    for Encoder { name, .. } in &ENCODERS {
        let each =
            in_a_process(name, readers)?.saturating_sub(empty) / readers as u64;
        let time = time(name).await?.saturating_sub(plain);
        if *name != "none" {
            let kib = each / 1_024;
            let mib = each * 10_000 / (1 << 20);
            let micros = time.as_nanos() as f64 / 1_000.0;
            writeln!(rows, "| {name} | {kib} KiB | {mib} MiB | {micros:.1} µs |")?;
        }
    }
    Ok(format!(
        "What an encoder adds to a reader's response, with {readers} readers who have read \
         {READ} events of `{STREAM}` each; the same × 10,000; and to the time of an event.\n\n\
         | encoder | a reader | 10,000 readers | an event |\n| --- | --: | --: | --: |\n{}",
        anchored("costs", &rows)
    ))
}

fn encoder(name: &str) -> Result<&'static Encoder> {
    let found = ENCODERS.iter().find(|encoder| encoder.name == name);
    found.with_context(|| format!("no encoder {name:?}"))
}

/// The bytes by which a process of its own grows with these readers.
fn in_a_process(name: &str, readers: usize) -> Result<u64> {
    let mut process = Command::new(env::current_exe()?);
    let output = process.args(["memory", name, &readers.to_string()]).output()?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{name}: {stderr}");
    Ok(String::from_utf8(output.stdout)?.trim().parse()?)
}

/// The bytes by which this process grows with these readers.
pub async fn memory(name: &str, readers: usize) -> Result<u64> {
    let server = Server::start(encoder(name)?, events(STREAM)?);
    let resident = || -> Result<u64> {
        Ok(Process::myself()?.stat()?.rss * procfs::page_size())
    };
    // The first one brings along what is there once.
    let mut bodies = vec![server.answer().await?];
    let before = resident()?;
    for _ in 0..readers {
        let mut body = server.answer().await?;
        for _ in 0..READ {
            body.next().await?.context("the stream goes on")?;
        }
        bodies.push(body);
    }
    let after = resident()?;
    ensure!(bodies.len() == readers + 1);
    Ok(after.saturating_sub(before))
}

/// The time of an event, whose median run counts.
async fn time(name: &str) -> Result<Duration> {
    let events = events(STREAM)?;
    let count = events.len() * TIMES;
    let server = Server::start(encoder(name)?, events);
    let mut runs = Vec::new();
    for _ in 0..RUNS {
        let mut bodies = Vec::new();
        for _ in 0..TIMES {
            bodies.push(server.answer().await?);
        }
        let start = Instant::now();
        for mut body in bodies {
            while body.next().await?.is_some() {}
        }
        runs.push(start.elapsed().as_secs_f64() / count as f64);
    }
    Ok(Duration::from_secs_f64(median(runs)))
}
