//! What listings, explanations and status replies show. The same structs serve the wire, the command
//! line's tables and its `--json`.

use serde::{Deserialize, Serialize};

use crate::ids::{Attempt, Epoch, Revision, TaskId, WorkerId};
use crate::outcome::{AttemptEnd, Outcome};
use crate::trace::TraceId;

/// Where a task is in its life.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum TaskState {
    /// Ready, in the queue of its kind.
    Queued,
    /// Ready, but no connected worker serves its kind.
    Parked,
    /// Not due yet: a delay, or the back-off after a failure.
    Delayed,
    /// Given to a worker, not reported as started.
    Assigned,
    /// Running on a worker.
    Running,
    /// It has its outcome.
    Settled,
}

impl TaskState {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Parked => "parked",
            Self::Delayed => "delayed",
            Self::Assigned => "assigned",
            Self::Running => "running",
            Self::Settled => "settled",
        }
    }
}

/// Which tasks a listing shows.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum StateFilter {
    /// Ready, parked ones included.
    Queued,
    /// Ready, but no connected worker serves the kind.
    Parked,
    /// Not due yet.
    Delayed,
    /// Given to a worker, not reported as started.
    Assigned,
    /// Running on a worker.
    Running,
    /// With any outcome.
    Settled,
    /// Succeeded.
    Succeeded,
    /// Failed.
    Failed,
    /// Cancelled.
    Cancelled,
    /// Expired.
    Expired,
    /// Dead.
    Dead,
}

impl StateFilter {
    /// Every filter, in the order of a task's life.
    pub const ALL: [Self; 11] = [
        Self::Queued,
        Self::Parked,
        Self::Delayed,
        Self::Assigned,
        Self::Running,
        Self::Settled,
        Self::Succeeded,
        Self::Failed,
        Self::Cancelled,
        Self::Expired,
        Self::Dead,
    ];

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Parked => "parked",
            Self::Delayed => "delayed",
            Self::Assigned => "assigned",
            Self::Running => "running",
            Self::Settled => "settled",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
            Self::Dead => "dead",
        }
    }
}

/// Which part of the dead set.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Among {
    /// Tasks under which too many workers died.
    Dead,
    /// Tasks that failed.
    Failed,
    /// All of it.
    Any,
}

impl Among {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Dead, Self::Failed, Self::Any];

    /// Whether a task with this outcome is meant.
    pub const fn includes(self, outcome: Outcome) -> bool {
        match self {
            Self::Dead => matches!(outcome, Outcome::Dead),
            Self::Failed => matches!(outcome, Outcome::Failed),
            Self::Any => matches!(outcome, Outcome::Dead | Outcome::Failed),
        }
    }
}

/// One attempt that did not settle its task the plain way, or that did.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct AttemptView {
    /// Its number.
    pub attempt: Attempt,
    /// The worker that had it.
    pub worker: WorkerId,
    /// That worker's label.
    pub worker_name: String,
    /// How it ended.
    pub end: AttemptEnd,
    /// When, in milliseconds since 1970 by the broker's wall clock.
    pub at_unix_ms: u64,
    /// How long it ran, when the worker told.
    pub run_us: u64,
    /// What went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// One task.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct TaskView {
    /// Its id.
    pub id: TaskId,
    /// Its kind.
    pub kind: String,
    /// Where it is.
    pub state: TaskState,
    /// Its outcome, once it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// Its priority.
    pub priority: i16,
    /// The number of its last attempt; 0 before the first.
    pub attempt: Attempt,
    /// Attempts that failed.
    pub failures: u32,
    /// Attempts that timed out.
    pub timeouts: u32,
    /// Workers that died under it.
    pub crashes: u32,
    /// When it was submitted, in milliseconds since 1970 by the broker's wall clock.
    pub submitted_unix_ms: u64,
    /// When it got its outcome.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled_unix_ms: Option<u64>,
    /// Bytes of its payload.
    pub payload_bytes: u64,
    /// Bytes of its result.
    pub result_bytes: u64,
    /// The worker that has it, or that settled it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<WorkerId>,
    /// That worker's label; none when the worker is gone and an attempt of it brought the result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker_name: Option<String>,
    /// The error of the last attempt that had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The trace that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(value_type = Option<String>, pattern = "^[0-9a-f]{32}$"))]
    pub trace_id: Option<TraceId>,
    /// Attempts that ended without a result, oldest first; the newest [`HISTORY_MAX`] are kept.
    #[serde(default)]
    pub attempts: Vec<AttemptView>,
}

/// Most attempts that a task's history keeps.
pub const HISTORY_MAX: usize = 32;

/// Why a task is where it is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Explanation {
    /// The task.
    pub task: TaskView,
    /// The reasons, the most telling first; never empty.
    pub reasons: Vec<Reason>,
}

/// One reason, by a code for programs and a text for people.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Reason {
    /// The code.
    pub code: ReasonCode,
    /// One sentence with the figures.
    pub text: String,
}

