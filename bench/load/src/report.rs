//! What people see: progress while it runs, then the table.

use std::cell::{Cell, RefCell};
use std::fmt::Write as _;
use std::io::{IsTerminal, Write, stderr};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::round::Figures;
use crate::server::Program;

/// On a terminal one line that changes; in a log a line now and then.
pub struct Progress {
    total: usize,
    done: Cell<usize>,
    label: RefCell<String>,
    start: Instant,
    shown: Cell<Instant>,
}

impl Progress {
    pub fn new(total: usize) -> Self {
        let (label, now) = (RefCell::default(), Instant::now());
        Self { total, done: Cell::new(0), label, start: now, shown: Cell::new(now) }
    }

    /// The next of the total begins.
    pub fn next(&self, label: &str) {
        let done = self.done.replace(self.done.get() + 1);
        let eta = match u32::try_from(done) {
            Ok(done @ 1..) => {
                let left = self.total as u32 - done;
                format!(
                    ", {} s to go",
                    (self.start.elapsed() / done * left).as_secs()
                )
            }
            _ => String::new(),
        };
        self.label.replace(format!("[{}/{}{eta}] {label}", done + 1, self.total));
    }

    pub fn show(&self, doing: &str) {
        let terminal = stderr().is_terminal();
        let every = Duration::from_millis(if terminal { 200 } else { 10_000 });
        if self.shown.get().elapsed() < every {
            return;
        }
        self.shown.set(Instant::now());
        if terminal {
            eprint!("\r\x1b[K{}: {doing}", self.label.borrow());
            let _ = stderr().flush();
        } else {
            eprintln!("{}: {doing}", self.label.borrow());
        }
    }

    /// A line that stays.
    pub fn line(&self, text: &str) {
        let clear = if stderr().is_terminal() { "\r\x1b[K" } else { "" };
        eprintln!("{clear}{}: {text}", self.label.borrow());
    }
}

const HEAD: &str = "\
| server | made with | CPU per delivery | × floor | memory per reader, idle | after messages \
| fan-out p50 | p99 | p99/p50 ÷ floor's | lost | all reconnected | connects repeated |
| --- | --- | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: |
";

/// Medians over the rounds, and how many times the floor's they are.
pub fn table<'a>(
    rounds: impl Iterator<Item = (&'a Program, &'a [Figures])> + Clone,
) -> Result<String> {
    let floor = rounds.clone().find(|(program, _)| program.name == "floor");
    let floor = floor.map(|(_, rounds)| median(rounds));
    let mut table = HEAD.to_string();
    for (program, rounds) in rounds {
        let m = median(rounds);
        let (times, tail) = match &floor {
            Some(floor) => (
                format!("{:.2}", m.cpu_us / floor.cpu_us),
                format!(
                    "{:.2}",
                    m.p99_ms / m.p50_ms / (floor.p99_ms / floor.p50_ms)
                ),
            ),
            None => ("–".into(), "–".into()),
        };
        writeln!(
            table,
            "| {} | {} | {:.2} µs | {times} | {:.1} KiB | {:.1} KiB | {:.1} ms | {:.1} ms \
             | {tail} | {} | {:.2} s | {} |",
            program.name,
            program.framework()?,
            m.cpu_us,
            m.idle_kib,
            m.used_kib,
            m.p50_ms,
            m.p99_ms,
            m.lost,
            m.storm_s,
            m.repeats
        )?;
    }
    Ok(table)
}

/// The rows of the table in the book: what of a saved table holds on other machines, too.
/// CPU, median and tail of a fan-out, and the storm are times the floor's; memory is times bare hyper's,
/// the least that a server on hyper can reach.
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

/// Of each figure by itself.
fn median(rounds: &[Figures]) -> Figures {
    let of =
        |figure: fn(&Figures) -> f64| middle(rounds.iter().map(figure).collect());
    Figures {
        cpu_us: of(|f| f.cpu_us),
        idle_kib: of(|f| f.idle_kib),
        used_kib: of(|f| f.used_kib),
        p50_ms: of(|f| f.p50_ms),
        p99_ms: of(|f| f.p99_ms),
        lost: of(|f| f.lost),
        storm_s: of(|f| f.storm_s),
        repeats: of(|f| f.repeats),
    }
}

pub fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        even if even % 2 == 0 => f64::midpoint(values[half - 1], values[half]),
        _ => values[half],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ratios_in_the_book_are_those_of_the_recorded_table() {
        let table = include_str!("../../recorded/table.md");
        assert_eq!(ratios(table).unwrap(), include_str!("../../recorded/ratios.md"));
        assert!(ratios("").unwrap().is_empty());
        assert!(ratios(&table.replace("peer-hyper", "another")).is_err());
    }

    #[test]
    fn the_middle_of_an_even_number_of_rounds_is_between_two() {
        assert_eq!(middle(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(middle(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(middle(vec![]).is_nan());
    }
}
