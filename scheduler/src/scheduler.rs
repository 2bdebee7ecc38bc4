//! The owner of the state, and the four verbs.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use ganger_common::message::Lease;
use ganger_common::{ConnId, ErrorCode, WorkerId};

use crate::arena::{Arena, TaskKey};
use crate::carry::Carry;
use crate::client::{ClientKey, Clients};
use crate::config::Config;
use crate::counters::Counters;
use crate::durations::Durations;
use crate::effect::{ClientReply, Effect, Publication, WorkerCommand};
use crate::fresh::Fresh;
use crate::input::Input;
use crate::knowledge::Knowledge;
use crate::orphans::Orphans;
use crate::output::Output;
use crate::payers::Payers;
use crate::queue::Queues;
use crate::random::Random;
use crate::record::{Lsn, Record};
use crate::recovery::Reading;
use crate::retention::Retention;
use crate::time::{Now, Time};
use crate::timers::{Timer, Timers};
use crate::values::Unnamed;
use crate::worker::{Fleet, WorkerKey};

/// The scheduler: feed it inputs and time, carry out its effects. See the [crate] documentation for the
/// contract.
#[derive(Debug)]
pub struct Scheduler {
    pub(crate) config: Config,
    pub(crate) now: Now,
    pub(crate) started: Now,
    pub(crate) arena: Arena,
    pub(crate) queues: Queues,
    pub(crate) fleet: Fleet,
    pub(crate) clients: Clients,
    pub(crate) payers: Payers,
    pub(crate) sessions: BTreeMap<ConnId, Peer>,
    pub(crate) knowledge: Knowledge,
    pub(crate) retention: Retention,
    pub(crate) orphans: Orphans,
    pub(crate) timers: Timers,
    pub(crate) out: Output,
    pub(crate) random: Random,
    pub(crate) counters: Counters,
    pub(crate) durations: Durations,
    /// Tasks without an outcome.
    pub(crate) unsettled: usize,
    /// Their payload bytes.
    pub(crate) payload_bytes: usize,
    /// Tasks that are not due.
    pub(crate) delayed: usize,
    pub(crate) next_seq: u64,
    /// Leases to be cancelled, by worker and reason, until the end of the turn.
    pub(crate) cancels: BTreeMap<(WorkerKey, Option<ErrorCode>), Vec<Lease>>,
    /// Clients whose next outcome waits for the journal.
    pub(crate) awaiting_journal: Vec<ClientKey>,
    /// The record with which this life began.
    pub(crate) begun: Lsn,
    pub(crate) draining: Option<Draining>,
    pub(crate) beats: u64,
    pub(crate) slots: Deadlines,
    /// Counts dispatch turns, to serve equally loaded workers in turn.
    pub(crate) turn: u64,
    /// Workers that may have leases, as the journal knows them.
    pub(crate) holders: BTreeSet<WorkerId>,
    /// Those of the broker's last life that have not come back yet.
    pub(crate) awaited: BTreeSet<WorkerId>,
    /// The state was read from a journal.
    pub(crate) recovered: bool,
    /// Tasks that are held until then one by one, with their numbers.
    pub(crate) held: Vec<(u64, TaskKey)>,
    /// Workers that get nothing yet, because the journal does not know them.
    pub(crate) joining: VecDeque<(Lsn, WorkerKey)>,
    /// Nothing may be taken that needs room in the store.
    pub(crate) storage_full: bool,
    /// What the journal does not have yet is not given out.
    pub(crate) fresh: Fresh,
    /// The journal does not keep up.
    pub(crate) behind: bool,
    /// The state is being written down once more.
    pub(crate) carry: Option<Carry>,
    /// Large values that the journal does not have yet.
    pub(crate) unnamed: Unnamed,
    /// A journal is being read.
    pub(crate) reading: Option<Reading>,
    /// Something has changed since the last turn.
    pub(crate) dirty: bool,
}

/// What a task without an outcome takes in the journal beside its payload.
const TASK_BYTES: usize = 48;

/// Who speaks on a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Peer {
    Client(ClientKey),
    Worker(WorkerKey),
}

/// The broker is going down.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Draining {
    /// It waits for what runs.
    Waiting,
    /// The deadline has passed.
    Overdue,
    /// It has said that it may end.
    Over,
}

/// Deadlines of which there is one each.
#[derive(Debug, Default)]
pub(crate) struct Deadlines {
    pub(crate) tick: Option<Time>,
    pub(crate) beat: Option<Time>,
    pub(crate) rebalance: Option<Time>,
    pub(crate) retention: Option<Time>,
    pub(crate) reattach: Option<Time>,
    pub(crate) drain: Option<Time>,
}

