//! Effects to messages.

use std::time::Duration;

use ganger_common::codec::{Blob, Message};
use ganger_common::encode_into;
use ganger_common::limits::{BATCH_ITEMS_MAX, MESSAGE_BYTES_MAX, PAYLOAD_BYTES_MAX};
use ganger_common::message::{self as wire, ToClient, ToWorker};
use ganger_common::version::PROTOCOL;
use ganger_common::{ErrorCode, message::Lease};
use ganger_scheduler::effect::{
    ClientReply, Dispatch, Entry, KnowledgeAnswer, OutcomeItem, Refusal, Refused, Welcome, WorkerCommand,
};
use ganger_scheduler::{Config, Data, record::Change};

use super::batches::batches;
use crate::shell::Side;

/// What an item of a batch takes beside its texts and payloads, at most.
const ITEM_OVERHEAD: usize = 64;
/// What a message takes that has no list in it, at a guess.
const SMALL_MESSAGE: usize = 128;

/// Encodes what is said to a client, in as many messages as the limits ask for.
pub(crate) fn encode_client(config: &Config, mark: u64, reply: ClientReply, frames: &mut Vec<Vec<u8>>) {
    let mut put = |message: ToClient<'_>| frames.push(frame(&message, SMALL_MESSAGE));
    match reply {
        ClientReply::Welcome(welcome) => put(ToClient::Welcome(self::welcome(config, &welcome))),
        ClientReply::Heartbeat { revision } => {
            put(ToClient::Heartbeat(wire::BrokerHeartbeat { mark, revision }));
        }
        ClientReply::Accepted { seq, refused } => {
            let durability = config.durability;
            let refused = refused.iter().map(refusal).collect();
            put(ToClient::Accepted(wire::Accepted { seq, durability, refused }));
        }
        ClientReply::Outcomes { upto, items } => outcomes(upto, &items, frames),
        ClientReply::Progress { task, attempt, fraction, text } => {
            let text = text.as_str().into();
            put(ToClient::Progress(wire::TaskProgress { task, attempt, fraction, text }));
        }
        ClientReply::Partial { task, attempt, index, data } => {
            let message = wire::TaskPartial { task, attempt, index, data: Blob(&data) };
            frames.push(frame(&ToClient::Partial(message), SMALL_MESSAGE + data.len()));
        }
        ClientReply::Verdicts { req, refused } => {
            let refused = refused.iter().map(verdict).collect();
            put(ToClient::Verdicts(wire::Verdicts { req, refused }));
        }
        ClientReply::Discarded { req, count, refused, next } => {
            let refused = refused.iter().map(verdict).collect();
            put(ToClient::Discarded(wire::Discarded { req, count, refused, next }));
        }
        ClientReply::Task { req, task, result } => {
            let result = result.as_ref().map(blob);
            put(ToClient::Task(wire::TaskReply { req, task: *task, result }));
        }
        ClientReply::Payload { req, payload } => {
            let message = wire::PayloadReply { req, payload: blob(&payload) };
            frames.push(frame(&ToClient::Payload(message), SMALL_MESSAGE + payload.len()));
        }
        ClientReply::Tasks { req, rows, next } => {
            put(ToClient::Tasks(wire::Rows { req, rows: rows.into(), next }));
        }
        ClientReply::Explanation { req, explanation } => {
            put(ToClient::Explanation(wire::Body { req, body: *explanation }));
        }
        ClientReply::Workers { req, rows, next } => {
            put(ToClient::Workers(wire::Rows { req, rows: rows.into(), next }));
        }
        ClientReply::Status { req, status } => put(ToClient::Status(wire::Body { req, body: *status })),
        ClientReply::Knowledge { req, answer } => {
            put(ToClient::Knowledge(wire::KnowledgeReply { req, answer: knowledge(&answer) }));
        }
        ClientReply::Done { req } => put(ToClient::Done(wire::Request { req })),
        ClientReply::Error(refused) => put(ToClient::Error(error(&refused))),
        ClientReply::Goodbye { code, text } => frames.push(goodbye_to(Side::Client, code, &text)),
    }
}

