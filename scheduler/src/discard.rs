//! Tasks of the dead set are let go because somebody says so.
//!
//! By id, or all that fit. Those are looked for from the oldest on, a part at a time: the dead set may be large,
//! and everybody else waits meanwhile. Where a part ends is told by the task with which the next one begins, so
//! that going on costs nothing; if that task has gone meanwhile, the next part begins at the oldest, of which
//! nothing that fits is left.

use std::collections::BTreeSet;

use ganger_common::limits::BATCH_ITEMS_MAX;
use ganger_common::view::Among;
use ganger_common::{ConnId, ErrorCode, TaskId};

use crate::arena::TaskKey;
use crate::client_session::refusal;
use crate::effect::{ClientReply, Refusal};
use crate::input::Discard;
use crate::queue::KindKey;
use crate::record::Record;
use crate::scheduler::Scheduler;
use crate::task::Task;

/// Tasks of the dead set that are looked at in one turn: each was touched long ago and takes some hundred
/// nanoseconds to find, so together a millisecond or two.
const LOOKED_AT_MAX: usize = 16_384;

/// What is let go next.
struct Part {
    tasks: Vec<TaskId>,
    next: Option<String>,
}

impl Scheduler {
    pub(crate) fn on_discard(&mut self, conn: ConnId, req: u64, which: Discard) {
        let (Part { tasks, next }, refused) = match which {
            Discard::Tasks(tasks) => self.discardable(&tasks),
            Discard::All { among, kind, after } => {
                let Ok(from) = after.as_deref().map(parse_mark).transpose() else {
                    let text = "after: not a cursor of an earlier answer";
                    return self.refuse(conn, Some(req), ErrorCode::BadOption, text);
                };
                let kind = kind.map(|name| self.queues.find(&name));
                (self.fitting(among, kind, from), Vec::new())
            }
        };
        let count = tasks.len() as u64;
        if count > 0 {
            self.counters.tasks_discarded += count;
            #[cfg(feature = "planted")]
            if crate::planted::is(crate::planted::Bug::DiscardUnwritten) {
                self.apply(Record::Discarded { tasks });
                return self.reply(conn, ClientReply::Discarded { req, count, refused, next });
            }
            self.commit(Record::Discarded { tasks });
        }
        self.reply(conn, ClientReply::Discarded { req, count, refused, next });
    }

    fn discardable(&self, named: &[TaskId]) -> (Part, Vec<Refusal>) {
        let (mut tasks, mut refused) = (Vec::new(), Vec::new());
        for (index, id) in named.iter().enumerate() {
            let found = self.arena.find(*id).map(|key| self.arena[key].outcome());
            match found {
                None => {
                    refused.push(refusal(index, ErrorCode::UnknownTask, "no such task is remembered"));
                }
                Some(Some(outcome)) if Task::is_retryable_outcome(outcome) => tasks.push(*id),
                Some(outcome) => {
                    let has = outcome.map_or("no outcome yet", |outcome| outcome.as_str());
                    let text = format!("the task has {has}; only failed and dead ones can be discarded");
                    refused.push(refusal(index, ErrorCode::NotRetryable, text));
                }
            }
        }
        // The same one named twice goes once.
        let mut seen = BTreeSet::new();
        tasks.retain(|task| seen.insert(*task));
        (Part { tasks, next: None }, refused)
    }

    /// Those that fit, from where the last part ended.
    fn fitting(&self, among: Among, kind: Option<Option<KindKey>>, from: Option<(usize, u64)>) -> Part {
        let dead = self.retention.dead();
        let begins = from.and_then(|(slot, seq)| self.buried_at(slot, seq));
        let mut tasks = Vec::new();
        let mut rest = self.arena.walk_from(begins.or(dead.head()));
        for key in rest.by_ref().take(LOOKED_AT_MAX) {
            let task = &self.arena[key];
            let is_meant = task.outcome().is_some_and(|outcome| among.includes(outcome));
            if is_meant && kind.is_none_or(|kind| kind == Some(task.kind)) {
                tasks.push(task.id);
            }
            if tasks.len() == BATCH_ITEMS_MAX {
                break;
            }
        }
        let next = rest.next().map(|key| format!("{}.{}", key.slot(), self.arena[key].seq));
        Part { tasks, next }
    }

    /// The task of the dead set that stands in this slot, if it still does.
    fn buried_at(&self, slot: usize, seq: u64) -> Option<TaskKey> {
        let key = self.arena.at(slot)?;
        let task = &self.arena[key];
        let is_dead = task.outcome().is_some_and(Task::is_retryable_outcome);
        (is_dead && task.seq == seq).then_some(key)
    }

    /// A task that was not met yet while a journal is read comes later, or is gone.
    pub(crate) fn apply_discarded(&mut self, task: TaskId) {
        let Some(key) = self.arena.find(task) else { return };
        if self.arena[key].outcome().is_some_and(Task::is_retryable_outcome) {
            self.retention.exhume(&mut self.arena, key);
            self.arena.remove(key);
        }
    }
}

fn parse_mark(mark: &str) -> Result<(usize, u64), ()> {
    let (slot, seq) = mark.split_once('.').ok_or(())?;
    Ok((slot.parse().map_err(drop)?, seq.parse().map_err(drop)?))
}
