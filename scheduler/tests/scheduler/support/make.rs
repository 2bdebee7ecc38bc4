//! Tasks, leases and reports in few words.

use std::time::Duration;

use bytes::Bytes;
use ganger_common::message::Lease;
use ganger_common::{Attempt, AttemptEnd, Epoch, TaskId, TaskOptions};
use ganger_scheduler::input::{EndDetail, Ended, Held, NewTask};

/// The kind that tests use when it does not matter.
pub(crate) const KIND: &str = "work";

pub(crate) fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub(crate) fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// The id of the n-th task. Ids sort like their numbers.
pub(crate) fn id(n: u32) -> TaskId {
    let mut bytes = [7; 16];
    bytes[..4].copy_from_slice(&n.to_be_bytes());
    TaskId::from_bytes(bytes)
}

/// The number behind an id.
pub(crate) fn number(id: TaskId) -> u32 {
    let bytes = id.as_bytes();
    u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

pub(crate) fn task(n: u32) -> NewTask {
    NewTask {
        id: id(n),
        kind: KIND.into(),
        payload: format!("payload {n}").into_bytes().into(),
        options: None,
    }
}

pub(crate) fn tasks(numbers: impl IntoIterator<Item = u32>) -> Vec<NewTask> {
    numbers.into_iter().map(task).collect()
}

pub(crate) fn task_of(kind: &str, n: u32) -> NewTask {
    NewTask { kind: kind.into(), ..task(n) }
}

pub(crate) fn task_with(n: u32, set: impl FnOnce(&mut TaskOptions)) -> NewTask {
    let mut options = TaskOptions::default();
    set(&mut options);
    options.check().expect("options that a decoder lets through");
    NewTask { options: Some(Box::new(options)), ..task(n) }
}

pub(crate) fn lease(n: u32, attempt: u32) -> Lease {
    lease_of(1, n, attempt)
}

pub(crate) fn lease_of(epoch: u64, n: u32, attempt: u32) -> Lease {
    Lease { task: id(n), epoch: Epoch(epoch), attempt: Attempt(attempt) }
}

pub(crate) fn held(n: u32, attempt: u32) -> Held {
    Held { lease: lease(n, attempt), started: false }
}

pub(crate) fn held_started(n: u32, attempt: u32) -> Held {
    Held { lease: lease(n, attempt), started: true }
}

pub(crate) fn ended(n: u32, attempt: u32, end: AttemptEnd) -> Ended {
    ended_of(lease(n, attempt), end)
}

pub(crate) fn ended_of(lease: Lease, end: AttemptEnd) -> Ended {
    let result = match end {
        AttemptEnd::Succeeded => result(number(lease.task)),
        _ => Bytes::new(),
    };
    let Lease { task, epoch, attempt } = lease;
    Ended { task, epoch, attempt, end, run_us: 1_000_000, result, detail: None }
}

/// What every success of the n-th task brings.
pub(crate) fn result(n: u32) -> Bytes {
    Bytes::from(format!("result {n}"))
}

pub(crate) fn success(n: u32, attempt: u32) -> Ended {
    ended(n, attempt, AttemptEnd::Succeeded)
}

pub(crate) fn failure(n: u32, attempt: u32) -> Ended {
    failure_with(n, attempt, |_| ())
}

pub(crate) fn failure_with(n: u32, attempt: u32, set: impl FnOnce(&mut EndDetail)) -> Ended {
    let mut detail = EndDetail { error: Some(format!("failure {attempt}")), ..EndDetail::default() };
    set(&mut detail);
    Ended { detail: Some(Box::new(detail)), ..ended(n, attempt, AttemptEnd::Failed) }
}
