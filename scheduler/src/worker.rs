//! Workers as the scheduler sees them: sessions, hands, credit.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ganger_common::message::Lease;
use ganger_common::{ConnId, Revision, SessionToken, WorkerId};

use crate::arena::List;
use crate::config::Config;
use crate::effect::Dispatch;
use crate::pack::pack_len;
use crate::queue::{ClassKey, KindKey, Load};
use crate::time::Time;

/// A worker that has nothing is borne with for so much longer.
const IDLE_PATIENCE: u32 = 2;

/// A worker's session. Never reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct WorkerKey(pub(crate) u32);

/// One worker.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) id: WorkerId,
    pub(crate) token: SessionToken,
    pub(crate) name: String,
    pub(crate) host: String,
    pub(crate) pid: u32,
    pub(crate) class: ClassKey,
    pub(crate) slots: u32,
    /// Its connection; absent while it is away.
    pub(crate) conn: Option<ConnId>,
    pub(crate) draining: bool,
    /// The journal knows it, so that it may have leases.
    pub(crate) admitted: bool,
    pub(crate) last_seen: Time,
    pub(crate) silent_at: Option<Time>,
    pub(crate) grace_at: Option<Time>,
    /// What it has and has not reported as started, in the order in which it was given.
    pub(crate) assigned: List,
    /// What it has reported as started.
    pub(crate) running: List,
    /// Leases that were taken from it while it lives. They fill its slots until it says that they ended.
    pub(crate) revoked: BTreeSet<LeaseKey>,
    /// Payload bytes of what it has.
    pub(crate) held_bytes: usize,
    pub(crate) credit: Credit,
    pub(crate) revision: Revision,
    /// The recall that it has not answered.
    pub(crate) recall: Option<u64>,
    pub(crate) recalls: u64,
    /// When it was last asked for tasks back.
    pub(crate) recalled: Time,
    /// Leases that it may have lost with a connection, until it has had its say: how many heartbeats have
    /// come on this connection.
    pub(crate) unaccounted: Option<(BTreeSet<LeaseKey>, u8)>,
    /// The one kind that all it has is of, if that is known.
    pub(crate) only: Option<KindKey>,
    /// When it last ended something, or was given something when it had nothing.
    pub(crate) moved: Time,
    pub(crate) ended: u64,
    /// How long what has ended ran, as it told.
    pub(crate) ran: Duration,
    /// Its place among the open workers of its class.
    pub(crate) open: Option<Load>,
    /// When it was last served; breaks ties between equally loaded workers.
    pub(crate) served: u64,
    /// Whether its place must be found anew.
    pub(crate) touched: bool,
    /// What this turn gives it.
    pub(crate) outgoing: Vec<Dispatch>,
}

/// A lease as a key.
pub(crate) type LeaseKey = (ganger_common::TaskId, ganger_common::Epoch, ganger_common::Attempt);

pub(crate) fn lease_key(lease: &Lease) -> LeaseKey {
    (lease.task, lease.epoch, lease.attempt)
}

pub(crate) fn lease_of((task, epoch, attempt): LeaseKey) -> Lease {
    Lease { task, epoch, attempt }
}

impl Worker {
    /// Tasks that are in its hands.
    pub(crate) fn outstanding(&self) -> u32 {
        (self.assigned.len() + self.running.len() + self.revoked.len()) as u32
    }

    /// From when on it may be silent: what it is given while it has nothing begins the span anew.
    pub(crate) fn silent_since(&self) -> Time {
        self.last_seen.max(self.moved)
    }

    /// How long it may be silent. One that has nothing may say that it lives half as often, and nobody waits for it.
    pub(crate) fn silence_max(&self, config: &Config) -> Duration {
        config.silence_max() * if self.outstanding() == 0 { IDLE_PATIENCE } else { 1 }
    }

    /// Slots with nothing to do.
    pub(crate) fn idle_slots(&self) -> u32 {
        self.slots.saturating_sub(self.outstanding())
    }

    /// Tasks that must wait there because every slot has one already.
    pub(crate) fn surplus(&self) -> u32 {
        self.outstanding().saturating_sub(self.slots).min(self.assigned.len() as u32)
    }

    /// How many more it may have now.
    pub(crate) fn room(&self, config: &Config) -> u32 {
        if self.conn.is_none() || self.draining || !self.admitted {
            return 0;
        }
        let outstanding = self.outstanding();
        if outstanding > 0 && self.held_bytes >= config.worker_bytes_max {
            return 0;
        }
        self.credit.target(self.slots).saturating_sub(outstanding)
    }

