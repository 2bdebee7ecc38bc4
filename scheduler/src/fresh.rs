//! Tasks that were taken and that the journal does not have yet.

use std::collections::VecDeque;

use crate::arena::TaskKey;
use crate::record::Lsn;
use crate::scheduler::Scheduler;
use crate::task::State;

/// The fresh tasks, in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct Fresh {
    /// Each with its number, since the slot may have become another task's meanwhile.
    tasks: VecDeque<(u64, TaskKey)>,
    /// How many of them come with which record.
    records: VecDeque<(Lsn, usize)>,
    /// Those that no record was appended for yet.
    unwritten: usize,
    /// Those that are still fresh.
    pub(crate) len: usize,
}

impl Scheduler {
    pub(crate) fn keep_fresh(&mut self, key: TaskKey) {
        let task = &mut self.arena[key];
        task.state = State::Fresh;
        self.fresh.tasks.push_back((task.seq, key));
        self.fresh.unwritten += 1;
        self.fresh.len += 1;
    }

    /// The record about the newest ones was appended just now.
    pub(crate) fn note_fresh(&mut self) {
        let count = std::mem::take(&mut self.fresh.unwritten);
        if count > 0 {
            self.fresh.records.push_back((self.out.appended(), count));
        }
    }

    /// Queues those that the journal has.
    pub(crate) fn queue_fresh(&mut self) {
        while let Some((_, count)) = self.fresh.records.pop_front_if(|(lsn, _)| *lsn <= self.out.safe()) {
            for (seq, key) in self.fresh.tasks.drain(..count) {
                let is_fresh = |task: &crate::task::Task| task.seq == seq && task.state == State::Fresh;
                if self.arena.get(key).is_some_and(is_fresh) {
                    self.fresh.len -= 1;
                    self.queues.push(&mut self.arena, key, false);
                }
            }
        }
    }
}
