//! Everything that must hold between two steps, checked against everything else.
//!
//! The simulator calls this after every step, so it must cost little: what is counted anew is counted in one
//! walk over the tasks, in tables by number.

use crate::arena::{List, TaskKey};
use crate::level::Level;
use crate::payers::PayerKey;
use crate::queue::KindKey;
use crate::retention::Recount;
use crate::scheduler::{Peer, Scheduler};
use crate::task::{State, Task};
use crate::timers::Timer;

/// The list that a task stands in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    Nowhere,
    Ready,
    Gated,
    Held,
    Assigned,
    Running,
    Kept,
    Dead,
}

/// What one walk over all tasks counts for the checks after it.
#[derive(Default)]
struct Census {
    /// Leases, by the number of the kind.
    leased: Vec<usize>,
    /// Unsettled tasks and the bytes of their payloads, by who pays for them.
    paid: Vec<(PayerKey, usize, usize)>,
    retained: Recount,
}

impl Census {
    fn count(&mut self, task: &Task) {
        if task.holder().is_some() {
            self.leased[task.kind.0 as usize] += 1;
        }
        let Some(payer) = task.payer else { return };
        // A handful of clients: looking through them is quicker than any map.
        match self.paid.iter_mut().find(|(client, ..)| *client == payer) {
            Some((_, tasks, bytes)) => (*tasks, *bytes) = (*tasks + 1, *bytes + task.data.len()),
            None => self.paid.push((payer, 1, task.data.len())),
        }
    }

    fn leased_of(&self, kind: KindKey) -> usize {
        self.leased[kind.0 as usize]
    }
}

impl Scheduler {
    /// Cross-checks every index against every other. For tests and the simulator: it looks at every task.
    ///
    /// # Panics
    /// When something does not hold; the message names it.
    pub fn check_invariants(&self) {
        let places = self.tasks_in_lists();
        let census = self.check_tasks(&places);
        self.check_workers();
        self.check_kinds(&census);
        self.check_sessions();
        self.check_timers();
        self.retention.check_counts(&census.retained);
        self.payers.check_counts(&census.paid);
        self.knowledge.check_counts();
    }

    /// In which list each task is, by walking through all lists.
    fn tasks_in_lists(&self) -> Vec<Place> {
        let mut places = vec![Place::Nowhere; self.arena.slots()];
        let mut note = |key: TaskKey, place: Place| {
            let before = std::mem::replace(&mut places[key.slot()], place);
            assert!(before == Place::Nowhere, "task {key:?} is in two lists: {before:?} and {place:?}");
        };
        let mut walk = |list: &List, place| self.arena.walk(list).for_each(|key| note(key, place));
        for (_, kind) in self.queues.kinds_by_name() {
            kind.levels.values().flat_map(Level::lists).for_each(|list| walk(list, Place::Ready));
            kind.held.values().flat_map(Level::lists).for_each(|list| walk(list, Place::Held));
        }
        for (_, worker) in self.fleet.iter() {
            walk(&worker.assigned, Place::Assigned);
            walk(&worker.running, Place::Running);
        }
        walk(self.retention.kept(), Place::Kept);
        walk(self.retention.dead(), Place::Dead);
        for (_, kind) in self.queues.kinds_by_name() {
            kind.gated.iter().for_each(|(_, _, key)| note(*key, Place::Gated));
        }
        places
    }

    fn check_tasks(&self, places: &[Place]) -> Census {
        let mut census = Census { leased: vec![0; self.queues.kinds_len()], ..Census::default() };
        let (mut unsettled, mut bytes, mut delayed, mut fresh) = (0, 0, 0, 0);
        for (key, task) in self.arena.iter() {
            assert_eq!(self.arena.find(task.id), Some(key), "the index finds every task");
            census.count(task);
            let expected = match task.state {
                State::Fresh => {
                    fresh += 1;
                    Place::Nowhere
                }
                State::Ready if self.queues.is_held(task) => Place::Held,
                State::Ready => Place::Ready,
                State::Gated { .. } => Place::Gated,
                State::Delayed { due, .. } => {
                    delayed += 1;
                    assert!(
                        self.timers.contains(due, Timer::TaskDue { age: task.seq, task: key }),
                        "a delayed task has its timer"
                    );
                    Place::Nowhere
                }
                State::Assigned { .. } => Place::Assigned,
                State::Running { .. } => Place::Running,
                State::Settled { outcome, .. } if Task::is_retryable_outcome(outcome) => {
                    census.retained.dead_bytes += task.data.len();
                    Place::Dead
                }
                State::Settled { .. } => {
                    census.retained.kept_bytes += task.data.len();
                    Place::Kept
                }
            };
            assert_eq!(places[key.slot()], expected, "task {} is where its state says", task.id);
            if !task.is_settled() {
                unsettled += 1;
                bytes += task.data.len();
            }
            if let Some(extra) = &task.extra {
                let armed =
                    [(extra.expires, Timer::TaskExpires(key)), (extra.run_deadline, Timer::RunLimit(key))];
                for (at, timer) in armed {
                    assert!(at.is_none_or(|at| self.timers.contains(at, timer)), "{timer:?} is armed");
                }
            }
        }
        assert_eq!(self.unsettled, unsettled, "unsettled tasks");
        assert_eq!(self.payload_bytes, bytes, "payload bytes");
        assert_eq!(self.delayed, delayed, "delayed tasks");
        assert_eq!(self.fresh.len, fresh, "tasks that the journal does not have yet");
        assert!(fresh == 0 || self.out.safe() < self.out.appended(), "what is safe is queued");
        census
    }

