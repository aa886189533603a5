//! What a log of events costs: time to a reader, durable writes, replay, and many readers
//! of two servers.

mod client;
mod fan_out;
mod floor;
mod redis;

use std::fmt::{self, Write};
use std::net::SocketAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{interval, sleep, timeout};

use self::client::{Reader, Sequence, Writer};
use self::redis::Redis;
use crate::report::{Progress, middle};
use crate::round::percentile;
use crate::server::{self, Built, FEED};

/// Posts before the measured ones.
const WARM_UP: usize = 50;
/// Between two posts on an idle machine.
const PAUSE: Duration = Duration::from_millis(5);
/// Writers at once.
const WRITERS: usize = 64;
/// An event that is this late has not come.
const PATIENCE: Duration = Duration::from_secs(10);
/// Times that the log is read from its start in each round.
const REPLAYS: usize = 3;
/// Bytes that the reader of a whole log reads at a time, at most.
const ROOM: usize = 256 << 10;
/// Events that the feed keeps, unless it has to keep more for this: its default.
const KEEP: usize = 1_000_000;
/// Groups that are appended to a bare file.
const GROUPS: usize = 500;

/// Measure the book's feed: time to a reader, durable writes, replay, many readers
///
/// On the embedded store, and on a Redis that is started for it (Debian: `apt install
/// redis-server`; without it, the embedded store alone is measured). First one event at a
/// time on an idle machine: from POST to its acknowledgement, and to a live reader. Then
/// 64 writers at once, each on one connection, until all events are stored. Then one
/// reader, which reads them all from the start. Each with its floor, from the same
/// minute: a bare file that is synced after each append, a bare socket, and Redis without a feed.
///
/// `fan-out` are readers of two servers on one Redis, and a writer of 100 events a second.
/// `fan-out-2-cpus` is the same on two CPUs: for Redis, both servers, the writer and all
/// readers together.
///
/// Prints Markdown tables: medians over the rounds, but sums of what is lost, repeated or
/// out of order, and the largest maximum. With the defaults it takes about 10 minutes
/// after building. Close what else runs on the machine.
#[derive(clap::Args)]
pub struct Args {
    /// Events posted one at a time on an idle machine
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    posts: u32,
    /// Events written by 64 writers at once, and read from the start
    #[arg(long, default_value_t = 250_000, value_parser = clap::value_parser!(u32).range(64..=10_000_000))]
    events: u32,
    /// Readers of two servers
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(2..=32_000))]
    readers: u32,
    /// How long these readers are measured
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// Rounds; in each, every part in turn, with fresh servers
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Measure these parts only
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    only: Vec<Part>,
    /// Write the tables, and what they were measured with, to this file, too
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum Part {
    Embedded,
    RedisAlways,
    RedisEverysec,
    #[value(name = "fan-out-2-cpus")]
    FanOutTwoCpus,
    FanOut,
}

impl Part {
    /// What Redis is told about its file; without Redis, nothing.
    fn fsync(self) -> Option<&'static str> {
        match self {
            Self::Embedded => None,
            Self::RedisEverysec => Some("everysec"),
            Self::RedisAlways | Self::FanOutTwoCpus | Self::FanOut => Some("always"),
        }
    }

    fn name(self, redis: &str) -> Result<String> {
        Ok(match (self, self.fsync()) {
            (Self::FanOutTwoCpus, _) => "2, for all".into(),
            (Self::FanOut, _) => "all".into(),
            (_, None) => format!("embedded, {}", FEED.framework()?),
            (_, Some(fsync)) => format!("Redis {redis}, appendfsync {fsync}"),
        })
    }
}

pub fn measure(args: &Args) -> Result<()> {
    crate::raise_open_files(args.readers + 2 * WRITERS as u32)?;
    let redis = redis::version()?;
    let feed = server::build(&FEED)?;
    let mut parts: Vec<(Part, Vec<Figures>)> = Vec::new();
    for part in Part::value_variants() {
        if !args.only.is_empty() && !args.only.contains(part) {
            continue;
        }
        if part.fsync().is_some() && redis.is_none() {
            eprintln!(
                "warning: no redis-server (Debian: sudo apt install redis-server), so \
                 {part:?} is left out"
            );
            continue;
        }
        parts.push((*part, Vec::new()));
    }
    let all = sched_getaffinity(None)?;
    let progress = Progress::new(args.rounds as usize * parts.len());
    for round in 1..=args.rounds {
        for (part, figures) in &mut parts {
            let name = format!("{part:?}, round {round}");
            progress.next(&name);
            if *part == Part::FanOutTwoCpus {
                leave_two_cpus(&all)?;
            }
            // Its threads run where this one may.
            let runtime = tokio::runtime::Runtime::new()?;
            let measured =
                runtime.block_on(one_round(*part, &feed, args, &progress));
            drop(runtime);
            sched_setaffinity(None, &all)?;
            let measured = measured.context(name)?;
            progress.line(&measured.to_string());
            figures.push(measured);
        }
    }
    let tables = tables(&parts, args, &redis.unwrap_or_default())?;
    crate::publish(&tables, args.save.as_deref())
}

