//! A peer that does not read is cut before it can make the broker hold much; one that reads is not.

mod common;

use common::{Peer, Rig, submit, task, to_client};
use ganger_common::ErrorCode;
use ganger_common::codec::Blob;
use ganger_common::limits::BATCH_ITEMS_MAX;
use ganger_common::message::{FromClient, KnowledgeAnswer, KnowledgeOp, KnowledgeRequest, Request, ToClient};
use ganger_transport::mem::Way;
use ganger_transport::{Connection, Limits, SendError};

const MIB: usize = 1 << 20;

fn get(req: u64) -> FromClient<'static> {
    let op = KnowledgeOp::Get { topic: "t".into(), key: "k".into() };
    FromClient::Knowledge(KnowledgeRequest { req, op })
}

async fn put_value(peer: &mut Peer, bytes: usize) {
    let value = vec![5; bytes];
    let op = KnowledgeOp::Put { topic: "t".into(), key: "k".into(), value: Blob(&value), expect: None };
    peer.say(&FromClient::Knowledge(KnowledgeRequest { req: 0, op }));
    assert!(matches!(to_client(&peer.hear().await), ToClient::Knowledge(_)));
}

#[tokio::test]
async fn a_peer_that_never_shows_what_it_read_is_cut_with_a_goodbye() {
    let rig = Rig::start();
    let mut other = rig.client(2).await;
    let mut peer = rig.client(1).await;
    // Each of these batches is answered with thousands of refusals.
    let tasks: Vec<_> = (0..BATCH_ITEMS_MAX as u128).map(|number| task(number, "")).collect();
    let batch = ganger_common::encode(&submit(1, tasks));
    loop {
        match peer.link.try_send(batch.clone()) {
            Ok(()) => tokio::task::yield_now().await,
            Err(SendError::Full(_)) => tokio::task::yield_now().await,
            Err(SendError::Gone(_)) => break,
        }
    }
    let frames = peer.hear_out().await;
    let ToClient::Goodbye(goodbye) = to_client(frames.last().unwrap()) else { panic!("no goodbye") };
    assert_eq!(goodbye.code, Some(ErrorCode::SlowReader));
    let said: usize = frames.iter().map(bytes::Bytes::len).sum();
    assert!((32 * MIB..34 * MIB).contains(&said), "{said} bytes were said");
    assert!(other.sync().await.is_empty(), "others notice nothing");
    other.say(&FromClient::Status(Request { req: 1 }));
    let frame = other.hear().await;
    let ToClient::Status(status) = to_client(&frame) else { panic!("{frame:?}") };
    assert_eq!(status.body.counters["slow_readers_cut"], 1);
    rig.finish().await;
}

/// One that asks for far more than it may leave unread gets all of it, piece by piece, as it reads.
#[tokio::test]
async fn a_peer_that_reads_gets_everything_it_asked_for() {
    let rig = Rig::start();
    let mut peer = rig.client(1).await;
    put_value(&mut peer, 9 * MIB).await;
    const ASKED: u64 = 12;
    (1..=ASKED).for_each(|req| peer.say(&get(req)));
    let mut answered = Vec::new();
    let mut most = 0;
    while answered.len() < ASKED as usize {
        let frames = peer.sync().await;
        most = most.max(frames.len());
        for frame in frames {
            let ToClient::Knowledge(reply) = to_client(&frame) else { panic!("not an answer") };
            let KnowledgeAnswer::Entry(entry) = reply.answer else { panic!("not an entry") };
            assert_eq!(entry.value.unwrap().0.len(), 9 * MIB);
            answered.push(reply.req);
        }
    }
    assert_eq!(answered, (1..=ASKED).collect::<Vec<_>>(), "each once, in order");
    assert!(most <= 4, "{most} answers without a sign that they were read");
    rig.finish().await;
}

#[tokio::test]
async fn a_peer_that_asks_without_end_and_does_not_read_is_told_that_it_is_too_much() {
    let rig = Rig::start();
    let mut peer = rig.client(1).await;
    put_value(&mut peer, 9 * MIB).await;
    (1..=400).for_each(|req| peer.say(&get(req)));
    let frames = peer.sync().await;
    let (mut answers, mut busy) = (0, 0);
    for frame in &frames {
        match to_client(frame) {
            ToClient::Knowledge(_) => answers += 1,
            ToClient::Error(error) if error.code == ErrorCode::Busy => {
                assert!(error.req.is_some() && error.retry_after_ms.is_some());
                busy += 1;
            }
            other => panic!("{}", other_kind(&other)),
        }
    }
    assert!(answers <= 2 && busy >= 100, "{answers} answers, {busy} times busy");
    rig.finish().await;
}

fn other_kind(message: &ToClient<'_>) -> &'static str {
    ganger_common::codec::Message::kind(message)
}

#[tokio::test]
async fn a_peer_whose_queue_is_full_is_cut_and_the_others_go_on() {
    let limits = Limits { outbox_messages: 8, ..Limits::default() };
    let rig = Rig::with(common::patient(), &limits);
    let mut peer = rig.client(1).await;
    let mut other = rig.client(2).await;
    rig.net.hold(peer.conn(), Way::ToPeer, true);
    (0..9).for_each(|req| peer.say(&FromClient::Status(Request { req })));
    assert!(peer.hear_out().await.is_empty());
    other.say(&FromClient::Status(Request { req: 1 }));
    let frame = other.hear().await;
    let ToClient::Status(status) = to_client(&frame) else { panic!("{frame:?}") };
    assert_eq!(status.body.counters["queues_full"], 1);
    rig.finish().await;
}
