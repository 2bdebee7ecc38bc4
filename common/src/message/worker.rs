//! What workers and the broker say about attempts.

use serde::{Deserialize, Serialize};

use super::shared::{ErrorText, Kind, Lease, Name};
use crate::code::ErrorCode;
use crate::codec::{Blob, List, array};
use crate::ids::{Attempt, Epoch, Revision, SessionToken, TaskId, WorkerId};
use crate::limits;
use crate::trace::{TraceContext, TraceState};
use crate::version::Version;

array! {
    /// A lease that a worker holds while it says hello.
    pub struct Held {
        /// The task.
        task: TaskId,
        /// The life of the broker that granted the lease.
        epoch: Epoch,
        /// The try.
        attempt: Attempt,
        /// Whether it has started.
        started: bool,
    }
}

/// Opens or resumes a worker's session.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct WorkerHello<'a> {
    /// The protocol that the worker speaks.
    pub protocol: Version,
    /// This incarnation of the worker.
    pub worker: WorkerId,
    /// The secret that lets the same worker, and nobody else, come back on another connection.
    pub token: SessionToken,
    /// A label for people.
    #[serde(borrow, default)]
    pub name: Name<'a>,
    /// The host it runs on, for people.
    #[serde(borrow, default)]
    pub host: Name<'a>,
    /// Its process id, for people.
    #[serde(default)]
    pub pid: u32,
    /// The kinds that it serves.
    #[serde(borrow)]
    pub kinds: List<Kind<'a>, { limits::WORKER_KINDS_MAX }>,
    /// How many tasks it runs at a time.
    pub slots: u32,
    /// What it runs or has queued: everything that it was given and has not reported the end of. Ends
    /// that are not acknowledged yet are not here: they are reported again after the welcome.
    #[serde(default)]
    pub holding: List<Held, { limits::HELD_LEASES_MAX }>,
    /// The knowledge revision that it has applied.
    #[serde(default)]
    pub revision: Revision,
    /// It finishes what it holds and takes nothing more.
    #[serde(default)]
    pub draining: bool,
}

/// Says that a worker lives.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct WorkerHeartbeat {
    /// The newest mark that the broker sent, 0 before the first.
    #[serde(default)]
    pub mark: u64,
    /// The knowledge revision that it has applied.
    #[serde(default)]
    pub revision: Revision,
    /// No answer is needed, unless there is a newer revision.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub quiet: bool,
}

/// What there is to tell about the end of an attempt beside the end.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct EndDetail<'a> {
    /// What went wrong.
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorText<'a>>,
    /// Trying again is pointless.
    #[serde(rename = "final", skip_serializing_if = "std::ops::Not::not")]
    pub is_final: bool,
    /// Try again after this, instead of the usual back-off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

array! {
    /// The end of one attempt.
    pub struct AttemptReport<'a> {
        /// The task.
        task: TaskId,
        /// The life of the broker that granted the lease.
        epoch: Epoch,
        /// The try.
        attempt: Attempt,
        /// How it ended, by its code; see [`AttemptEnd::from_code`](crate::AttemptEnd::from_code).
        end: u8,
        /// How long it ran, in microseconds; 0 when it did not start.
        run_us: u64,
        /// The result; empty when there is none.
        result: Blob<'a>,
        |
        /// More, when there is more.
        detail: EndDetail<'a>,
    }
}

/// Starts and ends of attempts.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Report<'a> {
    /// Counts up by one in each session; 0 for a report with starts alone, which needs no answer.
    pub seq: u64,
    /// What has started and not ended. A start whose end is in the same report need not be here.
    #[serde(default)]
    pub started: List<Lease, { limits::BATCH_ITEMS_MAX }>,
    /// What has ended.
    #[serde(borrow, default)]
    pub ended: List<AttemptReport<'a>, { limits::BATCH_ITEMS_MAX }>,
    /// How many of its tasks have not started now that this is sent.
    #[serde(default)]
    pub waiting: u32,
    /// The recall that this report answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recall: Option<u64>,
}

/// How far a running attempt is.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct AttemptProgress<'a> {
    /// Which attempt.
    pub lease: Lease,
    /// From 0 to 1; absent when the handler cannot know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fraction: Option<f32>,
    /// What to tell a person.
    #[serde(borrow, default)]
    pub text: ErrorText<'a>,
}

/// A part of a result, while the attempt still runs.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct AttemptPartial<'a> {
    /// Which attempt.
    pub lease: Lease,
    /// The number of this part within its attempt, from 0.
    pub index: u64,
    /// The bytes.
    #[serde(borrow)]
    pub data: Blob<'a>,
}

/// What a worker must know about an attempt beside the task.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct DispatchDetail {
    /// Stop it after this and report `timed_out`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_limit_ms: Option<u64>,
    /// Report the start, then wait for `start` before running: a worker was lost with this task before,
    /// and nobody could tell whether the task was the reason.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub confirm: bool,
    /// The submitter wants progress and partial results.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub events: bool,
    /// The span of the submitter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace: Option<TraceContext>,
    /// What goes with the span.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace_state: Option<TraceState>,
}

array! {
    /// A task to run.
    pub struct DispatchItem<'a> {
        /// The task.
        task: TaskId,
        /// The try.
        attempt: Attempt,
        /// Which handler.
        kind: Kind<'a>,
        /// The payload as it was submitted.
        payload: Blob<'a>,
        |
        /// More, when there is more.
        detail: DispatchDetail,
    }
}

/// Tasks to run.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Dispatch<'a> {
    /// The life of the broker that grants the leases.
    pub epoch: Epoch,
    /// The tasks; start them in this order.
    #[serde(borrow)]
    pub tasks: List<DispatchItem<'a>, { limits::BATCH_ITEMS_MAX }>,
}

/// Asks for tasks back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Recall {
    /// The number to answer with.
    pub recall: u64,
    /// At most this many.
    pub count: u32,
}

/// Stops attempts.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct CancelLeases {
    /// Which.
    pub leases: List<Lease, { limits::BATCH_ITEMS_MAX }>,
    /// Why: `stale` when the lease is no longer the current one, absent when the task was cancelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<ErrorCode>,
}

/// Confirms reports.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ReportAck {
    /// Every report up to this number is on record.
    pub upto: u64,
    /// Ends among them that changed nothing, because the lease was not the current one.
    #[serde(default)]
    pub stale: List<Lease, { limits::BATCH_ITEMS_MAX }>,
}

/// A drain, asked for by either side.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct WorkerDrain {
    /// How long what runs may go on before it is interrupted and handed back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_ms: Option<u64>,
}
