//! Examples of what workers and the broker say, and of what is published.

use ganger_common::codec::Blob;
use ganger_common::message::publish::{BeatHeader, ChangeOp, DeltaHeader};
use ganger_common::message::*;
use ganger_common::version::PROTOCOL;
use ganger_common::{Attempt, AttemptEnd, Epoch, ErrorCode, Revision};

use super::{a_lease, a_token, a_worker, client, task};

pub fn from_worker() -> Vec<(&'static str, FromWorker<'static>)> {
    vec![
        ("hello", FromWorker::Hello(hello())),
        (
            "heartbeat",
            FromWorker::Heartbeat(WorkerHeartbeat { mark: 2_048, revision: Revision(42), quiet: false }),
        ),
        ("report", FromWorker::Report(report())),
        (
            "report of starts alone",
            FromWorker::Report(Report {
                seq: 0,
                started: vec![a_lease(5, 1)].into(),
                ended: Vec::new().into(),
                waiting: 0,
                recall: None,
            }),
        ),
        (
            "progress",
            FromWorker::Progress(AttemptProgress {
                lease: a_lease(1, 1),
                fraction: Some(0.5),
                text: "half".into(),
            }),
        ),
        (
            "partial",
            FromWorker::Partial(AttemptPartial { lease: a_lease(1, 1), index: 0, data: Blob(b"first rows") }),
        ),
        ("drain", FromWorker::Drain(WorkerDrain { deadline_ms: Some(30_000) })),
        (
            "knowledge since",
            FromWorker::Knowledge(KnowledgeRequest {
                req: 1,
                op: KnowledgeOp::Since { revision: Revision(41) },
            }),
        ),
        ("goodbye", FromWorker::Goodbye(Goodbye { code: None, text: "drained".into() })),
    ]
}

pub fn hello() -> WorkerHello<'static> {
    WorkerHello {
        protocol: PROTOCOL,
        worker: a_worker(),
        token: a_token(),
        name: "w1".into(),
        host: "shed".into(),
        pid: 4_711,
        kinds: vec!["resize".into(), "thumb".into()].into(),
        slots: 4,
        holding: vec![
            Held { task: task(1), epoch: Epoch(7), attempt: Attempt(1), started: true },
            Held { task: task(2), epoch: Epoch(7), attempt: Attempt(3), started: false },
        ]
        .into(),
        revision: Revision(41),
        draining: false,
    }
}

fn report() -> Report<'static> {
    let succeeded = AttemptReport {
        task: task(1),
        epoch: Epoch(7),
        attempt: Attempt(1),
        end: AttemptEnd::Succeeded.code(),
        run_us: 850,
        result: Blob(b"320x200"),
        detail: None,
    };
    let failed = AttemptReport {
        task: task(2),
        attempt: Attempt(3),
        end: AttemptEnd::Failed.code(),
        run_us: 1_200,
        result: Blob(b""),
        detail: Some(EndDetail {
            error: Some("no such file".into()),
            is_final: true,
            retry_after_ms: Some(500),
        }),
        ..succeeded.clone()
    };
    let returned = AttemptReport {
        task: task(4),
        attempt: Attempt(1),
        end: AttemptEnd::Returned.code(),
        run_us: 0,
        result: Blob(b""),
        ..succeeded.clone()
    };
    Report {
        seq: 3,
        started: vec![a_lease(3, 1)].into(),
        ended: vec![succeeded, failed, returned].into(),
        waiting: 2,
        recall: Some(1),
    }
}

pub fn to_worker() -> Vec<(&'static str, ToWorker<'static>)> {
    vec![
        ("welcome", ToWorker::Welcome(client::welcome())),
        ("heartbeat", ToWorker::Heartbeat(BrokerHeartbeat { mark: 2_048, revision: Revision(42) })),
        ("tasks", ToWorker::Tasks(dispatch())),
        ("start", ToWorker::Start(Leases { leases: vec![a_lease(2, 3)].into() })),
        ("recall", ToWorker::Recall(Recall { recall: 1, count: 2 })),
        (
            "cancel",
            ToWorker::Cancel(CancelLeases {
                leases: vec![a_lease(2, 3)].into(),
                code: Some(ErrorCode::Stale),
            }),
        ),
        ("ack", ToWorker::Ack(ReportAck { upto: 3, stale: vec![a_lease(2, 3)].into() })),
        ("drain", ToWorker::Drain(WorkerDrain { deadline_ms: Some(30_000) })),
        ("knowledge changes", ToWorker::Knowledge(KnowledgeReply { req: 1, answer: client::changes() })),
        (
            "error",
            ToWorker::Error(ErrorReply {
                req: None,
                code: ErrorCode::HelloFirst,
                text: "say hello first".into(),
                retry_after_ms: None,
            }),
        ),
        (
            "goodbye",
            ToWorker::Goodbye(Goodbye {
                code: Some(ErrorCode::Silent),
                text: "nothing was heard for too long".into(),
            }),
        ),
    ]
}

fn dispatch() -> Dispatch<'static> {
    let plain = DispatchItem {
        task: task(1),
        attempt: Attempt(1),
        kind: "resize".into(),
        payload: Blob(b"cat.jpg"),
        detail: None,
    };
    let special = DispatchItem {
        task: task(2),
        attempt: Attempt(3),
        payload: Blob(b"dog.jpg"),
        detail: Some(DispatchDetail {
            run_limit_ms: Some(10_000),
            confirm: true,
            events: true,
            trace: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".parse().ok(),
            trace_state: "congo=t61rcWkgMzE".parse().ok(),
        }),
        ..plain.clone()
    };
    Dispatch { epoch: Epoch(7), tasks: vec![plain, special].into() }
}

pub fn change_header() -> DeltaHeader<'static> {
    DeltaHeader {
        epoch: Epoch(7),
        revision: Revision(42),
        previous: Revision(40),
        op: ChangeOp::Put,
        key: "colour".into(),
        checksum: GREEN_CRC32,
    }
}

/// CRC-32 of `green`, by another implementation than the broker's.
const GREEN_CRC32: u32 = 0xd09a_ee21;

pub fn beat_header() -> BeatHeader {
    BeatHeader { epoch: Epoch(7), revision: Revision(42), number: 90 }
}
