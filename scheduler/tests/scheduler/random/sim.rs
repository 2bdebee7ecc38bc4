//! One run: the desk, the peers, and what must hold after each step.

use std::collections::{BTreeMap, BTreeSet};

use ganger_common::message::{Durability, Lease};
use ganger_common::{Epoch, Revision, TaskId};
use ganger_scheduler::Config;
use ganger_scheduler::effect::Effect;
use ganger_scheduler::input::{ClientRequest, Discard, KnowledgeOp, NewTask, WorkerRequest};

use super::oracle::Oracle;
use super::peers::{SimClient, SimWorker};
use super::steps::{CLIENTS, Flavour, Step, WORKERS};
use crate::support::*;

pub(super) struct Sim {
    pub(super) desk: Desk,
    pub(super) clients: Vec<SimClient>,
    pub(super) workers: Vec<SimWorker>,
    pub(super) oracle: Oracle,
    /// Every effect that anybody could see.
    pub(super) log: Vec<Effect>,
    /// The last attempt of each task that was given out.
    pub(super) given: BTreeMap<TaskId, Lease>,
    /// Kinds that were resumed since they were paused last, on record or not.
    pub(super) lifted: BTreeSet<&'static str>,
    /// Somebody has let go of tasks.
    pub(super) discards: bool,
    /// The journal is lost with the broker's process.
    pub(super) in_memory: bool,
    incarnations: u8,
    seq: u64,
}

impl Sim {
    pub(super) fn new(set: impl FnOnce(&mut Config)) -> Self {
        let mut desk = Desk::early(|config| {
            config.backoff_max = secs(2);
            config.carry_tasks_max = 2;
            config.durability = Durability::Journal;
            set(config);
        });
        desk.hold_journal();
        let mut sim = Self {
            desk,
            clients: (0..CLIENTS).map(|_| SimClient::default()).collect(),
            workers: (1..).zip(0..WORKERS).map(|(n, place)| SimWorker::new(n, place)).collect(),
            oracle: Oracle::default(),
            log: Vec::new(),
            given: BTreeMap::new(),
            lifted: BTreeSet::new(),
            discards: false,
            in_memory: false,
            incarnations: WORKERS as u8,
            seq: 0,
        };
        (0..CLIENTS).for_each(|client| sim.client_back(client));
        (0..WORKERS).for_each(|worker| sim.worker_back(worker));
        sim
    }

