//! `ganger-broker journal`, on directories that nobody has and on one that somebody has.

#[path = "journal/support.rs"]
#[allow(dead_code)] // The other tests use the rest.
mod support;

use std::path::Path;
use std::process::{Command, Output};

use bytes::Bytes;
use ganger_broker::journal::Journal;
use ganger_common::limits::STORED_BYTES_MIN;
use ganger_common::{Attempt, Epoch, Outcome, WorkerId};
use ganger_scheduler::input::NewTask;
use ganger_scheduler::record::{Cause, Settlement};
use ganger_scheduler::{Lsn, Record, Wall};
use serde_json::Value;

use support::{append, files, folder, fresh, lay_out, new_task, task_id};

fn tool(words: &[&str], dir: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ganger-broker"));
    command.arg("journal").args(words).arg(dir).output().expect("the program runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Two tasks that wait and one that is done, as a broker leaves them that is killed.
fn fill(dir: &Path) {
    let living = dir.with_extension("living");
    let mut journal = fresh(&living);
    let tasks = vec![new_task(1, "count"), new_task(2, "count"), new_task(3, "resize")];
    let done = Settlement {
        task: task_id(2),
        outcome: Outcome::Succeeded,
        attempt: Attempt(1),
        worker: Some(WorkerId::from_bytes([9; 16])),
        cause: Cause::Result,
        result: Bytes::from_static(b"\x2a").into(),
        ended: None,
    };
    let records = vec![
        (Lsn(1), Record::Started { epoch: Epoch(4) }),
        (Lsn(2), Record::Accepted { at: Wall(1_790_000_000_000), client: None, tasks }),
        (Lsn(3), Record::Settled { at: Wall(1_790_000_000_500), tasks: vec![done] }),
    ];
    append(&mut journal, &records);
    lay_out(dir, &files(&living));
}

#[test]
fn inspect_tells_what_is_there_and_changes_nothing() {
    let folder = folder();
    let dir = folder.path().join("data");
    fill(&dir);
    let before = files(&dir);
    let told = tool(&["inspect", "--json"], &dir);
    assert!(told.status.success(), "{}", text(&told.stderr));
    let value: Value = serde_json::from_slice(&told.stdout).expect("it is JSON");
    for (name, expected) in [
        ("first_record", 1),
        ("last_record", 3),
        ("batches", 1),
        ("high_water_record", 3),
        ("epoch", 4),
        ("tasks_unsettled", 2),
        ("tasks_settled_kept", 1),
    ] {
        assert_eq!(value[name], expected, "{name} in {value}");
    }
    assert_eq!(value["records_by_type"]["accepted"], 1, "{value}");
    let people = text(&tool(&["inspect"], &dir).stdout);
    assert!(people.contains("tasks unsettled      2\n"), "{people}");
    let after = files(&dir);
    for (name, bytes) in &before {
        assert!(name == "lock" || after[name] == *bytes, "{name} was changed");
    }
    assert_eq!(after.len(), before.len());
}

#[test]
fn export_prints_each_task_as_a_line() {
    let folder = folder();
    let dir = folder.path().join("data");
    fill(&dir);
    let told = tool(&["export", "--payloads"], &dir);
    assert!(told.status.success(), "{}", text(&told.stderr));
    let lines: Vec<Value> =
        text(&told.stdout).lines().map(|line| serde_json::from_str(line).expect("it is JSON")).collect();
    let find = |number| {
        let id = task_id(number).to_string();
        lines.iter().find(|line| line["id"] == id.as_str()).expect("the task is there")
    };
    assert_eq!(lines.len(), 3);
    assert_eq!((&find(1)["state"], &find(1)["payload"]), (&"unsettled".into(), &"0101010101".into()));
    assert_eq!((&find(2)["outcome"], &find(2)["result"]), (&"succeeded".into(), &"2a".into()));
    assert_eq!(find(3)["kind"], "resize");
}

#[test]
fn export_prints_large_values_out_of_the_rows_in_which_they_stand() {
    let folder = folder();
    let dir = folder.path().join("data");
    let living = dir.with_extension("living");
    let mut journal = fresh(&living);
    let (payload, result) = (vec![0x5a; 3 * STORED_BYTES_MIN], vec![0xa5; STORED_BYTES_MIN]);
    let waits = NewTask { payload: Bytes::from(payload.clone()).into(), ..new_task(1, "count") };
    let done = Settlement {
        task: task_id(2),
        outcome: Outcome::Succeeded,
        attempt: Attempt(1),
        worker: None,
        cause: Cause::Result,
        result: Bytes::from(result.clone()).into(),
        ended: None,
    };
    let records = vec![
        (Lsn(1), Record::Started { epoch: Epoch(1) }),
        (Lsn(2), Record::Accepted { at: Wall(1), client: None, tasks: vec![waits, new_task(2, "count")] }),
        (Lsn(3), Record::Settled { at: Wall(2), tasks: vec![done] }),
    ];
    append(&mut journal, &records);
    lay_out(&dir, &files(&living));

    let told = tool(&["export", "--payloads"], &dir);
    assert!(told.status.success(), "{}", text(&told.stderr));
    let lines: Vec<Value> =
        text(&told.stdout).lines().map(|line| serde_json::from_str(line).expect("it is JSON")).collect();
    let [waiting, settled] = &lines[..] else { panic!("{} lines", lines.len()) };
    assert!(waiting["payload"] == "5a".repeat(payload.len()), "another payload");
    assert!(settled["result"] == "a5".repeat(result.len()), "another result");
    let sizes = (&waiting["payload_bytes"], &settled["result_bytes"]);
    assert_eq!(sizes, (&payload.len().into(), &result.len().into()));
}

#[test]
fn verify_says_whether_a_broker_would_take_it() {
    let folder = folder();
    let dir = folder.path().join("data");
    fill(&dir);
    let told = tool(&["verify"], &dir);
    assert_eq!(text(&told.stdout), "sound: records 1 to 3 in 1 batches\n");
    std::fs::remove_file(dir.join("journal.db-wal")).expect("it was there");
    let told = tool(&["verify"], &dir);
    assert_eq!(told.status.code(), Some(3));
    let said = text(&told.stderr);
    assert!(said.contains("records 1 to 3 are missing") && said.lines().count() == 1, "{said}");
}

#[test]
fn a_directory_that_somebody_has_is_refused() {
    let folder = folder();
    let journal = fresh(folder.path());
    let told = tool(&["inspect"], folder.path());
    assert_eq!(told.status.code(), Some(1));
    let said = text(&told.stderr);
    assert!(
        said.contains(&format!("is in use by another process (process {})", std::process::id())),
        "{said}"
    );
    journal.close().expect("the journal closes");
}

#[test]
fn a_directory_without_a_journal_is_left_without_one() {
    let folder = folder();
    let told = tool(&["verify"], folder.path());
    assert_eq!(told.status.code(), Some(1));
    assert!(text(&told.stderr).contains("there is no journal in"), "{}", text(&told.stderr));
    assert!(files(folder.path()).is_empty());
}
