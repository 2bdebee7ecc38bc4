//! The disk of the broker's journal.
//!
//! Whole batches are written and synced together, one group after the other; what comes meanwhile gathers.
//! What is not synced when the power goes may survive, from the front, whole batches only.
//!
//! Once it is full, it takes from a reserve, and then nothing: what is handed over waits, as it does in the
//! journal's thread, and is gone with the process. While it is behind, it takes a few batches at a time.

use std::borrow::Cow;
use std::collections::VecDeque;

use bytes::Bytes;
use ganger_scheduler::{Data, Lsn, Record, Stored};

use super::desk::weight;
use super::faults::Over;
use super::log::{BrokerEnd, Event, Fault, Life};
use super::plan::{MS, S, SLOWEST_SYNC};
use super::queue::Happening;
use super::world::World;

/// What a disk that lags behind writes together.
const LAGGING_BATCHES: usize = 1;

/// What is on it, and what is on its way.
#[derive(Debug, Default)]
pub(super) struct Disk {
    /// Records that survive anything.
    pub(super) kept: Vec<(Lsn, Record)>,
    /// Batches that are being synced.
    syncing: Vec<Vec<(Lsn, Record)>>,
    /// Batches that wait for their turn.
    waiting: VecDeque<Vec<(Lsn, Record)>>,
    /// Values that the broker has asked for.
    asked: VecDeque<Stored>,
    /// Syncs take so much longer at the moment.
    pub(super) slow_until: u64,
    /// The next sync fails.
    pub(super) fails: bool,
    /// The power goes during the next sync.
    pub(super) loses_power: bool,
    /// There is no room from the next sync on.
    pub(super) fills: bool,
    /// There is no more than this left, in records; absent while there is room.
    reserve: Option<u64>,
    /// Times that it ran full, of which the injector has not heard.
    pub(super) filled: u32,
    /// It takes little at a time, and slowly.
    pub(super) lags_until: u64,
    /// The broker has found it so.
    pub(super) is_found_lagging: bool,
    /// Times that the broker found it behind, of which the injector has not heard.
    pub(super) lagged: u32,
}

impl Disk {
    /// A value that is on it.
    pub(super) fn value(&self, stored: Stored) -> Option<Bytes> {
        let (first, _) = self.kept.first()?;
        let (lsn, record) = self.kept.get(stored.lsn.0.checked_sub(first.0)? as usize)?;
        let (_, data) = record.values().find(|(index, _)| *index == stored.index)?;
        let value = data.inline().filter(|value| value.len() == stored.len as usize);
        value.filter(|_| *lsn == stored.lsn).cloned()
    }

    /// What is on it as a recovery gets it: large values by name.
    pub(super) fn named(&self, min: usize) -> Vec<(Lsn, Cow<'_, Record>)> {
        let mut named = Vec::with_capacity(self.kept.len());
        for (lsn, record) in &self.kept {
            let mut record = Cow::Borrowed(record);
            if record.values().any(|(_, data)| data.len() >= min.max(1)) {
                for (index, data) in record.to_mut().values_mut().filter(|(_, data)| data.len() >= min.max(1))
                {
                    *data = Data::Stored(Stored { lsn: *lsn, index, len: data.len() as u32 });
                }
            }
            named.push((*lsn, record));
        }
        named
    }

    pub(super) fn unsynced_batches(&self) -> usize {
        self.syncing.len() + self.waiting.len()
    }

    pub(super) fn unsynced_records(&self) -> usize {
        self.syncing.iter().chain(&self.waiting).map(Vec::len).sum()
    }

    /// Whether there is hardly any room.
    pub(super) fn is_short(&self) -> bool {
        self.reserve.is_some()
    }

    /// Takes what can be written together.
    fn take_batches(&mut self, now: u64) -> Vec<Vec<(Lsn, Record)>> {
        let most = if self.lags_until > now { LAGGING_BATCHES } else { self.waiting.len() };
        let mut taken = Vec::new();
        while taken.len() < most
            && let Some(batch) = self.waiting.front()
        {
            if let Some(reserve) = &mut self.reserve {
                let Some(left) = reserve.checked_sub(batch.len() as u64) else { break };
                *reserve = left;
            }
            taken.extend(self.waiting.pop_front());
        }
        taken
    }
}

