//! What whoever looks on may know of a task.

use ganger_common::{Account, TaskId, TraceContext, TraceState};

use crate::record::Lsn;
use crate::scheduler::Scheduler;
use crate::task::Task;
use crate::time::Wall;

/// A task that belongs to a trace.
#[derive(Clone, Copy, Debug)]
pub struct Traced<'a> {
    /// The span of its submitter.
    pub context: TraceContext,
    /// What goes with that.
    pub state: Option<&'a TraceState>,
    /// Its kind.
    pub kind: &'a str,
    /// When it was handed in.
    pub submitted: Wall,
}

impl Scheduler {
    /// The kind of a task, as long as anything is remembered of it.
    pub fn kind_of(&self, task: TaskId) -> Option<&str> {
        let key = self.arena.find(task)?;
        Some(&self.queues.kind(self.arena[key].kind).name)
    }

    /// The trace of a task that has one, as long as anything is remembered of it.
    pub fn traced(&self, task: TaskId) -> Option<Traced<'_>> {
        let task = &self.arena[self.arena.find(task)?];
        let options = &task.extra.as_ref()?.options;
        Some(Traced {
            context: options.trace?,
            state: options.trace_state.as_ref(),
            kind: &self.queues.kind(task.kind).name,
            submitted: task.submitted,
        })
    }

    /// The last record that is safe, and the last that was appended.
    pub fn written(&self) -> (Lsn, Lsn) {
        (self.out.safe(), self.out.appended())
    }

    /// On whose account a task without an outcome counts, with the bytes of its payload.
    pub fn account_of(&self, task: TaskId) -> Option<(Account, usize)> {
        counted(&self.arena[self.arena.find(task)?])
    }

    /// All tasks without an outcome that count on somebody's account.
    pub fn accounts(&self) -> impl Iterator<Item = (TaskId, Account, usize)> + '_ {
        let tasks = self.arena.iter().map(|(_, task)| task);
        tasks.filter_map(|task| counted(task).map(|(account, bytes)| (task.id, account, bytes)))
    }
}

fn counted(task: &Task) -> Option<(Account, usize)> {
    let account = task.extra.as_ref()?.options.account?;
    (!task.is_settled()).then_some((account, task.data.len()))
}
