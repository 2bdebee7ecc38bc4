//! Records of every kind, small journals, and directories to spoil.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use ganger_broker::journal::{Journal, JournalError, JournalOptions, Recovered, SqliteJournal};
use ganger_common::{Attempt, AttemptEnd, ClientId, Epoch, Outcome, Revision, TaskId, TaskOptions, WorkerId};
use ganger_scheduler::input::NewTask;
use ganger_scheduler::record::{
    AttemptEnded, CarriedEntry, CarriedOutcome, CarriedTask, CarriedTopic, CarryHead, Cause, Change,
    Settlement,
};
use ganger_scheduler::{Data, Lsn, Record, Wall};
use tempfile::TempDir;

/// A folder in memory where there is one: the tests here sync often.
pub(crate) fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    match memory.is_dir() {
        true => TempDir::new_in(memory).expect("there is a folder in memory"),
        false => TempDir::new().expect("there is a folder for temporary files"),
    }
}

pub(crate) fn task_id(number: u8) -> TaskId {
    TaskId::from_bytes([number; 16])
}

pub(crate) fn client_id(number: u8) -> ClientId {
    ClientId::from_bytes([number; 16])
}

pub(crate) fn worker_id(number: u8) -> WorkerId {
    WorkerId::from_bytes([number; 16])
}

pub(crate) fn new_task(number: u8, kind: &str) -> NewTask {
    let payload = Bytes::from(vec![number; 5]);
    NewTask { id: task_id(number), kind: kind.into(), payload: payload.into(), options: None }
}

fn ended() -> AttemptEnded {
    AttemptEnded {
        task: task_id(2),
        attempt: Attempt(1),
        worker: worker_id(0xa1),
        worker_name: "w1".to_owned(),
        end: AttemptEnd::Failed,
        at: Wall(1_790_000_000_300),
        run_us: 1500,
        error: Some("no such page".to_owned()),
        retry_at: Some(Wall(1_790_000_001_300)),
    }
}

fn options() -> TaskOptions {
    TaskOptions {
        priority: -3,
        delay_ms: 250,
        ttl_ms: Some(60_000),
        run_limit_ms: Some(1_000),
        max_attempts: Some(5),
        crash_limit: Some(2),
        backoff_ms: Some(100),
        knowledge: Some(Revision(7)),
        detached: true,
        events: false,
        ..TaskOptions::default()
    }
}

/// One record of every kind, with a name for the page.
pub(crate) fn every_record() -> Vec<(&'static str, Record)> {
    let at = Wall(1_790_000_000_123);
    let with_options = NewTask { options: Some(Box::new(options())), ..new_task(3, "resize") };
    let traced = TaskOptions {
        trace: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".parse().ok(),
        trace_state: "congo=t61rcWkgMzE".parse().ok(),
        ..TaskOptions::default()
    };
    let traced = NewTask { options: Some(Box::new(traced)), ..new_task(5, "count") };
    let settled = Settlement {
        task: task_id(1),
        outcome: Outcome::Succeeded,
        attempt: Attempt(1),
        worker: Some(worker_id(0xa1)),
        cause: Cause::Result,
        result: Bytes::from_static(b"42").into(),
        ended: None,
    };
    let dead = Settlement {
        task: task_id(2),
        outcome: Outcome::Failed,
        attempt: Attempt(3),
        worker: None,
        cause: Cause::Failures,
        result: Data::default(),
        ended: Some(Box::new(ended())),
    };
    let change = |revision, key: &str, value: Option<&'static [u8]>| Change {
        revision: Revision(revision),
        topic: "routes".to_owned(),
        key: key.to_owned(),
        value: value.map(Bytes::from_static),
    };
    let fresh = CarriedTask {
        task: new_task(4, "count"),
        submitted: at,
        client: None,
        seq: 17,
        attempt: Attempt(0),
        failures: 0,
        timeouts: 0,
        crashes: 0,
        began: false,
        confirm: false,
        history: Vec::new(),
        settled: None,
    };
    let outcome = CarriedOutcome {
        outcome: Outcome::Failed,
        cause: Cause::Failures,
        at,
        worker: Some(worker_id(0xa1)),
        result: Data::default(),
    };
    let tried = CarriedTask {
        task: new_task(2, "count"),
        attempt: Attempt(3),
        failures: 2,
        timeouts: 1,
        crashes: 0,
        began: true,
        confirm: false,
        history: vec![ended()],
        settled: Some(Box::new(outcome)),
        ..fresh.clone()
    };
    let client = Some(client_id(0xc1));
    let of_a_client = CarriedTask { client, ..fresh.clone() };
    let of_the_same = CarriedTask { task: new_task(5, "count"), client, seq: 18, ..fresh.clone() };
    let entry = CarriedEntry { key: "a".to_owned(), revision: Revision(8), value: Bytes::from_static(b"1") };
    let head = CarryHead {
        epoch: Epoch(2),
        seq: 17,
        revision: Revision(9),
        workers: vec![worker_id(0xa1), worker_id(0xa2)],
        paused: Vec::new(),
    };
    let pausing = CarryHead { paused: vec!["count".into(), "resize".into()], ..head.clone() };
    vec![
        ("started", Record::Started { epoch: Epoch(1) }),
        (
            "accepted",
            Record::Accepted {
                at,
                client,
                tasks: vec![new_task(1, "count"), new_task(2, "count"), with_options],
            },
        ),
        ("accepted with a trace", Record::Accepted { at, client, tasks: vec![traced] }),
        ("accepted from somebody", Record::Accepted { at, client: None, tasks: vec![new_task(1, "count")] }),
        ("attempt ended", Record::AttemptEnded(ended())),
        ("settled", Record::Settled { at, tasks: vec![settled, dead] }),
        ("retried", Record::Retried { at, tasks: vec![task_id(2)] }),
        ("forgotten", Record::Forgotten { settled: 12, dead: 3 }),
        ("knowledge put", Record::Knowledge(change(8, "a", Some(b"1")))),
        ("knowledge deleted", Record::Knowledge(change(9, "b", None))),
        ("worker joined", Record::WorkerJoined { worker: worker_id(0xa1) }),
        ("worker left", Record::WorkerLeft { worker: worker_id(0xa1) }),
        ("carry begun", Record::CarryBegun(head)),
        ("carry begun with paused kinds", Record::CarryBegun(pausing)),
        ("carried tasks", Record::CarriedTasks(vec![fresh, tried])),
        ("carried tasks of a client", Record::CarriedTasks(vec![of_a_client, of_the_same])),
        (
            "carried topic",
            Record::CarriedTopic(CarriedTopic {
                topic: "routes".to_owned(),
                last: Revision(9),
                entries: vec![entry],
            }),
        ),
        ("carried history", Record::CarriedHistory(vec![change(9, "b", None), change(8, "a", Some(b"1"))])),
        ("carry ended", Record::CarryEnded { from: Lsn(11) }),
        ("discarded", Record::Discarded { tasks: vec![task_id(2), task_id(3)] }),
        ("kind paused", Record::KindPaused { kind: "resize".into() }),
        ("kind resumed", Record::KindResumed { kind: "resize".into() }),
    ]
}

