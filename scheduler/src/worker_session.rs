//! Workers come, come back, leave and are lost.

use std::collections::BTreeSet;
use std::time::Duration;

use ganger_common::{ConnId, ErrorCode};

use crate::arena::{List, TaskKey};
use crate::effect::{Effect, Refused, Welcome, WorkerCommand};
use crate::input::{Held, WorkerHello, WorkerRequest};
use crate::report::Report;
use crate::scheduler::{Peer, Scheduler};
use crate::task::State;
use crate::timers::Timer;
use crate::worker::{Credit, LeaseKey, Worker, WorkerKey, lease_key, lease_of};

/// How a worker went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Departure {
    /// It said goodbye.
    Goodbye,
    /// Its connection was gone for longer than the grace.
    ConnectionLost,
    /// Nothing came from it for too long.
    Silent,
}

impl Scheduler {
    pub(crate) fn on_worker(&mut self, conn: ConnId, request: WorkerRequest) {
        let key = match (self.sessions.get(&conn), request) {
            (None, WorkerRequest::Hello(hello)) => return self.on_worker_hello(conn, &hello),
            (None, _) => {
                self.counters.messages_before_hello += 1;
                return self.refuse_worker(conn, ErrorCode::HelloFirst, "say hello first");
            }
            (Some(Peer::Worker(key)), request) => {
                let key = *key;
                if let Some(worker) = self.fleet.get_mut(key) {
                    worker.last_seen = self.now.time;
                }
                self.on_worker_request(conn, key, request);
                key
            }
            (Some(Peer::Client(_)), _) => {
                return self.refuse_worker(conn, ErrorCode::BadMessage, "this connection is a client's");
            }
        };
        self.fleet.touch(key);
    }

    fn on_worker_request(&mut self, conn: ConnId, key: WorkerKey, request: WorkerRequest) {
        match request {
            WorkerRequest::Hello(_) => {
                self.refuse_worker(conn, ErrorCode::BadMessage, "hello was said on this connection already");
            }
            WorkerRequest::Heartbeat { revision } => self.on_worker_heartbeat(conn, key, revision),
            WorkerRequest::Report { seq, started, ended, waiting, recall } => {
                self.on_report(conn, key, Report { seq, started, ended, waiting, recall });
            }
            WorkerRequest::Progress { lease, fraction, text } => {
                self.on_progress(key, lease, fraction, &text);
            }
            WorkerRequest::Partial { lease, index, data } => self.on_partial(key, lease, index, &data),
            WorkerRequest::Drain { deadline: _ } => {
                if let Some(worker) = self.fleet.get_mut(key) {
                    worker.draining = true;
                }
            }
            WorkerRequest::Knowledge { req, op } => self.on_worker_knowledge(conn, req, op),
            WorkerRequest::Goodbye => self.depart(key, Departure::Goodbye),
        }
    }

    fn refuse_worker(&mut self, conn: ConnId, code: ErrorCode, text: &str) {
        let refused = Refused { req: None, code, text: text.to_owned(), retry_after: None };
        self.out.push(Effect::ToWorker { conn, command: WorkerCommand::Error(refused) });
    }

    fn on_worker_hello(&mut self, conn: ConnId, hello: &WorkerHello) {
        let known = self.fleet.find(hello.worker);
        let owner = known.and_then(|key| self.fleet.get(key));
        if owner.is_some_and(|worker| worker.token != hello.token) {
            self.counters.sessions_refused += 1;
            self.refuse_worker(conn, ErrorCode::SessionTaken, "this worker id belongs to another session");
            return self.out.push(Effect::Close { conn });
        }
        if known.is_none() && self.fleet.len() >= self.config.workers_max {
            let text = format!("there are {} workers already", self.config.workers_max);
            self.refuse_worker(conn, ErrorCode::TooManySessions, &text);
            return self.out.push(Effect::Close { conn });
        }
        let new_kinds = hello.kinds.iter().filter(|kind| self.queues.find(kind).is_none()).count();
        if self.queues.kinds_len() + new_kinds > self.config.kinds_max {
            let text = format!("there would be more than {} kinds", self.config.kinds_max);
            self.refuse_worker(conn, ErrorCode::TooMany, &text);
            return self.out.push(Effect::Close { conn });
        }
        let key = match known {
            Some(key) => self.resume_worker(key, conn, hello),
            None => self.add_worker(conn, hello),
        };
        self.sessions.insert(conn, Peer::Worker(key));
        let revision = self.knowledge.revision();
        // Not held back for the journal: tasks may follow at once, and must not come first.
        self.out.push(Effect::ToWorker { conn, command: WorkerCommand::Welcome(Welcome { revision }) });
        self.reconcile(conn, key, &hello.holding);
        self.watch_silence(key);
        self.arm_tick();
        self.fleet.touch(key);
    }

