//! How facts change the state: the one way, live and in recovery.

use std::sync::Arc;
use std::time::Duration;

use ganger_common::message::Durability;
use ganger_common::{Attempt, AttemptEnd, ClientId, Outcome, TaskId, TaskOptions};

use crate::arena::TaskKey;
use crate::client::ClientKey;
use crate::data::Data;
use crate::input::NewTask;
use crate::payers::{PayerKey, Who};
use crate::queue::KindKey;
use crate::record::{AttemptEnded, CarryHead, Record, Settlement};
use crate::scheduler::Scheduler;
use crate::task::{DelayReason, Extra, State, Task};
use crate::time::{Now, Time, Wall};
use crate::timers::Timer;

/// What the live path knows about new tasks beside the facts. Nothing of it survives a restart.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Origin {
    /// Who wants the outcomes.
    pub(crate) owner: Option<ClientKey>,
    /// Not to be given out before this: a worker of the broker's last life may still have them.
    pub(crate) hold_until: Option<Time>,
    /// Not to be given out before the journal has them.
    pub(crate) fresh: bool,
}

/// Whose tasks a batch brings. They are looked up for the first of them.
pub(crate) enum Billed {
    To(ClientId),
    Before(PayerKey),
}

impl Scheduler {
    /// Makes a fact part of the state.
    ///
    /// Only for records that this scheduler, or one before it, has appended, in their order. A record that
    /// speaks of a task that is not known, or that is settled already, changes nothing: when the beginning
    /// of a journal was let go, the task comes later as it is then, or it is gone.
    pub fn apply(&mut self, record: Record) {
        match record {
            Record::Started { epoch } => self.config.epoch = self.config.epoch.max(epoch),
            Record::Accepted { at, client, tasks } => {
                self.apply_accepted(at, client, tasks, Origin::default());
            }
            Record::AttemptEnded(ended) => self.apply_attempt_ended(ended),
            Record::Settled { at, tasks } => {
                for settlement in tasks {
                    self.apply_settlement(at, None, settlement);
                }
            }
            Record::Retried { at, tasks } => {
                for task in tasks {
                    self.apply_retried(at, task);
                }
            }
            Record::Forgotten { settled, dead } => self.apply_forgotten(settled, dead),
            Record::Discarded { tasks } => tasks.into_iter().for_each(|task| self.apply_discarded(task)),
            Record::KindPaused { kind } => self.queues.pause(kind),
            Record::KindResumed { kind } => self.queues.resume(&kind),
            Record::Knowledge(change) => {
                self.knowledge.apply(&change, self.config.knowledge_history_max);
            }
            Record::WorkerJoined { worker } => {
                self.holders.insert(worker);
            }
            Record::WorkerLeft { worker } => {
                self.holders.remove(&worker);
            }
            Record::CarryBegun(head) => self.apply_head(head),
            Record::CarriedTasks(tasks) => {
                for task in tasks {
                    self.apply_carried(task);
                }
            }
            Record::CarriedTopic(topic) => self.knowledge.apply_carried(topic),
            Record::CarriedHistory(changes) => {
                self.knowledge.apply_history(changes, self.config.knowledge_history_max);
            }
            Record::CarryEnded { .. } => {}
        }
    }

    /// Where the state is known already, this changes nothing.
    fn apply_head(&mut self, head: CarryHead) {
        self.config.epoch = self.config.epoch.max(head.epoch);
        self.next_seq = self.next_seq.max(head.seq);
        self.knowledge.catch_up(head.revision);
        self.holders.extend(head.workers);
        head.paused.into_iter().for_each(|kind| self.queues.pause(kind));
    }

    /// Numbers tasks and outcomes through. Each entry of a record takes a number, whether its task is known
    /// or not, so that the numbers are the same wherever the reading of a journal begins.
    fn number(&mut self) -> u64 {
        self.next_seq += 1;
        self.next_seq
    }

