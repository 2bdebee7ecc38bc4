//! How long tasks take, from what the broker has counted in buckets.

use std::time::Duration;

use ganger_common::view::{HistogramView, StatusView};
use serde::Serialize;

/// How long tasks took from submission to outcome, of those that ended between two looks.
///
/// The broker counts in buckets, so each is a bound: half of the tasks took no longer than `p50_us`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct Latency {
    pub(crate) p50_us: u64,
    pub(crate) p95_us: u64,
    pub(crate) p99_us: u64,
}

impl Latency {
    /// Nothing when no task ended, and when the broker does not tell.
    pub(crate) fn between(before: &StatusView, now: &StatusView) -> Option<Self> {
        let (old, new) = (spans(before)?, spans(now)?);
        let was = |place: usize| old.counts.get(place).copied().unwrap_or(0);
        let more = |(place, count): (usize, &u64)| count.saturating_sub(was(place));
        let ended: Vec<u64> = new.counts.iter().enumerate().map(more).collect();
        let all: u64 = ended.iter().sum();
        let within = |percent: u64| {
            let mut seen = 0;
            let place = ended.iter().position(|count| {
                seen += count;
                seen * 100 >= all * percent
            });
            // There is no bound above the last bucket; what is there is said to be twice that.
            let last = new.bounds_us.last().copied().unwrap_or(0).saturating_mul(2);
            new.bounds_us.get(place.unwrap_or(usize::MAX)).copied().unwrap_or(last)
        };
        (all > 0).then(|| Self { p50_us: within(50), p95_us: within(95), p99_us: within(99) })
    }
}

/// A bound for people.
pub(crate) fn bound(us: u64) -> String {
    humantime::format_duration(Duration::from_micros(us)).to_string()
}

fn spans(status: &StatusView) -> Option<&HistogramView> {
    status.durations.iter().find(|one| one.name == "submit_to_settle")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(counts: [u64; 3]) -> StatusView {
        let spans = HistogramView {
            name: "submit_to_settle".to_owned(),
            bounds_us: vec![1_000, 10_000],
            counts: counts.to_vec(),
            sum_us: 0,
        };
        StatusView { durations: vec![spans], ..StatusView::default() }
    }

    #[test]
    fn it_is_that_of_what_ended_between_two_looks() {
        let latency = Latency::between(&status([1_000, 0, 5]), &status([1_060, 39, 6]));
        assert_eq!(latency, Some(Latency { p50_us: 1_000, p95_us: 10_000, p99_us: 10_000 }));
        let latency = Latency::between(&status([0, 0, 0]), &status([0, 0, 1])).unwrap();
        assert_eq!(latency.p50_us, 20_000, "above all buckets");
    }

    #[test]
    fn where_nothing_ended_or_nothing_is_told_there_is_none() {
        assert_eq!(Latency::between(&status([1, 2, 3]), &status([1, 2, 3])), None);
        assert_eq!(Latency::between(&StatusView::default(), &status([1, 2, 3])), None);
    }

    #[test]
    fn bounds_are_said_in_words_of_time() {
        assert_eq!((bound(250), bound(2_500_000)), ("250us".to_owned(), "2s 500ms".to_owned()));
    }
}
