//! The smaller parts of the log's entries.

use ganger_common::{Attempt, AttemptEnd, ClientId, Outcome, Revision, TaskId, WorkerId};

use super::log::{Digest, LeaseId};

/// Why a handler was told to stop.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Told {
    /// The task was cancelled.
    Cancelled,
    /// The lease is another worker's now, or the task has its outcome.
    Stale,
    /// The run limit passed.
    TimedOut,
    /// The worker leaves.
    Leaving,
}

/// How a handler ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RunEnd {
    /// With a result.
    Succeeded(Digest),
    /// With an error.
    Failed,
    /// With an error that no further try can mend.
    FailedForGood,
    /// It panicked, which its executor reports as a failure.
    Panicked,
    /// It stopped because it was told to.
    Stopped,
    /// Its process ended first.
    Died,
}

/// Something that binds whoever says it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Promise {
    /// These tasks are taken: the batch of an `accepted` without what was refused.
    Accepted(TaskId),
    /// A task has its outcome.
    Outcome {
        /// The task.
        task: TaskId,
        /// The outcome.
        outcome: Outcome,
        /// The last try.
        attempt: Attempt,
        /// The result.
        result: Digest,
    },
    /// A task is cancelled.
    Cancelled(TaskId),
    /// A task is in its queue again.
    Retried(TaskId),
    /// A task of the dead set was let go.
    Discarded(TaskId),
    /// Nothing of a kind is given out.
    KindPaused(u8),
    /// A kind is given out again.
    KindResumed(u8),
    /// An ended attempt is on record: its worker forgets it.
    EndAcknowledged(LeaseId),
    /// A change of the knowledge map is on record: the answer to who asked for it.
    KnowledgeWritten(Revision),
    /// A revision was named: in a welcome, a heartbeat, a beat, or with a published or repeated change.
    RevisionNamed(Revision),
}

/// One fact of a record of the journal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fact {
    /// A new life of the state began.
    Started,
    /// A task was taken, from this client.
    Accepted(TaskId, Option<ClientId>),
    /// An attempt ended without settling its task.
    AttemptEnded {
        /// The task.
        task: TaskId,
        /// The try.
        attempt: Attempt,
        /// Who had it.
        worker: WorkerId,
        /// How.
        end: AttemptEnd,
    },
    /// A task has its outcome.
    Settled {
        /// The task.
        task: TaskId,
        /// The outcome.
        outcome: Outcome,
        /// The last try.
        attempt: Attempt,
        /// The result.
        result: Digest,
    },
    /// A task is in its queue again.
    Retried(TaskId),
    /// A task of the dead set was let go by somebody.
    Discarded(TaskId),
    /// A kind was paused.
    KindPaused(u8),
    /// A kind was resumed.
    KindResumed(u8),
    /// Old outcomes were let go: those with results up to the one of the first number, those of the dead set
    /// up to the second. Whatever is accepted, settled or retried takes the next number.
    Forgotten(u64, u64),
    /// The knowledge map changed.
    Knowledge {
        /// The revision of the change.
        revision: Revision,
        /// The topic.
        topic: String,
        /// The key.
        key: String,
        /// The new value, absent when the key was removed.
        value: Option<Digest>,
    },
    /// Something that this log does not tell apart.
    Other,
}

/// Why a broker ended by itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BrokerEnd {
    /// It was drained.
    Drained,
    /// Its journal failed.
    JournalFailed,
    /// Anything else: always a defect.
    Error(String),
}

/// Who ended a connection.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum CutBy {
    /// The network, or a side that died.
    Network,
    /// The peer closed it.
    Peer,
    /// The broker closed it.
    Broker,
    /// The broker's transport: the peer did not read what it was sent.
    Overflow,
}

/// What the injector does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[allow(missing_docs)] // The names say it.
pub enum Fault {
    WorkerKill,
    WorkerPause,
    WorkerDrain,
    /// A task that takes its worker down.
    PoisonTask,
    /// A handler that does not stop when it is told to.
    StubbornHandler,
    ClientKill,
    ClientPause,
    BrokerKill,
    BrokerPause,
    /// The connection is cut; both sides notice, soon.
    LinkCut,
    /// The connection is cut and only one side notices; the other goes on believing.
    HalfOpen,
    /// Nothing passes from the peer to the broker for a while; the connection stays.
    SilenceIn,
    /// Nothing passes from the broker to the peer for a while.
    SilenceOut,
    /// The peer takes what it is sent slowly.
    SlowReader,
    /// Nobody reaches the broker, for a while.
    Partition,
    /// Every connection at once is cut.
    ReconnectStorm,
    /// A second connection that presents the credentials of a live session.
    DuplicateSession,
    /// A worker reports an end a second time, or one whose lease it has lost.
    LateReport,
    /// Publications are dropped.
    PubLoss,
    /// The subscription of a worker is cut.
    PubCut,
    SlowSync,
    FailedSync,
    /// Records that were written and not synced are lost with the power.
    LostWrites,
    /// A jump of a node's wall clock.
    WallJump,
    /// More is submitted than fits.
    Overload,
    Cancel,
    Retry,
    /// Somebody lets tasks of the dead set go.
    Discard,
    /// Somebody pauses a kind.
    KindPause,
    /// A program submits what it had submitted before.
    Resubmit,
    BrokerDrain,
    /// The disk takes no more than a little, and then nothing, until there is room again.
    DiskFull,
    /// The disk is slower than what it is given.
    DiskBehind,
}

/// What the broker holds at a moment, as the world around it can see.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Sample {
    /// Tasks in the broker without an outcome.
    pub unsettled: u64,
    /// Bytes of their payloads.
    pub payload_bytes: u64,
    /// Messages that wait to be taken in.
    pub inbox: u64,
    /// Bytes sent to one connection and not taken by the network, the most of any.
    pub outbox_bytes_max: u64,
    /// Records that were handed to the disk and are not safe.
    pub unsynced: u64,
    /// Outcomes that are kept.
    pub retained: u64,
    /// Tasks in the dead set.
    pub dead_set: u64,
}
