//! Leases and results of tasks that the broker does not know, right after it has started.
//!
//! A broker that keeps its state in memory forgets its tasks with its process, but the workers go on, and
//! the clients hand in again what they were promised. Whoever comes first must find the other: what a
//! worker brings waits here for a little while, so that the client's resubmission meets the attempt that
//! runs, or its result, instead of running the task again.

use std::collections::BTreeMap;
use std::sync::Arc;

use ganger_common::message::Lease;
use ganger_common::{AttemptEnd, Epoch, TaskId};

use crate::input::{Ended, Held};
use crate::queue::KindKey;
use crate::worker::WorkerKey;

/// Most of them, and most bytes of results; what comes beyond is treated as stale.
const ORPHANS_MAX: usize = 100_000;
const ORPHAN_BYTES_MAX: usize = 64 << 20;

/// What workers brought.
#[derive(Debug, Default)]
pub(crate) struct Orphans {
    leases: BTreeMap<TaskId, (WorkerKey, Held)>,
    /// With the kinds of the worker that brought it: it counts only if that worker served the task's.
    ends: BTreeMap<TaskId, (Arc<[KindKey]>, Ended)>,
    bytes: usize,
}

impl Orphans {
    pub(crate) fn is_empty(&self) -> bool {
        self.leases.is_empty() && self.ends.is_empty()
    }

    /// Keeps a lease of the broker's last life. Returns whether it did: of two workers that claim one task
    /// the first one has it.
    pub(crate) fn keep_lease(&mut self, worker: WorkerKey, held: Held) -> bool {
        let other = self.leases.get(&held.lease.task).is_some_and(|(holder, _)| *holder != worker);
        if other || self.leases.len() >= ORPHANS_MAX {
            return false;
        }
        self.leases.insert(held.lease.task, (worker, held));
        true
    }

    /// A lease that waits here has started.
    pub(crate) fn note_start(&mut self, worker: WorkerKey, lease: &Lease) {
        if let Some((holder, held)) = self.leases.get_mut(&lease.task) {
            held.started |= *holder == worker && held.lease == *lease;
        }
    }

    /// The lease of a worker has ended, however it did. An earlier attempt whose end comes late says nothing of
    /// the one that runs.
    pub(crate) fn drop_lease(&mut self, worker: WorkerKey, lease: &Lease) {
        let is_it = |(holder, held): &(WorkerKey, Held)| *holder == worker && held.lease == *lease;
        if self.leases.get(&lease.task).is_some_and(is_it) {
            self.leases.remove(&lease.task);
        }
    }

    /// Keeps a result of the broker's last life. Returns whether it did.
    pub(crate) fn keep_end(&mut self, kinds: Arc<[KindKey]>, ended: Ended, epoch: Epoch) -> bool {
        let fits = self.ends.len() < ORPHANS_MAX && self.bytes + ended.result.len() <= ORPHAN_BYTES_MAX;
        if !fits || ended.epoch == epoch || ended.end != AttemptEnd::Succeeded {
            return false;
        }
        self.bytes += ended.result.len();
        if let Some((_, old)) = self.ends.insert(ended.task, (kinds, ended)) {
            self.bytes -= old.result.len();
        }
        true
    }

    pub(crate) fn claim_end(&mut self, task: TaskId) -> Option<(Arc<[KindKey]>, Ended)> {
        let (kinds, ended) = self.ends.remove(&task)?;
        self.bytes -= ended.result.len();
        Some((kinds, ended))
    }

    pub(crate) fn claim_lease(&mut self, task: TaskId) -> Option<(WorkerKey, Held)> {
        self.leases.remove(&task)
    }

    /// Forgets a worker that is gone.
    pub(crate) fn forget_worker(&mut self, worker: WorkerKey) {
        self.leases.retain(|_, (holder, _)| *holder != worker);
    }

    /// Nobody came for these in time.
    pub(crate) fn take_leases(&mut self) -> Vec<(WorkerKey, Held)> {
        self.ends.clear();
        self.bytes = 0;
        std::mem::take(&mut self.leases).into_values().collect()
    }
}
