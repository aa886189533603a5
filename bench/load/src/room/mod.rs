//! One room, N readers, one message at a time: CPU, memory and time of several servers,
//! compared with the least this machine can do.

pub mod ab;
pub mod memory;
mod reader;
mod round;
pub mod table;

use anyhow::Result;
use clap::builder::PossibleValuesParser;
use record::publish;

use self::round::Size;
use crate::server::{Home, Program};

/// The servers that are compared. `floor` comes first: all ratios are to it.
const PROGRAMS: [Program; 6] = [
    Program { home: Home::Bench, name: "floor", made_with: "tokio" },
    Program { home: Home::Bench, name: "peer-hyper", made_with: "hyper" },
    Program { home: Home::Bench, name: "peer-actix", made_with: "actix-web" },
    Program { home: Home::Bench, name: "peer-axum", made_with: "axum" },
    CHAT,
    CHAT_NAIVE,
];
const CHAT: Program = Program { home: Home::Book, name: "chat", made_with: "salvo" };
const CHAT_NAIVE: Program =
    Program { home: Home::Book, name: "chat_naive", made_with: "salvo" };

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    size: Size,
    /// Measure these servers only
    #[arg(long, value_name = "NAME", value_delimiter = ',',
        value_parser = PossibleValuesParser::new(PROGRAMS.map(|program| program.name)))]
    only: Vec<String>,
}

pub fn measure(args: &Args) -> Result<()> {
    let chosen = PROGRAMS.iter().filter(|program| {
        args.only.is_empty() || args.only.iter().any(|n| n == program.name)
    });
    let chosen: Vec<_> = chosen.collect();
    let servers = chosen.iter().map(|program| Ok((program.name, program.build()?)));
    let servers = servers.collect::<Result<Vec<_>>>()?;
    let figures = round::measure(&servers, &args.size)?;
    let servers: Vec<_> = chosen.into_iter().zip(figures).collect();
    publish(
        "cargo run --release",
        &table::table(&servers)?,
        args.size.save.as_deref(),
    )
}
