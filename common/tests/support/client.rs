//! Examples of what clients and the broker say.

use std::collections::BTreeMap;

use ganger_common::codec::Blob;
use ganger_common::message::*;
use ganger_common::version::PROTOCOL;
use ganger_common::view::{
    Among, AttemptView, Explanation, KindView, KnowledgeStatusView, Reason, ReasonCode, StateFilter,
    StatusView, TaskState, TaskView, WorkerRevision, WorkerState, WorkerView,
};
use ganger_common::{Attempt, AttemptEnd, Epoch, ErrorCode, Outcome, Revision, TaskOptions};

use super::{a_client, a_token, a_worker, task};

pub fn from_client() -> Vec<(&'static str, FromClient<'static>)> {
    let mut all = vec![
        (
            "hello",
            FromClient::Hello(ClientHello {
                protocol: PROTOCOL,
                client: a_client(),
                token: a_token(),
                name: "report-builder".into(),
            }),
        ),
        ("heartbeat", FromClient::Heartbeat(ClientHeartbeat { mark: 5_120 })),
        ("submit", FromClient::Submit(Submit { seq: 1, again: false, tasks: vec![plain_task()].into() })),
        (
            "submit with every option",
            FromClient::Submit(Submit {
                seq: 2,
                again: true,
                tasks: vec![plain_task(), task_with_options()].into(),
            }),
        ),
        ("watch", FromClient::Watch(Watch { req: 3, tasks: vec![task(1), task(2)].into(), events: true })),
        ("ack", FromClient::Ack(Ack { upto: 2 })),
        ("cancel", FromClient::Cancel(TaskList { req: 4, tasks: vec![task(1)].into() })),
        ("retry", FromClient::Retry(TaskList { req: 5, tasks: vec![task(2)].into() })),
        (
            "discard",
            FromClient::Discard(Discard {
                req: 19,
                tasks: vec![task(1), task(2)].into(),
                among: None,
                kind: None,
                after: None,
            }),
        ),
        (
            "discard by outcome",
            FromClient::Discard(Discard {
                req: 20,
                tasks: vec![].into(),
                among: Some(Among::Failed),
                kind: Some("resize".into()),
                after: Some("17.420".into()),
            }),
        ),
        ("pause", FromClient::Pause(OneKind { req: 21, kind: "resize".into() })),
        ("resume", FromClient::Resume(OneKind { req: 22, kind: "resize".into() })),
        ("fetch", FromClient::Fetch(OneTask { req: 6, task: task(1) })),
        ("payload", FromClient::Payload(OneTask { req: 18, task: task(1) })),
        ("explain", FromClient::Explain(OneTask { req: 7, task: task(2) })),
        (
            "list",
            FromClient::List(ListTasks {
                req: 8,
                state: Some(StateFilter::Parked),
                kind: Some("resize".into()),
                after: Some("1000".into()),
                limit: Some(50),
            }),
        ),
        (
            "list_workers",
            FromClient::ListWorkers(Page {
                req: 9,
                after: Some("0192f0c1-2000-7000-8000-0000000000b1".into()),
                limit: Some(50),
            }),
        ),
        ("status", FromClient::Status(Request { req: 10 })),
        (
            "drain",
            FromClient::Drain(Drain {
                req: 11,
                workers: vec!["w1".into()].into(),
                broker: false,
                deadline_ms: Some(30_000),
            }),
        ),
    ];
    all.extend(knowledge_requests());
    all.push((
        "publish",
        FromClient::Publish(PublishRequest { req: 18, topic: "news".into(), body: Blob(b"hello all") }),
    ));
    all.push(("goodbye", FromClient::Goodbye(Goodbye { code: None, text: "done".into() })));
    all
}

fn knowledge_requests() -> Vec<(&'static str, FromClient<'static>)> {
    let ask = |req, op| FromClient::Knowledge(KnowledgeRequest { req, op });
    let (topic, key) = (Topic::from("app"), Key::from("colour"));
    vec![
        (
            "knowledge put",
            ask(12, KnowledgeOp::Put { topic, key, value: Blob(b"green"), expect: Some(Revision(41)) }),
        ),
        ("knowledge delete", ask(13, KnowledgeOp::Delete { topic, key, expect: Some(Revision(42)) })),
        ("knowledge get", ask(14, KnowledgeOp::Get { topic, key })),
        (
            "knowledge list",
            ask(
                15,
                KnowledgeOp::List {
                    prefix: "app".into(),
                    after: Some((topic, key)),
                    keys_only: true,
                    limit: Some(100),
                },
            ),
        ),
        ("knowledge since", ask(16, KnowledgeOp::Since { revision: Revision(41) })),
        ("knowledge status", ask(17, KnowledgeOp::Status {})),
    ]
}

fn plain_task() -> NewTask<'static> {
    NewTask { id: task(1), kind: "resize".into(), payload: Blob(b"cat.jpg"), options: None }
}

