//! The same program before and after a change: do its figures differ by more than those of
//! one program do from round to round?

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::{Result, ensure};
use record::publish;

use super::round::{self, Figures, Size};
use crate::server::Binary;
use crate::statistics::median;

/// Compare one server of the room before and after a change
///
/// Both are programs that are built already. They are measured in turn: before, after;
/// after, before; and so on. Prints each round's CPU per delivery and memory per reader,
/// their ratios, and how far these are apart. On one core and one worker thread, loaded from
/// the other cores; two cores are enough.
#[derive(clap::Args)]
pub struct Args {
    /// The program as it was
    #[arg(long, value_name = "PROGRAM")]
    before: PathBuf,
    /// The program as it is now
    #[arg(long, value_name = "PROGRAM")]
    after: PathBuf,
    #[command(flatten)]
    size: Size,
}

pub fn measure(args: &Args) -> Result<()> {
    for path in [&args.before, &args.after] {
        ensure!(path.is_file(), "{} is no program", path.display());
    }
    let servers = [("before", &args.before), ("after", &args.after)]
        .map(|(name, path)| (name, Binary(path.clone())));
    let figures = round::measure(&servers, &args.size)?;
    publish(
        "cargo run --release",
        &table(&figures[0], &figures[1])?,
        args.size.save.as_deref(),
    )
}

/// Each round by itself, then the medians, and the least and the largest ratio of a round.
fn table(before: &[Figures], after: &[Figures]) -> Result<String> {
    type Measure = (&'static str, &'static str, fn(&Figures) -> f64);
    let measures: [Measure; 3] = [
        ("CPU per delivery", "µs", |figures| figures.cpu_us),
        ("memory per reader, idle", "KiB", |figures| figures.idle_kib),
        ("memory per reader, after messages", "KiB", |figures| figures.used_kib),
    ];
    let mut table =
        "| | before | after | after ÷ before |\n| --- | --: | --: | --: |\n"
            .to_string();
    for (name, unit, of) in measures {
        let mut row = |label: &str, before: f64, after: f64| {
            let ratio = after / before;
            let cells =
                format!("{before:.2} {unit} | {after:.2} {unit} | {ratio:.3}");
            writeln!(table, "| {name}, {label} | {cells} |")?;
            anyhow::Ok(ratio)
        };
        let before: Vec<_> = before.iter().map(of).collect();
        let after: Vec<_> = after.iter().map(of).collect();
        let mut ratios = Vec::new();
        for (number, (before, after)) in before.iter().zip(&after).enumerate() {
            ratios.push(row(&format!("round {}", number + 1), *before, *after)?);
        }
        row("median", median(before), median(after))?;
        ratios.sort_by(f64::total_cmp);
        let spread = ratios[0]..=ratios[ratios.len() - 1];
        let cells = format!("{:.3}–{:.3}", spread.start(), spread.end());
        writeln!(table, "| {name}, spread | | | {cells} |")?;
    }
    Ok(table)
}
