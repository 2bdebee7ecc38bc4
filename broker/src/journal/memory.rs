//! A journal that is as durable as the process: what `--durability memory` means.

use ganger_scheduler::{Lsn, Record};

use super::{Journal, JournalError};

/// Keeps nothing: the state of the process is all that there is to keep.
#[derive(Debug, Default)]
pub struct MemoryJournal {
    last: Lsn,
}

impl Journal for MemoryJournal {
    fn append(&mut self, batch: &mut Vec<(Lsn, Record)>) -> Result<Lsn, JournalError> {
        for (lsn, _) in batch.drain(..) {
            if lsn.0 != self.last.0 + 1 {
                return Err(JournalError::Order { last: self.last, found: lsn });
            }
            self.last = lsn;
        }
        Ok(self.last)
    }

    fn read_from(&mut self, _from: Lsn) -> Result<Vec<(Lsn, Record)>, JournalError> {
        Ok(Vec::new())
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

#[cfg(test)]
mod tests {
    use super::*;

    fn record(lsn: u64) -> (Lsn, Record) {
        (Lsn(lsn), Record::Forgotten { settled: 0, dead: 0 })
    }

    #[test]
    fn a_batch_is_taken_up_to_its_last_record() {
        let mut journal = MemoryJournal::default();
        assert_eq!(journal.append(&mut vec![record(1), record(2)]).unwrap(), Lsn(2));
        assert_eq!(journal.append(&mut Vec::new()).unwrap(), Lsn(2));
    }

    #[test]
    fn a_gap_is_refused() {
        let mut journal = MemoryJournal::default();
        assert!(matches!(journal.append(&mut vec![record(2)]), Err(JournalError::Order { .. })));
    }
}
