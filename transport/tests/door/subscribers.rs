//! What subscribers ask for.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ganger_transport::door::{DoorLimits, Gate, Grant, SecretKey};
use ganger_transport::zmq::ZmqConnector;
use ganger_transport::{Connector, Limits, Publisher, Subscription};

use crate::rig::{Keys, counts, frame, in_time, publisher, says_and_is_closed, shaken};

#[tokio::test]
async fn s15_topics_without_end_or_measure_are_refused() {
    let (door, publisher) = publisher(DoorLimits::default(), Gate::Open).await;
    let to = publisher.endpoint().clone();
    let many: Vec<u8> =
        (0..1_000_000_u32).flat_map(|number| frame(0, format!("\u{1}topic {number}").as_bytes())).collect();
    for (number, bytes) in
        [frame(0, &vec![1; 1 << 20]), many, frame(0, &[[1].as_slice(), &[b'x'; 1_025]].concat())]
            .iter()
            .enumerate()
    {
        says_and_is_closed(shaken(&to, b"SUB", b"").await, bytes).await;
        counts(&door, "too_many_subscriptions", number as u64 + 1).await;
    }
    // Subscribing to the same, and unsubscribing from what was never there, costs nothing and changes nothing.
    let mut patient = shaken(&to, b"SUB", b"").await;
    let same = [frame(0, b"\x01news"), frame(0, b"\x00never")].concat().repeat(10_000);
    tokio::io::AsyncWriteExt::write_all(&mut patient, &same).await.unwrap();
    // A subscriber has nothing to say.
    says_and_is_closed(patient, &frame(0, b"hello")).await;
    counts(&door, "bad_frame", 1).await;
}

#[tokio::test]
async fn s12_s15_a_key_subscribes_to_its_topics_and_to_nothing_wider() {
    let key = SecretKey::generate();
    let topics = Some(Arc::from(["k/public/".to_owned()]));
    let keys = Keys::new(&[(key.public(), Grant { topics, connections: None })]);
    let (door, publisher) = publisher(DoorLimits::default(), keys.gate()).await;
    let to = publisher.endpoint().clone();
    let connector: ZmqConnector = keys.connector(&key);
    for (number, wide) in ["", "k/", "k/secret/"].iter().enumerate() {
        let topics = ["k/public/a".to_owned(), (*wide).to_owned()];
        let mut subscription = connector.subscribe(&to, &topics, &Limits::default()).await.unwrap();
        in_time(subscription.recv()).await.unwrap_err();
        counts(&door, "topic_not_allowed", number as u64 + 1).await;
    }
    let topics = ["k/public/weather".to_owned()];
    let mut subscription = connector.subscribe(&to, &topics, &Limits::default()).await.unwrap();
    let heard = in_time(async {
        loop {
            for topic in ["k/secret/x", "k/public/weather/x"] {
                publisher.publish([topic.into(), Bytes::new(), Bytes::new()]).unwrap();
            }
            if let Ok(heard) = tokio::time::timeout(Duration::from_millis(20), subscription.recv()).await {
                return heard.unwrap();
            }
        }
    })
    .await;
    assert_eq!(heard[0], "k/public/weather/x");
}
