//! What a relay adds to the tokens of a language model: time, CPU, and, if it is wrong,
//! gaps.

mod reader;
mod upstream;

use std::fmt::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::ValueEnum;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use self::reader::Heard;
use self::upstream::Plan;
use crate::report::{Progress, middle};
use crate::round::percentile;
use crate::server::{self, Built, LLM, PEER_RELAY, Program};

/// The time before each token: 50 tokens a second, as a fast model sends.
const PACE: Duration = Duration::from_millis(20);
/// An answer that is this late has not come.
const PATIENCE: Duration = Duration::from_secs(10);

/// Compare relays of a language model's tokens: reading directly, peer-relay, and llm
///
/// Plays the model server and the readers. The relay runs on one core with one worker
/// thread. First one answer at a time, on an idle machine: how long a token takes from the
/// model server's write to the reader's read. Then many answers at once: which tokens are
/// lost, repeated or out of order, and what each costs. These answers begin spread over the time
/// between two tokens, as answers do that nobody starts together; else all their tokens
/// would come in one burst. An answer that does not come to its end is an error.
///
/// Prints one Markdown table: medians over the rounds, but sums of answers and tokens;
/// `added` is over reading directly, and CPU is the relay's process. With the defaults it takes about 3 minutes after building. Close what else runs on the machine.
#[derive(clap::Args)]
pub struct Args {
    /// Answers at once; llm generates 200 at most
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=200))]
    answers: u32,
    /// Tokens of each answer, one every 20 ms
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    tokens: u32,
    /// Rounds; in each, every way in turn, with a fresh server
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Measure these ways only
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    only: Vec<Way>,
    /// Write the table, and what it was measured with, to this file, too
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
}

/// From the model server to the reader.
#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum Way {
    Direct,
    PeerRelay,
    Llm,
}

impl Way {
    fn relay(self) -> Option<&'static Program> {
        match self {
            Self::Direct => None,
            Self::PeerRelay => Some(&PEER_RELAY),
            Self::Llm => Some(&LLM),
        }
    }

    fn name(self) -> &'static str {
        self.relay().map_or("direct", |program| program.name)
    }
}

pub fn measure(args: &Args) -> Result<()> {
    let mut ways = Vec::new();
    for way in Way::value_variants() {
        if args.only.is_empty() || args.only.contains(way) {
            ways.push((*way, way.relay().map(server::build).transpose()?));
        }
    }
    let core = crate::leave_a_core()?;
    let runtime = tokio::runtime::Runtime::new()?;
    let progress = Progress::new(args.rounds as usize * ways.len());
    let mut rounds = vec![Vec::new(); ways.len()];
    for round in 0..args.rounds as usize {
        for place in 0..ways.len() {
            // So that none always comes first, on a cool processor.
            let at = (round + place) % ways.len();
            let (way, server) = &ways[at];
            let name = format!("{}, round {}", way.name(), round + 1);
            progress.next(&name);
            let figures = one_round(*way, server.as_ref(), core, args);
            let figures = runtime.block_on(figures).context(name)?;
            progress.line(&figures.to_string());
            rounds[at].push(figures);
        }
    }
    let ways = ways.iter().map(|(way, _)| *way).zip(rounds);
    crate::publish(&table(&ways.collect::<Vec<_>>())?, args.save.as_deref())
}

#[derive(Clone, Debug)]
struct Figures {
    p50_ms: f64,
    p99_ms: f64,
    /// Of a relay only: reading directly costs no server anything.
    load: Option<Load>,
}

/// What many answers at once were.
#[derive(Clone, Debug)]
struct Load {
    p99_ms: f64,
    cpu_us: f64,
    answers: usize,
    tokens: usize,
    lost: usize,
    repeated: usize,
    out_of_order: usize,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a token takes {:.3} ms (p99 {:.3} ms)",
            self.p50_ms, self.p99_ms
        )?;
        let Some(load) = &self.load else { return Ok(()) };
        write!(
            f,
            "; {} answers at once: p99 {:.3} ms, {:.2} µs a token, {} tokens, {} lost, \
             {} repeated, {} out of order",
            load.answers,
            load.p99_ms,
            load.cpu_us,
            load.tokens,
            load.lost,
            load.repeated,
            load.out_of_order
        )
    }
}

impl Figures {
    fn new(heard: &Heard, load: Option<Load>) -> Self {
        let times = Times::of([heard]);
        Self {
            p50_ms: times.percentile_ms(50),
            p99_ms: times.percentile_ms(99),
            load,
        }
    }
}

impl Load {
    fn new(heard: &[Heard], cpu: Duration) -> Self {
        let sum = |count: fn(&Heard) -> usize| heard.iter().map(count).sum();
        let tokens: usize = sum(|heard| heard.times.len());
        Self {
            p99_ms: Times::of(heard).percentile_ms(99),
            cpu_us: cpu.as_secs_f64() * 1e6 / tokens as f64,
            answers: heard.len(),
            tokens,
            lost: sum(|heard| heard.sequence.lost()),
            repeated: sum(|heard| heard.sequence.repeated),
            out_of_order: sum(|heard| heard.sequence.out_of_order),
        }
    }
}

/// Sorted.
struct Times(Vec<Duration>);

impl Times {
    fn of<'a>(heard: impl IntoIterator<Item = &'a Heard>) -> Self {
        let all = heard.into_iter().flat_map(|heard| &heard.times);
        let mut times: Vec<_> = all.copied().collect();
        times.sort();
        Self(times)
    }

    fn percentile_ms(&self, percent: usize) -> f64 {
        percentile(&self.0, percent).as_secs_f64() * 1e3
    }
}

