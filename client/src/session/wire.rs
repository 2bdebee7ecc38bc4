//! Between the messages of the protocol, which borrow, and the values of the session, which own.

use bytes::Bytes;
use ganger_common::codec::{Blob, List, Text};
use ganger_common::message::{self as wire, FromClient, KnowledgeAnswer, KnowledgeOp, KnowledgeRequest};
use ganger_common::{Outcome, encode};

use super::event::{Broker, TaskEvent};
use super::request::{Answer, Ask, Change, Entry, Refused, Reply, Request};
use crate::error::Error;
use crate::task::TaskOutcome;

/// A frame of at most this many bytes may live as long as the smallest result in it.
const SHARED_FRAME_MAX: usize = 32 << 10;

/// A piece of a frame that may live on. A small piece of a large frame is copied: it would keep all of it.
pub(super) fn own(frame: &Bytes, piece: &[u8]) -> Bytes {
    if piece.is_empty() {
        return Bytes::new();
    }
    match frame.len() <= SHARED_FRAME_MAX || piece.len() >= frame.len() / 4 {
        true => frame.slice_ref(piece),
        false => Bytes::copy_from_slice(piece),
    }
}

pub(super) fn broker(welcome: &wire::Welcome<'_>) -> Broker {
    Broker {
        name: welcome.broker.to_string(),
        epoch: welcome.epoch,
        durability: welcome.durability,
        // A heartbeat of zero would never let the session rest.
        heartbeat: std::time::Duration::from_millis(u64::from(welcome.heartbeat_ms.max(1))),
        liveness: welcome.liveness.max(1),
        payload_bytes_max: usize::try_from(welcome.payload_bytes_max).unwrap_or(usize::MAX),
        batch_items_max: (welcome.batch_items_max as usize).clamp(1, ganger_common::limits::BATCH_ITEMS_MAX),
        revision: welcome.revision,
        knowledge_port: welcome.knowledge_port,
    }
}

/// The outcome of one task, if this version knows it.
pub(super) fn outcome(frame: &Bytes, item: &wire::OutcomeItem<'_>) -> Option<TaskOutcome> {
    let detail = item.detail.as_ref();
    Some(TaskOutcome {
        id: item.task,
        outcome: Outcome::from_code(item.outcome)?,
        attempt: item.attempt,
        result: own(frame, item.result.0),
        error: detail.and_then(|detail| detail.error.map(|text| text.to_string())),
        result_dropped: detail.is_some_and(|detail| detail.result_dropped),
    })
}

pub(super) fn progress(told: &wire::TaskProgress<'_>) -> TaskEvent {
    TaskEvent::Progress { attempt: told.attempt, fraction: told.fraction, text: told.text.to_string() }
}

pub(super) fn partial(frame: &Bytes, told: &wire::TaskPartial<'_>) -> TaskEvent {
    TaskEvent::Partial { attempt: told.attempt, index: told.index, data: own(frame, told.data.0) }
}

pub(super) fn verdicts(refused: &[wire::Verdict<'_>]) -> Vec<Refused> {
    let refused = refused.iter().map(|verdict| Refused {
        index: verdict.index as usize,
        code: verdict.code,
        text: verdict.text.to_string(),
    });
    refused.collect()
}

pub(super) fn knowledge(frame: &Bytes, answer: KnowledgeAnswer<'_>) -> Answer {
    let entry = |item: wire::EntryItem<'_>| Entry {
        topic: item.topic.to_string(),
        key: item.key.to_string(),
        revision: item.revision,
        value: item.value.map(|value| own(frame, value.0)),
    };
    let change = |item: wire::ChangeItem<'_>| Change {
        revision: item.revision,
        topic: item.topic.to_string(),
        key: item.key.to_string(),
        value: item.value.map(|value| own(frame, value.0)),
    };
    Answer::Knowledge(match answer {
        KnowledgeAnswer::Written { revision } => Reply::Written(revision),
        KnowledgeAnswer::Entry(item) => Reply::Entry(entry(item)),
        KnowledgeAnswer::Entries { revision, items, more } => {
            Reply::Entries { revision, items: items.into_iter().map(entry).collect(), more }
        }
        KnowledgeAnswer::Changes { revision, items } => {
            Reply::Changes { revision, items: items.into_iter().map(change).collect() }
        }
        KnowledgeAnswer::Status(status) => Reply::Status(Box::new(status)),
    })
}

