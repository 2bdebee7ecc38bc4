//! One task that was handed in, or is watched.

use std::future::poll_fn;
use std::sync::Arc;

use futures_util::Stream;
use futures_util::stream::FuturesUnordered;
use ganger_common::TaskId;
use ganger_common::message::Durability;

use crate::desk::Desk;
use crate::error::Result;
use crate::task::TaskOutcome;

/// Waits for one task. Dropping it does not cancel the task.
#[derive(Debug)]
pub struct TaskHandle {
    desk: Arc<Desk>,
    slot: usize,
    id: TaskId,
}

impl TaskHandle {
    pub(crate) fn new(desk: Arc<Desk>, slot: usize, id: TaskId) -> Self {
        Self { desk, slot, id }
    }

    /// The task.
    pub fn id(&self) -> TaskId {
        self.id
    }

    /// Waits until the broker has taken the task, and tells how far that promise reaches.
    ///
    /// # Errors
    /// When the broker refuses the task, or the client ends before.
    ///
    /// # Cancel safety
    /// It can be called again when the future was dropped.
    pub async fn accepted(&mut self) -> Result<Durability> {
        poll_fn(|context| self.desk.poll_accepted(self.slot, context.waker())).await
    }

    /// Waits for the outcome. Any outcome is `Ok`, a failed task's, too.
    ///
    /// # Errors
    /// When there will be no outcome here: the task was refused, is detached, was forgotten by the broker,
    /// or the client ended before.
    ///
    /// # Cancel safety
    /// It can be called again, when the future was dropped and when it was not.
    pub async fn outcome(&mut self) -> Result<TaskOutcome> {
        poll_fn(|context| self.desk.poll_end(self.slot, context.waker())).await
    }
}

impl Drop for TaskHandle {
    fn drop(&mut self) {
        self.desk.leave_slot(self.slot);
    }
}

/// The outcomes of some tasks, in the order in which they end.
pub fn as_completed(
    handles: impl IntoIterator<Item = TaskHandle>,
) -> impl Stream<Item = (TaskId, Result<TaskOutcome>)> {
    let outcome = |mut handle: TaskHandle| async move { (handle.id(), handle.outcome().await) };
    handles.into_iter().map(outcome).collect::<FuturesUnordered<_>>()
}
