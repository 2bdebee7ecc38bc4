//! A journal that is slow, or fails, when the input says so.

use std::io;

use ganger_broker::journal::{Journal, JournalError, Recovered, Usage};
use ganger_scheduler::{Lsn, Record};

use super::FIRST;

/// With so many records more the journal counts as long, and its state is carried.
const LONG_FROM: u64 = 24;

/// Records in memory, of which the first are safe.
#[derive(Debug, Default)]
pub(super) struct FuzzJournal {
    pub(super) records: Vec<(Lsn, Record)>,
    safe: usize,
    /// The last record that was safe when the state had been carried last.
    carried: Lsn,
    /// Batches are written and not synced.
    pub(super) is_slow: bool,
    /// The next batch fails.
    pub(super) is_broken: bool,
}

impl FuzzJournal {
    /// Syncs what was written; the last safe number.
    pub(super) fn sync(&mut self) -> Lsn {
        self.safe = self.records.len();
        self.last_safe()
    }

    /// The process dies: so many of the records that were not safe are gone.
    pub(super) fn lose(&mut self, most: usize) {
        let kept = self.records.len().saturating_sub(most).max(self.safe);
        self.records.truncate(kept);
        self.safe = kept;
        (self.is_slow, self.is_broken) = (false, false);
    }

    fn last_safe(&self) -> Lsn {
        self.safe.checked_sub(1).map_or(Lsn(0), |last| self.records[last].0)
    }
}

impl Journal for FuzzJournal {
    /// The fuzzer reads the records itself.
    fn read(&mut self, _each: &mut dyn FnMut(Lsn, Record)) -> Result<Recovered, JournalError> {
        Ok(Recovered::default())
    }

    fn append(&mut self, batch: &mut Vec<(Lsn, Record)>) -> Result<Lsn, JournalError> {
        if self.is_broken {
            let lsn = batch.first().map_or(FIRST, |(lsn, _)| *lsn);
            return Err(JournalError::Write { lsn, source: io::Error::other("broken").into() });
        }
        for (lsn, record) in batch.drain(..) {
            let next = self.records.last().map_or(FIRST, |(last, _)| Lsn(last.0 + 1));
            assert_eq!(lsn, next, "records are numbered without gaps");
            self.records.push((lsn, record));
        }
        if !self.is_slow {
            self.sync();
        }
        Ok(self.last_safe())
    }

    fn trim(&mut self, before: Lsn) -> Result<(), JournalError> {
        let goes = self.records.partition_point(|(lsn, _)| *lsn < before);
        assert!(goes < self.safe, "what stands for the beginning is safe before that goes");
        self.records.drain(..goes);
        self.safe -= goes;
        self.carried = self.last_safe();
        Ok(())
    }

    fn tend(&mut self) -> Result<bool, JournalError> {
        Ok(false)
    }

    /// Counts records where a journal counts bytes: no input is long enough for those.
    fn usage(&self) -> Usage {
        let more = self.last_safe().0 - self.carried.0;
        let log_bytes = if more >= LONG_FROM { 1 << 40 } else { 0 };
        Usage { last: self.last_safe(), log_bytes, ..Usage::default() }
    }

    fn close(self) -> Result<(), JournalError> {
        Ok(())
    }
}
