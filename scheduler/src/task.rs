//! One task and where it is in its life.

use std::time::Duration;

use ganger_common::view::HISTORY_MAX;
use ganger_common::{Attempt, AttemptEnd, Epoch, Outcome, Revision, TaskId, TaskOptions, WorkerId};

use crate::arena::Links;
use crate::client::ClientKey;
use crate::data::Data;
use crate::effect::DispatchDetail;
use crate::payers::PayerKey;
use crate::queue::KindKey;
use crate::record::{AttemptEnded, Cause};
use crate::time::{Time, Wall};
use crate::worker::WorkerKey;

/// A task. What nearly no task has stands in [`Extra`], so that ten million of them fit.
#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) id: TaskId,
    pub(crate) kind: KindKey,
    pub(crate) priority: i16,
    /// The number of the last attempt that was given out.
    pub(crate) attempt: Attempt,
    pub(crate) links: Links,
    /// Numbers tasks through in the order in which they were taken; once settled, in the order of settling.
    pub(crate) seq: u64,
    pub(crate) submitted: Wall,
    /// Who wants the outcome.
    pub(crate) owner: Option<ClientKey>,
    /// On whose account it counts, while it is not settled.
    pub(crate) payer: Option<PayerKey>,
    /// The payload; after success, the result.
    pub(crate) data: Data,
    pub(crate) extra: Option<Box<Extra>>,
    pub(crate) state: State,
}

/// Where a task is. What a state needs to know stands in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Taken, and the journal does not have it yet: in no list. What ran and was then unknown to the next
    /// life of the broker would run again.
    Fresh,
    /// In the queue of its kind.
    Ready,
    /// Beside the queue of its kind, until a worker knows enough.
    Gated { revision: Revision },
    /// In the timers.
    Delayed { due: Time, why: DelayReason },
    /// With a worker, not reported as started.
    Assigned { worker: WorkerKey, epoch: Epoch, at: Time },
    /// With a worker, reported as started.
    Running { worker: WorkerKey, epoch: Epoch, at: Time },
    /// It has its outcome.
    Settled { outcome: Outcome, cause: Cause, at: Wall, worker: Option<WorkerId> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DelayReason {
    /// The submitter asked for it.
    Asked,
    /// The pause after a failure.
    Backoff,
    /// The broker has just started and a worker of its last life may still have the task.
    Reattach,
}

/// What nearly no task has.
#[derive(Debug, Default)]
pub(crate) struct Extra {
    pub(crate) options: TaskOptions,
    pub(crate) failures: u32,
    pub(crate) timeouts: u32,
    pub(crate) crashes: u32,
    /// An attempt is known to have started, and that was written down: it does not expire any more, in this
    /// life or the next.
    pub(crate) began: bool,
    /// A worker was lost with this task: let the next one confirm the start.
    pub(crate) confirm: bool,
    /// When it expires, if it has not started by then.
    pub(crate) expires: Option<Time>,
    /// When the attempt that runs is given up.
    pub(crate) run_deadline: Option<Time>,
    /// Others who want the outcome.
    pub(crate) watchers: Vec<ClientKey>,
    /// Among all who want the outcome: those who want progress, too.
    pub(crate) followers: Vec<ClientKey>,
    /// Attempts that ended without settling the task, oldest first.
    pub(crate) history: Vec<AttemptEnded>,
}

impl Extra {
    /// What the worker of the next attempt must know beside the task.
    pub(crate) fn dispatch_detail(&self) -> Option<Box<DispatchDetail>> {
        let TaskOptions { run_limit_ms, trace, .. } = &self.options;
        let events = self.options.events || !self.followers.is_empty();
        let has_any = self.confirm || events || run_limit_ms.is_some() || trace.is_some();
        has_any.then(|| {
            Box::new(DispatchDetail {
                run_limit: run_limit_ms.map(Duration::from_millis),
                confirm: self.confirm,
                events,
                trace: self.options.traced(),
            })
        })
    }

    /// Books the end of an attempt that did not settle the task.
    pub(crate) fn book(&mut self, ended: AttemptEnded) {
        match ended.end {
            AttemptEnd::Failed => self.failures += 1,
            AttemptEnd::TimedOut => self.timeouts += 1,
            AttemptEnd::Crashed => self.crashes += 1,
            _ => {}
        }
        if matches!(ended.end, AttemptEnd::Crashed | AttemptEnd::Lost) {
            self.confirm = true;
        }
        self.began |= ended.end != AttemptEnd::Lost;
        if self.history.len() == HISTORY_MAX {
            self.history.remove(0);
        }
        self.history.push(ended);
    }
}

impl Task {
    /// Its extras, made on first use.
    pub(crate) fn extra_mut(&mut self) -> &mut Extra {
        self.extra.get_or_insert_default()
    }

    /// The worker that has it.
    pub(crate) fn holder(&self) -> Option<WorkerKey> {
        match self.state {
            State::Assigned { worker, .. } | State::Running { worker, .. } => Some(worker),
            _ => None,
        }
    }

    /// Whether this lease of this worker is the current one.
    pub(crate) fn is_leased_to(&self, holder: WorkerKey, its_epoch: Epoch, attempt: Attempt) -> bool {
        match self.state {
            State::Assigned { worker, epoch, .. } | State::Running { worker, epoch, .. } => {
                worker == holder && epoch == its_epoch && self.attempt == attempt
            }
            _ => false,
        }
    }

    pub(crate) fn outcome(&self) -> Option<Outcome> {
        match self.state {
            State::Settled { outcome, .. } => Some(outcome),
            _ => None,
        }
    }

    pub(crate) fn is_settled(&self) -> bool {
        self.outcome().is_some()
    }

    pub(crate) fn run_limit(&self) -> Option<Duration> {
        self.extra.as_ref()?.options.run_limit_ms.map(Duration::from_millis)
    }

    pub(crate) fn needs_confirm(&self) -> bool {
        self.extra.as_ref().is_some_and(|extra| extra.confirm)
    }

    /// The knowledge revision that a worker must have.
    pub(crate) fn needs_revision(&self) -> Option<Revision> {
        self.extra.as_ref()?.options.knowledge.filter(|revision| *revision > Revision(0))
    }

    /// Whether its outcome belongs to the dead set: it can be retried, so its payload is kept.
    pub(crate) fn is_retryable_outcome(outcome: Outcome) -> bool {
        matches!(outcome, Outcome::Failed | Outcome::Dead)
    }
}

const _: () = assert!(size_of::<Task>() <= 160, "a task is larger than the budget of a deep queue allows");