fn leave_two_cpus(all: &CpuSet) -> Result<()> {
    let mut two = CpuSet::new();
    for cpu in (0..CpuSet::MAX_CPU).filter(|cpu| all.is_set(*cpu)).take(2) {
        two.set(cpu);
    }
    ensure!(two.count() == 2, "this machine has no two CPUs");
    Ok(sched_setaffinity(None, &two)?)
}

/// Those that this thread may use, as taskset names them.
fn cpus() -> Result<String> {
    let cpus = sched_getaffinity(None)?;
    let cpus = (0..CpuSet::MAX_CPU).filter(|cpu| cpus.is_set(*cpu));
    Ok(cpus.map(|cpu| cpu.to_string()).collect::<Vec<_>>().join(","))
}

enum Figures {
    Log(Log),
    FanOut(fan_out::Figures),
}

/// What one store can do.
#[derive(Clone, Debug)]
struct Log {
    /// From POST to its acknowledgement, from there to the reader, and from POST to the
    /// reader; and a bare append: medians and p99.
    acknowledged: [f64; 2],
    then: [f64; 2],
    heard: [f64; 2],
    append: [f64; 2],
    /// In a second; and from POST to acknowledgement.
    writes: f64,
    written_ms: [f64; 2],
    least_writes: f64,
    replay: f64,
    socket: f64,
    /// Of Redis only.
    ranges: Option<f64>,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Log(log) => {
                let [acknowledged, heard] = [log.acknowledged[0], log.heard[0]];
                write!(
                    f,
                    "acknowledged after {acknowledged:.3} ms, heard after {heard:.3} ms \
                     (a bare append {:.3} ms); {:.0} writes/s (bare {:.0}); replay \
                     {:.0}/s (bare {:.0})",
                    log.append[0],
                    log.writes,
                    log.least_writes,
                    log.replay,
                    log.ranges.unwrap_or(log.socket),
                )
            }
            Self::FanOut(figures) => write!(
                f,
                "{:.1} events/s, {} deliveries, {} lost, {} repeated, {} out of order, \
                 p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms, {:.2} µs a delivery",
                figures.rate,
                figures.deliveries,
                figures.lost,
                figures.repeated,
                figures.out_of_order,
                figures.p50_ms,
                figures.p99_ms,
                figures.max_ms,
                figures.cpu_us
            ),
        }
    }
}

/// Starts what is measured, with a folder of its own, and ends it.
async fn one_round(
    part: Part,
    feed: &Built,
    args: &Args,
    progress: &Progress,
) -> Result<Figures> {
    // Where cargo builds: a folder for temporary files may be in memory.
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
    let dir = tempfile::tempdir_in(target)?;
    let redis = match part.fsync() {
        Some(fsync) => Some(Redis::start(dir.path(), fsync).await?),
        None => None,
    };
    let figures = async {
        Ok(match (&redis, part) {
            (Some(redis), Part::FanOutTwoCpus | Part::FanOut) => {
                Figures::FanOut(fan_out::measure(feed, redis, args, progress).await?)
            }
            _ => Figures::Log(
                log(feed, redis.as_ref(), dir.path(), args, progress).await?,
            ),
        })
    };
    let figures = figures.await;
    match redis {
        Some(redis) => redis.stop(figures).await,
        None => figures,
    }
}