/// What every reader of a round has in common.
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
async fn one_round(
    way: Way,
    server: Option<&Built>,
    core: usize,
    args: &Args,
) -> Result<Figures> {
    let origin = Instant::now();
    let upstream = upstream::start(origin).await?;
    let plan = Plan { pace: PACE, tokens: args.tokens as usize };
    let round = Round { way, plan, origin };
    let Some(server) = server else {
        return Ok(Figures::new(&round.read(upstream).await?, None));
    };
    let base = format!("http://{upstream}/v1");
    let variables = [
        ("OPENAI_BASE_URL", base.as_str()),
        ("OPENAI_MODEL", "scripted"),
        ("OPENAI_API_KEY", ""),
        ("NO_PROXY", "127.0.0.1"),
    ];
    let mut running = server.start_with(&core.to_string(), &variables).await?;
    let (addr, pid) = (running.addr, running.pid);
    let work = async {
        let one = round.read(addr).await?;
        server::settle(pid).await?;
        let cpu = server::cpu(pid)?;
        let many = round.read_many(addr, args.answers).await?;
        server::settle(pid).await?;
        let cpu = server::cpu(pid)?.checked_sub(cpu);
        let cpu = cpu.context("a thread ended, and its CPU time is gone")?;
        Ok(Figures::new(&one, Some(Load::new(&many, cpu))))
    };
    running.during(work).await
}

const HEAD: &str = "\
| way | made with | token p50 | p99 | added p50 | added p99 | p99 under load \
| answers done | tokens | lost | repeated | out of order | CPU per token | × peer-relay |
| --- | --- | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: |
";

/// Medians over the rounds; but of tokens the sums, so that not one that is lost is hidden.
fn table(ways: &[(Way, Vec<Figures>)]) -> Result<String> {
    let rounds =
        |way| ways.iter().find(|(w, _)| *w == way).map(|(_, rounds)| rounds);
    let direct = rounds(Way::Direct);
    let least =
        rounds(Way::PeerRelay).map(|rounds| of_load(rounds, |load| load.cpu_us));
    let mut table = HEAD.to_string();
    for (way, rounds) in ways {
        let made_with = way.relay().map_or(Ok("–".into()), Program::framework)?;
        write!(table, "| {} | {made_with} |", way.name())?;
        let latencies: [fn(&Figures) -> f64; 2] = [|f| f.p50_ms, |f| f.p99_ms];
        for of in latencies {
            write!(table, " {:.3} ms |", median(rounds, of))?;
        }
        for of in latencies {
            match direct {
                Some(direct) if *way != Way::Direct => {
                    let added = median(rounds, of) - median(direct, of);
                    write!(table, " {added:.3} ms |")?;
                }
                _ => table.push_str(" – |"),
            }
        }
        if *way == Way::Direct {
            writeln!(table, "{}", " – |".repeat(8))?;
            continue;
        }
        write!(table, " {:.3} ms |", of_load(rounds, |load| load.p99_ms))?;
        let counts: [fn(&Load) -> usize; 5] = [
            |load| load.answers,
            |load| load.tokens,
            |load| load.lost,
            |load| load.repeated,
            |load| load.out_of_order,
        ];
        for count in counts {
            let loads = rounds.iter().filter_map(|figures| figures.load.as_ref());
            write!(table, " {} |", loads.map(count).sum::<usize>())?;
        }
        let cpu = of_load(rounds, |load| load.cpu_us);
        let times =
            least.map_or("–".into(), |least| format!("{:.2}", cpu / least));
        writeln!(table, " {cpu:.2} µs | {times} |")?;
    }
    Ok(table)
}

fn median(rounds: &[Figures], of: fn(&Figures) -> f64) -> f64 {
    middle(rounds.iter().map(of).collect())
}

fn of_load(rounds: &[Figures], of: fn(&Load) -> f64) -> f64 {
    middle(
        rounds.iter().filter_map(|figures| figures.load.as_ref().map(of)).collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(ms: f64, load: Option<(f64, usize)>) -> Figures {
        let load = load.map(|(cpu_us, lost)| Load {
            p99_ms: ms,
            cpu_us,
            answers: 2,
            tokens: 10 - lost,
            lost,
            repeated: 0,
            out_of_order: 0,
        });
        Figures { p50_ms: ms, p99_ms: 2.0 * ms, load }
    }

    #[test]
    fn the_table_has_medians_but_hides_no_token_that_is_lost() {
        let relay = |cpu: f64, lost| figures(0.5, Some((cpu, lost)));
        let ways = [
            (Way::Direct, vec![figures(0.1, None); 3]),
            (Way::PeerRelay, vec![relay(10.0, 0); 3]),
            (Way::Llm, vec![relay(15.0, 0), relay(99.0, 1), relay(14.0, 0)]),
        ];
        let table = table(&ways).unwrap();
        let rows: Vec<_> = table.lines().skip(2).collect();
        assert_eq!(
            rows[0],
            "| direct | – | 0.100 ms | 0.200 ms | – | – | – | – | – | – | – | – | – | – |"
        );
        assert!(
            rows[2].ends_with(
                "| 0.500 ms | 1.000 ms | 0.400 ms | 0.800 ms | 0.500 ms | 6 | 29 | 1 | 0 | 0 \
                 | 15.00 µs | 1.50 |"
            ),
            "{table}"
        );
    }
}
