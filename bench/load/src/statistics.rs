//! The counting and summing up that all experiments do in the same way.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
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
    values.sort_by(f64::total_cmp);
    [50, 99].map(|percent| percentile(&values, percent))
}

/// Which of the numbered things that were sent one reader has heard. `P` is where a thing
/// stands in the order in which readers have to hear them.
pub struct Sequence<P> {
    heard: Vec<bool>,
    last: Option<P>,
    pub distinct: usize,
    pub repeated: usize,
    /// Heard for the first time, but after a later one.
    pub out_of_order: usize,
}

impl<P: Copy + Ord> Sequence<P> {
    pub fn new(sent: usize) -> Self {
        let heard = vec![false; sent];
        Self { heard, last: None, distinct: 0, repeated: 0, out_of_order: 0 }
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

/// Times by steps of 10 µs, for those that are too many to keep.
pub struct Histogram {
    counts: Vec<AtomicU64>,
    max_ns: AtomicU64,
}

impl Histogram {
    const STEP: Duration = Duration::from_micros(10);
    /// Longer ones count as this long in a percentile.
    const TOP: Duration = Duration::from_secs(10);

    pub fn new() -> Self {
        let steps = Self::TOP.div_duration_f64(Self::STEP) as usize;
        let counts = (0..=steps).map(|_| AtomicU64::new(0)).collect();
        Self { counts, max_ns: AtomicU64::new(0) }
    }

    pub fn add(&self, time: Duration) {
        let step = (time.as_nanos() / Self::STEP.as_nanos()) as usize;
        self.counts[step.min(self.counts.len() - 1)].fetch_add(1, Relaxed);
        // Most times change nothing: then no CPU takes this from another one.
        let ns = time.as_nanos() as u64;
        if ns > self.max_ns.load(Relaxed) {
            self.max_ns.fetch_max(ns, Relaxed);
        }
    }

    /// The end of the step that has it.
    pub fn percentile_ms(&self, percent: u64) -> f64 {
        let all: u64 = self.counts.iter().map(|count| count.load(Relaxed)).sum();
        let rank = (all * percent).div_ceil(100);
        let mut seen = 0;
        let step = self.counts.iter().position(|count| {
            seen += count.load(Relaxed);
            seen >= rank
        });
        let end = Self::STEP * (step.unwrap_or(0) as u32 + 1);
        end.as_micros() as f64 / 1e3
    }

    pub fn max_ms(&self) -> f64 {
        self.max_ns.load(Relaxed) as f64 / 1e6
    }
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

    #[test]
    fn a_histogram_has_percentiles_to_ten_microseconds_and_the_exact_maximum() {
        let times = Histogram::new();
        for ms in 1..=100 {
            times.add(Duration::from_millis(ms));
        }
        assert_eq!(times.percentile_ms(50), 50.01);
        assert_eq!(times.percentile_ms(99), 99.01);
        times.add(Duration::from_secs(11));
        assert_eq!(times.max_ms(), 11_000.0);
    }
}
