//! What workers say about attempts, and what follows from it.

use std::time::Duration;

use ganger_common::message::Lease;
use ganger_common::{Attempt, AttemptEnd, ConnId, Epoch, ErrorCode, Outcome};

use crate::arena::TaskKey;
use crate::data::Data;
use crate::effect::{Effect, WorkerCommand};
use crate::input::{EndDetail, Ended};
use crate::outcomes::Settled;
use crate::record::{AttemptEnded, Cause, Record, Settlement};
use crate::scheduler::Scheduler;
use crate::task::State;
use crate::timers::Timer;
use crate::worker::WorkerKey;

/// A worker stops an attempt at its run limit by itself; the broker steps in when it has not done so by
/// this much later.
const RUN_LIMIT_SLACK: Duration = Duration::from_secs(1);

/// One report.
pub(crate) struct Report {
    pub(crate) seq: u64,
    pub(crate) started: Vec<Lease>,
    pub(crate) ended: Vec<Ended>,
    pub(crate) waiting: u32,
    pub(crate) recall: Option<u64>,
}

impl Scheduler {
    pub(crate) fn on_report(&mut self, conn: ConnId, worker: WorkerKey, mut report: Report) {
        let starts: Vec<Lease> =
            report.started.iter().filter(|lease| self.on_started(worker, lease)).copied().collect();
        if !starts.is_empty() {
            self.out.push(Effect::ToWorker { conn, command: WorkerCommand::Start { leases: starts } });
        }
        self.learn(worker, &report);
        self.order_returns(&mut report.ended);
        let mut stale = Vec::new();
        let mut settled = Settled::with_capacity(report.ended.len());
        for ended in report.ended {
            let lease = Lease { task: ended.task, epoch: ended.epoch, attempt: ended.attempt };
            if !self.on_ended(worker, ended, &mut settled) {
                stale.push(lease);
            }
        }
        self.book_settled(settled);
        self.fleet.touch(worker);
        if let Some(worker) = self.fleet.get_mut(worker)
            && report.recall.is_some()
            && worker.recall == report.recall
        {
            worker.recall = None;
        }
        if report.seq > 0 {
            self.counters.reports_stale += stale.len() as u64;
            self.out.acknowledge(conn, report.seq, stale);
        }
    }

    /// Puts what goes back to the front of its queue last, the youngest first: pushed to the front one by
    /// one, they stand there in the order of their submission.
    fn order_returns(&self, ended: &mut [Ended]) {
        let returns = |ended: &Ended| {
            !matches!(ended.end, AttemptEnd::Succeeded | AttemptEnd::Failed | AttemptEnd::TimedOut)
        };
        if ended.iter().any(returns) {
            ended.sort_by_cached_key(|ended| match returns(ended) {
                false => None,
                true => Some(std::cmp::Reverse(self.arena.find(ended.task).map(|key| self.arena[key].seq))),
            });
        }
    }

    /// A task that a worker speaks of: most likely one of the first that it has.
    fn find_leased(&self, worker: WorkerKey, task: ganger_common::TaskId) -> Option<TaskKey> {
        match self.fleet.get(worker) {
            Some(worker) => self.arena.find_near([&worker.running, &worker.assigned], task),
            None => self.arena.find(task),
        }
    }

    /// Notes a start. Returns whether the worker waits to be told that it may run.
    fn on_started(&mut self, worker: WorkerKey, lease: &Lease) -> bool {
        let Some(key) = self.find_leased(worker, lease.task) else {
            self.orphans.note_start(worker, lease);
            return false;
        };
        if !self.arena[key].is_leased_to(worker, lease.epoch, lease.attempt) {
            return false;
        }
        self.start(key);
        self.waits_for_start(key, lease.epoch)
    }

    /// Whether the worker of a lease that has started may wait to be told so. In which leases of its last life
    /// the broker asked for that it may have forgotten; a worker that does not wait does not mind.
    pub(crate) fn waits_for_start(&self, key: TaskKey, epoch: Epoch) -> bool {
        self.arena[key].needs_confirm() || epoch != self.config.epoch
    }

