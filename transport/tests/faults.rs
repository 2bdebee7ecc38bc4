//! The faults of the network in memory.

use bytes::Bytes;
use futures_util::FutureExt;
use ganger_transport::mem::{MemNet, MemServer, Way};
use ganger_transport::{
    Connection, Connector, DownReason, Endpoint, Limits, Publisher, SendError, Server, ServerEvent,
    Subscription,
};

fn endpoint() -> Endpoint {
    "mem://broker".parse().unwrap()
}

/// All that the server hears now. In memory everything is there at once.
fn events(server: &mut MemServer) -> Vec<ServerEvent> {
    let mut events = Vec::new();
    server.recv(&mut events, usize::MAX).now_or_never();
    events
}

fn bodies(server: &mut MemServer) -> Vec<Bytes> {
    let body = |event| match event {
        ServerEvent::Message { body, .. } => Some(body),
        _ => None,
    };
    events(server).into_iter().filter_map(body).collect()
}

#[tokio::test]
async fn a_cut_connection_is_gone_for_both_and_so_is_what_was_on_its_way() {
    let net = MemNet::new();
    let mut server = net.bind(&endpoint(), &Limits::default()).unwrap();
    let mut connection = net.connector().connect(&endpoint(), &Limits::default()).await.unwrap();
    let conn = connection.conn();
    server.try_send(conn, "lost".into()).unwrap();
    net.hold(conn, Way::ToServer, true);
    connection.try_send("lost too".into()).unwrap();
    net.cut(conn);
    assert_eq!(events(&mut server).last(), Some(&ServerEvent::Down { conn, reason: DownReason::Closed }));
    connection.recv().await.unwrap_err();
    assert_eq!(connection.try_send("x".into()), Err(SendError::Gone("x".into())));
    assert_eq!(server.try_send(conn, "x".into()), Err(SendError::Gone("x".into())));
}

#[tokio::test]
async fn held_messages_go_on_in_their_order() {
    let net = MemNet::new();
    let mut server = net.bind(&endpoint(), &Limits::default()).unwrap();
    let limits = Limits { outbox_messages: 2, ..Limits::default() };
    let mut connection = net.connector().connect(&endpoint(), &limits).await.unwrap();
    let conn = connection.conn();
    net.hold(conn, Way::ToServer, true);
    connection.try_send("first".into()).unwrap();
    connection.try_send("second".into()).unwrap();
    assert_eq!(connection.try_send("third".into()), Err(SendError::Full("third".into())));
    assert!(bodies(&mut server).is_empty());
    net.hold(conn, Way::ToServer, false);
    assert_eq!(bodies(&mut server), ["first", "second"]);

    net.stall(conn, true);
    server.try_send(conn, "down".into()).unwrap();
    assert_eq!(connection.try_recv(), Ok(None));
    net.stall(conn, false);
    assert_eq!(connection.try_recv(), Ok(Some("down".into())));
}

#[tokio::test]
async fn lost_messages_were_accepted() {
    let net = MemNet::new();
    let mut server = net.bind(&endpoint(), &Limits::default()).unwrap();
    let connection = net.connector().connect(&endpoint(), &Limits::default()).await.unwrap();
    net.lose(connection.conn(), Way::ToServer, 2);
    for body in ["1", "2", "3"] {
        connection.try_send(body.into()).unwrap();
    }
    assert_eq!(bodies(&mut server), ["3"]);
}

#[tokio::test]
async fn a_refusing_endpoint_keeps_its_connections() {
    let net = MemNet::new();
    let mut server = net.bind(&endpoint(), &Limits::default()).unwrap();
    let connection = net.connector().connect(&endpoint(), &Limits::default()).await.unwrap();
    net.refuse(&endpoint(), true);
    assert!(net.connector().connect(&endpoint(), &Limits::default()).await.is_err());
    connection.try_send("here".into()).unwrap();
    assert_eq!(bodies(&mut server), ["here"]);
    net.refuse(&endpoint(), false);
    assert!(net.connector().connect(&endpoint(), &Limits::default()).await.is_ok());
}

#[tokio::test]
async fn lost_publications_leave_a_gap() {
    let net = MemNet::new();
    let publisher = net.bind_publisher(&endpoint()).unwrap();
    let topics = ["".to_owned()];
    let mut subscription = net.connector().subscribe(&endpoint(), &topics, &Limits::default()).await.unwrap();
    net.lose_publications(&endpoint(), 1);
    for topic in ["1", "2"] {
        publisher.publish([topic.into(), Bytes::new(), Bytes::new()]).unwrap();
    }
    assert_eq!(subscription.recv().await.unwrap()[0], "2");
}