    pub(super) fn step(&mut self, step: &Step) {
        match step {
            Step::Submit { client, tasks } => {
                let tasks = tasks.iter().map(|(n, flavour)| flavoured(*n, *flavour)).collect();
                self.submit(*client, false, tasks);
            }
            Step::Cancel { client, tasks } => {
                self.seq += 1;
                self.clients[*client].cancels.insert(self.seq, tasks.clone());
                self.ask(*client, ClientRequest::Cancel { req: self.seq, tasks: ids(tasks) });
            }
            Step::Retry { client, tasks } => {
                self.ask(*client, ClientRequest::Retry { req: 0, tasks: ids(tasks) });
            }
            Step::Discard { client, tasks } => self.discard(*client, Discard::Tasks(ids(tasks))),
            Step::DiscardAll { client, among } => {
                self.discard(*client, Discard::All { among: *among, kind: None, after: None });
            }
            Step::Pause { client, other } => {
                if self.clients[*client].conn.is_some() {
                    self.lifted.remove(kind(*other));
                }
                self.ask(*client, ClientRequest::Pause { req: 0, kind: kind(*other).into() });
            }
            Step::Resume { client, other } => self.resume(*client, *other),
            Step::Watch { client, tasks } => {
                self.ask(*client, ClientRequest::Watch { req: 0, tasks: ids(tasks), events: false });
            }
            Step::Ack { client } => {
                self.ask(*client, ClientRequest::Ack { upto: self.clients[*client].read });
            }
            Step::Know { client, key, delete } => self.know(*client, *key, *delete),
            Step::Start { worker, at } => self.start(*worker, *at),
            Step::End { worker, at, end } => {
                let worker = &mut self.workers[*worker];
                if !worker.held.is_empty() {
                    worker.end(at % worker.held.len(), *end);
                }
            }
            Step::Report { worker } => self.report(*worker),
            Step::Forge { worker, task, attempt, epoch, end } => {
                let lease = lease_of(*epoch, *task, *attempt);
                // A lease that it really has is no forgery, and neither is one of an earlier life.
                let has = self.workers[*worker].held.iter().any(|held| held.lease == lease);
                if !has && Epoch(*epoch) == self.desk.scheduler.status().epoch {
                    self.send_report(*worker, vec![], vec![ended_of(lease, *end)]);
                }
            }
            Step::WorkerCut { worker } => self.worker_cut(*worker),
            Step::WorkerCrash { worker } => {
                self.worker_cut(*worker);
                self.replace_worker(*worker);
            }
            Step::WorkerForgets { worker } => {
                // What was on the way when the connection broke never arrived.
                self.worker_cut(*worker);
                self.workers[*worker].held.retain(|held| held.started);
            }
            Step::WorkerGoodbye { worker } => {
                self.tell(*worker, WorkerRequest::Goodbye);
                self.replace_worker(*worker);
            }
            Step::WorkerDrain { worker } => {
                self.workers[*worker].drains |= self.workers[*worker].conn.is_some();
                self.tell(*worker, WorkerRequest::Drain { deadline: None });
            }
            Step::WorkerBack { worker } => self.worker_back(*worker),
            Step::ClientCut { client } => {
                if let Some(conn) = self.clients[*client].conn.take() {
                    self.desk.cut(conn);
                    self.look();
                }
            }
            Step::ClientBack { client } => self.client_back(*client),
            Step::Beat => self.beat(),
            Step::Live { ms } => {
                self.beat();
                self.desk.pass_ms(*ms);
                self.look();
            }
            Step::Silence { ms } => {
                self.desk.pass_ms(*ms);
                self.look();
            }
            Step::Stall { ms: span } => {
                self.desk.stall(ms(*span));
                self.desk.wake();
                self.look();
            }
            Step::WallJump { ms } => {
                self.desk.now.wall.0 = self.desk.now.wall.0.wrapping_add_signed(*ms);
                self.desk.wake();
                self.look();
            }
            Step::Journal { count } => {
                self.desk.journal_some(*count);
                self.look();
            }
            Step::JournalAll => {
                self.desk.journal_all();
                self.look();
            }
            Step::Carry => {
                self.desk.feed(ganger_scheduler::Input::Carry);
                self.look();
            }
            Step::Restart => self.restart(),
        }
    }

    fn ask(&mut self, client: usize, request: ClientRequest) {
        if let Some(conn) = self.clients[client].conn {
            self.desk.client_says(conn, request);
            self.look();
        }
    }

    fn tell(&mut self, worker: usize, request: WorkerRequest) {
        if let Some(conn) = self.workers[worker].conn {
            self.desk.worker_says(conn, request);
            self.look();
        }
    }

    fn submit(&mut self, client: usize, again: bool, tasks: Vec<NewTask>) {
        if self.clients[client].conn.is_none() || tasks.is_empty() {
            return;
        }
        self.seq += 1;
        let seq = self.seq;
        self.clients[client].pending.insert(seq, tasks.clone());
        self.ask(client, ClientRequest::Submit { seq, again, tasks });
    }

    fn discard(&mut self, client: usize, which: Discard) {
        self.discards = true;
        self.ask(client, ClientRequest::Discard { req: 0, which });
    }

    pub(super) fn resume(&mut self, client: usize, other: bool) {
        if self.clients[client].conn.is_some() {
            self.lifted.insert(kind(other));
        }
        self.ask(client, ClientRequest::Resume { req: 0, kind: kind(other).into() });
    }

    pub(super) fn know(&mut self, client: usize, key: u8, delete: bool) {
        let (topic, key) = (format!("topic-{}", key % 2), format!("key-{key}"));
        let op = match delete {
            true => KnowledgeOp::Delete { topic, key, expect: None },
            false => KnowledgeOp::Put { topic, key, value: "value".into(), expect: None },
        };
        self.ask(client, ClientRequest::Knowledge { req: 0, op });
    }

    pub(super) fn start(&mut self, worker: usize, at: usize) {
        let SimWorker { held, conn, .. } = &mut self.workers[worker];
        if held.is_empty() || conn.is_none() {
            return;
        }
        let at = at % held.len();
        held[at].started = true;
        let lease = held[at].lease;
        self.send_report(worker, vec![lease], vec![]);
    }

