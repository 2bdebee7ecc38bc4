//! Durable facts. State that must survive changes only through [`apply`](crate::Scheduler::apply) of one
//! of these, live and in recovery alike.

use bytes::Bytes;
use ganger_common::{Attempt, AttemptEnd, Epoch, Outcome, Revision, TaskId, WorkerId};

use crate::input::NewTask;
use crate::time::Wall;

/// Numbers records through: the first is 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Lsn(pub u64);

/// One fact.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// A new life of the state began.
    Started {
        /// Its number.
        epoch: Epoch,
    },
    /// Tasks were taken. A task whose id is known already is not in here.
    Accepted {
        /// When.
        at: Wall,
        /// Which.
        tasks: Vec<NewTask>,
    },
    /// An attempt ended without settling its task.
    AttemptEnded(AttemptEnded),
    /// Tasks got their outcomes.
    Settled {
        /// When.
        at: Wall,
        /// Which.
        tasks: Vec<Settlement>,
    },
    /// Tasks of the dead set went back into their queues with fresh budgets.
    Retried {
        /// When.
        at: Wall,
        /// Which.
        tasks: Vec<TaskId>,
    },
    /// The oldest outcomes were let go.
    Forgotten {
        /// How many of those that are kept for their results.
        settled: u32,
        /// How many of the dead set.
        dead: u32,
    },
    /// The knowledge map changed.
    Knowledge(Change),
}

/// The end of an attempt that did not settle its task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptEnded {
    /// The task.
    pub task: TaskId,
    /// The try.
    pub attempt: Attempt,
    /// Who had it.
    pub worker: WorkerId,
    /// That worker's label.
    pub worker_name: String,
    /// How it ended.
    pub end: AttemptEnd,
    /// When.
    pub at: Wall,
    /// How long it ran, if the worker told.
    pub run_us: u64,
    /// What went wrong.
    pub error: Option<String>,
    /// When the next try may start; absent: at once, at the front of the queue.
    pub retry_at: Option<Wall>,
}

/// The outcome of one task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// The task.
    pub task: TaskId,
    /// The outcome.
    pub outcome: Outcome,
    /// The last try, which settled it unless the outcome says otherwise; 0 when there was none.
    pub attempt: Attempt,
    /// The worker that settled it.
    pub worker: Option<WorkerId>,
    /// Why, where the outcome alone does not tell.
    pub cause: Cause,
    /// The result.
    pub result: Bytes,
    /// The attempt whose end settled it, when that was not a success.
    pub ended: Option<Box<AttemptEnded>>,
}

/// Why a task has the outcome that it has.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Cause {
    /// A worker reported a result.
    Result,
    /// A handler said that trying again is pointless.
    Final,
    /// Every allowed attempt failed.
    Failures,
    /// Every allowed attempt timed out.
    Timeouts,
    /// Too many workers died under it.
    Crashes,
    /// Somebody cancelled it.
    Cancelled,
    /// Its time to live ended.
    Expired,
}

/// One change of the knowledge map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its revision: one more than that of the change before.
    pub revision: Revision,
    /// The topic.
    pub topic: String,
    /// The key.
    pub key: String,
    /// The new value; absent when the key was removed.
    pub value: Option<Bytes>,
}
