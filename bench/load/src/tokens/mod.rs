//! The costs of a relay for the tokens of a language model: time, CPU, and, if it is wrong,
//! gaps.

mod reader;
mod round;
mod table;
mod upstream;

use std::path::PathBuf;

use anyhow::Result;
use clap::ValueEnum;
use record::publish;
use tokio::runtime::Runtime;

use self::reader::Way;
use crate::machine::leave_a_core;
use crate::progress::rounds;

/// Compare relays of a language model's tokens: reading directly, peer-relay, and llm
///
/// Plays the model server and the readers. The relay runs on one core with one worker
/// thread. First one answer at a time, on an idle machine: how long a token takes from the
/// model server's write to the reader's read. Then many answers at once: which tokens are
/// lost, repeated or out of order, and what each costs. These answers begin spread over
/// the time between two tokens, as answers do that nobody starts together; else all their
/// tokens would come in one burst. An answer that does not come to its end is an error.
///
/// Prints one Markdown table: medians over the rounds, but sums of answers and tokens;
/// `added` is over reading directly, and CPU is the relay's process. With the defaults it
/// takes about 3 minutes after building. Close what else runs on the machine.
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

pub fn measure(args: &Args) -> Result<()> {
    let mut ways = Vec::new();
    for way in Way::value_variants() {
        if args.only.is_empty() || args.only.contains(way) {
            let relay = way.relay().map(|program| program.build()).transpose()?;
            ways.push((way.name(), (*way, relay)));
        }
    }
    let core = leave_a_core()?;
    let runtime = Runtime::new()?;
    let figures = rounds(args.rounds, &ways, |(way, relay), _| {
        runtime.block_on(round::measure(*way, relay.as_ref(), &core, args))
    })?;
    let ways = ways.iter().map(|(_, (way, _))| *way).zip(figures);
    publish(
        "cargo run --release",
        &table::table(&ways.collect::<Vec<_>>())?,
        args.save.as_deref(),
    )
}
