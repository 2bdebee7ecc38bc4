//! What must never be, counted: a question for whoever watches over a broker that runs.
//!
//! [`check_invariants`](Scheduler::check_invariants) looks at every task and stops the process; it is for tests.
//! This looks at workers, clients and kinds only, changes nothing, and can be asked of ten million tasks. Ask it
//! when there is no effect left and nothing is due: in the middle of a turn much is half done.

use std::time::Duration;

use crate::queue::Kind;
use crate::scheduler::Scheduler;
use crate::worker::Worker;

/// What has been due for this long was missed.
const OVERDUE: Duration = Duration::from_secs(1);
/// A worker that lives answers a recall within this, or within five times the time in which a busy one may be
/// silent: one that hears nothing and has nothing notices that after four.
const RECALL_PATIENCE: Duration = Duration::from_secs(15);

/// Each of these is zero as long as the scheduler does what it is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Watch {
    /// Leases that no worker holds who is there, or only one that should have been given up: their tasks would
    /// never run again.
    pub leases_without_owner: u64,
    /// Ready tasks that a worker with credit serves, and that were not given out.
    pub ready_beside_credit: u64,
    /// Tasks that are kept back for workers of the broker's last life although their time is over.
    pub held_too_long: u64,
    /// Outcomes that are safe, for clients that are there and have room, and that were not sent.
    pub outcomes_held_back: u64,
    /// Workers with no deadline by which they must be heard, or one that has passed.
    pub workers_overdue: u64,
    /// The same of clients.
    pub clients_overdue: u64,
    /// Workers that have not answered a recall: nothing more is taken back from them.
    pub recalls_unanswered: u64,
    /// By how much what was counted along the way differs from what is there.
    pub counts_adrift: u64,
}

impl Watch {
    /// What is counted, by name.
    pub fn by_name(&self) -> [(&'static str, u64); 8] {
        [
            ("leases_without_owner", self.leases_without_owner),
            ("ready_beside_credit", self.ready_beside_credit),
            ("held_too_long", self.held_too_long),
            ("outcomes_held_back", self.outcomes_held_back),
            ("workers_overdue", self.workers_overdue),
            ("clients_overdue", self.clients_overdue),
            ("recalls_unanswered", self.recalls_unanswered),
            ("counts_adrift", self.counts_adrift),
        ]
    }

    /// Whether all is as it must be.
    pub fn is_quiet(&self) -> bool {
        *self == Self::default()
    }
}

impl Scheduler {
    /// What is not as it must be.
    pub fn watchdogs(&self) -> Watch {
        let mut watch = Watch::default();
        self.watch_workers(&mut watch);
        self.watch_kinds(&mut watch);
        self.watch_clients(&mut watch);
        if self.slots.reattach.is_none() {
            watch.held_too_long = self.queues.held_len as u64;
        }
        watch
    }

    fn watch_workers(&self, watch: &mut Watch) {
        let (mut assigned, mut running) = (0, 0);
        for (_, worker) in self.fleet.iter() {
            assigned += worker.assigned.len();
            running += worker.running.len();
            if self.is_overdue(worker) {
                watch.workers_overdue += 1;
                watch.leases_without_owner += (worker.assigned.len() + worker.running.len()) as u64;
            }
            watch.recalls_unanswered += u64::from(self.owes_recall(worker));
        }
        let leased: usize = self.queues.kinds_by_name().map(|(_, kind)| kind.leased).sum();
        watch.leases_without_owner += leased.saturating_sub(assigned + running) as u64;
        let drift = self.fleet.assigned.abs_diff(assigned) + self.fleet.running.abs_diff(running);
        watch.counts_adrift += drift as u64;
    }

    fn is_overdue(&self, worker: &Worker) -> bool {
        let first = [worker.silent_at, worker.grace_at].into_iter().flatten().min();
        first.is_none_or(|at| self.now.time > at.plus(OVERDUE))
    }

    fn owes_recall(&self, worker: &Worker) -> bool {
        let patience = RECALL_PATIENCE.max(self.config.silence_max() * 5);
        // By what it said last, and not by now: what stood still may have been this process.
        let waited = worker.last_seen.since(worker.recalled);
        worker.recall.is_some() && worker.conn.is_some() && waited > patience
    }

    fn watch_kinds(&self, watch: &mut Watch) {
        // What has come in and was not followed by a dispatch is given out with the next effect that is asked for.
        let gives_out = self.gives_out() && !self.dirty;
        let mut ready = 0;
        for (key, kind) in self.queues.kinds_by_name() {
            ready += kind.ready;
            let plain = plain(kind);
            if gives_out && !kind.is_paused && plain > 0 && self.queues.open_len(key) > 0 {
                watch.ready_beside_credit += plain as u64;
            }
        }
        watch.counts_adrift += self.queues.len.abs_diff(ready) as u64;
    }

