//! Many readers of two servers on one Redis, and one writer.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::runtime::Builder;
use tokio::sync::{Mutex, Semaphore, mpsc, watch};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{
    Instant as Tick, MissedTickBehavior, interval, interval_at, sleep, timeout,
};

use super::client::{Reader, Sequence, Writer};
use super::redis::Redis;
use super::{Args, cpus};
use crate::report::Progress;
use crate::server::{self, Built};

/// The time between two events: 100 a second.
const PACE: Duration = Duration::from_millis(10);
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
    pub deliveries: usize,
    pub lost: usize,
    pub repeated: usize,
    pub out_of_order: usize,
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub max_ms: f64,
    /// From POST to its acknowledgement.
    pub posted_p99_ms: f64,
    /// Deliveries that one read had.
    pub batch: f64,
    pub cpu_us: f64,
}

/// Times by steps of 10 µs: there are too many to keep.
struct Histogram {
    counts: Vec<AtomicU64>,
    max_ns: AtomicU64,
}

impl Histogram {
    const STEP: Duration = Duration::from_micros(10);
    /// Longer ones count as this long in a percentile.
    const TOP: Duration = Duration::from_secs(10);

    fn new() -> Self {
        let steps = Self::TOP.div_duration_f64(Self::STEP) as usize;
        let counts = (0..=steps).map(|_| AtomicU64::new(0)).collect();
        Self { counts, max_ns: AtomicU64::new(0) }
    }

    fn add(&self, time: Duration) {
        let step = (time.as_nanos() / Self::STEP.as_nanos()) as usize;
        self.counts[step.min(self.counts.len() - 1)].fetch_add(1, Relaxed);
        // Most change nothing: then no CPU takes this from another one.
        let ns = time.as_nanos() as u64;
        if ns > self.max_ns.load(Relaxed) {
            self.max_ns.fetch_max(ns, Relaxed);
        }
    }

    /// The end of the step that has it.
    fn percentile_ms(&self, percent: u64) -> f64 {
        let all: u64 = self.counts.iter().map(|count| count.load(Relaxed)).sum();
        let rank = (all * percent).div_ceil(100);
        let mut seen = 0;
        let step = self.counts.iter().position(|count| {
            seen += count.load(Relaxed);
            seen >= rank
        });
        let end = Self::STEP * (step.unwrap_or(0) as u32 + 1);
        end.as_micros() as f64 / 1e3
    }

    fn max_ms(&self) -> f64 {
        self.max_ns.load(Relaxed) as f64 / 1e6
    }
}

/// What all readers share.
struct Crowd {
    origin: Instant,
    events: usize,
    times: Histogram,
    /// Reads that had an event in them.
    reads: AtomicUsize,
    /// Readers whose stream has begun.
    begun: watch::Sender<usize>,
    pace: Semaphore,
    posted: AtomicUsize,
}

pub async fn measure(
    feed: &Built,
    redis: &Redis,
    args: &Args,
    progress: &Progress,
) -> Result<Figures> {
    let cpus = cpus()?;
    // As many worker threads as there are CPUs, for both servers together.
    let threads = (cpus.split(',').count() / 2).max(1).to_string();
    let url = redis.url();
    let variables = [("REDIS_URL", &*url), ("TOKIO_WORKER_THREADS", &*threads)];
    let mut first = feed.start_with(&cpus, &variables).await?;
    let mut second = feed.start_with(&cpus, &variables).await?;
    let servers = [(first.addr, first.pid), (second.addr, second.pid)];
    let work = load(servers, args, progress);
    first.during(second.during(work)).await
}

