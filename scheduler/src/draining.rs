//! What a broker that goes down still waits for, when its queue ends with its process.
//!
//! A drain waits for what runs, and for what can run before its deadline. A task that nobody serves, whose
//! kind is paused, or that is not due by then, would only hold it up: whoever handed it in is told goodbye,
//! and hands it in again where it is taken.

use ganger_common::Revision;

use crate::queue::KindKey;
use crate::scheduler::Scheduler;
use crate::timers::Timer;

/// Timers that are looked at in search of a task that will be due in time. Where there are more, the drain
/// waits for a moment longer instead.
const LOOKED_AT_MAX: usize = 10_000;

impl Scheduler {
    /// Whether anything of the queue could be given out before the drain has to end.
    pub(crate) fn may_run_more(&self) -> bool {
        self.unsettled > 0 && (self.has_work_for_somebody() || self.has_work_to_come())
    }

    fn has_work_for_somebody(&self) -> bool {
        self.queues.kinds_by_name().any(|(key, kind)| {
            let first_gate = kind.gated.first().map(|(revision, ..)| *revision);
            let can_open = first_gate.is_some_and(|revision| self.is_known(revision));
            (kind.ready > kind.gated.len() || can_open) && self.is_taken_on(key)
        })
    }

    fn has_work_to_come(&self) -> bool {
        let Some(deadline) = self.slots.drain else { return false };
        let soon = self.timers.iter().take_while(|(at, _)| *at <= deadline);
        let mut looked_at = 0;
        soon.into_iter().any(|(_, timer)| {
            looked_at += 1;
            let Timer::TaskDue { task, .. } = timer else { return looked_at > LOOKED_AT_MAX };
            let task = &self.arena[*task];
            let can_run =
                self.is_taken_on(task.kind) && task.needs_revision().is_none_or(|it| self.is_known(it));
            can_run || looked_at > LOOKED_AT_MAX
        })
    }

    /// Whether the kind is given out, and a worker of it is there, or may come back, and takes more.
    fn is_taken_on(&self, kind: KindKey) -> bool {
        if self.queues.kind(kind).is_paused {
            return false;
        }
        self.queues.servers(kind).any(|worker| self.fleet.get(worker).is_some_and(|worker| !worker.draining))
    }

    /// Workers learn what there is; what there is not yet, nobody puts there any more.
    fn is_known(&self, revision: Revision) -> bool {
        revision <= self.knowledge.revision()
    }
}
