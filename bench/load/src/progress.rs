//! The rounds, and what people see of them: progress while they run, then the table.

use std::cell::{Cell, RefCell};
use std::fmt::Debug;
use std::io::{IsTerminal, Write, stderr};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// On a terminal one line that changes; in a log a line now and then.
pub struct Progress {
    total: usize,
    done: Cell<usize>,
    label: RefCell<String>,
    start: Instant,
    shown: Cell<Instant>,
}

impl Progress {
    fn new(total: usize) -> Self {
        let now = Instant::now();
        Self {
            total,
            done: Cell::new(0),
            label: RefCell::default(),
            start: now,
            shown: Cell::new(now),
        }
    }

    /// The next of the total begins.
    fn next(&self, label: &str) {
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
    fn line(&self, text: &str) {
        let clear = if stderr().is_terminal() { "\r\x1b[K" } else { "" };
        eprintln!("{clear}{}: {text}", self.label.borrow());
    }
}

/// Measures each subject once in each round, and returns the figures of each. Every round
/// begins with another subject, so that none always comes first, on a cool processor.
pub fn rounds<S, F: Debug>(
    rounds: u32,
    subjects: &[S],
    name: impl Fn(&S) -> String,
    mut measure: impl FnMut(&S, &Progress) -> Result<F>,
) -> Result<Vec<Vec<F>>> {
    let progress = Progress::new(rounds as usize * subjects.len());
    let mut figures: Vec<_> = subjects.iter().map(|_| Vec::new()).collect();
    for round in 0..rounds as usize {
        for place in 0..subjects.len() {
            let at = (round + place) % subjects.len();
            let label = format!("{}, round {}", name(&subjects[at]), round + 1);
            progress.next(&label);
            let measured = measure(&subjects[at], &progress).context(label)?;
            progress.line(&format!("{measured:.2?}"));
            figures[at].push(measured);
        }
    }
    Ok(figures)
}

/// Prints the table, and writes it where --save says, with what it was measured with.
pub fn publish(table: &str, save: Option<&Path>) -> Result<()> {
    print!("{table}");
    if let Some(path) = save {
        std::fs::write(path, record::with_circumstances(None, table)?)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_round_begins_with_another_subject() {
        let mut order = String::new();
        let figures = rounds(3, &['a', 'b'], char::to_string, |subject, _| {
            order.push(*subject);
            Ok(order.len())
        });
        assert_eq!(figures.unwrap(), [[1, 4, 5], [2, 3, 6]]);
        assert_eq!(order, "abbaab");
    }
}
