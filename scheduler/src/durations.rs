//! How long things take, counted in buckets. Nothing is decided by it.

use ganger_common::view::HistogramView;

use crate::time::Wall;

/// Upper ends of the buckets, in microseconds: from a task that is answered at once to one that waits for half a
/// day. Few, because each is three series in somebody's database.
const BOUNDS_US: [u64; 19] = [
    100,
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    30_000_000,
    60_000_000,
    300_000_000,
    3_600_000_000,
    43_200_000_000,
];

/// What is measured of the tasks of this life of the process.
#[derive(Debug, Default)]
pub(crate) struct Durations {
    /// From when a task was taken, or was due, to its first lease.
    pub(crate) queue_wait: Histogram,
    /// Runs of attempts, as their workers tell them.
    pub(crate) attempt_run: Histogram,
    /// From when a task was taken to its outcome.
    pub(crate) submit_to_settle: Histogram,
}

impl Durations {
    pub(crate) fn views(&self) -> Vec<HistogramView> {
        let named = [
            ("attempt_run", &self.attempt_run),
            ("queue_wait", &self.queue_wait),
            ("submit_to_settle", &self.submit_to_settle),
        ];
        named.into_iter().map(|(name, histogram)| histogram.view(name)).collect()
    }
}

/// How many lasted how long.
#[derive(Debug)]
pub(crate) struct Histogram {
    counts: [u64; BOUNDS_US.len() + 1],
    sum_us: u64,
    /// The bucket that was counted in last, and what belongs into it. What comes together mostly lasts about as
    /// long, so nobody looks for a bucket.
    last: usize,
    from_us: u64,
    upto_us: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: Default::default(), sum_us: 0, last: 0, from_us: 0, upto_us: BOUNDS_US[0] }
    }
}

impl Histogram {
    /// Counts a span.
    pub(crate) fn note(&mut self, us: u64) {
        self.sum_us = self.sum_us.saturating_add(us);
        if us < self.from_us || us > self.upto_us {
            self.find(us);
        }
        self.counts[self.last] += 1;
    }

    /// Counts the span between two moments by the wall clock: the only one that a task remembers through a
    /// restart. A clock that was set back makes it nothing.
    pub(crate) fn note_between(&mut self, from: Wall, to: Wall) {
        self.note(to.0.saturating_sub(from.0).saturating_mul(1_000));
    }

    #[cold]
    fn find(&mut self, us: u64) {
        self.last = BOUNDS_US.partition_point(|bound| *bound < us);
        self.from_us = self.last.checked_sub(1).map_or(0, |below| BOUNDS_US[below] + 1);
        self.upto_us = BOUNDS_US.get(self.last).copied().unwrap_or(u64::MAX);
    }

    fn view(&self, name: &str) -> HistogramView {
        HistogramView {
            name: name.to_owned(),
            bounds_us: BOUNDS_US.to_vec(),
            counts: self.counts.to_vec(),
            sum_us: self.sum_us,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_span_is_in_the_bucket_that_ends_at_or_after_it() {
        let mut histogram = Histogram::default();
        let spans = [0, 1, 100, 101, 1_000, 99, 43_200_000_000, 43_200_000_001, u64::MAX, 100, 0];
        spans.into_iter().for_each(|us| histogram.note(us));
        assert_eq!(histogram.counts[..3], [6, 2, 0]);
        assert_eq!(histogram.counts[BOUNDS_US.len() - 1..], [1, 2]);
        assert_eq!((histogram.counts.iter().sum::<u64>(), histogram.sum_us), (11, u64::MAX));
    }

    #[test]
    fn a_clock_that_was_set_back_makes_a_span_nothing() {
        let mut histogram = Histogram::default();
        histogram.note_between(Wall(5), Wall(3));
        histogram.note_between(Wall(5), Wall(8));
        assert_eq!((histogram.counts[0], histogram.sum_us), (1, 3_000));
    }
}