    /// Moves a leased task from the waiting ones of its worker to those that run.
    pub(crate) fn start(&mut self, key: TaskKey) {
        let State::Assigned { worker: holder, epoch, .. } = self.arena[key].state else { return };
        let at = self.now.time;
        if let Some(worker) = self.fleet.get_mut(holder) {
            self.arena.unlink(&mut worker.assigned, key);
            self.arena.push_back(&mut worker.running, key);
            self.fleet.assigned -= 1;
            self.fleet.running += 1;
        }
        let task = &mut self.arena[key];
        task.state = State::Running { worker: holder, epoch, at };
        let limit = task.run_limit();
        #[cfg(feature = "planted")]
        if crate::planted::is(crate::planted::Bug::RunningExpires) {
            return;
        }
        self.stop_expiry(key);
        if let (Some(limit), Some(extra)) = (limit, &mut self.arena[key].extra) {
            let deadline = at.plus(limit).plus(RUN_LIMIT_SLACK);
            self.timers.set(&mut extra.run_deadline, Timer::RunLimit(key), Some(deadline));
        }
    }

    fn learn(&mut self, key: WorkerKey, report: &Report) {
        let Some(worker) = self.fleet.get_mut(key) else { return };
        let ran = report.ended.iter().filter(|ended| ended.end != AttemptEnd::Returned);
        let (count, total) =
            ran.fold((0, 0_u64), |(count, total), ended| (count + 1, total.saturating_add(ended.run_us)));
        let more = |kind| self.queues.kind(kind).has_work();
        let ran_dry =
            report.waiting == 0 && self.queues.class(worker.class).kinds.iter().any(|kind| more(*kind));
        let total = Duration::from_micros(total);
        worker.ended += u64::from(count);
        worker.ran = worker.ran.saturating_add(total);
        if count > 0 {
            worker.moved = self.now.time;
        }
        worker.credit.learn(&self.config, worker.slots, count, total, ran_dry);
    }

    /// Takes in the end of one attempt. Returns whether it counted for anything.
    fn on_ended(&mut self, worker: WorkerKey, ended: Ended, settled: &mut Settled) -> bool {
        let lease = (ended.task, ended.epoch, ended.attempt);
        let was_revoked = self.fleet.get_mut(worker).is_some_and(|worker| worker.revoked.remove(&lease));
        #[cfg(feature = "planted")]
        if was_revoked && crate::planted::is(crate::planted::Bug::CreditLeaks) {
            self.fleet.get_mut(worker).map(|worker| worker.revoked.insert(lease));
        }
        let Some(key) = self.find_leased(worker, ended.task) else {
            let lease = Lease { task: ended.task, epoch: ended.epoch, attempt: ended.attempt };
            self.orphans.drop_lease(worker, &lease);
            let Some(class) = self.fleet.get(worker).map(|worker| worker.class) else { return false };
            let open = self.slots.reattach.is_some();
            let kinds = self.queues.class(class).kinds.clone();
            return open && self.orphans.keep_end(kinds, ended, self.config.epoch);
        };
        if !was_revoked && self.arena[key].is_leased_to(worker, ended.epoch, ended.attempt) {
            self.end_attempt(key, ended, settled);
            return true;
        }
        if !was_revoked && self.inherit(key, worker, &ended) {
            self.end_attempt(key, ended, settled);
            self.hold_inherited(key);
            return true;
        }
        #[cfg(feature = "planted")]
        if !self.arena[key].is_settled() && crate::planted::is(crate::planted::Bug::NoFencing) {
            self.end_attempt(key, ended, settled);
            return true;
        }
        #[cfg(feature = "planted")]
        if self.arena[key].is_settled()
            && ended.end == AttemptEnd::Succeeded
            && crate::planted::is(crate::planted::Bug::SettledTwice)
        {
            let id = self.fleet.get(worker).map(|worker| worker.id);
            settled.push(key, success(&ended, id));
            return true;
        }
        // The lease has moved on. Only a success still means something, and only while nobody else has
        // settled the task: the work is done, so why do it twice.
        let is_late_success = ended.end == AttemptEnd::Succeeded
            && !self.arena[key].is_settled()
            && self.may_have_had(key, worker, &ended);
        if is_late_success {
            self.counters.late_successes += 1;
            self.revoke(key, Some(ErrorCode::Stale));
            let worker = self.fleet.get(worker).map(|worker| worker.id);
            self.settle_into(settled, key, success(&ended, worker));
        }
        // The end of a revoked lease is expected; it frees the slot.
        is_late_success || was_revoked
    }

