//! The disk of the broker's journal.
//!
//! Whole batches are written and synced together, one group after the other; what comes meanwhile gathers.
//! What is not synced when the power goes may survive, from the front, whole batches only.

use std::collections::VecDeque;

use ganger_scheduler::{Lsn, Record};

use super::log::{BrokerEnd, Event, Life};
use super::plan::SLOWEST_SYNC;
use super::queue::Happening;
use super::world::World;

/// What is on it, and what is on its way.
#[derive(Debug, Default)]
pub(super) struct Disk {
    /// Records that survive anything.
    pub(super) kept: Vec<(Lsn, Record)>,
    /// Batches that are being synced.
    syncing: Vec<Vec<(Lsn, Record)>>,
    /// Batches that wait for their turn.
    waiting: VecDeque<Vec<(Lsn, Record)>>,
    /// Syncs take so much longer at the moment.
    pub(super) slow_until: u64,
    /// The next sync fails.
    pub(super) fails: bool,
    /// The power goes during the next sync.
    pub(super) loses_power: bool,
}

impl Disk {
    pub(super) fn unsynced_batches(&self) -> usize {
        self.syncing.len() + self.waiting.len()
    }

    pub(super) fn unsynced_records(&self) -> usize {
        self.syncing.iter().chain(&self.waiting).map(Vec::len).sum()
    }
}

impl World {
    /// The journal is handed a batch.
    pub(super) fn append(&mut self, records: Vec<(Lsn, Record)>, safe: bool) {
        for (lsn, record) in &records {
            self.note_record(*lsn, record);
        }
        self.figures.records += records.len() as u64;
        if safe {
            let upto = records.last().map_or(0, |(lsn, _)| lsn.0);
            self.disk.kept.extend(records);
            let life = self.broker.life;
            return self.note(Event::Synced { life, upto });
        }
        self.disk.waiting.push_back(records);
        if self.disk.syncing.is_empty() {
            self.begin_sync();
        }
    }

    /// Records before this one may go: a store lets them go in pieces, so some of them may stay for long.
    pub(super) fn trim(&mut self, before: Lsn) {
        self.figures.trims += 1;
        let Some((first, _)) = self.disk.kept.first() else { return };
        let goes = before.0.saturating_sub(first.0);
        let goes = if self.rng.percent(50) { goes } else { self.rng.between(0, goes) };
        self.disk.kept.drain(..goes as usize);
    }

    fn begin_sync(&mut self) {
        self.disk.syncing = self.disk.waiting.drain(..).collect();
        if self.disk.syncing.is_empty() {
            return;
        }
        let (first, last) = match self.disk.slow_until > self.now {
            true => (100_000, SLOWEST_SYNC),
            false => self.plan.sync,
        };
        let takes = self.rng.between(first, last);
        self.queue.push(self.now + takes, Happening::SyncDone(self.broker.life));
        if std::mem::take(&mut self.disk.loses_power) {
            let at = self.now + self.rng.below(takes);
            self.queue.push(at, Happening::Crash(self.broker.life));
        }
    }

    pub(super) fn on_sync_done(&mut self, life: Life) {
        if life != self.broker.life || !self.broker.is_up() {
            return;
        }
        if std::mem::take(&mut self.disk.fails) {
            self.note(Event::SyncFailed { life });
            // The next thing that the broker does with its journal tells it, and ends it.
            self.broker.desk.lock().fails = true;
            return self.end_broker(BrokerEnd::JournalFailed);
        }
        let synced: Vec<_> = self.disk.syncing.drain(..).flatten().collect();
        let upto = synced.last().map_or(Lsn(0), |(lsn, _)| *lsn);
        self.disk.kept.extend(synced);
        self.note(Event::Synced { life, upto: upto.0 });
        self.broker.desk.lock().safe = upto;
        self.begin_sync();
        if self.broker.is_paused() {
            // It hears of it when it goes on.
            self.journaled_while_paused = true;
        } else {
            self.tell_journaled(upto);
        }
    }

    /// The broker hears what is safe.
    pub(super) fn tell_journaled(&mut self, upto: Lsn) {
        let now = self.broker_now();
        if let Some(shell) = &mut self.broker.shell {
            shell.set_now(now);
            shell.journaled(upto);
            self.turn_broker();
        }
    }

    /// The broker's process is gone: so many of the batches that were not synced survive.
    pub(super) fn crash_disk(&mut self, keep: usize) {
        let syncing = std::mem::take(&mut self.disk.syncing);
        let waiting = std::mem::take(&mut self.disk.waiting);
        let survivors = syncing.into_iter().chain(waiting).take(keep).flatten();
        self.disk.kept.extend(survivors);
        self.disk.fails = false;
        self.disk.loses_power = false;
        if self.plan.scheduler.durability == ganger_common::message::Durability::Memory {
            self.disk.kept.clear();
        }
        let upto = self.disk.kept.last().map_or(0, |(lsn, _)| lsn.0);
        self.note(Event::DiskKept { upto });
    }
}
