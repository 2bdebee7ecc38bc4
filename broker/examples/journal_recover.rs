//! How long a broker takes to come back with so many tasks waiting, and how much memory that takes.
//!
//! ```text
//! cargo run --release -p ganger-broker --example journal_recover [DIR] [MILLION_TASKS]
//! ```
//! The peak is compared with what the process holds once it is done: what is live. Run it once for each
//! number, since a process does not forget its peak.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;
use bytes::Bytes;
use ganger_broker::journal::{Journal, JournalOptions, SqliteJournal};
use ganger_common::TaskId;
use ganger_scheduler::input::NewTask;
use ganger_scheduler::{Birth, Config, Lsn, Now, Record, Recovery, Wall};

const TASKS_A_RECORD: u64 = 1_000;
const PAYLOAD_BYTES: usize = 100;

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let first = args.next().unwrap_or_default();
    if first == "--read" {
        return recover(Path::new(&args.next().context("--read needs a directory")?));
    }
    let parent = if first.is_empty() { std::env::temp_dir() } else { PathBuf::from(first) };
    let millions: u64 = args.next().map_or(Ok(1), |text| text.parse())?;
    let dir = parent.join(format!("ganger-journal-recover-{}", std::process::id()));
    fill(&dir, millions * 1_000_000)?;
    // A process of its own, so that what filling took is not counted.
    let done = std::process::Command::new(std::env::current_exe()?).arg("--read").arg(&dir).status();
    std::fs::remove_dir_all(&dir)?;
    anyhow::ensure!(done?.success(), "the recovery failed");
    Ok(())
}

fn fill(dir: &Path, tasks: u64) -> anyhow::Result<()> {
    let mut journal = SqliteJournal::open(&JournalOptions::new(dir))?;
    journal.read(&mut |_, _| {})?;
    let (mut lsn, mut number) = (0, 0_u64);
    while number < tasks {
        let mut batch = Vec::new();
        while number < tasks && batch.len() < 20 {
            lsn += 1;
            let new = (0..TASKS_A_RECORD).map(|_| {
                number += 1;
                new_task(number)
            });
            let record = Record::Accepted { at: Wall(1_790_000_000_000), client: None, tasks: new.collect() };
            batch.push((Lsn(lsn), record));
        }
        journal.append(&mut batch)?;
    }
    Ok(journal.close()?)
}

fn new_task(number: u64) -> NewTask {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&number.to_be_bytes());
    let payload = Bytes::from(vec![b'x'; PAYLOAD_BYTES]);
    NewTask {
        id: TaskId::from_bytes(id),
        kind: "wordcount.map".into(),
        payload: payload.into(),
        options: None,
    }
}

fn recover(dir: &Path) -> anyhow::Result<()> {
    let bytes = std::fs::metadata(dir.join("journal.db"))?.len();
    let before = memory("VmRSS:")?;
    let began = Instant::now();
    let now = Now { wall: Wall(1_790_000_001_000), ..Now::default() };
    let mut journal = SqliteJournal::open(&JournalOptions::new(dir))?;
    let checked = began.elapsed();
    let mut recovery = Recovery::new(Config::default(), now);
    let mut wrong = None;
    let found = journal.read(&mut |lsn, record| wrong = wrong.or(recovery.apply(lsn, record).err()))?;
    anyhow::ensure!(wrong.is_none(), "records are missing");
    recovery.check()?;
    let scheduler = recovery.finish(now, Birth { epoch: found.epoch.next(), knowledge_port: 0 });
    let took = began.elapsed();
    let (after, peak) = (memory("VmRSS:")? - before, memory("VmHWM:")? - before);
    let status = scheduler.status();
    println!(
        "{} tasks of {} MiB in {:.2} s, {:.2} s of it to check the pages; {} MiB live, {} MiB at most: {:.2} times",
        status.queued + status.delayed,
        bytes >> 20,
        took.as_secs_f64(),
        checked.as_secs_f64(),
        after >> 10,
        peak >> 10,
        peak as f64 / after as f64,
    );
    drop(scheduler);
    Ok(journal.close()?)
}

/// A line of what the system says of this process, in KiB.
fn memory(name: &str) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with(name)).context("the system does not say")?;
    Ok(line.split_whitespace().nth(1).context("it has no number")?.parse()?)
}
