//! How large the directory of a journal becomes under a steady load, and how long batches wait meanwhile.
//!
//! ```text
//! cargo run --release -p ganger-broker --example journal_steady [DIR] [MILLION_TASKS] [LIVE_TASKS]
//! ```
//! So many tasks wait at any time; as many are settled as come. The state is carried as a broker does it: when
//! the log has outgrown it, a megabyte at a time between the other records, and what came before is trimmed.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ganger_broker::journal::{Journal, JournalOptions, SqliteJournal};
use ganger_common::{Attempt, Epoch, Outcome, Revision, TaskId, WorkerId};
use ganger_scheduler::input::NewTask;
use ganger_scheduler::record::{CarriedTask, CarryHead, Cause, Settlement};
use ganger_scheduler::{Data, Lsn, Record, Wall};

/// Tasks that come and go in one record.
const TASKS_A_RECORD: usize = 200;
const PAYLOAD_BYTES: usize = 200;
/// What a live task takes, encoded: what "live" means in the bound.
const TASK_BYTES: u64 = 16 + 3 + PAYLOAD_BYTES as u64 + 30;
/// Tasks that are carried between two batches.
const CARRIED_A_TURN: usize = 4_000;

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let parent = args.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let millions: u64 = args.next().map_or(Ok(20), |text| text.parse())?;
    let live: usize = args.next().map_or(Ok(200_000), |text| text.parse())?;
    let dir = parent.join(format!("ganger-journal-steady-{}", std::process::id()));
    let mut load = Load::new(&dir)?;
    let done = load.run(millions * 1_000_000, live);
    std::fs::remove_dir_all(&dir)?;
    done
}

struct Load {
    dir: PathBuf,
    journal: SqliteJournal,
    last: Lsn,
    tasks: u64,
    live: VecDeque<NewTask>,
    /// Where the walk began, and how many of the live tasks, from the front, are still to be carried.
    walk: Option<(Lsn, usize)>,
    carried_bytes: u64,
    walks: u64,
    waits: Vec<Duration>,
}

impl Load {
    fn new(dir: &Path) -> anyhow::Result<Self> {
        let mut journal = SqliteJournal::open(&JournalOptions::new(dir))?;
        journal.read(&mut |_, _| {})?;
        Ok(Self {
            dir: dir.to_owned(),
            journal,
            last: Lsn(0),
            tasks: 0,
            live: VecDeque::new(),
            walk: None,
            carried_bytes: 0,
            walks: 0,
            waits: Vec::new(),
        })
    }

    fn run(&mut self, tasks: u64, live: usize) -> anyhow::Result<()> {
        let bound = 3 * live as u64 * TASK_BYTES + (64 << 20);
        let (mut largest, mut turns) = (0, 0_u64);
        let began = Instant::now();
        while self.tasks < tasks {
            let mut batch = Vec::new();
            // As many records as come together while a sync is under way.
            for _ in 0..5 {
                self.accept(&mut batch);
                if self.live.len() > live {
                    self.settle(&mut batch);
                }
            }
            self.carry(&mut batch);
            let since = Instant::now();
            self.journal.append(&mut batch)?;
            self.waits.push(since.elapsed());
            turns += 1;
            if turns.is_multiple_of(100) {
                largest = largest.max(size(&self.dir)?);
            }
        }
        let seconds = began.elapsed().as_secs_f64();
        self.waits.sort_unstable();
        let at = |part: f64| self.waits[((self.waits.len() - 1) as f64 * part) as usize].as_secs_f64() * 1e3;
        let mib = |bytes: u64| bytes >> 20;
        println!(
            "{} million tasks in {seconds:.0} s ({:.0} a second), {} walks; live {} MiB; directory at most {} MiB \
             of {} MiB that are allowed; a batch waited p50 {:.1} ms, p99 {:.1} ms, at most {:.1} ms",
            self.tasks / 1_000_000,
            self.tasks as f64 / seconds,
            self.walks,
            mib(live as u64 * TASK_BYTES),
            mib(largest),
            mib(bound),
            at(0.5),
            at(0.99),
            at(1.0),
        );
        anyhow::ensure!(largest <= bound, "the directory outgrew its bound");
        Ok(())
    }

