//! What must happen at some moment, and why.
//!
//! Each timed thing keeps its own deadline beside its data and hands it in to change or clear it, so the
//! table needs no second index and holds no stale entry.

use std::collections::BTreeSet;

use crate::arena::TaskKey;
use crate::client::ClientKey;
use crate::time::Time;
use crate::worker::WorkerKey;

/// The reasons. The order among those that are due at the same moment is the order of this list.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Timer {
    /// Nothing to do but to notice whether the scheduler itself was stalled.
    Tick,
    /// A delayed task becomes ready. Of those that are due together the oldest goes first, wherever a
    /// recovery has put it.
    TaskDue { age: u64, task: TaskKey },
    /// A task that has not started settles as expired.
    TaskExpires(TaskKey),
    /// An attempt ran for too long and its worker did not stop it.
    RunLimit(TaskKey),
    /// A worker may have been silent for too long.
    WorkerSilent(WorkerKey),
    /// A worker did not come back.
    WorkerGrace(WorkerKey),
    /// A client may have been silent for too long.
    ClientSilent(ClientKey),
    /// Workers of the last life had their chance to come back.
    ReattachEnds,
    /// Idle workers may take over what waits at others.
    Rebalance,
    /// The oldest outcome has been kept long enough.
    Retention,
    /// The sign of life on PUB.
    Beat,
    /// The drain has lasted long enough.
    DrainDeadline,
}

impl Timer {
    /// The reason, for logs.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tick => "tick",
            Self::TaskDue { .. } => "task due",
            Self::TaskExpires(_) => "task expires",
            Self::RunLimit(_) => "run limit",
            Self::WorkerSilent(_) => "worker silent",
            Self::WorkerGrace(_) => "worker grace",
            Self::ClientSilent(_) => "client silent",
            Self::ReattachEnds => "re-attach window ends",
            Self::Rebalance => "rebalance",
            Self::Retention => "retention",
            Self::Beat => "beat",
            Self::DrainDeadline => "drain deadline",
        }
    }
}

/// The table.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    set: BTreeSet<(Time, Timer)>,
}

impl Timers {
    /// Moves `timer` from the deadline that stands in `slot` to `at`.
    pub(crate) fn set(&mut self, slot: &mut Option<Time>, timer: Timer, at: Option<Time>) {
        if *slot == at {
            return;
        }
        if let Some(old) = slot.take() {
            self.set.remove(&(old, timer));
        }
        if let Some(new) = at {
            self.set.insert((new, timer));
            *slot = Some(new);
        }
    }

    pub(crate) fn insert(&mut self, at: Time, timer: Timer) {
        self.set.insert((at, timer));
    }

    pub(crate) fn remove(&mut self, at: Time, timer: Timer) {
        self.set.remove(&(at, timer));
    }

    pub(crate) fn next(&self) -> Option<(Time, Timer)> {
        self.set.first().copied()
    }

    /// Takes out the first timer that is due.
    pub(crate) fn pop_due(&mut self, now: Time) -> Option<(Time, Timer)> {
        if self.set.first()?.0 > now {
            return None;
        }
        self.set.pop_first()
    }

    pub(crate) fn contains(&self, at: Time, timer: Timer) -> bool {
        self.set.contains(&(at, timer))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &(Time, Timer)> {
        self.set.iter()
    }
}
