//! Effects to messages.

use ganger_common::encode_into;
use ganger_common::limits::PAYLOAD_BYTES_MAX;
use ganger_common::limits::{BATCH_ITEMS_MAX, MESSAGE_BYTES_MAX};
use ganger_common::message::{self as wire, ToClient, ToWorker};
use ganger_common::version::PROTOCOL;
use ganger_scheduler::effect::{
    ClientReply, Dispatch, KnowledgeAnswer, OutcomeItem, Refusal, Refused, Welcome, WorkerCommand,
};
use ganger_scheduler::record::Change;
use ganger_scheduler::{Config, effect};

use wire::{Durability, EntryItem};

/// Encodes what is said to a client.
pub(crate) fn encode_client(config: &Config, mark: u64, reply: &ClientReply, into: &mut Vec<u8>) {
    let durability = config.durability;
    let message: ToClient<'_> = match reply {
        ClientReply::Welcome(welcome) => ToClient::Welcome(self::welcome(config, welcome)),
        ClientReply::Heartbeat { revision } => {
            ToClient::Heartbeat(wire::BrokerHeartbeat { mark, revision: *revision })
        }
        ClientReply::Accepted { seq, refused } => ToClient::Accepted(accepted(*seq, durability, refused)),
        ClientReply::Outcomes { upto, items } => {
            ToClient::Outcomes(wire::Outcomes { upto: *upto, items: items.iter().map(outcome).collect() })
        }
        ClientReply::Progress { task, attempt, fraction, text } => ToClient::Progress(wire::TaskProgress {
            task: *task,
            attempt: *attempt,
            fraction: *fraction,
            text: text.as_str().into(),
        }),
        ClientReply::Partial { task, attempt, index, data } => ToClient::Partial(wire::TaskPartial {
            task: *task,
            attempt: *attempt,
            index: *index,
            data: blob(data),
        }),
        ClientReply::Verdicts { req, refused } => {
            ToClient::Verdicts(wire::Verdicts { req: *req, refused: refused.iter().map(verdict).collect() })
        }
        ClientReply::Task { req, task, result } => ToClient::Task(wire::TaskReply {
            req: *req,
            task: (**task).clone(),
            result: result.as_deref().map(ganger_common::codec::Blob),
        }),
        ClientReply::Tasks { req, rows, next } => {
            ToClient::Tasks(wire::Rows { req: *req, rows: rows.clone().into(), next: next.clone() })
        }
        ClientReply::Explanation { req, explanation } => {
            ToClient::Explanation(wire::Body { req: *req, body: (**explanation).clone() })
        }
        ClientReply::Workers { req, rows, next } => {
            ToClient::Workers(wire::Rows { req: *req, rows: rows.clone().into(), next: next.clone() })
        }
        ClientReply::Status { req, status } => {
            ToClient::Status(wire::Body { req: *req, body: (**status).clone() })
        }
        ClientReply::Knowledge { req, answer } => {
            ToClient::Knowledge(wire::KnowledgeReply { req: *req, answer: knowledge(answer) })
        }
        ClientReply::Done { req } => ToClient::Done(wire::Request { req: *req }),
        ClientReply::Error(refused) => ToClient::Error(error(refused)),
        ClientReply::Goodbye { code, text } => {
            ToClient::Goodbye(wire::Goodbye { code: *code, text: text.as_str().into() })
        }
    };
    encode_into(&message, into);
}

