//! I8: no promise before its record is synced.
//!
//! Checks everything that leaves the broker and binds it (accepted, outcome, cancelled, retried, an end
//! acknowledged to its worker, a knowledge revision named to anybody) against what the disk had said to be
//! safe by then. This is what makes an acknowledgement worth anything: after a power cut the next life knows
//! only what was synced.
//!
//! Cannot see: a promise in a message that the log does not record as one. The end of a task that a new life
//! does not know yet is acknowledged before anything is on record of it: it waits in memory for a client to
//! hand the task in again, and if that is lost the task runs again.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use ganger_common::{Attempt, AttemptEnd, Epoch, Outcome, Revision, TaskId};

use super::Violation;
use super::view::View;
use crate::sim::Event;
use crate::sim::log::{Fact, LeaseId, Promise};

const NAME: &str = "I8";

/// Records by what they say, of those that this life has written or read back.
#[derive(Default)]
struct Journal<'a> {
    records: Vec<(u64, &'a Fact)>,
    accepted: BTreeMap<TaskId, u64>,
    settled: BTreeMap<TaskId, (u64, Outcome, Attempt)>,
    /// Of this life, oldest first: the promises leave in the order of their records.
    retried: BTreeMap<TaskId, VecDeque<u64>>,
    ended: BTreeMap<(TaskId, u32), u64>,
    knowledge: BTreeMap<Revision, u64>,
    /// Ends of tasks that were not known when they came: nothing is on record of them.
    orphans: BTreeSet<LeaseId>,
    /// Failures that were reported in this life. Those of a lease of an earlier life that nobody holds do not
    /// count, and their attempt is given out once more under its old number.
    failures: BTreeSet<LeaseId>,
    /// The life in which an attempt was given out last.
    given: BTreeMap<(TaskId, u32), Epoch>,
    safe: u64,
}

pub(super) fn check(view: &View<'_>, found: &mut Vec<Violation>) {
    let mut journal = Journal::default();
    for (line, entry) in view.entries.iter().enumerate() {
        match &entry.event {
            Event::BrokerUp { recovered, .. } => journal.recover(*recovered),
            Event::Appended { lsn, fact, .. } => journal.note(*lsn, fact),
            Event::Synced { upto, .. } => journal.safe = *upto,
            Event::LeaseGiven { lease, .. } => {
                journal.given.insert((lease.task, lease.attempt.0), lease.epoch);
            }
            Event::EndReported { lease, .. } if !journal.accepted.contains_key(&lease.task) => {
                journal.orphans.insert(*lease);
            }
            Event::EndReported { lease, end, .. } if *end != AttemptEnd::Succeeded => {
                journal.failures.insert(*lease);
            }
            Event::PromiseLeft { promise, .. } => {
                let Some(lsn) = journal.unsafe_record(promise) else { continue };
                let what = match lsn {
                    Some(lsn) => format!("{promise:?} needs record {lsn}, safe is {}", journal.safe),
                    None => format!("{promise:?} stands in no record"),
                };
                match promise_task(promise) {
                    Some(task) => view.report(found, NAME, task, line, &what),
                    None => view.report_line(found, NAME, line, &what),
                }
            }
            _ => {}
        }
    }
}

impl<'a> Journal<'a> {
    fn recover(&mut self, recovered: u64) {
        let mut records = std::mem::take(&mut self.records);
        records.retain(|(lsn, _)| *lsn <= recovered);
        let given = std::mem::take(&mut self.given);
        *self = Self { safe: recovered, given, ..Self::default() };
        for (lsn, fact) in records {
            self.note(lsn, fact);
        }
        self.retried.clear();
    }

    fn note(&mut self, lsn: u64, fact: &'a Fact) {
        self.records.push((lsn, fact));
        match fact {
            Fact::Accepted(task) => {
                self.accepted.insert(*task, lsn);
            }
            Fact::Settled { task, outcome, attempt, .. } => {
                self.settled.insert(*task, (lsn, *outcome, *attempt));
            }
            Fact::Retried(task) => self.retried.entry(*task).or_default().push_back(lsn),
            Fact::AttemptEnded { task, attempt, .. } => {
                self.ended.insert((*task, attempt.0), lsn);
            }
            Fact::Knowledge { revision, .. } => {
                self.knowledge.insert(*revision, lsn);
            }
            Fact::Started | Fact::Forgotten(..) | Fact::Other => {}
        }
    }

