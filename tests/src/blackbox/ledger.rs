//! All that the clients asked for, and all that they were told.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ganger_client::TaskOutcome;
use ganger_common::{Attempt, ErrorCode, Outcome, TaskId};

use super::workload::Spec;
use crate::diary::now_ns;
use crate::dice::Dice;

/// The books of all clients. One lock: a task is written a few times, in moments.
#[derive(Debug, Default)]
pub struct Ledger {
    books: Mutex<Books>,
}

#[derive(Debug, Default)]
struct Books {
    tasks: HashMap<TaskId, Entry>,
    /// In the order of their submission, to find recent ones.
    order: Vec<TaskId>,
    sums: Sums,
}

/// Figures of the moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Sums {
    /// Tasks that were handed in.
    pub submitted: u64,
    /// Of those, tasks that the broker has taken.
    pub acknowledged: u64,
    /// Tasks of which at least one client has the outcome.
    pub settled: u64,
    /// Times that a task was handed in again by another client, or its outcome asked for by one.
    pub repeated: u64,
    /// Tasks whose cancellation was acknowledged.
    pub cancelled: u64,
}

/// One task.
#[derive(Clone, PartialEq, Debug)]
pub struct Entry {
    /// What it is.
    pub spec: Spec,
    /// Checksum of its payload.
    pub checksum: u32,
    /// When it was first handed in.
    pub submitted_ns: u64,
    /// When the first client was told that it is taken.
    pub acknowledged_ns: Option<u64>,
    /// When a client was told that it is cancelled.
    pub cancelled_ns: Option<u64>,
    /// Whether somebody asked for that without an answer to tell.
    pub cancel_unknown: bool,
    /// Every outcome that a client was told.
    pub told: Vec<Told>,
    /// Every other end of a wait for it.
    pub troubles: Vec<String>,
}

/// One outcome as one client was told it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Told {
    /// When.
    pub at_ns: u64,
    /// What.
    pub outcome: Outcome,
    /// By which attempt.
    pub attempt: Attempt,
    /// Who made the result, when there is one that is right to the last byte.
    pub maker: Option<String>,
    /// Checksum of the result.
    pub checksum: u32,
}

impl Told {
    /// Whether another client was told the same.
    pub fn is_same_as(&self, other: &Self) -> bool {
        (self.outcome, self.attempt, self.checksum) == (other.outcome, other.attempt, other.checksum)
            && self.maker == other.maker
    }
}

impl Ledger {
    /// A task is about to be handed in; before it is, so that nothing that runs is unknown here.
    pub fn submitted(&self, spec: &Spec) {
        let mut books = self.books();
        books.sums.submitted += 1;
        books.order.push(spec.id);
        let entry = Entry {
            spec: spec.clone(),
            checksum: crc32fast::hash(&spec.payload()),
            submitted_ns: now_ns(),
            acknowledged_ns: None,
            cancelled_ns: None,
            cancel_unknown: false,
            told: Vec::new(),
            troubles: Vec::new(),
        };
        books.tasks.insert(spec.id, entry);
    }

    /// A client was told that a task is taken.
    pub fn acknowledged(&self, task: TaskId) {
        let mut books = self.books();
        let Some(entry) = books.tasks.get_mut(&task) else { return };
        if entry.acknowledged_ns.is_none() {
            entry.acknowledged_ns = Some(now_ns());
            books.sums.acknowledged += 1;
        }
    }

    /// Whether a client was told that a task is taken.
    pub fn is_acknowledged(&self, task: TaskId) -> bool {
        self.books().tasks.get(&task).is_some_and(|entry| entry.acknowledged_ns.is_some())
    }

    /// Whether a client was told the outcome of a task.
    pub fn is_settled(&self, task: TaskId) -> bool {
        self.books().tasks.get(&task).is_some_and(|entry| !entry.told.is_empty())
    }

    /// Somebody asks for a task once more.
    pub fn repeated(&self) {
        self.books().sums.repeated += 1;
    }

    /// A client asked for a cancellation, and was told that it is one, or nothing.
    pub fn cancel_answered(&self, task: TaskId, is_cancelled: Option<bool>) {
        let mut books = self.books();
        let Some(entry) = books.tasks.get_mut(&task) else { return };
        match is_cancelled {
            Some(true) if entry.cancelled_ns.is_none() => {
                entry.cancelled_ns = Some(now_ns());
                books.sums.cancelled += 1;
            }
            Some(_) => {}
            None => entry.cancel_unknown = true,
        }
    }

    /// A client was told an outcome.
    pub fn told(&self, outcome: &TaskOutcome) {
        let mut books = self.books();
        let Some(entry) = books.tasks.get_mut(&outcome.id) else { return };
        let maker = match outcome.outcome {
            Outcome::Succeeded => entry.spec.maker(outcome),
            _ => None,
        };
        let is_first = entry.told.is_empty();
        entry.told.push(Told {
            at_ns: now_ns(),
            outcome: outcome.outcome,
            attempt: outcome.attempt,
            maker,
            checksum: crc32fast::hash(&outcome.result),
        });
        books.sums.settled += u64::from(is_first);
    }

    /// A wait for a task ended without an outcome.
    pub fn trouble(&self, task: TaskId, error: &ganger_client::Error) {
        if let Some(entry) = self.books().tasks.get_mut(&task) {
            entry.troubles.push(match error.code() {
                Some(ErrorCode::UnknownTask) => UNKNOWN.to_owned(),
                _ => error.to_string(),
            });
        }
    }

    /// One of the tasks that were handed in last.
    pub fn recent(&self, dice: &mut Dice, among: usize) -> Option<Spec> {
        let books = self.books();
        let from = books.order.len().saturating_sub(among);
        let id = dice.pick(&books.order[from..])?;
        Some(books.tasks.get(id)?.spec.clone())
    }

    /// Figures of the moment.
    pub fn sums(&self) -> Sums {
        self.books().sums
    }

    /// Acknowledged tasks of which nobody has the outcome.
    pub fn open(&self) -> Vec<TaskId> {
        let books = self.books();
        let is_open = |entry: &&Entry| entry.acknowledged_ns.is_some() && entry.told.is_empty();
        books.tasks.values().filter(is_open).map(|entry| entry.spec.id).collect()
    }

    /// All of it, at the end.
    pub fn close(&self) -> HashMap<TaskId, Entry> {
        std::mem::take(&mut self.books().tasks)
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The trouble of one who asks for a task that the broker does not know.
pub const UNKNOWN: &str = "unknown task";
