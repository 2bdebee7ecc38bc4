//! Messages to inputs.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ganger_common::limits::{BROADCAST_BYTES_MAX, DELAY_MAX, WORKER_SLOTS_MAX};
use ganger_common::message::{self as wire, FromClient, FromWorker};
use ganger_common::{AttemptEnd, ErrorCode, Revision, TaskOptions};
use ganger_scheduler::input::{
    ClientRequest, Discard, EndDetail, Ended, Held, KnowledgeOp, NewTask, TaskFilter, WorkerHello,
    WorkerRequest,
};

use super::refused::{PreRefused, Refused};
use super::undecodable::check_version;
use super::{Keeper, keep};
use crate::kinds::Kinds;

/// What a message turned out to be.
#[derive(Debug)]
pub(crate) enum Incoming<R> {
    /// Something for the scheduler.
    Request(R),
    /// The same, with what else a heartbeat says.
    Heartbeat(R, Beat),
    /// A batch of which the shell refuses some; the rest goes to the scheduler.
    Partly { request: R, refused: PreRefused },
    /// Nothing that the scheduler should see.
    Refused(Refused),
}

/// What a heartbeat says to the shell.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Beat {
    /// Shows what the peer has read.
    pub(crate) mark: u64,
    /// It needs no answer when this is the newest revision.
    pub(crate) quiet: Option<Revision>,
}

fn refused<R>(req: Option<u64>, code: ErrorCode, text: impl Into<String>) -> Incoming<R> {
    Incoming::Refused(Refused::new(req, code, text))
}

/// What a client's message means.
pub(crate) fn client(frame: &Bytes, message: FromClient<'_>, kinds: &mut Kinds) -> Incoming<ClientRequest> {
    let request = match message {
        FromClient::Hello(hello) => {
            if let Err(refused) = check_version(hello.protocol) {
                return Incoming::Refused(refused);
            }
            ClientRequest::Hello { client: hello.client, token: hello.token, name: hello.name.0.to_owned() }
        }
        FromClient::Heartbeat(beat) => {
            return Incoming::Heartbeat(ClientRequest::Heartbeat, Beat { mark: beat.mark, quiet: None });
        }
        FromClient::Submit(submit) => return self::submit(frame, submit, kinds),
        FromClient::Watch(watch) => {
            ClientRequest::Watch { req: watch.req, tasks: watch.tasks.0, events: watch.events }
        }
        FromClient::Ack(ack) => ClientRequest::Ack { upto: ack.upto },
        FromClient::Cancel(list) => ClientRequest::Cancel { req: list.req, tasks: list.tasks.0 },
        FromClient::Retry(list) => ClientRequest::Retry { req: list.req, tasks: list.tasks.0 },
        FromClient::Discard(discard) => return self::discard(discard),
        FromClient::Pause(one) => match named(&one, kinds) {
            Ok(kind) => ClientRequest::Pause { req: one.req, kind },
            Err(refused) => return Incoming::Refused(refused),
        },
        FromClient::Resume(one) => match named(&one, kinds) {
            Ok(kind) => ClientRequest::Resume { req: one.req, kind },
            Err(refused) => return Incoming::Refused(refused),
        },
        FromClient::Fetch(one) => ClientRequest::Fetch { req: one.req, task: one.task },
        FromClient::Payload(one) => ClientRequest::Payload { req: one.req, task: one.task },
        FromClient::Explain(one) => ClientRequest::Explain { req: one.req, task: one.task },
        FromClient::List(list) => ClientRequest::List {
            req: list.req,
            filter: TaskFilter { state: list.state, kind: list.kind.map(|kind| kind.0.to_owned()) },
            after: list.after.map(|after| after.0.to_owned()),
            limit: list.limit,
        },
        FromClient::ListWorkers(page) => ClientRequest::ListWorkers {
            req: page.req,
            after: page.after.map(|after| after.0.to_owned()),
            limit: page.limit,
        },
        FromClient::Status(request) => ClientRequest::Status { req: request.req },
        FromClient::Drain(drain) => ClientRequest::Drain {
            req: drain.req,
            workers: drain.workers.iter().map(|name| name.0.to_owned()).collect(),
            broker: drain.broker,
            deadline: drain.deadline_ms.map(deadline),
        },
        FromClient::Knowledge(request) => match knowledge(frame, &request.op) {
            Ok(op) => ClientRequest::Knowledge { req: request.req, op },
            Err(text) => return refused(Some(request.req), ErrorCode::BadOption, text),
        },
        FromClient::Publish(publish) => {
            let bytes = publish.body.0.len();
            if bytes > BROADCAST_BYTES_MAX {
                let text = format!("a broadcast of {bytes} bytes is over the limit of {BROADCAST_BYTES_MAX}");
                return refused(Some(publish.req), ErrorCode::TooLarge, text);
            }
            let topic = publish.topic.0.to_owned();
            ClientRequest::Publish { req: publish.req, topic, body: keep(frame, publish.body.0) }
        }
        FromClient::Goodbye(_) => ClientRequest::Goodbye,
    };
    Incoming::Request(request)
}

