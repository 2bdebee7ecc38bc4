//! How connections begin and end.

use std::time::{Duration, Instant};

use bytes::Bytes;
use ganger_transport::{
    BindError, Connection, Connector, DownReason, Limits, SendError, Server, ServerEvent,
};

use crate::net::{Host, Net, beside, number, numbered};

const GRACE: Duration = Duration::from_secs(30);

pub(crate) async fn coming_and_going_are_seen(net: impl Net) {
    let mut host = Host::start(&net).await;
    let first = host.connect(&net).await;
    let conn = host.up().await;
    let second = host.connect(&net).await;
    let other = host.up().await;
    assert_ne!(conn, other);
    drop(first);
    assert_eq!(host.event().await, ServerEvent::Down { conn, reason: DownReason::Closed });
    assert_eq!(host.server.try_send(conn, Bytes::new()), Err(SendError::Gone(Bytes::new())));
    second.close(GRACE).await;
    assert_eq!(host.event().await, ServerEvent::Down { conn: other, reason: DownReason::Closed });
}

pub(crate) async fn a_kick_closes_after_what_was_sent(net: impl Net) {
    let mut host = Host::start(&net).await;
    let mut connection = host.connect(&net).await;
    let conn = host.up().await;
    host.server.try_send(conn, Bytes::from_static(b"farewell")).unwrap();
    host.server.kick(conn, DownReason::Kicked);
    host.server.kick(conn, DownReason::Kicked);
    assert_eq!(host.down(conn).await, DownReason::Kicked);
    assert_eq!(connection.recv().await.unwrap(), "farewell");
    connection.recv().await.unwrap_err();
    connection.try_recv().unwrap_err();
    assert!(matches!(connection.try_send(Bytes::new()), Err(SendError::Gone(_))));
    assert!(matches!(host.server.try_send(conn, Bytes::new()), Err(SendError::Gone(_))));

    // The next connection is another one.
    let _next = host.connect(&net).await;
    assert_ne!(host.up().await, conn);
}

pub(crate) async fn shutdown_delivers_what_was_accepted(net: impl Net) {
    const COUNT: usize = 2_000;
    let mut host = Host::start(&net).await;
    let mut connection = host.connect(&net).await;
    let conn = host.up().await;
    for sent in 0..COUNT {
        host.server.try_send(conn, numbered(sent, 10_000)).unwrap();
    }
    let began = Instant::now();
    let received = tokio::spawn(async move {
        let mut received = 0;
        while let Ok(body) = connection.recv().await {
            assert_eq!(number(&body), received);
            received += 1;
        }
        received
    });
    host.server.shutdown(GRACE).await;
    assert!(began.elapsed() < GRACE, "it ends when it is done");
    assert_eq!(received.await.unwrap(), COUNT);
}

pub(crate) async fn close_delivers_what_was_accepted(net: impl Net) {
    const COUNT: usize = 2_000;
    let mut host = Host::start(&net).await;
    let connection = host.connect(&net).await;
    let conn = host.up().await;
    for sent in 0..COUNT {
        connection.try_send(numbered(sent, 10_000)).unwrap();
    }
    let closing = tokio::spawn(connection.close(GRACE));
    for expected in 0..COUNT {
        assert_eq!(number(&host.message().await.1), expected);
    }
    assert_eq!(host.down(conn).await, DownReason::Closed);
    closing.await.unwrap();
}

pub(crate) async fn a_restarted_server_is_reached_by_a_new_connection(net: impl Net) {
    let mut host = Host::start(&net).await;
    let endpoint = host.server.endpoint().clone();
    let mut connection = host.connect(&net).await;
    host.up().await;
    host.server.shutdown(GRACE).await;
    connection.recv().await.unwrap_err();
    assert!(matches!(connection.try_send(Bytes::new()), Err(SendError::Gone(_))));
    assert!(net.connector().connect(&endpoint, &Limits::default()).await.is_err());

    host.server = net.bind(&endpoint, Limits::default()).await.unwrap();
    let mut connection = host.connect(&net).await;
    beside(host.echo(), async {
        connection.try_send(Bytes::from_static(b"again")).unwrap();
        assert_eq!(connection.recv().await.unwrap(), "again");
    })
    .await;
}

pub(crate) async fn connecting_to_nobody_fails_in_time(net: impl Net) {
    let host = Host::start(&net).await;
    let endpoint = host.server.endpoint().clone();
    host.server.shutdown(GRACE).await;
    let began = Instant::now();
    let limits = Limits { connect_timeout: Duration::from_secs(20), ..Limits::default() };
    assert!(net.connector().connect(&endpoint, &limits).await.is_err());
    assert!(net.connector().subscribe(&endpoint, &[], &limits).await.is_err());
    assert!(began.elapsed() < limits.connect_timeout, "a refusal is known at once");
}

pub(crate) async fn an_endpoint_in_use_is_named(net: impl Net) {
    let host = Host::start(&net).await;
    let used = host.server.endpoint().clone();
    match net.bind(&used, Limits::default()).await.map(drop) {
        Err(BindError::InUse { endpoint }) => assert_eq!(endpoint, used),
        other => panic!("{other:?}"),
    }
}

/// On a runtime of several threads the library stops for good under this.
pub(crate) async fn churn_under_traffic_freezes_nobody(net: impl Net) {
    const CONNECTIONS: usize = 2_000;
    const AT_A_TIME: usize = 8;
    let mut host = Host::start(&net).await;
    let mut steady = host.connect(&net).await;
    let endpoint = host.server.endpoint().clone();
    beside(host.echo(), async {
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..AT_A_TIME {
            let (connector, endpoint) = (net.connector(), endpoint.clone());
            tasks.spawn(async move {
                for number in 0..CONNECTIONS / AT_A_TIME {
                    let mut connection = connector.connect(&endpoint, &Limits::default()).await.unwrap();
                    for size in [8, 3_000] {
                        connection.try_send(numbered(number, size)).unwrap();
                    }
                    assert_eq!(connection.recv().await.unwrap(), numbered(number, 8));
                }
            });
        }
        let mut rounds = 0;
        while !tasks.is_empty() {
            steady.try_send(numbered(rounds, 100)).unwrap();
            assert_eq!(steady.recv().await.unwrap(), numbered(rounds, 100));
            rounds += 1;
            while let Some(ended) = tasks.try_join_next() {
                ended.unwrap();
            }
        }
        assert!(rounds > 0);
    })
    .await;
}