    pub(crate) fn apply_accepted(
        &mut self,
        at: Wall,
        client: Option<ClientId>,
        tasks: impl IntoIterator<Item = NewTask>,
        origin: Origin,
    ) {
        let mut client = client.map(Billed::To);
        let mut last_kind: Option<(Arc<str>, KindKey)> = None;
        for new in tasks {
            let seq = self.number();
            if self.find_remembered(new.id).is_some() {
                continue; // Twice in one batch.
            }
            let kind = match &last_kind {
                Some((name, key)) if Arc::ptr_eq(name, &new.kind) => *key,
                _ => {
                    let key = self.queues.intern(&new.kind);
                    last_kind = Some((new.kind, key));
                    key
                }
            };
            let bytes = new.payload.len();
            let payer = self.bill(&mut client, new.options.as_deref(), bytes);
            let key = self.arena.insert(Task {
                id: new.id,
                kind,
                priority: new.options.as_ref().map_or(0, |options| options.priority),
                attempt: Attempt(0),
                links: Default::default(),
                seq,
                submitted: at,
                owner: origin.owner,
                payer,
                data: new.payload,
                extra: None,
                state: State::Ready,
            });
            self.unsettled += 1;
            self.payload_bytes += bytes;
            let due = self.install_options(key, at, new.options, origin);
            match origin.hold_until {
                Some(hold) if due > hold => self.delay(key, due, DelayReason::Asked),
                Some(hold) => self.hold(key, hold),
                None if due > self.now.time => self.delay(key, due, DelayReason::Asked),
                None if origin.fresh => self.keep_fresh(key),
                None => self.queues.push(&mut self.arena, key, false),
            }
        }
    }

    /// Books a task on the account that it names, or else on that of its client.
    pub(crate) fn bill(
        &mut self,
        client: &mut Option<Billed>,
        options: Option<&TaskOptions>,
        bytes: usize,
    ) -> Option<PayerKey> {
        if let Some(account) = options.and_then(|options| options.account) {
            return Some(self.payers.book(Who::Account(account), bytes));
        }
        let payer = match client.as_ref()? {
            Billed::To(client) => self.payers.book(Who::Client(*client), bytes),
            Billed::Before(payer) => {
                self.payers.book_more(*payer, bytes);
                return Some(*payer);
            }
        };
        *client = Some(Billed::Before(payer));
        Some(payer)
    }

    /// Gives a task its options, and says when it is due.
    fn install_options(
        &mut self,
        key: TaskKey,
        at: Wall,
        options: Option<Box<TaskOptions>>,
        origin: Origin,
    ) -> Time {
        let Some(options) = options else { return self.now.time };
        let due = self.time_after(at, Duration::from_millis(options.delay_ms));
        let expires = options.ttl_ms.map(|ttl| self.time_after(at, Duration::from_millis(ttl)));
        let task = &mut self.arena[key];
        if options.detached {
            task.owner = None;
        }
        let follower = origin.owner.filter(|_| options.events && !options.detached);
        let mut extra = Extra { options: *options, ..Extra::default() };
        extra.followers.extend(follower);
        self.timers.set(&mut extra.expires, Timer::TaskExpires(key), expires);
        task.extra = Some(Box::new(extra));
        due
    }

    fn apply_attempt_ended(&mut self, ended: AttemptEnded) {
        let Some(key) = self.arena.find(ended.task) else { return };
        if self.arena[key].is_settled() {
            return;
        }
        self.detach(key);
        if ended.end != AttemptEnd::Lost {
            self.stop_expiry(key); // It had started, whether anybody said so at the time or not.
        }
        let due = self.due_after(&ended);
        let task = &mut self.arena[key];
        task.attempt = task.attempt.max(ended.attempt);
        task.extra_mut().book(ended);
        match due {
            Some(due) => self.delay(key, due, DelayReason::Backoff),
            #[cfg(feature = "planted")]
            None if crate::planted::is(crate::planted::Bug::BackOfTheQueue) => {
                self.queues.push(&mut self.arena, key, false);
            }
            None => self.queues.push(&mut self.arena, key, true),
        }
    }

