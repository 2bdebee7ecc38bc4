//! Whole conversations through the loop: what is asked is answered, and the end is orderly.

mod common;

use std::time::Duration;

use common::{Rig, published, submit, task, task_id, task_with, to_client, to_worker};
use ganger_broker::server::Stop;
use ganger_common::codec::Blob;
use ganger_common::message::publish::{BeatHeader, ChangeOp, DeltaHeader, decode_header};
use ganger_common::message::{
    Ack, AttemptReport, ClientHeartbeat, FromClient, FromWorker, KnowledgeAnswer, KnowledgeOp,
    KnowledgeRequest, PublishRequest, Report, Request, ToClient, ToWorker, WorkerHeartbeat,
};
use ganger_common::version::PROTOCOL;
use ganger_common::{AttemptEnd, ErrorCode, Outcome, Revision, TaskOptions, limits};
use ganger_transport::Limits;

#[tokio::test]
async fn hello_is_answered_with_the_settings_of_the_broker() {
    let config = ganger_scheduler::Config {
        heartbeat: Duration::from_millis(700),
        liveness: 5,
        grace: Duration::from_millis(300),
        knowledge_port: 99,
        ..ganger_scheduler::Config::default()
    };
    let rig = Rig::with(config, &Limits::default());
    let mut peer = rig.connect("clients").await;
    peer.say(&common::client_hello(1));
    let frame = peer.hear().await;
    let ToClient::Welcome(welcome) = to_client(&frame) else { panic!("{frame:?}") };
    assert_eq!(welcome.protocol, PROTOCOL);
    assert_eq!((welcome.heartbeat_ms, welcome.liveness, welcome.grace_ms), (700, 5, 300));
    assert_eq!(welcome.knowledge_port, 99);
    assert_eq!(welcome.message_bytes_max, limits::MESSAGE_BYTES_MAX as u64);
    assert!(welcome.broker.starts_with("ganger-broker "));
    rig.finish().await;
}

#[tokio::test]
async fn a_task_goes_to_a_worker_and_its_result_comes_back() {
    let rig = Rig::start();
    let mut client = rig.client(1).await;
    let mut worker = rig.worker(2, &["square"], 1).await;
    client.say(&submit(1, vec![task(7, "square")]));
    let frame = client.hear().await;
    let ToClient::Accepted(accepted) = to_client(&frame) else { panic!("{frame:?}") };
    assert!(accepted.seq == 1 && accepted.refused.is_empty());

    let frame = worker.hear().await;
    let ToWorker::Tasks(dispatch) = to_worker(&frame) else { panic!("{frame:?}") };
    let item = &dispatch.tasks[0];
    assert_eq!((item.task, &*item.kind, item.payload), (task_id(7), "square", Blob(b"payload")));
    let ended = AttemptReport {
        task: item.task,
        epoch: dispatch.epoch,
        attempt: item.attempt,
        end: AttemptEnd::Succeeded.code(),
        run_us: 10,
        result: Blob(b"result"),
        detail: None,
    };
    worker.say(&FromWorker::Report(Report {
        seq: 1,
        started: Vec::new().into(),
        ended: vec![ended].into(),
        waiting: 0,
        recall: None,
    }));
    let frame = worker.hear().await;
    let ToWorker::Ack(ack) = to_worker(&frame) else { panic!("{frame:?}") };
    assert!(ack.upto == 1 && ack.stale.is_empty());

    let frame = client.hear().await;
    let ToClient::Outcomes(outcomes) = to_client(&frame) else { panic!("{frame:?}") };
    let item = &outcomes.items[0];
    assert_eq!(
        (item.task, item.outcome, item.result),
        (task_id(7), Outcome::Succeeded.code(), Blob(b"result"))
    );
    client.say(&FromClient::Ack(Ack { upto: outcomes.upto }));
    assert!(client.sync().await.is_empty());
    rig.finish().await;
}

