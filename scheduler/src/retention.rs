//! Outcomes that are kept, and the dead set.

use std::collections::VecDeque;
use std::time::Duration;

use crate::arena::{Arena, List, TaskKey};
use crate::record::Record;
use crate::scheduler::Scheduler;
use crate::task::Task;
use crate::time::Time;
use crate::timers::Timer;

/// What is kept after it settled. Both lists are in the order of settling, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Retention {
    /// Outcomes that are kept for their results, and so that a resubmission is recognised.
    kept: List,
    kept_bytes: usize,
    /// Tasks that may be retried, with their payloads.
    dead: List,
    dead_bytes: usize,
    /// How many of the kept ones settled at about which moment, oldest first.
    ages: VecDeque<(Time, u32)>,
}

/// The bytes of what is kept, counted anew for [`Retention::check_counts`].
#[derive(Debug, Default)]
pub(crate) struct Recount {
    pub(crate) kept_bytes: usize,
    pub(crate) dead_bytes: usize,
}

/// What a kept outcome takes beside its result: the slot, its place in the index, the result's handle.
const KEPT_OVERHEAD: usize = 192;

/// What an outcome takes in the journal beside its bytes.
const STORED_BYTES: usize = 80;

/// Outcomes that settled within this span leave together.
const AGE_STEP: Duration = Duration::from_secs(1);

/// Records of forgetting speak of at most this many at a time.
const FORGET_MAX: usize = 100_000;

/// Outcomes that are let go at a turn because of their age. Each was last touched long ago, and takes some
/// hundred nanoseconds to find: together a good half of a millisecond.
const OLD_MAX: usize = 2_048;

/// Where there are more, others have their turn meanwhile. So 2 million a second may go, which is more than
/// can come.
const OLD_PAUSE: Duration = Duration::from_millis(1);

impl Retention {
    pub(crate) fn kept_len(&self) -> usize {
        self.kept.len()
    }

    pub(crate) fn kept_bytes(&self) -> usize {
        self.kept_bytes
    }

    /// What all of it takes in the journal, roughly.
    pub(crate) fn stored_bytes(&self) -> usize {
        let results = self.kept_bytes - KEPT_OVERHEAD * self.kept.len();
        results + self.dead_bytes + STORED_BYTES * (self.kept.len() + self.dead.len())
    }

    pub(crate) fn dead_len(&self) -> usize {
        self.dead.len()
    }

    pub(crate) fn dead(&self) -> &List {
        &self.dead
    }

    pub(crate) fn kept(&self) -> &List {
        &self.kept
    }

    pub(crate) fn keep(&mut self, arena: &mut Arena, key: TaskKey, at: Time) {
        self.kept_bytes += KEPT_OVERHEAD + arena[key].data.len();
        arena.push_back(&mut self.kept, key);
        self.age(at);
    }

    fn age(&mut self, at: Time) {
        match self.ages.back_mut() {
            Some((from, count)) if at.since(*from) < AGE_STEP => *count += 1,
            _ => self.ages.push_back((at, 1)),
        }
    }

    pub(crate) fn bury(&mut self, arena: &mut Arena, key: TaskKey) {
        self.dead_bytes += arena[key].data.len();
        arena.push_back(&mut self.dead, key);
    }

    pub(crate) fn exhume(&mut self, arena: &mut Arena, key: TaskKey) {
        self.dead_bytes -= arena[key].data.len();
        arena.unlink(&mut self.dead, key);
    }

    /// Takes out the oldest kept outcome, if it is numbered up to here.
    pub(crate) fn pop_kept(&mut self, arena: &mut Arena, upto: u64) -> Option<TaskKey> {
        let key = self.kept.head().filter(|key| arena[*key].seq <= upto)?;
        self.take_kept(arena, key);
        Some(key)
    }

    /// Takes out the oldest of the dead set, if it is numbered up to here.
    pub(crate) fn pop_buried(&mut self, arena: &mut Arena, upto: u64) -> Option<TaskKey> {
        let key = self.dead.head().filter(|key| arena[*key].seq <= upto)?;
        self.exhume(arena, key);
        Some(key)
    }

