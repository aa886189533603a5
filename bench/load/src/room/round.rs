//! One round: a fresh server, readers, messages, and a reconnect storm.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use indicatif::ProgressBar;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

use super::reader::{Crowd, Poster, message};
use crate::machine::{leave_a_core, raise_open_files};
use crate::progress::rounds;
use crate::server::{self, Binary};
use crate::statistics::{ms, p50_p99};

/// A message that a reader has not heard after this time is lost on it.
const PATIENCE: Duration = Duration::from_secs(10);
/// Within this time all readers are connected, or the round has failed.
const CONNECTED: Duration = Duration::from_secs(120);
/// Messages before the measured ones: the first ones find cold caches and small buffers.
const WARM_UP: usize = 5;

/// How large a room is, and how long it is measured.
#[derive(clap::Args)]
pub struct Size {
    /// Readers in the room
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub readers: u32,
    /// Messages measured in each round; p99 is a percentile over these
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    pub messages: u32,
    /// Rounds; the table shows the median over them
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub rounds: u32,
    /// Write the table, and what it was measured with, to this file, too
    #[arg(long, value_name = "FILE")]
    pub save: Option<PathBuf>,
}

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

/// Measures each of these servers, which have a name, in each round.
pub fn measure(
    servers: &[(&str, Binary)],
    size: &Size,
) -> Result<Vec<Vec<Figures>>> {
    raise_open_files(size.readers)?;
    let core = leave_a_core()?;
    let runtime = Runtime::new()?;
    rounds(size.rounds, servers, |server, progress| {
        runtime.block_on(one_round(server, &core, size, progress))
    })
}

/// Starts the server on this core, loads it and ends it.
async fn one_round(
    server: &Binary,
    core: &str,
    size: &Size,
    progress: &ProgressBar,
) -> Result<Figures> {
    let mut running = server.start(core, &[]).await?;
    let pid = running.pid;
    let readers = size.readers as usize;
    let messages = size.messages as usize;
    let crowd = Arc::new(Crowd::new(
        running.addr,
        readers,
        WARM_UP + messages,
        progress.clone(),
    ));
    let before = server::rss(pid)?;
    let mut tasks = JoinSet::new();
    for number in 1..=readers {
        let crowd = crowd.clone();
        tasks.spawn(async move { crowd.reader(number).await });
    }
    let work = async {
        tokio::select! {
            figures = load(&crowd, pid, before) => figures,
            Some(end) = tasks.join_next() => Err(match end {
                Ok(Err(error)) => error,
                Err(error) => error.into(),
            }),
        }
    };
    running.during(work).await
}

async fn load(crowd: &Crowd, pid: u32, before: u64) -> Result<Figures> {
    let size = crowd.size;
    let messages = crowd.heard.len() - WARM_UP;
    all_joined(crowd, 1, "connecting").await?;
    server::settle(&[pid]).await?;
    let idle = server::rss(pid)?;

    let mut poster = Poster::join(crowd.addr, size + 1).await?;
    for number in 0..WARM_UP {
        let (_, heard) = fan_out(crowd, &mut poster, number).await?;
        ensure!(heard == size, "{heard} of {size} heard a warm-up message");
    }
    server::settle(&[pid]).await?;

    let cpu = server::cpu(&[pid])?;
    let mut times = Vec::new();
    let mut heard = 0;
    for number in WARM_UP..WARM_UP + messages {
        let (time, by) = fan_out(crowd, &mut poster, number).await?;
        times.push(ms(time));
        heard += by;
        crowd.progress.set_message(format!("fan-out {}/{messages}", times.len()));
    }
    server::settle(&[pid]).await?;
    let cpu_us = server::cpu_us(&[pid], cpu, heard)?;
    let used = server::rss(pid)?;

    let repeats = crowd.repeats.load(Relaxed);
    let start = Instant::now();
    crowd.storm();
    all_joined(crowd, 2, "reconnecting").await?;
    let storm = start.elapsed();

    let each_kib = |kib: u64| kib.saturating_sub(before) as f64 / size as f64;
    let [p50_ms, p99_ms] = p50_p99(times);
    Ok(Figures {
        cpu_us,
        idle_kib: each_kib(idle),
        used_kib: each_kib(used),
        p50_ms,
        p99_ms,
        lost: (size * messages).saturating_sub(heard) as f64,
        storm_s: storm.as_secs_f64(),
        repeats: (crowd.repeats.load(Relaxed) - repeats) as f64,
    })
}

/// Waits until every reader has been told `times` times who it is.
async fn all_joined(crowd: &Crowd, times: usize, doing: &str) -> Result<()> {
    let start = Instant::now();
    let size = crowd.size;
    let mut joined = crowd.joined.subscribe();
    loop {
        let all = joined.wait_for(|joined| *joined == times * size);
        if timeout(Duration::from_millis(200), all).await.is_ok() {
            return Ok(());
        }
        let now = *crowd.joined.borrow() - (times - 1) * size;
        crowd.progress.set_message(format!("{doing} {now}/{size}"));
        if start.elapsed() > CONNECTED {
            let failure = crowd.last_failure.borrow().clone();
            bail!(
                "{doing}: {now} of {size} after {CONNECTED:?}; last failure: {failure}"
            );
        }
    }
}

/// The time from the start of the POST to the last delivery, and how many readers it
/// reached.
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
