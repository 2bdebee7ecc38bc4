//! Records to bytes.

use std::sync::Arc;

use bytes::Bytes;
use ganger_common::{ClientId, TaskId, TaskOptions, TraceState, WorkerId};
use ganger_scheduler::input::NewTask;
use ganger_scheduler::record::{AttemptEnded, Cause, Change, Record, Settlement};

use super::write::{Spans, Writer};
use super::{VERSION, carry, tag};

/// Begins a body: the version of the format.
pub fn begin(body: &mut Vec<u8>) {
    Writer::new(body).uint(VERSION);
}

/// Appends a record to a body that was begun.
///
/// # Panics
/// When the record only names a payload or a result: whoever writes it fetches that first.
pub fn encode(record: &Record, body: &mut Vec<u8>) {
    encode_noting(record, body, Spans::from(usize::MAX));
}

/// The same, and says where large values stand in the body.
pub(crate) fn encode_noting(record: &Record, body: &mut Vec<u8>, spans: Spans) -> Spans {
    let mut to = Writer::noting(body, spans);
    match record {
        Record::Started { epoch } => {
            to.array(2);
            to.uint(tag::STARTED);
            to.uint(epoch.0);
        }
        Record::Accepted { at, client, tasks } => {
            to.array(if client.is_some() { 4 } else { 3 });
            to.uint(tag::ACCEPTED);
            to.wall(*at);
            let mut kind = None;
            to.list(tasks, |to, task| new_task(to, task, &mut kind));
            if let Some(client) = client {
                client_id(&mut to, *client);
            }
        }
        Record::AttemptEnded(ended) => {
            to.array(2);
            to.uint(tag::ATTEMPT_ENDED);
            attempt_ended(&mut to, ended);
        }
        Record::Settled { at, tasks } => {
            to.array(3);
            to.uint(tag::SETTLED);
            to.wall(*at);
            to.list(tasks, settlement);
        }
        Record::Retried { at, tasks } => {
            to.array(3);
            to.uint(tag::RETRIED);
            to.wall(*at);
            to.list(tasks, |to, id| task_id(to, *id));
        }
        Record::Forgotten { settled, dead } => {
            to.array(3);
            to.uint(tag::FORGOTTEN);
            to.uint(*settled);
            to.uint(*dead);
        }
        Record::Discarded { tasks } => {
            to.array(2);
            to.uint(tag::DISCARDED);
            to.list(tasks, |to, id| task_id(to, *id));
        }
        Record::KindPaused { kind } => {
            to.array(2);
            to.uint(tag::KIND_PAUSED);
            to.text(kind);
        }
        Record::KindResumed { kind } => {
            to.array(2);
            to.uint(tag::KIND_RESUMED);
            to.text(kind);
        }
        Record::Knowledge(new) => {
            to.array(2);
            to.uint(tag::KNOWLEDGE);
            change(&mut to, new);
        }
        Record::WorkerJoined { worker } => {
            to.array(2);
            to.uint(tag::WORKER_JOINED);
            worker_id(&mut to, *worker);
        }
        Record::WorkerLeft { worker } => {
            to.array(2);
            to.uint(tag::WORKER_LEFT);
            worker_id(&mut to, *worker);
        }
        Record::CarryBegun(head) => {
            to.array(2);
            to.uint(tag::CARRY_BEGUN);
            carry::write_head(&mut to, head);
        }
        Record::CarriedTasks(tasks) => {
            to.array(2);
            to.uint(tag::CARRIED_TASKS);
            let mut before = carry::Before::default();
            to.list(tasks, |to, task| carry::write_task(to, task, &mut before));
        }
        Record::CarriedTopic(topic) => {
            to.array(2);
            to.uint(tag::CARRIED_TOPIC);
            carry::write_topic(&mut to, topic);
        }
        Record::CarriedHistory(changes) => {
            to.array(2);
            to.uint(tag::CARRIED_HISTORY);
            to.list(changes, change);
        }
        Record::CarryEnded { from } => {
            to.array(2);
            to.uint(tag::CARRY_ENDED);
            to.uint(from.0);
        }
    }
    to.into_spans()
}

