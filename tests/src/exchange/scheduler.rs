//! The scheduler alone.

use std::sync::Arc;

use bytes::Bytes;
use ganger_common::message::Durability;
use ganger_common::{AttemptEnd, ClientId, ConnId, Epoch, Revision, SessionToken, WorkerId};
use ganger_scheduler::effect::Dispatch;
use ganger_scheduler::input::{Ended, NewTask, WorkerHello};
use ganger_scheduler::{
    ClientReply, ClientRequest, Config, Effect, Input, Lsn, Now, Scheduler, Time, Wall, WorkerCommand,
    WorkerRequest,
};

use super::{Ids, KIND, PAYLOAD, SLOTS, TURN_US, WORKERS};

const CLIENT: ConnId = ConnId(1);

/// A scheduler with one client and [`WORKERS`] workers.
#[derive(Debug)]
pub struct SchedulerExchange {
    scheduler: Scheduler,
    now: Now,
    ids: Ids,
    kind: Arc<str>,
    payload: Bytes,
    submits: u64,
    reports: u64,
    settled: u64,
}

impl SchedulerExchange {
    /// Ready for the first batch.
    pub fn new(durability: Durability) -> Self {
        let now = Now { time: Time(0), wall: Wall(1_770_000_000_000) };
        let config = Config { durability, ..Config::default() };
        let kind: Arc<str> = KIND.into();
        let mut exchange = Self {
            scheduler: Scheduler::new(config, now),
            now,
            ids: Ids::default(),
            kind: kind.clone(),
            payload: vec![0x61; PAYLOAD].into(),
            submits: 0,
            reports: 0,
            settled: 0,
        };
        let (client, token) = (ClientId::from_bytes([1; 16]), SessionToken::from_bytes([2; 16]));
        exchange.client(ClientRequest::Hello { client, token, name: String::new() });
        for number in 0..WORKERS {
            let hello = WorkerHello {
                worker: WorkerId::from_bytes([3 + number as u8; 16]),
                token,
                name: String::new(),
                host: String::new(),
                pid: 0,
                kinds: vec![kind.clone()],
                slots: SLOTS,
                holding: Vec::new(),
                revision: Revision(0),
                draining: false,
            };
            exchange.worker(number, WorkerRequest::Hello(hello));
        }
        exchange.carry_out();
        exchange
    }

    /// Takes a batch of so many tasks from its submission to the acknowledged outcomes.
    pub fn turn(&mut self, tasks: usize) {
        self.now.time = Time(self.now.time.0 + TURN_US);
        self.submits += 1;
        let batch = (0..tasks).map(|_| NewTask {
            id: self.ids.next(),
            kind: self.kind.clone(),
            payload: self.payload.clone().into(),
            options: None,
        });
        let tasks = batch.collect();
        self.client(ClientRequest::Submit { seq: self.submits, again: false, tasks });
        self.carry_out();
        if self.scheduler.poll_timeout().is_some_and(|(due, _)| due <= self.now.time) {
            self.scheduler.handle_timeout(self.now);
            self.carry_out();
        }
    }

    /// Tasks whose outcome the client has heard.
    pub fn settled(&self) -> u64 {
        self.settled
    }

    fn client(&mut self, request: ClientRequest) {
        self.scheduler.handle(self.now, Input::Client { conn: CLIENT, request });
    }

    fn worker(&mut self, number: usize, request: WorkerRequest) {
        self.scheduler.handle(self.now, Input::Worker { conn: worker_conn(number), request });
    }

    /// Until nothing is left to be done, as a shell would, with peers that answer at once.
    fn carry_out(&mut self) {
        let (mut inputs, mut last) = (Vec::new(), None);
        loop {
            while let Some(effect) = self.scheduler.poll_effect() {
                match effect {
                    Effect::Append { lsn, .. } => last = Some(lsn),
                    Effect::ToWorker { conn, command: WorkerCommand::Tasks { epoch, tasks } } => {
                        inputs.push(self.run(conn, epoch, tasks));
                    }
                    Effect::ToClient { conn, reply: ClientReply::Outcomes { upto, items } } => {
                        self.settled += items.len() as u64;
                        inputs.push(Input::Client { conn, request: ClientRequest::Ack { upto } });
                    }
                    _ => {}
                }
            }
            match last.take() {
                Some(upto) => self.journaled(upto),
                None if inputs.is_empty() => return,
                None => inputs.drain(..).for_each(|input| self.scheduler.handle(self.now, input)),
            }
        }
    }

    fn journaled(&mut self, upto: Lsn) {
        self.scheduler.handle(self.now, Input::Journaled { upto });
    }

    /// What a worker says that has run all of these.
    fn run(&mut self, conn: ConnId, epoch: Epoch, tasks: Vec<Dispatch>) -> Input {
        self.reports += 1;
        let ended = tasks.into_iter().map(|task| Ended {
            task: task.task,
            epoch,
            attempt: task.attempt,
            end: AttemptEnd::Succeeded,
            run_us: 1,
            result: Bytes::new(),
            detail: None,
        });
        let (ended, started) = (ended.collect(), Vec::new());
        let request = WorkerRequest::Report { seq: self.reports, started, ended, waiting: 0, recall: None };
        Input::Worker { conn, request }
    }
}

fn worker_conn(number: usize) -> ConnId {
    ConnId(CLIENT.0 + 1 + number as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::BATCH;

    #[test]
    fn every_task_of_every_turn_is_settled_in_it() {
        for durability in [Durability::Memory, Durability::Journal] {
            let mut exchange = SchedulerExchange::new(durability);
            for turn in 1..=20 {
                exchange.turn(BATCH);
                assert_eq!(exchange.settled(), turn * BATCH as u64, "{durability:?}");
            }
        }
    }
}
