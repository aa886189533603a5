//! The costs of the log of one store: one event at a time, many writers, and a replay.

use std::net::SocketAddr;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use indicatif::ProgressBar;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::Args;
use super::client::{Reader, Writer};
use super::floor;
use super::redis::Redis;
use crate::machine::cpus;
use crate::server::{self, Binary};
use crate::statistics::{Sequence, counts, median, ms, p50_p99};

/// Posts before the measured ones.
const WARM_UP: usize = 50;
/// Between two posts on an idle machine.
const PAUSE: Duration = Duration::from_millis(5);
/// Writers at once.
pub const WRITERS: usize = 64;
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

/// The figures of one store.
#[derive(Clone, Debug)]
pub struct Figures {
    /// Times from POST to its acknowledgement, from there to the reader, and from POST to
    /// the reader; and of a bare append: the median and p99 of each, in ms.
    pub acknowledged: [f64; 2],
    pub then: [f64; 2],
    pub heard: [f64; 2],
    pub append: [f64; 2],
    /// Events written in a second, and the times from POST to acknowledgement.
    pub writes: f64,
    pub written_ms: [f64; 2],
    pub least_writes: f64,
    pub replay: f64,
    pub socket: f64,
    /// XRANGE without a feed, where the store is Redis.
    pub ranges: Option<f64>,
}

/// Measures the feed on this Redis, or with its embedded store in this folder.
pub async fn measure(
    feed: &Binary,
    redis: Option<&Redis>,
    dir: &Path,
    args: &Args,
    progress: &ProgressBar,
) -> Result<Figures> {
    let posts = args.posts as usize;
    let events = args.events as usize;
    let (cpus, threads) = cpus()?;
    let threads = threads.to_string();
    let path = dir.to_string_lossy();
    let url = redis.map(Redis::url);
    let store = match &url {
        Some(url) => ("REDIS_URL", &**url),
        None => ("FEED_DIR", &*path),
    };
    let keep = KEEP.max(WARM_UP + posts + events).to_string();
    let threads = ("TOKIO_WORKER_THREADS", &*threads);
    let variables = [store, threads, ("FEED_KEEP", &keep)];
    let mut running = feed.start(&cpus, &variables).await?;
    let addr = running.addr;
    let pid = running.pid;
    let work = async {
        let [acknowledged, then, heard] = one_by_one(addr, posts, progress).await?;
        progress.set_message("a bare append");
        let append = match redis {
            Some(redis) => redis.add(posts, PAUSE)?,
            None => floor::append(dir, posts, 1, PAUSE)?,
        };
        let first = WARM_UP + posts;
        progress.set_message(format!("{WRITERS} writers"));
        let (writes, written) = write(addr, first..first + events).await?;
        let least_writes = match redis {
            Some(redis) => redis.write(events, WRITERS)?,
            None => {
                let times = floor::append(dir, GROUPS, WRITERS, Duration::ZERO)?;
                (GROUPS * WRITERS) as f64 / times.iter().sum::<f64>() * 1e3
            }
        };
        server::settle(&[pid]).await?;
        let events = first + events;
        let bare = floor::sockets(events).await?;
        let mut replays = Vec::new();
        let mut sockets = Vec::new();
        let mut ranges = Vec::new();
        for _ in 0..REPLAYS {
            progress.set_message("replay");
            replays.push(replay(addr, events).await?);
            sockets.push(replay(bare, events).await?);
            if let Some(redis) = redis {
                ranges.push(redis.read(events)?);
            }
        }
        Ok(Figures {
            acknowledged,
            then,
            heard,
            append: p50_p99(append),
            writes,
            written_ms: p50_p99(written),
            least_writes,
            replay: median(replays),
            socket: median(sockets),
            ranges: redis.map(|_| median(ranges)),
        })
    };
    running.during(work).await
}

/// One event at a time, each when the last one has arrived. Returns the times from POST to
/// acknowledgement, from there to the reader (the reader may be first, so some are
/// negative), and from POST to the reader: the median and p99 of each, in ms.
async fn one_by_one(
    addr: SocketAddr,
    posts: usize,
    progress: &ProgressBar,
) -> Result<[[f64; 2]; 3]> {
    let origin = Instant::now();
    let mut reader = Reader::open(addr, "/events", 4_096).await?;
    let mut writer = Writer::connect(addr).await?;
    let mut acknowledged = Vec::new();
    let mut then = Vec::new();
    let mut whole = Vec::new();
    for number in 0..WARM_UP + posts {
        let arrival = async {
            loop {
                reader.read().await?;
                let at = origin.elapsed();
                if let Some(event) = reader.next()? {
                    return anyhow::Ok((event.number, at));
                }
            }
        };
        let (posted, arrival) =
            tokio::join!(writer.post(number, origin), timeout(PATIENCE, arrival));
        let (sent, answered) = posted?;
        let (arrived, at) =
            arrival.with_context(|| format!("event {number} is lost"))??;
        ensure!(arrived == number, "event {arrived} came instead of {number}");
        if number >= WARM_UP {
            acknowledged.push(ms(answered - sent));
            then.push(ms(at) - ms(answered));
            whole.push(ms(at - sent));
        }
        progress.set_message(format!("post {number} of {posts}"));
        sleep(PAUSE).await;
    }
    Ok([acknowledged, then, whole].map(p50_p99))
}

/// Many writers at once, each with its next event when the last one is acknowledged.
/// Returns the events in a second, and how many ms each took.
async fn write(addr: SocketAddr, numbers: Range<usize>) -> Result<(f64, Vec<f64>)> {
    let origin = Instant::now();
    let next = Arc::new(AtomicUsize::new(numbers.start));
    let mut writers = JoinSet::new();
    for _ in 0..WRITERS {
        let mut writer = Writer::connect(addr).await?;
        let next = next.clone();
        let end = numbers.end;
        writers.spawn(async move {
            let mut times = Vec::new();
            loop {
                let number = next.fetch_add(1, Relaxed);
                if number >= end {
                    return anyhow::Ok(times);
                }
                let (sent, acknowledged) = writer.post(number, origin).await?;
                times.push(ms(acknowledged - sent));
            }
        });
    }
    let start = Instant::now();
    let mut times = Vec::new();
    while let Some(ended) = writers.join_next().await {
        times.extend(ended??);
    }
    Ok((numbers.len() as f64 / start.elapsed().as_secs_f64(), times))
}

/// One reader of the whole log. Returns the events in a second. Each has to come once, in
/// order.
async fn replay(addr: SocketAddr, events: usize) -> Result<f64> {
    let start = Instant::now();
    let mut reader = Reader::open(addr, "/events?from=start", ROOM).await?;
    let mut sequence = Sequence::new(events);
    while sequence.lost() > 0 {
        while let Some(event) = reader.next()? {
            sequence.hear(event.number, event.id)?;
        }
        if sequence.lost() > 0 {
            let read = timeout(PATIENCE, reader.read()).await;
            read.with_context(|| format!("{} events are lost", sequence.lost()))??;
        }
    }
    let rate = events as f64 / start.elapsed().as_secs_f64();
    let heard = counts(&[sequence]);
    ensure!(heard == [events, 0, 0, 0], "not each once, in order: {heard:?}");
    Ok(rate)
}
