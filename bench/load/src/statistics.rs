//! The counting and summing up that all experiments do in the same way.

use std::time::Duration;

use anyhow::{Context, Result};

pub use record::median;

/// The median of one of the figures of all rounds.
pub fn median_of<F>(rounds: &[F], figure: impl Fn(&F) -> f64) -> f64 {
    median(rounds.iter().map(figure).collect())
}

/// In milliseconds.
pub fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// The nearest-rank percentile of sorted values: one that was measured.
fn percentile(sorted: &[f64], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}

/// The 50th and the 99th percentile.
pub fn p50_p99(mut values: Vec<f64>) -> [f64; 2] {
    values.sort_unstable_by(f64::total_cmp);
    [50, 99].map(|percent| percentile(&values, percent))
}

/// Which of the numbered things that were sent one reader has heard. `P` is where a thing
/// stands in the order in which readers have to hear them.
#[derive(Default)]
pub struct Sequence<P> {
    heard: Vec<bool>,
    last: Option<P>,
    pub distinct: usize,
    pub repeated: usize,
    /// Heard for the first time, but after a later one.
    pub out_of_order: usize,
    /// How long what was heard took, in ms. The reader adds what it measures.
    pub times: Vec<f64>,
}

impl<P: Copy + Default + Ord> Sequence<P> {
    pub fn new(sent: usize) -> Self {
        let times = Vec::with_capacity(sent);
        Self { heard: vec![false; sent], times, ..Self::default() }
    }

    pub fn hear(&mut self, number: usize, place: P) -> Result<()> {
        let heard = self.heard.get_mut(number);
        let heard =
            heard.with_context(|| format!("number {number} was never sent"))?;
        if std::mem::replace(heard, true) {
            self.repeated += 1;
        } else {
            self.distinct += 1;
            let late = self.last.is_some_and(|last| place <= last);
            self.out_of_order += usize::from(late);
        }
        self.last = self.last.max(Some(place));
        Ok(())
    }

    pub fn lost(&self) -> usize {
        self.heard.len() - self.distinct
    }
}

/// Deliveries to all readers, and how many are lost, repeated, and out of order.
pub type Counts = [usize; 4];

pub fn counts<P: Copy + Default + Ord>(heard: &[Sequence<P>]) -> Counts {
    let counts: [fn(&Sequence<P>) -> usize; 4] = [
        |sequence| sequence.distinct + sequence.repeated,
        Sequence::lost,
        |sequence| sequence.repeated,
        |sequence| sequence.out_of_order,
    ];
    counts.map(|count| heard.iter().map(count).sum())
}

/// The four cells of a table: sums over the rounds, so that not one that is lost is hidden.
pub fn sums(rounds: impl Iterator<Item = Counts>) -> String {
    let sum = rounds
        .fold([0; 4], |sum, of| [0, 1, 2, 3].map(|at: usize| sum[at] + of[at]));
    sum.map(|count| count.to_string()).join(" | ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_a_value_that_was_measured() {
        let of = |range: std::ops::RangeInclusive<u32>| {
            p50_p99(range.rev().map(f64::from).collect())
        };
        assert_eq!(of(1..=100), [50.0, 99.0]);
        assert_eq!(of(1..=5), [3.0, 5.0]);
        assert_eq!(of(7..=7), [7.0, 7.0]);
        assert_eq!(p50_p99(vec![0.3, -0.2, -0.1]), [-0.1, 0.3], "some are negative");
        assert_eq!(p50_p99(vec![]), [0.0, 0.0]);
        assert_eq!(ms(Duration::from_micros(1_500)), 1.5);
    }

    #[test]
    fn what_is_lost_repeated_or_out_of_order_is_found() {
        let check = |heard: &[(usize, (u64, u64))]| {
            let mut sequence = Sequence::new(4);
            for (number, place) in heard {
                sequence.hear(*number, *place).unwrap();
            }
            (sequence.lost(), sequence.repeated, sequence.out_of_order)
        };
        // Each at its own place in the order.
        let numbers = |numbers: &[usize]| {
            let heard = numbers.iter().map(|number| (*number, (*number as u64, 0)));
            check(&heard.collect::<Vec<_>>())
        };
        assert_eq!(numbers(&[0, 1, 2, 3]), (0, 0, 0));
        assert_eq!(numbers(&[0, 1, 3]), (1, 0, 0), "lost in the middle");
        assert_eq!(numbers(&[0, 1, 2]), (1, 0, 0), "lost at the end");
        assert_eq!(numbers(&[]), (4, 0, 0));
        assert_eq!(numbers(&[0, 1, 1, 2, 3]), (0, 1, 0));
        assert_eq!(numbers(&[0, 1, 2, 3, 0, 1]), (0, 2, 0), "from its start again");
        assert_eq!(numbers(&[0, 2, 1, 3]), (0, 0, 1));
        assert_eq!(numbers(&[1, 0, 2, 3]), (0, 0, 1));
        // Writers at once do not know whose event comes first.
        let order = [(1, (1, 0)), (0, (1, 1)), (2, (1, 2)), (3, (2, 0))];
        assert_eq!(check(&order), (0, 0, 0));
        let order = [(0, (1, 0)), (1, (1, 2)), (2, (1, 1)), (3, (1, 1))];
        assert_eq!(check(&order), (0, 0, 2));
        let mut sequence = Sequence::new(4);
        assert!(sequence.hear(4, 4).is_err(), "that was never sent");
    }
}
