//! The workers' processes: the real session and replica, with handlers that only pretend.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use ganger_common::{ConnId, Epoch, Revision, SessionToken, TaskId, WorkerId};
use ganger_worker::replica::Knowledge;
use ganger_worker::session::{Config, Effect, Incoming, Input, Kinds, Session, Ticket};
use ganger_worker::time::Time;

use super::feed::Feed;
use super::handler::Run;
use super::log::{CutBy, Digest, Event, LeaseId, Peer, RunEnd, WorkerNo, map_checksum};
use super::net::Item;
use super::plan::{S, WorkerPlan};
use super::queue::{Happening, Node, Wake};
use super::world::World;

/// A place where workers run, and the process there if there is one.
pub(super) struct WorkerNode {
    pub(super) no: WorkerNo,
    pub(super) plan: WorkerPlan,
    pub(super) process: u32,
    pub(super) incarnation: WorkerId,
    pub(super) token: SessionToken,
    pub(super) session: Option<Session>,
    pub(super) knowledge: Knowledge,
    inbox: VecDeque<Input>,
    pub(super) conn: Option<ConnId>,
    pub(super) attempt: u32,
    pub(super) connecting_since: Option<u64>,
    pub(super) runs: BTreeMap<Ticket, Run>,
    pub(super) is_paused: bool,
    pub(super) drains: bool,
    born: u64,
    wake: Wake,
    epoch: Epoch,
    told: (Epoch, Revision),
    pub(super) feed: Feed,
}

impl WorkerNode {
    pub(super) fn new(no: WorkerNo, plan: WorkerPlan) -> Self {
        Self {
            no,
            plan,
            process: 0,
            incarnation: WorkerId::from_bytes([0; 16]),
            token: SessionToken::from_bytes([0; 16]),
            session: None,
            knowledge: Knowledge::new(),
            inbox: VecDeque::new(),
            conn: None,
            attempt: 0,
            connecting_since: None,
            runs: BTreeMap::new(),
            is_paused: false,
            drains: false,
            born: 0,
            wake: Wake::default(),
            epoch: Epoch(0),
            told: (Epoch(0), Revision(0)),
            feed: Feed::default(),
        }
    }

    pub(super) fn is_up(&self) -> bool {
        self.session.is_some()
    }

    /// Whether it has joined this life of the broker's state, and its copy of the knowledge map is that far.
    pub(super) fn has_caught_up(&self, epoch: Epoch, newest: Revision) -> bool {
        self.is_up() && self.epoch == epoch && self.knowledge.revision() == newest
    }

    pub(super) fn now(&self, now: u64) -> Time {
        Time(now - self.born)
    }
}

impl World {
    pub(super) fn worker(&self, no: WorkerNo) -> &WorkerNode {
        &self.workers[usize::from(no.0)]
    }

    pub(super) fn worker_mut(&mut self, no: WorkerNo) -> &mut WorkerNode {
        &mut self.workers[usize::from(no.0)]
    }

    /// A worker's process starts.
    pub(super) fn start_worker(&mut self, no: WorkerNo) {
        if self.worker(no).is_up() {
            return;
        }
        let (incarnation, token) =
            (WorkerId::from_bytes(self.rng.id()), SessionToken::from_bytes(self.rng.id()));
        let (seed, now) = (self.rng.next(), self.now);
        let it = self.worker_mut(no);
        let names = it.plan.kinds.iter().map(|kind| format!("k{kind}"));
        let config = Config {
            worker: incarnation,
            token,
            name: format!("w{}", no.0),
            host: "sim".to_owned(),
            pid: 1,
            kinds: Arc::new(Kinds::new(names)),
            slots: it.plan.slots,
            seed,
            drain_deadline: Duration::from_secs(2),
            knowledge_is_set: false,
        };
        it.process += 1;
        it.incarnation = incarnation;
        it.token = token;
        it.knowledge = Knowledge::new();
        it.born = now;
        it.session = Some(Session::new(config, it.knowledge.clone(), Time(0)));
        it.drains = false;
        it.told = (Epoch(0), Revision(0));
        it.epoch = Epoch(0);
        it.wake.clear();
        let (slots, kinds) = (it.plan.slots, it.plan.kinds.clone());
        self.note(Event::WorkerUp { worker: no, incarnation, slots, kinds });
        self.wake_worker(no, now);
    }

    pub(super) fn wake_worker(&mut self, no: WorkerNo, at: u64) {
        if self.worker_mut(no).wake.want(at) {
            self.queue.push(at, Happening::Worker(no));
        }
    }

    /// Something arrived on a worker's connection.
    pub(super) fn worker_hears(&mut self, no: WorkerNo, process: u32, conn: ConnId, item: Item) {
        let it = self.worker_mut(no);
        let Some(session) = it.session.as_ref().filter(|_| it.process == process && it.conn == Some(conn))
        else {
            return;
        };
        let input = match item {
            Item::Frame(body) => Input::frame(session.kinds(), &body),
            Item::Close => {
                it.conn = None;
                Input::Disconnected
            }
        };
        if let Input::Garbled(error) = &input {
            let text = format!("a worker cannot read what the broker sent: {error}");
            self.defect(&text);
        }
        self.tell_worker(no, input);
    }

    pub(super) fn tell_worker(&mut self, no: WorkerNo, input: Input) {
        let takes = self.turn_takes();
        let at = self.now + takes;
        self.worker_mut(no).inbox.push_back(input);
        self.wake_worker(no, at);
    }