    /// Whether a worker could have had an attempt that is not the current lease: only then is what it
    /// brings more than a claim. Attempts of this life that lost their lease stand in the history. Those of
    /// an earlier life may be known to nobody, since leases are not durable; they count if the worker
    /// serves the kind.
    fn may_have_had(&self, key: TaskKey, worker: WorkerKey, ended: &Ended) -> bool {
        let task = &self.arena[key];
        let Some(id) = self.fleet.get(worker).map(|worker| worker.id) else { return false };
        if ended.epoch != self.config.epoch {
            return ended.attempt > Attempt(0) && self.serves(worker, task.kind);
        }
        let mut history = task.extra.iter().flat_map(|extra| &extra.history);
        history.any(|past| past.attempt == ended.attempt && past.worker == id)
    }

    /// The current attempt of a task ended.
    fn end_attempt(&mut self, key: TaskKey, ended: Ended, settled: &mut Settled) {
        if ended.end != AttemptEnd::Returned {
            self.durations.attempt_run.note(ended.run_us);
            self.queues.kind_mut(self.arena[key].kind).pace.learn(ended.run_us);
        }
        match ended.end {
            AttemptEnd::Succeeded => {
                self.counters.attempts_succeeded += 1;
                let worker = self.arena[key].holder().and_then(|worker| self.fleet.get(worker));
                let settlement = success(&ended, worker.map(|worker| worker.id));
                self.settle_into(settled, key, settlement);
            }
            AttemptEnd::Returned => self.give_back(key),
            AttemptEnd::Failed | AttemptEnd::TimedOut => {
                let detail = ended.detail.map(|detail| *detail).unwrap_or_default();
                if let Some(settlement) = self.fail(key, ended.end, ended.run_us, detail) {
                    self.settle_into(settled, key, settlement);
                }
            }
            // A worker never reports a crash, and one that stops a task for no reason of ours has been
            // interrupted.
            AttemptEnd::Cancelled | AttemptEnd::Interrupted | AttemptEnd::Crashed | AttemptEnd::Lost => {
                self.counters.attempts_interrupted += 1;
                let detail = ended.detail.map(|detail| *detail).unwrap_or_default();
                let note = self.note(key, AttemptEnd::Interrupted, ended.run_us, detail.error);
                self.commit(Record::AttemptEnded(note));
            }
        }
    }

    /// A lease comes back without having started: nothing to remember, back to the front.
    pub(crate) fn give_back(&mut self, key: TaskKey) {
        self.counters.attempts_returned += 1;
        self.detach(key);
        self.queues.push(&mut self.arena, key, true);
    }

    /// An attempt failed or timed out: try again after a pause, or settle.
    fn fail(&mut self, key: TaskKey, end: AttemptEnd, run_us: u64, detail: EndDetail) -> Option<Settlement> {
        let extra = self.arena[key].extra.as_deref();
        let count = 1 + match end {
            AttemptEnd::Failed => extra.map_or(0, |extra| extra.failures),
            _ => extra.map_or(0, |extra| extra.timeouts),
        };
        let options = extra.map(|extra| &extra.options);
        let most = options.and_then(|options| options.max_attempts).unwrap_or(self.config.max_attempts);
        let base = options.and_then(|options| options.backoff_ms).map(Duration::from_millis);
        match end {
            AttemptEnd::Failed => self.counters.attempts_failed += 1,
            _ => self.counters.attempts_timed_out += 1,
        }
        let mut note = self.note(key, end, run_us, detail.error);
        let cause = match end {
            _ if detail.is_final => Cause::Final,
            AttemptEnd::Failed => Cause::Failures,
            _ => Cause::Timeouts,
        };
        if detail.is_final || count >= most {
            return Some(self.burial(Outcome::Failed, cause, note));
        }
        let pause = detail.retry_after.unwrap_or_else(|| self.backoff(base, count));
        note.retry_at = Some(self.now.wall.plus(pause.min(ganger_common::limits::DELAY_MAX)));
        self.commit(Record::AttemptEnded(note));
        None
    }

