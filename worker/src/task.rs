//! What a handler gets: the task, and everything around it.

use std::sync::Arc;

use bytes::Bytes;
use ganger_common::message::Lease;
use ganger_common::{Attempt, Epoch, TaskId, Trace, TraceContext, TraceState, WorkerId};

use crate::replica::Knowledge;
use crate::session::Ticket;
use crate::shared::Seat;

/// A task to run.
#[derive(Clone, Debug)]
pub struct Task {
    /// Its id, chosen by whoever submitted it.
    pub id: TaskId,
    /// Its kind.
    pub kind: Arc<str>,
    /// Its payload, as it was submitted.
    pub payload: Bytes,
}

/// Rises with every attempt at a task: something that takes writes from handlers can refuse those of an
/// attempt that lost its lease, by remembering the highest token that it saw for the task.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FencingToken {
    // The epoch is compared first: a broker without a journal begins to count attempts anew when a task is
    // handed in again after its restart.
    /// The life of the broker that granted the lease.
    pub epoch: Epoch,
    /// The number of the attempt. A broker with a journal counts it through, over its restarts too.
    pub attempt: Attempt,
}

/// Everything around a task: which try it is, whether it should stop, where to tell how far it is.
#[derive(Clone, Debug)]
pub struct Context {
    pub(crate) seat: Arc<Seat>,
    pub(crate) ticket: Ticket,
    pub(crate) lease: Lease,
    pub(crate) events: bool,
    pub(crate) trace: Option<Box<Trace>>,
}

impl Context {
    /// The number of this try: 1, 2, 3 …
    pub fn attempt(&self) -> Attempt {
        self.lease.attempt
    }

    /// The task.
    pub fn task_id(&self) -> TaskId {
        self.lease.task
    }

    /// This incarnation of the worker.
    pub fn worker_id(&self) -> WorkerId {
        self.seat.shared().worker
    }

    /// See [`FencingToken`].
    pub fn fencing_token(&self) -> FencingToken {
        FencingToken { attempt: self.lease.attempt, epoch: self.lease.epoch }
    }

    /// The trace that the task belongs to, for what the handler calls: the span of this attempt where the worker
    /// exports spans, and else that of the submitter. None when the submitter named none.
    pub fn trace(&self) -> Option<TraceContext> {
        self.trace.as_ref().map(|trace| trace.context)
    }

    /// What the submitter's tracing system says beside [`trace`](Self::trace): a `tracestate`.
    pub fn trace_state(&self) -> Option<&TraceState> {
        self.trace.as_ref()?.state.as_ref()
    }

    /// Whether the handler should stop: the task was cancelled or given to another worker, its run limit
    /// passed, or the worker leaves. Whatever it returns then is of no use any more.
    pub fn is_cancelled(&self) -> bool {
        self.seat.shared().cell(self.ticket).is_cancelled(self.ticket)
    }

    /// Waits until [`is_cancelled`](Self::is_cancelled).
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn cancelled(&self) {
        self.seat.shared().cell(self.ticket).cancelled(self.ticket).await;
    }

    /// Whether the submitter wants progress and partial results.
    pub fn wants_events(&self) -> bool {
        self.events
    }

    /// Tells how far the task is, from 0 to 1. Cheap: only the newest word is sent, a few times a second,
    /// and only if the submitter asked for it.
    pub fn progress(&self, fraction: f32, text: impl Into<String>) {
        if self.events {
            self.seat.shared().progress(self.ticket, Some(fraction), text.into());
        }
    }

    /// Hands out a part of the result while the task runs. Returns whether it was taken: not when the
    /// submitter did not ask for parts, the broker is away, or too many wait to be sent. Parts are for
    /// watching; what must arrive belongs into the result.
    pub fn partial(&self, data: impl Into<Bytes>) -> bool {
        self.events && self.seat.shared().partial(self.ticket, &data.into())
    }

    /// The worker's copy of the knowledge map.
    pub fn knowledge(&self) -> &Knowledge {
        &self.seat.shared().knowledge
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_rises_although_a_new_life_of_the_broker_counts_attempts_anew() {
        let token = |epoch, attempt| FencingToken { epoch: Epoch(epoch), attempt: Attempt(attempt) };
        assert!(token(1, 1) < token(1, 2));
        assert!(token(1, 3) < token(2, 1));
    }
}
