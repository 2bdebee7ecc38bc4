use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ganger_common::codec::{Blob, Message};
use ganger_common::limits::DELAY_MAX;
use ganger_common::message::{self as wire, FromClient, FromWorker, KnowledgeOp as Op};
use ganger_common::version::Version;
use ganger_common::view::{Among, StateFilter};
use ganger_common::{
    AttemptEnd, ClientId, ErrorCode, Revision, SessionToken, TaskId, TaskOptions, WorkerId, decode, encode,
};
use ganger_scheduler::input::{ClientRequest, Discard, KnowledgeOp, NewTask, WorkerRequest};

use super::super::incoming::Beat;
use super::super::{Incoming, client, worker};
use super::{id, lease};
use crate::kinds::Kinds;

fn from_client(message: &FromClient<'_>) -> Incoming<ClientRequest> {
    let frame = encode(message);
    client(&frame, decode(&frame).unwrap(), &mut Kinds::default())
}

fn from_worker(message: &FromWorker<'_>) -> Incoming<WorkerRequest> {
    let frame = encode(message);
    worker(&frame, decode(&frame).unwrap(), &mut Kinds::default())
}

fn new_task(number: u8, kind: &'static str, payload: &'static [u8]) -> wire::NewTask<'static> {
    wire::NewTask { id: id(number), kind: kind.into(), payload: Blob(payload), options: None }
}

/// Each message, and what the scheduler must see of it.
#[test]
fn what_a_client_says_reaches_the_scheduler_unchanged() {
    let hello = wire::ClientHello {
        protocol: Version { major: 1, minor: 9 },
        client: ClientId::from_bytes([1; 16]),
        token: SessionToken::from_bytes([2; 16]),
        name: "n".into(),
    };
    let list = wire::ListTasks {
        req: 7,
        state: Some(StateFilter::Dead),
        kind: Some("k".into()),
        after: Some("3".into()),
        limit: Some(5),
    };
    let page = wire::Page { req: 8, after: None, limit: Some(2) };
    let drain =
        wire::Drain { req: 9, workers: vec!["w".into()].into(), broker: true, deadline_ms: Some(1_500) };
    let ids = |req| wire::TaskList { req, tasks: vec![id(1), id(2)].into() };
    let one = |req| wire::OneTask { req, task: id(1) };
    let of_tasks = discard(12, &[id(1), id(2)], None);
    let among = wire::Discard {
        kind: Some("k".into()),
        after: Some("5.6".into()),
        ..discard(13, &[], Some(Among::Dead))
    };
    let asked = [
        FromClient::Hello(hello),
        FromClient::Watch(wire::Watch { req: 2, tasks: vec![id(1)].into(), events: true }),
        FromClient::Ack(wire::Ack { upto: 4 }),
        FromClient::Cancel(ids(3)),
        FromClient::Retry(ids(4)),
        FromClient::Discard(of_tasks),
        FromClient::Discard(among),
        FromClient::Pause(wire::OneKind { req: 14, kind: "k".into() }),
        FromClient::Resume(wire::OneKind { req: 15, kind: "k".into() }),
        FromClient::Fetch(one(5)),
        FromClient::Payload(one(13)),
        FromClient::Explain(one(6)),
        FromClient::List(list),
        FromClient::ListWorkers(page),
        FromClient::Status(wire::Request { req: 10 }),
        FromClient::Drain(drain),
        FromClient::Publish(wire::PublishRequest { req: 11, topic: "t".into(), body: Blob(b"x") }),
        FromClient::Goodbye(wire::Goodbye { code: None, text: "".into() }),
    ];
    let (task, tasks) = (id(1), vec![id(1), id(2)]);
    let seen = [
        ClientRequest::Hello {
            client: ClientId::from_bytes([1; 16]),
            token: SessionToken::from_bytes([2; 16]),
            name: "n".into(),
        },
        ClientRequest::Watch { req: 2, tasks: vec![task], events: true },
        ClientRequest::Ack { upto: 4 },
        ClientRequest::Cancel { req: 3, tasks: tasks.clone() },
        ClientRequest::Retry { req: 4, tasks: tasks.clone() },
        ClientRequest::Discard { req: 12, which: Discard::Tasks(tasks) },
        ClientRequest::Discard {
            req: 13,
            which: Discard::All { among: Among::Dead, kind: Some("k".into()), after: Some("5.6".into()) },
        },
        ClientRequest::Pause { req: 14, kind: "k".into() },
        ClientRequest::Resume { req: 15, kind: "k".into() },
        ClientRequest::Fetch { req: 5, task },
        ClientRequest::Payload { req: 13, task },
        ClientRequest::Explain { req: 6, task },
        ClientRequest::List {
            req: 7,
            filter: ganger_scheduler::input::TaskFilter {
                state: Some(StateFilter::Dead),
                kind: Some("k".into()),
            },
            after: Some("3".into()),
            limit: Some(5),
        },
        ClientRequest::ListWorkers { req: 8, after: None, limit: Some(2) },
        ClientRequest::Status { req: 10 },
        ClientRequest::Drain {
            req: 9,
            workers: vec!["w".into()],
            broker: true,
            deadline: Some(Duration::from_millis(1_500)),
        },
        ClientRequest::Publish { req: 11, topic: "t".into(), body: Bytes::from_static(b"x") },
        ClientRequest::Goodbye,
    ];
    for (message, expected) in asked.iter().zip(seen) {
        let Incoming::Request(request) = from_client(message) else { panic!("{}", message.kind()) };
        assert_eq!(format!("{request:?}"), format!("{expected:?}"));
    }
    let beat = FromClient::Heartbeat(wire::ClientHeartbeat { mark: 77 });
    assert!(matches!(
        from_client(&beat),
        Incoming::Heartbeat(ClientRequest::Heartbeat, Beat { mark: 77, quiet: None })
    ));
}

