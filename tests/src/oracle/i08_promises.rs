//! I8: no promise before its record is synced.
//!
//! Checks everything that leaves the broker and binds it (accepted, outcome, cancelled, retried, an end
//! acknowledged to its worker, a knowledge revision named to anybody) against what the disk had said to be
//! safe by then; and that no task is given out before its acceptance is safe. This is what makes an
//! acknowledgement worth anything: after a power cut the next life knows only what was synced.
//!
//! A worker forgets an end that was acknowledged. So a failure or time-out needs a record of its own before
//! that, unless the answer calls it stale (it changes nothing, whoever knows of it) or the broker had told
//! that worker to stop; and so does a success that settled its task. Which record is its own: attempts of two
//! lives, or of two workers, may have the same number, because leases are not written down (design, §6): the
//! token that fences is the epoch and the attempt together. So a failure is looked for under its worker and
//! the epoch that this worker named last when it spoke of this attempt, or else was last given it in, and a
//! success under its result. And it is not
//! stale that an attempt of an earlier life failed if nobody was given the task since.
//!
//! Cannot see: a promise in a message that the log does not record as one. That a kind is resumed need not be on
//! record: perhaps it was not paused. The end of a task that a new life
//! does not know yet is acknowledged before anything is on record of it: it waits in memory for a client to
//! hand the task in again, and if that is lost the task runs again.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use ganger_common::message::Durability;
use ganger_common::{Attempt, AttemptEnd, Epoch, Outcome, Revision, TaskId, WorkerId};

use super::Violation;
use super::view::View;
use crate::sim::Event;
use crate::sim::log::{At, Digest, Fact, LeaseId, Peer, Promise, WorkerNo};

const NAME: &str = "I8";

/// A report is in the log when it comes, and is taken in with the turn that follows.
const TURN: u64 = 1_000;

/// Records by what they say, of those that this life has written or read back.
#[derive(Default)]
struct Journal<'a> {
    records: Vec<(u64, &'a Fact)>,
    accepted: BTreeMap<TaskId, u64>,
    settled: BTreeMap<TaskId, Settled>,
    /// What was settled under an id that was taken anew since.
    before: BTreeMap<TaskId, Vec<Settled>>,
    /// Of this life, oldest first: the promises leave in the order of their records.
    retried: BTreeMap<TaskId, VecDeque<u64>>,
    discarded: BTreeMap<TaskId, u64>,
    /// The first record of this life, or read back by it, that pauses a kind.
    paused: BTreeMap<u8, u64>,
    ended: BTreeMap<(LeaseId, WorkerId), u64>,
    knowledge: BTreeMap<Revision, u64>,
    /// Ends that workers have reported in this life, and what was known of the task when each came first.
    reports: BTreeMap<(WorkerNo, LeaseId), Report>,
    /// Ends that were called stale.
    stale: BTreeSet<(WorkerNo, LeaseId)>,
    /// Leases that a worker was told to stop.
    cancelled: BTreeSet<(WorkerNo, LeaseId)>,
    /// The life in which a worker was given an attempt last. It outlives the broker, as its worker does.
    given: BTreeMap<(TaskId, Attempt, WorkerId), Epoch>,
    /// The same of those whose end a worker has reported in this life.
    heard: BTreeMap<(TaskId, Attempt, WorkerId), Epoch>,
    /// Who has brought a lease of which task to this life, perhaps of an earlier attempt.
    brought: BTreeSet<(TaskId, WorkerId)>,
    /// The newest lease of each task, of all lives.
    newest: BTreeMap<TaskId, LeaseId>,
    /// The highest attempt of each task whose end is on record.
    booked: BTreeMap<TaskId, Attempt>,
    epoch: Epoch,
    safe: u64,
    /// When that happens which is looked at.
    now: At,
}

#[derive(Clone, Copy)]
struct Settled {
    lsn: u64,
    outcome: Outcome,
    attempt: Attempt,
    result: Digest,
    at: At,
}

