//! What a session wants done.

use std::sync::Arc;

use bytes::Bytes;
use ganger_common::codec::Blob;
use ganger_common::message::{AttemptReport, EndDetail, FromWorker, Lease, Report as WireReport};
use ganger_common::{AttemptEnd, ErrorCode, Trace};

use super::config::KindIndex;

/// One thing to be done.
#[derive(Clone, PartialEq, Debug)]
pub enum Effect {
    /// Connect to the broker, and say `Connected` or `Disconnected`.
    Connect,
    /// Send this on the connection. If that fails, the connection is gone.
    Send(Outgoing),
    /// Drop the connection. Nothing need be said.
    Disconnect {
        /// Why, for logs.
        reason: String,
    },
    /// Subscribe to the knowledge socket in place of any older subscription, and say `Subscribed` or
    /// `Unsubscribed`.
    Subscribe {
        /// Its port on the broker's host, unless its address was set by hand.
        port: u16,
    },
    /// Tell a handler to stop.
    Cancel {
        /// Which.
        ticket: Ticket,
        /// Why.
        why: CancelReason,
    },
    /// A broadcast came.
    Broadcast {
        /// Its topic.
        topic: String,
        /// Its bytes.
        body: Bytes,
    },
    /// The session has ended; nothing more comes.
    Stopped(Stop),
}

/// Why a session ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stop {
    /// Why.
    pub reason: StopReason,
    /// Handlers that still run.
    pub unfinished: usize,
    /// Ends that the broker has not acknowledged. It will run those tasks again.
    pub unreported: usize,
}

/// Why a session ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StopReason {
    /// It was asked to drain, and everything was finished or handed back.
    Drained,
    /// It was asked to drain, and what still ran at the deadline was interrupted.
    DrainDeadline,
    /// It was asked to stop at once.
    Stopped,
    /// The broker refused it for good.
    Refused {
        /// The broker's code.
        code: ErrorCode,
        /// The broker's text.
        text: String,
    },
}

/// Why a handler is told to stop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CancelReason {
    /// The task was cancelled.
    Cancelled,
    /// The lease is another worker's now, or the task has its outcome.
    Stale,
    /// The run limit passed.
    TimedOut,
    /// The worker leaves.
    Leaving,
}

/// Names one running attempt within this worker. Never used twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ticket {
    /// The place among the slots.
    pub slot: u32,
    /// Counts through all attempts of this worker.
    pub serial: u64,
}

/// A task for an executor.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Assignment {
    /// What to say with the end.
    pub ticket: Ticket,
    /// The lease.
    pub lease: Lease,
    /// Which handler.
    pub kind: KindIndex,
    /// Whether progress and partial results are wanted.
    pub events: bool,
    /// The trace that the task belongs to.
    pub trace: Option<Box<Trace>>,
    /// The payload.
    pub payload: Bytes,
}

/// How a handler ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum End {
    /// With a result.
    Succeeded(Bytes),
    /// With an error.
    Failed(Failure),
}

/// Why a handler failed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Failure {
    /// What to tell a person.
    pub text: String,
    /// Trying again is pointless.
    pub is_final: bool,
    /// Try again after this many milliseconds, instead of the usual back-off.
    pub retry_after_ms: Option<u64>,
}

/// An ended attempt, until the broker has acknowledged it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ended {
    /// The lease.
    pub lease: Lease,
    /// How it ended.
    pub end: AttemptEnd,
    /// How long it ran.
    pub run_us: u64,
    /// Its result.
    pub result: Bytes,
    /// What went wrong.
    pub failure: Option<Box<Failure>>,
}

/// A message to the broker. Reports are encoded by whoever sends them, outside of the lock that executors
/// need.
#[derive(Clone, PartialEq, Debug)]
pub enum Outgoing {
    /// Ready to send.
    Frame(Bytes),
    /// To be encoded.
    Report(Report),
}

/// Starts and ends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    /// Its number; 0 when it needs no answer.
    pub seq: u64,
    /// What has started.
    pub started: Vec<Lease>,
    /// What has ended; also kept by the session.
    pub ended: Arc<Vec<Ended>>,
    /// How many tasks have not started.
    pub waiting: u32,
    /// The recall that it answers.
    pub recall: Option<u64>,
}

impl Outgoing {
    /// The message as bytes.
    pub fn encode(&self) -> Bytes {
        match self {
            Self::Frame(frame) => frame.clone(),
            Self::Report(report) => report.encode(),
        }
    }
}

impl Report {
    fn encode(&self) -> Bytes {
        let message = FromWorker::Report(WireReport {
            seq: self.seq,
            started: self.started.clone().into(),
            ended: self.ended.iter().map(Ended::wire).collect(),
            waiting: self.waiting,
            recall: self.recall,
        });
        let bytes: usize = self.ended.iter().map(|ended| ended.bytes() + ENDED_WIRE_BYTES).sum();
        let mut buffer = Vec::with_capacity(bytes + self.started.len() * ENDED_WIRE_BYTES + 128);
        ganger_common::encode_into(&message, &mut buffer);
        buffer.into()
    }
}

/// About what one end takes on the wire beside its result and texts.
const ENDED_WIRE_BYTES: usize = 56;

impl Ended {
    /// What it adds to the size of a report.
    pub(crate) fn bytes(&self) -> usize {
        self.result.len() + self.failure.as_ref().map_or(0, |failure| failure.text.len())
    }

    fn wire(&self) -> AttemptReport<'_> {
        AttemptReport {
            task: self.lease.task,
            epoch: self.lease.epoch,
            attempt: self.lease.attempt,
            end: self.end.code(),
            run_us: self.run_us,
            result: Blob(&self.result),
            detail: self.failure.as_ref().map(|failure| EndDetail {
                error: (!failure.text.is_empty()).then(|| failure.text.as_str().into()),
                is_final: failure.is_final,
                retry_after_ms: failure.retry_after_ms,
            }),
        }
    }
}