/// Nothing named must not mean everything: either tasks, or what they have in common.
fn discard(discard: wire::Discard<'_>) -> Incoming<ClientRequest> {
    let req = discard.req;
    let which = match (discard.tasks.is_empty(), discard.among) {
        (false, None) if discard.kind.is_none() && discard.after.is_none() => Discard::Tasks(discard.tasks.0),
        (true, Some(among)) => Discard::All {
            among,
            kind: discard.kind.map(|kind| kind.0.to_owned()),
            after: discard.after.map(|after| after.0.to_owned()),
        },
        _ => {
            let text = "discard: name tasks, or say among which, and of which kind";
            return refused(Some(req), ErrorCode::BadOption, text);
        }
    };
    Incoming::Request(ClientRequest::Discard { req, which })
}

fn named(one: &wire::OneKind<'_>, kinds: &mut Kinds) -> Result<Arc<str>, Refused> {
    match one.kind.is_empty() {
        true => Err(Refused::new(Some(one.req), ErrorCode::BadOption, "the kind is empty")),
        false => Ok(kinds.name(&one.kind)),
    }
}

/// Tasks with options that are out of range are refused here, one by one; the others go on.
fn submit(frame: &Bytes, submit: wire::Submit<'_>, kinds: &mut Kinds) -> Incoming<ClientRequest> {
    let mut refused = PreRefused::default();
    let mut tasks = Vec::with_capacity(submit.tasks.len());
    let mut keeper = Keeper::of(frame);
    for (place, task) in submit.tasks.into_iter().enumerate() {
        if let Err((code, text)) = check(&task) {
            refused.refuse(place, code, text);
            continue;
        }
        refused.pass(place);
        tasks.push(NewTask {
            id: task.id,
            kind: kinds.name(&task.kind),
            payload: keeper.keep(task.payload.0).into(),
            options: task.options.filter(|options: &TaskOptions| !options.is_default()).map(Box::new),
        });
    }
    let request = ClientRequest::Submit { seq: submit.seq, again: submit.again, tasks };
    match refused.is_empty() {
        true => Incoming::Request(request),
        false => Incoming::Partly { request, refused },
    }
}

fn check(task: &wire::NewTask<'_>) -> Result<(), (ErrorCode, String)> {
    if task.kind.is_empty() {
        return Err((ErrorCode::BadOption, "the kind is empty".to_owned()));
    }
    task.options.as_ref().map_or(Ok(()), TaskOptions::check)
}

/// What a worker's message means.
pub(crate) fn worker(frame: &Bytes, message: FromWorker<'_>, kinds: &mut Kinds) -> Incoming<WorkerRequest> {
    let request = match message {
        FromWorker::Hello(hello) => {
            if let Err(refused) = check_version(hello.protocol) {
                return Incoming::Refused(refused);
            }
            match worker_hello(&hello, kinds) {
                Ok(hello) => WorkerRequest::Hello(hello),
                Err(text) => return refused(None, ErrorCode::BadOption, text),
            }
        }
        FromWorker::Heartbeat(beat) => {
            let request = WorkerRequest::Heartbeat { revision: beat.revision };
            let quiet = beat.quiet.then_some(beat.revision);
            return Incoming::Heartbeat(request, Beat { mark: beat.mark, quiet });
        }
        FromWorker::Report(report) => match ends(frame, &report) {
            Ok(ended) => WorkerRequest::Report {
                seq: report.seq,
                started: report.started.0,
                ended,
                waiting: report.waiting,
                recall: report.recall,
            },
            Err(text) => return refused(None, ErrorCode::BadMessage, text),
        },
        FromWorker::Progress(progress) => WorkerRequest::Progress {
            lease: progress.lease,
            fraction: progress.fraction.filter(|fraction| fraction.is_finite()),
            text: progress.text.0.to_owned(),
        },
        FromWorker::Partial(partial) => WorkerRequest::Partial {
            lease: partial.lease,
            index: partial.index,
            data: keep(frame, partial.data.0),
        },
        FromWorker::Drain(drain) => WorkerRequest::Drain { deadline: drain.deadline_ms.map(deadline) },
        FromWorker::Knowledge(request) => match knowledge(frame, &request.op) {
            Ok(op) => WorkerRequest::Knowledge { req: request.req, op },
            Err(text) => return refused(Some(request.req), ErrorCode::BadOption, text),
        },
        FromWorker::Goodbye(_) => WorkerRequest::Goodbye,
    };
    Incoming::Request(request)
}