    fn push(&mut self, batch: &mut Vec<(Lsn, Record)>, record: Record) {
        self.last.0 += 1;
        batch.push((self.last, record));
    }

    fn accept(&mut self, batch: &mut Vec<(Lsn, Record)>) {
        let tasks: Vec<NewTask> = (0..TASKS_A_RECORD).map(|_| self.new_task()).collect();
        self.live.extend(tasks.iter().cloned());
        self.push(batch, Record::Accepted { at: Wall(self.tasks), client: None, tasks });
    }

    fn new_task(&mut self) -> NewTask {
        self.tasks += 1;
        let mut id = [0; 16];
        id[8..].copy_from_slice(&self.tasks.to_be_bytes());
        let payload = Bytes::from_static(&[b'x'; PAYLOAD_BYTES]);
        NewTask {
            id: TaskId::from_bytes(id),
            kind: "wordcount.map".into(),
            payload: payload.into(),
            options: None,
        }
    }

    fn settle(&mut self, batch: &mut Vec<(Lsn, Record)>) {
        let done: Vec<Settlement> =
            self.live.drain(..TASKS_A_RECORD).map(|task| settlement(task.id)).collect();
        if let Some((_, left)) = &mut self.walk {
            *left = left.saturating_sub(TASKS_A_RECORD);
        }
        self.push(batch, Record::Settled { at: Wall(self.tasks), tasks: done });
    }

    /// Begins to carry when it is time, goes on a part, and trims at the end.
    fn carry(&mut self, batch: &mut Vec<(Lsn, Record)>) {
        let Some((from, left)) = self.walk else {
            let live = self.live.len() as u64 * TASK_BYTES;
            let enough = (16 << 20) + (live * 16 / 10).max(self.carried_bytes * 13 / 10);
            if self.journal.usage().log_bytes > enough {
                let (epoch, revision) = (Epoch(1), Revision(0));
                let head =
                    CarryHead { epoch, seq: self.tasks, revision, workers: Vec::new(), paused: Vec::new() };
                self.push(batch, Record::CarryBegun(head));
                self.walk = Some((self.last, self.live.len()));
                self.carried_bytes = 0;
            }
            return;
        };
        if left == 0 {
            self.push(batch, Record::CarryEnded { from });
            // One batch too early would be wrong in a broker: here nothing is ever recovered.
            let _ = self.journal.trim(from);
            self.walk = None;
            self.walks += 1;
            return;
        }
        let count = left.min(CARRIED_A_TURN);
        let carried: Vec<CarriedTask> =
            self.live.range(left - count..left).cloned().map(as_carried).collect();
        self.carried_bytes += carried.len() as u64 * TASK_BYTES;
        self.push(batch, Record::CarriedTasks(carried));
        self.walk = Some((from, left - count));
    }
}

fn settlement(task: TaskId) -> Settlement {
    Settlement {
        task,
        outcome: Outcome::Succeeded,
        attempt: Attempt(1),
        worker: Some(WorkerId::from_bytes([1; 16])),
        cause: Cause::Result,
        result: Data::default(),
        ended: None,
    }
}

fn as_carried(task: NewTask) -> CarriedTask {
    CarriedTask {
        task,
        submitted: Wall(1_790_000_000_000),
        client: None,
        seq: 1,
        attempt: Attempt(0),
        failures: 0,
        timeouts: 0,
        crashes: 0,
        began: false,
        confirm: false,
        history: Vec::new(),
        settled: None,
    }
}

/// Bytes that a directory takes on the disk.
fn size(dir: &Path) -> anyhow::Result<u64> {
    use std::os::unix::fs::MetadataExt;
    let sizes = std::fs::read_dir(dir)?.map(|entry| Ok(entry?.metadata()?.blocks() * 512));
    sizes.sum()
}
