//! What one room of Server-Sent Events costs: CPU, memory and time of several servers,
//! measured the same way and compared with the least this machine can do.
//!
//!     cd bench && cargo run --release
//!     cargo run --release -- --only floor,chat --readers 1000
//!     cargo run --release -- memory
//!     cargo run --release -- tokens
//!     cargo run --release -- feed

mod feed;
mod http;
mod memory;
mod reader;
mod report;
mod round;
mod server;
mod tokens;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::builder::PossibleValuesParser;
use clap::{Args, Parser, Subcommand};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::server::PROGRAMS;

/// Compare servers of one SSE room: N readers, one message at a time
///
/// Builds each server in release mode, runs it on one core with one worker thread, and
/// loads it from the other cores. Prints one Markdown table, with ratios to `floor`: bare
/// sockets, the least this machine can do. With the defaults and 4 cores it takes about
/// 13 minutes after building. Close what else runs on the machine.
#[derive(Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(flatten)]
    compare: Compare,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Record how memory grows when a reader stops reading: chat_naive against chat
    Memory,
    /// Print the rows of the book's table, from a table that --save has written
    Ratios {
        /// As in recorded/table.md
        file: PathBuf,
    },
    Tokens(tokens::Args),
    Feed(feed::Args),
}

#[derive(Args)]
struct Compare {
    /// Readers in the room
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    readers: u32,
    /// Messages measured in each round; p99 is a percentile over these
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    messages: u32,
    /// Rounds; the table shows the median over them
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Measure these servers only
    #[arg(long, value_name = "NAME", value_delimiter = ',',
        value_parser = PossibleValuesParser::new(PROGRAMS.map(|program| program.name)))]
    only: Vec<String>,
    /// Write the table, and what it was measured with, to this file, too
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    match cli.command {
        None => compare(&cli.compare),
        Some(Command::Memory) => memory::record(),
        Some(Command::Ratios { file }) => {
            let table = std::fs::read_to_string(&file);
            let table =
                table.with_context(|| format!("cannot read {}", file.display()))?;
            print!("{}", report::ratios(&table)?);
            Ok(())
        }
        Some(Command::Tokens(args)) => tokens::measure(&args),
        Some(Command::Feed(args)) => feed::measure(&args),
    }
}

fn compare(args: &Compare) -> Result<()> {
    raise_open_files(args.readers)?;
    let chosen = PROGRAMS.iter().filter(|program| {
        args.only.is_empty() || args.only.iter().any(|n| n == program.name)
    });
    let servers = chosen.map(server::build).collect::<Result<Vec<_>>>()?;
    let core = leave_a_core()?;
    let mut rounds = vec![Vec::new(); servers.len()];
    let runtime = tokio::runtime::Runtime::new()?;
    let progress = report::Progress::new(args.rounds as usize * servers.len());
    for round in 0..args.rounds as usize {
        for place in 0..servers.len() {
            // So that no server always comes first, on a cool processor.
            let at = (round + place) % servers.len();
            let server = &servers[at];
            progress.next(&format!("{}, round {}", server.program.name, round + 1));
            let figures = runtime
                .block_on(round::measure(server, core, args, &progress))
                .with_context(|| {
                    format!("{} in round {}", server.program.name, round + 1)
                })?;
            progress.line(&figures.to_string());
            rounds[at].push(figures);
        }
    }
    let programs = servers.iter().map(|server| server.program);
    let table = report::table(programs.zip(rounds.iter().map(Vec::as_slice)))?;
    publish(&table, args.save.as_deref())
}

/// Prints the table, and writes it where --save says.
fn publish(table: &str, save: Option<&Path>) -> Result<()> {
    print!("{table}");
    if let Some(path) = save {
        std::fs::write(path, record::with_circumstances(None, &[], table)?)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// For this process and, by inheritance, the servers: each has a socket for each reader.
fn raise_open_files(readers: u32) -> Result<()> {
    let needed = u64::from(readers) + 100;
    let limit = rlimit::increase_nofile_limit(u64::MAX)?;
    ensure!(
        limit >= needed,
        "{readers} readers need {needed} open files, and the hard limit is {limit}: \
         raise it (`sudo prlimit --pid $$ --nofile={needed}:{needed}` in this shell) \
         or ask for fewer with --readers"
    );
    Ok(())
}

/// Keeps this process and its threads off the core that the servers run on.
fn leave_a_core() -> Result<usize> {
    let mut cores = sched_getaffinity(None)?;
    let first = (0..CpuSet::MAX_CPU).find(|core| cores.is_set(*core)).unwrap_or(0);
    if cores.count() == 1 {
        eprintln!(
            "warning: one core, shared by server and readers: mind the CPU only"
        );
    } else {
        cores.unset(first);
        sched_setaffinity(None, &cores)?;
    }
    Ok(first)
}