async fn log(
    feed: &Built,
    redis: Option<&Redis>,
    dir: &Path,
    args: &Args,
    progress: &Progress,
) -> Result<Log> {
    let cpus = cpus()?;
    let threads = cpus.split(',').count().to_string();
    let (path, url) = (dir.to_string_lossy(), redis.map(Redis::url));
    let store = match &url {
        Some(url) => ("REDIS_URL", &**url),
        None => ("FEED_DIR", &*path),
    };
    let (posts, events) = (args.posts as usize, args.events as usize);
    let keep = KEEP.max(WARM_UP + posts + events).to_string();
    let threads = ("TOKIO_WORKER_THREADS", &*threads);
    let variables = [store, threads, ("FEED_KEEP", &keep)];
    let mut running = feed.start_with(&cpus, &variables).await?;
    let (addr, pid) = (running.addr, running.pid);
    let work = async {
        let (acknowledged, then, heard) = one_by_one(addr, posts, progress).await?;
        progress.show("a bare append");
        let append = match redis {
            Some(redis) => redis.connect()?.add(posts, PAUSE)?,
            None => floor::append(dir, posts, 1, PAUSE)?,
        };
        let first = WARM_UP + posts;
        let (writes, written) = write(addr, first..first + events, progress).await?;
        let least_writes = match redis {
            Some(redis) => redis.benchmark(events)?,
            None => {
                let times = floor::append(dir, GROUPS, WRITERS, Duration::ZERO)?;
                let time: Duration = times.iter().sum();
                (GROUPS * WRITERS) as f64 / time.as_secs_f64()
            }
        };
        server::settle(pid).await?;
        let events = first + events;
        let bare = floor::sockets(events).await?;
        let (mut replays, mut sockets, mut ranges) = (vec![], vec![], vec![]);
        for _ in 0..REPLAYS {
            progress.show("replay");
            replays.push(replay(addr, events).await?);
            sockets.push(replay(bare, events).await?);
            if let Some(redis) = redis {
                ranges.push(redis.connect()?.read(events)?);
            }
        }
        Ok(Log {
            acknowledged: ms(acknowledged),
            then: signed(then),
            heard: ms(heard),
            append: ms(append),
            writes,
            written_ms: ms(written),
            least_writes,
            replay: middle(replays),
            socket: middle(sockets),
            ranges: redis.map(|_| middle(ranges)),
        })
    };
    running.during(work).await
}

/// One event at a time, each when the last one has arrived: times from POST to
/// acknowledgement, from there to the reader, and from POST to the reader.
async fn one_by_one(
    addr: SocketAddr,
    posts: usize,
    progress: &Progress,
) -> Result<(Vec<Duration>, Vec<f64>, Vec<Duration>)> {
    let origin = Instant::now();
    let mut reader = Reader::open(addr, "/events", 4_096).await?;
    let (heard, mut arrivals) = mpsc::channel(16);
    tokio::spawn(async move {
        while reader.read().await.is_ok() {
            let now = origin.elapsed();
            while let Ok(Some(event)) = reader.next() {
                if heard.send((event.number, now)).await.is_err() {
                    return;
                }
            }
        }
    });
    let mut writer = Writer::connect(addr).await?;
    let (mut acknowledged, mut then, mut whole) = (vec![], vec![], vec![]);
    for number in 0..WARM_UP + posts {
        let (sent, answered) = writer.post(number, origin).await?;
        let arrived = timeout(PATIENCE, arrivals.recv()).await;
        let arrived = arrived.with_context(|| format!("event {number} is lost"))?;
        let (arrived, at) = arrived.context("the reader's stream has ended")?;
        ensure!(arrived == number, "event {arrived} came instead of {number}");
        if number >= WARM_UP {
            acknowledged.push(answered - sent);
            then.push((at.as_secs_f64() - answered.as_secs_f64()) * 1e3);
            whole.push(at - sent);
        }
        progress.show(&format!("post {number} of {posts}"));
        sleep(PAUSE).await;
    }
    Ok((acknowledged, then, whole))
}

/// Many writers at once, each with its next event when the last one is acknowledged:
/// events in a second, and how long each took.
async fn write(
    addr: SocketAddr,
    numbers: Range<usize>,
    progress: &Progress,
) -> Result<(f64, Vec<Duration>)> {
    let origin = Instant::now();
    let next = Arc::new(AtomicUsize::new(numbers.start));
    let mut writers = JoinSet::new();
    for _ in 0..WRITERS {
        let mut writer = Writer::connect(addr).await?;
        let (next, end) = (next.clone(), numbers.end);
        writers.spawn(async move {
            let mut times = Vec::new();
            loop {
                let number = next.fetch_add(1, Relaxed);
                if number >= end {
                    return anyhow::Ok(times);
                }
                let (sent, acknowledged) = writer.post(number, origin).await?;
                times.push(acknowledged - sent);
            }
        });
    }
    let start = Instant::now();
    let mut times = Vec::new();
    let mut second = interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            ended = writers.join_next() => match ended {
                Some(ended) => times.extend(ended??),
                None => break,
            },
            _ = second.tick() => {
                let done = next.load(Relaxed) - numbers.start;
                progress.show(&format!("{done} of {} written", numbers.len()));
            }
        }
    }
    Ok((numbers.len() as f64 / start.elapsed().as_secs_f64(), times))
}