/// Encodes what is said to a worker.
pub(crate) fn encode_worker(config: &Config, mark: u64, command: &WorkerCommand, into: &mut Vec<u8>) {
    let message: ToWorker<'_> = match command {
        WorkerCommand::Welcome(welcome) => ToWorker::Welcome(self::welcome(config, welcome)),
        WorkerCommand::Heartbeat { revision } => {
            ToWorker::Heartbeat(wire::BrokerHeartbeat { mark, revision: *revision })
        }
        WorkerCommand::Tasks { epoch, tasks } => {
            ToWorker::Tasks(wire::Dispatch { epoch: *epoch, tasks: tasks.iter().map(dispatch).collect() })
        }
        WorkerCommand::Start { leases } => ToWorker::Start(wire::Leases { leases: leases.clone().into() }),
        WorkerCommand::Recall { recall, count } => {
            ToWorker::Recall(wire::Recall { recall: *recall, count: *count })
        }
        WorkerCommand::Cancel { leases, code } => {
            ToWorker::Cancel(wire::CancelLeases { leases: leases.clone().into(), code: *code })
        }
        WorkerCommand::Ack { upto, stale } => {
            ToWorker::Ack(wire::ReportAck { upto: *upto, stale: stale.clone().into() })
        }
        WorkerCommand::Drain { deadline } => {
            ToWorker::Drain(wire::WorkerDrain { deadline_ms: Some(deadline.as_millis() as u64) })
        }
        WorkerCommand::Knowledge { req, answer } => {
            ToWorker::Knowledge(wire::KnowledgeReply { req: *req, answer: knowledge(answer) })
        }
        WorkerCommand::Error(refused) => ToWorker::Error(error(refused)),
        WorkerCommand::Goodbye { code, text } => {
            ToWorker::Goodbye(wire::Goodbye { code: *code, text: text.as_str().into() })
        }
    };
    encode_into(&message, into);
}

fn blob(bytes: &[u8]) -> ganger_common::codec::Blob<'_> {
    ganger_common::codec::Blob(bytes)
}

fn welcome<'a>(config: &'a Config, welcome: &Welcome) -> wire::Welcome<'a> {
    wire::Welcome {
        protocol: PROTOCOL,
        broker: config.broker.as_str().into(),
        epoch: config.epoch,
        heartbeat_ms: config.heartbeat.as_millis() as u32,
        liveness: config.liveness,
        grace_ms: config.grace.as_millis() as u32,
        durability: config.durability,
        message_bytes_max: MESSAGE_BYTES_MAX as u64,
        payload_bytes_max: PAYLOAD_BYTES_MAX as u64,
        batch_items_max: BATCH_ITEMS_MAX as u32,
        revision: welcome.revision,
        knowledge_port: config.knowledge_port,
    }
}

fn accepted(seq: u64, durability: Durability, refused: &[Refusal]) -> wire::Accepted<'_> {
    let refusal = |refusal: &'_ Refusal| wire::Refusal {
        index: refusal.index,
        code: refusal.code,
        text: wire::ErrorText::default(),
        retry_after_ms: refusal.retry_after.map(|after| after.as_millis() as u32),
    };
    let items: Vec<wire::Refusal<'_>> = refused
        .iter()
        .map(|item| wire::Refusal { text: item.text.as_str().into(), ..refusal(item) })
        .collect();
    wire::Accepted { seq, durability, refused: items.into() }
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
    let has_detail = item.run_limit.is_some() || item.confirm || item.events;
    wire::DispatchItem {
        task: item.task,
        attempt: item.attempt,
        kind: (&*item.kind).into(),
        payload: blob(&item.payload),
        detail: has_detail.then(|| wire::DispatchDetail {
            run_limit_ms: item.run_limit.map(|limit| limit.as_millis() as u64),
            confirm: item.confirm,
            events: item.events,
        }),
    }
}

fn error(refused: &Refused) -> wire::ErrorReply<'_> {
    wire::ErrorReply {
        req: refused.req,
        code: refused.code,
        text: refused.text.as_str().into(),
        retry_after_ms: refused.retry_after.map(|after| after.as_millis() as u32),
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

fn entry(entry: &effect::Entry) -> EntryItem<'_> {
    EntryItem {
        topic: entry.topic.as_str().into(),
        key: entry.key.as_str().into(),
        revision: entry.revision,
        value: entry.value.as_deref().map(blob),
    }
}

fn change(change: &Change) -> wire::ChangeItem<'_> {
    wire::ChangeItem {
        revision: change.revision,
        topic: change.topic.as_str().into(),
        key: change.key.as_str().into(),
        value: change.value.as_deref().map(blob),
    }
}