impl Scheduler {
    /// A scheduler without tasks. It begins a new life: its first effect is the record of that.
    pub fn new(config: Config, now: Now) -> Self {
        let mut scheduler = Self::bare(config, now);
        scheduler.begin();
        scheduler
    }

    pub(crate) fn bare(config: Config, now: Now) -> Self {
        Self {
            now,
            started: now,
            arena: Arena::new(config.seed),
            queues: Queues::default(),
            fleet: Fleet::default(),
            clients: Clients::default(),
            payers: Payers::default(),
            sessions: BTreeMap::new(),
            knowledge: Knowledge::default(),
            retention: Retention::default(),
            orphans: Orphans::default(),
            timers: Timers::default(),
            out: Output::default(),
            random: Random::new(config.seed),
            counters: Counters::default(),
            durations: Durations::default(),
            unsettled: 0,
            payload_bytes: 0,
            delayed: 0,
            next_seq: 0,
            cancels: BTreeMap::new(),
            awaiting_journal: Vec::new(),
            begun: Lsn(0),
            draining: None,
            beats: 0,
            slots: Deadlines::default(),
            turn: 0,
            holders: BTreeSet::new(),
            awaited: BTreeSet::new(),
            recovered: false,
            held: Vec::new(),
            joining: VecDeque::new(),
            storage_full: false,
            fresh: Fresh::default(),
            behind: false,
            carry: None,
            unnamed: Unnamed::default(),
            reading: None,
            dirty: true,
            config,
        }
    }

    pub(crate) fn begin(&mut self) {
        self.commit(Record::Started { epoch: self.config.epoch });
        self.begun = self.out.appended();
        let ends = self.now.time.plus(ganger_common::limits::REATTACH_WINDOW);
        self.timers.set(&mut self.slots.reattach, Timer::ReattachEnds, Some(ends));
        let beat = self.now.time.plus(self.config.heartbeat);
        self.timers.set(&mut self.slots.beat, Timer::Beat, Some(beat));
    }

    /// Takes in one input.
    pub fn handle(&mut self, now: Now, input: Input) {
        self.advance(now);
        match input {
            Input::Client { conn, request } => self.on_client(conn, request),
            Input::Worker { conn, request } => self.on_worker(conn, request),
            Input::ConnectionDown { conn } => self.on_connection_down(conn),
            Input::Journaled { upto } => self.on_journaled(upto),
            Input::Carry => self.begin_carry(),
            Input::Storage { full, behind } => self.on_storage(full, behind),
            Input::Drain { deadline } => self.drain_broker(deadline),
        }
    }

    /// Does what is due at `now`. Calling it early does nothing.
    pub fn handle_timeout(&mut self, now: Now) {
        self.advance(now);
        while let Some((_, timer)) = self.timers.pop_due(self.now.time) {
            self.fire(timer);
        }
    }