    /// Takes a kept outcome out from where it stands.
    pub(crate) fn take_kept(&mut self, arena: &mut Arena, key: TaskKey) {
        arena.unlink(&mut self.kept, key);
        self.kept_bytes -= KEPT_OVERHEAD + arena[key].data.len();
        if let Some((_, count)) = self.ages.front_mut() {
            *count -= 1;
            if *count == 0 {
                self.ages.pop_front();
            }
        }
    }

    /// Puts everything into the order of settling: a journal whose beginning was let go has it in another.
    pub(crate) fn sort(&mut self, arena: &mut Arena) {
        arena.sort(&mut self.dead);
        arena.sort(&mut self.kept);
    }

    /// Notes the age of everything that is kept anew.
    pub(crate) fn age_all(&mut self, arena: &Arena, settled_at: impl Fn(&Task) -> Time) {
        self.ages.clear();
        let kept = std::mem::take(&mut self.kept);
        arena.walk(&kept).for_each(|key| self.age(settled_at(&arena[key])));
        self.kept = kept;
    }

    /// Compares everything that is counted along the way with a recount of all tasks.
    pub(crate) fn check_counts(&self, recount: &Recount) {
        let kept_bytes = recount.kept_bytes + KEPT_OVERHEAD * self.kept.len();
        assert_eq!(self.kept_bytes, kept_bytes, "kept bytes");
        assert_eq!(self.dead_bytes, recount.dead_bytes, "dead bytes");
        let aged: u32 = self.ages.iter().map(|(_, count)| count).sum();
        assert_eq!(aged as usize, self.kept.len(), "every kept outcome has an age");
    }
}

impl Scheduler {
    pub(crate) fn arm_retention(&mut self) {
        if self.slots.retention.is_none()
            && let Some((from, _)) = self.retention.ages.front()
        {
            let at = from.plus(self.config.retain_for + AGE_STEP);
            self.timers.set(&mut self.slots.retention, Timer::Retention, Some(at));
        }
    }

    /// Lets go of outcomes that were kept for long enough.
    pub(crate) fn forget_old(&mut self) {
        let mut old = 0;
        for (from, count) in &self.retention.ages {
            if from.plus(self.config.retain_for + AGE_STEP) > self.now.time {
                break;
            }
            old += *count as usize;
        }
        let last = self.arena.walk(&self.retention.kept).take(old.min(OLD_MAX)).last();
        if let Some(last) = last {
            self.commit(Record::Forgotten { settled: self.arena[last].seq, dead: 0 });
        }
        match old > OLD_MAX {
            true => {
                let at = Some(self.now.time.plus(OLD_PAUSE));
                self.timers.set(&mut self.slots.retention, Timer::Retention, at);
            }
            false => self.arm_retention(),
        }
    }

    /// Lets go of the oldest where there are too many.
    pub(crate) fn trim(&mut self) {
        let (settled, kept_over) = self.kept_over_budget();
        let (dead, dead_over) = self.dead_over_budget();
        if kept_over + dead_over > 0 {
            self.counters.outcomes_dropped += kept_over;
            self.counters.dead_dropped += dead_over;
            self.commit(Record::Forgotten { settled, dead });
        }
    }

    /// The number of the last outcome that has to go, and how many do.
    fn kept_over_budget(&self) -> (u64, u64) {
        let mut over = self.retention.kept_bytes.saturating_sub(self.config.retain_bytes_max);
        let (mut last, mut count) = (0, 0);
        let mut oldest = self.arena.walk(&self.retention.kept).take(FORGET_MAX);
        while over > 0
            && let Some(key) = oldest.next()
        {
            over = over.saturating_sub(KEPT_OVERHEAD + self.arena[key].data.len());
            (last, count) = (self.arena[key].seq, count + 1);
        }
        (last, count)
    }

    fn dead_over_budget(&self) -> (u64, u64) {
        let mut len = self.retention.dead.len();
        let mut bytes = self.retention.dead_bytes;
        let (mut last, mut count) = (0, 0);
        let mut oldest = self.arena.walk(&self.retention.dead);
        while (len > self.config.dead_set_max || bytes > self.config.dead_set_bytes_max)
            && let Some(key) = oldest.next()
        {
            len -= 1;
            bytes -= self.arena[key].data.len();
            (last, count) = (self.arena[key].seq, count + 1);
        }
        (last, count)
    }
}
