//! What goes in comes out.

use std::path::Path;

use ganger_broker::journal::{Journal, JournalError};
use ganger_common::Epoch;
use ganger_scheduler::{Lsn, Record};

use super::support::{
    Records, append, batch, every_record, files, folder, fresh, large_batch, lay_out, open, open_and_read,
};

/// Appends so many batches; returns their records.
fn fill(dir: &Path, batches: u64) -> Records {
    let mut journal = fresh(dir);
    let mut all = Vec::new();
    for number in 0..batches {
        let records = batch(number, all.len() as u64 + 1);
        append(&mut journal, &records);
        all.extend(records);
    }
    journal.close().expect("the journal closes");
    all
}

#[test]
fn every_record_comes_back_as_it_was() {
    let folder = folder();
    let mut journal = fresh(folder.path());
    let records: Records =
        every_record().into_iter().zip(1..).map(|((_, record), lsn)| (Lsn(lsn), record)).collect();
    append(&mut journal, &records);
    journal.close().expect("the journal closes");
    let (_, found, recovered) = open_and_read(folder.path()).expect("the journal is sound");
    assert_eq!(found, records);
    assert_eq!((recovered.last, recovered.epoch), (Lsn(records.len() as u64), Epoch(1)));
}

#[test]
fn a_journal_goes_on_where_it_ended() {
    let folder = folder();
    let mut expected = fill(folder.path(), 20);
    for _ in 0..3 {
        let (mut journal, found, recovered) = open_and_read(folder.path()).expect("the journal is sound");
        assert_eq!(found, expected);
        assert_eq!(recovered.last, Lsn(expected.len() as u64));
        let more = batch(2, recovered.last.0 + 1);
        append(&mut journal, &more);
        expected.extend(more);
        journal.close().expect("the journal closes");
    }
}

#[test]
fn what_was_appended_survives_the_process() {
    let folder = folder();
    let (living, left) = (folder.path().join("living"), folder.path().join("left"));
    let mut journal = fresh(&living);
    let mut expected = Vec::new();
    for number in 0..30 {
        let records = batch(number, expected.len() as u64 + 1);
        append(&mut journal, &records);
        expected.extend(records);
        lay_out(&left, &files(&living));
        let (_, found, _) = open_and_read(&left).expect("what a killed broker leaves is sound");
        assert_eq!(found, expected);
    }
}

#[test]
fn a_batch_that_is_too_large_for_one_row_comes_back_whole() {
    let folder = folder();
    let mut journal = fresh(folder.path());
    let mut records: Records = Vec::new();
    for lsn in 1..=9 {
        records.extend(large_batch(lsn, 1_500_000));
    }
    append(&mut journal, &records);
    drop(journal);
    let (_, found, _) = open_and_read(folder.path()).expect("the journal is sound");
    assert!(found == records);
}

#[test]
fn what_was_trimmed_is_gone_and_its_room_is_used_again() {
    let folder = folder();
    let mut journal = fresh(folder.path());
    let size = |dir: &Path| files(dir).values().map(Vec::len).sum::<usize>();
    let mut largest = 0;
    let (mut lsn, mut from) = (1, 1);
    for _ in 0..20 {
        for _ in 0..50 {
            append(&mut journal, &large_batch(lsn, 100_000));
            lsn += 1;
        }
        from = lsn - 10;
        journal.trim(Lsn(from)).expect("the journal lives");
        while journal.tend().expect("the journal lives") {}
        largest = largest.max(size(folder.path()));
    }
    assert_eq!(journal.usage().first, Lsn(from));
    assert!(journal.usage().log_bytes < 3 << 20, "{:?}", journal.usage());
    assert!(largest < 40 << 20, "100 MB were written, 1 MB lives, {largest} bytes are taken");
    drop(journal);
    let (_, found, recovered) = open_and_read(folder.path()).expect("the journal is sound");
    assert_eq!(found.first().map(|(lsn, _)| *lsn), Some(Lsn(from)), "it begins where it was trimmed");
    assert_eq!((found.len(), recovered.last), (10, Lsn(lsn - 1)));
}

#[test]
fn room_that_is_not_needed_is_given_back() {
    let folder = folder();
    let mut journal = fresh(folder.path());
    for lsn in 1..=100 {
        append(&mut journal, &large_batch(lsn, 1_000_000));
    }
    let database = folder.path().join("journal.db");
    let bytes = |path: &Path| path.metadata().expect("the file is there").len();
    journal.trim(Lsn(100)).expect("the journal lives");
    while journal.tend().expect("the journal lives") {}
    append(&mut journal, &large_batch(101, 5_000_000));
    while journal.tend().expect("the journal lives") {}
    assert!(bytes(&database) < 50 << 20, "{} bytes are left of 100 MB", bytes(&database));
    journal.close().expect("the journal closes");
    assert!(bytes(&database) < 45 << 20, "{} bytes are left of 100 MB", bytes(&database));
    let (_, found, _) = open_and_read(folder.path()).expect("the journal is sound");
    assert_eq!(found.len(), 2);
}

#[test]
fn the_epoch_outlives_its_record() {
    let folder = folder();
    let mut journal = fresh(folder.path());
    append(&mut journal, &vec![(Lsn(1), Record::Started { epoch: Epoch(41) })]);
    for lsn in 2..10 {
        append(&mut journal, &vec![(Lsn(lsn), Record::Forgotten { settled: 0, dead: 0 })]);
    }
    journal.trim(Lsn(9)).expect("the journal lives");
    while journal.tend().expect("the journal lives") {}
    journal.close().expect("the journal closes");
    let (_, found, recovered) = open_and_read(folder.path()).expect("the journal is sound");
    assert_eq!((found.len(), recovered.epoch), (1, Epoch(41)));
}

#[test]
fn a_second_broker_is_refused() {
    let folder = folder();
    let journal = fresh(folder.path());
    let error = open(folder.path()).expect_err("the directory is taken");
    let JournalError::Locked { pid, .. } = &error else { panic!("{error}") };
    assert_eq!(*pid, Some(std::process::id()));
    assert!(error.to_string().contains("is in use by another process"), "{error}");
    journal.close().expect("the journal closes");
    open(folder.path()).expect("the directory is free again");
}

#[test]
fn nothing_is_taken_before_everything_was_read() {
    let folder = folder();
    fill(folder.path(), 3);
    let mut journal = open(folder.path()).expect("the journal is sound");
    let error = journal.append(&mut batch(0, 4)).expect_err("it was not read");
    assert!(matches!(error, JournalError::Unread), "{error}");
}

#[test]
fn records_out_of_order_are_refused_and_nothing_comes_after_them() {
    let folder = folder();
    let mut journal = fresh(folder.path());
    append(&mut journal, &batch(0, 1));
    let error = journal.append(&mut batch(0, 3)).expect_err("record 2 is missing");
    assert!(matches!(error, JournalError::Order { last: Lsn(1), found: Lsn(3) }), "{error}");
    let error = journal.append(&mut batch(0, 2)).expect_err("the journal has failed");
    assert!(matches!(error, JournalError::Failed), "{error}");
}

#[test]
fn the_files_are_the_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = folder();
    let dir = folder.path().join("data");
    let mut journal = fresh(&dir);
    append(&mut journal, &batch(0, 1));
    let mode = |path: &Path| path.metadata().expect("it is there").permissions().mode() & 0o777;
    assert_eq!(mode(&dir), 0o700);
    for name in files(&dir).keys() {
        assert_eq!(mode(&dir.join(name)), 0o600, "{name}");
    }
}
