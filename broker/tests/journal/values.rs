//! Payloads and results are read back by name.

use bytes::Bytes;
use ganger_broker::journal::{Damage, Journal, JournalError, SqliteJournal};
use ganger_common::{Attempt, Outcome};
use ganger_scheduler::input::NewTask;
use ganger_scheduler::record::{CarriedOutcome, CarriedTask, Cause, Settlement};
use ganger_scheduler::{Data, Lsn, Record, Stored, Wall};

use super::support::{Records, append, folder, fresh, new_task, open, open_and_read, task_id};

const MIB: usize = 1 << 20;

/// Bytes that only this value has.
fn value(number: u8, len: usize) -> Bytes {
    let seed = u64::from(number) << 32;
    let mixed = |n: usize| (seed + n as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (0..len).map(|n| (mixed(n) >> 40) as u8).collect::<Vec<u8>>().into()
}

fn task(number: u8, payload: impl Into<Data>) -> NewTask {
    NewTask { payload: payload.into(), ..new_task(number, "large") }
}

fn accepted(tasks: Vec<NewTask>) -> Record {
    Record::Accepted { at: Wall(1), client: None, tasks }
}

fn settled(number: u8, result: Bytes) -> Record {
    let settlement = Settlement {
        task: task_id(number),
        outcome: Outcome::Succeeded,
        attempt: Attempt(1),
        worker: None,
        cause: Cause::Result,
        result: result.into(),
        ended: None,
    };
    Record::Settled { at: Wall(1), tasks: vec![settlement] }
}

fn carried(task: NewTask, result: Option<Data>) -> CarriedTask {
    let settled = result.map(|result| {
        let (outcome, cause, at) = (Outcome::Succeeded, Cause::Result, Wall(1));
        Box::new(CarriedOutcome { outcome, cause, at, worker: None, result })
    });
    CarriedTask {
        task,
        submitted: Wall(1),
        client: None,
        seq: 1,
        attempt: Attempt(1),
        failures: 0,
        timeouts: 0,
        crashes: 0,
        began: false,
        confirm: false,
        history: Vec::new(),
        settled,
    }
}

fn stored(lsn: u64, index: u32, len: usize) -> Stored {
    Stored { lsn: Lsn(lsn), index, len: len as u32 }
}

fn fetch(journal: &mut SqliteJournal, stored: Stored) -> Result<Bytes, JournalError> {
    let mut came = Vec::new();
    journal.fetch(&mut vec![stored], &mut came).map(|()| came.remove(0))
}

#[test]
fn every_value_has_its_own_name_in_whatever_row_it_stands() {
    let folder = folder();
    let mut journal = fresh(folder.path());
    // Together more than one row takes.
    let tasks = |from: u8| (from..from + 3).map(|n| task(n, value(n, MIB + usize::from(n)))).collect();
    let records: Records = vec![
        (Lsn(1), accepted(tasks(1))),
        (Lsn(2), settled(1, value(50, 300))),
        (Lsn(3), accepted(tasks(4))),
        (Lsn(4), settled(2, value(51, 2 * MIB))),
    ];
    append(&mut journal, &records);
    let check = |journal: &mut SqliteJournal| {
        for n in 1..=6_u8 {
            let (lsn, index) = if n <= 3 { (1, n - 1) } else { (3, n - 4) };
            let len = MIB + usize::from(n);
            assert!(fetch(journal, stored(lsn, index.into(), len)).unwrap() == value(n, len), "value {n}");
        }
        assert_eq!(fetch(journal, stored(2, 0, 300)).unwrap(), value(50, 300));
        assert!(fetch(journal, stored(4, 0, 2 * MIB)).unwrap() == value(51, 2 * MIB));
    };
    check(&mut journal);
    assert_eq!(journal.usage().values, 8);
    drop(journal);
    let (mut journal, found, _) = open_and_read(folder.path()).expect("the journal is sound");
    assert!(found == records, "what was named has the bytes that it had");
    check(&mut journal);
    assert_eq!(journal.usage().values, 8);
}

#[test]
fn a_value_is_read_in_pieces() {
    let folder = folder();
    let mut journal = fresh(folder.path());
    append(&mut journal, &vec![(Lsn(1), accepted(vec![task(1, value(1, 100_000))]))]);
    let (mut into, mut pieces) = (Vec::new(), 1);
    while !journal.read_value(stored(1, 0, 100_000), &mut into, 30_000).unwrap() {
        pieces += 1;
    }
    assert!(into == value(1, 100_000));
    assert_eq!(pieces, 4);
}

#[test]
fn what_is_carried_by_name_has_its_bytes_in_the_new_record_and_the_old_one_may_go() {
    let folder = folder();
    let mut journal = fresh(folder.path());
    let (payload, result) = (value(1, 200_000), value(2, 100_000));
    let first =
        vec![(Lsn(1), accepted(vec![task(1, payload.clone())])), (Lsn(2), settled(2, result.clone()))];
    append(&mut journal, &first);
    let by_name = Record::CarriedTasks(vec![
        carried(task(1, Data::Stored(stored(1, 0, 200_000))), None),
        carried(task(2, Data::default()), Some(Data::Stored(stored(2, 0, 100_000)))),
    ]);
    append(&mut journal, &vec![(Lsn(3), by_name)]);
    journal.trim(Lsn(3)).unwrap();
    while journal.tend().unwrap() {}
    assert_eq!(fetch(&mut journal, stored(3, 0, 200_000)).unwrap(), payload);
    assert_eq!(fetch(&mut journal, stored(3, 3, 100_000)).unwrap(), result);
    // And again, from what was carried.
    let again = Record::CarriedTasks(vec![carried(task(1, Data::Stored(stored(3, 0, 200_000))), None)]);
    append(&mut journal, &vec![(Lsn(4), again)]);
    journal.trim(Lsn(4)).unwrap();
    while journal.tend().unwrap() {}
    drop(journal);
    let (_, found, _) = open_and_read(folder.path()).expect("the journal is sound");
    assert_eq!(found, [(Lsn(4), Record::CarriedTasks(vec![carried(task(1, payload), None)]))]);
}

#[test]
fn a_name_that_the_journal_does_not_have_ends_it_by_name() {
    let folder = folder();
    let mut journal = fresh(folder.path());
    append(&mut journal, &vec![(Lsn(1), accepted(vec![task(1, value(1, 1_000))]))]);
    append(&mut journal, &vec![(Lsn(2), settled(1, value(2, 1_000)))]);
    assert!(fetch(&mut journal, stored(1, 0, 1_000)).is_ok());
    journal.trim(Lsn(2)).unwrap();
    let gone = fetch(&mut journal, stored(1, 0, 1_000)).unwrap_err();
    assert!(matches!(gone, JournalError::NoValue { .. }), "{gone}");
    assert_eq!(gone.to_string(), "there is no value 0 of record 1 to be read back");
    let after = journal.append(&mut vec![(Lsn(3), settled(1, value(2, 10)))]).unwrap_err();
    assert!(matches!(after, JournalError::Failed), "{after}");
}

#[test]
fn i11_a_value_that_changes_on_the_disk_while_the_broker_runs_is_refused_by_name() {
    let folder = folder();
    let mut journal = fresh(folder.path());
    let all: Records =
        (1..=8).map(|n| (Lsn(n), accepted(vec![task(n as u8, value(n as u8, MIB))]))).collect();
    append(&mut journal, &all);
    journal.close().unwrap();
    let mut journal = open(folder.path()).expect("the journal is sound");
    journal.read(&mut |_, _| {}).expect("the journal is sound");
    let database = folder.path().join("journal.db");
    let mut bytes = std::fs::read(&database).unwrap();
    // The middle of the first value, which left SQLite's memory while the others were read.
    let needle = &value(1, MIB)[MIB / 2..MIB / 2 + 256];
    let place = bytes.windows(256).position(|window| window == needle).expect("it is in the file");
    bytes[place + 7] ^= 1;
    std::fs::write(&database, &bytes).unwrap();
    assert!(fetch(&mut journal, stored(2, 0, MIB)).is_ok(), "its neighbour is sound");
    let error = fetch(&mut journal, stored(1, 0, MIB)).expect_err("it is not what was written");
    let JournalError::Damaged { damage: Damage::Value { lsn: Lsn(1), index: 0, .. }, .. } = &error else {
        panic!("{error}")
    };
    assert!(error.to_string().contains("value 0 of record 1 cannot be read back"), "{error}");
    assert!(matches!(fetch(&mut journal, stored(2, 0, MIB)), Err(JournalError::Failed)));
}
