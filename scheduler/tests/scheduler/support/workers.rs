//! Workers at the desk, in the words of a test.

use std::sync::Arc;

use ganger_common::message::Lease;
use ganger_common::{ConnId, Revision, SessionToken, WorkerId};
use ganger_scheduler::effect::{Dispatch, Effect, WorkerCommand};
use ganger_scheduler::input::{ClientRequest, Ended, Held, Input, WorkerHello, WorkerRequest};

use super::{Beating, Desk, number};

#[derive(Clone, Debug)]
pub(crate) struct Worker {
    pub(crate) conn: ConnId,
    pub(crate) hello: WorkerHello,
}

pub(crate) fn worker_hello(n: u8, kinds: &[&str], slots: u32) -> WorkerHello {
    WorkerHello {
        worker: WorkerId::from_bytes([n; 16]),
        token: SessionToken::from_bytes([n; 16]),
        name: format!("worker-{n}"),
        host: "host".to_owned(),
        pid: u32::from(n),
        kinds: kinds.iter().map(|kind| Arc::from(*kind)).collect(),
        slots,
        holding: Vec::new(),
        revision: Revision(0),
        draining: false,
    }
}

impl Desk {
    /// A worker of [`KIND`](super::KIND) joins.
    pub(crate) fn worker(&mut self, n: u8, slots: u32) -> Worker {
        self.worker_of(n, &[super::KIND], slots)
    }

    pub(crate) fn worker_of(&mut self, n: u8, kinds: &[&str], slots: u32) -> Worker {
        self.join(worker_hello(n, kinds, slots))
    }

    /// The same incarnation on a new connection, with what it holds.
    pub(crate) fn come_back(&mut self, worker: &Worker, holding: &[Held]) -> Worker {
        let worker = self.come_back_waiting(worker, holding);
        // A worker whose tasks run already makes nothing of being told that they may.
        let now = self.scheduler.config().epoch;
        self.pick(|effect| match effect {
            Effect::ToWorker { conn, command: WorkerCommand::Start { leases } } if *conn == worker.conn => {
                leases.iter().all(|lease| lease.epoch != now).then_some(())
            }
            _ => None,
        });
        worker
    }

    /// The same of a worker that may wait to be told that it may run what it holds.
    pub(crate) fn come_back_waiting(&mut self, worker: &Worker, holding: &[Held]) -> Worker {
        self.mute(worker);
        self.join(WorkerHello { holding: holding.to_vec(), ..worker.hello.clone() })
    }

    /// Leases that a worker was told to run.
    pub(crate) fn told_to_run(&mut self, worker: &Worker) -> Vec<Lease> {
        let told = self.pick(|effect| match effect {
            Effect::ToWorker { conn, command: WorkerCommand::Start { leases } } if *conn == worker.conn => {
                Some(leases.clone())
            }
            _ => None,
        });
        told.concat()
    }

    pub(crate) fn join(&mut self, hello: WorkerHello) -> Worker {
        let conn = self.conn();
        self.worker_says(conn, WorkerRequest::Hello(hello.clone()));
        self.pick_one("welcome", |effect| match effect {
            Effect::ToWorker { conn: to, command: WorkerCommand::Welcome(_) } if *to == conn => Some(()),
            _ => None,
        });
        self.alive.push(Beating::Worker(conn, hello.revision));
        Worker { conn, hello }
    }

    pub(super) fn beat(&mut self, peer: &Beating) {
        match peer {
            Beating::Client(conn) => self.client_says(*conn, ClientRequest::Heartbeat),
            Beating::Worker(conn, revision) => {
                self.worker_says(*conn, WorkerRequest::Heartbeat { revision: *revision });
            }
        }
    }

    /// One heartbeat of a worker, and its answer.
    pub(crate) fn beat_once(&mut self, worker: &Worker) {
        self.worker_says(worker.conn, WorkerRequest::Heartbeat { revision: worker.hello.revision });
        self.pick_one("answer to a heartbeat", |effect| match effect {
            Effect::ToWorker { conn, command: WorkerCommand::Heartbeat { .. } } if *conn == worker.conn => {
                Some(())
            }
            _ => None,
        });
    }

