//! The tables of the feed.

use std::fmt::Write;
use std::sync::atomic::Ordering::Relaxed;

use anyhow::Result;
use record::anchored;

use super::log::{self, WRITERS};
use super::{client, fan_out};
use crate::statistics::{median_of, sums};

pub fn tables(
    logs: &Rounds<log::Figures>,
    crowds: &Rounds<fan_out::Figures>,
    events: u32,
    readers: u32,
) -> Result<String> {
    let mut tables = Vec::new();
    if !logs.is_empty() {
        tables.push(SHORT.to_string() + &anchored("short", &short(logs)?));
        tables.push(anchored("latency", &latency(logs)?));
        tables.push(anchored("throughput", &throughput(logs, events)?));
    }
    if !crowds.is_empty() {
        tables.push(anchored("fan_out", &of_crowds(crowds, readers)?));
    }
    Ok(tables.join("\n"))
}

/// The figures of each round, below the name of what was measured.
type Rounds<F> = [(String, Vec<F>)];

const SHORT: &str = "\
| store | POST → reader p50 | p99 | one bare append p50 | events/s of 64 writers | bare appends/s of 64 | events/s replayed |
| --- | --: | --: | --: | --: | --: | --: |
";

/// The rows of the table of `feed.md`: their heading there is the page's own.
fn short(logs: &Rounds<log::Figures>) -> Result<String> {
    type Measure = (&'static str, usize, fn(&log::Figures) -> f64);
    let measures: [Measure; 6] = [
        (" ms", 2, |log| log.heard[0]),
        (" ms", 2, |log| log.heard[1]),
        (" ms", 2, |log| log.append[0]),
        ("", 0, |log| log.writes),
        ("", 0, |log| log.least_writes),
        ("", 0, |log| log.replay),
    ];
    let mut table = String::new();
    for (name, rounds) in logs {
        write!(table, "| {} |", name.strip_prefix("embedded, ").unwrap_or(name))?;
        for (unit, decimals, of) in measures {
            write!(table, " {:.decimals$}{unit} |", median_of(rounds, of))?;
        }
        table.push('\n');
    }
    Ok(table)
}

fn latency(logs: &Rounds<log::Figures>) -> Result<String> {
    let mut table = "\
One event at a time, on an idle machine. The floor is one bare append: to a file that is
synced, or by a connection to Redis.

| store | POST → 201 p50 | p99 | 201 → reader p50 | p99 | POST → reader p50 | p99 | floor p50 | p99 |
| --- | --: | --: | --: | --: | --: | --: | --: | --: |
"
    .to_string();
    for (name, rounds) in logs {
        write!(table, "| {name} |")?;
        let times: [fn(&log::Figures) -> [f64; 2]; 4] = [
            |log| log.acknowledged,
            |log| log.then,
            |log| log.heard,
            |log| log.append,
        ];
        for of in times {
            for at in 0..2 {
                write!(table, " {:.3} ms |", median_of(rounds, |log| of(log)[at]))?;
            }
        }
        table.push('\n');
    }
    Ok(table)
}

fn throughput(logs: &Rounds<log::Figures>, events: u32) -> Result<String> {
    let bytes = client::LENGTH.load(Relaxed);
    let mut table = format!(
        "\
{WRITERS} writers at once, and then one reader from the start, {events} events of {bytes} bytes. The
floor of writing is a bare file that is synced after each {WRITERS} events, or
redis-benchmark; that of reading is a bare socket, and XRANGE.

| store | written | POST → 201 p50 | p99 | floor | ÷ floor | replayed | bare socket | ÷ socket | XRANGE | ÷ XRANGE |
| --- | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: |
"
    );
    for (name, rounds) in logs {
        let of = |of: fn(&log::Figures) -> f64| median_of(rounds, of);
        let writes = of(|log| log.writes);
        let least = of(|log| log.least_writes);
        let replay = of(|log| log.replay);
        let socket = of(|log| log.socket);
        let ranges = match rounds.iter().all(|log| log.ranges.is_some()) {
            true => {
                let ranges = of(|log| log.ranges.unwrap_or_default());
                format!("{ranges:.0}/s | {:.2}", replay / ranges)
            }
            false => "– | –".into(),
        };
        writeln!(
            table,
            "| {name} | {writes:.0}/s | {:.2} ms | {:.2} ms | {least:.0}/s | {:.2} \
             | {replay:.0}/s | {socket:.0}/s | {:.2} | {ranges} |",
            of(|log| log.written_ms[0]),
            of(|log| log.written_ms[1]),
            writes / least,
            replay / socket,
        )?;
    }
    Ok(table)
}

fn of_crowds(crowds: &Rounds<fan_out::Figures>, readers: u32) -> Result<String> {
    let mut table = format!(
        "\
{readers} readers of two servers on one Redis with appendfsync always. One writer posts to the
first server, at its times, whether or not it is slow. `2, for all`: these two CPUs have
Redis, both servers, the writer and all readers. Both servers together have as many worker
threads as there are CPUs. Times are from POST to each reader.

| CPUs | posted | deliveries | lost | repeated | out of order | p50 | p99 | max | POST → 201 p99 | events in a read | CPU per delivery |
| --- | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: |
"
    );
    for (name, rounds) in crowds {
        let of = |of: fn(&fan_out::Figures) -> f64| median_of(rounds, of);
        let max = rounds.iter().map(|figures| figures.max_ms);
        writeln!(
            table,
            "| {name} | {:.1}/s | {} | {:.1} ms | {:.1} ms | {:.1} ms \
             | {:.1} ms | {:.1} | {:.2} µs |",
            of(|figures| figures.rate),
            sums(rounds.iter().map(|figures| figures.deliveries)),
            of(|figures| figures.heard[0]),
            of(|figures| figures.heard[1]),
            max.fold(0.0, f64::max),
            of(|figures| figures.posted_p99_ms),
            of(|figures| figures.batch),
            of(|figures| figures.cpu_us),
        )?;
    }
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(ms: f64, writes: f64) -> log::Figures {
        log::Figures {
            acknowledged: [ms, 2.0 * ms],
            then: [-0.1, 0.2],
            heard: [ms, 2.0 * ms],
            append: [0.5, 0.75],
            writes,
            written_ms: [4.0, 8.0],
            least_writes: 20_000.0,
            replay: 300_000.0,
            socket: 3_000_000.0,
            ranges: None,
        }
    }

    fn crowd(lost: usize, max_ms: f64) -> fan_out::Figures {
        fan_out::Figures {
            rate: 100.0,
            deliveries: [10, lost, 0, 0],
            heard: [10.0, 20.0],
            max_ms,
            posted_p99_ms: 5.0,
            batch: 1.5,
            cpu_us: 7.0,
        }
    }

    #[test]
    fn the_tables_have_medians_but_hide_no_event_that_is_lost() {
        let logs = vec![log(1.0, 9e3), log(9.0, 1e4), log(2.0, 1e3)];
        let logs = [("embedded, redb 4.6.0".to_string(), logs)];
        let crowds = vec![crowd(0, 30.0), crowd(1, 90.0), crowd(0, 31.0)];
        let crowds = [("2, for all".to_string(), crowds)];
        let tables = tables(&logs, &crowds, 100, 5).unwrap();
        for row in [
            "| redb 4.6.0 | 2.00 ms | 4.00 ms | 0.50 ms | 9000 | 20000 | 300000 |",
            "| embedded, redb 4.6.0 | 2.000 ms | 4.000 ms | -0.100 ms | 0.200 ms | 2.000 ms \
             | 4.000 ms | 0.500 ms | 0.750 ms |",
            "| embedded, redb 4.6.0 | 9000/s | 4.00 ms | 8.00 ms | 20000/s | 0.45 | 300000/s \
             | 3000000/s | 0.10 | – | – |",
            "| 2, for all | 100.0/s | 30 | 1 | 0 | 0 | 10.0 ms | 20.0 ms | 90.0 ms | 5.0 ms \
             | 1.5 | 7.00 µs |",
        ] {
            assert!(tables.lines().any(|line| line == row), "{row}\n{tables}");
        }
    }
}