fn discard(req: u64, tasks: &[TaskId], among: Option<Among>) -> wire::Discard<'static> {
    wire::Discard { req, tasks: tasks.to_vec().into(), among, kind: None, after: None }
}

#[test]
fn nothing_named_is_not_everything() {
    let both = discard(1, &[id(1)], Some(Among::Any));
    let of_kind = wire::Discard { kind: Some("k".into()), ..discard(1, &[id(1)], None) };
    for asked in [discard(1, &[], None), both, of_kind] {
        let Incoming::Refused(refused) = from_client(&FromClient::Discard(asked)) else { panic!() };
        assert_eq!((refused.req, refused.code), (Some(1), ErrorCode::BadOption));
    }
    for nameless in [FromClient::Pause, FromClient::Resume] {
        let asked = nameless(wire::OneKind { req: 2, kind: "".into() });
        let Incoming::Refused(refused) = from_client(&asked) else { panic!() };
        assert_eq!((refused.req, refused.code), (Some(2), ErrorCode::BadOption));
    }
}

#[test]
fn what_is_asked_of_knowledge_reaches_the_scheduler_unchanged() {
    let (topic, key) = ("t", "k");
    let cases = [
        (
            Op::Put { topic: topic.into(), key: key.into(), value: Blob(b"v"), expect: Some(Revision(2)) },
            KnowledgeOp::Put {
                topic: topic.into(),
                key: key.into(),
                value: Bytes::from_static(b"v"),
                expect: Some(Revision(2)),
            },
        ),
        (
            Op::Delete { topic: topic.into(), key: key.into(), expect: None },
            KnowledgeOp::Delete { topic: topic.into(), key: key.into(), expect: None },
        ),
        (
            Op::Get { topic: topic.into(), key: key.into() },
            KnowledgeOp::Get { topic: topic.into(), key: key.into() },
        ),
        (
            Op::List {
                prefix: topic.into(),
                after: Some((topic.into(), key.into())),
                keys_only: true,
                limit: None,
            },
            KnowledgeOp::List {
                prefix: topic.into(),
                after: Some((topic.into(), key.into())),
                keys_only: true,
                limit: None,
            },
        ),
        (Op::Since { revision: Revision(5) }, KnowledgeOp::Since { revision: Revision(5) }),
        (Op::Status {}, KnowledgeOp::Status),
    ];
    for (op, expected) in cases {
        let asked = wire::KnowledgeRequest { req: 1, op };
        let from_client = from_client(&FromClient::Knowledge(asked.clone()));
        let Incoming::Request(ClientRequest::Knowledge { req: 1, op }) = from_client else { panic!() };
        assert_eq!(format!("{op:?}"), format!("{expected:?}"));
        let from_worker = from_worker(&FromWorker::Knowledge(asked));
        let Incoming::Request(WorkerRequest::Knowledge { req: 1, op }) = from_worker else { panic!() };
        assert_eq!(format!("{op:?}"), format!("{expected:?}"));
    }
    let op = Op::Get { topic: "".into(), key: key.into() };
    let asked = FromClient::Knowledge(wire::KnowledgeRequest { req: 6, op });
    let Incoming::Refused(refused) = from_client(&asked) else { panic!() };
    assert_eq!((refused.req, refused.code), (Some(6), ErrorCode::BadOption));
}

