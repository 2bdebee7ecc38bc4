//! A journal that fails: nothing is promised after that, and the broker ends (I9).

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use common::*;
use ganger_broker::BrokerError;
use ganger_broker::journal::{Journal, JournalError, MemoryJournal, Recovered, Usage};
use ganger_scheduler::{Lsn, Record};
use ganger_transport::{Connection, Limits};

/// Works until it is told to fail.
struct Frail {
    journal: MemoryJournal,
    fails: Arc<AtomicBool>,
}

impl Journal for Frail {
    fn read(&mut self, each: &mut dyn FnMut(Lsn, Record)) -> Result<Recovered, JournalError> {
        self.journal.read(each)
    }

    fn append(&mut self, batch: &mut Vec<(Lsn, Record)>) -> Result<Lsn, JournalError> {
        match (self.fails.load(Ordering::SeqCst), batch.first()) {
            (true, Some((lsn, _))) => {
                let source = std::io::Error::other("the disk is gone").into();
                Err(JournalError::Write { lsn: *lsn, source })
            }
            _ => self.journal.append(batch),
        }
    }

    fn trim(&mut self, before: Lsn) -> Result<(), JournalError> {
        self.journal.trim(before)
    }

    fn tend(&mut self) -> Result<bool, JournalError> {
        self.journal.tend()
    }

    fn usage(&self) -> Usage {
        self.journal.usage()
    }

    fn close(self) -> Result<(), JournalError> {
        self.journal.close()
    }
}

#[tokio::test]
async fn i9_after_a_failed_write_nobody_is_promised_anything_and_the_broker_ends() {
    let fails = Arc::new(AtomicBool::new(false));
    let frail = Frail { journal: MemoryJournal::default(), fails: fails.clone() };
    let rig = Rig::with_journal(patient(), &Limits::default(), frail);
    let mut client = rig.client(1).await;
    fails.store(true, Ordering::SeqCst);
    client.say(&submit(1, vec![task(7, "work")]));
    let said = client.link.recv().await;
    assert!(said.is_err(), "the client heard {said:?}");
    let error = rig.end().await.unwrap_err();
    assert!(matches!(error, BrokerError::Journal(JournalError::Write { .. })), "{error}");
}
