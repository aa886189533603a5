//! Many readers of two servers on one Redis, and one writer.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use indicatif::ProgressBar;
use tokio::runtime::Builder;
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{
    Instant as Tick, MissedTickBehavior, interval_at, sleep, timeout,
};

use super::Args;
use super::client::{Reader, Writer};
use super::redis::Redis;
use crate::machine::cpus;
use crate::server::{self, Binary};
use crate::statistics::{Counts, Sequence, counts, ms, p50_p99};

/// The time between two events: 100 a second.
const PACE: Duration = Duration::from_millis(10);
/// The events of one reader, in the order of their IDs: writers at once do not know whose
/// event comes first.
type Heard = Sequence<(u64, u64)>;

/// Events before the measured ones. None of these may be lost, either.
const WARM_UP: usize = 100;
/// Connections that the writer has at most. It does not wait for one event's
/// acknowledgement before it sends the next: else it would send less to a slow server.
const MAX_POSTS: usize = 256;
/// Connects under way at once.
const CONNECTS: usize = 256;
const PATIENCE: Duration = Duration::from_secs(60);
/// Bytes that a reader reads at a time, at most.
const ROOM: usize = 4_096;

#[derive(Clone, Debug)]
pub struct Figures {
    /// Events posted in a second.
    pub rate: f64,
    pub deliveries: Counts,
    /// From POST to each reader: the median and p99, and the longest, in ms.
    pub heard: [f64; 2],
    pub max_ms: f64,
    /// From POST to its acknowledgement.
    pub posted_p99_ms: f64,
    /// Deliveries that one read had.
    pub batch: f64,
    pub cpu_us: f64,
}

/// The state that all readers share.
struct Crowd {
    origin: Instant,
    events: usize,
    /// Reads that had an event in them.
    reads: AtomicUsize,
    /// Readers whose stream has begun.
    begun: watch::Sender<usize>,
    pace: Semaphore,
}

pub async fn measure(
    feed: &Binary,
    redis: &Redis,
    args: &Args,
    progress: &ProgressBar,
) -> Result<Figures> {
    let (cpus, threads) = cpus()?;
    // As many worker threads as there are CPUs, for both servers together.
    let threads = (threads / 2).max(1).to_string();
    let url = redis.url();
    let variables = [("REDIS_URL", &*url), ("TOKIO_WORKER_THREADS", &*threads)];
    let mut first = feed.start(&cpus, &variables).await?;
    let mut second = feed.start(&cpus, &variables).await?;
    let addrs = [first.addr, second.addr];
    let pids = [first.pid, second.pid];
    let work = load(addrs, pids, args, progress);
    first.during(second.during(work)).await
}

async fn load(
    addrs: [SocketAddr; 2],
    pids: [u32; 2],
    args: &Args,
    progress: &ProgressBar,
) -> Result<Figures> {
    let size = args.readers as usize;
    let crowd = Arc::new(Crowd {
        origin: Instant::now(),
        events: WARM_UP + args.seconds as usize * 100,
        reads: AtomicUsize::new(0),
        begun: watch::Sender::new(0),
        pace: Semaphore::new(CONNECTS),
    });
    let mut readers = JoinSet::new();
    for number in 0..size {
        let crowd = crowd.clone();
        let addr = addrs[number % 2];
        readers.spawn(async move {
            let sequence = crowd.read(addr).await;
            sequence.with_context(|| format!("reader {number}"))
        });
    }
    let mut begun = crowd.begun.subscribe();
    let all = begun.wait_for(|begun| *begun == size);
    tokio::select! {
        all = timeout(PATIENCE, all) => {
            all.context("not all readers are connected after 60 s")??;
        }
        Some(end) = readers.join_next() => {
            end??;
        }
    }
    server::settle(&pids).await?;
    let cpu = server::cpu(&pids)?;
    let writer = crowd.clone();
    let addr = addrs[0];
    // On a thread of its own: it has to know when an answer comes, and thousands of readers
    // may be ready before it.
    let written = spawn_blocking(move || {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(writer.write(addr))
    });
    progress.set_message(format!("{} events", crowd.events));
    let (rate, posted) = written.await??;
    let mut heard: Vec<Heard> = Vec::new();
    // A reader ends when it has heard all, or has waited for long.
    while let Some(sequence) = readers.join_next().await {
        heard.push(sequence??);
        progress.set_message(format!("{} readers have heard all", heard.len()));
    }
    let deliveries = counts(&heard);
    let cpu_us = server::cpu_us(&pids, cpu, deliveries[0])?;
    let mut times = Vec::new();
    for sequence in &mut heard {
        times.append(&mut sequence.times);
    }
    Ok(Figures {
        rate,
        max_ms: times.iter().copied().fold(0.0, f64::max),
        heard: p50_p99(times),
        posted_p99_ms: p50_p99(posted)[1],
        batch: deliveries[0] as f64 / crowd.reads.load(Relaxed) as f64,
        cpu_us,
        deliveries,
    })
}

impl Crowd {
    /// Reads until all events are there, or those that are missing are late.
    async fn read(&self, addr: SocketAddr) -> Result<Heard> {
        let permit = self.pace.acquire().await?;
        let mut reader = Reader::open(addr, "/events", ROOM).await?;
        drop(permit);
        self.begun.send_modify(|begun| *begun += 1);
        let mut sequence = Sequence::new(self.events);
        let mut late = pin!(sleep(PACE * self.events as u32 + 2 * PATIENCE));
        while sequence.lost() > 0 {
            tokio::select! {
                biased;
                read = reader.read() => read?,
                () = &mut late => break,
            }
            let now = self.origin.elapsed();
            let before = sequence.distinct;
            while let Some(event) = reader.next()? {
                sequence.hear(event.number, event.id)?;
                if event.number >= WARM_UP {
                    sequence.times.push(ms(now.saturating_sub(event.sent)));
                }
            }
            self.reads.fetch_add(usize::from(sequence.distinct > before), Relaxed);
        }
        Ok(sequence)
    }

    /// Posts each event at its time. Returns how many were posted in a second, and how many
    /// ms each took.
    async fn write(&self, addr: SocketAddr) -> Result<(f64, Vec<f64>)> {
        let mut posts = JoinSet::new();
        let mut idle = Vec::new();
        let mut times = Vec::new();
        let start = Tick::now();
        let mut next = interval_at(start + PACE, PACE);
        // An event that this process was late for is sent at once.
        next.set_missed_tick_behavior(MissedTickBehavior::Burst);
        for number in 0..self.events {
            next.tick().await;
            // Each acknowledgement leaves a connection idle. With too many posts under way,
            // one has to come first.
            while let Some(done) = match posts.len() {
                MAX_POSTS.. => posts.join_next().await,
                _ => posts.try_join_next(),
            } {
                let (writer, time) = done??;
                idle.push(writer);
                times.push(time);
            }
            let writer = idle.pop();
            let origin = self.origin;
            posts.spawn(async move {
                let mut writer = match writer {
                    Some(writer) => writer,
                    None => Writer::connect(addr).await?,
                };
                let (sent, acknowledged) = writer.post(number, origin).await?;
                anyhow::Ok((writer, ms(acknowledged - sent)))
            });
        }
        let rate = self.events as f64 / start.elapsed().as_secs_f64();
        let rest = timeout(PATIENCE, posts.join_all()).await;
        for done in rest.context("a POST has no answer")? {
            times.push(done?.1);
        }
        Ok((rate, times))
    }
}