fn deadline(millis: u64) -> Duration {
    Duration::from_millis(millis).min(DELAY_MAX)
}

fn worker_hello(hello: &wire::WorkerHello<'_>, kinds: &mut Kinds) -> Result<WorkerHello, String> {
    if hello.slots == 0 || hello.slots > WORKER_SLOTS_MAX {
        return Err(format!("slots: {} is not from 1 to {WORKER_SLOTS_MAX}", hello.slots));
    }
    if hello.kinds.is_empty() || hello.kinds.iter().any(|kind| kind.is_empty()) {
        return Err("kinds: a worker serves at least one, and none has an empty name".to_owned());
    }
    Ok(WorkerHello {
        worker: hello.worker,
        token: hello.token,
        name: hello.name.0.to_owned(),
        host: hello.host.0.to_owned(),
        pid: hello.pid,
        kinds: distinct(hello.kinds.iter().map(|kind| kinds.name(kind))),
        slots: hello.slots,
        holding: hello.holding.iter().map(held).collect(),
        revision: hello.revision,
        draining: hello.draining,
    })
}

fn distinct(kinds: impl Iterator<Item = Arc<str>>) -> Vec<Arc<str>> {
    let mut kinds: Vec<Arc<str>> = kinds.collect();
    kinds.sort_unstable();
    kinds.dedup();
    kinds
}

fn held(held: &wire::Held) -> Held {
    let lease = wire::Lease { task: held.task, epoch: held.epoch, attempt: held.attempt };
    Held { lease, started: held.started }
}

fn ends(frame: &Bytes, report: &wire::Report<'_>) -> Result<Vec<Ended>, String> {
    let mut keeper = Keeper::of(frame);
    report.ended.iter().map(|ended| end(&mut keeper, ended)).collect()
}

fn end(keeper: &mut Keeper<'_>, report: &wire::AttemptReport<'_>) -> Result<Ended, String> {
    let end = AttemptEnd::from_code(report.end)
        .filter(|end| !matches!(end, AttemptEnd::Crashed | AttemptEnd::Lost))
        .ok_or_else(|| format!("report: a worker cannot report the end {}", report.end))?;
    let detail = report.detail.as_ref().map(|detail| {
        Box::new(EndDetail {
            error: detail.error.map(|error| error.0.to_owned()),
            is_final: detail.is_final,
            // A later try is none; more would only tempt sums of times to overflow.
            retry_after: detail.retry_after_ms.map(|after| Duration::from_millis(after).min(DELAY_MAX)),
        })
    });
    Ok(Ended {
        task: report.task,
        epoch: report.epoch,
        attempt: report.attempt,
        end,
        run_us: report.run_us,
        result: keeper.keep(report.result.0),
        detail,
    })
}

fn knowledge(frame: &Bytes, op: &wire::KnowledgeOp<'_>) -> Result<KnowledgeOp, &'static str> {
    let named = |topic: &str, key: &str| match topic.is_empty() || key.is_empty() {
        true => Err("topic and key must not be empty"),
        false => Ok((topic.to_owned(), key.to_owned())),
    };
    Ok(match op {
        wire::KnowledgeOp::Put { topic, key, value, expect } => {
            let (topic, key) = named(topic, key)?;
            KnowledgeOp::Put { topic, key, value: keep(frame, value.0), expect: *expect }
        }
        wire::KnowledgeOp::Delete { topic, key, expect } => {
            let (topic, key) = named(topic, key)?;
            KnowledgeOp::Delete { topic, key, expect: *expect }
        }
        wire::KnowledgeOp::Get { topic, key } => {
            let (topic, key) = named(topic, key)?;
            KnowledgeOp::Get { topic, key }
        }
        wire::KnowledgeOp::List { prefix, after, keys_only, limit } => KnowledgeOp::List {
            prefix: prefix.0.to_owned(),
            after: after.as_ref().map(|(topic, key)| (topic.0.to_owned(), key.0.to_owned())),
            keys_only: *keys_only,
            limit: *limit,
        },
        wire::KnowledgeOp::Since { revision } => KnowledgeOp::Since { revision: *revision },
        wire::KnowledgeOp::Status {} => KnowledgeOp::Status,
    })
}