#[test]
fn what_a_worker_says_reaches_the_scheduler_unchanged() {
    let held = wire::Held { task: id(1), epoch: lease(1).epoch, attempt: lease(1).attempt, started: true };
    let hello = FromWorker::Hello(wire::WorkerHello {
        protocol: Version { major: 1, minor: 0 },
        worker: WorkerId::from_bytes([1; 16]),
        token: SessionToken::from_bytes([2; 16]),
        name: "n".into(),
        host: "h".into(),
        pid: 5,
        kinds: vec!["b".into(), "a".into(), "b".into()].into(),
        slots: 4,
        holding: vec![held].into(),
        revision: Revision(6),
        draining: true,
    });
    let Incoming::Request(WorkerRequest::Hello(hello)) = from_worker(&hello) else { panic!() };
    assert_eq!((hello.name.as_str(), hello.host.as_str(), hello.pid, hello.slots), ("n", "h", 5, 4));
    assert_eq!(hello.kinds.iter().map(|kind| &**kind).collect::<Vec<_>>(), ["a", "b"], "each once");
    assert_eq!((hello.holding[0].lease, hello.holding[0].started), (lease(1), true));
    assert_eq!((hello.revision, hello.draining), (Revision(6), true));

    let ended = wire::AttemptReport {
        task: id(2),
        epoch: lease(2).epoch,
        attempt: lease(2).attempt,
        end: AttemptEnd::Failed.code(),
        run_us: 9,
        result: Blob(b"r"),
        detail: Some(wire::EndDetail {
            error: Some("broke".into()),
            is_final: true,
            retry_after_ms: Some(u64::MAX),
        }),
    };
    let report = FromWorker::Report(wire::Report {
        seq: 3,
        started: vec![lease(1)].into(),
        ended: vec![ended].into(),
        waiting: 4,
        recall: Some(5),
    });
    let Incoming::Request(WorkerRequest::Report { seq, started, ended, waiting, recall }) =
        from_worker(&report)
    else {
        panic!()
    };
    assert_eq!((seq, started, waiting, recall), (3, vec![lease(1)], 4, Some(5)));
    let end = &ended[0];
    assert_eq!((end.task, end.end, end.run_us, &end.result[..]), (id(2), AttemptEnd::Failed, 9, &b"r"[..]));
    let detail = end.detail.as_ref().unwrap();
    assert_eq!((detail.error.as_deref(), detail.is_final), (Some("broke"), true));
    assert_eq!(detail.retry_after, Some(DELAY_MAX), "no later than any delay may be");

    let progress = wire::AttemptProgress { lease: lease(1), fraction: Some(f32::NAN), text: "half".into() };
    let Incoming::Request(WorkerRequest::Progress { fraction: None, text, .. }) =
        from_worker(&FromWorker::Progress(progress))
    else {
        panic!("a fraction that is no number is none")
    };
    assert_eq!(text, "half");
    for quiet in [false, true] {
        let beat = wire::WorkerHeartbeat { mark: 7, revision: Revision(8), quiet };
        let Incoming::Heartbeat(WorkerRequest::Heartbeat { revision: Revision(8) }, beat) =
            from_worker(&FromWorker::Heartbeat(beat))
        else {
            panic!("it is a heartbeat")
        };
        assert_eq!(beat, Beat { mark: 7, quiet: quiet.then_some(Revision(8)) });
    }
}

