//! What the peers make of what they hear, and what they may rightly expect of it.

use ganger_common::message::Lease;
use ganger_common::{AttemptEnd, ErrorCode, Outcome};
use ganger_scheduler::effect::{ClientReply, Effect, Publication, WorkerCommand};
use ganger_scheduler::input::Held;

use super::sim::Sim;
use super::steps::TASKS;
use crate::support::*;

impl Sim {
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
                Effect::Carried { from } => self.desk.let_go_before(from),
                Effect::Append { .. } | Effect::Worker(_) | Effect::Drained => panic!("not here: {effect:?}"),
            }
        }
    }

    fn client_hears(&mut self, at: usize, reply: ClientReply) {
        let small = self.is_small();
        let client = &mut self.clients[at];
        match reply {
            ClientReply::Accepted { seq, refused } => {
                let tasks = client.pending.remove(&seq).expect("an answer to a submission that was made");
                let mut seen = std::collections::BTreeSet::new();
                for (index, task) in (0..).zip(tasks) {
                    // Of what comes twice in one batch, the first counts.
                    if !seen.insert(task.id) {
                        continue;
                    }
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
                    let is_paused = self.oracle.paused.contains(&*dispatch.kind);
                    assert!(!is_paused || self.lifted.contains(&*dispatch.kind), "{lease:?} is paused");
                    worker.held.push(Held { lease, started: false });
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

    /// With little room, or somebody who lets them go, outcomes are forgotten, and a task that comes again is
    /// another one.
    pub(super) fn is_small(&self) -> bool {
        self.discards || self.desk.scheduler.config().dead_set_max < TASKS as usize
    }
}
