//! Who gets what.
//!
//! Slots come first, in breadth: the worker with the least to do gets the next task, and a batch is no
//! larger than an even share, so that few tasks spread over all, unless they are too small for that
//! ([`crate::pack`]). Only then do the reserves fill up. What
//! has not started and would sit there while somebody else has nothing to do is recalled.

use std::time::Duration;

use ganger_common::Attempt;
use ganger_common::limits::{BATCH_BYTES_TARGET, BATCH_ITEMS_MAX};
use ganger_common::message::Durability;

use crate::arena::TaskKey;
use crate::effect::{Dispatch, Effect, WorkerCommand};
use crate::queue::KindKey;
use crate::record::Cause;
use crate::scheduler::{Draining, Scheduler};
use crate::task::{Extra, State};
use crate::time::Wall;
use crate::timers::Timer;
use crate::worker::{Worker, WorkerKey, lease_of};

/// Tasks of one kind that are given out in a row while another kind waits for its turn.
const TURN_MAX: usize = 64;

/// How long a worker may have nothing to do before others hand over what they have not started. Well
/// below the tenth of a second that people notice, well above a round trip.
const REBALANCE_AFTER: Duration = Duration::from_millis(20);

/// A task that has not started this long after it was given waits for a slot, even if its worker should
/// have one free: a handler that does not stop at its run limit keeps its slot until it ends, and only its
/// worker knows. Longer than the round trip of any link that is worth using.
const STUCK_AFTER: Duration = Duration::from_millis(500);

impl Scheduler {
    /// Gives out what can be given out.
    pub(crate) fn dispatch(&mut self) {
        self.refresh_touched();
        if !self.gives_out() {
            return;
        }
        let mut served: Vec<WorkerKey> = Vec::new();
        self.dispatch_gated(&mut served);
        while let Some((_, _, kind)) = self.queues.first_ready() {
            let Some((worker, most)) = self.packed(kind).or_else(|| self.spread(kind)) else {
                self.queues.unrank(kind);
                continue;
            };
            let share = self.share(worker, most);
            for _ in 0..share {
                let Some(task) = self.queues.pop(&mut self.arena, kind) else { break };
                self.assign(task, worker);
            }
            self.queues.rerank(kind);
            served.push(worker);
            self.reopen(worker);
        }
        self.send_outgoing(&served);
        self.arm_rebalance();
    }

    /// Whether anything is given out at all.
    pub(crate) fn gives_out(&self) -> bool {
        let over = matches!(self.draining, Some(Draining::Overdue | Draining::Over));
        let rests = self.draining.is_some() && self.config.durability == Durability::Journal;
        // A lease names this life. Until the journal has its number, the next life could have the same, and
        // grant the same lease to somebody else.
        let unborn = self.out.safe() < self.begun;
        !(over || rests || unborn || self.behind)
    }

    /// The worker of a kind that has the least to do, and how many tasks it may have: no more than it has slots
    /// free, nor than an even share.
    fn spread(&self, kind: KindKey) -> Option<(WorkerKey, usize)> {
        let (_, _, key) = self.queues.least_loaded(kind)?;
        let idle = self.fleet.get(key).map(Worker::idle_slots).filter(|idle| *idle > 0);
        let even = self.queues.kind(kind).ready.div_ceil(self.queues.open_len(kind).max(1));
        Some((key, even.min(idle.unwrap_or(u32::MAX) as usize)))
    }

    /// How many of so many tasks a worker gets in a row.
    fn share(&self, worker: WorkerKey, most: usize) -> usize {
        let Some(worker) = self.fleet.get(worker) else { return 0 };
        let room = worker.room(&self.config) as usize;
        let turn = match self.queues.second_ready() {
            Some(_) => TURN_MAX,
            None => BATCH_ITEMS_MAX,
        };
        // A batch of large payloads must not overshoot what one worker may hold by more than one task.
        let bytes_left = self.config.worker_bytes_max.saturating_sub(worker.held_bytes);
        let average = (self.payload_bytes / self.unsettled.max(1)).max(1);
        most.min(room).min(turn).min((bytes_left / average).max(1))
    }

    /// Tasks that need knowledge go to whoever has it, before the others of their kind.
    fn dispatch_gated(&mut self, served: &mut Vec<WorkerKey>) {
        if self.queues.gated.is_empty() {
            return;
        }
        let is_given_out = |kind: &KindKey| {
            #[cfg(feature = "planted")]
            if crate::planted::is(crate::planted::Bug::PauseLeaks) {
                return true;
            }
            !self.queues.kind(*kind).is_paused
        };
        let kinds: Vec<KindKey> = self.queues.gated.iter().copied().filter(is_given_out).collect();
        for kind in kinds {
            while let Some((revision, _, task)) = self.queues.kind(kind).gated.first().copied() {
                // The needs ascend: when nobody has enough for this one, nobody has for the next.
                let knows = |worker: &WorkerKey| {
                    #[cfg(feature = "planted")]
                    if crate::planted::is(crate::planted::Bug::GateOpen) {
                        return true;
                    }
                    self.fleet.get(*worker).is_some_and(|worker| worker.revision >= revision)
                };
                let classes = &self.queues.kind(kind).classes;
                let worker = classes
                    .iter()
                    .filter_map(|class| {
                        self.queues.class(*class).open.iter().find(|(_, _, worker)| knows(worker))
                    })
                    .min()
                    .map(|(_, _, worker)| *worker);
                let Some(worker) = worker else { break };
                self.queues.remove(&mut self.arena, task);
                self.assign(task, worker);
                served.push(worker);
                self.reopen(worker);
            }
        }
    }