    fn add_worker(&mut self, conn: ConnId, hello: &WorkerHello) -> WorkerKey {
        self.counters.workers_joined += 1;
        let kinds = hello.kinds.iter().map(|kind| self.queues.intern(kind)).collect();
        let (queues, now) = (&mut self.queues, self.now.time);
        self.fleet.add(|key| Worker {
            id: hello.worker,
            token: hello.token,
            name: hello.name.clone(),
            host: hello.host.clone(),
            pid: hello.pid,
            class: queues.enlist(key, kinds),
            slots: hello.slots.max(1),
            conn: Some(conn),
            draining: hello.draining,
            last_seen: now,
            silent_at: None,
            grace_at: None,
            assigned: List::default(),
            running: List::default(),
            revoked: BTreeSet::new(),
            held_bytes: 0,
            credit: Credit::default(),
            revision: hello.revision,
            recall: None,
            recalls: 0,
            unaccounted: None,
            ended: 0,
            open: None,
            served: 0,
            touched: false,
            outgoing: Vec::new(),
        })
    }

    /// The same incarnation on a new connection. The old connection, if it still seems to live, is closed:
    /// whoever has the token speaks for the session.
    fn resume_worker(&mut self, key: WorkerKey, conn: ConnId, hello: &WorkerHello) -> WorkerKey {
        self.counters.workers_resumed += 1;
        let Some(worker) = self.fleet.get_mut(key) else { return key };
        let old = worker.conn.replace(conn);
        worker.last_seen = self.now.time;
        worker.draining = hello.draining;
        worker.revision = hello.revision;
        worker.recall = None;
        self.timers.set(&mut worker.grace_at, Timer::WorkerGrace(key), None);
        if let Some(old) = old {
            self.sessions.remove(&old);
            let text = "the session has moved to another connection";
            self.say_goodbye(old, Peer::Worker(key), None, text);
            self.out.push(Effect::Close { conn: old });
        }
        key
    }

