//! What whoever looks on may know of a task.

use ganger_common::TaskId;

use crate::scheduler::Scheduler;

impl Scheduler {
    /// The kind of a task, as long as anything is remembered of it.
    pub fn kind_of(&self, task: TaskId) -> Option<&str> {
        let key = self.arena.find(task)?;
        Some(&self.queues.kind(self.arena[key].kind).name)
    }
}