    /// The record that a promise needs and that is not safe; the inner none: there is no such record.
    fn unsafe_record(&mut self, promise: &Promise) -> Option<Option<u64>> {
        let record = match promise {
            Promise::Accepted(task) => self.accepted.get(task).copied(),
            Promise::Outcome { task, .. } => self.settled.get(task).map(|(lsn, ..)| *lsn),
            Promise::Cancelled(task) => {
                let settled = self.settled.get(task);
                settled.filter(|(_, outcome, _)| *outcome == Outcome::Cancelled).map(|(lsn, ..)| *lsn)
            }
            Promise::Retried(task) => {
                let records = self.retried.get_mut(task);
                // The same request may name a task twice: the last one is left for that.
                records.and_then(|records| match records.len() {
                    0 | 1 => records.front().copied(),
                    _ => records.pop_front(),
                })
            }
            Promise::EndAcknowledged(lease) => Some(self.end_of(lease)?),
            Promise::KnowledgeWritten(revision) | Promise::RevisionNamed(revision) => {
                match *revision == Revision(0) {
                    true => return None,
                    false => self.knowledge.get(revision).copied(),
                }
            }
        };
        match record {
            Some(lsn) if lsn <= self.safe => None,
            other => Some(other),
        }
    }

    /// The record that an acknowledged end has led to. Not every end leads to one: it may have been stale,
    /// or have handed the task back.
    fn end_of(&self, lease: &LeaseId) -> Option<u64> {
        let given = self.given.get(&(lease.task, lease.attempt.0));
        let is_another = given.is_some_and(|epoch| *epoch != lease.epoch);
        if self.orphans.contains(lease) || is_another && self.failures.contains(lease) {
            return None;
        }
        let ended = self.ended.get(&(lease.task, lease.attempt.0)).copied();
        // Any other outcome names the last attempt, too, whatever became of that.
        let settled = self
            .settled
            .get(&lease.task)
            .filter(|(_, outcome, attempt)| *outcome == Outcome::Succeeded && *attempt == lease.attempt);
        ended.or(settled.map(|(lsn, ..)| *lsn))
    }
}

fn promise_task(promise: &Promise) -> Option<TaskId> {
    match promise {
        Promise::Accepted(task) | Promise::Cancelled(task) | Promise::Retried(task) => Some(*task),
        Promise::Outcome { task, .. } => Some(*task),
        Promise::EndAcknowledged(lease) => Some(lease.task),
        Promise::KnowledgeWritten(_) | Promise::RevisionNamed(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use ganger_common::{AttemptEnd, Outcome, Revision};

    use crate::oracle::script::*;
    use crate::sim::log::{Fact, Promise};

    #[test]
    fn promises_after_the_sync_pass() {
        let mut script = Script::journal();
        script.submit(1).accept(1).run_through(1);
        let lease = script.lease(1, 1);
        script.promise(Promise::EndAcknowledged(lease)).promise(Promise::RevisionNamed(Revision(0)));
        script.passes(super::check);
    }

    #[test]
    fn an_acceptance_waits_for_the_sync() {
        let mut script = Script::journal();
        script.submit(1).append_accepted(1).promise(Promise::Accepted(id(1))).sync();
        script.fails(super::check, "I8", "needs record 1");
    }

    #[test]
    fn an_acceptance_has_a_record() {
        let mut script = Script::journal();
        script.submit(1).promise(Promise::Accepted(id(1)));
        script.fails(super::check, "I8", "no record");
    }

    #[test]
    fn an_outcome_waits_for_the_sync() {
        let mut script = Script::journal();
        script.submit(1).accept(1).run(1).append_settled(1, Outcome::Succeeded, 1);
        script.promise_outcome(1, Outcome::Succeeded, 1);
        script.fails(super::check, "I8", "needs record 2");
    }

    #[test]
    fn an_end_is_acknowledged_after_the_sync() {
        let mut script = Script::journal();
        script.submit(1).accept(1).run(1).attempt_ended(1, 1, 1, AttemptEnd::Failed);
        let lease = script.lease(1, 1);
        script.promise(Promise::EndAcknowledged(lease));
        script.fails(super::check, "I8", "needs record 2");
    }

    #[test]
    fn a_revision_is_named_after_the_sync() {
        let mut script = Script::journal();
        let (topic, key) = ("topic".to_owned(), "key".to_owned());
        script.append(Fact::Knowledge { revision: Revision(1), topic, key, value: None });
        script.promise(Promise::RevisionNamed(Revision(1)));
        script.fails(super::check, "I8", "needs record 1");
    }

    #[test]
    fn a_cancellation_has_a_record() {
        let mut script = Script::journal();
        script.submit(1).accept(1).promise(Promise::Cancelled(id(1)));
        script.fails(super::check, "I8", "no record");
    }

    #[test]
    fn what_was_lost_with_the_disk_is_no_ground_for_a_promise() {
        let mut script = Script::journal();
        script.submit(1).append_accepted(1).lose_and_restart().promise(Promise::Accepted(id(1)));
        script.fails(super::check, "I8", "no record");
    }
}
