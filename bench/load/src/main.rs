//! The costs of Server-Sent Events, measured the same way for several servers and compared
//! with the least this machine can do.
//!
//!     cd bench && cargo run --release
//!     cargo run --release -- --only floor,chat --readers 1000
//!     cargo run --release -- ab --before /tmp/chat --after ../target/release/examples/chat
//!     cargo run --release -- memory
//!     cargo run --release -- tokens
//!     cargo run --release -- feed
//!     cargo run --release -- hostile
//!     cargo run --release -- stops --program chat

mod feed;
mod hostile;
mod http;
mod machine;
mod progress;
mod room;
mod scan;
mod server;
mod statistics;
mod stops;
mod tokens;

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

/// Compare servers of one SSE room: N readers, one message at a time
///
/// Builds each server, runs it on one core with one worker thread, and
/// loads it from the other cores. Prints one Markdown table, with ratios to `floor`: bare
/// sockets, the least this machine can do. With the defaults and 4 cores it takes about
/// 12 minutes after building. Close what else runs on the machine.
#[derive(Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(flatten)]
    room: room::Args,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    Ab(room::ab::Args),
    /// Record how memory grows when a reader stops reading: chat_naive against chat
    Memory,
    /// Print the rows of the book's table, from a table that --save has written
    Ratios {
        /// As in recorded/table.md
        file: PathBuf,
    },
    Tokens(tokens::Args),
    Feed(feed::Args),
    Hostile(hostile::Args),
    Stops(stops::Args),
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    if cfg!(debug_assertions) {
        eprintln!("warning: without --release, no figure means anything");
    }
    match cli.command {
        None => room::measure(&cli.room),
        Some(Command::Ab(args)) => room::ab::measure(&args),
        Some(Command::Memory) => room::memory::record(),
        Some(Command::Ratios { file }) => {
            let table = std::fs::read_to_string(&file)
                .with_context(|| format!("cannot read {}", file.display()))?;
            print!("{}", room::table::ratios(&table)?);
            Ok(())
        }
        Some(Command::Tokens(args)) => tokens::measure(&args),
        Some(Command::Feed(args)) => feed::measure(&args),
        Some(Command::Hostile(args)) => hostile::hostile(&args),
        Some(Command::Stops(args)) => stops::stops(&args),
    }
}
