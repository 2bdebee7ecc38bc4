//! Workers come, come back, leave and are lost.

use std::collections::BTreeSet;
use std::time::Duration;

use ganger_common::{ConnId, ErrorCode};

use crate::arena::{List, TaskKey};
use crate::effect::{Effect, Refused, Welcome, WorkerChange, WorkerCommand, WorkerMove};
use crate::input::{WorkerHello, WorkerRequest};
use crate::report::Report;
use crate::scheduler::{Peer, Scheduler};
use crate::time::Time;
use crate::timers::Timer;
use crate::worker::{Credit, Worker, WorkerKey};

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
            WorkerRequest::Drain { deadline: _ } => self.begin_drain(key),
            WorkerRequest::Knowledge { req, op } => self.on_worker_knowledge(conn, req, op),
            WorkerRequest::Goodbye => self.depart(key, Departure::Goodbye),
        }
    }

    /// Gives a worker nothing new from now on.
    pub(crate) fn begin_drain(&mut self, key: WorkerKey) {
        if let Some(worker) = self.fleet.get_mut(key)
            && !std::mem::replace(&mut worker.draining, true)
        {
            self.tell_change(key, WorkerMove::Draining);
        }
    }

    /// Tells whoever looks on.
    fn tell_change(&mut self, key: WorkerKey, what: WorkerMove) {
        if let Some(worker) = self.fleet.get(key) {
            let change = WorkerChange { worker: worker.id, name: worker.name.clone(), what };
            self.out.push(Effect::Worker(change));
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
            None => {
                let key = self.add_worker(conn, hello);
                self.enrol(key, hello.worker);
                key
            }
        };
        self.tell_change(
            key,
            match known {
                Some(_) => WorkerMove::Resumed,
                None => WorkerMove::Joined { host: hello.host.clone(), slots: hello.slots.max(1) },
            },
        );
        self.sessions.insert(conn, Peer::Worker(key));
        let revision = self.out.revision();
        // Not held back for the journal: tasks may follow at once, and must not come first.
        self.out.push(Effect::ToWorker { conn, command: WorkerCommand::Welcome(Welcome { revision }) });
        self.reconcile(conn, key, &hello.holding);
        self.watch_silence(key);
        self.arm_tick();
        self.fleet.touch(key);
    }

    fn add_worker(&mut self, conn: ConnId, hello: &WorkerHello) -> WorkerKey {
        self.counters.workers_joined += 1;
        let admitted = self.is_known_holder(hello.worker);
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
            admitted,
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
            recalled: Time(0),
            unaccounted: None,
            only: None,
            moved: Time(0),
            ended: 0,
            ran: Duration::ZERO,
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
        // Those that it still holds are named in its hello.
        self.orphans.forget_worker(key);
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

    fn on_worker_heartbeat(&mut self, conn: ConnId, key: WorkerKey, revision: ganger_common::Revision) {
        let Some(worker) = self.fleet.get_mut(key) else { return };
        worker.revision = revision;
        let id = worker.id;
        let mut lost = BTreeSet::new();
        if let Some((leases, beats)) = &mut worker.unaccounted {
            *beats += 1;
            #[cfg(feature = "planted")]
            if crate::planted::is(crate::planted::Bug::LostDispatchKept) {
                *beats = 0;
            }
            // A worker reports everything again before its first heartbeat on a connection. The second
            // leaves room for one that beats a little early.
            if *beats >= 2 {
                lost = std::mem::take(leases);
                worker.unaccounted = None;
                // What was taken back meanwhile (cancelled, expired) it never had: no end of it will come.
                worker.revoked.retain(|lease| !lost.contains(lease));
            }
        }
        let mut lost: Vec<TaskKey> = lost
            .into_iter()
            .filter_map(|(task, epoch, attempt)| {
                let task = self.arena.find(task)?;
                self.arena[task].is_leased_to(key, epoch, attempt).then_some(task)
            })
            .collect();
        // The youngest first, so that pushing each to the front of its queue restores their order.
        lost.sort_unstable_by_key(|task| std::cmp::Reverse(self.arena[*task].seq));
        lost.into_iter().for_each(|task| self.give_back(task));
        if self.awaited.remove(&id) {
            self.end_reattach_early();
        }
        let revision = self.out.revision();
        self.out.push(Effect::ToWorker { conn, command: WorkerCommand::Heartbeat { revision } });
    }

    fn watch_silence(&mut self, key: WorkerKey) {
        let Some(worker) = self.fleet.get_mut(key) else { return };
        let since = worker.silent_since();
        let soon = since.plus(self.config.silence_max());
        let at = if soon > self.now.time { soon } else { since.plus(worker.silence_max(&self.config)) };
        self.timers.set(&mut worker.silent_at, Timer::WorkerSilent(key), Some(at));
    }

    /// The deadline is not moved at every message; when it comes, it is compared with the last one. It is never
    /// further away than what a worker is borne with that is given something now.
    pub(crate) fn on_worker_silent(&mut self, key: WorkerKey) {
        let Some(worker) = self.fleet.get_mut(key) else { return };
        worker.silent_at = None;
        if self.now.time.since(worker.silent_since()) >= worker.silence_max(&self.config) {
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
                self.tell_change(key, WorkerMove::Away);
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
        let (counter, what) = match how {
            Departure::Goodbye => (&mut self.counters.workers_left, WorkerMove::Left),
            Departure::ConnectionLost => {
                (&mut self.counters.workers_lost_connection, WorkerMove::Disconnected)
            }
            Departure::Silent => (&mut self.counters.workers_lost_silent, WorkerMove::Silent),
        };
        *counter += 1;
        self.tell_change(key, what);
        self.strike_off(key);
        self.orphans.forget_worker(key);
        self.cancels.retain(|(worker, _), _| *worker != key);
        let Some(mut worker) = self.fleet.remove(key) else { return };
        self.timers.set(&mut worker.silent_at, Timer::WorkerSilent(key), None);
        self.timers.set(&mut worker.grace_at, Timer::WorkerGrace(key), None);
        self.queues.set_open(worker.class, worker.open, None);
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
        #[cfg(feature = "planted")]
        if crate::planted::is(crate::planted::Bug::StallsNotForgiven) {
            return;
        }
        for (key, worker) in self.fleet.iter_mut() {
            worker.last_seen = worker.last_seen.plus(stall).min(self.now.time);
            worker.moved = worker.moved.plus(stall).min(self.now.time);
            if let Some(at) = worker.grace_at {
                self.timers.set(&mut worker.grace_at, Timer::WorkerGrace(key), Some(at.plus(stall)));
            }
        }
        for (_, client) in self.clients.iter_mut() {
            client.last_seen = client.last_seen.plus(stall).min(self.now.time);
        }
        // Those of the last life could not come back meanwhile.
        if let Some(ends) = self.slots.reattach {
            self.timers.set(&mut self.slots.reattach, Timer::ReattachEnds, Some(ends.plus(stall)));
        }
    }

    /// Where the wall clock gains on the other, graces end earlier: see [`crate::planted`].
    #[cfg(feature = "planted")]
    pub(crate) fn judge_by_the_wall(&mut self, now: crate::time::Now) {
        if !crate::planted::is(crate::planted::Bug::GraceByTheWall) {
            return;
        }
        let gained = now.wall.since(self.now.wall).saturating_sub(now.time.since(self.now.time));
        for (key, worker) in self.fleet.iter_mut() {
            if let Some(at) = worker.grace_at {
                let at = crate::time::Time(at.0.saturating_sub(gained.as_micros() as u64));
                self.timers.set(&mut worker.grace_at, Timer::WorkerGrace(key), Some(at));
            }
        }
    }
}