#[tokio::test]
async fn tasks_with_bad_options_are_refused_by_their_places_and_the_others_taken() {
    let config = ganger_scheduler::Config { queue_tasks_max: 1, ..common::patient() };
    let rig = Rig::with(config, &Limits::default());
    let mut client = rig.client(1).await;
    let bad = || TaskOptions { max_attempts: Some(0), ..TaskOptions::default() };
    client.say(&submit(5, vec![task_with(1, "a", bad()), task(2, "a"), task(3, ""), task(4, "a")]));
    client.say(&submit(6, vec![task(9, "")]));
    let frame = client.hear().await;
    let ToClient::Accepted(accepted) = to_client(&frame) else { panic!("{frame:?}") };
    let refused: Vec<(u32, ErrorCode)> =
        accepted.refused.iter().map(|refusal| (refusal.index, refusal.code)).collect();
    let expected = [(0, ErrorCode::BadOption), (2, ErrorCode::BadOption), (3, ErrorCode::Busy)];
    assert_eq!((accepted.seq, &refused[..]), (5, &expected[..]));
    assert!(accepted.refused[0].text.contains("max_attempts: allowed is 1 to"));
    assert!(accepted.refused[2].retry_after_ms.is_some());
    let frame = client.hear().await;
    let ToClient::Accepted(accepted) = to_client(&frame) else { panic!("{frame:?}") };
    assert!(accepted.seq == 6 && accepted.refused.len() == 1);
    rig.finish().await;
}

#[tokio::test]
async fn status_counts_what_never_reached_the_scheduler() {
    let rig = Rig::start();
    let mut client = rig.client(1).await;
    client.say_bytes(b"\xc1");
    client.say(&FromClient::Status(Request { req: 3 }));
    let frames = client.sync().await;
    let ToClient::Status(status) = to_client(&frames[1]) else { panic!("{frames:?}") };
    let counters = &status.body.counters;
    assert_eq!((counters["messages_undecodable"], counters["errors_bad_message"]), (1, 1));
    assert_eq!((counters["clients_joined"], counters["connections_opened"]), (1, 1));
    rig.finish().await;
}

#[tokio::test]
async fn knowledge_and_broadcasts_go_out_to_subscribers() {
    let rig = Rig::start();
    let mut client = rig.client(1).await;
    let mut changes = rig.subscribe("k/").await;
    let mut broadcasts = rig.subscribe("b/").await;
    let large = vec![7; limits::PUBLISH_INLINE_BYTES_MAX + 1];
    for (req, value) in [(1, &b"small"[..]), (2, &large)] {
        let op = KnowledgeOp::Put { topic: "t".into(), key: "k".into(), value: Blob(value), expect: None };
        client.say(&FromClient::Knowledge(KnowledgeRequest { req, op }));
    }
    let op = KnowledgeOp::Delete { topic: "t".into(), key: "k".into(), expect: None };
    client.say(&FromClient::Knowledge(KnowledgeRequest { req: 3, op }));
    // A broadcast tells the newest revision that is on record: let it be.
    client.sync().await;
    client.say(&FromClient::Publish(PublishRequest { req: 4, topic: "news".into(), body: Blob(b"hi") }));

    for (revision, op, body) in
        [(1, ChangeOp::Put, &b"small"[..]), (2, ChangeOp::Fetch, b""), (3, ChangeOp::Delete, b"")]
    {
        let [topic, header, sent] = published(&mut changes).await;
        let header: DeltaHeader<'_> = decode_header(&header).unwrap();
        assert_eq!((&topic[..], &sent[..]), (&b"k/t"[..], body));
        assert_eq!((header.revision, header.previous), (Revision(revision), Revision(revision - 1)));
        assert_eq!((header.op, &*header.key), (op, "k"));
        assert_eq!(header.checksum, crc32fast::hash(body));
    }
    let [topic, header, body] = published(&mut broadcasts).await;
    let header: BeatHeader = decode_header(&header).unwrap();
    assert_eq!((&topic[..], &body[..], header.revision), (&b"b/news"[..], &b"hi"[..], Revision(3)));
    rig.finish().await;
}

