//! A journal that is as durable as the process: what `--durability memory` means.

use ganger_scheduler::{Lsn, Record};

use super::{Journal, JournalError, Recovered, Usage};

/// Keeps nothing: the state of the process is all that there is to keep.
#[derive(Debug, Default)]
pub struct MemoryJournal {
    usage: Usage,
}

impl Journal for MemoryJournal {
    fn read(&mut self, _each: &mut dyn FnMut(Lsn, Record)) -> Result<Recovered, JournalError> {
        Ok(Recovered::default())
    }

    fn append(&mut self, batch: &mut Vec<(Lsn, Record)>) -> Result<Lsn, JournalError> {
        self.usage.batches += u64::from(!batch.is_empty());
        self.usage.records += batch.len() as u64;
        for (lsn, _) in batch.drain(..) {
            if lsn.0 != self.usage.last.0 + 1 {
                return Err(JournalError::Order { last: self.usage.last, found: lsn });
            }
            self.usage.last = lsn;
        }
        self.usage.first = Lsn(self.usage.last.0 + 1);
        Ok(self.usage.last)
    }

    fn trim(&mut self, _before: Lsn) -> Result<(), JournalError> {
        Ok(())
    }

    fn tend(&mut self) -> Result<bool, JournalError> {
        Ok(false)
    }

    fn usage(&self) -> Usage {
        self.usage
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
        let usage = journal.usage();
        assert_eq!((usage.batches, usage.records, usage.first), (1, 2, Lsn(3)));
    }

    #[test]
    fn a_gap_is_refused() {
        let mut journal = MemoryJournal::default();
        assert!(matches!(journal.append(&mut vec![record(2)]), Err(JournalError::Order { .. })));
    }
}
