use std::time::Duration;

use bytes::Bytes;
use ganger_common::codec::{Blob, Message};
use ganger_common::limits::{BATCH_BYTES_TARGET, BATCH_ITEMS_MAX, MESSAGE_BYTES_MAX, PAYLOAD_BYTES_MAX};
use ganger_common::message::{self as wire, Durability, ToClient, ToWorker};
use ganger_common::{
    Attempt, Epoch, ErrorCode, Outcome, Revision, Trace, TraceContext, TraceState, decode, view,
};
use ganger_scheduler::Config;
use ganger_scheduler::effect::{
    ClientReply, Dispatch, DispatchDetail, Entry, KnowledgeAnswer, OutcomeItem, Refusal, Refused, Welcome,
    WorkerCommand,
};
use ganger_scheduler::record::Change;

use super::super::{encode_client, encode_worker};
use super::{id, lease};

fn client_frames(reply: ClientReply) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    encode_client(&Config::default(), 55, reply, &mut frames);
    frames
}

fn worker_frames(command: WorkerCommand) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    encode_worker(&Config::default(), 55, command, &mut frames);
    frames
}

fn refusal(index: u32) -> Refusal {
    let retry_after = Some(Duration::from_millis(200));
    Refusal { index, code: ErrorCode::Busy, text: "full".into(), retry_after }
}

fn refused() -> Refused {
    Refused { req: Some(4), code: ErrorCode::Conflict, text: "no".into(), retry_after: None }
}

fn outcome(number: u8, bytes: usize) -> OutcomeItem {
    OutcomeItem {
        task: id(number),
        outcome: Outcome::Succeeded,
        attempt: Attempt(2),
        result: vec![1; bytes].into(),
        error: None,
        result_dropped: false,
    }
}

fn dispatch(number: u8, bytes: usize) -> Dispatch {
    Dispatch {
        task: id(number),
        attempt: Attempt(1),
        kind: "k".into(),
        payload: vec![2; bytes].into(),
        detail: None,
    }
}

fn wire_refused() -> wire::ErrorReply<'static> {
    wire::ErrorReply { req: Some(4), code: ErrorCode::Conflict, text: "no".into(), retry_after_ms: None }
}

