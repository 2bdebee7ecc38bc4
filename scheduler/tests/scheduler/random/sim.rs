//! One run: the desk, the peers, and what must hold after each step.

use std::collections::BTreeMap;

use ganger_common::message::Lease;
use ganger_common::{AttemptEnd, Epoch, ErrorCode, Outcome, Revision, TaskId};
use ganger_scheduler::Config;
use ganger_scheduler::effect::{ClientReply, Effect, Publication, WorkerCommand};
use ganger_scheduler::input::{ClientRequest, KnowledgeOp, NewTask, WorkerRequest};

use super::oracle::Oracle;
use super::peers::{SimClient, SimWorker};
use super::steps::{CLIENTS, Flavour, Step, TASKS, WORKERS};
use crate::support::*;

pub(super) struct Sim {
    pub(super) desk: Desk,
    pub(super) clients: Vec<SimClient>,
    pub(super) workers: Vec<SimWorker>,
    pub(super) oracle: Oracle,
    /// Every effect that anybody could see.
    pub(super) log: Vec<Effect>,
    /// The last attempt of each task that was given out.
    given: BTreeMap<TaskId, Lease>,
    incarnations: u8,
    seq: u64,
}

impl Sim {
    pub(super) fn new(set: impl FnOnce(&mut Config)) -> Self {
        let mut desk = Desk::early(|config| {
            config.backoff_max = secs(2);
            set(config);
        });
        desk.hold_journal();
        let mut sim = Self {
            desk,
            clients: (0..CLIENTS).map(|_| SimClient::default()).collect(),
            workers: (1..=WORKERS as u8).map(SimWorker::new).collect(),
            oracle: Oracle::default(),
            log: Vec::new(),
            given: BTreeMap::new(),
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
                if self.workers[*worker].conn.is_none() {
                    self.workers[*worker].held.retain(|held| held.started);
                }
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
            Step::Restart => self.restart(),
        }
    }

    pub(super) fn look(&mut self) {
        self.oracle.read(&self.desk.journal, self.desk.safe);
        for effect in self.desk.take() {
            self.log.push(effect.clone());
            match effect {
                Effect::ToClient { conn, reply } => {
                    if let Some(at) = self.clients.iter().position(|client| client.conn == Some(conn)) {
                        self.client_hears(at, reply);
                    }
                }
                Effect::ToWorker { conn, command } => {
                    if let Some(at) = self.workers.iter().position(|worker| worker.conn == Some(conn)) {
                        self.worker_hears(at, command);
                    }
                }
                Effect::Publish(Publication::Delta { change, .. }) => {
                    self.workers.iter_mut().for_each(|worker| worker.learn(change.revision));
                }
                Effect::Close { conn } => {
                    self.clients
                        .iter_mut()
                        .filter(|client| client.conn == Some(conn))
                        .for_each(|it| it.conn = None);
                    self.workers
                        .iter_mut()
                        .filter(|worker| worker.conn == Some(conn))
                        .for_each(|it| it.conn = None);
                }
                Effect::Publish(_) => {}
                Effect::Append { .. } | Effect::Drained => panic!("not here: {effect:?}"),
            }
        }
    }

    fn client_hears(&mut self, at: usize, reply: ClientReply) {
        let small = self.is_small();
        let client = &mut self.clients[at];
        match reply {
            ClientReply::Accepted { seq, refused } => {
                let tasks = client.pending.remove(&seq).expect("an answer to a submission that was made");
                for (index, task) in (0..).zip(tasks) {
                    if refused.iter().all(|no| no.index != index) {
                        assert!(
                            small || self.oracle.accepted.contains(&task.id),
                            "I8: {} was promised",
                            task.id
                        );
                        client.waits.insert(number(task.id), task);
                    }
                }
            }
            ClientReply::Outcomes { upto, items } => {
                assert_eq!(upto, client.read + items.len() as u64, "outcomes are numbered through");
                client.read = upto;
                for item in items {
                    let known = self.oracle.settled.get(&item.task);
                    assert!(small || known == Some(&item.outcome), "I8: {item:?}, not {known:?}");
                    client.waits.remove(&number(item.task));
                }
            }
            ClientReply::Verdicts { req, refused } => {
                for (index, n) in (0..).zip(client.cancels.remove(&req).unwrap_or_default()) {
                    let outcome = self.oracle.settled.get(&id(n));
                    let cancelled = outcome == Some(&Outcome::Cancelled);
                    assert!(
                        small || cancelled || refused.iter().any(|no| no.index == index),
                        "I18: {n} is {outcome:?}"
                    );
                }
            }
            ClientReply::Goodbye { .. } => client.conn = None,
            _ => {}
        }
    }

    fn worker_hears(&mut self, at: usize, command: WorkerCommand) {
        let small = self.is_small();
        let worker = &mut self.workers[at];
        match command {
            WorkerCommand::Tasks { epoch, tasks } => {
                for dispatch in tasks {
                    let lease = Lease { task: dispatch.task, epoch, attempt: dispatch.attempt };
                    let last = self.given.insert(dispatch.task, lease);
                    let newer = last.is_none_or(|last| last.epoch < epoch || last.attempt < lease.attempt);
                    assert!(newer || small, "I4: {lease:?} after {last:?}");
                    let worker = &mut self.workers[at];
                    assert!(
                        worker.hello.kinds.contains(&dispatch.kind),
                        "{} was not announced",
                        dispatch.kind
                    );
                    worker.held.push(ganger_scheduler::input::Held { lease, started: false });
                }
            }
            WorkerCommand::Recall { recall, count } => worker.hand_back(recall, count),
            WorkerCommand::Cancel { leases, .. } => worker.stop(&leases),
            WorkerCommand::Ack { upto, stale } => {
                let done = worker.owed.extract_if(.., |(seq, _)| seq.is_some_and(|seq| seq <= upto));
                for (_, ended) in done.filter(|(_, ended)| ended.end == AttemptEnd::Succeeded) {
                    let lease = Lease { task: ended.task, epoch: ended.epoch, attempt: ended.attempt };
                    let settled = self.oracle.settled.contains_key(&ended.task);
                    // The result of a task that the journal did not have waits for its client, for a while.
                    let orphan = lease.epoch != self.desk.scheduler.status().epoch;
                    assert!(
                        small || settled || orphan || stale.contains(&lease),
                        "I8: {lease:?} was acknowledged"
                    );
                }
            }
            WorkerCommand::Goodbye { .. } => worker.conn = None,
            WorkerCommand::Error(refused) => {
                assert!(matches!(refused.code, ErrorCode::TooManySessions), "{refused:?}");
            }
            _ => {}
        }
    }

    /// With little room, outcomes are forgotten, and a task that comes again is another one.
    pub(super) fn is_small(&self) -> bool {
        self.desk.scheduler.config().dead_set_max < TASKS as usize
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
        self.workers[worker] = SimWorker::new(self.incarnations);
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
        self.desk.restart();
        self.clients.iter_mut().for_each(|client| client.conn = None);
        self.workers.iter_mut().for_each(|worker| worker.conn = None);
        let newest = self.desk.scheduler.status().revision;
        // Nothing that was not safe was ever told.
        assert!(self.workers.iter().all(|worker| worker.hello.revision <= newest), "I16");
        self.look();
    }
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