#[derive(Clone, Copy)]
struct Report {
    incarnation: WorkerId,
    end: AttemptEnd,
    result: Digest,
    /// The acceptance of the task that it is about, if that was known.
    accepted: Option<u64>,
    /// It is of an earlier life, and nobody else had the task.
    is_heir: bool,
    /// When it came first.
    at: At,
}

/// What is wrong with a promise.
enum Lack {
    /// Its record is not safe.
    Unsafe(u64),
    /// It has none.
    Unrecorded,
}

pub(super) fn check(view: &View<'_>, found: &mut Vec<Violation>) {
    let mut journal = Journal::default();
    // Leases that left at this moment. What is written, synced and sent in one turn has one moment.
    let mut early: Vec<(usize, LeaseId)> = Vec::new();
    for (line, entry) in view.entries.iter().enumerate() {
        if early.first().is_some_and(|(first, _)| view.at(*first) < entry.at) {
            journal.judge_leases(view, found, &mut early);
        }
        journal.now = entry.at;
        match &entry.event {
            Event::BrokerUp { recovered, epoch, .. } => {
                journal.recover(*recovered);
                journal.epoch = *epoch;
            }
            Event::Appended { lsn, fact, .. } => journal.note(*lsn, fact),
            Event::Synced { upto, .. } => journal.safe = *upto,
            Event::LeaseGiven { lease, incarnation, .. } => {
                journal.note_lease(*lease, *incarnation);
                early.push((line, *lease));
            }
            Event::LeaseBrought { lease, incarnation, .. } => {
                journal.note_lease(*lease, *incarnation);
                journal.brought.insert((lease.task, *incarnation));
            }
            Event::EndReported { worker, incarnation, lease, end, result, .. } => {
                let accepted = journal.accepted.get(&lease.task).copied();
                let is_heir = journal.is_heir(*lease, *incarnation);
                let (incarnation, end, result, at) = (*incarnation, *end, *result, entry.at);
                let report = Report { incarnation, end, result, accepted, is_heir, at };
                journal.reports.entry((*worker, *lease)).or_insert(report);
                journal.heard.insert((lease.task, lease.attempt, incarnation), lease.epoch);
            }
            Event::EndStale { worker, lease, .. } => {
                journal.stale.insert((*worker, *lease));
                if journal.is_lost(*worker, *lease) {
                    let what = format!("{lease:?} failed and is called stale; nobody else had the task");
                    view.report(found, NAME, lease.task, line, &what);
                }
            }
            Event::CancelSent { worker, lease, .. } => {
                journal.cancelled.insert((*worker, *lease));
            }
            Event::PromiseLeft { to, promise, .. } => {
                let Some(lack) = journal.lack_behind(*to, promise) else { continue };
                let what = lack.told(&format!("{promise:?}"), journal.safe);
                match promise_task(promise) {
                    Some(task) => view.report(found, NAME, task, line, &what),
                    None => view.report_line(found, NAME, line, &what),
                }
            }
            _ => {}
        }
    }
    journal.judge_leases(view, found, &mut early);
}

impl Lack {
    fn told(&self, what: &str, safe: u64) -> String {
        match self {
            Self::Unsafe(lsn) => format!("{what} needs record {lsn}, safe is {safe}"),
            Self::Unrecorded => format!("{what} stands in no record"),
        }
    }
}

impl<'a> Journal<'a> {
    fn recover(&mut self, recovered: u64) {
        let mut records = std::mem::take(&mut self.records);
        records.retain(|(lsn, _)| *lsn <= recovered);
        let (given, newest) = (std::mem::take(&mut self.given), std::mem::take(&mut self.newest));
        *self = Self { safe: recovered, given, newest, ..Self::default() };
        for (lsn, fact) in records {
            self.note(lsn, fact);
        }
        self.retried.clear();
    }