    /// A worker has applied a knowledge revision, and says so.
    pub(crate) fn learns(&mut self, worker: &mut Worker, revision: u64) {
        worker.hello.revision = Revision(revision);
        self.mute(worker);
        self.alive.push(Beating::Worker(worker.conn, Revision(revision)));
        self.beat_once(worker);
    }

    /// From now on nothing comes from this worker by itself.
    pub(crate) fn mute(&mut self, worker: &Worker) {
        self.mute_conn(worker.conn);
    }

    pub(crate) fn mute_conn(&mut self, conn: ConnId) {
        self.alive.retain(|peer| peer.conn() != conn);
    }

    /// A connection breaks.
    pub(crate) fn cut(&mut self, conn: ConnId) {
        self.mute_conn(conn);
        self.feed(Input::ConnectionDown { conn });
    }

    /// A worker reports. Returns which leases were stale.
    pub(crate) fn report(
        &mut self,
        worker: &Worker,
        started: Vec<Lease>,
        ended: Vec<Ended>,
        waiting: u32,
    ) -> Vec<Lease> {
        self.report_recall(worker, started, ended, waiting, None)
    }

    pub(crate) fn report_recall(
        &mut self,
        worker: &Worker,
        started: Vec<Lease>,
        ended: Vec<Ended>,
        waiting: u32,
        recall: Option<u64>,
    ) -> Vec<Lease> {
        self.seq += 1;
        let seq = self.seq;
        self.worker_says(worker.conn, WorkerRequest::Report { seq, started, ended, waiting, recall });
        if !self.journals_at_once {
            return Vec::new();
        }
        self.pick_one("acknowledgement of a report", |effect| match effect {
            Effect::ToWorker { conn, command: WorkerCommand::Ack { upto, stale } } => {
                (*conn == worker.conn && *upto == seq).then(|| stale.clone())
            }
            _ => None,
        })
    }

    /// A worker starts what it was given.
    pub(crate) fn start(&mut self, worker: &Worker, leases: &[Lease]) {
        let (seq, started, ended) = (0, leases.to_vec(), Vec::new());
        self.worker_says(
            worker.conn,
            WorkerRequest::Report { seq, started, ended, waiting: 0, recall: None },
        );
    }

    /// A worker reports ends that count.
    pub(crate) fn end(&mut self, worker: &Worker, ended: Vec<Ended>) {
        assert_eq!(self.report(worker, Vec::new(), ended, 0), [], "no lease was stale");
    }

    /// A worker reports an end that does not count.
    pub(crate) fn end_stale(&mut self, worker: &Worker, ended: Ended) {
        let lease = Lease { task: ended.task, epoch: ended.epoch, attempt: ended.attempt };
        assert_eq!(self.report(worker, Vec::new(), vec![ended], 0), [lease], "the lease was stale");
    }

    /// Tasks that a worker was given, with their attempts.
    pub(crate) fn given(&mut self, worker: &Worker) -> Vec<(u32, u32)> {
        self.dispatches(worker).iter().map(|dispatch| (number(dispatch.task), dispatch.attempt.0)).collect()
    }

    pub(crate) fn dispatches(&mut self, worker: &Worker) -> Vec<Dispatch> {
        let messages = self.pick(|effect| match effect {
            Effect::ToWorker { conn, command: WorkerCommand::Tasks { tasks, .. } }
                if *conn == worker.conn =>
            {
                Some(tasks.clone())
            }
            _ => None,
        });
        messages.into_iter().flatten().collect()
    }

    /// Everything that a worker was told and nobody has looked at.
    pub(crate) fn commands(&mut self, worker: &Worker) -> Vec<WorkerCommand> {
        self.pick(|effect| match effect {
            Effect::ToWorker { conn, command } if *conn == worker.conn => Some(command.clone()),
            _ => None,
        })
    }

    /// Connections that were closed.
    pub(crate) fn closed(&mut self) -> Vec<ConnId> {
        self.pick(|effect| match effect {
            Effect::Close { conn } => Some(*conn),
            _ => None,
        })
    }

    /// A worker says that it takes nothing more.
    pub(crate) fn drain_worker(&mut self, worker: &Worker) {
        self.worker_says(worker.conn, WorkerRequest::Drain { deadline: None });
    }
}