    /// A worker looks at what came and does what is due.
    pub(super) fn on_worker(&mut self, no: WorkerNo) {
        let now = self.now;
        let it = self.worker_mut(no);
        if !it.wake.take(now) || it.is_paused || !it.is_up() {
            return;
        }
        let time = it.now(now);
        let mut inbox = std::mem::take(&mut it.inbox);
        for input in inbox.drain(..) {
            if let Input::Message(Incoming::Welcome(opening)) = &input {
                let epoch = opening.epoch;
                self.worker_mut(no).epoch = epoch;
                self.note(Event::Joined { peer: Peer::Worker(no), epoch });
            }
            if let Some(session) = &mut self.worker_mut(no).session {
                session.handle(time, input);
            }
        }
        if let Some(session) = &mut self.worker_mut(no).session
            && session.poll_timeout().is_some_and(|due| due <= time)
        {
            session.handle_timeout(time);
        }
        self.run_worker(no);
    }

    /// Executors take what there is to do, and the shell carries out what the session wants.
    pub(super) fn run_worker(&mut self, no: WorkerNo) {
        loop {
            let now = self.now;
            let it = self.worker_mut(no);
            let time = it.now(now);
            let Some(session) = &mut it.session else { return };
            if let Some(assignment) = session.take(time) {
                self.begin_run(no, &assignment);
                continue;
            }
            let Some(effect) = session.poll_effect() else { break };
            self.carry_out_worker(no, effect);
        }
        self.look_at_replica(no);
        let now = self.now;
        let it = self.worker(no);
        if let Some(due) = it.session.as_ref().and_then(Session::poll_timeout) {
            let late = self.rng.below(150);
            let at = (self.worker(no).born + due.0).max(now) + late;
            self.wake_worker(no, at);
        }
    }

    fn carry_out_worker(&mut self, no: WorkerNo, effect: Effect) {
        match effect {
            Effect::Connect => {
                let attempt = self.worker(no).attempt + 1;
                let now = self.now;
                let it = self.worker_mut(no);
                it.attempt = attempt;
                it.connecting_since = Some(now);
                self.reach(Peer::Worker(no), attempt);
            }
            Effect::Send(message) => {
                let Some(conn) = self.worker(no).conn else { return };
                if !self.send_up(conn, message.encode()) {
                    self.worker_mut(no).conn = None;
                    self.close_from_peer(conn, CutBy::Overflow);
                    self.tell_worker(no, Input::Disconnected);
                }
            }
            Effect::Disconnect { .. } => {
                let it = self.worker_mut(no);
                it.connecting_since = None;
                if let Some(conn) = it.conn.take() {
                    self.close_from_peer(conn, CutBy::Peer);
                }
            }
            Effect::Subscribe { .. } => self.subscribe(no),
            Effect::Cancel { ticket, why } => self.tell_run(no, ticket, why),
            Effect::Broadcast { .. } => self.figures.broadcasts += 1,
            Effect::Stopped(_) => self.leave_worker(no),
        }
    }

    fn look_at_replica(&mut self, no: WorkerNo) {
        let it = self.worker(no);
        let (epoch, revision) = (it.epoch, it.knowledge.revision());
        if !it.is_up() || it.told == (epoch, revision) {
            return;
        }
        let checksum = self.replica_checksum(no);
        let incarnation = self.worker(no).incarnation;
        self.worker_mut(no).told = (epoch, revision);
        self.note(Event::ReplicaAt { worker: no, incarnation, epoch, revision, checksum });
    }

    /// The checksum of a worker's copy of the knowledge map.
    pub(super) fn replica_checksum(&self, no: WorkerNo) -> Digest {
        let knowledge = &self.worker(no).knowledge;
        let mut entries = Vec::new();
        for topic in super::workload::TOPICS {
            for (key, value) in knowledge.topic(topic) {
                let revision = knowledge.get_with_revision(topic, &key).map_or(Revision(0), |(at, _)| at);
                entries.push((topic, key, revision, Digest::of(&value)));
            }
        }
        map_checksum(entries.iter().map(|(topic, key, revision, value)| (*topic, &**key, *revision, *value)))
    }

    /// A worker is killed, perhaps by a task.
    pub(super) fn kill_worker(&mut self, no: WorkerNo, by_task: Option<TaskId>) {
        let incarnation = self.worker(no).incarnation;
        self.note(Event::WorkerKilled { worker: no, incarnation, by_task });
        self.stop_worker(no, CutBy::Network);
        let (first, last) = if self.rng.percent(70) { (10_000, S) } else { (S, 5 * S) };
        let pause = self.rng.between(first, last);
        self.queue.push(self.now + pause, Happening::Restart(Node::Worker(no)));
    }

    /// A worker has ended by itself; somebody starts another.
    fn leave_worker(&mut self, no: WorkerNo) {
        let incarnation = self.worker(no).incarnation;
        self.note(Event::WorkerLeft { worker: no, incarnation });
        self.stop_worker(no, CutBy::Peer);
        let pause = self.rng.between(50_000, 2 * S);
        self.queue.push(self.now + pause, Happening::Restart(Node::Worker(no)));
    }

    fn stop_worker(&mut self, no: WorkerNo, by: CutBy) {
        let it = self.worker_mut(no);
        let incarnation = it.incarnation;
        it.session = None;
        it.inbox.clear();
        it.is_paused = false;
        it.wake.clear();
        it.connecting_since = None;
        it.feed = Feed { attempt: it.feed.attempt + 1, ..Feed::default() };
        let conn = it.conn.take();
        let runs = std::mem::take(&mut it.runs);
        for run in runs.into_values() {
            let lease: LeaseId = run.lease;
            self.note(Event::RunEnded { worker: no, incarnation, lease, how: RunEnd::Died });
        }
        if let Some(conn) = conn {
            self.close_from_peer(conn, by);
        }
    }
}
