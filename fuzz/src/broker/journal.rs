//! A journal that is slow, or fails, when the input says so.

use std::io;

use ganger_broker::journal::{Journal, JournalError};
use ganger_scheduler::{Lsn, Record};

use super::FIRST;

/// Records in memory, of which the first are safe.
#[derive(Debug, Default)]
pub(super) struct FuzzJournal {
    pub(super) records: Vec<(Lsn, Record)>,
    safe: usize,
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
    fn append(&mut self, batch: &mut Vec<(Lsn, Record)>) -> Result<Lsn, JournalError> {
        if self.is_broken {
            let lsn = batch.first().map_or(FIRST, |(lsn, _)| *lsn);
            return Err(JournalError::Write { lsn, source: io::Error::other("broken") });
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

    fn read_from(&mut self, from: Lsn) -> Result<Vec<(Lsn, Record)>, JournalError> {
        Ok(self.records.iter().filter(|(lsn, _)| *lsn >= from).cloned().collect())
    }

    fn snapshot(&mut self, _upto: Lsn, _state: Vec<Record>) -> Result<(), JournalError> {
        Ok(())
    }

    fn trim(&mut self, _before: Lsn) -> Result<(), JournalError> {
        Ok(())
    }

    fn close(self) -> Result<(), JournalError> {
        Ok(())
    }
}