impl World {
    /// The journal is handed a batch.
    pub(super) fn append(&mut self, mut records: Vec<(Lsn, Record)>, safe: bool) {
        self.copy_values(&mut records);
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

    /// What only names values is written with the values.
    fn copy_values(&mut self, records: &mut [(Lsn, Record)]) {
        for (_, data) in records.iter_mut().flat_map(|(_, record)| record.values_mut()) {
            let Data::Stored(stored) = *data else { continue };
            match self.disk.value(stored) {
                Some(value) => *data = Data::Inline(value),
                None => return self.defect(&format!("{stored:?} is carried and is not on the disk")),
            }
        }
    }

    /// The journal is asked for values.
    pub(super) fn ask_values(&mut self, values: Vec<Stored>) {
        self.disk.asked.extend(values);
        let (first, last) = if self.rng.percent(90) { (20, 2_000) } else { (2_000, 200_000) };
        let takes = self.rng.between(first, last);
        self.queue.push(self.now + takes, Happening::ValuesRead(self.broker.life));
    }

    /// Some of them have been read, or all.
    pub(super) fn on_values_read(&mut self, life: Life) {
        if life != self.broker.life || !self.broker.is_up() {
            return;
        }
        let most = if self.rng.percent(50) { 1 } else { self.disk.asked.len() };
        for _ in 0..most {
            let Some(stored) = self.disk.asked.pop_front() else { break };
            match self.disk.value(stored) {
                Some(value) => self.broker.desk.lock().values.push(value),
                None => return self.defect(&format!("{stored:?} is to be read and is not on the disk")),
            }
        }
        if !self.disk.asked.is_empty() {
            self.queue.push(self.now + 50, Happening::ValuesRead(life));
        }
        self.wake_broker(self.now);
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
        if self.disk.waiting.is_empty() {
            return;
        }
        if std::mem::take(&mut self.disk.fills) {
            self.fill_disk();
        }
        self.disk.syncing = self.disk.take_batches(self.now);
        if self.disk.syncing.is_empty() {
            self.figures.appends_refused += 1;
            return;
        }
        let (first, last) = match (self.disk.slow_until > self.now, self.disk.lags_until > self.now) {
            (true, _) => (100_000, SLOWEST_SYNC),
            (false, true) => (30 * MS, 400 * MS),
            (false, false) => self.plan.sync,
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
            #[cfg(feature = "planted")]
            if super::planted::is(super::planted::Bug::FailedSyncForgiven) {
                return self.sync_is_done(life);
            }
            // The next thing that the broker does with its journal tells it, and ends it.
            self.broker.desk.lock().fails = true;
            return self.end_broker(BrokerEnd::JournalFailed);
        }
        self.sync_is_done(life);
    }

    fn sync_is_done(&mut self, life: Life) {
        let synced: Vec<_> = self.disk.syncing.drain(..).flatten().collect();
        let upto = synced.last().map_or(Lsn(0), |(lsn, _)| *lsn);
        let mut desk = self.broker.desk.lock();
        (desk.safe, desk.waiting) = (upto, desk.waiting.saturating_sub(weight(&synced)));
        drop(desk);
        self.disk.kept.extend(synced);
        self.note(Event::Synced { life, upto: upto.0 });
        self.begin_sync();
        if self.broker.is_paused() {
            // It hears of it when it goes on.
            self.journaled_while_paused = true;
        } else {
            self.tell_journaled(upto);
        }
    }

    /// There is no room from now on, but for a few records, often none.
    fn fill_disk(&mut self) {
        self.fault(Fault::DiskFull);
        self.disk.filled += 1;
        let reserve = if self.rng.percent(50) { 0 } else { self.rng.between(1, 30) };
        self.disk.reserve = Some(reserve);
        let lasts = self.rng.between(300 * MS, 8 * S);
        self.later(lasts, Over::NoRoom);
        self.tell_room();
    }

    /// Somebody has made room.
    pub(super) fn make_room(&mut self) {
        if self.disk.reserve.take().is_none() {
            return;
        }
        self.note(Event::DiskRoom);
        if self.disk.syncing.is_empty() && self.broker.is_up() {
            self.begin_sync();
        }
        self.tell_room();
    }

    fn tell_room(&mut self) {
        #[cfg(feature = "planted")]
        if !self.disk.is_short() && super::planted::is(super::planted::Bug::RoomUntold) {
            return;
        }
        self.broker.desk.lock().is_short = self.disk.is_short();
        let takes = self.turn_takes();
        self.queue.push(self.now + takes, Happening::DiskTells(self.broker.life));
    }

    /// The broker hears how much room there is.
    pub(super) fn on_disk_tells(&mut self, life: Life) {
        if life != self.broker.life || !self.broker.is_up() {
            return;
        }
        if self.broker.is_paused() {
            self.journaled_while_paused = true;
            return;
        }
        let safe = self.broker.desk.lock().safe;
        self.tell_journaled(safe);
        if self.disk.is_short() && self.broker.is_up() {
            self.note(Event::DiskShort { life });
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
        let mut waiting = std::mem::take(&mut self.disk.waiting);
        if self.disk.is_short() {
            // What there was no room for has never been on it.
            waiting.clear();
        }
        let survivors = syncing.into_iter().chain(waiting).take(keep).flatten();
        self.disk.kept.extend(survivors);
        self.disk.fails = false;
        self.disk.loses_power = false;
        self.disk.asked.clear();
        if self.plan.scheduler.durability == ganger_common::message::Durability::Memory {
            self.disk.kept.clear();
        }
        #[cfg(feature = "planted")]
        if super::planted::is(super::planted::Bug::SyncedLost) {
            self.disk.kept.pop();
        }
        let upto = self.disk.kept.last().map_or(0, |(lsn, _)| lsn.0);
        self.note(Event::DiskKept { upto });
    }
}
