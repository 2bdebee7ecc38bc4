//! Everything that the scheduler wants done.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ganger_common::message::Lease;
use ganger_common::view::{Explanation, KnowledgeStatusView, StatusView, TaskView, WorkerView};
use ganger_common::{Attempt, ConnId, Epoch, ErrorCode, Outcome, Revision, TaskId, Trace, WorkerId};

use crate::data::Data;
use crate::record::{Change, Lsn, Record};

/// One thing to do, in the order in which they come.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Write this to the journal. Report [`Journaled`](crate::Input::Journaled) once it is safe.
    Append {
        /// Its number: one more than that of the one before.
        lsn: Lsn,
        /// The fact.
        record: Record,
    },
    /// Tell a client.
    ToClient {
        /// On which connection.
        conn: ConnId,
        /// What.
        reply: ClientReply,
    },
    /// Tell a worker.
    ToWorker {
        /// On which connection.
        conn: ConnId,
        /// What.
        command: WorkerCommand,
    },
    /// Send to every subscriber.
    Publish(Publication),
    /// Close a connection, after what was sent on it.
    Close {
        /// Which.
        conn: ConnId,
    },
    /// A worker came or went. There is nothing to be done; it is for whoever looks on.
    Worker(WorkerChange),
    /// All of the state stands in the journal from this record on, and is safe there: what is before may go.
    Carried {
        /// The first record to keep.
        from: Lsn,
    },
    /// The drain is over: nothing runs and nothing waits to be said. The broker may end.
    Drained,
}

/// What a peer learns when its session opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// The newest knowledge revision. Everything else stands in the configuration.
    pub revision: Revision,
}

/// What has become of a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerChange {
    /// Its incarnation.
    pub worker: WorkerId,
    /// Its label.
    pub name: String,
    /// What.
    pub what: WorkerMove,
}

/// How a worker comes and goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WorkerMove {
    /// It is new.
    Joined {
        /// Where it runs.
        host: String,
        /// Tasks that it runs at a time.
        slots: u32,
    },
    /// It is back on another connection.
    Resumed,
    /// Its connection is gone; if it does not come back within the grace, it is lost.
    Away,
    /// It takes nothing new.
    Draining,
    /// It said goodbye.
    Left,
    /// It did not come back within the grace.
    Disconnected,
    /// Nothing was heard from it for too long.
    Silent,
}

/// What may be said to a client.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)] // The fields are those of the messages of the same names, documented there.
pub enum ClientReply {
    Welcome(Welcome),
    Heartbeat { revision: Revision },
    Accepted { seq: u64, refused: Vec<Refusal> },
    Outcomes { upto: u64, items: Vec<OutcomeItem> },
    Progress { task: TaskId, attempt: Attempt, fraction: Option<f32>, text: String },
    Partial { task: TaskId, attempt: Attempt, index: u64, data: Bytes },
    Verdicts { req: u64, refused: Vec<Refusal> },
    Discarded { req: u64, count: u64, refused: Vec<Refusal>, next: Option<String> },
    Task { req: u64, task: Box<TaskView>, result: Option<Data> },
    Payload { req: u64, payload: Data },
    Tasks { req: u64, rows: Vec<TaskView>, next: Option<String> },
    Explanation { req: u64, explanation: Box<Explanation> },
    Workers { req: u64, rows: Vec<WorkerView>, next: Option<String> },
    Status { req: u64, status: Box<StatusView> },
    Knowledge { req: u64, answer: KnowledgeAnswer },
    Done { req: u64 },
    Error(Refused),
    Goodbye { code: Option<ErrorCode>, text: String },
}

/// What may be said to a worker.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)] // The fields are those of the messages of the same names, documented there.
pub enum WorkerCommand {
    Welcome(Welcome),
    Heartbeat { revision: Revision },
    Tasks { epoch: Epoch, tasks: Vec<Dispatch> },
    Start { leases: Vec<Lease> },
    Recall { recall: u64, count: u32 },
    Cancel { leases: Vec<Lease>, code: Option<ErrorCode> },
    Ack { upto: u64, stale: Vec<Lease> },
    Drain { deadline: Duration },
    Knowledge { req: u64, answer: KnowledgeAnswer },
    Error(Refused),
    Goodbye { code: Option<ErrorCode>, text: String },
}

/// One item of a request that was not carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Its place in the request.
    pub index: u32,
    /// Why.
    pub code: ErrorCode,
    /// What to tell a person.
    pub text: String,
    /// When to try again.
    pub retry_after: Option<Duration>,
}

/// A request that was not carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Which, if it has a number.
    pub req: Option<u64>,
    /// Why.
    pub code: ErrorCode,
    /// What to tell a person.
    pub text: String,
    /// When to try again.
    pub retry_after: Option<Duration>,
}

/// The outcome of one task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutcomeItem {
    /// The task.
    pub task: TaskId,
    /// Its outcome.
    pub outcome: Outcome,
    /// The try that settled it.
    pub attempt: Attempt,
    /// The result; empty when there is none.
    pub result: Data,
    /// The error of the last attempt.
    pub error: Option<String>,
    /// There was a result and it was let go.
    pub result_dropped: bool,
}

/// One task to run.
#[derive(Clone, Debug, PartialEq)]
pub struct Dispatch {
    /// The task.
    pub task: TaskId,
    /// The try.
    pub attempt: Attempt,
    /// Its kind.
    pub kind: Arc<str>,
    /// Its payload.
    pub payload: Data,
    /// More, when there is more; boxed because nearly every task has none.
    pub detail: Option<Box<DispatchDetail>>,
}

/// What a worker must know about an attempt beside the task.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DispatchDetail {
    /// Stop it after this.
    pub run_limit: Option<Duration>,
    /// Report the start and wait for the answer before running.
    pub confirm: bool,
    /// The submitter wants progress and partial results.
    pub events: bool,
    /// The trace that the task belongs to.
    pub trace: Option<Trace>,
}

impl Dispatch {
    /// Whether the start is to be reported and the answer waited for.
    pub fn confirm(&self) -> bool {
        self.detail.as_ref().is_some_and(|detail| detail.confirm)
    }
}

/// What goes out to every subscriber.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Publication {
    /// The knowledge map changed.
    Delta {
        /// The change.
        change: Change,
        /// The revision of the change before it in the same topic.
        previous: Revision,
    },
    /// A broadcast.
    Broadcast {
        /// Its number among broadcasts and beats.
        number: u64,
        /// The newest knowledge revision.
        revision: Revision,
        /// The topic.
        topic: String,
        /// The bytes.
        body: Bytes,
    },
    /// A sign of life.
    Beat {
        /// Its number among broadcasts and beats.
        number: u64,
        /// The newest knowledge revision.
        revision: Revision,
    },
}

/// Answers about the knowledge map.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)] // The fields are those of the messages of the same names, documented there.
pub enum KnowledgeAnswer {
    Written { revision: Revision },
    Entry(Entry),
    Entries { revision: Revision, items: Vec<Entry>, more: bool },
    Changes { revision: Revision, items: Vec<Change> },
    Status(KnowledgeStatusView),
}

/// One entry of the knowledge map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The topic.
    pub topic: String,
    /// The key.
    pub key: String,
    /// The revision of its last change.
    pub revision: Revision,
    /// The value, unless it was left out.
    pub value: Option<Bytes>,
}
