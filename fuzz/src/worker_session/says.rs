//! What a hostile broker says to a worker, and publishes.

use bytes::Bytes;
use ganger_common::codec::{Blob, List};
use ganger_common::message::publish::{BeatHeader, ChangeOp, DeltaHeader, encode_header};
use ganger_common::message::{
    BrokerHeartbeat, CancelLeases, ChangeItem, Dispatch, DispatchDetail, DispatchItem, EntryItem, ErrorReply,
    Goodbye, KnowledgeAnswer, KnowledgeReply, Lease, Leases, Recall, ReportAck, ToWorker, WorkerDrain,
};
use ganger_common::{Epoch, Revision, encode};

use super::Heard;
use crate::choices::Choices;
use crate::golden::{self, Direction};
use crate::hostile::{self, code, kind, lease, text};

/// Any message.
pub(super) fn anything(choices: &mut Choices<'_>, heard: &Heard) -> Vec<u8> {
    match choices.up_to(13) {
        0..=3 => encode(&ToWorker::Tasks(tasks(choices))).to_vec(),
        4 => encode(&ToWorker::Start(Leases { leases: leases(choices, heard) })).to_vec(),
        5 => {
            let recall = Recall { recall: choices.number(), count: choices.number_32() };
            encode(&ToWorker::Recall(recall)).to_vec()
        }
        6 => {
            let code = choices.flag().then(|| code(choices));
            encode(&ToWorker::Cancel(CancelLeases { leases: leases(choices, heard), code })).to_vec()
        }
        7 => {
            let upto = if choices.rarely(4) { choices.number() } else { heard.seq };
            encode(&ToWorker::Ack(ReportAck { upto, stale: leases(choices, heard) })).to_vec()
        }
        8 | 9 => encode(&ToWorker::Knowledge(knowledge(choices, heard))).to_vec(),
        10 => {
            let beat = BrokerHeartbeat { mark: choices.number(), revision: Revision(choices.number()) };
            encode(&ToWorker::Heartbeat(beat)).to_vec()
        }
        11 => match choices.up_to(5) {
            0 | 1 => welcome(choices),
            2 => {
                let code = choices.flag().then(|| code(choices));
                encode(&ToWorker::Goodbye(Goodbye { code, text: "".into() })).to_vec()
            }
            3 if choices.rarely(4) => {
                let deadline_ms = choices.flag().then(|| choices.number());
                encode(&ToWorker::Drain(WorkerDrain { deadline_ms })).to_vec()
            }
            _ => {
                let req = choices.flag().then(|| request(choices, heard));
                let retry_after_ms = choices.flag().then(|| choices.number_32());
                let (code, text) = (code(choices), "no".into());
                encode(&ToWorker::Error(ErrorReply { req, code, text, retry_after_ms })).to_vec()
            }
        },
        _ => hostile::message(choices, Direction::ToWorker),
    }
}

/// A welcome that opens the session, with any figures.
pub(super) fn welcome(choices: &mut Choices<'_>) -> Vec<u8> {
    encode(&ToWorker::Welcome(hostile::welcome(choices, 3, Some(7_712)))).to_vec()
}

/// The three parts of a publication, rarely of none.
pub(super) fn publication(choices: &mut Choices<'_>) -> [Bytes; 3] {
    let header = || golden::of(Direction::Publish);
    let topic: Bytes = match choices.up_to(5) {
        0..=2 => format!("k/{}", text(choices)).into(),
        3 => format!("b/{}", text(choices)).into(),
        4 => Bytes::from_static(b"beat"),
        _ => Bytes::copy_from_slice(choices.bytes(8)),
    };
    let body = choices.bytes(8);
    let checksum = if choices.rarely(8) { 0 } else { crc32fast::hash(body) };
    let epoch = Epoch(if choices.rarely(8) { choices.number() } else { 7 });
    let revision = Revision(choices.number());
    let header = match choices.up_to(7) {
        0 => hostile::message(choices, Direction::Publish),
        1 => choices.pick(&header().collect::<Vec<_>>()).to_vec(),
        _ if topic.starts_with(b"k/") => encode_header(&DeltaHeader {
            epoch,
            revision,
            previous: Revision(choices.number()),
            op: choices.pick(&[ChangeOp::Put, ChangeOp::Delete, ChangeOp::Fetch]),
            key: text(choices).into(),
            checksum,
        }),
        _ => encode_header(&BeatHeader { epoch, revision, number: choices.number() }),
    };
    [topic, header.into(), Bytes::copy_from_slice(body)]
}

const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn tasks<'a>(choices: &mut Choices<'a>) -> Dispatch<'a> {
    let epoch = Epoch(if choices.rarely(8) { choices.number() } else { 7 });
    let mut tasks = Vec::new();
    for _ in 0..choices.up_to(5) {
        let Lease { task, attempt, .. } = lease(choices);
        let detail = DispatchDetail {
            run_limit_ms: choices.flag().then(|| choices.number()),
            confirm: choices.flag(),
            events: choices.flag(),
            trace: choices.rarely(4).then_some(TRACE).and_then(|trace| trace.parse().ok()),
            trace_state: choices.rarely(4).then_some("a=1").and_then(|state| state.parse().ok()),
        };
        tasks.push(DispatchItem {
            task,
            attempt,
            kind: kind(choices).into(),
            payload: Blob(choices.bytes(8)),
            detail: choices.flag().then_some(detail),
        });
    }
    Dispatch { epoch, tasks: List(tasks) }
}

fn knowledge<'a>(choices: &mut Choices<'a>, heard: &Heard) -> KnowledgeReply<'a> {
    let req = request(choices, heard);
    let revision = Revision(choices.number());
    let items = choices.up_to(4);
    let answer = match choices.flag() {
        true => KnowledgeAnswer::Entries {
            revision,
            items: (0..items).map(|_| entry(choices)).collect(),
            more: choices.flag(),
        },
        false => {
            let change = |choices: &mut Choices<'a>| {
                let EntryItem { topic, key, revision, value } = entry(choices);
                ChangeItem { topic, key, revision, value }
            };
            KnowledgeAnswer::Changes { revision, items: (0..items).map(|_| change(choices)).collect() }
        }
    };
    KnowledgeReply { req, answer }
}

fn entry<'a>(choices: &mut Choices<'a>) -> EntryItem<'a> {
    EntryItem {
        topic: text(choices).into(),
        key: text(choices).into(),
        revision: Revision(choices.number()),
        value: choices.flag().then(|| Blob(choices.bytes(8))),
    }
}

fn leases<const MAX: usize>(choices: &mut Choices<'_>, heard: &Heard) -> List<Lease, MAX> {
    let known = |choices: &mut Choices<'_>| match choices.rarely(6) {
        true => lease(choices),
        false => choices.pick_some(&heard.leases).unwrap_or_else(|| lease(choices)),
    };
    (0..choices.up_to(4)).map(|_| known(choices)).collect()
}

fn request(choices: &mut Choices<'_>, heard: &Heard) -> u64 {
    match choices.rarely(8) {
        true => choices.number(),
        false => heard.requests.last().copied().unwrap_or(1),
    }
}
