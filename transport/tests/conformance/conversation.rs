//! Messages there and back.

use std::collections::HashMap;

use bytes::Bytes;
use futures_util::FutureExt;
use ganger_transport::{Connection, Limits, MalformedReason, Server, ServerEvent};

use crate::net::{Host, Net, beside, number, numbered, send};

pub(crate) async fn what_is_sent_arrives_and_is_answered(net: impl Net) {
    let mut host = Host::start(&net).await;
    let mut connection = host.connect(&net).await;
    assert_eq!(connection.try_recv(), Ok(None));
    connection.try_send(Bytes::from_static(b"question")).unwrap();

    let conn = host.up().await;
    let expected = ServerEvent::Message { conn, body: Bytes::from_static(b"question") };
    assert_eq!(host.event().await, expected);
    host.server.try_send(conn, Bytes::from_static(b"answer")).unwrap();
    assert_eq!(connection.recv().await.unwrap(), "answer");
}

pub(crate) async fn order_holds_within_a_connection(net: impl Net) {
    const COUNT: usize = 5_000;
    let mut host = Host::start(&net).await;
    let mut connection = host.connect(&net).await;
    beside(host.echo(), async {
        for sent in 0..COUNT {
            send(&connection, numbered(sent, sent % 300)).await;
        }
        for expected in 0..COUNT {
            let body = connection.recv().await.unwrap();
            assert_eq!(body, numbered(expected, expected % 300));
        }
    })
    .await;
}

pub(crate) async fn many_peers_are_told_apart(net: impl Net) {
    const PEERS: usize = 100;
    let mut host = Host::start(&net).await;
    let mut connections = Vec::new();
    for peer in 0..PEERS {
        let connection = host.connect(&net).await;
        connection.try_send(numbered(peer, 8)).unwrap();
        connections.push(connection);
    }
    let mut peers = HashMap::new();
    for _ in 0..PEERS {
        let (conn, body) = host.message().await;
        peers.insert(conn, number(&body));
    }
    assert_eq!(peers.len(), PEERS);
    for (conn, peer) in peers {
        host.server.try_send(conn, numbered(peer + 1_000, 8)).unwrap();
    }
    for (peer, connection) in connections.iter_mut().enumerate() {
        assert_eq!(number(&connection.recv().await.unwrap()), peer + 1_000);
    }
}

pub(crate) async fn a_big_message_arrives_whole(net: impl Net) {
    let mut host = Host::start(&net).await;
    let mut connection = host.connect(&net).await;
    let body: Bytes = (0..20_000_003_u32).map(|at| (at ^ (at >> 8)) as u8).collect::<Vec<_>>().into();
    connection.try_send(body.clone()).unwrap();
    connection.try_send(Bytes::from_static(b"after it")).unwrap();
    let (conn, received) = host.message().await;
    assert!(received == body);
    assert_eq!(host.message().await.1, "after it");
    host.server.try_send(conn, received).unwrap();
    assert!(connection.recv().await.unwrap() == body);
}

pub(crate) async fn an_empty_message_arrives(net: impl Net) {
    let mut host = Host::start(&net).await;
    let mut connection = host.connect(&net).await;
    beside(host.echo(), async {
        connection.try_send(Bytes::new()).unwrap();
        connection.try_send(Bytes::from_static(b"second")).unwrap();
        assert_eq!(connection.recv().await.unwrap(), "");
        assert_eq!(connection.recv().await.unwrap(), "second");
    })
    .await;
}

pub(crate) async fn a_message_over_the_limit_is_reported_and_not_delivered(net: impl Net) {
    let mut host = Host::limited(&net, Limits { message_bytes: 1_000, ..Limits::default() }).await;
    let connection = host.connect(&net).await;
    for bytes in [1_000, 1_001, 8] {
        connection.try_send(numbered(1, bytes)).unwrap();
    }
    let conn = host.up().await;
    assert_eq!(host.message().await.1.len(), 1_000);
    let reason = MalformedReason::TooLarge;
    assert_eq!(host.event().await, ServerEvent::Malformed { conn, parts: 1, bytes: 1_001, reason });
    assert_eq!(host.message().await, (conn, numbered(1, 8)));
}

pub(crate) async fn a_cancelled_receive_loses_nothing(net: impl Net) {
    const COUNT: usize = 500;
    let mut host = Host::start(&net).await;
    let mut connection = host.connect(&net).await;
    let mut received = 0;
    let mut events = Vec::new();
    let mut sent = 0;
    while received < COUNT {
        if sent < COUNT {
            connection.try_send(numbered(sent, 8)).unwrap();
            sent += 1;
        }
        // Polled once and dropped, on both sides.
        host.server.recv(&mut events, 3).now_or_never();
        for event in events.drain(..) {
            if let ServerEvent::Message { conn, body } = event {
                host.server.try_send(conn, body).unwrap();
            }
        }
        while let Some(body) = connection.recv().now_or_never() {
            assert_eq!(number(&body.unwrap()), received);
            received += 1;
        }
        tokio::task::yield_now().await;
    }
}
