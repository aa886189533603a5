//! Which embedded store an event log should use: what each one costs, and what it does when it
//! is killed, its files are damaged, or the disk is full.
//!
//!     cd bench && cargo run --release -p stores
//!     cargo run --release -p stores -- --only damage

mod cold;
mod crash;
mod damage;
mod engines;
mod full;
mod report;
mod speed;
mod worker;

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand, ValueEnum};
use record::{version, with_circumstances};

use engines::{Check, Engine};

/// Compare embedded stores as an event log
///
/// Commits, reads, kills, damages and fills up redb, fjall, SQLite and plain files, and prints
/// what came of it. Takes about a quarter of an hour. Close what else runs on the machine. A
/// full disk needs root: it is a tmpfs of 4 MB, mounted in a temporary folder.
#[derive(Parser)]
struct Cli {
    /// Some of the tables
    #[arg(long)]
    only: Vec<Which>,
    /// Without building each engine alone
    #[arg(long)]
    skip_builds: bool,
    /// How often each engine is killed
    #[arg(long, default_value_t = 100)]
    kills: u64,
    /// How many single bytes are flipped
    #[arg(long, default_value_t = 200)]
    flips: u64,
    /// Where the stores are, on the disk that counts [default: beside this program]
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Write stores.md to this folder, too, and of all tables stores-short.md
    #[arg(long, value_name = "DIR")]
    save: Option<PathBuf>,
    #[command(subcommand)]
    work: Option<Work>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Which {
    Speed,
    Kills,
    Damage,
    Full,
    Builds,
}

/// What a process of its own does, so that it can be killed or panic.
#[derive(Subcommand)]
enum Work {
    #[command(hide = true)]
    Append { engine: Engine, folder: PathBuf, seed: u64 },
    #[command(hide = true)]
    Hold { engine: Engine, folder: PathBuf, events: u64 },
    #[command(hide = true)]
    Examine { engine: Engine, check: Check, folder: PathBuf, events: u64 },
    #[command(hide = true)]
    Full { engine: Engine, folder: PathBuf, way: full::Way },
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    match &cli.work {
        Some(Work::Append { engine, folder, seed }) => {
            return crash::append(*engine, folder, *seed);
        }
        Some(Work::Hold { engine, folder, events }) => {
            return crash::hold(*engine, folder, *events);
        }
        Some(Work::Examine { engine, check, folder, events }) => {
            return damage::examine(*engine, *check, folder, *events);
        }
        Some(Work::Full { engine, folder, way }) => {
            return full::fill(*engine, folder, *way);
        }
        None => {}
    }
    let beside = std::env::current_exe()?;
    let beside = beside.parent().context("a folder")?;
    let dir = cli.dir.as_deref().unwrap_or(beside);
    let dir = tempfile::Builder::new().prefix("stores-").tempdir_in(dir)?;
    let wants = |which| cli.only.is_empty() || cli.only.contains(&which);
    let mut tables = Vec::new();
    if wants(Which::Speed) {
        tables.push(speed::table(dir.path())?);
    }
    if wants(Which::Kills) {
        tables.push(crash::table(dir.path(), cli.kills)?);
    }
    if wants(Which::Damage) {
        tables.push(damage::table(dir.path(), cli.flips)?);
    }
    if wants(Which::Full) {
        tables.push(full::table(dir.path())?);
    }
    if wants(Which::Builds) && !cli.skip_builds {
        tables.push(cold::table(dir.path())?);
    }
    let mut programs = Vec::new();
    for engine in ["redb", "fjall", "rusqlite"] {
        programs.push(format!("{engine} {}", version(engine)?));
    }
    programs.push(format!("SQLite {}", rusqlite::version()));
    let table = with_circumstances(Some("stores"), &programs, &tables.join("\n"))?;
    println!("{table}");
    if let Some(folder) = &cli.save {
        let file = folder.join("stores.md");
        fs::write(&file, &table)
            .with_context(|| format!("cannot write {}", file.display()))?;
        if cli.only.is_empty() && !cli.skip_builds {
            fs::write(folder.join("stores-short.md"), report::short(&table)?)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_short_table_is_made_of_the_recorded_one() {
        let recorded = record::root().join("bench/recorded");
        let read = |file| std::fs::read_to_string(recorded.join(file)).unwrap();
        let short = crate::report::short(&read("stores.md")).unwrap();
        assert_eq!(short, read("stores-short.md"));
    }
}
