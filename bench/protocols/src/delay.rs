//! How late events come where packets get lost.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bytes::BytesMut;
use memchr::memmem;
use tokio::time::{sleep, timeout_at};

use crate::client::{Body, Connection, Options, Protocol};
use crate::link::{Line, Link};
use crate::server;

/// From one end to the other. A round trip takes twice as long.
pub const DELAY: Duration = Duration::from_millis(25);
/// Between two events of a stream.
const PACE: Duration = Duration::from_millis(50);

/// One run.
#[derive(Clone, Copy, PartialEq)]
pub struct Cell {
    pub protocol: Protocol,
    pub nodelay: bool,
    pub streams: u32,
    pub loss: u8,
}

/// Runs it for so long, and returns the delay of each event, in microseconds.
pub fn run(cell: Cell, time: Duration) -> Result<Vec<u64>> {
    let link = Link::new(Line { delay: DELAY, loss: cell.loss, forgets: None });
    let server = server::start(&link, cell.nodelay)?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut readers = vec![];
        let mut shared = None;
        let path = format!("/events?every={}", PACE.as_millis());
        let mut bodies = vec![];
        for _ in 0..cell.streams {
            if cell.protocol == Protocol::Http1 || shared.is_none() {
                let options = Options::default();
                shared = Some(
                    Connection::open(cell.protocol, server.address, options).await?,
                );
            }
            let connection = shared.as_mut().context("a connection")?;
            bodies.push(connection.get(&path).await?);
            // They do not tick together.
            sleep(PACE / cell.streams).await;
        }
        let end = Instant::now() + time;
        for body in bodies {
            readers.push(tokio::spawn(read(body, end)));
        }
        let mut delays = vec![];
        for reader in readers {
            delays.extend(reader.await??);
        }
        anyhow::Ok(delays)
    })
}

/// Reads events until then.
async fn read(mut body: Body, end: Instant) -> Result<Vec<u64>> {
    let mut delays = vec![];
    let mut buffer = BytesMut::new();
    // Events that came while other streams were opened are late for another reason.
    let start = server::now();
    while let Ok(next) = timeout_at(end.into(), body.next()).await {
        buffer.extend_from_slice(&next?.context("the stream has ended")?);
        while let Some(length) = memmem::find(&buffer, b"\n\n") {
            let event = buffer.split_to(length + 2);
            let event = str::from_utf8(&event)?;
            let written = event.split(' ').nth(1).context("data: TIME NUMBER")?;
            let written: u64 = written.parse()?;
            if written > start {
                delays.push(server::now() - written);
            }
        }
    }
    Ok(delays)
}

/// The rows of two tables. The short one has p50 and p99 of three runs together, a protocol a
/// row; the full one a row for each number of streams and each loss: how many events, p50 of
/// all, p99 of each run, and the maximum.
pub fn rows() -> Result<[String; 2]> {
    const RUNS: usize = 3;
    let ways = [
        (Protocol::Http1, false),
        (Protocol::Http1, true),
        (Protocol::Http2, false),
        (Protocol::Http2, true),
        (Protocol::Http3, true),
    ];
    let cells = |streams, loss| {
        ways.map(|(protocol, nodelay)| Cell { protocol, nodelay, streams, loss })
    };
    // One stream is little work: with and without loss run beside each other.
    let one = [cells(1, 0), cells(1, 2)].concat();
    let groups =
        [(one, 35), (cells(50, 0).to_vec(), 12), (cells(50, 2).to_vec(), 12)];
    let mut runs: Vec<(Cell, Vec<Vec<u64>>)> = vec![];
    for (cells, seconds) in groups {
        let mut delays = vec![vec![]; cells.len()];
        for run in 1..=RUNS {
            eprintln!(
                "{} streams, run {run} of {RUNS}: {seconds} s",
                cells[0].streams
            );
            let beside = beside(&cells, Duration::from_secs(seconds))?;
            for (all, run) in delays.iter_mut().zip(beside) {
                all.push(run);
            }
        }
        runs.extend(cells.into_iter().zip(delays));
    }
    let mut short = String::new();
    let mut full = String::new();
    for (protocol, nodelay) in ways {
        let is_asked = protocol != Protocol::Http3 && nodelay;
        let option = if is_asked { ", `TCP_NODELAY`" } else { "" };
        short += &format!("| {protocol}{option} |");
        for (cell, runs) in &runs {
            if (cell.protocol, cell.nodelay) != (protocol, nodelay) {
                continue;
            }
            let all = runs.concat();
            let [half, most, max] = [0.5, 0.99, 1.0].map(|part| at(&all, part));
            short += &format!(" {half:.0} · {most:.0} |");
            let Cell { streams, loss, .. } = cell;
            full += &format!(
                "| {protocol}{option} | {streams} | {loss} % | {} | {half:.0} |",
                all.len()
            );
            for run in runs {
                full += &format!(" {:.0} |", at(run, 0.99));
            }
            full += &format!(" {max:.0} |\n");
        }
        short += "\n";
    }
    Ok([short, full])
}

/// The value below which this part of them is, in milliseconds.
pub fn at(delays: &[u64], part: f64) -> f64 {
    let mut delays = delays.to_vec();
    delays.sort_unstable();
    let index = (delays.len().saturating_sub(1)) as f64 * part;
    delays.get(index as usize).map_or(f64::NAN, |delay| *delay as f64 / 1000.0)
}

/// Runs these beside each other.
pub fn beside(cells: &[Cell], time: Duration) -> Result<Vec<Vec<u64>>> {
    thread::scope(|scope| {
        let runs: Vec<_> =
            cells.iter().map(|cell| scope.spawn(move || run(*cell, time))).collect();
        runs.into_iter().map(|run| run.join().expect("no panic")).collect()
    })
}
