//! Many readers of two servers on one Redis, and one writer.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::runtime::Builder;
use tokio::sync::{Mutex, Semaphore, mpsc, watch};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{
    Instant as Tick, MissedTickBehavior, interval, interval_at, sleep, timeout,
};

use super::client::{Reader, Writer};
use super::redis::Redis;
use crate::machine::cpus;
use crate::progress::Progress;
use crate::server::{self, Binary, CpuTime};
use crate::statistics::{Histogram, Sequence};

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

/// The state that all readers share.
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
    feed: &Binary,
    redis: &Redis,
    readers: usize,
    seconds: usize,
    progress: &Progress,
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
    let work = load(addrs, pids, readers, seconds, progress);
    first.during(second.during(work)).await
}

async fn load(
    addrs: [SocketAddr; 2],
    pids: [u32; 2],
    size: usize,
    seconds: usize,
    progress: &Progress,
) -> Result<Figures> {
    let crowd = Arc::new(Crowd {
        origin: Instant::now(),
        events: WARM_UP + seconds * 100,
        times: Histogram::new(),
        reads: AtomicUsize::new(0),
        begun: watch::Sender::new(0),
        pace: Semaphore::new(CONNECTS),
        posted: AtomicUsize::new(0),
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
    for pid in pids {
        server::settle(pid).await?;
    }
    let cpu = CpuTime::of(&pids)?;
    let writer = crowd.clone();
    let addr = addrs[0];
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
    let cpu = cpu.since()?;
    let sum = |of: fn(&Heard) -> usize| sequences.iter().map(of).sum::<usize>();
    let deliveries = sum(|sequence| sequence.distinct + sequence.repeated);
    Ok(Figures {
        rate,
        deliveries,
        lost: sum(Heard::lost),
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
        // An event that this process was late for is sent at once.
        next.set_missed_tick_behavior(MissedTickBehavior::Burst);
        for number in 0..self.events {
            next.tick().await;
            let place = places.clone().acquire_owned().await?;
            let writer = idle.lock().await.pop();
            let idle = idle.clone();
            let times = times.clone();
            let failed = failed.clone();
            let origin = self.origin;
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
