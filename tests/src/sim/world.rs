//! The simulated world: everything that there is, and the loop that lets it happen.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ganger_client::session::Input as ClientInput;
use ganger_common::view::StatusView;
use ganger_common::{ConnId, Revision, TaskId};
use ganger_scheduler::Scheduler;
use ganger_worker::session::Input as WorkerInput;

use super::broker::BrokerNode;
use super::client::ClientNode;
use super::disk::Disk;
use super::facts::Facts;
use super::faults::Over;
use super::figures::Figures;
use super::handler::Tasks;
use super::log::{At, ClientNo, Event, Fault, Log, Peer, Sample, WorkerNo};
use super::net::Conn;
use super::plan::{Act, MS, Plan, S};
use super::profile::Profile;
use super::queue::{Happening, Node, Queue};
use super::random::Rng;
use super::wire::Wire;
use super::worker::WorkerNode;

/// How long anybody tries to connect.
const CONNECT_TIMEOUT: u64 = 5 * S;
/// How often the world looks whether all is done.
const LOOK_EVERY: u64 = 250 * MS;
/// More happenings than any run needs: a run that reaches this turns in a circle.
const HAPPENINGS_MAX: u64 = 2_000_000;
/// The faults that a run has planned have all found somebody by then, or never will.
const CHAOS_MAX: u64 = 60 * S;

/// Everything.
pub(super) struct World {
    pub(super) plan: Plan,
    pub(super) rng: Rng,
    /// Microseconds since the beginning.
    pub(super) now: u64,
    pub(super) queue: Queue,
    pub(super) log: Log,
    pub(super) figures: Figures,
    pub(super) conns: BTreeMap<ConnId, Conn>,
    pub(super) last_conn: u64,
    /// Connections whose broker died without a word.
    pub(super) silent_conns: Vec<ConnId>,
    pub(super) parted: BTreeSet<Peer>,
    /// How many things keep a peer from being heard, or from hearing.
    pub(super) muted: BTreeMap<Peer, u32>,
    pub(super) broker: BrokerNode,
    pub(super) journaled_while_paused: bool,
    pub(super) disk: Disk,
    pub(super) workers: Vec<WorkerNode>,
    pub(super) clients: Vec<ClientNode>,
    pub(super) wire: Wire,
    pub(super) published: Revision,
    pub(super) tasks: Tasks,
    pub(super) asks: u64,
    /// The highest revision that any program was told.
    pub(super) acknowledged_revision: u64,
    pub(super) acts: Vec<(u64, ClientNo, Act)>,
    pub(super) acts_done: usize,
    pub(super) faults: Vec<(u64, Fault)>,
    pub(super) faults_left: usize,
    pub(super) overs: Vec<Over>,
    pub(super) loss_until: u64,
    /// The first phase lasts.
    pub(super) is_chaos: bool,
    pub(super) faults_ended_at: u64,
    /// How long everything may take to settle after that.
    pub(super) settle_within: Duration,
    pub(super) stage: Stage,
    pub(super) to_audit: Vec<TaskId>,
    pub(super) defects: Vec<String>,
}

/// How far the second phase is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stage {
    /// The faults are not over.
    Chaos,
    /// The closing tasks are handed in at this moment.
    Closing(u64),
    /// Everything has to settle.
    Settling,
    /// The auditor asks.
    Auditing,
    Over,
}

impl World {
    pub(super) fn new(seed: u64, profile: Profile) -> Self {
        let plan = Plan::draw(seed, profile);
        let workers = plan.workers.iter().zip(0..).map(|(it, no)| WorkerNode::new(WorkerNo(no), it.clone()));
        let (acts, faults) = (plan.acts.clone(), plan.faults.clone());
        Self {
            rng: Rng::new(seed ^ 0xa5a5_5a5a),
            now: 0,
            queue: Queue::default(),
            log: Log::default(),
            figures: Figures::default(),
            conns: BTreeMap::new(),
            last_conn: 0,
            silent_conns: Vec::new(),
            parted: BTreeSet::new(),
            muted: BTreeMap::new(),
            broker: BrokerNode::new(),
            journaled_while_paused: false,
            disk: Disk::default(),
            workers: workers.collect(),
            clients: (0..plan.clients).map(|no| ClientNode::new(ClientNo(no))).collect(),
            wire: Wire::default(),
            published: Revision(0),
            tasks: Tasks::new(),
            asks: 0,
            acknowledged_revision: 0,
            faults_left: faults.len(),
            acts,
            acts_done: 0,
            faults,
            overs: Vec::new(),
            loss_until: 0,
            is_chaos: true,
            faults_ended_at: 0,
            settle_within: super::plan::SETTLE_WITHIN,
            stage: Stage::Chaos,
            to_audit: Vec::new(),
            defects: Vec::new(),
            plan,
        }
    }

