//! The costs of a log of events: time to a reader, durable writes, replay, and many readers
//! of two servers.

mod client;
mod fan_out;
mod floor;
mod log;
mod redis;
mod tables;

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;

use anyhow::{Context, Result};
use clap::ValueEnum;
use record::publish;
use tokio::runtime::Runtime;

use self::redis::Redis;
use crate::machine::{on_two_cpus, raise_open_files};
use crate::progress::rounds;
use crate::server::{Home, Program};

/// Its figures are those of the store that keeps its log.
const FEED: Program = Program { home: Home::Book, name: "feed", made_with: "redb" };

/// Measure the book's feed: time to a reader, durable writes, replay, many readers
///
/// On the embedded store, and on a Redis that is started for it (Debian: `apt install
/// redis-server`; without it, the embedded store alone is measured). First one event at a
/// time on an idle machine: from POST to its acknowledgement, and to a live reader. Then
/// 64 writers at once, each on one connection, until all events are stored. Then one
/// reader, which reads them all from the start. Each with its floor, from the same
/// minute: a bare file that is synced after each append, a bare socket, and Redis without
/// a feed.
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
    /// Bytes of each event's data, which change what a page of the log is
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(100..=4_096))]
    bytes: u32,
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
    /// When Redis syncs its file; `None` without Redis.
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
    client::LENGTH.store(args.bytes as usize, Relaxed);
    raise_open_files(args.readers + 2 * log::WRITERS as u32)?;
    let redis = redis::version()?;
    let feed = FEED.build()?;
    let mut stores = Vec::new();
    let mut crowds = Vec::new();
    for part in Part::value_variants() {
        if !args.only.is_empty() && !args.only.contains(part) {
            continue;
        }
        if part.fsync().is_some() && redis.is_none() {
            eprintln!("warning: without redis-server, {part:?} is left out");
            continue;
        }
        let named = (part.name(redis.as_deref().unwrap_or_default())?, *part);
        match part {
            Part::FanOutTwoCpus | Part::FanOut => crowds.push(named),
            _ => stores.push(named),
        }
    }
    let logs = rounds(args.rounds, &stores, |part, progress| {
        with_store(*part, async |dir, redis| {
            log::measure(&feed, redis, dir, args, progress).await
        })
    })?;
    let fan_outs = rounds(args.rounds, &crowds, |part, progress| {
        let measure = || {
            with_store(*part, async |_, redis| {
                let redis = redis.context("readers of two servers need Redis")?;
                fan_out::measure(&feed, redis, args, progress).await
            })
        };
        if *part == Part::FanOutTwoCpus { on_two_cpus(measure) } else { measure() }
    })?;
    let names = |parts: Vec<(String, Part)>| parts.into_iter().map(|(name, _)| name);
    let logs: Vec<_> = names(stores).zip(logs).collect();
    let fan_outs: Vec<_> = names(crowds).zip(fan_outs).collect();
    let tables = tables::tables(&logs, &fan_outs, args.events, args.readers)?;
    publish("cargo run --release", &tables, args.save.as_deref())
}

/// Does this with a folder of its own, and with a Redis of its own where the part has one.
/// The threads of its runtime stay where this thread may be.
fn with_store<T>(
    part: Part,
    work: impl AsyncFnOnce(&Path, Option<&Redis>) -> Result<T>,
) -> Result<T> {
    // The folder that cargo builds in: one for temporary files may be in memory.
    let dir = tempfile::tempdir_in(record::root().join("bench/target"))?;
    Runtime::new()?.block_on(async {
        let Some(fsync) = part.fsync() else { return work(dir.path(), None).await };
        let (mut running, redis) = Redis::start(dir.path(), fsync).await?;
        running.during(work(dir.path(), Some(&redis))).await
    })
}