    /// Its place among the open workers, if it may have anything.
    pub(crate) fn load(&self, key: WorkerKey, config: &Config) -> Option<Load> {
        let full = u64::from(self.outstanding()) * 1_000 / u64::from(self.slots);
        (self.room(config) > 0).then_some((full.min(u64::from(u32::MAX)) as u32, self.served, key))
    }
}

/// How many tasks may wait at a worker beside those that run there.
///
/// Two forces: the worker ran dry while there was work (the reserve doubles: it did not cover a round
/// trip), and what waits there would wait for longer than [`Config::hold_time`] (the reserve shrinks to
/// that). What is too small to be spread may stand there in any case. Workers of long tasks so hold one per slot, workers of tiny tasks what keeps them busy, and
/// nobody guesses a number.
#[derive(Debug, Default)]
pub(crate) struct Credit {
    reserve: u32,
    /// Exponentially weighted average of run times, in microseconds. Zero: nothing has ended yet.
    average_run_us: f64,
}

impl Credit {
    pub(crate) fn target(&self, slots: u32) -> u32 {
        slots.saturating_add(self.reserve)
    }

    pub(crate) fn average_run_us(&self) -> u64 {
        self.average_run_us as u64
    }

    /// Learns from a report of `count` ends that ran for `total` together.
    pub(crate) fn learn(&mut self, config: &Config, slots: u32, count: u32, total: Duration, ran_dry: bool) {
        if count == 0 {
            return;
        }
        let mean = (total.as_micros() as f64 / f64::from(count)).max(1.0);
        // One end moves the average by an eighth, a large report by nearly all.
        let weight = 1.0 - 0.875_f64.powi(count.min(64) as i32);
        self.average_run_us = match self.average_run_us {
            0.0 => mean,
            average => average + (mean - average) * weight,
        };
        let hold = config.hold_time.as_micros() as f64 * f64::from(slots) / self.average_run_us;
        let most = (hold as u32).min(config.credit_max);
        if ran_dry {
            self.reserve = (self.reserve * 2).max(1);
        }
        let packed = slots.saturating_mul(pack_len(self.average_run_us as u64) - 1);
        self.reserve = self.reserve.max(packed).min(most);
    }
}

/// All workers' sessions.
#[derive(Debug, Default)]
pub(crate) struct Fleet {
    workers: BTreeMap<WorkerKey, Worker>,
    by_id: BTreeMap<WorkerId, WorkerKey>,
    last: u32,
    /// Workers whose place must be found anew.
    pub(crate) touched: Vec<WorkerKey>,
    /// Leases of all workers that have not been reported as started.
    pub(crate) assigned: usize,
    /// Leases of all workers that have.
    pub(crate) running: usize,
}

impl Fleet {
    pub(crate) fn add(&mut self, worker: impl FnOnce(WorkerKey) -> Worker) -> WorkerKey {
        self.last += 1;
        let key = WorkerKey(self.last);
        let worker = worker(key);
        self.by_id.insert(worker.id, key);
        self.workers.insert(key, worker);
        key
    }

    pub(crate) fn remove(&mut self, key: WorkerKey) -> Option<Worker> {
        let worker = self.workers.remove(&key)?;
        self.by_id.remove(&worker.id);
        Some(worker)
    }

    pub(crate) fn find(&self, id: WorkerId) -> Option<WorkerKey> {
        self.by_id.get(&id).copied()
    }

    pub(crate) fn get(&self, key: WorkerKey) -> Option<&Worker> {
        self.workers.get(&key)
    }

    pub(crate) fn get_mut(&mut self, key: WorkerKey) -> Option<&mut Worker> {
        self.workers.get_mut(&key)
    }

    pub(crate) fn len(&self) -> usize {
        self.workers.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (WorkerKey, &Worker)> {
        self.workers.iter().map(|(key, worker)| (*key, worker))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (WorkerKey, &mut Worker)> {
        self.workers.iter_mut().map(|(key, worker)| (*key, worker))
    }

    /// Workers by id.
    pub(crate) fn by_id(&self, after: Option<WorkerId>) -> impl Iterator<Item = (WorkerKey, &Worker)> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = after.map_or(Unbounded, Excluded);
        self.by_id.range((from, Unbounded)).filter_map(|(_, key)| Some((*key, self.workers.get(key)?)))
    }

    /// Marks a worker whose load or room may have changed.
    pub(crate) fn touch(&mut self, key: WorkerKey) {
        if let Some(worker) = self.workers.get_mut(&key)
            && !worker.touched
        {
            worker.touched = true;
            self.touched.push(key);
        }
    }
}