    pub(super) fn facts(&self) -> Facts {
        Facts { settle_within: self.settle_within, ..self.plan.facts() }
    }

    /// Writes something down.
    pub(super) fn note(&mut self, event: Event) {
        self.log.push(At(self.now), event);
    }

    /// Something that must not be, seen by the simulation itself.
    pub(super) fn defect(&mut self, text: &str) {
        self.defects.push(format!("{} {text}", At(self.now)));
    }

    /// How long a process takes to look at what came.
    pub(super) fn turn_takes(&mut self) -> u64 {
        let (first, last) = self.plan.turn;
        self.rng.between(first, last)
    }

    /// Whether a task whose wait has failed may be handed in once more without being run twice for it.
    pub(super) fn allows_resubmission(&self) -> bool {
        self.plan.scheduler.durability == ganger_common::message::Durability::Memory
    }

    /// From the beginning to the end.
    pub(super) fn live(&mut self) {
        self.begin();
        while self.stage != Stage::Over && self.defects.is_empty() {
            let Some((at, what)) = self.queue.pop() else {
                return self.defect("nothing will ever happen again");
            };
            self.now = at;
            self.figures.happenings += 1;
            if self.figures.happenings > HAPPENINGS_MAX {
                return self.defect("too much happens");
            }
            self.happen(what);
        }
        self.figures.simulated_us = self.now;
    }

    fn begin(&mut self) {
        self.start_broker();
        for place in 0..self.workers.len() {
            self.start_worker(WorkerNo(place as u16));
        }
        for place in 0..self.clients.len() {
            self.start_client(ClientNo(place as u16));
        }
        for place in 0..self.acts.len() {
            self.queue.push(self.acts[place].0, Happening::Act(place));
        }
        for place in 0..self.faults.len() {
            self.queue.push(self.faults[place].0, Happening::Fault(place));
        }
        self.queue.push(LOOK_EVERY, Happening::Look);
    }

    fn happen(&mut self, what: Happening) {
        match what {
            Happening::Broker(life) => self.on_broker(life),
            Happening::Worker(no) => self.on_worker(no),
            Happening::Client(no) => self.on_client(no),
            Happening::Arrive { conn, up } => self.on_arrive(conn, up),
            Happening::Reach { peer, attempt } => self.on_reach(peer, attempt),
            Happening::Subscribe { worker, attempt } => self.on_subscribe(worker, attempt),
            Happening::Publication { worker, attempt } => self.on_publication(worker, attempt),
            Happening::HandlerEnds { worker, process, ticket } => {
                self.on_handler_ends(worker, process, ticket);
            }
            Happening::SyncDone(life) => self.on_sync_done(life),
            Happening::ValuesRead(life) => self.on_values_read(life),
            Happening::DiskTells(life) => self.on_disk_tells(life),
            Happening::Act(place) => self.on_act(place),
            Happening::Fault(place) => self.on_fault(place),
            Happening::Over(place) => self.on_over(place),
            Happening::Restart(Node::Broker) => self.start_broker(),
            Happening::Restart(Node::Worker(no)) => self.start_worker(no),
            Happening::Restart(Node::Client(no)) => self.start_client(no),
            Happening::Crash(life) if life == self.broker.life && self.is_chaos => self.kill_broker(true),
            Happening::Crash(_) => {}
            Happening::Look => self.look(),
        }
    }

    // ---- Connecting. ---------------------------------------------------------------------------------

    /// A peer tries to connect.
    pub(super) fn reach(&mut self, peer: Peer, attempt: u32) {
        let (first, last) = self.plan.latency;
        let takes = 2 * self.rng.between(first, last);
        self.queue.push(self.now + takes, Happening::Reach { peer, attempt });
    }