/// One reader of the whole log: events in a second. Each has to come once, in order.
async fn replay(addr: SocketAddr, events: usize) -> Result<f64> {
    let start = Instant::now();
    let mut reader = Reader::open(addr, "/events?from=start", ROOM).await?;
    let mut sequence = Sequence::new(events);
    while sequence.lost() > 0 {
        while let Some(event) = reader.next()? {
            sequence.hear(&event)?;
        }
        if sequence.lost() > 0 {
            let read = timeout(PATIENCE, reader.read()).await;
            read.with_context(|| format!("{} events are lost", sequence.lost()))??;
        }
    }
    let rate = events as f64 / start.elapsed().as_secs_f64();
    let Sequence { repeated, out_of_order, .. } = sequence;
    ensure!(
        repeated + out_of_order == 0,
        "{repeated} events are repeated, and {out_of_order} out of order"
    );
    Ok(rate)
}

/// The median and p99.
fn ms(mut times: Vec<Duration>) -> [f64; 2] {
    times.sort();
    [50, 99].map(|percent| percentile(&times, percent).as_secs_f64() * 1e3)
}

/// The same of times of which some are negative.
fn signed(mut ms: Vec<f64>) -> [f64; 2] {
    ms.sort_by(f64::total_cmp);
    [50, 99].map(|percent| {
        let rank = (ms.len() * percent).div_ceil(100).max(1);
        ms.get(rank - 1).copied().unwrap_or_default()
    })
}

fn tables(
    parts: &[(Part, Vec<Figures>)],
    args: &Args,
    redis: &str,
) -> Result<String> {
    let (mut logs, mut crowds) = (Vec::new(), Vec::new());
    for (part, rounds) in parts {
        let (mut log, mut crowd) = (Vec::new(), Vec::new());
        for figures in rounds {
            match figures {
                Figures::Log(figures) => log.push(figures),
                Figures::FanOut(figures) => crowd.push(figures),
            }
        }
        if !log.is_empty() {
            logs.push((part.name(redis)?, log));
        }
        if !crowd.is_empty() {
            crowds.push((part.name(redis)?, crowd));
        }
    }
    let mut tables = Vec::new();
    if !logs.is_empty() {
        tables.push(anchored("short", &short(&logs)?));
        tables.push(anchored("latency", &latency(&logs)?));
        tables.push(anchored("throughput", &throughput(&logs, args)?));
    }
    if !crowds.is_empty() {
        tables.push(anchored("fan_out", &fan_out(&crowds, args)?));
    }
    Ok(tables.join("\n"))
}

/// So that a page can include it alone.
fn anchored(name: &str, table: &str) -> String {
    format!("<!-- ANCHOR: {name} -->\n{table}<!-- ANCHOR_END: {name} -->\n")
}

type Rounds<'a, F> = [(String, Vec<&'a F>)];

fn median<F>(rounds: &[&F], of: impl Fn(&F) -> f64) -> f64 {
    middle(rounds.iter().map(|figures| of(figures)).collect())
}

/// What chapter 8 shows: the rows are measures, the columns stores.
fn short(logs: &Rounds<Log>) -> Result<String> {
    type Measure = (&'static str, &'static str, usize, fn(&Log) -> f64);
    let measures: [Measure; 6] = [
        ("`POST` → reader, p50", "ms", 2, |log| log.heard[0]),
        ("`POST` → reader, p99", "ms", 2, |log| log.heard[1]),
        ("a bare append, p50", "ms", 2, |log| log.append[0]),
        ("64 writers, events", "/s", 0, |log| log.writes),
        ("bare appends of 64", "/s", 0, |log| log.least_writes),
        ("replay to one reader, events", "/s", 0, |log| log.replay),
    ];
    let mut table = "| |".to_string();
    for (name, _) in logs {
        write!(table, " {name} |")?;
    }
    writeln!(table, "\n| --- |{}", " --: |".repeat(logs.len()))?;
    for (name, unit, decimals, of) in measures {
        write!(table, "| {name} |")?;
        for (_, rounds) in logs {
            write!(table, " {:.decimals$} {unit} |", median(rounds, of))?;
        }
        table.push('\n');
    }
    Ok(table)
}