#[test]
fn what_the_scheduler_says_reaches_the_client_unchanged() {
    let (task, attempt) = (id(1), Attempt(2));
    let status = view::StatusView { workers: 3, ..view::StatusView::default() };
    let failed = OutcomeItem { error: Some("e".into()), result_dropped: true, ..outcome(1, 1) };
    let detail = wire::OutcomeDetail { error: Some("e".into()), result_dropped: true };
    let wire_item = wire::OutcomeItem {
        task,
        outcome: Outcome::Succeeded.code(),
        attempt,
        result: Blob(&[1]),
        detail: Some(detail),
    };
    let wire_refusal =
        wire::Refusal { index: 1, code: ErrorCode::Busy, text: "full".into(), retry_after_ms: Some(200) };
    let verdict = wire::Verdict { index: 1, code: ErrorCode::Busy, text: "full".into() };
    let data = Bytes::from_static(b"part");
    let cases = [
        (
            ClientReply::Heartbeat { revision: Revision(3) },
            ToClient::Heartbeat(wire::BrokerHeartbeat { mark: 55, revision: Revision(3) }),
        ),
        (
            ClientReply::Accepted { seq: 7, refused: vec![refusal(1)] },
            ToClient::Accepted(wire::Accepted {
                seq: 7,
                durability: Durability::Memory,
                refused: vec![wire_refusal].into(),
            }),
        ),
        (
            ClientReply::Outcomes { upto: 9, items: vec![failed] },
            ToClient::Outcomes(wire::Outcomes { upto: 9, items: vec![wire_item].into() }),
        ),
        (
            ClientReply::Progress { task, attempt, fraction: Some(0.5), text: "half".into() },
            ToClient::Progress(wire::TaskProgress {
                task,
                attempt,
                fraction: Some(0.5),
                text: "half".into(),
            }),
        ),
        (
            ClientReply::Partial { task, attempt, index: 1, data },
            ToClient::Partial(wire::TaskPartial { task, attempt, index: 1, data: Blob(b"part") }),
        ),
        (
            ClientReply::Verdicts { req: 2, refused: vec![refusal(1)] },
            ToClient::Verdicts(wire::Verdicts { req: 2, refused: vec![verdict.clone()].into() }),
        ),
        (
            ClientReply::Discarded { req: 2, count: 3, refused: vec![refusal(1)], next: Some("5.6".into()) },
            ToClient::Discarded(wire::Discarded {
                req: 2,
                count: 3,
                refused: vec![verdict.clone()].into(),
                next: Some("5.6".into()),
            }),
        ),
        (
            ClientReply::Tasks { req: 2, rows: vec![], next: Some("5".into()) },
            ToClient::Tasks(wire::Rows { req: 2, rows: vec![].into(), next: Some("5".into()) }),
        ),
        (
            ClientReply::Workers { req: 2, rows: vec![], next: None },
            ToClient::Workers(wire::Rows { req: 2, rows: vec![].into(), next: None }),
        ),
        (
            ClientReply::Status { req: 2, status: Box::new(status.clone()) },
            ToClient::Status(wire::Body { req: 2, body: status }),
        ),
        (ClientReply::Done { req: 2 }, ToClient::Done(wire::Request { req: 2 })),
        (ClientReply::Error(refused()), ToClient::Error(wire_refused())),
        (
            ClientReply::Goodbye { code: Some(ErrorCode::Silent), text: "bye".into() },
            ToClient::Goodbye(wire::Goodbye { code: Some(ErrorCode::Silent), text: "bye".into() }),
        ),
    ];
    for (reply, expected) in cases {
        let frames = client_frames(reply);
        assert_eq!(frames.len(), 1, "{}", expected.kind());
        assert_eq!(decode::<ToClient<'_>>(&frames[0]), Ok(expected));
    }
}

#[test]
fn what_the_scheduler_says_reaches_the_worker_unchanged() {
    let context = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".parse::<TraceContext>().unwrap();
    let state: TraceState = "congo=1".parse().unwrap();
    let detail = DispatchDetail {
        run_limit: Some(Duration::from_secs(1)),
        confirm: true,
        events: false,
        trace: Some(Trace { context, state: Some(state.clone()) }),
    };
    let confirmed = Dispatch { detail: Some(Box::new(detail)), ..dispatch(1, 1) };
    let wire_item = wire::DispatchItem {
        task: id(1),
        attempt: Attempt(1),
        kind: "k".into(),
        payload: Blob(&[2]),
        detail: Some(wire::DispatchDetail {
            run_limit_ms: Some(1_000),
            confirm: true,
            events: false,
            trace: Some(context),
            trace_state: Some(state),
        }),
    };
    let leases = || vec![lease(1)].into();
    let code = Some(ErrorCode::Stale);
    let cases = [
        (
            WorkerCommand::Tasks { epoch: Epoch(3), tasks: vec![confirmed] },
            ToWorker::Tasks(wire::Dispatch { epoch: Epoch(3), tasks: vec![wire_item].into() }),
        ),
        (WorkerCommand::Start { leases: vec![lease(1)] }, ToWorker::Start(wire::Leases { leases: leases() })),
        (
            WorkerCommand::Recall { recall: 1, count: 2 },
            ToWorker::Recall(wire::Recall { recall: 1, count: 2 }),
        ),
        (
            WorkerCommand::Cancel { leases: vec![lease(1)], code },
            ToWorker::Cancel(wire::CancelLeases { leases: leases(), code }),
        ),
        (
            WorkerCommand::Ack { upto: 6, stale: vec![] },
            ToWorker::Ack(wire::ReportAck { upto: 6, stale: vec![].into() }),
        ),
        (
            WorkerCommand::Drain { deadline: Duration::from_secs(2) },
            ToWorker::Drain(wire::WorkerDrain { deadline_ms: Some(2_000) }),
        ),
        (
            WorkerCommand::Heartbeat { revision: Revision(1) },
            ToWorker::Heartbeat(wire::BrokerHeartbeat { mark: 55, revision: Revision(1) }),
        ),
        (WorkerCommand::Error(refused()), ToWorker::Error(wire_refused())),
        (
            WorkerCommand::Goodbye { code: None, text: "bye".into() },
            ToWorker::Goodbye(wire::Goodbye { code: None, text: "bye".into() }),
        ),
    ];
    for (command, expected) in cases {
        let frames = worker_frames(command);
        assert_eq!(frames.len(), 1, "{}", expected.kind());
        assert_eq!(decode::<ToWorker<'_>>(&frames[0]), Ok(expected));
    }
    let welcome = worker_frames(WorkerCommand::Welcome(Welcome { revision: Revision(4) }));
    let Ok(ToWorker::Welcome(welcome)) = decode(&welcome[0]) else { panic!() };
    assert_eq!((welcome.revision, welcome.heartbeat_ms, welcome.liveness), (Revision(4), 1_000, 3));
}

#[test]
fn answers_about_knowledge_keep_what_is_absent_apart_from_what_is_empty() {
    let entry = |value| Entry { topic: "t".into(), key: "k".into(), revision: Revision(2), value };
    let change = |value| Change { topic: "t".into(), key: "k".into(), revision: Revision(2), value };
    let entries = vec![entry(None), entry(Some(Bytes::new()))];
    let answer = KnowledgeAnswer::Entries { revision: Revision(9), items: entries, more: true };
    let frames = client_frames(ClientReply::Knowledge { req: 3, answer });
    let Ok(ToClient::Knowledge(reply)) = decode(&frames[0]) else { panic!() };
    let wire::KnowledgeAnswer::Entries { items, more: true, .. } = reply.answer else { panic!() };
    assert_eq!((items[0].value, items[1].value), (None, Some(Blob(b""))));
    let changes = vec![change(None), change(Some(Bytes::from_static(b"v")))];
    let answer = KnowledgeAnswer::Changes { revision: Revision(9), items: changes };
    let frames = worker_frames(WorkerCommand::Knowledge { req: 3, answer });
    let Ok(ToWorker::Knowledge(reply)) = decode(&frames[0]) else { panic!() };
    let wire::KnowledgeAnswer::Changes { items, .. } = reply.answer else { panic!() };
    assert_eq!((items[0].value, items[1].value), (None, Some(Blob(b"v"))));
}

#[test]
fn outcomes_beyond_one_message_go_out_in_several_numbered_through() {
    let items = vec![outcome(1, 10); BATCH_ITEMS_MAX + 5];
    let frames = client_frames(ClientReply::Outcomes { upto: 10_000, items });
    let said: Vec<(u64, usize)> = frames
        .iter()
        .map(|frame| {
            let Ok(ToClient::Outcomes(outcomes)) = decode(frame) else { panic!() };
            (outcomes.upto, outcomes.items.len())
        })
        .collect();
    assert_eq!(said, [(9_995, BATCH_ITEMS_MAX), (10_000, 5)]);
}

#[test]
fn the_largest_payloads_still_make_messages_within_the_limit() {
    let tasks = vec![dispatch(1, BATCH_BYTES_TARGET - 100), dispatch(2, PAYLOAD_BYTES_MAX), dispatch(3, 1)];
    let frames = worker_frames(WorkerCommand::Tasks { epoch: Epoch(1), tasks });
    assert_eq!(frames.len(), 2);
    assert!(frames.iter().all(|frame| frame.len() <= MESSAGE_BYTES_MAX));
    assert!(frames.iter().all(|frame| decode::<ToWorker<'_>>(frame).is_ok()));
}

#[test]
fn a_worker_with_more_leases_than_one_message_holds_gets_several() {
    let leases = vec![lease(1); 2 * BATCH_ITEMS_MAX + 1];
    let count = |frames: Vec<Vec<u8>>| {
        frames.iter().map(|frame| decode::<ToWorker<'_>>(frame).map(|_| 1).unwrap()).sum::<usize>()
    };
    assert_eq!(count(worker_frames(WorkerCommand::Start { leases: leases.clone() })), 3);
    assert_eq!(count(worker_frames(WorkerCommand::Cancel { leases, code: None })), 3);
}

#[test]
fn a_long_error_text_is_cut_and_still_understood() {
    let refused = Refused { text: "ö".repeat(5_000), ..refused() };
    let frames = client_frames(ClientReply::Error(refused));
    let Ok(ToClient::Error(error)) = decode(&frames[0]) else { panic!() };
    assert_eq!(error.text.len(), ganger_common::limits::TEXT_BYTES_MAX);
}
