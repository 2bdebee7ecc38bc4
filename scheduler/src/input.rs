//! Everything that can happen to the scheduler.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ganger_common::message::Lease;
use ganger_common::view::{Among, StateFilter};
use ganger_common::{
    Attempt, AttemptEnd, ClientId, ConnId, Epoch, Revision, SessionToken, TaskId, TaskOptions, WorkerId,
};

use crate::data::Data;
use crate::record::Lsn;

/// One thing that happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// A client said something.
    Client {
        /// On which connection.
        conn: ConnId,
        /// What.
        request: ClientRequest,
    },
    /// A worker said something.
    Worker {
        /// On which connection.
        conn: ConnId,
        /// What.
        request: WorkerRequest,
    },
    /// A connection is gone. A hint: it may come late or not at all.
    ConnectionDown {
        /// Which.
        conn: ConnId,
    },
    /// Every record up to this one is as safe as the journal makes it.
    Journaled {
        /// The last safe record.
        upto: Lsn,
    },
    /// The journal has grown long: write the state down once more, so that its beginning can go. While that
    /// is going on, another of these changes nothing.
    Carry,
    /// How the journal keeps up.
    Storage {
        /// There is no room to write down anything more than what must be: nothing new is taken.
        full: bool,
        /// So much waits to be written that nothing is given out until that is less. Clients are not heard
        /// meanwhile, so their silence means nothing.
        behind: bool,
    },
    /// The operator wants the broker to end: take nothing new, let workers finish.
    Drain {
        /// How long what runs may go on.
        deadline: Duration,
    },
}

/// What a client may say.
#[derive(Clone, Debug)]
#[allow(missing_docs)] // The fields are those of the messages of the same names, documented there.
pub enum ClientRequest {
    Hello { client: ClientId, token: SessionToken, name: String },
    Heartbeat,
    Submit { seq: u64, again: bool, tasks: Vec<NewTask> },
    Watch { req: u64, tasks: Vec<TaskId>, events: bool },
    Ack { upto: u64 },
    Cancel { req: u64, tasks: Vec<TaskId> },
    Retry { req: u64, tasks: Vec<TaskId> },
    Discard { req: u64, which: Discard },
    Pause { req: u64, kind: Arc<str> },
    Resume { req: u64, kind: Arc<str> },
    Fetch { req: u64, task: TaskId },
    Payload { req: u64, task: TaskId },
    Explain { req: u64, task: TaskId },
    List { req: u64, filter: TaskFilter, after: Option<String>, limit: Option<u32> },
    ListWorkers { req: u64, after: Option<String>, limit: Option<u32> },
    Status { req: u64 },
    Drain { req: u64, workers: Vec<String>, broker: bool, deadline: Option<Duration> },
    Knowledge { req: u64, op: KnowledgeOp },
    Publish { req: u64, topic: String, body: Bytes },
    Goodbye,
}

/// What a worker may say.
#[derive(Clone, Debug)]
#[allow(missing_docs)] // The fields are those of the messages of the same names, documented there.
pub enum WorkerRequest {
    Hello(WorkerHello),
    Heartbeat { revision: Revision },
    Report { seq: u64, started: Vec<Lease>, ended: Vec<Ended>, waiting: u32, recall: Option<u64> },
    Progress { lease: Lease, fraction: Option<f32>, text: String },
    Partial { lease: Lease, index: u64, data: Bytes },
    Drain { deadline: Option<Duration> },
    Knowledge { req: u64, op: KnowledgeOp },
    Goodbye,
}

/// A task as it is handed in. Options are boxed because nearly every task has none.
#[derive(Clone, Debug, PartialEq)]
pub struct NewTask {
    /// Its id.
    pub id: TaskId,
    /// Its kind.
    pub kind: Arc<str>,
    /// Its payload; always at hand when the task is handed in.
    pub payload: Data,
    /// Its options, unless all are default; already checked.
    pub options: Option<Box<TaskOptions>>,
}

/// What a worker says of itself.
#[derive(Clone, Debug)]
pub struct WorkerHello {
    /// Its incarnation.
    pub worker: WorkerId,
    /// Its secret.
    pub token: SessionToken,
    /// Its label.
    pub name: String,
    /// Its host.
    pub host: String,
    /// Its process id.
    pub pid: u32,
    /// What it serves.
    pub kinds: Vec<Arc<str>>,
    /// How many tasks it runs at a time; at least 1.
    pub slots: u32,
    /// What it runs or has queued.
    pub holding: Vec<Held>,
    /// What it knows.
    pub revision: Revision,
    /// It takes nothing more.
    pub draining: bool,
}

/// A lease that a worker holds while it says hello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// The lease.
    pub lease: Lease,
    /// Whether it has started.
    pub started: bool,
}

/// The end of one attempt.
#[derive(Clone, Debug, PartialEq)]
pub struct Ended {
    /// The task.
    pub task: TaskId,
    /// The life of the broker that granted the lease.
    pub epoch: Epoch,
    /// The try.
    pub attempt: Attempt,
    /// How it ended: one of those that a worker may report.
    pub end: AttemptEnd,
    /// How long it ran.
    pub run_us: u64,
    /// The result.
    pub result: Bytes,
    /// More, when there is more.
    pub detail: Option<Box<EndDetail>>,
}

/// What there is to tell about an end.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EndDetail {
    /// What went wrong.
    pub error: Option<String>,
    /// Trying again is pointless.
    pub is_final: bool,
    /// Try again after this.
    pub retry_after: Option<Duration>,
}

/// Which tasks a listing shows.
#[derive(Clone, Debug, Default)]
pub struct TaskFilter {
    /// Only in this state.
    pub state: Option<StateFilter>,
    /// Only of this kind.
    pub kind: Option<String>,
}

/// Which tasks of the dead set are let go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Discard {
    /// These.
    Tasks(Vec<TaskId>),
    /// All that fit, a part at a time.
    All {
        /// With which outcome.
        among: Among,
        /// Only of this kind.
        kind: Option<String>,
        /// Where the last part ended.
        after: Option<String>,
    },
}

/// What may be asked of the knowledge map.
#[derive(Clone, Debug)]
#[allow(missing_docs)] // The fields are those of the messages of the same names, documented there.
pub enum KnowledgeOp {
    Put { topic: String, key: String, value: Bytes, expect: Option<Revision> },
    Delete { topic: String, key: String, expect: Option<Revision> },
    Get { topic: String, key: String },
    List { prefix: String, after: Option<(String, String)>, keys_only: bool, limit: Option<u32> },
    Since { revision: Revision },
    Status,
}
