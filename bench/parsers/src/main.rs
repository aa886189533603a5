//! What Rust's parsers of Server-Sent Events make of every case of `tests/cases.toml`, and
//! how fast they are.
//!
//!     cd bench && cargo run --release -p parsers
//!     cargo run --release -p parsers -- --only conformance --verbose

#[allow(dead_code)] // no test here looks at it
#[path = "../../../tests/harness/cases.rs"]
mod cases;
mod conformance;
#[allow(dead_code)] // as the cases
#[path = "../../../examples/client/parser.rs"]
mod parser;
mod report;
mod speed;
mod subjects;
mod worker;

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand, ValueEnum};
use record::{root, with_circumstances};

/// Compare Rust's parsers of Server-Sent Events
///
/// Feeds each case of tests/cases.toml to each parser whole, in two pieces and byte by
/// byte, and prints what it gets wrong; then measures their speed. Takes some minutes.
/// Close what else runs on the machine.
#[derive(Parser)]
struct Cli {
    /// One of the two tables
    #[arg(long)]
    only: Option<Which>,
    /// Say of each case that fails what came of it
    #[arg(long)]
    verbose: bool,
    /// Write conformance.md and parsing.md to this folder, too
    #[arg(long, value_name = "DIR")]
    save: Option<PathBuf>,
    #[command(subcommand)]
    work: Option<Work>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Which {
    Conformance,
    Speed,
}

/// What a process of its own does, so that it can be ended.
#[derive(Subcommand)]
enum Work {
    #[command(hide = true)]
    Conformance { subject: String, first: usize },
    #[command(hide = true)]
    Speed { subject: String, load: String },
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    match &cli.work {
        Some(Work::Conformance { subject, first }) => {
            return conformance::work(subject, *first);
        }
        Some(Work::Speed { subject, load }) => return speed::work(subject, load),
        None => {}
    }
    for (which, file, table) in [
        (Which::Conformance, "conformance.md", conformance::table as fn(bool) -> _),
        (Which::Speed, "parsing.md", speed::table),
    ] {
        if cli.only.is_none_or(|only| only == which) {
            let table =
                with_circumstances(Some("parsers"), &[], &table(cli.verbose)?)?;
            println!("{table}");
            if let Some(folder) = &cli.save {
                let file = folder.join(file);
                fs::write(&file, &table)
                    .with_context(|| format!("cannot write {}", file.display()))?;
            }
        }
    }
    Ok(())
}