#[tokio::test]
async fn a_silent_peer_is_told_goodbye_and_a_beat_goes_on() {
    let config = ganger_scheduler::Config {
        heartbeat: Duration::from_millis(50),
        liveness: 2,
        ..ganger_scheduler::Config::default()
    };
    let rig = Rig::with(config, &Limits::default());
    let mut beats = rig.subscribe("beat").await;
    let mut silent = rig.client(1).await;
    let frames = silent.hear_out().await;
    let ToClient::Goodbye(goodbye) = to_client(frames.last().unwrap()) else { panic!("{frames:?}") };
    assert_eq!(goodbye.code, Some(ErrorCode::Silent));
    let [_, first, _] = published(&mut beats).await;
    let [_, second, _] = published(&mut beats).await;
    let [first, second]: [BeatHeader; 2] =
        [first, second].map(|header| decode_header(&header.clone()).unwrap());
    assert_eq!(second.number, first.number + 1);
    rig.finish().await;
}

#[tokio::test]
async fn a_drain_says_goodbye_and_ends_the_loop() {
    let rig = Rig::start();
    let mut client = rig.client(1).await;
    let mut worker = rig.worker(2, &["a"], 1).await;
    rig.stop.send(Stop::Drain).await.unwrap();
    let frames = client.hear_out().await;
    let ToClient::Goodbye(goodbye) = to_client(frames.last().unwrap()) else { panic!("{frames:?}") };
    assert_eq!(goodbye.code, Some(ErrorCode::Draining));
    let frames = worker.hear_out().await;
    assert!(matches!(to_worker(frames.last().unwrap()), ToWorker::Goodbye(_)));
    rig.end().await.unwrap();
}

/// The request to drain comes while messages come in faster than the loop takes them.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_drain_is_not_lost_under_load() {
    let rig = Rig::start();
    let peer = rig.client(1).await;
    let done = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let is_done = done.clone();
    let flood = std::thread::spawn(move || {
        let beat = ganger_common::encode(&FromClient::Heartbeat(ClientHeartbeat { mark: u64::MAX }));
        while !is_done.load(std::sync::atomic::Ordering::Relaxed) {
            let _ = ganger_transport::Connection::try_send(&peer.link, beat.clone());
        }
    });
    rig.stop.send(Stop::Drain).await.unwrap();
    rig.end().await.unwrap();
    done.store(true, std::sync::atomic::Ordering::Relaxed);
    flood.join().unwrap();
}

#[tokio::test]
async fn a_stop_does_not_wait_for_what_runs() {
    let rig = Rig::start();
    let client = rig.client(1).await;
    let mut worker = rig.worker(2, &["a"], 1).await;
    client.say(&submit(1, vec![task(1, "a")]));
    let frame = worker.hear().await;
    assert!(matches!(to_worker(&frame), ToWorker::Tasks(_)));
    rig.finish().await;
}

#[tokio::test]
async fn a_worker_may_read_knowledge_over_its_own_connection() {
    let rig = Rig::start();
    let mut worker = rig.worker(2, &["a"], 1).await;
    worker.say(&FromWorker::Heartbeat(WorkerHeartbeat { mark: 0, revision: Revision(0), quiet: false }));
    let op = KnowledgeOp::List { prefix: "".into(), after: None, keys_only: false, limit: None };
    worker.say(&FromWorker::Knowledge(KnowledgeRequest { req: 8, op }));
    assert!(matches!(to_worker(&worker.hear().await), ToWorker::Heartbeat(_)));
    let frame = worker.hear().await;
    let ToWorker::Knowledge(reply) = to_worker(&frame) else { panic!("{frame:?}") };
    assert!(reply.req == 8 && matches!(reply.answer, KnowledgeAnswer::Entries { more: false, .. }));
    rig.finish().await;
}
