//! Clients and workers as they are: they remember what they were promised and what they owe.

use std::collections::BTreeMap;

use ganger_common::message::Lease;
use ganger_common::{AttemptEnd, ConnId, Revision};
use ganger_scheduler::input::{Ended, Held, NewTask, WorkerHello};

use crate::support::*;

#[derive(Default)]
pub(super) struct SimClient {
    pub(super) conn: Option<ConnId>,
    /// Accepted, and its outcome was not told yet.
    pub(super) waits: BTreeMap<u32, NewTask>,
    /// Handed in, and not acknowledged.
    pub(super) pending: BTreeMap<u64, Vec<NewTask>>,
    pub(super) cancels: BTreeMap<u64, Vec<u32>>,
    pub(super) read: u64,
}

pub(super) struct SimWorker {
    pub(super) hello: WorkerHello,
    pub(super) conn: Option<ConnId>,
    pub(super) held: Vec<Held>,
    /// Ends that were not acknowledged, with the report that told each first.
    pub(super) owed: Vec<(Option<u64>, Ended)>,
    pub(super) recall: Option<u64>,
    /// It has said that it takes nothing more.
    pub(super) drains: bool,
    /// How long its tasks run, as it tells: so short that they are packed, or not.
    run_us: u64,
}

impl SimWorker {
    /// The n-th process. Who takes the place of another serves what that one did.
    pub(super) fn new(n: u8, place: usize) -> Self {
        let kinds: &[&str] = if place.is_multiple_of(2) { &[KIND] } else { &[KIND, "other"] };
        let hello = worker_hello(n, kinds, u32::from(n % 3) + 1);
        let run_us = if n.is_multiple_of(4) { 1_000_000 } else { 5 };
        Self { hello, conn: None, held: Vec::new(), owed: Vec::new(), recall: None, drains: false, run_us }
    }

    /// What it says when it comes back. The process has not changed, whatever it forgot.
    pub(super) fn hello(&self) -> WorkerHello {
        WorkerHello { holding: self.held.clone(), ..self.hello.clone() }
    }

    pub(super) fn end(&mut self, at: usize, end: AttemptEnd) {
        let held = self.held.remove(at);
        // What has not started can only be handed back or stopped; a worker reports no start before the
        // end of a tiny task.
        self.owed.push((None, Ended { run_us: self.run_us, ..ended_of(held.lease, end) }));
    }

    pub(super) fn stop(&mut self, leases: &[Lease]) {
        for lease in leases {
            if let Some(at) = self.held.iter().position(|held| held.lease == *lease) {
                self.end(at, AttemptEnd::Cancelled);
            }
        }
    }

    pub(super) fn hand_back(&mut self, recall: u64, count: u32) {
        self.recall = Some(recall);
        for _ in 0..count {
            let Some(at) = self.held.iter().rposition(|held| !held.started) else { break };
            self.end(at, AttemptEnd::Returned);
        }
    }

    pub(super) fn learn(&mut self, revision: Revision) {
        self.hello.revision = self.hello.revision.max(revision);
    }
}