#[test]
fn small_payloads_are_copied_and_large_ones_shared_with_the_message() {
    const LARGE: &[u8] = &[1; super::super::COPY_BELOW];
    let tasks = vec![new_task(1, "k", b"small"), new_task(2, "k", LARGE)];
    let frame = encode(&FromClient::Submit(wire::Submit { seq: 1, again: true, tasks: tasks.into() }));
    let message = decode(&frame).unwrap();
    let Incoming::Request(ClientRequest::Submit { seq: 1, again: true, tasks }) =
        client(&frame, message, &mut Kinds::default())
    else {
        panic!()
    };
    let bytes = |task: &NewTask| task.payload.inline().unwrap().clone();
    let is_shared = |task: &NewTask| frame.as_ptr_range().contains(&bytes(task).as_ptr());
    assert!(!is_shared(&tasks[0]) && is_shared(&tasks[1]));
    assert_eq!((&bytes(&tasks[0])[..], &bytes(&tasks[1])[..]), (&b"small"[..], LARGE));
    assert!(Arc::ptr_eq(&tasks[0].kind, &tasks[1].kind), "one name for both");
}

#[test]
fn refusals_find_their_places_in_the_batch_as_it_came() {
    let bad = TaskOptions { ttl_ms: Some(0), ..TaskOptions::default() };
    let tasks = vec![
        new_task(0, "a", b""),
        wire::NewTask { options: Some(bad), ..new_task(1, "a", b"") },
        new_task(2, "a", b""),
        new_task(3, "", b""),
        wire::NewTask { options: Some(TaskOptions::default()), ..new_task(4, "a", b"") },
    ];
    let submit = FromClient::Submit(wire::Submit { seq: 8, again: false, tasks: tasks.into() });
    let Incoming::Partly { request, refused } = from_client(&submit) else { panic!() };
    let ClientRequest::Submit { tasks, .. } = request else { panic!() };
    assert_eq!(tasks.iter().map(|task| task.id).collect::<Vec<_>>(), [id(0), id(2), id(4)]);
    assert!(tasks.iter().all(|task| task.options.is_none()), "default options are none");
    // The scheduler refuses the second and third of what it saw.
    let theirs = |index| ganger_scheduler::effect::Refusal {
        index,
        code: ErrorCode::Busy,
        text: String::new(),
        retry_after: None,
    };
    let mut merged = vec![theirs(1), theirs(2)];
    refused.merge_into(&mut merged);
    let places: Vec<(u32, ErrorCode)> = merged.iter().map(|refusal| (refusal.index, refusal.code)).collect();
    let (mine, theirs) = (ErrorCode::BadOption, ErrorCode::Busy);
    assert_eq!(places, [(1, mine), (2, theirs), (3, mine), (4, theirs)]);
}

/// No budget counts what a payload keeps beside itself, so that must be little.
#[test]
fn i15_a_small_payload_keeps_no_more_than_its_message_and_no_more_than_a_block() {
    let kept = |count: usize| {
        let tasks: Vec<_> = (0..count).map(|number| new_task(number as u8, "k", b"0123456789")).collect();
        let submit = FromClient::Submit(wire::Submit { seq: 8, again: false, tasks: tasks.into() });
        let length = encode(&submit).len();
        let Incoming::Request(ClientRequest::Submit { tasks, .. }) = from_client(&submit) else { panic!() };
        let ganger_scheduler::Data::Inline(last) = &tasks[count - 1].payload else { panic!() };
        let last = last.clone();
        drop(tasks);
        (last.try_into_mut().expect("nobody else has it").capacity(), length)
    };
    let (alone, length) = kept(1);
    assert!((10..=length).contains(&alone), "{alone} bytes of a message of {length}");
    let (survivor, _) = kept(100);
    assert!((10..=256).contains(&survivor), "{survivor} bytes");
}