/// Codes of [`Reason`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ReasonCode {
    /// Somebody has paused the kind.
    KindPaused,
    /// No connected worker serves the kind.
    NoWorkerForKind,
    /// The delay that the submitter asked for has not passed.
    Delayed,
    /// The last attempt failed and the pause before the next has not passed.
    Backoff,
    /// No worker of the kind has applied the knowledge revision that the task asks for.
    WaitingForKnowledge,
    /// Every worker of the kind has as much as it may hold.
    NoCredit,
    /// Every worker of the kind is draining.
    WorkersDraining,
    /// Other tasks of the kind are ahead of it.
    BehindOthers,
    /// It is with a worker and has not been reported as started.
    Assigned,
    /// It is with a worker that lost its connection and may still come back.
    WorkerAway,
    /// It runs.
    Running,
    /// It has a result.
    Succeeded,
    /// A handler said that trying again is pointless.
    FailedFinal,
    /// Every allowed attempt failed.
    FailuresExhausted,
    /// Every allowed attempt timed out.
    TimeoutsExhausted,
    /// Too many workers died under it.
    CrashLimit,
    /// Somebody cancelled it.
    Cancelled,
    /// Its time to live ended before it started.
    Expired,
    /// The broker has just been started and waits for workers to come back with what they run.
    Recovering,
    /// A code that this build does not know; a newer peer sent it.
    #[serde(other)]
    Unknown,
}

/// One worker.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct WorkerView {
    /// Its incarnation.
    pub id: WorkerId,
    /// Its label.
    pub name: String,
    /// Its host.
    pub host: String,
    /// Its process id.
    pub pid: u32,
    /// `ready`, `draining` or `away`.
    pub state: WorkerState,
    /// The kinds that it serves.
    pub kinds: Vec<String>,
    /// How many tasks it runs at a time.
    pub slots: u32,
    /// How many tasks it may hold now.
    pub credit: u32,
    /// Tasks that run there.
    pub running: u32,
    /// Tasks that wait there.
    pub waiting: u32,
    /// Attempts that ended there, in this session.
    pub ended: u64,
    /// Milliseconds since it was last heard.
    pub silent_ms: u64,
    /// The knowledge revision that it has applied.
    pub revision: Revision,
    /// Average run of a task, in microseconds; 0 before the first.
    pub average_run_us: u64,
    /// How long its slots have been busy together, in microseconds: what has ended in this session, and what
    /// has passed of what runs. Between two looks at it, its growth over the time of all slots is how busy the
    /// worker was.
    #[serde(default)]
    pub busy_us: u64,
}

/// What may be expected of a worker.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum WorkerState {
    /// It takes tasks.
    Ready,
    /// It finishes what it holds.
    Draining,
    /// Its connection is gone and the grace has not passed.
    Away,
}

impl WorkerState {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Draining => "draining",
            Self::Away => "away",
        }
    }
}

/// One kind of tasks.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct KindView {
    /// Its name.
    pub kind: String,
    /// Ready tasks.
    pub queued: u64,
    /// Tasks that are with workers.
    pub leased: u64,
    /// Connected workers that serve it.
    pub workers: u32,
    /// Milliseconds since the first task of the queue was submitted.
    pub oldest_ms: u64,
    /// Somebody has paused it: nothing of it is given out.
    #[serde(default)]
    pub paused: bool,
}

/// The broker's figures. Counters count from the start of the broker's process.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct StatusView {
    /// Program and version.
    pub broker: String,
    /// The life of its state.
    pub epoch: Epoch,
    /// How long it has been up.
    pub uptime_ms: u64,
    /// `memory` or `journal`.
    pub durability: String,
    /// It takes nothing new.
    pub draining: bool,
    /// Connected workers.
    pub workers: u32,
    /// Their slots.
    pub slots: u32,
    /// Connected clients.
    pub clients: u32,
    /// Ready tasks.
    pub queued: u64,
    /// Among them: tasks of a kind that nobody serves.
    pub parked: u64,
    /// Tasks that are not due.
    pub delayed: u64,
    /// Tasks given to a worker, not started.
    pub assigned: u64,
    /// Tasks that run.
    pub running: u64,
    /// Outcomes that are kept.
    pub retained: u64,
    /// Bytes of results that are kept.
    pub retained_bytes: u64,
    /// Tasks in the dead set.
    pub dead_set: u64,
    /// Bytes of payloads of tasks that are not settled.
    pub payload_bytes: u64,
    /// The newest knowledge revision.
    pub revision: Revision,
    /// Entries of the knowledge map.
    pub knowledge_entries: u64,
    /// Counters by name, in the order of the names.
    pub counters: std::collections::BTreeMap<String, u64>,
    /// The kinds, by name; at most 1,000: those that are paused, and the first of the others.
    pub kinds: Vec<KindView>,
    /// How long things took since the start of the broker's process.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub durations: Vec<HistogramView>,
}

/// How many lasted how long.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct HistogramView {
    /// What was measured: `queue_wait`, `attempt_run` or `submit_to_settle`.
    pub name: String,
    /// The upper ends of the buckets, ascending, in microseconds; each belongs to its bucket.
    pub bounds_us: Vec<u64>,
    /// How many are in each bucket, and at the end how many are above all of them.
    pub counts: Vec<u64>,
    /// All spans together, in microseconds.
    pub sum_us: u64,
}

/// Who has which revision.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct KnowledgeStatusView {
    /// The newest revision.
    pub revision: Revision,
    /// Entries of the map.
    pub entries: u64,
    /// Bytes of all values.
    pub bytes: u64,
    /// The oldest revision from which `since` can be answered.
    pub history_from: Revision,
    /// The workers, by how far they are behind; at most the first 1,000.
    pub workers: Vec<WorkerRevision>,
}

/// How far one worker is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct WorkerRevision {
    /// The worker.
    pub worker: WorkerId,
    /// Its label.
    pub name: String,
    /// What it has applied.
    pub revision: Revision,
}