/// Encodes what is said to a worker, in as many messages as the limits ask for.
pub(crate) fn encode_worker(config: &Config, mark: u64, command: WorkerCommand, frames: &mut Vec<Vec<u8>>) {
    let mut put = |message: ToWorker<'_>| frames.push(frame(&message, SMALL_MESSAGE));
    match command {
        WorkerCommand::Welcome(welcome) => put(ToWorker::Welcome(self::welcome(config, &welcome))),
        WorkerCommand::Heartbeat { revision } => {
            put(ToWorker::Heartbeat(wire::BrokerHeartbeat { mark, revision }));
        }
        WorkerCommand::Tasks { epoch, tasks } => {
            let bytes_of = |item: &Dispatch| item.payload.len() + item.kind.len() + ITEM_OVERHEAD;
            for batch in batches(&tasks, bytes_of) {
                let tasks = batch.items.iter().map(dispatch).collect();
                let message = ToWorker::Tasks(wire::Dispatch { epoch, tasks });
                frames.push(frame(&message, SMALL_MESSAGE + batch.bytes));
            }
        }
        WorkerCommand::Start { leases } => {
            lists(&leases).for_each(|leases| put(ToWorker::Start(wire::Leases { leases })));
        }
        WorkerCommand::Recall { recall, count } => put(ToWorker::Recall(wire::Recall { recall, count })),
        WorkerCommand::Cancel { leases, code } => {
            lists(&leases).for_each(|leases| put(ToWorker::Cancel(wire::CancelLeases { leases, code })));
        }
        WorkerCommand::Ack { upto, stale } => {
            put(ToWorker::Ack(wire::ReportAck { upto, stale: stale.into() }));
        }
        WorkerCommand::Drain { deadline } => {
            put(ToWorker::Drain(wire::WorkerDrain { deadline_ms: Some(millis(deadline)) }));
        }
        WorkerCommand::Knowledge { req, answer } => {
            put(ToWorker::Knowledge(wire::KnowledgeReply { req, answer: knowledge(&answer) }));
        }
        WorkerCommand::Error(refused) => put(ToWorker::Error(error(&refused))),
        WorkerCommand::Goodbye { code, text } => frames.push(goodbye_to(Side::Worker, code, &text)),
    }
}

/// The last message to a peer that is cut.
pub(crate) fn goodbye(side: Side, code: ErrorCode, text: &str) -> Vec<u8> {
    goodbye_to(side, Some(code), text)
}

fn goodbye_to(side: Side, code: Option<ErrorCode>, text: &str) -> Vec<u8> {
    let goodbye = wire::Goodbye { code, text: text.into() };
    match side {
        Side::Client => frame(&ToClient::Goodbye(goodbye), SMALL_MESSAGE),
        Side::Worker => frame(&ToWorker::Goodbye(goodbye), SMALL_MESSAGE),
    }
}

fn frame<'a, M: Message<'a>>(message: &M, capacity: usize) -> Vec<u8> {
    let mut buffer = Vec::with_capacity(capacity);
    encode_into(message, &mut buffer);
    buffer
}

fn outcomes(upto: u64, items: &[OutcomeItem], frames: &mut Vec<Vec<u8>>) {
    let bytes_of =
        |item: &OutcomeItem| item.result.len() + item.error.as_ref().map_or(0, String::len) + ITEM_OVERHEAD;
    for batch in batches(items, bytes_of) {
        let upto = upto.saturating_sub(batch.left as u64);
        let items = batch.items.iter().map(outcome).collect();
        let message = ToClient::Outcomes(wire::Outcomes { upto, items });
        frames.push(frame(&message, SMALL_MESSAGE + batch.bytes));
    }
}

/// Leases in as many lists as they need. A worker may come back with more than one message holds.
fn lists(leases: &[Lease]) -> impl Iterator<Item = ganger_common::codec::List<Lease, BATCH_ITEMS_MAX>> + '_ {
    leases.chunks(BATCH_ITEMS_MAX).map(|part| part.to_vec().into())
}