    /// Full jitter: anything from nothing to the exponential pause (Brooker, "Exponential Backoff And
    /// Jitter", 2015). Tasks that failed together do not come back together.
    fn backoff(&mut self, base: Option<Duration>, failures: u32) -> Duration {
        let base = base.unwrap_or(self.config.backoff_base);
        let doubled = base.saturating_mul(1 << (failures - 1).min(30));
        let most = doubled.min(self.config.backoff_max.max(base));
        Duration::from_millis(self.random.up_to(most.as_millis() as u64))
    }

    /// What is remembered of the attempt that a task is in.
    fn note(&self, key: TaskKey, end: AttemptEnd, run_us: u64, error: Option<String>) -> AttemptEnded {
        let task = &self.arena[key];
        let worker = task.holder().and_then(|worker| self.fleet.get(worker));
        AttemptEnded {
            task: task.id,
            attempt: task.attempt,
            worker: worker.map_or(ganger_common::WorkerId::from_bytes([0; 16]), |worker| worker.id),
            worker_name: worker.map(|worker| worker.name.clone()).unwrap_or_default(),
            end,
            at: self.now.wall,
            run_us,
            error,
            retry_at: None,
        }
    }

    fn burial(&self, outcome: Outcome, cause: Cause, note: AttemptEnded) -> Settlement {
        Settlement {
            task: note.task,
            outcome,
            attempt: note.attempt,
            worker: Some(note.worker),
            cause,
            result: Data::default(),
            ended: Some(Box::new(note)),
        }
    }

    /// The worker of a lease is dead or gone.
    pub(crate) fn lose_lease(&mut self, key: TaskKey) {
        let State::Running { at, .. } = self.arena[key].state else {
            self.counters.attempts_lost += 1;
            let note = self.note(key, AttemptEnd::Lost, 0, None);
            return self.commit(Record::AttemptEnded(note));
        };
        self.counters.attempts_crashed += 1;
        let ran = self.now.time.since(at).as_micros() as u64;
        let note = self.note(key, AttemptEnd::Crashed, ran, Some("the worker died while it ran".to_owned()));
        let extra = self.arena[key].extra.as_deref();
        let crashes = 1 + extra.map_or(0, |extra| extra.crashes);
        let most = extra.and_then(|extra| extra.options.crash_limit).unwrap_or(self.config.crash_limit);
        #[cfg(feature = "planted")]
        let crashes = if crate::planted::is(crate::planted::Bug::CrashesNotCounted) { 0 } else { crashes };
        if crashes >= most {
            let settlement = self.burial(Outcome::Dead, Cause::Crashes, note);
            self.settle(key, settlement);
        } else {
            self.commit(Record::AttemptEnded(note));
        }
    }

    /// A worker that leaves in order gives back what it has; what ran was interrupted.
    pub(crate) fn interrupt_lease(&mut self, key: TaskKey) {
        match self.arena[key].state {
            State::Running { at, .. } => {
                self.counters.attempts_interrupted += 1;
                let ran = self.now.time.since(at).as_micros() as u64;
                let note = self.note(key, AttemptEnd::Interrupted, ran, None);
                self.commit(Record::AttemptEnded(note));
            }
            _ => self.give_back(key),
        }
    }

    pub(crate) fn on_run_limit(&mut self, key: TaskKey) {
        if let Some(extra) = &mut self.arena[key].extra {
            extra.run_deadline = None;
        }
        let State::Running { at, .. } = self.arena[key].state else { return };
        let ran = self.now.time.since(at).as_micros() as u64;
        let error = "the run limit passed and the worker did not stop it".to_owned();
        let detail = EndDetail { error: Some(error), ..EndDetail::default() };
        self.revoke(key, Some(ErrorCode::Stale));
        if let Some(settlement) = self.fail(key, AttemptEnd::TimedOut, ran, detail) {
            self.settle(key, settlement);
        }
    }
}

fn success(ended: &Ended, worker: Option<ganger_common::WorkerId>) -> Settlement {
    Settlement {
        task: ended.task,
        outcome: Outcome::Succeeded,
        attempt: ended.attempt,
        worker,
        cause: Cause::Result,
        result: ended.result.clone().into(),
        ended: None,
    }
}
