//! Many at once.

use std::time::Duration;

use ganger_transport::door::DoorLimits;
use ganger_transport::zmq::ZmqConnector;
use ganger_transport::{Connector, Limits, raise_nofile_limit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::rig::{Rig, closed, connect_raw, greeting, in_time, shaken};

#[tokio::test]
async fn s8_a_thousand_silent_connections_keep_nobody_out() {
    let limits = DoorLimits { handshakes_per_address: 256, ..DoorLimits::default() };
    let mut rig = Rig::start(limits).await;
    raise_nofile_limit();
    let mut silent = Vec::new();
    for _ in 0..1_000 {
        silent.push(rig.connect_raw().await);
    }
    // Those who hang are many; those who do not come through.
    rig.counts("handshake_crowded_out", 1_000 - 256).await;
    let honest = ZmqConnector::default();
    let _first = rig.serves(&honest).await;
    let _second = rig.serves(&honest).await;
    drop(silent);
}

#[tokio::test]
async fn ten_thousand_unfinished_handshakes_keep_nobody_out() {
    let mut rig = Rig::start(DoorLimits { burst: 100_000, ..DoorLimits::default() }).await;
    // Each takes a file here, and those that hang take one at the door.
    let files = usize::try_from(raise_nofile_limit()).unwrap_or(usize::MAX);
    let count = files.saturating_sub(3_000).min(10_000);
    let mut half = Vec::new();
    for _ in 0..count {
        let mut peer = rig.connect_raw().await;
        // They begin well and do not go on. The door may have made room for the next already.
        let _ = peer.write_all(&greeting(b"NULL")[..32]).await;
        half.push(peer);
    }
    let _honest = rig.serves(&ZmqConnector::default()).await;
    assert!(rig.count("handshake_crowded_out") as usize >= count.saturating_sub(2_000));
    assert_eq!(rig.count("out_of_files"), 0);
}

#[tokio::test]
async fn s9_connections_come_only_so_fast_from_one_address() {
    let mut rig = Rig::start(DoorLimits { rate: 50, burst: 20, ..DoorLimits::default() }).await;
    let honest = ZmqConnector::default();
    let mut steady = rig.serves(&honest).await;
    for _ in 0..300 {
        drop(rig.connect_raw().await);
    }
    rig.counts("connection_rate", 100).await;
    // Who is in does not notice.
    for round in 0..100 {
        use ganger_transport::{Connection, Server};
        steady.try_send(format!("{round}").into()).unwrap();
        let (conn, body) = rig.message().await;
        rig.server.try_send(conn, body).unwrap();
        assert_eq!(in_time(steady.recv()).await.unwrap(), format!("{round}"));
    }
    // And the storm is forgotten when it is over.
    let mut patience = tokio::time::interval(Duration::from_millis(100));
    in_time(async {
        while honest.connect(&rig.endpoint(), &Limits::default()).await.is_err() {
            patience.tick().await;
        }
    })
    .await;
}

#[tokio::test]
async fn connections_are_capped_in_all_and_by_address() {
    let limits = DoorLimits { connections: 3, connections_per_address: 2, ..DoorLimits::default() };
    let mut rig = Rig::start(limits).await;
    let to = rig.endpoint();
    let _first = shaken(&to, b"DEALER", b"").await;
    let second = shaken(&to, b"DEALER", b"").await;
    let refused = |to| async move {
        let mut peer = connect_raw(&to).await;
        let hello = [greeting(b"NULL").to_vec(), crate::rig::ready(&[("Socket-Type", b"DEALER")])].concat();
        peer.write_all(&hello).await.unwrap();
        assert_eq!(closed(peer).await.len(), 64, "a greeting and no READY");
    };
    refused(to.clone()).await;
    rig.counts("too_many_from_address", 1).await;
    let (_, _) = (rig.up().await, rig.up().await);
    drop(second);
    rig.counts("closed", 1).await;
    let _third = shaken(&to, b"DEALER", b"").await;

    let limits = DoorLimits { connections: 1, ..DoorLimits::default() };
    let rig = Rig::start(limits).await;
    let _only = shaken(&rig.endpoint(), b"DEALER", b"").await;
    refused(rig.endpoint()).await;
    rig.counts("too_many_connections", 1).await;
}

#[tokio::test]
async fn s11_an_identity_that_is_taken_is_worth_nothing() {
    let mut rig = Rig::start(DoorLimits::default()).await;
    let to = rig.endpoint();
    let mut first = shaken(&to, b"DEALER", b"worker-1").await;
    let (one, _) = rig.up().await;
    let mut second = shaken(&to, b"DEALER", b"worker-1").await;
    let (other, peer) = rig.up().await;
    assert!(one != other && peer.addr.is_some_and(|addr| addr == second.local_addr().unwrap()));
    // Each is heard as itself and hears what is meant for it.
    for (peer, conn, text) in [(&mut first, one, b"one"), (&mut second, other, b"two")] {
        speak(peer, text).await;
        assert_eq!(rig.message().await, (conn, bytes::Bytes::from_static(text)));
        use ganger_transport::Server;
        rig.server.try_send(conn, bytes::Bytes::from_static(text)).unwrap();
        let mut heard = [0; 5];
        in_time(peer.read_exact(&mut heard)).await.unwrap();
        assert_eq!(&heard[2..], text);
    }
    drop(first);
    rig.down(one).await;
    speak(&mut second, b"still here").await;
    assert_eq!(rig.message().await.0, other);
}

async fn speak(peer: &mut TcpStream, text: &[u8]) {
    peer.write_all(&crate::rig::frame(0, text)).await.unwrap();
}
