//! Leases that outlived a connection, or the broker: what a worker brings is compared with what is known.

use std::collections::BTreeSet;

use ganger_common::message::{Durability, Lease};
use ganger_common::{Attempt, AttemptEnd, ConnId, ErrorCode, Outcome, WorkerId};

use crate::apply::settlement;
use crate::arena::TaskKey;
use crate::effect::{Effect, WorkerCommand};
use crate::input::{Ended, Held};
use crate::record::{Cause, Record, Settlement};
use crate::scheduler::Scheduler;
use crate::task::{DelayReason, State, Task};
use crate::time::Time;
use crate::worker::{LeaseKey, WorkerKey, lease_key, lease_of};

/// No attempt has a higher number than this when it comes back from the broker's last life. It leaves room
/// to count on, whatever a worker claims.
const ATTEMPT_MAX: Attempt = Attempt(u32::MAX / 2);

impl Scheduler {
    /// Compares, lease by lease, what the worker holds with what the scheduler thinks that it holds.
    pub(crate) fn reconcile(&mut self, conn: ConnId, key: WorkerKey, holding: &[Held]) {
        let held: BTreeSet<LeaseKey> = holding.iter().map(|held| lease_key(&held.lease)).collect();
        let mut starts = Vec::new();
        if let Some(worker) = self.fleet.get_mut(key) {
            worker.revoked.retain(|lease| held.contains(lease));
        }
        for item in holding {
            if self.keep_or_adopt(key, item) {
                let task = self.arena.find(item.lease.task);
                if item.started && task.is_some_and(|task| self.waits_for_start(task, item.lease.epoch)) {
                    starts.push(item.lease);
                }
                continue;
            }
            let lease = lease_key(&item.lease);
            if let Some(worker) = self.fleet.get_mut(key) {
                worker.revoked.insert(lease);
            }
            let orphaned = self.slots.reattach.is_some()
                && item.lease.epoch != self.config.epoch
                && self.arena.find(item.lease.task).is_none()
                && self.orphans.keep_lease(key, *item);
            if !orphaned {
                let cancels = self.cancels.entry((key, Some(ErrorCode::Stale))).or_default();
                cancels.push(lease_of(lease));
            }
        }
        if !starts.is_empty() {
            self.out.push(Effect::ToWorker { conn, command: WorkerCommand::Start { leases: starts } });
        }
        self.suspect_unaccounted(key, &held);
    }

    /// Whether a lease that a worker holds is, or becomes, the current one.
    fn keep_or_adopt(&mut self, key: WorkerKey, held: &Held) -> bool {
        let lease = held.lease;
        let Some(task) = self.arena.find(lease.task) else { return false };
        let entry = &self.arena[task];
        if entry.is_leased_to(key, lease.epoch, lease.attempt) {
            if held.started {
                self.start(task);
            }
            return true;
        }
        self.adopt(task, key, held)
    }

    /// Makes a lease of the broker's last life the current one, if nobody else has the task. Returns
    /// whether it did: the leases of this life are all known, and nobody gets a task of a kind that it does
    /// not serve.
    fn adopt(&mut self, task: TaskKey, key: WorkerKey, held: &Held) -> bool {
        let entry = &self.arena[task];
        let is_free = entry.holder().is_none() && !entry.is_settled();
        // An attempt that has been booked is over, whoever still runs it.
        let is_new = held.lease.attempt > entry.attempt && held.lease.attempt <= ATTEMPT_MAX;
        let is_old_life = held.lease.epoch != self.config.epoch;
        #[cfg(feature = "planted")]
        let is_old_life = is_old_life && !crate::planted::is(crate::planted::Bug::NothingAdopted);
        if !(is_free && is_new && is_old_life && self.serves(key, entry.kind)) {
            return false;
        }
        self.counters.leases_adopted += 1;
        self.detach(task);
        let Some(worker) = self.fleet.get_mut(key) else { return false };
        worker.revoked.remove(&lease_key(&held.lease));
        let entry = &mut self.arena[task];
        entry.attempt = held.lease.attempt;
        entry.state = State::Assigned { worker: key, epoch: held.lease.epoch, at: self.now.time };
        worker.held_bytes += entry.data.len();
        self.queues.kind_mut(entry.kind).leased += 1;
        self.arena.push_back(&mut worker.assigned, task);
        self.fleet.assigned += 1;
        self.fleet.touch(key);
        if held.started {
            self.start(task);
        }
        true
    }

    /// An attempt of the broker's last life that ended before its worker was back: it counts as if the worker
    /// had come a little earlier, when it still ran. What it cost must be booked, or the task would have one
    /// try more, under the number of this one. What was handed back has cost nothing, and a success counts
    /// whoever has the task.
    pub(crate) fn inherit(&mut self, task: TaskKey, key: WorkerKey, ended: &Ended) -> bool {
        let costs = !matches!(ended.end, AttemptEnd::Succeeded | AttemptEnd::Returned);
        let lease = Lease { task: ended.task, epoch: ended.epoch, attempt: ended.attempt };
        costs && self.adopt(task, key, &Held { lease, started: true })
    }

    /// The next attempt of such a task may have been given out in the last life, too, and may run.
    pub(crate) fn hold_inherited(&mut self, key: TaskKey) {
        let Some(until) = self.slots.reattach else { return };
        let task = &self.arena[key];
        let is_loose = match task.state {
            State::Ready => !self.queues.is_held(task),
            State::Gated { .. } => true,
            State::Delayed { due, .. } => due < until && !self.queues.holds(task),
            _ => false,
        };
        if is_loose {
            self.detach(key);
            self.hold(key, until);
        }
    }

