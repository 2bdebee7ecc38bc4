//! Which tasks are too small to be spread.
//!
//! A message to a worker, and the wake-ups that it costs on both sides, take as long as some dozens of the smallest
//! tasks. Over hundreds of workers such tasks would go one by one; so they are packed: the fullest worker that still
//! has few of them gets the next, and the others sleep. A kind whose tasks are worth a hop is never packed.

use std::time::Duration;

use crate::queue::KindKey;
use crate::scheduler::Scheduler;
use crate::time::Time;
use crate::worker::{Worker, WorkerKey};

/// What takes so long altogether, one after the other, may stand at one slot while others have nothing to do. A
/// quarter of a millisecond is what a hop to a worker and back takes anyway.
const PACK_US: u64 = 250;

/// A worker that has ended nothing for so long may be at something that is not as small as the others: it is not
/// packed any further, and what waits there is recalled at the same time.
pub(crate) const PACK_STALL: Duration = Duration::from_millis(20);

/// How many workers are looked at before tasks are spread after all: those in front of the first that fits have
/// something else to do.
const LOOK_MAX: usize = 8;

/// How many tasks that run for so long, in microseconds, may stand at one slot. At least one.
pub(crate) fn pack_len(run_us: u64) -> u32 {
    (PACK_US / run_us.max(1)).max(1) as u32
}

/// The run time that all but one in seventeen tasks of a kind stay below, nearly.
///
/// A quantile that takes one number to keep (after Ma, Muthukrishnan, Sandler: Frugal Streaming, 2013): each
/// longer run raises it by an eighth, each shorter one lowers it by a 128th. A mean would not do: one task that
/// its machine held up for some milliseconds is worth thousands of the smallest.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// In 256ths of a microsecond, so that small steps are not lost. Zero: nothing has ended yet.
    slow: u64,
}

impl Pace {
    /// Learns from the end of a run.
    pub(crate) fn learn(&mut self, run_us: u64) {
        let run = run_us.clamp(1, u64::from(u32::MAX)) << 8;
        self.slow = match self.slow {
            0 => run,
            slow if run > slow => (slow + (slow >> 3)).min(run),
            slow => (slow - (slow >> 7)).max(run),
        };
    }

    /// How many tasks may stand at one slot. One: they are spread.
    fn pack_len(&self) -> u32 {
        if self.slow == 0 { 1 } else { pack_len(self.slow >> 8) }
    }
}

impl Scheduler {
    /// The worker that tasks of a kind are packed onto, and how many it may have, if they are so small.
    pub(crate) fn packed(&self, kind: KindKey) -> Option<(WorkerKey, usize)> {
        let waiting = self.queues.kind(kind);
        let pack_len = waiting.pace.pack_len();
        if pack_len == 1 {
            return None;
        }
        let most = |worker: &Worker| worker.slots.saturating_mul(pack_len).min(self.config.credit_max);
        let fits = |key: WorkerKey| {
            let worker = self.fleet.get(key)?;
            let left = most(worker).saturating_sub(worker.outstanding());
            let is_fit =
                worker.only == Some(kind) && worker.is_moving(self.now.time) || worker.outstanding() == 0;
            (is_fit && left > 0).then_some((key, left as usize))
        };
        // Loads are in thousandths of the slots.
        let below = (pack_len.saturating_mul(1_000), 0, WorkerKey(0));
        waiting.classes.iter().find_map(|class| {
            let fullest_first = self.queues.class(*class).open.range(..below).rev();
            fullest_first.take(LOOK_MAX).find_map(|(_, _, key)| fits(*key))
        })
    }
}

impl Worker {
    /// Notes a task that it is about to get.
    pub(crate) fn note_given(&mut self, kind: KindKey, now: Time) {
        if self.outstanding() == 0 {
            self.only = Some(kind);
            self.moved = now;
        } else if self.only != Some(kind) {
            self.only = None;
        }
    }

    /// Whether it has ended something lately.
    fn is_moving(&self, now: Time) -> bool {
        now.since(self.moved) < PACK_STALL
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(runs: impl IntoIterator<Item = u64>) -> u32 {
        let mut pace = Pace::default();
        runs.into_iter().for_each(|run| pace.learn(run));
        pace.pack_len()
    }

    #[test]
    fn what_nobody_has_seen_is_spread() {
        assert_eq!(after([]), 1);
    }

    #[test]
    fn the_smallest_tasks_are_packed_and_longer_ones_are_not() {
        assert_eq!(after([0]), 250);
        assert_eq!(after([25; 10]), 10);
        assert_eq!(after([126]), 1);
        assert_eq!(after([u64::MAX; 3]), 1);
    }

    #[test]
    fn a_few_that_were_held_up_change_little_and_one_in_ten_decides() {
        let one_in = |n: u64| (0..10_000).map(move |number| if number % n == 0 { 10_000 } else { 1 });
        assert!(after(one_in(100)) > 100, "{}", after(one_in(100)));
        assert_eq!(after(one_in(10)), 1);
    }

    #[test]
    fn tasks_that_become_longer_are_spread_after_some_dozens() {
        assert_eq!(after(std::iter::repeat_n(1, 1_000).chain(std::iter::repeat_n(10_000, 80))), 1);
    }
}