fn task_with_options() -> NewTask<'static> {
    let options = TaskOptions {
        priority: -5,
        delay_ms: 500,
        ttl_ms: Some(60_000),
        run_limit_ms: Some(10_000),
        max_attempts: Some(5),
        crash_limit: Some(2),
        backoff_ms: Some(250),
        knowledge: Some(Revision(42)),
        detached: true,
        events: true,
        trace: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".parse().ok(),
        trace_state: "congo=t61rcWkgMzE".parse().ok(),
        account: None,
    };
    NewTask { id: task(2), kind: "resize".into(), payload: Blob(b"dog.jpg"), options: Some(options) }
}

pub fn welcome() -> Welcome<'static> {
    Welcome {
        protocol: PROTOCOL,
        broker: "ganger-broker 0.1.0".into(),
        epoch: Epoch(7),
        heartbeat_ms: 1_000,
        liveness: 3,
        grace_ms: 2_000,
        durability: Durability::Journal,
        message_bytes_max: 64 << 20,
        payload_bytes_max: 16 << 20,
        batch_items_max: 4_096,
        revision: Revision(42),
        knowledge_port: 7_712,
    }
}

pub fn to_client() -> Vec<(&'static str, ToClient<'static>)> {
    let mut all = vec![
        ("welcome", ToClient::Welcome(welcome())),
        ("heartbeat", ToClient::Heartbeat(BrokerHeartbeat { mark: 5_120, revision: Revision(42) })),
        ("accepted", ToClient::Accepted(accepted())),
        ("outcomes", ToClient::Outcomes(outcomes())),
        (
            "progress",
            ToClient::Progress(TaskProgress {
                task: task(1),
                attempt: Attempt(1),
                fraction: Some(0.5),
                text: "half".into(),
            }),
        ),
        (
            "partial",
            ToClient::Partial(TaskPartial {
                task: task(1),
                attempt: Attempt(1),
                index: 0,
                data: Blob(b"first rows"),
            }),
        ),
        (
            "verdicts",
            ToClient::Verdicts(Verdicts {
                req: 4,
                refused: vec![Verdict {
                    index: 0,
                    code: ErrorCode::AlreadySettled,
                    text: "the task has succeeded already".into(),
                }]
                .into(),
            }),
        ),
        (
            "discarded",
            ToClient::Discarded(Discarded {
                req: 19,
                count: 1,
                refused: vec![Verdict {
                    index: 1,
                    code: ErrorCode::NotRetryable,
                    text: "the task has succeeded; only failed and dead ones can be discarded".into(),
                }]
                .into(),
                next: None,
            }),
        ),
        (
            "discarded by outcome",
            ToClient::Discarded(Discarded {
                req: 20,
                count: 4_096,
                refused: vec![].into(),
                next: Some("4113.9001".to_owned()),
            }),
        ),
        ("task", ToClient::Task(TaskReply { req: 6, task: settled_task(), result: Some(Blob(b"320x200")) })),
        ("payload", ToClient::Payload(PayloadReply { req: 18, payload: Blob(b"cat.png") })),
        (
            "tasks",
            ToClient::Tasks(Rows {
                req: 8,
                rows: vec![running_task()].into(),
                next: Some("1050".to_owned()),
            }),
        ),
        ("explanation", ToClient::Explanation(Body { req: 7, body: explanation() })),
        ("workers", ToClient::Workers(Rows { req: 9, rows: vec![worker_view()].into(), next: None })),
        ("status", ToClient::Status(Body { req: 10, body: status() })),
    ];
    all.extend(knowledge_replies());
    all.extend([
        ("done", ToClient::Done(Request { req: 18 })),
        ("error", ToClient::Error(error())),
        (
            "goodbye",
            ToClient::Goodbye(Goodbye {
                code: Some(ErrorCode::Draining),
                text: "the broker is going down".into(),
            }),
        ),
    ]);
    all
}

fn accepted() -> Accepted<'static> {
    let refused = vec![
        Refusal {
            index: 0,
            code: ErrorCode::Busy,
            text: "the queue is full".into(),
            retry_after_ms: Some(200),
        },
        Refusal {
            index: 3,
            code: ErrorCode::BadOption,
            text: "option ttl_ms: allowed is 1 to 315360000000".into(),
            retry_after_ms: None,
        },
    ];
    Accepted { seq: 2, durability: Durability::Journal, refused: refused.into() }
}

fn outcomes() -> Outcomes<'static> {
    let succeeded = OutcomeItem {
        task: task(1),
        outcome: Outcome::Succeeded.code(),
        attempt: Attempt(1),
        result: Blob(b"320x200"),
        detail: None,
    };
    let failed = OutcomeItem {
        task: task(2),
        outcome: Outcome::Failed.code(),
        attempt: Attempt(3),
        result: Blob(b""),
        detail: Some(OutcomeDetail { error: Some("no such file".into()), result_dropped: false }),
    };
    let dropped = OutcomeItem {
        task: task(3),
        detail: Some(OutcomeDetail { error: None, result_dropped: true }),
        result: Blob(b""),
        ..succeeded.clone()
    };
    Outcomes { upto: 3, items: vec![succeeded, failed, dropped].into() }
}

pub fn error() -> ErrorReply<'static> {
    ErrorReply {
        req: Some(12),
        code: ErrorCode::Busy,
        text: "the knowledge map is full".into(),
        retry_after_ms: Some(1_000),
    }
}

