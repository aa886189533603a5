//! One round: a fresh server, readers, messages, and a reconnect storm.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{copy, sink};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

use crate::Compare;
use crate::reader::{Crowd, Poster, message};
use crate::report::Progress;
use crate::server::{self, Built};

/// A message that some reader has not heard by then is lost on it.
const PATIENCE: Duration = Duration::from_secs(10);
/// Within this time all readers are connected, or the round has failed.
const CONNECTED: Duration = Duration::from_secs(120);
/// Messages before the measured ones: the first ones find cold caches and small buffers.
const WARM_UP: usize = 5;

#[derive(Clone, Debug)]
pub struct Figures {
    pub cpu_us: f64,
    pub idle_kib: f64,
    pub used_kib: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub lost: f64,
    pub storm_s: f64,
    pub repeats: f64,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:.2} µs a delivery, {:.1} KiB a reader, fan-out {:.1} ms (p99 {:.1} ms), \
             {} lost, back after {:.2} s ({} repeated)",
            self.cpu_us,
            self.idle_kib,
            self.p50_ms,
            self.p99_ms,
            self.lost,
            self.storm_s,
            self.repeats
        )
    }
}

/// Starts the server, loads it and ends it.
pub async fn measure(
    server: &Built,
    core: usize,
    args: &Compare,
    progress: &Progress,
) -> Result<Figures> {
    let mut running = server.start(core).await?;
    let (pid, readers, messages) = (running.pid, args.readers, args.messages);
    let crowd =
        Crowd::new(running.addr, readers as usize, WARM_UP + messages as usize);
    let crowd = Arc::new(crowd);
    let before = server::rss(pid)?;
    let mut tasks = JoinSet::new();
    for number in 1..=readers as usize {
        let crowd = crowd.clone();
        tasks.spawn(async move { crowd.reader(number).await });
    }
    let work = async {
        tokio::select! {
            figures = load(&crowd, pid, before, messages as usize, progress) => figures,
            Some(end) = tasks.join_next() => Err(match end {
                Ok(Err(error)) => error,
                Err(error) => error.into(),
            }),
        }
    };
    running.during(work).await
}

async fn load(
    crowd: &Crowd,
    pid: u32,
    before: u64,
    messages: usize,
    progress: &Progress,
) -> Result<Figures> {
    all_joined(crowd, 1, "connecting", progress).await?;
    server::settle(pid).await?;
    let idle = server::rss(pid)?;

    let (mut poster, mut events) = Poster::join(crowd.addr, crowd.size + 1).await?;
    // It is told who comes and goes: nobody looks, but somebody has to take it.
    tokio::spawn(async move { copy(&mut events, &mut sink()).await });
    for number in 0..WARM_UP {
        let (_, heard) = fan_out(crowd, &mut poster, number).await?;
        ensure!(
            heard == crowd.size,
            "{heard} of {} heard a warm-up message",
            crowd.size
        );
    }
    server::settle(pid).await?;

    let cpu = server::cpu(pid)?;
    let (mut times, mut heard) = (Vec::new(), 0);
    for number in WARM_UP..WARM_UP + messages {
        let (time, by) = fan_out(crowd, &mut poster, number).await?;
        times.push(time);
        heard += by;
        progress.show(&format!("fan-out {}/{messages}", times.len()));
    }
    server::settle(pid).await?;
    let cpu = server::cpu(pid)?.checked_sub(cpu);
    let cpu = cpu.context("a thread ended, and its CPU time is gone")?;
    let used = server::rss(pid)?;

    let (start, repeats) = (Instant::now(), crowd.repeats.load(Relaxed));
    crowd.storm();
    all_joined(crowd, 2, "reconnecting", progress).await?;
    let storm = start.elapsed();

    let each_kib = |kib: u64| kib.saturating_sub(before) as f64 / crowd.size as f64;
    times.sort();
    Ok(Figures {
        cpu_us: cpu.as_secs_f64() * 1e6 / heard as f64,
        idle_kib: each_kib(idle),
        used_kib: each_kib(used),
        p50_ms: percentile(&times, 50).as_secs_f64() * 1e3,
        p99_ms: percentile(&times, 99).as_secs_f64() * 1e3,
        lost: (crowd.size * messages).saturating_sub(heard) as f64,
        storm_s: storm.as_secs_f64(),
        repeats: (crowd.repeats.load(Relaxed) - repeats) as f64,
    })
}

/// Until every reader has been told `times` times who it is.
async fn all_joined(
    crowd: &Crowd,
    times: usize,
    doing: &str,
    progress: &Progress,
) -> Result<()> {
    let (start, size) = (Instant::now(), crowd.size);
    let mut joined = crowd.joined.subscribe();
    loop {
        let all = joined.wait_for(|joined| *joined == times * size);
        if timeout(Duration::from_millis(200), all).await.is_ok() {
            return Ok(());
        }
        let now = *crowd.joined.borrow() - (times - 1) * size;
        progress.show(&format!("{doing} {now}/{size}"));
        if start.elapsed() > CONNECTED {
            let failure = crowd.last_failure.borrow().clone();
            bail!(
                "{doing}: {now} of {size} after {CONNECTED:?}; last failure: {failure}"
            );
        }
    }
}

/// From the start of the POST to the last delivery, and how many readers it reached.
async fn fan_out(
    crowd: &Crowd,
    poster: &mut Poster,
    number: usize,
) -> Result<(Duration, usize)> {
    let mut all_heard = crowd.all_heard.subscribe();
    let start = Instant::now();
    let deadline = start + PATIENCE;
    let text = message(number);
    let posted = timeout_at(deadline, poster.post(&text)).await;
    posted.context("no answer to a POST within 10 s")??;
    let done = all_heard.wait_for(|last| last.is_some_and(|(n, _)| n == number));
    let time = match timeout_at(deadline, done).await {
        Ok(last) => last?.map_or(PATIENCE, |(_, at)| at - start),
        Err(_) => PATIENCE,
    };
    Ok((time, crowd.heard[number].load(Relaxed)))
}

/// The nearest-rank percentile of sorted values.
pub fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_a_value_that_was_measured() {
        let ms = |range: std::ops::RangeInclusive<u64>| {
            range.map(Duration::from_millis).collect::<Vec<_>>()
        };
        assert_eq!(percentile(&ms(1..=100), 50), Duration::from_millis(50));
        assert_eq!(percentile(&ms(1..=100), 99), Duration::from_millis(99));
        assert_eq!(percentile(&ms(1..=5), 50), Duration::from_millis(3));
        assert_eq!(percentile(&ms(1..=5), 99), Duration::from_millis(5));
        assert_eq!(percentile(&ms(7..=7), 50), Duration::from_millis(7));
    }
}
