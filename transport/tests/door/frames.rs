//! After the handshake.

use std::time::Duration;

use bytes::Bytes;
use ganger_transport::door::DoorLimits;
use ganger_transport::zmq::ZmqConnector;
use ganger_transport::{MalformedReason, Server, ServerEvent};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::rig::{Rig, announced, closed, frame, in_time, says_and_is_closed, shaken};

#[tokio::test]
async fn s10_no_announcement_and_no_endless_message_costs_more_than_its_sender() {
    let limits = DoorLimits { message_bytes: 1 << 20, ..DoorLimits::default() };
    let mut rig = Rig::start(limits).await;
    let to = rig.endpoint();
    let megabyte = frame(1, &vec![0; 400 << 10]);
    for (bytes, counter) in [
        (announced(0, u64::MAX >> 1), "message_too_large"),
        (announced(0, 1 << 62), "message_too_large"),
        (announced(0, 1 << 40), "message_too_large"),
        (announced(0, 1 << 31), "message_too_large"),
        (announced(1, (1 << 20) + 1), "message_too_large"),
        ([megabyte.clone(), megabyte.clone(), megabyte].concat(), "message_too_large"),
        (frame(1, b"").repeat(1_000_000), "too_many_parts"),
        (frame(1, b"x").repeat(17), "too_many_parts"),
        (announced(0, u64::MAX), "bad_frame"),
        (frame(8, b"reserved"), "bad_frame"),
        (frame(5, b"\x04PING"), "bad_frame"),
        (frame(4, b"\x05READY"), "bad_frame"),
        (frame(4, b"\x05ERROR\x03bad"), "bad_frame"),
        (frame(4, b"\x09SUBSCRIBEnews"), "bad_frame"),
        (frame(4, b"\x04PING"), "bad_frame"),
        (frame(4, &[9; 2_000]), "bad_frame"),
    ] {
        let before = rig.count(counter);
        let peer = shaken(&to, b"DEALER", b"").await;
        says_and_is_closed(peer, &bytes).await;
        rig.counts(counter, before + 1).await;
    }
    rig.serves(&ZmqConnector::default()).await;
}

#[tokio::test]
async fn a_message_of_a_few_parts_is_reported_and_its_sender_stays() {
    let mut rig = Rig::start(DoorLimits::default()).await;
    let mut peer = shaken(&rig.endpoint(), b"DEALER", b"").await;
    peer.write_all(&[frame(1, b"one"), frame(0, b"two"), frame(0, b"whole")].concat()).await.unwrap();
    let (conn, _) = rig.up().await;
    let reason = MalformedReason::Parts;
    assert_eq!(rig.event().await, ServerEvent::Malformed { conn, parts: 2, bytes: 6, reason });
    assert_eq!(rig.message().await.1, "whole");
}

#[tokio::test]
async fn heartbeats_of_zeromq_are_answered_between_messages() {
    let mut rig = Rig::start(DoorLimits::default()).await;
    let mut peer = shaken(&rig.endpoint(), b"DEALER", b"").await;
    let (conn, _) = rig.up().await;
    let big = Bytes::from(vec![7; 3 << 20]);
    rig.server.try_send(conn, big.clone()).unwrap();
    for number in 0..10_u8 {
        let ping = [b"\x04PING\x00\x10".as_slice(), &[number]].concat();
        peer.write_all(&[frame(4, &ping), frame(0, &[number])].concat()).await.unwrap();
        assert_eq!(rig.message().await.1, vec![number]);
    }
    // The message is whole, and the answers stand behind or before it, never in it.
    let (mut pongs, mut messages) = (Vec::new(), 0);
    while pongs.len() < 10 || messages < 1 {
        let flags = in_time(peer.read_u8()).await.unwrap();
        let length = match flags & 2 {
            0 => u64::from(peer.read_u8().await.unwrap()),
            _ => peer.read_u64().await.unwrap(),
        };
        let mut body = vec![0; length as usize];
        in_time(peer.read_exact(&mut body)).await.unwrap();
        match flags & 4 {
            0 => {
                assert!(body == big);
                messages += 1;
            }
            _ => pongs.push(body),
        }
    }
    let expected: Vec<Vec<u8>> =
        (0..10_u8).map(|number| [b"\x04PONG".as_slice(), &[number]].concat()).collect();
    assert_eq!(pongs, expected);
}

#[tokio::test]
async fn half_a_large_message_does_not_keep_the_room_of_others() {
    let limits =
        DoorLimits { message_bytes: 4 << 20, message_bytes_budget: 4 << 20, ..DoorLimits::default() };
    let mut rig = Rig::start(limits).await;
    let to = rig.endpoint();
    // Takes all of the budget, and then says nothing more.
    let mut hog = shaken(&to, b"DEALER", b"").await;
    hog.write_all(&[announced(0, 4 << 20), vec![0; 1 << 10]].concat()).await.unwrap();
    let mut honest = shaken(&to, b"DEALER", b"").await;
    let body = vec![1; 2 << 20];
    honest.write_all(&frame(0, b"small ones need no room")).await.unwrap();
    assert_eq!(rig.message().await.1, "small ones need no room");
    honest.write_all(&frame(0, &body)).await.unwrap();
    assert!(rig.message().await.1 == body);
    rig.counts("slow_sender", 1).await;
    closed(hog).await;
}

#[tokio::test]
async fn a_peer_whose_messages_nobody_takes_is_not_read_and_holds_up_nobody() {
    let mut rig = Rig::start(DoorLimits::default()).await;
    let mut peer = shaken(&rig.endpoint(), b"DEALER", b"").await;
    let message = frame(0, &[3; 16 << 10]);
    // Nobody takes events from the server: it fills, then the door, then TCP.
    let mut sent = 0_usize;
    while tokio::time::timeout(Duration::from_millis(500), peer.write_all(&message)).await.is_ok() {
        sent += 1;
        assert!(sent < 1 << 17, "somebody takes gigabytes");
    }
    // Everything that was sent whole comes in order once somebody takes it.
    for _ in 0..sent {
        assert_eq!(rig.message().await.1.len(), 16 << 10);
    }
}
