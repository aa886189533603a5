//! Compressed streams of events, as Salvo's `Compression` makes them: how small they become,
//! and what an encoder for each reader costs.
//!
//!     cd bench && cargo run --release -p squeeze

mod compressed;
mod costs;
mod sizes;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, Subcommand};
use record::publish;

/// Measure what compression does to streams of events
///
/// Reads what chat, a model's stand-in and llm have sent (tests/recorded/streams), and sends
/// it through Salvo's Compression, event by event; then measures memory and time of an
/// encoder for each reader. Takes a minute. Close what else runs on the machine.
#[derive(Parser)]
struct Cli {
    /// One of the two tables
    #[arg(long, value_parser = ["sizes", "costs"])]
    only: Option<String>,
    /// Readers whose encoders are counted
    #[arg(long, default_value_t = 1_000)]
    readers: usize,
    /// Write compressed.md and encoders.md to this folder, too
    #[arg(long, value_name = "DIR")]
    save: Option<PathBuf>,
    #[command(subcommand)]
    work: Option<Work>,
}

/// The work of a process of its own, whose memory has nothing else in it.
#[derive(Subcommand)]
enum Work {
    #[command(hide = true)]
    Memory { encoder: String, readers: usize },
}

const COMMAND: &str = "cargo run --release -p squeeze";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let cli = Cli::parse();
    if let Some(Work::Memory { encoder, readers }) = &cli.work {
        println!("{}", costs::memory(encoder, *readers).await?);
        return Ok(());
    }
    let file = |name| cli.save.as_ref().map(|folder| folder.join(name));
    if cli.only.as_deref() != Some("costs") {
        let table = sizes::table().await?;
        publish(COMMAND, &table, file("compressed.md").as_deref())?;
        println!();
    }
    if cli.only.as_deref() != Some("sizes") {
        let table = costs::table(cli.readers).await?;
        publish(COMMAND, &table, file("encoders.md").as_deref())?;
    }
    Ok(())
}