/// A task as it was handed in. Its kind is nil where it is that of the task before: tasks that come
/// together are nearly always of one kind.
pub(crate) fn new_task<'a>(to: &mut Writer<'_>, task: &'a NewTask, kind: &mut Option<&'a Arc<str>>) {
    to.array(4);
    task_id(to, task.id);
    match kind.replace(&task.kind) {
        Some(before) if *before == task.kind => to.nil(),
        _ => to.text(&task.kind),
    }
    to.data(&task.payload);
    to.option(task.options.as_deref(), options);
}

fn options(to: &mut Writer<'_>, options: &TaskOptions) {
    // Taken apart by name, so that a new option cannot be forgotten here.
    let TaskOptions {
        priority,
        delay_ms,
        ttl_ms,
        run_limit_ms,
        max_attempts,
        crash_limit,
        backoff_ms,
        knowledge,
        detached,
        events,
        trace,
        trace_state,
        account,
    } = options;
    to.array(match (trace, account) {
        (Some(_), _) => 13,
        (None, Some(_)) => 11,
        (None, None) => 10,
    });
    to.int(i64::from(*priority));
    to.uint(*delay_ms);
    to.option(*ttl_ms, Writer::uint);
    to.option(*run_limit_ms, Writer::uint);
    to.option(max_attempts.map(u64::from), Writer::uint);
    to.option(crash_limit.map(u64::from), Writer::uint);
    to.option(*backoff_ms, Writer::uint);
    to.option(knowledge.map(|revision| revision.0), Writer::uint);
    to.flag(*detached);
    to.flag(*events);
    match (account, trace) {
        (Some(account), _) => to.bin(&account.0),
        (None, Some(_)) => to.nil(),
        (None, None) => {}
    }
    if let Some(trace) = trace {
        to.text(&trace.to_string());
        to.option(trace_state.as_ref().map(TraceState::as_str), Writer::text);
    }
}

pub(crate) fn attempt_ended(to: &mut Writer<'_>, ended: &AttemptEnded) {
    let AttemptEnded { task, attempt, worker, worker_name, end, at, run_us, error, retry_at } = ended;
    to.array(9);
    task_id(to, *task);
    to.uint(u64::from(attempt.0));
    worker_id(to, *worker);
    to.text(worker_name);
    to.uint(u64::from(end.code()));
    to.wall(*at);
    to.uint(*run_us);
    to.option(error.as_deref(), Writer::text);
    to.option(*retry_at, Writer::wall);
}

fn settlement(to: &mut Writer<'_>, settlement: &Settlement) {
    let Settlement { task, outcome, attempt, worker, cause, result, ended } = settlement;
    to.array(7);
    task_id(to, *task);
    to.uint(u64::from(outcome.code()));
    to.uint(u64::from(attempt.0));
    to.option(*worker, worker_id);
    to.uint(cause_code(*cause));
    to.data(result);
    to.option(ended.as_deref(), attempt_ended);
}

fn change(to: &mut Writer<'_>, change: &Change) {
    let Change { revision, topic, key, value } = change;
    to.array(4);
    to.uint(revision.0);
    to.text(topic);
    to.text(key);
    to.option(value.as_ref(), |to, value: &Bytes| to.bytes(value));
}

fn task_id(to: &mut Writer<'_>, id: TaskId) {
    to.bin(id.as_bytes());
}

pub(crate) fn client_id(to: &mut Writer<'_>, id: ClientId) {
    to.bin(id.as_bytes());
}

pub(crate) fn worker_id(to: &mut Writer<'_>, id: WorkerId) {
    to.bin(id.as_bytes());
}

pub(crate) fn cause_code(cause: Cause) -> u64 {
    match cause {
        Cause::Result => 0,
        Cause::Final => 1,
        Cause::Failures => 2,
        Cause::Timeouts => 3,
        Cause::Crashes => 4,
        Cause::Cancelled => 5,
        Cause::Expired => 6,
    }
}
