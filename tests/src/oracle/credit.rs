//! Credit: no free slot beside work that waits.
//!
//! Checks, once the faults have ended and every grace and window is over, that no worker with a session and
//! a free slot stands beside work of a kind that it serves, for longer than 1.5 s: neither work that
//! waits in the broker and could be given out, nor work that was given to another worker and waits there
//! for a slot. Credit that leaks, a worker that is forgotten, a recall that never comes: nothing is lost by
//! any of them, and everything gets slower for ever.
//!
//! Only tasks that were never given out count as waiting in the broker, and only default ones: whoever has
//! a delay or needs knowledge may have a reason to wait.
//!
//! Cannot see: a reserve that is smaller than it could be, since that costs less than a second; and a task
//! that is passed from one worker to the next, each of which keeps it for less than that.

use std::collections::{BTreeMap, BTreeSet};

use ganger_common::{TaskId, WorkerId, limits};

use super::Violation;
use super::view::{Kept, View};
use crate::sim::Event;
use crate::sim::log::{Fact, LeaseId, Peer, WorkerNo};

const NAME: &str = "credit";

/// After the faults: leases of lost workers have moved on, and no window is open.
const SETTLING: u64 = limits::REATTACH_WINDOW.as_micros() as u64 + 3_000_000;
/// How long a slot may stand free: many round trips, and the balance is looked at fifty times a second. What was
/// lost with a connection fills its slots until the second heartbeat on the next, which comes a second after the
/// first.
const PATIENCE: u64 = 1_500_000;

#[derive(Default)]
struct Worker {
    incarnation: Option<WorkerId>,
    slots: usize,
    kinds: BTreeSet<u8>,
    joined: bool,
    leaves: bool,
    runs: BTreeSet<LeaseId>,
    /// Given and not begun: the kind, and since when.
    waits: BTreeMap<LeaseId, (u8, u64)>,
    /// Since when it has had nothing to do although there was something.
    idle_since: Option<u64>,
}

#[derive(Default)]
struct Floor {
    workers: BTreeMap<WorkerNo, Worker>,
    /// Never given out, by kind.
    ready: BTreeMap<u8, BTreeSet<TaskId>>,
    /// Kinds of which nothing is to be given out.
    paused: BTreeMap<u8, Kept<()>>,
}

pub(super) fn check(view: &View<'_>, found: &mut Vec<Violation>) {
    let Some(ended) = view.faults_ended else { return };
    // A drained broker may come back after the faults have ended.
    let last_life = view.lives.last().map_or(0, |life| view.at(life.up).0);
    let begin = view.at(ended).0.max(last_life) + SETTLING;
    let mut floor = Floor::default();
    for (line, entry) in view.entries.iter().enumerate() {
        floor.note(view, entry.at.0, &entry.event);
        if entry.at.0 >= begin
            && let Some(what) = floor.look(entry.at.0)
        {
            return view.report_line(found, NAME, line, &what);
        }
    }
}

impl Floor {
    fn note(&mut self, view: &View<'_>, now: u64, event: &Event) {
        match event {
            Event::BrokerUp { recovered, .. } => {
                self.ready.clear();
                self.paused.values_mut().for_each(|paused| paused.recover(*recovered));
            }
            Event::Appended { lsn, fact: Fact::KindPaused(kind), .. } => {
                self.paused.entry(*kind).or_default().add(*lsn, ());
            }
            Event::Appended { lsn, fact: Fact::KindResumed(kind), .. } => {
                self.paused.entry(*kind).or_default().end(*lsn);
            }
            Event::Appended { fact: Fact::Accepted(task, _), .. } => {
                let spec = view.tasks.get(task).and_then(|story| story.spec);
                if let Some(spec) = spec.filter(|spec| spec.options.is_default()) {
                    self.ready.entry(spec.kind).or_default().insert(*task);
                }
            }
            Event::Appended { fact: Fact::Settled { task, .. }, .. } => self.take(*task),
            Event::WorkerUp { worker, incarnation, slots, kinds } => {
                let kinds = kinds.iter().copied().collect();
                let fresh = Worker {
                    incarnation: Some(*incarnation),
                    slots: *slots as usize,
                    kinds,
                    ..Worker::default()
                };
                self.workers.insert(*worker, fresh);
            }
            Event::WorkerKilled { worker, .. } | Event::WorkerLeft { worker, .. } => {
                self.workers.remove(worker);
            }
            Event::WorkerDrains { worker, .. } => self.with(*worker, |worker| worker.leaves = true),
            Event::Joined { peer: Peer::Worker(worker), .. } => {
                self.with(*worker, |worker| worker.joined = true);
            }
            Event::Cut { peer: Peer::Worker(worker), .. } => self.with(*worker, |worker| {
                worker.joined = false;
                worker.waits.clear();
            }),
            Event::LeaseGiven { worker, lease, kind, .. } => {
                self.take(lease.task);
                self.with(*worker, |worker| {
                    worker.waits.insert(*lease, (*kind, now));
                });
            }
            Event::RunStarted { worker, incarnation, lease, .. } => {
                self.with_incarnation(*worker, *incarnation, |worker| {
                    worker.waits.remove(lease);
                    worker.runs.insert(*lease);
                });
            }
            Event::EndReported { worker, incarnation, lease, .. } => {
                self.with_incarnation(*worker, *incarnation, |worker| {
                    worker.waits.remove(lease);
                });
            }
            Event::RunEnded { worker, incarnation, lease, .. } => {
                self.with_incarnation(*worker, *incarnation, |worker| {
                    worker.runs.remove(lease);
                });
            }
            _ => {}
        }
    }

