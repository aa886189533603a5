//! Rust's parsers of Server-Sent Events, compared: how many cases of `tests/cases.toml` they
//! read right, and how fast they are.
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
mod speed;
mod subjects;
mod worker;

use std::path::PathBuf;

use anyhow::Result;
use clap::{ArgAction, Parser, Subcommand};
// The table of cases finds the repository by it, as in its own crate.
use record as binaries;
use record::{publish, root};

/// Compare Rust's parsers of Server-Sent Events
///
/// Feeds each case of tests/cases.toml to each parser whole, in two pieces and byte by
/// byte, and prints what it gets wrong; then measures their speed. Takes some minutes.
/// Close what else runs on the machine.
#[derive(Parser)]
struct Cli {
    /// One of the two tables
    #[arg(long, value_parser = ["conformance", "speed"])]
    only: Option<String>,
    /// Say of each case that fails what came of it
    #[arg(long)]
    verbose: bool,
    /// Cut long streams at few places only, and into no single bytes: for a test
    #[arg(long)]
    quick: bool,
    /// Write conformance.md and parsing.md to this folder, too
    #[arg(long, value_name = "DIR")]
    save: Option<PathBuf>,
    #[command(subcommand)]
    work: Option<Work>,
}

/// The work of a process of its own, so that it can be ended.
#[derive(Subcommand)]
enum Work {
    #[command(hide = true)]
    Conformance {
        subject: String,
        first: usize,
        #[arg(action = ArgAction::Set)]
        quick: bool,
    },
    #[command(hide = true)]
    Speed { subject: String, load: String },
}

const COMMAND: &str = "cargo run --release -p parsers";

fn main() -> Result<()> {
    let cli = Cli::parse();
    match &cli.work {
        Some(Work::Conformance { subject, first, quick }) => {
            return conformance::work(subject, *first, *quick);
        }
        Some(Work::Speed { subject, load }) => return speed::work(subject, load),
        None => {}
    }
    let file = |name| cli.save.as_ref().map(|folder| folder.join(name));
    if cli.only.as_deref() != Some("speed") {
        let table = conformance::table(cli.verbose, cli.quick)?;
        publish(COMMAND, &table, file("conformance.md").as_deref())?;
        println!();
    }
    if cli.only.as_deref() != Some("conformance") {
        publish(COMMAND, &speed::table()?, file("parsing.md").as_deref())?;
    }
    Ok(())
}
