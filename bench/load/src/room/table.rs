//! The room's table, and its rows in the book.

use std::fmt::Write;

use anyhow::{Context, Result};

use super::round::Figures;
use crate::server::Program;
use crate::statistics::median_of;

const HEAD: &str = "\
| server | made with | CPU per delivery | × floor | memory per reader, idle | after messages \
| fan-out p50 | p99 | p99/p50 ÷ floor's | lost | all reconnected | connects repeated |
| --- | --- | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: |
";

/// Medians over the rounds, and how many times the floor's they are.
pub fn table(servers: &[(&Program, Vec<Figures>)]) -> Result<String> {
    let floor = servers.iter().find(|(program, _)| program.name == "floor");
    let mut table = HEAD.to_string();
    for (program, rounds) in servers {
        let of = |of: fn(&Figures) -> f64| median_of(rounds, of);
        let times = |of: fn(&[Figures]) -> f64| match floor {
            Some((_, floor)) => format!("{:.2}", of(rounds) / of(floor)),
            None => "–".into(),
        };
        writeln!(
            table,
            "| {} | {} | {:.2} µs | {} | {:.1} KiB | {:.1} KiB | {:.1} ms | {:.1} ms \
             | {} | {} | {:.2} s | {} |",
            program.name,
            program.framework()?,
            of(|f| f.cpu_us),
            times(|rounds| median_of(rounds, |f| f.cpu_us)),
            of(|f| f.idle_kib),
            of(|f| f.used_kib),
            of(|f| f.p50_ms),
            of(|f| f.p99_ms),
            times(|rounds| {
                median_of(rounds, |f| f.p99_ms) / median_of(rounds, |f| f.p50_ms)
            }),
            of(|f| f.lost),
            of(|f| f.storm_s),
            of(|f| f.repeats)
        )?;
    }
    Ok(table)
}

/// The rows of the table in the book: the part of a saved table that holds on other
/// machines, too. CPU, median and tail of a fan-out, and the storm are times the floor's;
/// memory is times bare hyper's, the least that a server on hyper can reach.
pub fn ratios(table: &str) -> Result<String> {
    let rows: Vec<Vec<_>> = table
        .lines()
        .filter(|line| line.ends_with(" |") && !line.contains("--"))
        .map(|line| line.split('|').map(str::trim).collect())
        .collect();
    let number = |name: &str, column: &str| {
        let head = rows.first().context("the table has a head")?;
        let at = head.iter().position(|cell| *cell == column);
        let row = rows.iter().find(|row| row.get(1) == Some(&name));
        let cell = at.zip(row).and_then(|(at, row)| row.get(at)?.split(' ').next());
        let cell = cell.with_context(|| format!("no {column} of {name}"))?;
        cell.parse::<f64>().with_context(|| format!("{column} of {name}: {cell}"))
    };
    let mut ratios = String::new();
    for row in rows.iter().skip(1) {
        let [_, name, made_with, ..] = row[..] else { continue };
        let times = |column, other| {
            anyhow::Ok(number(name, column)? / number(other, column)?)
        };
        writeln!(
            ratios,
            "| `{name}` ({made_with}) | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} |",
            times("CPU per delivery", "floor")?,
            times("memory per reader, idle", "peer-hyper")?,
            times("fan-out p50", "floor")?,
            number(name, "p99/p50 ÷ floor's")?,
            times("all reconnected", "floor")?,
        )?;
    }
    Ok(ratios)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ratios_in_the_book_are_those_of_the_recorded_table() {
        let table = include_str!("../../../recorded/table.md");
        let recorded = include_str!("../../../recorded/ratios.md");
        assert_eq!(ratios(table).unwrap(), recorded);
        assert!(ratios("").unwrap().is_empty());
        assert!(ratios(&table.replace("peer-hyper", "another")).is_err());
    }
}