pub(super) fn error(reply: &wire::ErrorReply<'_>) -> Error {
    Error::Refused {
        code: reply.code,
        text: reply.text.to_string(),
        retry_after: reply.retry_after_ms.map(|ms| std::time::Duration::from_millis(u64::from(ms))),
    }
}

/// The message that asks a question.
pub(super) fn request(req: u64, request: &Request) -> Bytes {
    encode(&match request {
        Request::Cancel(tasks) => FromClient::Cancel(wire::TaskList { req, tasks: List(tasks.clone()) }),
        Request::Retry(tasks) => FromClient::Retry(wire::TaskList { req, tasks: List(tasks.clone()) }),
        Request::Discard(tasks) => {
            let (among, kind, after) = (None, None, None);
            FromClient::Discard(wire::Discard { req, tasks: List(tasks.clone()), among, kind, after })
        }
        Request::DiscardAll(query) => FromClient::Discard(wire::Discard {
            req,
            tasks: List(Vec::new()),
            among: Some(query.among),
            kind: query.kind.as_deref().map(Text),
            after: query.after.as_deref().map(Text),
        }),
        Request::Pause { kind } => FromClient::Pause(wire::OneKind { req, kind: Text(kind) }),
        Request::Resume { kind } => FromClient::Resume(wire::OneKind { req, kind: Text(kind) }),
        Request::Fetch(task) => FromClient::Fetch(wire::OneTask { req, task: *task }),
        Request::Payload(task) => FromClient::Payload(wire::OneTask { req, task: *task }),
        Request::Explain(task) => FromClient::Explain(wire::OneTask { req, task: *task }),
        Request::List(query) => FromClient::List(wire::ListTasks {
            req,
            state: query.state,
            kind: query.kind.as_deref().map(Text),
            after: query.after.as_deref().map(Text),
            limit: query.limit,
        }),
        Request::Workers { after } => {
            FromClient::ListWorkers(wire::Page { req, after: after.as_deref().map(Text), limit: None })
        }
        Request::Status => FromClient::Status(wire::Request { req }),
        Request::Drain { workers, broker, deadline } => FromClient::Drain(wire::Drain {
            req,
            workers: workers.iter().map(|worker| Text(worker.as_str())).collect(),
            broker: *broker,
            deadline_ms: deadline.map(|deadline| deadline.as_millis().min(u128::from(u64::MAX)) as u64),
        }),
        Request::Knowledge(ask) => FromClient::Knowledge(KnowledgeRequest { req, op: knowledge_op(ask) }),
        Request::Publish { topic, body } => {
            FromClient::Publish(wire::PublishRequest { req, topic: Text(topic), body: Blob(body) })
        }
    })
}

fn knowledge_op(ask: &Ask) -> KnowledgeOp<'_> {
    match ask {
        Ask::Put { topic, key, value, expect } => {
            KnowledgeOp::Put { topic: Text(topic), key: Text(key), value: Blob(value), expect: *expect }
        }
        Ask::Delete { topic, key, expect } => {
            KnowledgeOp::Delete { topic: Text(topic), key: Text(key), expect: *expect }
        }
        Ask::Get { topic, key } => KnowledgeOp::Get { topic: Text(topic), key: Text(key) },
        Ask::List { prefix, after, keys_only } => KnowledgeOp::List {
            prefix: Text(prefix),
            after: after.as_ref().map(|(topic, key)| (Text(topic.as_str()), Text(key.as_str()))),
            keys_only: *keys_only,
            limit: None,
        },
        Ask::Since(revision) => KnowledgeOp::Since { revision: *revision },
        Ask::Status => KnowledgeOp::Status {},
    }
}