pub(crate) type Records = Vec<(Lsn, Record)>;

/// What goes into a journal in these tests: a batch for each record of every kind, twice as many the next
/// time, and so on; so that short and long batches come, each with its own content.
pub(crate) fn batch(number: u64, first: u64) -> Records {
    let every = every_record();
    let count = 1 + number % 3;
    (0..count).map(|n| (Lsn(first + n), every[((first + n) as usize) % every.len()].1.clone())).collect()
}

/// A batch with a payload that fills pages of its own.
pub(crate) fn large_batch(first: u64, bytes: usize) -> Records {
    let payload = Bytes::from(vec![first as u8; bytes]);
    let task = NewTask { payload: payload.into(), ..new_task(9, "large") };
    vec![(Lsn(first), Record::Accepted { at: Wall(1), client: None, tasks: vec![task] })]
}

pub(crate) fn open(dir: &Path) -> Result<SqliteJournal, JournalError> {
    SqliteJournal::open(&options_for(dir))
}

pub(crate) fn options_for(dir: &Path) -> JournalOptions {
    // So small that nearly every payload is handed over by name, and read back.
    JournalOptions { reserve_bytes: 0, stored_min: STORED_MIN, ..JournalOptions::new(dir) }
}

/// Opens a journal and reads all of it.
pub(crate) fn open_and_read(dir: &Path) -> Result<(SqliteJournal, Records, Recovered), JournalError> {
    read(open(dir)?)
}

pub(crate) fn read(mut journal: SqliteJournal) -> Result<(SqliteJournal, Records, Recovered), JournalError> {
    let mut records = Vec::new();
    let recovered = journal.read(&mut |lsn, record| records.push((lsn, record)))?;
    fetch_values(&mut journal, &mut records)?;
    Ok((journal, records, recovered))
}

/// From so many bytes on values are handed over by name.
pub(crate) const STORED_MIN: usize = 5;

/// Reads back what was handed over by name.
pub(crate) fn fetch_values(journal: &mut SqliteJournal, records: &mut Records) -> Result<(), JournalError> {
    for (lsn, record) in records {
        for (index, data) in record.values_mut() {
            let Data::Stored(stored) = *data else {
                assert!(data.len() < STORED_MIN);
                continue;
            };
            assert_eq!((stored.lsn, stored.index), (*lsn, index), "a value is named after its place");
            let mut came = Vec::new();
            journal.fetch(&mut vec![stored], &mut came)?;
            *data = Data::Inline(came.remove(0));
        }
    }
    Ok(())
}

/// A journal that was just made, read and all.
pub(crate) fn fresh(dir: &Path) -> SqliteJournal {
    let (journal, records, recovered) = open_and_read(dir).expect("an empty directory becomes a journal");
    assert_eq!((records, recovered), (Vec::new(), Recovered::default()));
    journal
}

pub(crate) fn append(journal: &mut SqliteJournal, records: &Records) {
    let last = journal.append(&mut records.clone()).expect("the journal takes a batch");
    assert_eq!(last, records.last().expect("a batch has records").0);
}

/// The files of a directory, as they are at this moment: what SIGKILL would leave.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

pub(crate) fn files(dir: &Path) -> Files {
    let entries = std::fs::read_dir(dir).expect("the directory can be listed");
    let paths = entries.map(|entry| entry.expect("an entry can be read").path());
    let plain: Vec<PathBuf> = paths.filter(|path| path.is_file()).collect();
    let name = |path: &Path| path.file_name().expect("it has a name").to_string_lossy().into_owned();
    plain.iter().map(|path| (name(path), std::fs::read(path).expect("a file can be read"))).collect()
}

/// Makes a directory hold these files and no others.
pub(crate) fn lay_out(dir: &Path, files: &Files) {
    if dir.exists() {
        std::fs::remove_dir_all(dir).expect("the directory can be removed");
    }
    std::fs::create_dir(dir).expect("the directory can be made");
    for (name, bytes) in files {
        std::fs::write(dir.join(name), bytes).expect("a file can be written");
    }
}
