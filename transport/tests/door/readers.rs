//! Peers that do not read.

use std::time::Duration;

use bytes::Bytes;
use ganger_transport::door::{DoorLimits, Gate};
use ganger_transport::zmq::ZmqConnector;
use ganger_transport::{Connector, Limits, SendError, Server, Subscription};
use tokio::io::AsyncWriteExt;

use crate::rig::{Rig, closed, count, counts, frame, in_time, publish, publisher, shaken};

#[tokio::test]
async fn a_reader_that_stops_is_cut_and_the_others_do_not_notice() {
    let limits = DoorLimits { reader_stall: Duration::from_millis(300), ..DoorLimits::default() };
    let mut rig = Rig::start(limits).await;
    let stopped = shaken(&rig.endpoint(), b"DEALER", b"").await;
    let (conn, _) = rig.up().await;
    let body = Bytes::from(vec![0; 1 << 20]);
    for _ in 0..64 {
        match rig.server.try_send(conn, body.clone()) {
            Ok(()) | Err(SendError::Full(_) | SendError::Gone(_)) => {}
        }
    }
    rig.serves(&ZmqConnector::default()).await;
    rig.counts("slow_reader", 1).await;
    rig.down(conn).await;
    closed(stopped).await;
}

#[tokio::test]
async fn s16_a_subscriber_that_stops_is_cut_and_the_others_miss_nothing() {
    let limits = DoorLimits { subscriber_lag: Duration::from_millis(300), ..DoorLimits::default() };
    let (door, publisher) = publisher(limits, Gate::Open).await;
    let to = ganger_transport::Publisher::endpoint(&publisher).clone();
    let mut stopped = shaken(&to, b"SUB", b"").await;
    stopped.write_all(&frame(0, b"\x01")).await.unwrap();
    let topics = ["news".to_owned()];
    let mut honest = ZmqConnector::default().subscribe(&to, &topics, &Limits::default()).await.unwrap();
    let body = Bytes::from(vec![5; 64 << 10]);
    // Until the honest one has joined.
    in_time(async {
        loop {
            publish(&publisher, &body);
            if tokio::time::timeout(Duration::from_millis(20), honest.recv()).await.is_ok() {
                break;
            }
        }
    })
    .await;
    in_time(async {
        let mut published = 0_u64;
        while count(&door, "slow_reader") == 0 {
            publish(&publisher, &Bytes::from(published.to_string().repeat(10_000)));
            published += 1;
            let heard = honest.recv().await.unwrap();
            let last = heard[2].len();
            assert!(last > 0);
        }
    })
    .await;
    counts(&door, "slow_reader", 1).await;
    closed(stopped).await;
}