    /// When the next attempt may start after one that ended so; `None`: at once.
    pub(crate) fn due_after(&self, ended: &AttemptEnded) -> Option<Time> {
        ended.retry_at.map(|at| self.time_after(ended.at, at.since(ended.at)))
    }

    /// Whoever knows the slot of the task already says so.
    pub(crate) fn apply_settlement(&mut self, at: Wall, key: Option<TaskKey>, settlement: Settlement) {
        let seq = self.number();
        let Some(key) = key.or_else(|| self.arena.find(settlement.task)) else { return };
        if self.arena[key].is_settled() {
            return;
        }
        self.detach(key);
        self.stop_expiry(key);
        let task = &mut self.arena[key];
        self.unsettled -= 1;
        self.payload_bytes -= task.data.len();
        if let Some(payer) = task.payer.take() {
            self.payers.release(payer, task.data.len());
        }
        if settlement.attempt > Attempt(0) {
            task.attempt = settlement.attempt;
        }
        if let Some(ended) = settlement.ended {
            task.extra_mut().book(*ended);
        }
        if let Some(extra) = &mut task.extra {
            // What only this life knows of it means nothing any more.
            extra.began = extra.options.ttl_ms.is_some() || !extra.history.is_empty();
        }
        task.seq = seq;
        task.state = State::Settled {
            outcome: settlement.outcome,
            cause: settlement.cause,
            at,
            worker: settlement.worker,
        };
        if Task::is_retryable_outcome(settlement.outcome) {
            self.retention.bury(&mut self.arena, key);
        } else {
            task.data = settlement.result;
            let time = self.time_after(at, Duration::ZERO);
            self.retention.keep(&mut self.arena, key, time);
            self.arm_retention();
        }
        self.count_outcome(settlement.outcome);
    }

    fn apply_retried(&mut self, at: Wall, task: TaskId) {
        let seq = self.number();
        let Some(key) = self.arena.find(task) else { return };
        if !self.arena[key].outcome().is_some_and(Task::is_retryable_outcome) {
            return;
        }
        self.retention.exhume(&mut self.arena, key);
        let task = &mut self.arena[key];
        let extra = task.extra_mut();
        (extra.failures, extra.timeouts, extra.crashes) = (0, 0, 0);
        let account = extra.options.account;
        (task.submitted, task.seq) = (at, seq);
        self.unsettled += 1;
        self.payload_bytes += task.data.len();
        // Who handed it in was forgotten when it was settled, and whoever put it back did so for anybody.
        task.payer = account.map(|account| self.payers.book(Who::Account(account), task.data.len()));
        self.counters.tasks_retried += 1;
        self.queues.push(&mut self.arena, key, false);
    }

    fn apply_forgotten(&mut self, settled: u64, dead: u64) {
        if let Some(reading) = &mut self.reading {
            (reading.settled, reading.dead) = (reading.settled.max(settled), reading.dead.max(dead));
            self.sweep();
        }
        self.let_go(settled, dead);
    }

    /// Drops the outcomes that are numbered up to here.
    pub(crate) fn let_go(&mut self, settled: u64, dead: u64) {
        while let Some(key) = self.retention.pop_kept(&mut self.arena, settled) {
            self.arena.remove(key);
        }
        while let Some(key) = self.retention.pop_buried(&mut self.arena, dead) {
            self.arena.remove(key);
        }
    }

