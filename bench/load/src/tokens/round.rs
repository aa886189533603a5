//! One round: one answer on an idle machine, then many at once.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::reader::{self, Heard, Way};
use super::upstream::{self, Plan};
use crate::server::{self, Binary, CpuTime};
use crate::statistics::{ms, p50_p99};

/// The time before each token: 50 tokens a second, as a fast model sends.
const PACE: Duration = Duration::from_millis(20);
/// An answer that is this late has not come.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Clone, Debug)]
pub struct Figures {
    pub p50_ms: f64,
    pub p99_ms: f64,
    /// A relay alone has this: reading directly costs no server anything.
    pub load: Option<Load>,
}

/// The figures of many answers at once.
#[derive(Clone, Debug)]
pub struct Load {
    pub p99_ms: f64,
    pub cpu_us: f64,
    pub answers: usize,
    pub tokens: usize,
    pub lost: usize,
    pub repeated: usize,
    pub out_of_order: usize,
}

impl Figures {
    fn new(heard: &Heard, load: Option<Load>) -> Self {
        let [p50_ms, p99_ms] = times([heard]);
        Self { p50_ms, p99_ms, load }
    }
}

impl Load {
    fn new(heard: &[Heard], cpu: Duration) -> Self {
        let sum = |count: fn(&Heard) -> usize| heard.iter().map(count).sum();
        let tokens: usize = sum(|heard| heard.times.len());
        let [_, p99_ms] = times(heard);
        Self {
            p99_ms,
            cpu_us: cpu.as_secs_f64() * 1e6 / tokens as f64,
            answers: heard.len(),
            tokens,
            lost: sum(|heard| heard.sequence.lost()),
            repeated: sum(|heard| heard.sequence.repeated),
            out_of_order: sum(|heard| heard.sequence.out_of_order),
        }
    }
}

/// The median and p99 of all tokens' times.
fn times<'a>(heard: impl IntoIterator<Item = &'a Heard>) -> [f64; 2] {
    let all = heard.into_iter().flat_map(|heard| &heard.times);
    p50_p99(all.map(|time| ms(*time)).collect())
}

/// The part that every reader of a round has in common.
#[derive(Clone, Copy)]
struct Round {
    way: Way,
    plan: Plan,
    origin: Instant,
}

impl Round {
    /// Asks the model server, or a relay, at this address.
    async fn read(self, addr: SocketAddr) -> Result<Heard> {
        let late = self.plan.pace * self.plan.tokens as u32 + PATIENCE;
        let heard = reader::read(self.way, addr, self.plan, self.origin);
        let heard = timeout(late, heard).await;
        heard.with_context(|| format!("an answer has no end after {late:?}"))?
    }

    async fn read_many(self, addr: SocketAddr, answers: u32) -> Result<Vec<Heard>> {
        let mut readers = JoinSet::new();
        for number in 0..answers {
            readers.spawn(async move {
                sleep(self.plan.pace * number / answers).await;
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
    tokens: usize,
    answers: u32,
) -> Result<Figures> {
    let origin = Instant::now();
    let upstream = upstream::start(origin).await?;
    let plan = Plan { pace: PACE, tokens };
    let round = Round { way, plan, origin };
    let Some(relay) = relay else {
        return Ok(Figures::new(&round.read(upstream).await?, None));
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
        let one = round.read(addr).await?;
        server::settle(pid).await?;
        let cpu = CpuTime::of(&[pid])?;
        let many = round.read_many(addr, answers).await?;
        server::settle(pid).await?;
        Ok(Figures::new(&one, Some(Load::new(&many, cpu.since()?))))
    };
    running.during(work).await
}