fn welcome<'a>(config: &'a Config, welcome: &Welcome) -> wire::Welcome<'a> {
    wire::Welcome {
        protocol: PROTOCOL,
        broker: config.broker.as_str().into(),
        epoch: config.epoch,
        heartbeat_ms: millis_short(config.heartbeat),
        liveness: config.liveness,
        grace_ms: millis_short(config.grace),
        durability: config.durability,
        message_bytes_max: MESSAGE_BYTES_MAX as u64,
        payload_bytes_max: PAYLOAD_BYTES_MAX as u64,
        batch_items_max: BATCH_ITEMS_MAX as u32,
        revision: welcome.revision,
        knowledge_port: config.knowledge_port,
    }
}

fn refusal(refusal: &Refusal) -> wire::Refusal<'_> {
    wire::Refusal {
        index: refusal.index,
        code: refusal.code,
        text: refusal.text.as_str().into(),
        retry_after_ms: refusal.retry_after.map(millis_short),
    }
}

fn verdict(refusal: &Refusal) -> wire::Verdict<'_> {
    wire::Verdict { index: refusal.index, code: refusal.code, text: refusal.text.as_str().into() }
}

fn outcome(item: &OutcomeItem) -> wire::OutcomeItem<'_> {
    let has_detail = item.error.is_some() || item.result_dropped;
    wire::OutcomeItem {
        task: item.task,
        outcome: item.outcome.code(),
        attempt: item.attempt,
        result: blob(&item.result),
        detail: has_detail.then(|| wire::OutcomeDetail {
            error: item.error.as_deref().map(Into::into),
            result_dropped: item.result_dropped,
        }),
    }
}

fn dispatch(item: &Dispatch) -> wire::DispatchItem<'_> {
    wire::DispatchItem {
        task: item.task,
        attempt: item.attempt,
        kind: (&*item.kind).into(),
        payload: blob(&item.payload),
        detail: item.detail.as_deref().map(|detail| wire::DispatchDetail {
            run_limit_ms: detail.run_limit.map(millis),
            confirm: detail.confirm,
            events: detail.events,
            trace: detail.trace.as_ref().map(|trace| trace.context),
            trace_state: detail.trace.as_ref().and_then(|trace| trace.state.clone()),
        }),
    }
}

/// Whoever encodes has fetched what the journal holds.
fn blob(data: &Data) -> Blob<'_> {
    match data {
        Data::Inline(bytes) => Blob(bytes),
        Data::Stored(stored) => unreachable!("a value was to be sent that is only named: {stored:?}"),
    }
}

fn error(refused: &Refused) -> wire::ErrorReply<'_> {
    wire::ErrorReply {
        req: refused.req,
        code: refused.code,
        text: refused.text.as_str().into(),
        retry_after_ms: refused.retry_after.map(millis_short),
    }
}

fn knowledge(answer: &KnowledgeAnswer) -> wire::KnowledgeAnswer<'_> {
    match answer {
        KnowledgeAnswer::Written { revision } => wire::KnowledgeAnswer::Written { revision: *revision },
        KnowledgeAnswer::Entry(item) => wire::KnowledgeAnswer::Entry(entry(item)),
        KnowledgeAnswer::Entries { revision, items, more } => wire::KnowledgeAnswer::Entries {
            revision: *revision,
            items: items.iter().map(entry).collect(),
            more: *more,
        },
        KnowledgeAnswer::Changes { revision, items } => {
            wire::KnowledgeAnswer::Changes { revision: *revision, items: items.iter().map(change).collect() }
        }
        KnowledgeAnswer::Status(status) => wire::KnowledgeAnswer::Status(status.clone()),
    }
}

fn entry(entry: &Entry) -> wire::EntryItem<'_> {
    wire::EntryItem {
        topic: entry.topic.as_str().into(),
        key: entry.key.as_str().into(),
        revision: entry.revision,
        value: entry.value.as_deref().map(Blob),
    }
}

fn change(change: &Change) -> wire::ChangeItem<'_> {
    wire::ChangeItem {
        revision: change.revision,
        topic: change.topic.as_str().into(),
        key: change.key.as_str().into(),
        value: change.value.as_deref().map(Blob),
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

fn millis_short(span: Duration) -> u32 {
    u32::try_from(span.as_millis()).unwrap_or(u32::MAX)
}