    fn on_reach(&mut self, peer: Peer, attempt: u32) {
        let (current, since, process, is_up) = match peer {
            Peer::Worker(no) => {
                let it = self.worker(no);
                (it.attempt, it.connecting_since, it.process, it.is_up())
            }
            Peer::Client(no) => {
                let it = self.client(no);
                (it.attempt, it.connecting_since, it.process, it.is_up())
            }
        };
        let Some(since) = since.filter(|_| is_up && current == attempt) else { return };
        let may_wait = self.now < since + CONNECT_TIMEOUT;
        let is_mute = self.is_parted(peer) || (self.broker.is_up() && self.broker.is_paused());
        if is_mute && may_wait {
            self.queue.push(self.now + 60 * MS, Happening::Reach { peer, attempt });
            return;
        }
        let conn = (!is_mute && self.broker.is_up()).then(|| self.connect(peer, Some(process)));
        match peer {
            Peer::Worker(no) => {
                let it = self.worker_mut(no);
                it.connecting_since = None;
                it.conn = conn;
                let input = if conn.is_some() { WorkerInput::Connected } else { WorkerInput::Disconnected };
                self.tell_worker(no, input);
            }
            Peer::Client(no) => {
                let it = self.client_mut(no);
                it.connecting_since = None;
                it.conn = conn;
                let failed = ClientInput::ConnectFailed { reason: "nobody is there".to_owned() };
                self.tell_client(no, if conn.is_some() { ClientInput::Connected } else { failed });
            }
        }
    }

    // ---- The phases. ---------------------------------------------------------------------------------

    fn look(&mut self) {
        self.queue.push(self.now + LOOK_EVERY, Happening::Look);
        // Asked for once a look: it is dear.
        let status = self.broker.scheduler().map(Scheduler::status);
        if let Some(status) = &status {
            self.sample(status);
        }
        if let (Stage::Closing(_) | Stage::Settling, Some(status)) = (self.stage, &status) {
            self.resume_kinds(status);
        }
        match self.stage {
            Stage::Chaos => {
                let is_done = self.faults_left == 0 || self.now >= CHAOS_MAX;
                if is_done && self.now >= self.plan.faults_end {
                    self.end_chaos();
                }
            }
            Stage::Closing(at) if self.now >= at => {
                self.close_up();
                // What was handed in since the faults ended wants its time, too.
                let since = Duration::from_micros(self.now - self.faults_ended_at);
                let bound = since + super::plan::SETTLE_WITHIN + self.open_work();
                self.settle_within = self.settle_within.max(bound);
                self.stage = Stage::Settling;
            }
            Stage::Settling => match &status {
                Some(status) if self.is_settled(status) => self.begin_audit(),
                Some(status) => self.open_gates(status.revision),
                None => {}
            },
            Stage::Auditing => self.end_audit_if_done(),
            Stage::Closing(_) | Stage::Over => {}
        }
        let bound = self.settle_within.as_micros() as u64;
        if !self.is_chaos && self.stage != Stage::Over && self.now > self.faults_ended_at + bound {
            let text = self.why_not_settled();
            self.defect(&text);
        }
    }

    fn end_chaos(&mut self) {
        if self.faults_left > 0 {
            let text = format!("{} of the planned faults found nobody", self.faults_left);
            return self.defect(&text);
        }
        self.is_chaos = false;
        self.faults_ended_at = self.now;
        self.heal_everything();
        self.settle_within = super::plan::SETTLE_WITHIN + self.open_work();
        self.note(Event::FaultsEnded);
        let pause = self.rng.between(0, 8 * S);
        self.stage = Stage::Closing(self.now + pause);
    }

    fn sample(&mut self, status: &StatusView) {
        let desk = self.broker.desk.lock();
        let outbox_bytes_max = desk.rooms.values().map(|room| room.bytes).max().unwrap_or(0);
        drop(desk);
        let sample = Sample {
            unsettled: status.queued + status.delayed + status.assigned + status.running,
            payload_bytes: status.payload_bytes,
            inbox: self.broker.inbox.len() as u64,
            outbox_bytes_max,
            unsynced: self.disk.unsynced_records() as u64,
            retained: status.retained,
            dead_set: status.dead_set,
        };
        self.note(Event::Sample(sample));
    }

    /// Why the run did not come to its end.
    fn why_not_settled(&self) -> String {
        let mut text =
            format!("not over {:?} after the faults ended, in {:?}", self.settle_within, self.stage);
        for it in &self.clients {
            if !it.waits.is_empty() || !it.outside.is_empty() {
                let first = it.waits.values().next();
                text += &format!(
                    "; client {} waits for {} ({first:?})",
                    it.no.0,
                    it.waits.len() + it.outside.len()
                );
            }
        }
        if let Some(scheduler) = self.broker.scheduler() {
            let status = scheduler.status();
            let (queued, delayed) = (status.queued, status.delayed);
            let (assigned, running, parked) = (status.assigned, status.running, status.parked);
            text += &format!(
                "; the broker has {queued} queued ({parked} parked), {delayed} delayed, {assigned} assigned, {running} running"
            );
            text += &format!("; replicas converged: {}", self.replicas_converged(status.revision));
        }
        text
    }
}
