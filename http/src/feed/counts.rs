//! What is only counted.

use std::time::Duration;

use ganger_common::Outcome;
use serde::Serialize;
use utoipa::ToSchema;

use super::Group;

/// How many events were not told one by one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, ToSchema)]
pub struct Counts {
    /// Tasks that were taken.
    #[serde(skip_serializing_if = "is_zero")]
    pub accepted: u64,
    /// Attempts that were given to workers.
    #[serde(skip_serializing_if = "is_zero")]
    pub assigned: u64,
    /// Attempts that ended without settling their task.
    #[serde(skip_serializing_if = "is_zero")]
    pub attempts_ended: u64,
    /// Tasks that were put back from the dead set.
    #[serde(skip_serializing_if = "is_zero")]
    pub retried: u64,
    /// Tasks with an outcome that were let go.
    #[serde(skip_serializing_if = "is_zero")]
    pub discarded: u64,
    /// Times that a kind was paused or given out again.
    #[serde(skip_serializing_if = "is_zero")]
    pub kinds: u64,
    /// Tasks that got their outcomes.
    #[serde(skip_serializing_if = "Settled::is_empty")]
    pub settled: Settled,
    /// Changes of workers.
    #[serde(skip_serializing_if = "is_zero")]
    pub workers: u64,
    /// Changes of the knowledge map.
    #[serde(skip_serializing_if = "is_zero")]
    pub knowledge: u64,
}

/// Outcomes, counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, ToSchema)]
#[allow(missing_docs)] // The outcomes of the same names.
pub struct Settled {
    #[serde(skip_serializing_if = "is_zero")]
    pub succeeded: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub failed: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub cancelled: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub expired: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub dead: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Settled {
    /// Counts an outcome.
    pub fn add(&mut self, outcome: Outcome) {
        *match outcome {
            Outcome::Succeeded => &mut self.succeeded,
            Outcome::Failed => &mut self.failed,
            Outcome::Cancelled => &mut self.cancelled,
            Outcome::Expired => &mut self.expired,
            Outcome::Dead => &mut self.dead,
        } += 1;
    }

    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Counts {
    /// Whether there is nothing to be told.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub(super) fn add(&mut self, more: &Self) {
        self.accepted += more.accepted;
        self.assigned += more.assigned;
        self.attempts_ended += more.attempts_ended;
        self.retried += more.retried;
        self.discarded += more.discarded;
        self.kinds += more.kinds;
        self.settled.succeeded += more.settled.succeeded;
        self.settled.failed += more.settled.failed;
        self.settled.cancelled += more.settled.cancelled;
        self.settled.expired += more.settled.expired;
        self.settled.dead += more.settled.dead;
        self.workers += more.workers;
        self.knowledge += more.knowledge;
    }

    /// Only what concerns some groups.
    pub(super) fn only(self, shows: impl Fn(Group) -> bool) -> Self {
        let of_workers = if shows(Group::Workers) { self.workers } else { 0 };
        let of_knowledge = if shows(Group::Knowledge) { self.knowledge } else { 0 };
        match shows(Group::Tasks) {
            true => Self { workers: of_workers, knowledge: of_knowledge, ..self },
            false => Self { workers: of_workers, knowledge: of_knowledge, ..Self::default() },
        }
    }
}

/// What was counted in a span of time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, ToSchema)]
pub struct Summary {
    /// How long that was, in milliseconds.
    pub ms: u64,
    /// What was not told one by one.
    #[serde(flatten)]
    pub counts: Counts,
}

impl Summary {
    pub(super) fn of(counts: Counts, span: Duration) -> Self {
        Self { ms: span.as_millis() as u64, counts }
    }
}
