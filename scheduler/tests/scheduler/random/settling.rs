//! Faults end: what must be true then, and what must be true at any time beside the invariants.

use ganger_common::view::{TaskState, TaskView};
use ganger_common::{AttemptEnd, Epoch};
use ganger_scheduler::effect::KnowledgeAnswer;
use ganger_scheduler::input::{KnowledgeOp, NewTask};
use ganger_scheduler::{Record, Scheduler};

use super::sim::Sim;
use super::steps::{CLIENTS, TASKS};
use crate::support::*;

impl Sim {
    pub(super) fn unsettled(&self) -> u64 {
        let status = self.desk.scheduler.status();
        status.queued + status.delayed + status.assigned + status.running
    }

    /// Everybody comes back, works, and says the truth, until nothing is left to do.
    pub(super) fn settle_down(&mut self) {
        self.desk.journals_at_once = true;
        self.desk.journal_all();
        self.look();
        for worker in 0..self.workers.len() {
            self.replace_if_drained(worker);
        }
        for round in 0..400 {
            (0..CLIENTS).for_each(|client| self.client_back(client));
            (0..self.workers.len()).for_each(|worker| self.worker_back(worker));
            if round < 2 {
                self.know(0, 1, false);
                [false, true].into_iter().for_each(|other| self.resume(0, other));
            }
            for worker in 0..self.workers.len() {
                while !self.workers[worker].held.is_empty() {
                    self.start(worker, 0);
                    // The answer to the start may have been that it is over.
                    if !self.workers[worker].held.is_empty() {
                        self.workers[worker].end(0, AttemptEnd::Succeeded);
                    }
                }
                self.report(worker);
            }
            for client in 0..CLIENTS {
                self.confirm(client);
            }
            self.beat();
            if self.unsettled() == 0 && self.clients.iter().all(|client| client.pending.is_empty()) {
                return;
            }
            self.desk.pass_ms(250);
            self.look();
        }
        let client = self.desk.client(99);
        let left: Vec<_> = (0..TASKS)
            .filter_map(|n| self.desk.fetch(client, n))
            .filter(|task| task.outcome.is_none())
            .collect();
        panic!("I12: {} tasks did not settle: {left:#?}", left.len());
    }

    /// All that was accepted has one outcome, and everybody who waited for it was told.
    pub(super) fn check_everything_settled(&mut self) {
        self.oracle.read(&self.desk.journal, self.desk.safe);
        for task in &self.oracle.accepted {
            assert!(self.oracle.settled.contains_key(task), "I1: {task} has an outcome");
        }
        for client in 0..CLIENTS {
            self.confirm(client);
            let is_told = |task: &NewTask| !task.options.as_ref().is_some_and(|options| options.detached);
            let waits = self.clients[client].waits.iter().filter(|(_, task)| is_told(task));
            let waits: Vec<_> = waits.map(|(n, _)| n).collect();
            assert!(waits.is_empty(), "I1: client {client} was not told of {waits:?}");
        }
    }

    /// What a broker would know that read the journal now.
    pub(super) fn check_recovery(&mut self) {
        self.desk.journal_all();
        self.look();
        let mut other = self.desk.recovered();
        self.check_remembered(&other);
        let quick = std::mem::replace(&mut self.desk.journals_at_once, true);
        let (here, there) = (self.desk.client(99), other.client(99));
        for n in 0..TASKS {
            let (live, read) = (self.desk.fetch(here, n), other.fetch(there, n));
            assert_eq!(live.map(durable), read.map(durable), "I10: task {n}");
        }
        let list = || KnowledgeOp::List { prefix: String::new(), after: None, keys_only: false, limit: None };
        let know = (self.desk.know(here, list()), other.know(there, list()));
        assert_eq!(know.0, know.1, "I10: knowledge");
        assert!(matches!(know.0, Ok(KnowledgeAnswer::Entries { .. })));
        let (live, read) = (self.desk.scheduler.status(), other.scheduler.status());
        assert_eq!(live.payload_bytes, read.payload_bytes);
        assert_eq!(
            (live.retained, live.retained_bytes, live.dead_set),
            (read.retained, read.retained_bytes, read.dead_set)
        );
        assert_eq!(self.unsettled(), read.queued + read.delayed, "I10: unsettled tasks");
        self.desk.journals_at_once = quick;
        self.look();
        other.take();
    }

    /// What is recovered from all records, and from those that were kept, is what lives; and it goes on in
    /// the same way.
    fn check_remembered(&mut self, short: &Desk) {
        let mut whole = self.desk.recovered_from(0);
        let live = durable_state(&self.desk.scheduler);
        assert_eq!(live, durable_state(&whole.scheduler), "I10: from all records");
        assert_eq!(live, durable_state(&short.scheduler), "I10: from the record of the carrying on");
        let mut short = self.desk.recovered();
        let mut twice = short.recovered();
        assert_eq!(live, durable_state(&twice.scheduler), "I10: recovered twice");
        twice.take();
        let seen = [&mut whole, &mut short].map(|desk| {
            let worker = desk.worker_of(200, &[KIND, "other"], 2);
            desk.pass(secs(8));
            let first = desk.take();
            desk.cut(worker.conn);
            desk.pass(secs(8));
            desk.worker_of(201, &[KIND, "other"], 100);
            desk.pass(secs(8));
            (first, desk.take())
        });
        assert_eq!(seen[0], seen[1], "I10: both go on in the same way");
    }

    pub(super) fn check_bounds(&self) {
        let (status, config) = (self.desk.scheduler.status(), self.desk.scheduler.config());
        assert!(status.dead_set <= config.dead_set_max as u64);
        assert!(status.retained_bytes <= config.retain_bytes_max as u64);
        assert!(status.workers <= config.workers_max as u32);
    }

    fn replace_if_drained(&mut self, worker: usize) {
        if self.workers[worker].drains {
            self.step(&super::Step::WorkerGoodbye { worker });
        }
    }

    fn confirm(&mut self, client: usize) {
        let mut before = None;
        while before != Some(self.clients[client].read) {
            before = Some(self.clients[client].read);
            self.step(&super::Step::Ack { client });
        }
    }
}

/// The part of a task that the journal knows. Leases are not durable, and so is the number of an attempt
/// that has not ended.
fn durable(task: TaskView) -> TaskView {
    let is_settled = task.state == TaskState::Settled;
    TaskView {
        state: if is_settled { TaskState::Settled } else { TaskState::Queued },
        attempt: if is_settled { task.attempt } else { Default::default() },
        worker: task.worker.filter(|_| is_settled),
        worker_name: None,
        ..task
    }
}

/// Everything that must survive, without the number of the life.
fn durable_state(scheduler: &Scheduler) -> Vec<Record> {
    let mut records = scheduler.remembered();
    if let Some(Record::CarryBegun(head)) = records.first_mut() {
        head.epoch = Epoch(0);
    }
    records
}