    fn note(&mut self, lsn: u64, fact: &'a Fact) {
        self.records.push((lsn, fact));
        match fact {
            Fact::Accepted(task, _) => {
                self.accepted.insert(*task, lsn);
                if let Some(settled) = self.settled.get(task) {
                    self.before.entry(*task).or_default().push(*settled);
                }
            }
            Fact::Settled { task, outcome, attempt, result } => {
                let (outcome, attempt, result, at) = (*outcome, *attempt, *result, self.now);
                let settled = Settled { lsn, outcome, attempt, result, at };
                self.settled.insert(*task, settled);
            }
            Fact::Retried(task) => self.retried.entry(*task).or_default().push_back(lsn),
            Fact::AttemptEnded { task, attempt, worker, .. } => {
                let booked = self.booked.entry(*task).or_default();
                *booked = (*attempt).max(*booked);
                let key = (*task, *attempt, *worker);
                if let Some(epoch) = self.heard.get(&key).or_else(|| self.given.get(&key)) {
                    let lease = LeaseId { task: *task, epoch: *epoch, attempt: *attempt };
                    self.ended.insert((lease, *worker), lsn);
                }
            }
            Fact::Knowledge { revision, .. } => {
                self.knowledge.insert(*revision, lsn);
            }
            Fact::Discarded(task) => {
                self.discarded.insert(*task, lsn);
            }
            Fact::KindPaused(kind) => {
                self.paused.entry(*kind).or_insert(lsn);
            }
            Fact::Started | Fact::Forgotten(..) | Fact::KindResumed(_) | Fact::Other => {}
        }
    }

    fn note_lease(&mut self, lease: LeaseId, incarnation: WorkerId) {
        self.given.insert((lease.task, lease.attempt, incarnation), lease.epoch);
        let newest = self.newest.entry(lease.task).or_insert(lease);
        *newest = lease.max(*newest);
    }

    /// Whether the end of an attempt of an earlier life is no later than it would have been there.
    fn is_heir(&self, lease: LeaseId, worker: WorkerId) -> bool {
        let of_task = self.brought.range((lease.task, WorkerId::from_bytes([0; 16]))..);
        let mut rivals = of_task.take_while(|(task, _)| *task == lease.task).map(|(_, rival)| *rival);
        rivals.all(|rival| rival == worker)
            && lease.epoch != self.epoch
            && self.newest.get(&lease.task) == Some(&lease)
            && self.booked.get(&lease.task).is_none_or(|booked| *booked < lease.attempt)
            && !self.settled.contains_key(&lease.task)
    }

    /// Whether a failure that must count is on no record.
    fn is_lost(&self, worker: WorkerNo, lease: LeaseId) -> bool {
        // Which of two things that came before one turn was first, the log does not tell.
        let was_settled = |report: &Report| {
            self.settled.get(&lease.task).is_some_and(|settled| settled.at.0 <= report.at.0 + TURN)
        };
        self.reports.get(&(worker, lease)).is_some_and(|report| {
            report.is_heir
                && report.accepted.is_some()
                && matches!(report.end, AttemptEnd::Failed | AttemptEnd::TimedOut)
                && !self.cancelled.contains(&(worker, lease))
                && !self.ended.contains_key(&(lease, report.incarnation))
                && !was_settled(report)
        })
    }

    /// Nothing is given out that the next life would not know. In memory it knows nothing anyway.
    fn judge_leases(&self, view: &View<'_>, found: &mut Vec<Violation>, given: &mut Vec<(usize, LeaseId)>) {
        for (line, lease) in given.drain(..) {
            let lack = self.lack_of(self.accepted.get(&lease.task).copied());
            if let Some(lack) = lack.filter(|_| view.facts.durability == Durability::Journal) {
                let what = lack.told(&format!("{lease:?} is given out and"), self.safe);
                view.report(found, NAME, lease.task, line, &what);
            }
        }
    }