    fn watch_clients(&self, watch: &mut Watch) {
        let (window, window_bytes) = (self.config.client_window, self.config.client_window_bytes);
        for (_, client) in self.clients.iter() {
            let is_late = client.silent_at.is_none_or(|at| self.now.time > at.plus(OVERDUE));
            watch.clients_overdue += u64::from(is_late);
            let stream = &client.stream;
            let is_safe = stream.waiting.front().is_some_and(|next| next.lsn <= self.out.safe());
            if is_safe && client.conn.is_some() && stream.room(window, window_bytes) > 0 {
                watch.outcomes_held_back += stream.waiting.len() as u64;
            }
        }
    }
}

/// Ready tasks that need no knowledge: whoever serves the kind may have them.
fn plain(kind: &Kind) -> usize {
    kind.ready.saturating_sub(kind.gated.len())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ganger_common::{ClientId, ConnId, Revision, SessionToken, TaskId, WorkerId};

    use super::*;
    use crate::input::{ClientRequest, Input, NewTask, WorkerHello, WorkerRequest};
    use crate::{Config, Now, Time};

    /// A scheduler with a worker of one slot, and three tasks of a client.
    fn busy() -> Scheduler {
        let mut scheduler = Scheduler::new(Config::default(), Now::default());
        feed(&mut scheduler, Input::Worker { conn: ConnId(1), request: WorkerRequest::Hello(worker()) });
        let hello = ClientRequest::Hello {
            client: ClientId::from_bytes([1; 16]),
            token: SessionToken::from_bytes([1; 16]),
            name: String::new(),
        };
        feed(&mut scheduler, Input::Client { conn: ConnId(2), request: hello });
        let submit = ClientRequest::Submit { seq: 1, again: false, tasks: (1..=3).map(task).collect() };
        feed(&mut scheduler, Input::Client { conn: ConnId(2), request: submit });
        assert!(scheduler.watchdogs().is_quiet(), "{:?}", scheduler.watchdogs());
        assert_eq!((scheduler.fleet.assigned, scheduler.queues.len), (1, 2));
        scheduler
    }

    /// Takes an input in, and carries out everything that follows.
    fn feed(scheduler: &mut Scheduler, input: Input) {
        let now = scheduler.now;
        scheduler.handle(now, input);
        loop {
            while scheduler.poll_effect().is_some() {}
            if scheduler.out.safe() == scheduler.out.appended() {
                return;
            }
            let upto = scheduler.out.appended();
            scheduler.handle(now, Input::Journaled { upto });
        }
    }

    #[test]
    fn leases_of_a_worker_that_is_gone_are_without_an_owner() {
        let mut scheduler = busy();
        let key = scheduler.fleet.iter().next().unwrap().0;
        scheduler.fleet.remove(key);
        assert_eq!(scheduler.watchdogs().leases_without_owner, 1);
    }

    #[test]
    fn leases_of_a_worker_that_nobody_watches_are_without_an_owner() {
        let mut scheduler = busy();
        let key = scheduler.fleet.iter().next().unwrap().0;
        let worker = scheduler.fleet.get_mut(key).unwrap();
        (worker.silent_at, worker.grace_at) = (None, None);
        let watch = scheduler.watchdogs();
        assert_eq!((watch.workers_overdue, watch.leases_without_owner), (1, 1));
    }

    #[test]
    fn a_deadline_that_has_passed_without_anything_being_done_is_overdue() {
        let mut scheduler = busy();
        scheduler.now.time = scheduler.now.time.plus(Duration::from_secs(60));
        let watch = scheduler.watchdogs();
        assert_eq!((watch.workers_overdue, watch.clients_overdue), (1, 1));
    }

    #[test]
    fn ready_tasks_beside_credit_are_counted_unless_nothing_is_given_out_on_purpose() {
        let mut scheduler = busy();
        let key = scheduler.fleet.iter().next().unwrap().0;
        scheduler.fleet.get_mut(key).unwrap().slots = 9;
        scheduler.fleet.touch(key);
        // What a dispatch does first; that it goes on to give out is what is missing here.
        scheduler.refresh_touched();
        assert_eq!(scheduler.watchdogs().ready_beside_credit, 2);
        scheduler.behind = true;
        assert!(scheduler.watchdogs().is_quiet());
    }

    #[test]
    fn a_recall_that_nobody_answers_is_told_after_a_while() {
        let mut scheduler = busy();
        let (key, at) = (scheduler.fleet.iter().next().unwrap().0, Time(0));
        let worker = scheduler.fleet.get_mut(key).unwrap();
        (worker.recall, worker.recalled) = (Some(1), at);
        assert_eq!(scheduler.watchdogs().recalls_unanswered, 0);
        let late = at.plus(RECALL_PATIENCE).plus(OVERDUE);
        scheduler.now.time = late;
        assert_eq!(scheduler.watchdogs().recalls_unanswered, 0, "nothing has been heard of it since");
        scheduler.fleet.get_mut(key).unwrap().last_seen = late;
        assert_eq!(scheduler.watchdogs().recalls_unanswered, 1);
    }

    #[test]
    fn tasks_that_are_held_when_the_window_is_over_are_held_too_long() {
        let mut scheduler = busy();
        scheduler.queues.held_len = 5;
        assert!(scheduler.watchdogs().is_quiet(), "the window is open");
        scheduler.slots.reattach = None;
        assert_eq!(scheduler.watchdogs().held_too_long, 5);
    }

    #[test]
    fn what_was_counted_wrongly_is_told() {
        let mut scheduler = busy();
        scheduler.fleet.running += 2;
        scheduler.queues.len += 1;
        assert_eq!(scheduler.watchdogs().counts_adrift, 3);
    }

    fn worker() -> WorkerHello {
        WorkerHello {
            worker: WorkerId::from_bytes([9; 16]),
            token: SessionToken::from_bytes([9; 16]),
            name: String::new(),
            host: String::new(),
            pid: 1,
            kinds: vec![Arc::from("work")],
            slots: 1,
            holding: Vec::new(),
            revision: Revision(0),
            draining: false,
        }
    }

    fn task(number: u8) -> NewTask {
        NewTask {
            id: TaskId::from_bytes([number; 16]),
            kind: Arc::from("work"),
            payload: Default::default(),
            options: None,
        }
    }
}
