//! A peer can cause an error, never a panic, and harms nobody but itself.

mod common;

use common::{Peer, Rig, submit, task, to_client, to_worker};
use ganger_common::codec::Blob;
use ganger_common::message::{
    AttemptReport, ErrorReply, FromClient, FromWorker, KnowledgeOp, KnowledgeRequest, Page, PublishRequest,
    Report, Request, ToClient, ToWorker,
};
use ganger_common::view::WorkerState;
use ganger_common::{Attempt, Epoch, ErrorCode, limits};
use ganger_transport::Limits;

async fn client_error(peer: &mut Peer) -> (ErrorCode, String) {
    let frame = peer.hear().await;
    let ToClient::Error(ErrorReply { code, text, .. }) = to_client(&frame) else { panic!("{frame:?}") };
    (code, text.0.to_owned())
}

async fn worker_error(peer: &mut Peer) -> (ErrorCode, String) {
    let frame = peer.hear().await;
    let ToWorker::Error(ErrorReply { code, text, .. }) = to_worker(&frame) else { panic!("{frame:?}") };
    (code, text.0.to_owned())
}

/// A message of a type with a hand-made body.
fn raw(kind: &str, body: &[u8]) -> Vec<u8> {
    [&[0x92, 0xa0 | kind.len() as u8], kind.as_bytes(), body].concat()
}

#[tokio::test]
async fn bytes_that_are_no_message_get_an_error_and_change_nothing() {
    let rig = Rig::start();
    let mut peer = rig.client(1).await;
    let deep = raw("status", &[0x91; 100_000]);
    let counted = raw("cancel", b"\x82\xa3req\x01\xa5tasks\xdd\xff\xff\xff\xff");
    let too_many = raw("cancel", b"\x82\xa3req\x01\xa5tasks\xdd\x00\x00\x10\x01");
    let long_kind =
        raw("list", &[b"\x82\xa3req\x01\xa4kind\xd9\x81", &[b'k'; limits::KIND_BYTES_MAX + 1][..]].concat());
    let length = limits::ANY_TEXT_BYTES_MAX + 1;
    let long_text = [b"\x81\xa3req\xdb", &(length as u32).to_be_bytes()[..], &vec![b'x'; length]].concat();
    let long_text = raw("status", &long_text);
    let cases: &[(&[u8], ErrorCode)] = &[
        (b"", ErrorCode::BadMessage),
        (b"\xc1", ErrorCode::BadMessage),
        (b"hello", ErrorCode::BadMessage),
        (b"\x90", ErrorCode::BadMessage),
        (&raw("status", b"\x80"), ErrorCode::BadMessage),
        (&raw("status", b"\x81\xa3req\xa1x"), ErrorCode::BadMessage),
        (&[&raw("status", b"\x81\xa3req\x01")[..], b"\x00"].concat(), ErrorCode::BadMessage),
        (&raw("sudo", b"\x80"), ErrorCode::UnknownMessage),
        (&deep, ErrorCode::BadMessage),
        (&counted, ErrorCode::TooMany),
        (&too_many, ErrorCode::TooMany),
        (&long_kind, ErrorCode::TooLarge),
        (&long_text, ErrorCode::TooLarge),
    ];
    for (bytes, code) in cases {
        peer.say_bytes(bytes);
        let (found, text) = client_error(&mut peer).await;
        assert!(found == *code && !text.is_empty(), "{found} {text}");
    }
    peer.say(&FromClient::Status(Request { req: 1 }));
    let frame = peer.hear().await;
    let ToClient::Status(status) = to_client(&frame) else { panic!("{frame:?}") };
    assert_eq!(status.body.counters["messages_undecodable"], cases.len() as u64);
    assert_eq!((status.body.clients, status.body.queued), (1, 0));
    rig.finish().await;
}

#[tokio::test]
async fn a_message_over_the_limit_gets_too_large() {
    let limits = Limits { message_bytes: 1_000, ..Limits::default() };
    let rig = Rig::with(common::patient(), &limits);
    let mut peer = rig.client(1).await;
    peer.say_bytes(&[0; 1_001]);
    assert_eq!(client_error(&mut peer).await.0, ErrorCode::TooLarge);
    rig.finish().await;
}

#[tokio::test]
async fn a_broadcast_over_the_limit_gets_too_large() {
    let rig = Rig::start();
    let mut peer = rig.client(1).await;
    let body = vec![0; limits::BROADCAST_BYTES_MAX + 1];
    peer.say(&FromClient::Publish(PublishRequest { req: 9, topic: "t".into(), body: Blob(&body) }));
    let frame = peer.hear().await;
    let ToClient::Error(error) = to_client(&frame) else { panic!("{frame:?}") };
    assert_eq!((error.req, error.code), (Some(9), ErrorCode::TooLarge));
    rig.finish().await;
}

