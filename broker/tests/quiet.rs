//! What is not said to peers that need not hear it.

mod common;

use std::time::Duration;

use common::{Rig, published, to_worker};
use ganger_common::Revision;
use ganger_common::codec::Blob;
use ganger_common::limits::PULSE_BEATS;
use ganger_common::message::publish::{BEAT, BeatHeader, PULSE, decode_header};
use ganger_common::message::{
    FromClient, FromWorker, KnowledgeOp, KnowledgeRequest, ToWorker, WorkerHeartbeat,
};
use ganger_transport::Limits;

fn beat(revision: u64, quiet: bool) -> FromWorker<'static> {
    FromWorker::Heartbeat(WorkerHeartbeat { mark: 0, revision: Revision(revision), quiet })
}

#[tokio::test]
async fn a_quiet_heartbeat_is_answered_when_there_is_a_newer_revision_and_not_otherwise() {
    let rig = Rig::start();
    let mut worker = rig.worker(2, &["a"], 1).await;
    for _ in 0..3 {
        worker.say(&beat(0, true));
    }
    let op = KnowledgeOp::List { prefix: "".into(), after: None, keys_only: false, limit: None };
    worker.say(&FromWorker::Knowledge(KnowledgeRequest { req: 1, op }));
    let frame = worker.hear().await;
    assert!(matches!(to_worker(&frame), ToWorker::Knowledge(_)), "none was answered: {frame:?}");

    let mut client = rig.client(1).await;
    let op = KnowledgeOp::Put { topic: "t".into(), key: "k".into(), value: Blob(b"new"), expect: None };
    client.say(&FromClient::Knowledge(KnowledgeRequest { req: 1, op }));
    client.sync().await;
    worker.say(&beat(0, true));
    let frame = worker.hear().await;
    let ToWorker::Heartbeat(answer) = to_worker(&frame) else { panic!("{frame:?}") };
    assert_eq!(answer.revision, Revision(1));
    worker.say(&beat(1, true));
    worker.say(&beat(1, false));
    assert!(matches!(to_worker(&worker.hear().await), ToWorker::Heartbeat(_)), "that one asked");
    rig.finish().await;
}

#[tokio::test]
async fn a_pulse_comes_with_every_fifth_beat() {
    let config = ganger_scheduler::Config {
        heartbeat: Duration::from_millis(20),
        ..ganger_scheduler::Config::default()
    };
    let rig = Rig::with(config, &Limits::default());
    let mut both = rig.subscribe("").await;
    let number = |parts: [bytes::Bytes; 3]| {
        let header: BeatHeader = decode_header(&parts[1]).unwrap();
        (parts[0] == PULSE, header.number)
    };
    let (mut is_pulse, mut first) = (false, 0);
    while !is_pulse {
        (is_pulse, first) = number(published(&mut both).await);
    }
    let every = u64::from(PULSE_BEATS);
    for of in first..first + 2 * every {
        if of > first && (of - first).is_multiple_of(every) {
            assert_eq!(number(published(&mut both).await), (true, of));
        }
        let parts = published(&mut both).await;
        assert_eq!(parts[0], BEAT);
        assert_eq!(number(parts), (false, of), "each is a beat, too");
    }
    rig.finish().await;
}
