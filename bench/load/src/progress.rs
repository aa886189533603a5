//! The rounds, and what people see of them while they run.

use std::fmt::{Debug, Display};

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};

/// Measures each subject, which has a name, once in each round, and returns the figures of each. Every round
/// begins with another subject, so that none always comes first, on a cool processor. The
/// progress is shown on a terminal only; the figures of each round everywhere.
pub fn rounds<N: Display, S, F: Debug>(
    rounds: u32,
    subjects: &[(N, S)],
    mut measure: impl FnMut(&S, &ProgressBar) -> Result<F>,
) -> Result<Vec<Vec<F>>> {
    let style = "[{pos}/{len} done, {eta} to go] {prefix}: {msg}";
    let progress = ProgressBar::new(u64::from(rounds) * subjects.len() as u64)
        .with_style(ProgressStyle::with_template(style)?);
    let mut figures: Vec<_> = subjects.iter().map(|_| Vec::new()).collect();
    for round in 0..rounds as usize {
        for place in 0..subjects.len() {
            let at = (round + place) % subjects.len();
            let (name, subject) = &subjects[at];
            let label = format!("{name}, round {}", round + 1);
            progress.set_prefix(label.clone());
            let measured = measure(subject, &progress);
            let measured = measured.with_context(|| label.clone())?;
            progress.suspend(|| eprintln!("{label}: {measured:.2?}"));
            progress.inc(1);
            figures[at].push(measured);
        }
    }
    progress.finish_and_clear();
    Ok(figures)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_round_begins_with_another_subject() {
        let mut order = String::new();
        let figures = rounds(3, &[("a", 'a'), ("b", 'b')], |subject, _| {
            order.push(*subject);
            Ok(order.len())
        });
        assert_eq!(figures.unwrap(), [[1, 4, 5], [2, 3, 6]]);
        assert_eq!(order, "abbaab");
    }
}