    fn check_workers(&self) {
        let (mut assigned, mut running) = (0, 0);
        for (key, worker) in self.fleet.iter() {
            assert_eq!(self.fleet.find(worker.id), Some(key), "the fleet finds every worker");
            let mut bytes = 0;
            for task in self.arena.walk(&worker.assigned).chain(self.arena.walk(&worker.running)) {
                let task = &self.arena[task];
                assert_eq!(task.holder(), Some(key), "a leased task names its holder");
                let serves = self.queues.class(worker.class).kinds.binary_search(&task.kind).is_ok();
                assert!(serves, "a worker only has tasks of kinds that it serves");
                bytes += task.data.len();
            }
            for lease in &worker.revoked {
                let task = self.arena.find(lease.0).map(|task| &self.arena[task]);
                let is_current = task.is_some_and(|task| task.is_leased_to(key, lease.1, lease.2));
                assert!(!is_current, "a revoked lease is not the current one: {lease:?}");
            }
            assert_eq!(worker.held_bytes, bytes, "bytes held by worker {}", worker.id);
            assigned += worker.assigned.len();
            running += worker.running.len();
            assert!(worker.outgoing.is_empty(), "nothing given out is left unsent");
            assert!(self.queues.class(worker.class).members.contains(&key), "a worker is in its class");
            if !worker.touched {
                assert_eq!(worker.open, worker.load(key, &self.config), "the place of worker {}", worker.id);
            }
            let listed = worker.open.is_none_or(|load| self.queues.class(worker.class).open.contains(&load));
            assert!(listed, "an open worker stands in its class");
            if let Some(conn) = worker.conn {
                assert_eq!(
                    self.sessions.get(&conn),
                    Some(&Peer::Worker(key)),
                    "a worker's connection is its own"
                );
            } else {
                assert!(worker.grace_at.is_some(), "a worker without a connection has a deadline");
            }
        }
        assert_eq!(self.fleet.assigned, assigned, "assigned leases");
        assert_eq!(self.fleet.running, running, "running leases");
    }

    fn check_kinds(&self, census: &Census) {
        let (mut total, mut held) = (0, 0);
        for (key, kind) in self.queues.kinds_by_name() {
            held += kind.held.values().map(Level::len).sum::<usize>();
            let ready: usize = kind.levels.values().map(Level::len).sum();
            kind.levels.values().chain(kind.held.values()).for_each(Level::check);
            assert_eq!(kind.ready, ready + kind.gated.len(), "ready tasks of {}", kind.name);
            assert_eq!(self.queues.gated.contains(&key), !kind.gated.is_empty(), "gated kinds");
            total += kind.ready;
            let open = self.queues.open_len(key) > 0;
            let has_plain = ready > 0;
            // Whoever could be served must be seen: credit and ready work never sit side by side.
            let is_hidden = kind.is_paused || self.queues.is_ranked(key);
            assert!(!(open && has_plain) || is_hidden, "{} is ready and open", kind.name);
            assert!(!(kind.is_paused && self.queues.is_ranked(key)), "{} is paused and its turn", kind.name);
            assert_eq!(kind.is_paused, self.queues.is_paused(&kind.name), "paused kinds");
            assert_eq!(kind.leased, census.leased_of(key), "leases of {}", kind.name);
        }
        assert_eq!(self.queues.len, total, "ready tasks of all kinds");
        assert_eq!(self.queues.held_len, held, "held tasks");
        assert!(held == 0 || self.slots.reattach.is_some(), "tasks are held only while the window is open");
        for (_, class) in self.queues.classes() {
            assert!(!class.members.is_empty(), "classes without members are removed");
            for (_, _, worker) in &class.open {
                assert!(class.members.contains(worker), "an open worker is a member of its class");
            }
        }
    }

    fn check_sessions(&self) {
        for (conn, peer) in &self.sessions {
            let bound = match peer {
                Peer::Client(key) => self.clients.get(*key).and_then(|client| client.conn),
                Peer::Worker(key) => self.fleet.get(*key).and_then(|worker| worker.conn),
            };
            assert_eq!(bound, Some(*conn), "a session knows its connection");
        }
        for (key, client) in self.clients.iter() {
            assert_eq!(self.clients.find(client.id), Some(key), "every client is found by its id");
            assert!(client.silent_at.is_some(), "a client is watched");
            let conn = client.conn;
            let is_bound = conn.is_none_or(|conn| self.sessions.get(&conn) == Some(&Peer::Client(key)));
            assert!(is_bound, "a client's connection is its own");
        }
    }

    fn check_timers(&self) {
        for (at, timer) in self.timers.iter() {
            let wanted = match *timer {
                Timer::TaskDue { task: key, .. } => match self.arena[key].state {
                    State::Delayed { due, .. } => Some(due),
                    _ => None,
                },
                Timer::TaskExpires(key) => self.arena[key].extra.as_ref().and_then(|extra| extra.expires),
                Timer::RunLimit(key) => self.arena[key].extra.as_ref().and_then(|extra| extra.run_deadline),
                Timer::WorkerSilent(key) => self.fleet.get(key).and_then(|worker| worker.silent_at),
                Timer::WorkerGrace(key) => self.fleet.get(key).and_then(|worker| worker.grace_at),
                Timer::ClientSilent(key) => self.clients.get(key).and_then(|client| client.silent_at),
                Timer::Tick => self.slots.tick,
                Timer::ReattachEnds => self.slots.reattach,
                Timer::Rebalance => self.slots.rebalance,
                Timer::Retention => self.slots.retention,
                Timer::Beat => self.slots.beat,
                Timer::DrainDeadline => self.slots.drain,
            };
            assert_eq!(wanted, Some(*at), "{timer:?} is wanted by whoever set it");
        }
    }
}
