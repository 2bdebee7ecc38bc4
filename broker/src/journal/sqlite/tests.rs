//! What only shows from within: failing writes and full disks.

use ganger_common::TaskId;
use ganger_scheduler::input::NewTask;
use ganger_scheduler::{Lsn, Record, Wall};
use tempfile::TempDir;

use super::{JournalOptions, SqliteJournal, State};
use crate::journal::{Journal, JournalError};

fn fresh(folder: &TempDir) -> SqliteJournal {
    let options = JournalOptions { reserve_bytes: 0, ..JournalOptions::new(folder.path()) };
    let mut journal = SqliteJournal::open(&options).unwrap();
    journal.read(&mut |_, _| {}).unwrap();
    journal
}

/// A batch of one record that takes about this much.
fn batch(lsn: u64, bytes: usize) -> Vec<(Lsn, Record)> {
    let payload = vec![lsn as u8; bytes].into();
    let task = NewTask { id: TaskId::from_bytes([7; 16]), kind: "large".into(), payload, options: None };
    vec![(Lsn(lsn), Record::Accepted { at: Wall(lsn), client: None, tasks: vec![task] })]
}

/// Lets the database grow to so many pages and no further: what a disk that is full looks like to it.
fn limit(journal: &SqliteJournal, pages: i64) {
    let State::Ready(ready) = &journal.state else { panic!("the journal was read") };
    ready.db.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(())).unwrap();
}

#[test]
fn a_full_disk_takes_nothing_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = fresh(&folder);
    limit(&journal, 100);
    let mut lsn = 0;
    let mut refused = loop {
        let mut records = batch(lsn + 1, 50_000);
        match journal.append(&mut records) {
            Ok(last) => lsn = last.0,
            Err(error) => {
                assert!(error.is_full(), "{error}");
                break records;
            }
        }
    };
    assert!(lsn > 3, "some fitted");
    assert!(journal.usage().is_short_of_room);
    assert_eq!(refused, batch(lsn + 1, 50_000), "what was refused is as it was");
    assert!(journal.append(&mut refused).is_err_and(|error| error.is_full()));
}

#[test]
fn service_resumes_when_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = fresh(&folder);
    limit(&journal, 60);
    let mut lsn = 0;
    let mut refused = loop {
        let mut records = batch(lsn + 1, 50_000);
        match journal.append(&mut records) {
            Ok(last) => lsn = last.0,
            Err(_) => break records,
        }
    };
    limit(&journal, 1_000_000);
    assert_eq!(journal.append(&mut refused).unwrap(), Lsn(lsn + 1), "the same batch, when there is room");
    assert_eq!(refused, []);
    assert!(!journal.tend().unwrap() && !journal.usage().is_short_of_room);
    journal.close().unwrap();
    let mut again = SqliteJournal::open(&JournalOptions::new(folder.path())).unwrap();
    let mut found = Vec::new();
    again.read(&mut |lsn, record| found.push((lsn, record))).unwrap();
    let expected: Vec<_> = (1..=lsn + 1).flat_map(|lsn| batch(lsn, 50_000)).collect();
    assert!(found == expected);
}

#[test]
fn room_that_runs_short_is_seen_before_it_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let options = JournalOptions { reserve_bytes: u64::MAX / 2, ..JournalOptions::new(folder.path()) };
    let mut journal = SqliteJournal::open(&options).unwrap();
    journal.read(&mut |_, _| {}).unwrap();
    assert!(journal.usage().is_short_of_room);
    assert_eq!(journal.append(&mut batch(1, 10)).unwrap(), Lsn(1), "what runs may be settled");
}

#[test]
fn i9_after_a_failed_write_nothing_more_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = fresh(&folder);
    journal.append(&mut batch(1, 10)).unwrap();
    {
        let State::Ready(ready) = &journal.state else { panic!("the journal was read") };
        ready.db.pragma_update(None, "query_only", true).unwrap();
    }
    let error = journal.append(&mut batch(2, 10)).unwrap_err();
    assert!(matches!(error, JournalError::Write { lsn: Lsn(2), .. }), "{error}");
    assert!(!error.is_full());
    for _ in 0..2 {
        assert!(matches!(journal.append(&mut batch(2, 10)), Err(JournalError::Failed)));
        assert!(matches!(journal.trim(Lsn(1)), Err(JournalError::Failed)));
        assert!(matches!(journal.tend(), Err(JournalError::Failed)));
    }
    assert!(matches!(journal.close(), Err(JournalError::Failed)));
    let mut again = SqliteJournal::open(&JournalOptions::new(folder.path())).unwrap();
    assert_eq!(again.read(&mut |_, _| {}).unwrap().last, Lsn(1));
}