    /// What the worker does not name was either lost with the old connection, or has ended and will be
    /// reported again: wait until it has had its say.
    fn suspect_unaccounted(&mut self, key: WorkerKey, held: &BTreeSet<LeaseKey>) {
        let Some(worker) = self.fleet.get(key) else { return };
        let leases = self.arena.walk(&worker.assigned).chain(self.arena.walk(&worker.running));
        let missing: BTreeSet<LeaseKey> = leases
            .filter_map(|task| self.current_lease(task))
            .filter(|lease| !held.contains(lease))
            .collect();
        if let Some(worker) = self.fleet.get_mut(key) {
            worker.unaccounted = (!missing.is_empty()).then_some((missing, 0));
        }
    }

    fn current_lease(&self, key: TaskKey) -> Option<LeaseKey> {
        let task = &self.arena[key];
        match task.state {
            State::Assigned { epoch, .. } | State::Running { epoch, .. } => {
                Some((task.id, epoch, task.attempt))
            }
            _ => None,
        }
    }

    /// Whether a worker may have leases at once. Where state survives the broker, the journal must know first
    /// who may have some: the next life of the broker waits for exactly these.
    pub(crate) fn is_known_holder(&self, worker: WorkerId) -> bool {
        self.config.durability == Durability::Memory || self.holders.contains(&worker)
    }

    /// Makes a worker known to the journal.
    pub(crate) fn enrol(&mut self, key: WorkerKey, worker: WorkerId) {
        if !self.is_known_holder(worker) {
            self.commit(Record::WorkerJoined { worker });
            self.joining.push_back((self.out.appended(), key));
        }
    }

    /// The journal knows some more workers.
    pub(crate) fn admit_joined(&mut self) {
        while let Some((_, key)) = self.joining.pop_front_if(|(lsn, _)| *lsn <= self.out.safe()) {
            if let Some(worker) = self.fleet.get_mut(key) {
                worker.admitted = true;
            }
            self.fleet.touch(key);
        }
    }

    /// A worker is gone, and what it had has been booked.
    pub(crate) fn strike_off(&mut self, key: WorkerKey) {
        let Some(worker) = self.fleet.get(key).map(|worker| worker.id) else { return };
        if self.holders.contains(&worker) {
            self.commit(Record::WorkerLeft { worker });
        }
        if self.awaited.remove(&worker) {
            self.end_reattach_early();
        }
    }

    /// Holds a task by itself until the window ends.
    pub(crate) fn hold(&mut self, key: TaskKey, until: Time) {
        self.delay(key, until, DelayReason::Reattach);
        self.held.push((self.arena[key].seq, key));
    }

    /// Whether a task waits for the window to end.
    pub(crate) fn is_kept_back(&self, key: TaskKey) -> bool {
        let task = &self.arena[key];
        self.queues.is_held(task) || matches!(task.state, State::Delayed { why: DelayReason::Reattach, .. })
    }

    /// The workers of the broker's last life had their chance.
    pub(crate) fn end_reattach(&mut self) {
        self.queues.release(&mut self.arena);
        for (seq, key) in std::mem::take(&mut self.held) {
            let is_held = |task: &Task| {
                task.seq == seq && matches!(task.state, State::Delayed { why: DelayReason::Reattach, .. })
            };
            if self.arena.get(key).is_some_and(is_held) {
                self.detach(key);
                self.queue_due(key);
            }
        }
        for worker in std::mem::take(&mut self.awaited) {
            if self.fleet.find(worker).is_none() {
                self.commit(Record::WorkerLeft { worker });
            }
        }
        for (worker, held) in self.orphans.take_leases() {
            self.cancels.entry((worker, Some(ErrorCode::Stale))).or_default().push(held.lease);
        }
    }

    /// A task was handed in again after the broker forgot it: what a worker has brought of it counts.
    /// Returns a result, if there is one.
    pub(crate) fn reunite(&mut self, key: TaskKey) -> Option<Settlement> {
        if self.orphans.is_empty() {
            return None;
        }
        let (task, kind) = (self.arena[key].id, self.arena[key].kind);
        if let Some((kinds, ended)) = self.orphans.claim_end(task)
            && kinds.binary_search(&kind).is_ok()
        {
            // Whoever runs it all the same does so for nothing.
            if let Some((worker, held)) = self.orphans.claim_lease(task) {
                self.cancels.entry((worker, Some(ErrorCode::Stale))).or_default().push(held.lease);
            }
            let settlement = settlement(task, Outcome::Succeeded, ended.attempt, Cause::Result);
            return Some(Settlement { result: ended.result.into(), ..settlement });
        }
        let (worker, held) = self.orphans.claim_lease(task)?;
        if !self.adopt(key, worker, &held) {
            self.cancels.entry((worker, Some(ErrorCode::Stale))).or_default().push(held.lease);
        } else if held.started
            && let Some(conn) = self.fleet.get(worker).and_then(|worker| worker.conn)
        {
            // It may have waited for this since its task was unknown.
            let command = WorkerCommand::Start { leases: vec![held.lease] };
            self.out.push(Effect::ToWorker { conn, command });
        }
        None
    }
}