#[tokio::test]
async fn a_peer_at_the_wrong_endpoint_is_told_so() {
    let rig = Rig::start();
    let mut client = rig.connect("workers").await;
    client.say(&submit(1, vec![task(1, "a")]));
    let (code, text) = worker_error(&mut client).await;
    assert!(code == ErrorCode::UnknownMessage && text.contains("endpoint for workers"), "{text}");
    client.say(&common::client_hello(1));
    let (code, text) = worker_error(&mut client).await;
    assert!(code == ErrorCode::BadMessage && text.contains("endpoint for workers"), "{text}");
    let mut worker = rig.connect("clients").await;
    worker.say(&common::worker_hello(1, &["a"], 1));
    let (code, text) = client_error(&mut worker).await;
    assert!(code == ErrorCode::BadMessage && text.contains("endpoint for clients"), "{text}");
    rig.finish().await;
}

#[tokio::test]
async fn another_major_version_is_refused_with_both_named_whatever_its_hello_looks_like() {
    let rig = Rig::start();
    for hello in [&b"\x81\xa8protocol\x92\x07\x03"[..], b"\x82\xa8protocol\x92\x07\x03\xa6client\xc3"] {
        for name in ["clients", "workers"] {
            let mut peer = rig.connect(name).await;
            peer.say_bytes(&raw("hello", hello));
            let (code, text) = match name {
                "clients" => client_error(&mut peer).await,
                _ => worker_error(&mut peer).await,
            };
            assert_eq!(code, ErrorCode::UnsupportedVersion);
            assert!(text.contains("7.3") && text.contains("1.0"), "{text}");
            assert!(peer.hear_out().await.is_empty(), "nothing follows but the end");
        }
    }
    rig.finish().await;
}

#[tokio::test]
async fn a_session_whose_peer_changes_its_version_is_away() {
    let rig = Rig::start();
    let mut client = rig.client(1).await;
    let mut worker = rig.worker(2, &["a"], 1).await;
    worker.say_bytes(&raw("hello", b"\x81\xa8protocol\x92\x07\x00"));
    assert_eq!(worker_error(&mut worker).await.0, ErrorCode::UnsupportedVersion);
    client.say(&FromClient::ListWorkers(Page { req: 1, after: None, limit: None }));
    let frame = client.hear().await;
    let ToClient::Workers(page) = to_client(&frame) else { panic!("{frame:?}") };
    assert_eq!(page.rows[0].state, WorkerState::Away);
    rig.finish().await;
}

#[tokio::test]
async fn nothing_is_done_before_a_hello() {
    let rig = Rig::start();
    let mut peer = rig.connect("clients").await;
    peer.say(&submit(1, vec![task(1, "")]));
    assert_eq!(client_error(&mut peer).await.0, ErrorCode::HelloFirst);
    peer.say(&common::client_hello(1));
    assert!(matches!(to_client(&peer.hear().await), ToClient::Welcome(_)));
    peer.say(&submit(1, vec![task(1, "a")]));
    let frame = peer.hear().await;
    let ToClient::Accepted(accepted) = to_client(&frame) else { panic!("{frame:?}") };
    assert!(accepted.refused.is_empty(), "what was refused before the hello is forgotten");
    rig.finish().await;
}

#[tokio::test]
async fn requests_before_a_hello_do_not_block_those_after_it() {
    let rig = Rig::start();
    let mut peer = rig.connect("clients").await;
    let get = |req| {
        let op = KnowledgeOp::Get { topic: "t".into(), key: "k".into() };
        FromClient::Knowledge(KnowledgeRequest { req, op })
    };
    peer.say(&get(1));
    assert_eq!(client_error(&mut peer).await.0, ErrorCode::HelloFirst);
    peer.say(&common::client_hello(1));
    peer.say(&get(2));
    assert!(matches!(to_client(&peer.hear().await), ToClient::Welcome(_)));
    assert_eq!(client_error(&mut peer).await.0, ErrorCode::NotFound);
    rig.finish().await;
}

#[tokio::test]
async fn a_worker_cannot_say_what_makes_no_sense() {
    let rig = Rig::start();
    let mut worker = rig.connect("workers").await;
    for (kinds, slots) in [(&["a"][..], 0), (&["a"], limits::WORKER_SLOTS_MAX + 1), (&[], 1), (&[""], 1)] {
        worker.say(&common::worker_hello(1, kinds, slots));
        assert_eq!(worker_error(&mut worker).await.0, ErrorCode::BadOption);
    }
    worker.say(&common::worker_hello(1, &["a"], 1));
    assert!(matches!(to_worker(&worker.hear().await), ToWorker::Welcome(_)));
    for end in [6, 7, 8, 255] {
        let ended = AttemptReport {
            task: common::task_id(1),
            epoch: Epoch(1),
            attempt: Attempt(1),
            end,
            run_us: 0,
            result: Blob(b""),
            detail: None,
        };
        worker.say(&FromWorker::Report(Report {
            seq: 1,
            started: Vec::new().into(),
            ended: vec![ended].into(),
            waiting: 0,
            recall: None,
        }));
        assert_eq!(worker_error(&mut worker).await.0, ErrorCode::BadMessage);
    }
    rig.finish().await;
}