fn latency(logs: &Rounds<Log>) -> Result<String> {
    let mut table = "\
One event at a time, on an idle machine. The floor is one bare append: to a file that is
synced, or by a connection to Redis.

| store | POST → 201 p50 | p99 | 201 → reader p50 | p99 | POST → reader p50 | p99 | floor p50 | p99 |
| --- | --: | --: | --: | --: | --: | --: | --: | --: |
"
    .to_string();
    for (name, rounds) in logs {
        write!(table, "| {name} |")?;
        let times: [fn(&Log) -> [f64; 2]; 4] = [
            |log| log.acknowledged,
            |log| log.then,
            |log| log.heard,
            |log| log.append,
        ];
        for of in times {
            for at in 0..2 {
                write!(table, " {:.3} ms |", median(rounds, |log| of(log)[at]))?;
            }
        }
        table.push('\n');
    }
    Ok(table)
}

fn throughput(logs: &Rounds<Log>, args: &Args) -> Result<String> {
    let mut table = format!(
        "\
{WRITERS} writers at once, and then one reader from the start, {} events of 100 bytes. The
floor of writing is a bare file that is synced after each {WRITERS} events, or
redis-benchmark; that of reading is a bare socket, and XRANGE.

| store | written | POST → 201 p50 | p99 | floor | ÷ floor | replayed | bare socket | ÷ socket | XRANGE | ÷ XRANGE |
| --- | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: |
",
        args.events
    );
    for (name, rounds) in logs {
        let of = |of: fn(&Log) -> f64| median(rounds, of);
        let (writes, least) = (of(|log| log.writes), of(|log| log.least_writes));
        let (replay, socket) = (of(|log| log.replay), of(|log| log.socket));
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

fn fan_out(crowds: &Rounds<fan_out::Figures>, args: &Args) -> Result<String> {
    let mut table = format!(
        "\
{} readers of two servers on one Redis with appendfsync always. One writer posts to the
first server, at its times, whether or not it is slow. `2, for all`: these two CPUs have
Redis, both servers, the writer and all readers. Both servers together have as many worker
threads as there are CPUs. Times are from POST to each reader.

| CPUs | posted | deliveries | lost | repeated | out of order | p50 | p99 | max | POST → 201 p99 | events in a read | CPU per delivery |
| --- | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: |
",
        args.readers
    );
    for (name, rounds) in crowds {
        let of = |of: fn(&fan_out::Figures) -> f64| median(rounds, of);
        let sum = |of: fn(&fan_out::Figures) -> usize| {
            rounds.iter().map(|figures| of(figures)).sum::<usize>()
        };
        let max = rounds.iter().map(|figures| figures.max_ms);
        writeln!(
            table,
            "| {name} | {:.1}/s | {} | {} | {} | {} | {:.1} ms | {:.1} ms | {:.1} ms \
             | {:.1} ms | {:.1} | {:.2} µs |",
            of(|figures| figures.rate),
            sum(|figures| figures.deliveries),
            sum(|figures| figures.lost),
            sum(|figures| figures.repeated),
            sum(|figures| figures.out_of_order),
            of(|figures| figures.p50_ms),
            of(|figures| figures.p99_ms),
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

    fn log(ms: f64, writes: f64) -> Figures {
        Figures::Log(Log {
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
        })
    }

    fn crowd(lost: usize, max_ms: f64) -> Figures {
        Figures::FanOut(fan_out::Figures {
            rate: 100.0,
            deliveries: 10,
            lost,
            repeated: 0,
            out_of_order: 0,
            p50_ms: 10.0,
            p99_ms: 20.0,
            max_ms,
            posted_p99_ms: 5.0,
            batch: 1.5,
            cpu_us: 7.0,
        })
    }

    #[test]
    fn the_tables_have_medians_but_hide_no_event_that_is_lost() {
        let args = Args {
            posts: 1,
            events: 100,
            readers: 5,
            seconds: 1,
            rounds: 3,
            only: Vec::new(),
            save: None,
        };
        let parts = [
            (Part::Embedded, vec![log(1.0, 9e3), log(9.0, 1e4), log(2.0, 1e3)]),
            (
                Part::FanOutTwoCpus,
                vec![crowd(0, 30.0), crowd(1, 90.0), crowd(0, 31.0)],
            ),
        ];
        let tables = tables(&parts, &args, "7.0.15").unwrap();
        for row in [
            "| `POST` → reader, p50 | 2.00 ms |",
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

    #[test]
    fn a_percentile_may_be_negative() {
        assert_eq!(signed(vec![0.3, -0.2, -0.1]), [-0.1, 0.3]);
        assert_eq!(signed(vec![]), [0.0, 0.0]);
    }
}
