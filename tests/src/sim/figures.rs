//! What runs add up to.

use std::collections::BTreeMap;

use ganger_common::{Outcome, TaskId};

use super::log::{Event, Fault, Log, RunEnd};

/// Figures of one run, or of many.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// Things that happened in the simulated world.
    pub happenings: u64,
    /// Simulated time, in microseconds.
    pub simulated_us: u64,
    /// Turns of the broker's loop.
    pub turns: u64,
    /// Records that went to the journal.
    pub records: u64,
    /// Times that the state was carried to its end, and the beginning of the journal let go.
    pub trims: u64,
    /// Batches for which there was no room on the disk, each time that one was tried.
    pub appends_refused: u64,
    /// Submissions that were refused for it.
    pub storage_refusals: u64,
    /// Turns that ended with more waiting for the disk than clients may add to.
    pub turns_behind: u64,
    /// Executions that began.
    pub runs: u64,
    /// Entries of the logs.
    pub entries: u64,
    /// Tasks that were handed in.
    pub tasks: u64,
    /// Tasks that were acknowledged.
    pub acknowledged: u64,
    /// Faults, by kind.
    pub faults: BTreeMap<Fault, u64>,
    /// Settled tasks, by outcome.
    pub settled: BTreeMap<Outcome, u64>,
    /// Executions beyond the first of a task, by how the one before it ended.
    pub extra: BTreeMap<&'static str, u64>,
    /// Reports that came too late to count.
    pub stale: u64,
    /// Lives of brokers.
    pub lives: u64,
    /// Publications that got lost.
    pub publications_lost: u64,
    /// Messages that were lost in half-open connections.
    pub messages_lost: u64,
    /// Broadcasts that arrived.
    pub broadcasts: u64,
    /// Progress and partial results that arrived.
    pub task_events: u64,
}

impl Figures {
    /// Adds another run's.
    pub fn add(&mut self, other: &Self) {
        self.happenings += other.happenings;
        self.simulated_us += other.simulated_us;
        self.turns += other.turns;
        self.records += other.records;
        self.trims += other.trims;
        self.appends_refused += other.appends_refused;
        self.storage_refusals += other.storage_refusals;
        self.turns_behind += other.turns_behind;
        self.runs += other.runs;
        self.entries += other.entries;
        self.tasks += other.tasks;
        self.acknowledged += other.acknowledged;
        self.stale += other.stale;
        self.lives += other.lives;
        self.publications_lost += other.publications_lost;
        self.messages_lost += other.messages_lost;
        self.broadcasts += other.broadcasts;
        self.task_events += other.task_events;
        other.faults.iter().for_each(|(fault, count)| *self.faults.entry(*fault).or_default() += count);
        other.settled.iter().for_each(|(outcome, count)| *self.settled.entry(*outcome).or_default() += count);
        other.extra.iter().for_each(|(cause, count)| *self.extra.entry(cause).or_default() += count);
    }

    /// Reads the log of a run.
    pub(super) fn read(&mut self, log: &Log) {
        self.entries = log.len() as u64;
        let mut tasks: BTreeMap<TaskId, (bool, Option<&'static str>)> = BTreeMap::new();
        for entry in log.entries() {
            match &entry.event {
                Event::Submitted { task, .. } => {
                    tasks.entry(*task).or_default();
                }
                Event::Acknowledged { task, .. } => tasks.entry(*task).or_default().0 = true,
                Event::RunStarted { lease, .. } => {
                    let before = tasks.entry(lease.task).or_default().1.replace("the one before still ran");
                    if let Some(before) = before {
                        *self.extra.entry(before).or_default() += 1;
                    }
                }
                Event::RunEnded { lease, how, .. } => {
                    tasks.entry(lease.task).or_default().1 = Some(cause(*how));
                }
                Event::Audited { outcome: Some(outcome), .. } => {
                    *self.settled.entry(*outcome).or_default() += 1;
                }
                Event::EndStale { .. } => self.stale += 1,
                Event::BrokerUp { .. } => self.lives += 1,
                _ => {}
            }
        }
        self.tasks = tasks.len() as u64;
        self.acknowledged = tasks.values().filter(|(acknowledged, _)| *acknowledged).count() as u64;
    }
}

/// Why there may be another execution after one that ended so.
fn cause(how: RunEnd) -> &'static str {
    match how {
        RunEnd::Succeeded(_) => "its result came too late or not at all",
        RunEnd::Failed | RunEnd::Panicked => "the one before failed",
        RunEnd::FailedForGood => "a retry was asked for",
        RunEnd::Stopped => "the one before was stopped",
        RunEnd::Died => "its worker died",
    }
}
