//! How fast the journal takes records, and how fast it gives them back.
//!
//! ```text
//! cargo run --release -p ganger-broker --example journal_speed [DIR] [SECONDS]
//! ```
//! One record is one task with a payload of 100 bytes, as it is when clients submit one at a time; the last
//! line packs 4,000 tasks into each record, as it is when they submit in batches. Each batch is one sync.

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ganger_broker::journal::format::{self, Decoder};
use ganger_broker::journal::{Journal, JournalOptions, SqliteJournal};
use ganger_common::TaskId;
use ganger_scheduler::input::NewTask;
use ganger_scheduler::{Lsn, Record, Wall};

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args_os().skip(1);
    let parent = args.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let seconds: u64 = args.next().and_then(|text| text.to_str()?.parse().ok()).unwrap_or(5);
    encoding(1_000_000)?;
    println!("records/batch  tasks/record    tasks/s   syncs/s   p50 ms   p99 ms   max ms   MB/s");
    for (batch, tasks) in [(1, 1), (100, 1), (1000, 1), (4000, 1), (1, 4000)] {
        let dir = parent.join(format!("ganger-journal-speed-{}", std::process::id()));
        let done = writing(&dir, batch, tasks, Duration::from_secs(seconds));
        let read = done.and_then(|()| reading(&dir));
        std::fs::remove_dir_all(&dir)?;
        read?;
    }
    Ok(())
}

/// Encoding and decoding alone, in memory.
fn encoding(count: u64) -> anyhow::Result<()> {
    let records: Vec<Record> = (0..1000).map(|n| record(n, 1)).collect();
    let rounds = count / 1000;
    let mut body = Vec::new();
    let began = Instant::now();
    for _ in 0..rounds {
        body.clear();
        format::begin(&mut body);
        for record in &records {
            format::encode(record, &mut body);
        }
        black_box(&body);
    }
    let encoded = began.elapsed();
    let mut decoder = Decoder::default();
    let began = Instant::now();
    for _ in 0..rounds {
        decoder.decode(&body, 1000, |record| drop(black_box(record)))?;
    }
    let decoded = began.elapsed();
    let million = |took: Duration| count as f64 / took.as_secs_f64() / 1e6;
    println!(
        "{} bytes a record: {:.1} million a second encoded, {:.1} decoded\n",
        body.len() / 1000,
        million(encoded),
        million(decoded)
    );
    Ok(())
}

fn writing(dir: &Path, batch: u64, tasks: u64, span: Duration) -> anyhow::Result<()> {
    let mut journal = SqliteJournal::open(&JournalOptions::new(dir))?;
    journal.read(&mut |_, _| {})?;
    let (mut lsn, mut busy, mut waits) = (0, Duration::ZERO, Vec::new());
    let mut records: Vec<(Lsn, Record)> = Vec::new();
    while busy < span {
        records.extend((1..=batch).map(|n| (Lsn(lsn + n), record(lsn + n, tasks))));
        lsn += batch;
        let began = Instant::now();
        journal.append(&mut records)?;
        let took = began.elapsed();
        busy += took;
        waits.push(took);
    }
    let bytes = journal.usage().log_bytes;
    journal.close()?;
    waits.sort_unstable();
    let at = |part: f64| waits[((waits.len() - 1) as f64 * part) as usize].as_secs_f64() * 1e3;
    let seconds = busy.as_secs_f64();
    print!(
        "{batch:13} {tasks:13} {:10.0} {:9.0} {:8.2} {:8.2} {:8.2} {:6.0}",
        (lsn * tasks) as f64 / seconds,
        waits.len() as f64 / seconds,
        at(0.5),
        at(0.99),
        at(1.0),
        bytes as f64 / seconds / 1e6,
    );
    Ok(())
}

fn reading(dir: &Path) -> anyhow::Result<()> {
    let began = Instant::now();
    let mut journal = SqliteJournal::open(&JournalOptions::new(dir))?;
    let opened = began.elapsed();
    let mut tasks = 0;
    journal.read(&mut |_, record| {
        if let Record::Accepted { tasks: new, .. } = record {
            tasks += new.len();
        }
    })?;
    let took = began.elapsed();
    println!(
        "   read {:.2} million tasks/s ({:.0} ms to check, {:.0} ms to read)",
        tasks as f64 / took.as_secs_f64() / 1e6,
        opened.as_secs_f64() * 1e3,
        (took - opened).as_secs_f64() * 1e3
    );
    Ok(())
}

fn record(number: u64, tasks: u64) -> Record {
    let tasks = (0..tasks).map(|task| {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&number.to_be_bytes());
        id[8..].copy_from_slice(&task.to_be_bytes());
        let payload = Bytes::from_static(&[b'x'; 100]);
        NewTask {
            id: TaskId::from_bytes(id),
            kind: "wordcount.map".into(),
            payload: payload.into(),
            options: None,
        }
    });
    Record::Accepted { at: Wall(1_790_000_000_000 + number), client: None, tasks: tasks.collect() }
}