    fn lack_of(&self, record: Option<u64>) -> Option<Lack> {
        match record {
            Some(lsn) if lsn <= self.safe => None,
            Some(lsn) => Some(Lack::Unsafe(lsn)),
            None => Some(Lack::Unrecorded),
        }
    }

    /// What a promise lacks, if it lacks anything.
    fn lack_behind(&mut self, to: Option<Peer>, promise: &Promise) -> Option<Lack> {
        let record = match promise {
            Promise::Accepted(task) => self.accepted.get(task).copied(),
            Promise::Outcome { task, outcome, attempt, result } => {
                let content = (*outcome, *attempt, *result);
                let is_it =
                    |settled: &&Settled| (settled.outcome, settled.attempt, settled.result) == content;
                let last = self.settled.get(task);
                // What was decided before a task was let go is told also when its id has been taken anew.
                last.and_then(|_| self.before.get(task)?.iter().find(is_it))
                    .or(last)
                    .map(|settled| settled.lsn)
            }
            Promise::Cancelled(task) => {
                let settled = self.settled.get(task);
                settled.filter(|settled| settled.outcome == Outcome::Cancelled).map(|settled| settled.lsn)
            }
            Promise::Retried(task) => {
                let records = self.retried.get_mut(task);
                // The same request may name a task twice: the last one is left for that.
                records.and_then(|records| match records.len() {
                    0 | 1 => records.front().copied(),
                    _ => records.pop_front(),
                })
            }
            Promise::Discarded(task) => self.discarded.get(task).copied(),
            Promise::KindPaused(kind) => self.paused.get(kind).copied(),
            // What was not paused need not be resumed, and the log does not tell what it was then.
            Promise::KindResumed(_) => return None,
            Promise::EndAcknowledged(lease) => {
                let Some(Peer::Worker(worker)) = to else { return None };
                return self.lack_behind_end(worker, *lease);
            }
            Promise::KnowledgeWritten(revision) | Promise::RevisionNamed(revision) => {
                match *revision == Revision(0) {
                    true => return None,
                    false => self.knowledge.get(revision).copied(),
                }
            }
        };
        self.lack_of(record)
    }

    /// The same for the end of an attempt.
    fn lack_behind_end(&self, worker: WorkerNo, lease: LeaseId) -> Option<Lack> {
        let report = self.reports.get(&(worker, lease))?;
        // Of a task that was not known then: it waits, or it means one of the same id that was let go.
        if report.accepted.is_none() || report.accepted != self.accepted.get(&lease.task).copied() {
            return None;
        }
        let settled = self.settled.get(&lease.task);
        let record = match report.end {
            AttemptEnd::Succeeded => {
                let is_own = |settled: &&Settled| {
                    settled.outcome == Outcome::Succeeded
                        && (settled.attempt, settled.result) == (lease.attempt, report.result)
                };
                settled.filter(is_own).map(|settled| settled.lsn)
            }
            _ => self.ended.get(&(lease, report.incarnation)).copied(),
        };
        let costs = matches!(report.end, AttemptEnd::Failed | AttemptEnd::TimedOut);
        let is_over = self.stale.contains(&(worker, lease)) || self.cancelled.contains(&(worker, lease));
        match record {
            None if !costs || is_over => None,
            record => self.lack_of(record),
        }
    }
}

fn promise_task(promise: &Promise) -> Option<TaskId> {
    match promise {
        Promise::Accepted(task) | Promise::Cancelled(task) | Promise::Retried(task) => Some(*task),
        Promise::Outcome { task, .. } | Promise::Discarded(task) => Some(*task),
        Promise::EndAcknowledged(lease) => Some(lease.task),
        Promise::KnowledgeWritten(_)
        | Promise::RevisionNamed(_)
        | Promise::KindPaused(_)
        | Promise::KindResumed(_) => None,
    }
}

#[cfg(test)]
mod tests;
