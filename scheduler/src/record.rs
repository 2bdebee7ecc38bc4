//! Durable facts. State that must survive changes only through [`apply`](crate::Scheduler::apply) of one
//! of these, live and in recovery alike.

use std::sync::Arc;

use bytes::Bytes;
use ganger_common::{Attempt, AttemptEnd, ClientId, Epoch, Outcome, Revision, TaskId, WorkerId};

use crate::data::Data;
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
        /// Who handed them in; unknown in records of brokers that did not write it down.
        client: Option<ClientId>,
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
        /// The number of the last that went of those that are kept for their results; all before it went too.
        settled: u64,
        /// The same for the dead set.
        dead: u64,
    },
    /// Somebody let tasks of the dead set go.
    Discarded {
        /// Which.
        tasks: Vec<TaskId>,
    },
    /// A kind was paused: nothing of it is given out from here on.
    KindPaused {
        /// Its name.
        kind: Arc<str>,
    },
    /// A paused kind is given out again.
    KindResumed {
        /// Its name.
        kind: Arc<str>,
    },
    /// The knowledge map changed.
    Knowledge(Change),
    /// A worker came that may be given leases.
    WorkerJoined {
        /// Its incarnation.
        worker: WorkerId,
    },
    /// A worker is gone; what it had has been booked.
    WorkerLeft {
        /// Its incarnation.
        worker: WorkerId,
    },
    /// From here on the state is written down once more, in parts, while other records go on between them.
    /// When all of it has been, whatever stands before this record may go.
    CarryBegun(CarryHead),
    /// Tasks as they are at this point of the journal.
    CarriedTasks(Vec<CarriedTask>),
    /// A part of one topic of the knowledge map as it is at this point of the journal.
    CarriedTopic(CarriedTopic),
    /// Earlier changes of the knowledge map, the newest first, each list going on where the last one ended.
    CarriedHistory(Vec<Change>),
    /// All of the state has been written down once more.
    CarryEnded {
        /// The record with which that began.
        from: Lsn,
    },
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
    pub result: Data,
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

/// What counts through the whole state, at the moment when it begins to be carried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CarryHead {
    /// The life of the state.
    pub epoch: Epoch,
    /// The last number that a task or an outcome was given.
    pub seq: u64,
    /// The newest knowledge revision.
    pub revision: Revision,
    /// Workers that may have leases.
    pub workers: Vec<WorkerId>,
    /// Kinds that are paused, by name.
    pub paused: Vec<Arc<str>>,
}

/// Everything that is remembered of one task.
#[derive(Clone, Debug, PartialEq)]
pub struct CarriedTask {
    /// What was handed in; the payload is empty once it was let go, which it is when the task has an outcome
    /// that cannot be retried.
    pub task: NewTask,
    /// When it was handed in, or retried.
    pub submitted: Wall,
    /// On which client's account it counts, if it counts on one's and is not settled.
    pub client: Option<ClientId>,
    /// Its place among all: by age while it is unsettled, by the order of settling afterwards.
    pub seq: u64,
    /// The last attempt whose end was written down.
    pub attempt: Attempt,
    /// Attempts that failed.
    pub failures: u32,
    /// Attempts that ran for too long.
    pub timeouts: u32,
    /// Attempts whose worker died.
    pub crashes: u32,
    /// An attempt is known to have started, so that the task does not expire any more.
    pub began: bool,
    /// A worker was lost with it: let the next one confirm the start.
    pub confirm: bool,
    /// The ends of its newest attempts, oldest first.
    pub history: Vec<AttemptEnded>,
    /// Its outcome, if it has one.
    pub settled: Option<Box<CarriedOutcome>>,
}

/// The outcome of a carried task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CarriedOutcome {
    /// The outcome.
    pub outcome: Outcome,
    /// Why.
    pub cause: Cause,
    /// When.
    pub at: Wall,
    /// The worker that settled it.
    pub worker: Option<WorkerId>,
    /// The result.
    pub result: Data,
}

/// Entries of one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CarriedTopic {
    /// The topic.
    pub topic: String,
    /// The revision of its last change, a removal included.
    pub last: Revision,
    /// Keys and what stands there; none when the topic has become empty.
    pub entries: Vec<CarriedEntry>,
}

/// One entry of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CarriedEntry {
    /// The key.
    pub key: String,
    /// The revision of its last change.
    pub revision: Revision,
    /// The value.
    pub value: Bytes,
}