    /// Takes a task that is not settled out of wherever it is.
    pub(crate) fn detach(&mut self, key: TaskKey) {
        let task = &self.arena[key];
        let (kind, bytes, age) = (task.kind, task.data.len(), task.seq);
        match task.state {
            State::Fresh => self.fresh.len -= 1,
            State::Ready | State::Gated { .. } => self.queues.remove(&mut self.arena, key),
            State::Delayed { due, .. } => {
                self.timers.remove(due, Timer::TaskDue { age, task: key });
                self.delayed -= 1;
            }
            State::Assigned { worker, .. } => {
                if let Some(worker) = self.fleet.get_mut(worker) {
                    self.arena.unlink(&mut worker.assigned, key);
                    worker.held_bytes -= bytes;
                }
                self.fleet.assigned -= 1;
                self.queues.kind_mut(kind).leased -= 1;
                self.fleet.touch(worker);
            }
            State::Running { worker, .. } => {
                if let Some(worker) = self.fleet.get_mut(worker) {
                    self.arena.unlink(&mut worker.running, key);
                    worker.held_bytes -= bytes;
                }
                self.fleet.running -= 1;
                self.queues.kind_mut(kind).leased -= 1;
                self.fleet.touch(worker);
                self.stop_run_limit(key);
            }
            State::Settled { .. } => unreachable!("callers leave settled tasks alone"),
        }
    }

    pub(crate) fn delay(&mut self, key: TaskKey, due: Time, why: DelayReason) {
        let task = &mut self.arena[key];
        task.state = State::Delayed { due, why };
        self.timers.insert(due, Timer::TaskDue { age: task.seq, task: key });
        self.delayed += 1;
    }

    pub(crate) fn on_task_due(&mut self, key: TaskKey) {
        self.delayed -= 1;
        if self.is_kept_back(key)
            && let Some(until) = self.slots.reattach.filter(|until| *until > self.now.time)
        {
            // The window has become longer meanwhile.
            return self.delay(key, until, DelayReason::Reattach);
        }
        self.queue_due(key);
    }

    /// Queues a task that has waited for something else than the journal, which may not have it yet.
    pub(crate) fn queue_due(&mut self, key: TaskKey) {
        match self.config.durability {
            Durability::Journal if self.out.safe() < self.out.appended() => {
                self.keep_fresh(key);
                self.note_fresh();
            }
            _ => self.queues.push(&mut self.arena, key, false),
        }
    }

    /// A task does not expire any more.
    pub(crate) fn stop_expiry(&mut self, key: TaskKey) {
        if let Some(extra) = &mut self.arena[key].extra {
            self.timers.set(&mut extra.expires, Timer::TaskExpires(key), None);
        }
    }

    pub(crate) fn stop_run_limit(&mut self, key: TaskKey) {
        if let Some(extra) = &mut self.arena[key].extra {
            self.timers.set(&mut extra.run_deadline, Timer::RunLimit(key), None);
        }
    }

    pub(crate) fn time_after(&self, from: Wall, span: Duration) -> Time {
        moment(self.now, from, span)
    }

    fn count_outcome(&mut self, outcome: Outcome) {
        let counters = &mut self.counters;
        match outcome {
            Outcome::Succeeded => counters.tasks_succeeded += 1,
            Outcome::Failed => counters.tasks_failed += 1,
            Outcome::Cancelled => counters.tasks_cancelled += 1,
            Outcome::Expired => counters.tasks_expired += 1,
            Outcome::Dead => counters.tasks_dead += 1,
        }
    }
}

/// When a span ends that began at a moment by the wall clock, on the clock that decisions are made on.
/// What is written down has begun: if the wall clock was set back since, the span begins now.
pub(crate) fn moment(now: Now, from: Wall, span: Duration) -> Time {
    let gone = now.wall.since(from);
    let left = span.saturating_sub(gone);
    let over = gone.saturating_sub(span).as_micros().min(u128::from(u64::MAX)) as u64;
    Time(now.time.plus(left).0.saturating_sub(over))
}

/// A settlement without a result.
pub(crate) fn settlement(
    task: TaskId,
    outcome: Outcome,
    attempt: Attempt,
    cause: crate::record::Cause,
) -> Settlement {
    Settlement { task, outcome, attempt, worker: None, cause, result: Data::default(), ended: None }
}