async fn load(
    servers: [(SocketAddr, u32); 2],
    args: &Args,
    progress: &Progress,
) -> Result<Figures> {
    let (size, measured) = (args.readers as usize, args.seconds as usize * 100);
    let crowd = Arc::new(Crowd {
        origin: Instant::now(),
        events: WARM_UP + measured,
        times: Histogram::new(),
        reads: AtomicUsize::new(0),
        begun: watch::Sender::new(0),
        pace: Semaphore::new(CONNECTS),
        posted: AtomicUsize::new(0),
    });
    let mut readers = JoinSet::new();
    for number in 0..size {
        let (crowd, addr) = (crowd.clone(), servers[number % 2].0);
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
    let mut before = Duration::ZERO;
    for (_, pid) in servers {
        server::settle(pid).await?;
        before += server::cpu(pid)?;
    }
    let (writer, addr) = (crowd.clone(), servers[0].0);
    // On a thread of its own: it has to know when an answer comes, and thousands of readers
    // may be ready before it.
    let mut written = spawn_blocking(move || {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(writer.write(addr))
    });
    let mut second = interval(Duration::from_secs(1));
    let (rate, posted) = loop {
        tokio::select! {
            written = &mut written => break written??,
            _ = second.tick() => {
                let posted = crowd.posted.load(Relaxed);
                progress.show(&format!("event {posted} of {}", crowd.events));
            }
        }
    };
    let mut sequences = Vec::new();
    // A reader ends when it has heard all, or has waited for long.
    while let Some(sequence) = readers.join_next().await {
        sequences.push(sequence??);
        progress.show(&format!("{} readers have heard all", sequences.len()));
    }
    let mut after = Duration::ZERO;
    for (_, pid) in servers {
        after += server::cpu(pid)?;
    }
    let sum = |of: fn(&Sequence) -> usize| sequences.iter().map(of).sum::<usize>();
    let deliveries = sum(|sequence| sequence.distinct + sequence.repeated);
    let cpu = after.checked_sub(before).context("a thread's CPU time is gone")?;
    Ok(Figures {
        rate,
        deliveries,
        lost: sum(Sequence::lost),
        repeated: sum(|sequence| sequence.repeated),
        out_of_order: sum(|sequence| sequence.out_of_order),
        p50_ms: crowd.times.percentile_ms(50),
        p99_ms: crowd.times.percentile_ms(99),
        max_ms: crowd.times.max_ms(),
        posted_p99_ms: posted.percentile_ms(99),
        batch: deliveries as f64 / crowd.reads.load(Relaxed) as f64,
        cpu_us: cpu.as_secs_f64() * 1e6 / deliveries as f64,
    })
}

impl Crowd {
    /// Until all events are there, or those that are missing are late.
    async fn read(&self, addr: SocketAddr) -> Result<Sequence> {
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
            let (now, before) = (self.origin.elapsed(), sequence.distinct);
            while let Some(event) = reader.next()? {
                sequence.hear(&event)?;
                if event.number >= WARM_UP {
                    self.times.add(now.saturating_sub(event.sent));
                }
            }
            self.reads.fetch_add(usize::from(sequence.distinct > before), Relaxed);
        }
        Ok(sequence)
    }

    /// Posts each event at its time. Returns how many were posted in a second, and how
    /// long each took.
    async fn write(
        self: &Arc<Self>,
        addr: SocketAddr,
    ) -> Result<(f64, Arc<Histogram>)> {
        let idle = Arc::new(Mutex::new(Vec::<Writer>::new()));
        let times = Arc::new(Histogram::new());
        let (failed, mut failure) = mpsc::channel(1);
        let places = Arc::new(Semaphore::new(MAX_POSTS));
        let start = Tick::now();
        let mut next = interval_at(start + PACE, PACE);
        // What this process was late for is sent at once.
        next.set_missed_tick_behavior(MissedTickBehavior::Burst);
        for number in 0..self.events {
            next.tick().await;
            let place = places.clone().acquire_owned().await?;
            let writer = idle.lock().await.pop();
            let (idle, times) = (idle.clone(), times.clone());
            let (failed, origin) = (failed.clone(), self.origin);
            tokio::spawn(async move {
                let post = async {
                    let mut writer = match writer {
                        Some(writer) => writer,
                        None => Writer::connect(addr).await?,
                    };
                    let (sent, acknowledged) = writer.post(number, origin).await?;
                    times.add(acknowledged - sent);
                    idle.lock().await.push(writer);
                    anyhow::Ok(())
                };
                if let Err(error) = post.await {
                    drop(failed.try_send(error));
                }
                drop(place);
            });
            self.posted.fetch_add(1, Relaxed);
        }
        let sent = start.elapsed();
        let all = timeout(PATIENCE, places.acquire_many(MAX_POSTS as u32)).await;
        drop(all.context("a POST has no answer")??);
        if let Ok(error) = failure.try_recv() {
            return Err(error);
        }
        ensure!(!sent.is_zero(), "no event was sent");
        Ok((self.events as f64 / sent.as_secs_f64(), times))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_has_percentiles_to_ten_microseconds_and_the_exact_maximum() {
        let times = Histogram::new();
        for ms in 1..=100 {
            times.add(Duration::from_millis(ms));
        }
        assert_eq!(times.percentile_ms(50), 50.01);
        assert_eq!(times.percentile_ms(99), 99.01);
        times.add(Duration::from_secs(11));
        assert_eq!(times.max_ms(), 11_000.0);
    }
}