    /// Gives a task that is in no queue any more to a worker, as its next attempt.
    fn assign(&mut self, key: TaskKey, to: WorkerKey) {
        let Some(worker) = self.fleet.get_mut(to) else {
            unreachable!("only workers of the fleet are open");
        };
        let task = &mut self.arena[key];
        worker.note_given(task.kind, self.now.time);
        task.attempt = task.attempt.next();
        task.state = State::Assigned { worker: to, epoch: self.config.epoch, at: self.now.time };
        if task.attempt == Attempt(1) {
            let delay_ms = task.extra.as_ref().map_or(0, |extra| extra.options.delay_ms);
            let due = Wall(task.submitted.0.saturating_add(delay_ms));
            self.durations.queue_wait.note_between(due, self.now.wall);
        }
        worker.held_bytes += task.data.len();
        if !worker.revoked.is_empty() {
            // It may have claimed this lease before it had it.
            worker.revoked.remove(&(task.id, self.config.epoch, task.attempt));
        }
        if let Some((missing, _)) = &mut worker.unaccounted {
            // What was missing has ended: of a task of the same id, whose outcome was let go since.
            missing.remove(&(task.id, self.config.epoch, task.attempt));
        }
        let kind = self.queues.kind_mut(task.kind);
        kind.leased += 1;
        worker.outgoing.push(Dispatch {
            task: task.id,
            attempt: task.attempt,
            kind: kind.name.clone(),
            payload: task.data.clone(),
            detail: task.extra.as_deref().and_then(Extra::dispatch_detail),
        });
        self.arena.push_back(&mut worker.assigned, key);
        self.fleet.assigned += 1;
        self.counters.attempts_given += 1;
    }

    fn send_outgoing(&mut self, served: &[WorkerKey]) {
        let epoch = self.config.epoch;
        for key in served {
            let Some(worker) = self.fleet.get_mut(*key) else { continue };
            let Some(conn) = worker.conn else { continue };
            let mut outgoing = std::mem::take(&mut worker.outgoing).into_iter().peekable();
            while outgoing.peek().is_some() {
                let mut bytes = 0;
                let mut tasks = Vec::with_capacity(outgoing.len().min(BATCH_ITEMS_MAX));
                while tasks.len() < BATCH_ITEMS_MAX
                    && bytes < BATCH_BYTES_TARGET
                    && let Some(task) = outgoing.next()
                {
                    bytes += task.payload.len();
                    tasks.push(task);
                }
                self.out.push(Effect::ToWorker { conn, command: WorkerCommand::Tasks { epoch, tasks } });
            }
        }
    }

    pub(crate) fn refresh_touched(&mut self) {
        for key in std::mem::take(&mut self.fleet.touched) {
            if let Some(worker) = self.fleet.get_mut(key) {
                worker.touched = false;
            }
            self.place(key);
        }
    }

    /// After a worker was served: behind others that are as full.
    fn reopen(&mut self, key: WorkerKey) {
        self.turn += 1;
        if let Some(worker) = self.fleet.get_mut(key) {
            worker.served = self.turn;
        }
        self.place(key);
    }

    fn place(&mut self, key: WorkerKey) {
        let Some(worker) = self.fleet.get_mut(key) else { return };
        let new = worker.load(key, &self.config);
        let old = std::mem::replace(&mut worker.open, new);
        if old != new {
            self.queues.set_open(worker.class, old, new);
        }
    }

    /// Looks again a little later if somebody has nothing to do while others have tasks in reserve.
    fn arm_rebalance(&mut self) {
        if self.fleet.assigned == 0 || self.slots.rebalance.is_some() {
            return;
        }
        let is_idle = |(load, _, _): &(u32, u64, WorkerKey)| *load < 1_000;
        if self.queues.classes().any(|(_, class)| class.open.first().is_some_and(is_idle)) {
            let at = self.now.time.plus(REBALANCE_AFTER);
            self.timers.set(&mut self.slots.rebalance, Timer::Rebalance, Some(at));
        }
    }