    /// The next thing to do; `None` when everything has been done.
    ///
    /// Dispatch happens here, once for all the inputs that came before: what came together leaves
    /// together.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        if let Some(effect) = self.out.pop() {
            return Some(effect);
        }
        if std::mem::take(&mut self.dirty) {
            self.end_turn();
        }
        self.out.pop()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) next, and why.
    pub fn poll_timeout(&self) -> Option<(Time, &'static str)> {
        self.timers.next().map(|(at, timer)| (at, timer.name()))
    }

    /// What has happened so far, counted.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The settings.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Lets time pass, and forgives peers the time in which the scheduler itself was not called although
    /// it had asked for it: a paused broker must not find everybody else silent.
    fn advance(&mut self, now: Now) {
        self.dirty = true;
        let before = self.now.time;
        #[cfg(feature = "planted")]
        self.judge_by_the_wall(now);
        self.now = Now { time: now.time.max(before), wall: now.wall };
        let Some((due, _)) = self.timers.next() else { return };
        let stall = self.now.time.since(due.max(before));
        if stall > self.config.heartbeat / 2 {
            self.forgive(stall);
        }
    }

    fn fire(&mut self, timer: Timer) {
        match timer {
            Timer::Tick => {
                self.slots.tick = None;
                self.arm_tick();
            }
            Timer::TaskDue { task, .. } => self.on_task_due(task),
            Timer::TaskExpires(key) => self.on_task_expires(key),
            Timer::RunLimit(key) => self.on_run_limit(key),
            Timer::WorkerSilent(key) => self.on_worker_silent(key),
            Timer::WorkerGrace(key) => self.on_worker_grace(key),
            Timer::ClientSilent(key) => self.on_client_silent(key),
            Timer::ReattachEnds => {
                self.slots.reattach = None;
                self.end_reattach();
            }
            Timer::Rebalance => {
                self.slots.rebalance = None;
                self.rebalance();
            }
            Timer::Retention => {
                self.slots.retention = None;
                self.forget_old();
            }
            Timer::Beat => self.on_beat(),
            Timer::DrainDeadline => {
                self.slots.drain = None;
                self.draining = self.draining.map(|_| Draining::Overdue);
            }
        }
    }

    /// What is done once for everything that came in together.
    fn end_turn(&mut self) {
        self.flush_cancels();
        self.dispatch();
        self.flush_streams();
        self.out.release_acks();
        self.trim();
        self.carry_on();
        self.check_drained();
    }

    fn on_journaled(&mut self, upto: Lsn) {
        self.out.journaled(upto);
        self.name_values();
        for client in std::mem::take(&mut self.awaiting_journal) {
            self.clients.mark_dirty(client);
        }
        self.admit_joined();
        self.queue_fresh();
    }

    fn on_storage(&mut self, full: bool, behind: bool) {
        self.storage_full = full;
        if self.behind && !behind {
            let now = self.now.time;
            self.clients.iter_mut().for_each(|(_, client)| client.last_seen = now);
        }
        self.behind = behind;
    }

    /// What the state would take in the journal if it were written down now, roughly, in bytes.
    pub fn live_bytes(&self) -> usize {
        let queued = self.payload_bytes + self.unsettled * TASK_BYTES;
        queued + self.retention.stored_bytes() + self.knowledge.stored_bytes()
    }

    fn on_beat(&mut self) {
        self.slots.beat = None;
        self.beats += 1;
        let (number, revision) = (self.beats, self.out.revision());
        self.out.push(Effect::Publish(Publication::Beat { number, revision }));
        let next = self.now.time.plus(self.config.heartbeat);
        self.timers.set(&mut self.slots.beat, Timer::Beat, Some(next));
    }

    /// While there are peers to judge, the scheduler asks to be called often enough to know its own
    /// stalls.
    pub(crate) fn arm_tick(&mut self) {
        if self.slots.tick.is_none() && self.fleet.len() + self.clients.len() > 0 {
            let at = self.now.time.plus(self.config.tick());
            self.timers.set(&mut self.slots.tick, Timer::Tick, Some(at));
        }
    }

    pub(crate) fn drain_broker(&mut self, deadline: Duration) {
        if self.draining.is_none() {
            self.draining = Some(Draining::Waiting);
        }
        let at = self.now.time.plus(deadline);
        self.timers.set(&mut self.slots.drain, Timer::DrainDeadline, Some(at));
    }

    /// A drain is over when nothing runs, everything has been told, and, where the queue would be lost
    /// with the process, nothing in it could still run.
    fn check_drained(&mut self) {
        let Some(draining @ (Draining::Waiting | Draining::Overdue)) = self.draining else { return };
        let keeps_queue = self.config.durability == ganger_common::message::Durability::Journal;
        let idle = self.fleet.assigned + self.fleet.running == 0 && (keeps_queue || !self.may_run_more());
        let told = self.clients.iter().all(|(_, client)| {
            client.conn.is_none() || (client.stream.waiting.is_empty() && client.stream.is_confirmed())
        });
        if draining == Draining::Overdue || (idle && told && self.out.is_settled()) {
            self.draining = Some(Draining::Over);
            self.timers.set(&mut self.slots.drain, Timer::DrainDeadline, None);
            for (conn, peer) in self.sessions.clone() {
                self.say_goodbye(conn, peer, Some(ErrorCode::Draining), "the broker is going down");
            }
            self.out.push(Effect::Drained);
        }
    }

    pub(crate) fn say_goodbye(&mut self, conn: ConnId, peer: Peer, code: Option<ErrorCode>, text: &str) {
        let text = text.to_owned();
        self.out.push(match peer {
            Peer::Client(_) => Effect::ToClient { conn, reply: ClientReply::Goodbye { code, text } },
            Peer::Worker(_) => Effect::ToWorker { conn, command: WorkerCommand::Goodbye { code, text } },
        });
    }

    /// Writes a fact down and makes it so.
    pub(crate) fn commit(&mut self, record: Record) {
        self.apply(record.clone());
        self.append(record);
    }
}
