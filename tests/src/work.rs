//! The kinds that the diarist serves, and the tasks that ask for them.
//!
//! A payload is an argument, a line break, and something that makes it unlike every other payload, so that a
//! task that ran with another task's payload shows. Every handler writes its start first and its
//! finish last, and returns who it was.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ganger_client::NewTask;
use ganger_common::{TaskId, TaskOptions};
use uuid::Uuid;

/// Waits for some microseconds without using the processor.
pub const SLEEP: &str = "diary.sleep";
/// Waits for some microseconds, unless it is told to stop, and returns its payload the other way round, so
/// that a result shows of which bytes it was made; see [`mirrored`].
pub const MIRROR: &str = "diary.mirror";
/// Uses the processor for some microseconds.
pub const SPIN: &str = "diary.spin";
/// Runs until a file exists, or one of that name with a dot and the worker's name.
pub const GATE: &str = "diary.gate";
/// Fails in the first few attempts.
pub const FLAKY: &str = "diary.flaky";
/// Takes its worker down in the first few attempts.
pub const CRASH: &str = "diary.crash";
/// Returns the revision that the worker's replica had when the handler was entered.
pub const REVISION: &str = "diary.revision";
/// Every kind that all diarists serve.
pub const KINDS: [&str; 7] = [SLEEP, MIRROR, SPIN, GATE, FLAKY, CRASH, REVISION];

/// The kind that returns some topics of the replica of one worker, as the JSON of a [`Replica`]. Its argument
/// is the topics with commas between them.
pub fn replica_kind(worker: &str) -> String {
    format!("diary.replica.{worker}")
}

/// What a worker knows.
#[derive(Clone, PartialEq, Eq, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct Replica {
    /// The revision that it has applied.
    pub revision: u64,
    /// Every entry, `topic/key` to the checksum of its value.
    pub entries: std::collections::BTreeMap<String, u32>,
}

/// A task that sleeps.
pub fn sleep(span: Duration) -> NewTask {
    task(SLEEP, span.as_micros())
}

/// A task that computes.
pub fn spin(span: Duration) -> NewTask {
    task(SPIN, span.as_micros())
}

/// A task that runs until the gate is open.
pub fn gate(path: &Path) -> NewTask {
    task(GATE, path.display())
}

/// A task that fails in its first attempts, and does not rest long between them.
pub fn flaky(failures: u32) -> NewTask {
    task(FLAKY, failures).options(TaskOptions { backoff_ms: Some(50), ..TaskOptions::default() })
}

/// A task that takes its worker down in its first attempts, each time as soon as the gate is open: what
/// comes of that depends on whether the broker knows that the task has started, which only the test can see.
pub fn crash(crashes: u32, gate: &Path) -> NewTask {
    task(CRASH, format_args!("{crashes} {}", gate.display()))
}

/// A task of any kind, with a fresh id and a payload like no other.
pub fn task(kind: impl Into<Arc<str>>, argument: impl std::fmt::Display) -> NewTask {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let payload = format!("{argument}\n{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    NewTask::new(kind, payload).id(fresh_id())
}

/// The argument of a payload.
pub fn argument(payload: &[u8]) -> &str {
    let line = payload.split(|byte| *byte == b'\n').next().unwrap_or_default();
    std::str::from_utf8(line).unwrap_or_default()
}

/// What a handler returns: its attempt and its worker.
pub fn signature(attempt: u32, worker: &str) -> String {
    format!("{attempt} {worker}")
}

/// What the handler of [`MIRROR`] returns: who it was, a line break, and the payload from its end to its
/// beginning.
pub fn mirrored(attempt: u32, worker: &str, payload: &[u8]) -> Vec<u8> {
    let mut result = signature(attempt, worker).into_bytes();
    result.push(b'\n');
    result.extend(payload.iter().rev());
    result
}

/// Opens a gate for everybody.
///
/// # Panics
/// When the file cannot be made.
pub fn open_gate(path: &Path) {
    std::fs::write(path, b"").unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

/// Opens a gate for one worker.
///
/// # Panics
/// When the file cannot be made.
pub fn open_gate_for(path: &Path, worker: &str) {
    open_gate(Path::new(&format!("{}.{worker}", path.display())));
}

/// An empty task of a kind of the stock worker.
pub fn plain(kind: &str) -> NewTask {
    NewTask::new(kind, "").id(fresh_id())
}

/// An id for a task.
pub fn fresh_id() -> TaskId {
    TaskId(Uuid::now_v7())
}