    fn with(&mut self, worker: WorkerNo, change: impl FnOnce(&mut Worker)) {
        if let Some(worker) = self.workers.get_mut(&worker) {
            change(worker);
        }
    }

    fn with_incarnation(&mut self, worker: WorkerNo, who: WorkerId, change: impl FnOnce(&mut Worker)) {
        self.with(worker, |worker| {
            if worker.incarnation == Some(who) {
                change(worker);
            }
        });
    }

    /// A task is given out, or has its outcome: it waits nowhere else.
    fn take(&mut self, task: TaskId) {
        for worker in self.workers.values_mut() {
            worker.waits.retain(|lease, _| lease.task != task);
        }
        self.ready.values_mut().for_each(|tasks| {
            tasks.remove(&task);
        });
    }

    /// Whether somebody has had nothing to do for too long beside work that waits.
    fn look(&mut self, now: u64) -> Option<String> {
        let is_paused = |kind: &u8| self.paused.get(kind).is_some_and(|paused| !paused.is_empty());
        let waits = |kinds: &BTreeSet<u8>| {
            let mut given_out = kinds.iter().filter(|kind| !is_paused(kind));
            given_out.find_map(|kind| self.ready.get(kind).and_then(BTreeSet::first).copied())
        };
        // Work at a worker whose every slot is busy, and which so has waited for one for a while.
        let waits_long = |since: u64| now - since >= PATIENCE;
        let hoarded: BTreeMap<u8, LeaseId> = self
            .workers
            .values()
            .filter(|worker| worker.joined && worker.runs.len() >= worker.slots)
            .flat_map(|worker| worker.waits.iter())
            .filter(|(_, (kind, since))| waits_long(*since) && !is_paused(kind))
            .map(|(lease, (kind, _))| (*kind, *lease))
            .collect();
        let mut late = None;
        let idle: Vec<(WorkerNo, Option<String>)> = self
            .workers
            .iter()
            .map(|(no, worker)| {
                let is_free = worker.joined
                    && !worker.leaves
                    && worker.runs.len() < worker.slots
                    && worker.waits.is_empty();
                let queued = || waits(&worker.kinds).map(|task| format!("task {task} waits in the broker"));
                let held = || {
                    let lease = worker.kinds.iter().find_map(|kind| hoarded.get(kind))?;
                    Some(format!("{lease:?} waits at a busy worker"))
                };
                (*no, if is_free { queued().or_else(held) } else { None })
            })
            .collect();
        for (no, why) in idle {
            let Some(worker) = self.workers.get_mut(&no) else { continue };
            match why {
                None => worker.idle_since = None,
                Some(why) => {
                    let since = *worker.idle_since.get_or_insert(now);
                    if now - since >= PATIENCE {
                        let free = worker.slots - worker.runs.len();
                        late.get_or_insert_with(|| format!("{no:?} has {free} slots free while {why}"));
                    }
                }
            }
        }
        late
    }
}

#[cfg(test)]
mod tests {
    use ganger_common::AttemptEnd;

    use crate::oracle::script::*;

    fn settled() -> Script {
        let mut script = Script::journal();
        script.worker(1, 1).worker(2, 1).faults_end().wait_ms(9_000);
        script
    }

    #[test]
    fn work_that_is_given_out_at_once_passes() {
        let mut script = settled();
        for n in 1..5 {
            script.submit(n).accept(n).give(n, 1, 1).begin(n, 1, 1).wait_ms(1_400);
            script.finish(n, 1, 1).report(n, 1, 1, AttemptEnd::Succeeded);
        }
        script.end();
        script.passes(super::check);
    }

    #[test]
    fn a_free_slot_beside_queued_work_is_a_leak() {
        let mut script = settled();
        script.submit(1).accept(1).submit(2).accept(2).wait_ms(1_600).give(1, 1, 1).end();
        script.fails(super::check, "credit", "waits in the broker");
    }

    #[test]
    fn work_that_waits_at_a_busy_worker_is_hoarded() {
        let mut script = settled();
        script.submit(1).accept(1).submit(2).accept(2);
        script.give(1, 1, 1).give(2, 1, 1).begin(1, 1, 1).wait_ms(1_600).submit(3).wait_ms(1_600).end();
        script.fails(super::check, "credit", "busy worker");
    }

    #[test]
    fn a_worker_without_a_session_has_no_free_slot() {
        let mut script = settled();
        script.cut(2).submit(1).accept(1).give(1, 1, 1).begin(1, 1, 1);
        script.submit(2).accept(2).wait_ms(2_000).end();
        script.passes(super::check);
    }
}