    /// Compares, lease by lease, what the worker holds with what the scheduler thinks that it holds.
    fn reconcile(&mut self, conn: ConnId, key: WorkerKey, holding: &[Held]) {
        let held: BTreeSet<LeaseKey> = holding.iter().map(|held| lease_key(&held.lease)).collect();
        let mut starts = Vec::new();
        if let Some(worker) = self.fleet.get_mut(key) {
            worker.revoked.retain(|lease| held.contains(lease));
        }
        for item in holding {
            if self.keep_or_adopt(key, item) {
                let task = self.arena.find(item.lease.task).map(|task| &self.arena[task]);
                if item.started && task.is_some_and(crate::task::Task::needs_confirm) {
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
        let is_free = entry.holder().is_none() && !entry.is_settled();
        // An attempt that has been booked is over, whoever still runs it.
        let is_new = lease.attempt > entry.attempt;
        if is_free && is_new {
            self.adopt(task, key, held);
        }
        is_free && is_new
    }

    /// Makes a lease of the broker's last life the current one.
    pub(crate) fn adopt(&mut self, task: TaskKey, key: WorkerKey, held: &Held) {
        self.counters.leases_adopted += 1;
        self.detach(task);
        let Some(worker) = self.fleet.get_mut(key) else { return };
        let entry = &mut self.arena[task];
        entry.attempt = held.lease.attempt;
        entry.state = State::Assigned { worker: key, epoch: held.lease.epoch, at: self.now.time };
        worker.held_bytes += entry.data.len();
        self.queues.kind_mut(entry.kind).leased += 1;
        self.arena.push_back(&mut worker.assigned, task);
        self.fleet.assigned += 1;
        if held.started {
            self.start(task);
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

    fn on_worker_heartbeat(&mut self, conn: ConnId, key: WorkerKey, revision: ganger_common::Revision) {
        let Some(worker) = self.fleet.get_mut(key) else { return };
        worker.revision = revision;
        let mut lost = BTreeSet::new();
        if let Some((leases, beats)) = &mut worker.unaccounted {
            *beats += 1;
            // A worker reports everything again before its first heartbeat on a connection. The second
            // leaves room for one that beats a little early.
            if *beats >= 2 {
                lost = std::mem::take(leases);
                worker.unaccounted = None;
            }
        }
        for (task, epoch, attempt) in lost.into_iter().rev() {
            if let Some(task) = self.arena.find(task)
                && self.arena[task].is_leased_to(key, epoch, attempt)
            {
                self.give_back(task);
            }
        }
        let revision = self.knowledge.revision();
        self.out.push(Effect::ToWorker { conn, command: WorkerCommand::Heartbeat { revision } });
    }

    fn watch_silence(&mut self, key: WorkerKey) {
        let Some(worker) = self.fleet.get_mut(key) else { return };
        let at = worker.last_seen.plus(self.config.silence_max());
        self.timers.set(&mut worker.silent_at, Timer::WorkerSilent(key), Some(at));
    }

    /// The deadline is not moved at every message; when it comes, it is compared with the last one.
    pub(crate) fn on_worker_silent(&mut self, key: WorkerKey) {
        let Some(worker) = self.fleet.get_mut(key) else { return };
        worker.silent_at = None;
        if self.now.time.since(worker.last_seen) >= self.config.silence_max() {
            return self.depart(key, Departure::Silent);
        }
        self.watch_silence(key);
    }

    pub(crate) fn on_worker_grace(&mut self, key: WorkerKey) {
        if let Some(worker) = self.fleet.get_mut(key) {
            worker.grace_at = None;
        }
        self.depart(key, Departure::ConnectionLost);
    }

    pub(crate) fn on_connection_down(&mut self, conn: ConnId) {
        match self.sessions.remove(&conn) {
            Some(Peer::Worker(key)) => {
                let Some(worker) = self.fleet.get_mut(key) else { return };
                worker.conn = None;
                let at = self.now.time.plus(self.config.grace);
                self.timers.set(&mut worker.grace_at, Timer::WorkerGrace(key), Some(at));
                self.fleet.touch(key);
            }
            Some(Peer::Client(key)) => self.on_client_away(key),
            None => {}
        }
    }

    /// A worker is gone: its leases move on.
    pub(crate) fn depart(&mut self, key: WorkerKey, how: Departure) {
        let Some(worker) = self.fleet.get(key) else { return };
        // From the back, so that pushing each to the front of its queue restores their order.
        let leases: Vec<TaskKey> =
            self.arena.walk_back(&worker.assigned).chain(self.arena.walk_back(&worker.running)).collect();
        for lease in leases {
            match how {
                Departure::Goodbye => self.interrupt_lease(lease),
                Departure::ConnectionLost | Departure::Silent => self.lose_lease(lease),
            }
        }
        match how {
            Departure::Goodbye => self.counters.workers_left += 1,
            Departure::ConnectionLost => self.counters.workers_lost_connection += 1,
            Departure::Silent => self.counters.workers_lost_silent += 1,
        }
        self.orphans.forget_worker(key);
        self.cancels.retain(|(worker, _), _| *worker != key);
        let Some(mut worker) = self.fleet.remove(key) else { return };
        self.timers.set(&mut worker.silent_at, Timer::WorkerSilent(key), None);
        self.timers.set(&mut worker.grace_at, Timer::WorkerGrace(key), None);
        self.queues.set_open(&self.arena, worker.class, worker.open, None);
        self.queues.discharge(key, worker.class);
        let Some(conn) = worker.conn else { return };
        self.sessions.remove(&conn);
        if how == Departure::Silent {
            let text = "nothing was heard for too long";
            self.say_goodbye(conn, Peer::Worker(key), Some(ErrorCode::Silent), text);
        }
        self.out.push(Effect::Close { conn });
    }

    /// Adds to everybody's account the time in which the scheduler was not called.
    pub(crate) fn forgive(&mut self, stall: Duration) {
        self.counters.own_stalls += 1;
        for (key, worker) in self.fleet.iter_mut() {
            worker.last_seen = worker.last_seen.plus(stall).min(self.now.time);
            if let Some(at) = worker.grace_at {
                self.timers.set(&mut worker.grace_at, Timer::WorkerGrace(key), Some(at.plus(stall)));
            }
        }
        for (_, client) in self.clients.iter_mut() {
            client.last_seen = client.last_seen.plus(stall).min(self.now.time);
        }
    }

    /// The workers of the broker's last life had their chance.
    pub(crate) fn end_reattach(&mut self) {
        for (worker, held) in self.orphans.take_leases() {
            self.cancels.entry((worker, Some(ErrorCode::Stale))).or_default().push(held.lease);
        }
    }

    /// A task was handed in again after the broker forgot it: what a worker has brought of it counts.
    /// Returns a result, if there is one.
    pub(crate) fn reunite(&mut self, key: TaskKey) -> Option<crate::record::Settlement> {
        if self.orphans.is_empty() {
            return None;
        }
        let task = self.arena[key].id;
        if let Some(ended) = self.orphans.claim_end(task) {
            let cause = crate::record::Cause::Result;
            let outcome = ganger_common::Outcome::Succeeded;
            let settlement = crate::apply::settlement(task, outcome, ended.attempt, cause);
            return Some(crate::record::Settlement { result: ended.result, ..settlement });
        }
        if let Some((worker, held)) = self.orphans.claim_lease(task)
            && let Some(entry) = self.fleet.get_mut(worker)
        {
            entry.revoked.remove(&lease_key(&held.lease));
            self.adopt(key, worker, &held);
        }
        None
    }
}