    pub(super) fn report(&mut self, worker: usize) {
        if self.workers[worker].conn.is_none() {
            return;
        }
        let seq = self.seq + 1;
        let owed = &mut self.workers[worker].owed;
        owed.iter_mut().for_each(|(first, _)| *first = first.or(Some(seq)));
        let ended = owed.iter().map(|(_, ended)| ended.clone()).collect();
        self.send_report(worker, vec![], ended);
    }

    fn send_report(
        &mut self,
        worker: usize,
        started: Vec<Lease>,
        ended: Vec<ganger_scheduler::input::Ended>,
    ) {
        self.seq += 1;
        let recall = self.workers[worker].recall.take();
        let waiting = self.workers[worker].held.iter().filter(|held| !held.started).count() as u32;
        self.tell(worker, WorkerRequest::Report { seq: self.seq, started, ended, waiting, recall });
    }

    fn worker_cut(&mut self, worker: usize) {
        if let Some(conn) = self.workers[worker].conn.take() {
            self.desk.cut(conn);
            self.look();
        }
    }

    pub(super) fn replace_worker(&mut self, worker: usize) {
        self.incarnations += 1;
        self.workers[worker] = SimWorker::new(self.incarnations, worker);
    }

    pub(super) fn worker_back(&mut self, worker: usize) {
        if self.workers[worker].conn.is_some() {
            return;
        }
        let conn = self.desk.conn();
        self.workers[worker].conn = Some(conn);
        self.workers[worker].recall = None;
        let hello = self.workers[worker].hello();
        self.desk.worker_says(conn, WorkerRequest::Hello(hello));
        self.look();
        self.report(worker);
    }

    pub(super) fn client_back(&mut self, client: usize) {
        if self.clients[client].conn.is_some() {
            return;
        }
        let conn = self.desk.client_hello(client as u8 + 1).conn;
        let it = &mut self.clients[client];
        it.conn = Some(conn);
        it.read = 0;
        it.cancels.clear();
        let mut again: Vec<NewTask> = it.waits.values().cloned().collect();
        again.extend(std::mem::take(&mut it.pending).into_values().flatten());
        self.look();
        self.submit(client, true, again);
    }

    pub(super) fn beat(&mut self) {
        for client in 0..CLIENTS {
            self.ask(client, ClientRequest::Heartbeat);
        }
        for worker in 0..self.workers.len() {
            let revision = self.workers[worker].hello.revision;
            self.tell(worker, WorkerRequest::Heartbeat { revision });
        }
    }

    fn restart(&mut self) {
        self.lifted.clear();
        self.clients.iter_mut().for_each(|client| client.conn = None);
        self.workers.iter_mut().for_each(|worker| worker.conn = None);
        if self.in_memory {
            self.desk.restart_empty();
            self.oracle = Oracle::default();
            // The map of the last life is gone, and with it its revisions.
            self.workers.iter_mut().for_each(|worker| worker.hello.revision = Revision(0));
            return self.look();
        }
        self.desk.restart();
        let newest = self.desk.scheduler.status().revision;
        // Nothing that was not safe was ever told.
        assert!(self.workers.iter().all(|worker| worker.hello.revision <= newest), "I16");
        self.look();
    }
}

fn kind(other: bool) -> &'static str {
    if other { "other" } else { KIND }
}

fn ids(numbers: &[u32]) -> Vec<TaskId> {
    numbers.iter().map(|n| id(*n)).collect()
}

/// The n-th task. When it comes in several flavours, the one that is taken first counts.
fn flavoured(n: u32, flavour: Flavour) -> NewTask {
    match flavour {
        Flavour::Plain => task(n),
        Flavour::Other => task_of("other", n),
        Flavour::Urgent => task_with(n, |options| options.priority = 3),
        Flavour::Delayed => task_with(n, |options| options.delay_ms = 1_500),
        Flavour::Short => task_with(n, |options| options.ttl_ms = Some(2_000)),
        Flavour::Limited => task_with(n, |options| options.run_limit_ms = Some(1_000)),
        Flavour::Fragile => {
            task_with(n, |options| (options.max_attempts, options.crash_limit) = (Some(1), Some(1)))
        }
        Flavour::Gated => task_with(n, |options| options.knowledge = Some(Revision(2))),
        Flavour::Events => task_with(n, |options| options.events = true),
        Flavour::Detached => task_with(n, |options| options.detached = true),
    }
}