    /// Recalls what waits at one worker when another that could run it has a free slot.
    pub(crate) fn rebalance(&mut self) {
        let mut idle: Vec<(WorkerKey, u32)> = self
            .fleet
            .iter()
            .map(|(key, worker)| (key, worker.idle_slots().min(worker.room(&self.config))))
            .filter(|(_, slots)| *slots > 0)
            .collect();
        if idle.is_empty() {
            return;
        }
        let mut donors: Vec<(u32, WorkerKey)> = self
            .fleet
            .iter()
            .filter(|(_, worker)| worker.recall.is_none() && worker.conn.is_some())
            .map(|(key, worker)| (self.held_back(worker), key))
            .filter(|(waiting, _)| *waiting > 0)
            .collect();
        donors.sort_unstable_by(|a, b| b.cmp(a));
        for (waiting, donor) in donors {
            let wanted = self.wanted_of(donor, waiting, &mut idle);
            if wanted > 0 {
                self.recall(donor, wanted);
            }
            idle.retain(|(_, slots)| *slots > 0);
        }
        self.arm_rebalance();
    }

    /// How many tasks a worker has that it has had for a while and that wait for a slot.
    fn held_back(&self, worker: &Worker) -> u32 {
        let Some(oldest) = worker.assigned.head() else { return 0 };
        let State::Assigned { at, .. } = self.arena[oldest].state else { return 0 };
        match self.now.time.since(at) {
            // Not all workers report starts, and those answer with nothing: do not ask them all the time.
            waited if waited.min(self.now.time.since(worker.recalled)) >= STUCK_AFTER => {
                worker.assigned.len() as u32
            }
            waited if waited >= REBALANCE_AFTER => worker.surplus(),
            _ => 0,
        }
    }

    /// How many of its newest tasks a worker must hand back, so that idle ones get what they can run. What
    /// is among them that nobody else can run finds its way back.
    fn wanted_of(&self, donor: WorkerKey, waiting: u32, idle: &mut [(WorkerKey, u32)]) -> u32 {
        let Some(worker) = self.fleet.get(donor) else { return 0 };
        let mut wanted = 0;
        let mut unserved = None;
        for (depth, task) in (1..=waiting).zip(self.arena.walk_back(&worker.assigned)) {
            let kind = self.arena[task].kind;
            // What is paused would come back and be given to nobody.
            if unserved == Some(kind) || self.queues.kind(kind).is_paused {
                continue;
            }
            let fits = |taker: WorkerKey, slots: u32| taker != donor && slots > 0 && self.serves(taker, kind);
            match idle.iter_mut().find(|(taker, slots)| fits(*taker, *slots)) {
                Some((_, slots)) => {
                    *slots -= 1;
                    wanted = depth;
                }
                None => unserved = Some(kind),
            }
        }
        wanted
    }

    pub(crate) fn serves(&self, worker: WorkerKey, kind: KindKey) -> bool {
        let Some(worker) = self.fleet.get(worker) else { return false };
        self.queues.class_serves(worker.class, kind)
    }

    fn recall(&mut self, from: WorkerKey, count: u32) {
        #[cfg(feature = "planted")]
        if crate::planted::is(crate::planted::Bug::NobodyRecalls) {
            return;
        }
        let Some(worker) = self.fleet.get_mut(from) else { return };
        let Some(conn) = worker.conn else { return };
        worker.recalls += 1;
        worker.recall = Some(worker.recalls);
        worker.recalled = self.now.time;
        self.counters.recalls += 1;
        let command = WorkerCommand::Recall { recall: worker.recalls, count };
        self.out.push(Effect::ToWorker { conn, command });
    }

    /// Takes the current lease of a task away from a worker that may still be at it.
    pub(crate) fn revoke(&mut self, key: TaskKey, code: Option<ganger_common::ErrorCode>) {
        let task = &self.arena[key];
        let (State::Assigned { worker, epoch, .. } | State::Running { worker, epoch, .. }) = task.state
        else {
            return;
        };
        let lease = (task.id, epoch, task.attempt);
        if let Some(holder) = self.fleet.get_mut(worker) {
            holder.revoked.insert(lease);
            self.cancels.entry((worker, code)).or_default().push(lease_of(lease));
        }
    }

    pub(crate) fn flush_cancels(&mut self) {
        for ((worker, code), leases) in std::mem::take(&mut self.cancels) {
            let Some(conn) = self.fleet.get(worker).and_then(|worker| worker.conn) else { continue };
            for part in leases.chunks(BATCH_ITEMS_MAX) {
                let command = WorkerCommand::Cancel { leases: part.to_vec(), code };
                self.out.push(Effect::ToWorker { conn, command });
            }
        }
    }

    pub(crate) fn on_task_expires(&mut self, key: TaskKey) {
        let later = self.slots.reattach.filter(|until| *until > self.now.time && self.is_kept_back(key));
        if let Some(extra) = &mut self.arena[key].extra {
            extra.expires = None;
            if later.is_some() {
                // It may be running, and the window has become longer meanwhile.
                return self.timers.set(&mut extra.expires, Timer::TaskExpires(key), later);
            }
        }
        self.revoke(key, None);
        let outcome = ganger_common::Outcome::Expired;
        let task = &self.arena[key];
        let item = crate::apply::settlement(task.id, outcome, task.attempt, Cause::Expired);
        self.settle(key, item);
    }
}