fn knowledge_replies() -> Vec<(&'static str, ToClient<'static>)> {
    let tell = |req, answer| ToClient::Knowledge(KnowledgeReply { req, answer });
    let entry = EntryItem {
        topic: "app".into(),
        key: "colour".into(),
        revision: Revision(42),
        value: Some(Blob(b"green")),
    };
    let bare = EntryItem { key: "size".into(), revision: Revision(40), value: None, ..entry.clone() };
    vec![
        ("knowledge written", tell(12, KnowledgeAnswer::Written { revision: Revision(42) })),
        ("knowledge entry", tell(14, KnowledgeAnswer::Entry(entry.clone()))),
        (
            "knowledge entries",
            tell(
                15,
                KnowledgeAnswer::Entries {
                    revision: Revision(42),
                    items: vec![entry, bare].into(),
                    more: true,
                },
            ),
        ),
        ("knowledge changes", tell(16, changes())),
        ("knowledge status", tell(17, KnowledgeAnswer::Status(knowledge_status()))),
    ]
}

pub fn changes() -> KnowledgeAnswer<'static> {
    let put = ChangeItem {
        revision: Revision(42),
        topic: "app".into(),
        key: "colour".into(),
        value: Some(Blob(b"green")),
    };
    let delete = ChangeItem { revision: Revision(43), key: "size".into(), value: None, ..put.clone() };
    KnowledgeAnswer::Changes { revision: Revision(43), items: vec![put, delete].into() }
}

fn knowledge_status() -> KnowledgeStatusView {
    KnowledgeStatusView {
        revision: Revision(43),
        entries: 12,
        bytes: 2_048,
        history_from: Revision(0),
        workers: vec![WorkerRevision { worker: a_worker(), name: "w1".to_owned(), revision: Revision(42) }],
    }
}

pub fn settled_task() -> TaskView {
    TaskView {
        id: task(1),
        kind: "resize".to_owned(),
        state: TaskState::Settled,
        outcome: Some(Outcome::Succeeded),
        priority: 0,
        attempt: Attempt(2),
        failures: 1,
        timeouts: 0,
        crashes: 0,
        submitted_unix_ms: 1_790_000_000_000,
        settled_unix_ms: Some(1_790_000_002_500),
        payload_bytes: 0,
        result_bytes: 7,
        worker: Some(a_worker()),
        worker_name: Some("w1".to_owned()),
        error: None,
        trace_id: "0af7651916cd43dd8448eb211c80319c".parse().ok(),
        attempts: vec![AttemptView {
            attempt: Attempt(1),
            worker: a_worker(),
            worker_name: "w1".to_owned(),
            end: AttemptEnd::Failed,
            at_unix_ms: 1_790_000_001_000,
            run_us: 12_000,
            error: Some("out of memory".to_owned()),
        }],
    }
}

fn running_task() -> TaskView {
    TaskView {
        id: task(2),
        state: TaskState::Running,
        outcome: None,
        settled_unix_ms: None,
        payload_bytes: 7,
        result_bytes: 0,
        error: Some("out of memory".to_owned()),
        trace_id: None,
        attempts: Vec::new(),
        ..settled_task()
    }
}

fn explanation() -> Explanation {
    Explanation {
        task: TaskView {
            state: TaskState::Parked,
            attempt: Attempt(0),
            failures: 0,
            worker: None,
            worker_name: None,
            error: None,
            ..running_task()
        },
        reasons: vec![Reason {
            code: ReasonCode::NoWorkerForKind,
            text: "no connected worker serves the kind resize; the task is parked".to_owned(),
        }],
    }
}

pub fn worker_view() -> WorkerView {
    WorkerView {
        id: a_worker(),
        name: "w1".to_owned(),
        host: "shed".to_owned(),
        pid: 4_711,
        state: WorkerState::Ready,
        kinds: vec!["resize".to_owned(), "thumb".to_owned()],
        slots: 4,
        credit: 12,
        running: 4,
        waiting: 3,
        ended: 1_000,
        silent_ms: 120,
        revision: Revision(42),
        average_run_us: 850,
        busy_us: 1_020_000,
    }
}

fn status() -> StatusView {
    StatusView {
        broker: "ganger-broker 0.1.0".to_owned(),
        epoch: Epoch(7),
        uptime_ms: 90_000,
        durability: "journal".to_owned(),
        draining: false,
        workers: 1,
        slots: 4,
        clients: 1,
        queued: 20,
        parked: 2,
        delayed: 1,
        assigned: 3,
        running: 4,
        retained: 900,
        retained_bytes: 180_000,
        dead_set: 1,
        payload_bytes: 210,
        revision: Revision(42),
        knowledge_entries: 12,
        counters: BTreeMap::from([("tasks_accepted".to_owned(), 930), ("tasks_succeeded".to_owned(), 900)]),
        kinds: vec![KindView {
            kind: "resize".to_owned(),
            queued: 18,
            leased: 7,
            workers: 1,
            oldest_ms: 350,
            paused: true,
        }],
        durations: Vec::new(),
    }
}
