//! One round: one answer on an idle machine, then many at once.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::Args;
use super::reader::{self, Heard, Way};
use super::upstream::{self, PACE};
use crate::server::{self, Binary};
use crate::statistics::{Counts, counts, p50_p99};

/// An answer that is this late has not come.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Clone, Debug)]
pub struct Figures {
    /// The median and p99 of a token's time on an idle machine, in ms.
    pub alone: [f64; 2],
    /// A relay alone has this: reading directly costs no server anything.
    pub load: Option<Load>,
}

/// The figures of many answers at once.
#[derive(Clone, Debug)]
pub struct Load {
    pub p99_ms: f64,
    pub cpu_us: f64,
    pub answers: usize,
    pub tokens: Counts,
}

/// The part that every reader of a round has in common.
#[derive(Clone, Copy)]
struct Round {
    way: Way,
    tokens: usize,
    origin: Instant,
}

impl Round {
    /// Asks the model server, or a relay, at this address.
    async fn read(self, addr: SocketAddr) -> Result<Heard> {
        let late = PACE * self.tokens as u32 + PATIENCE;
        let heard = reader::read(self.way, addr, self.tokens, self.origin);
        let heard = timeout(late, heard).await;
        heard.with_context(|| format!("an answer has no end after {late:?}"))?
    }

    async fn read_many(self, addr: SocketAddr, answers: u32) -> Result<Vec<Heard>> {
        let mut readers = JoinSet::new();
        for number in 0..answers {
            readers.spawn(async move {
                sleep(PACE * number / answers).await;
                self.read(addr).await.with_context(|| format!("reader {number}"))
            });
        }
        let mut all = Vec::new();
        while let Some(heard) = readers.join_next().await {
            all.push(heard??);
        }
        Ok(all)
    }
}

/// Starts the relay, if there is one, asks it for one answer, then for many, and ends it.
pub async fn measure(
    way: Way,
    relay: Option<&Binary>,
    core: &str,
    args: &Args,
) -> Result<Figures> {
    let origin = Instant::now();
    let upstream = upstream::start(origin).await?;
    let round = Round { way, tokens: args.tokens as usize, origin };
    let Some(relay) = relay else {
        let alone = p50_p99(round.read(upstream).await?.times);
        return Ok(Figures { alone, load: None });
    };
    let base = format!("http://{upstream}/v1");
    let variables = [
        ("OPENAI_BASE_URL", base.as_str()),
        ("OPENAI_MODEL", "scripted"),
        ("OPENAI_API_KEY", ""),
        ("NO_PROXY", "127.0.0.1"),
    ];
    let mut running = relay.start(core, &variables).await?;
    let addr = running.addr;
    let pid = running.pid;
    let work = async {
        let alone = p50_p99(round.read(addr).await?.times);
        server::settle(&[pid]).await?;
        let cpu = server::cpu(&[pid])?;
        let many = round.read_many(addr, args.answers).await?;
        server::settle(&[pid]).await?;
        let tokens = counts(&many);
        let cpu_us = server::cpu_us(&[pid], cpu, tokens[0])?;
        let answers = many.len();
        let times = many.into_iter().flat_map(|heard| heard.times);
        let [_, p99_ms] = p50_p99(times.collect());
        Ok(Figures { alone, load: Some(Load { p99_ms, cpu_us, answers, tokens }) })
    };
    running.during(work).await
}
