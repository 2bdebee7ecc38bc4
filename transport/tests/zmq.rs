//! What only the ZeroMQ backend must withstand: peers that are not ours.

use std::future::Future;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ganger_transport::zmq::{ZmqConnector, ZmqPublisher, ZmqServer};
use ganger_transport::{
    ConnectError, Connection, Connector, DownReason, Endpoint, Limits, MalformedReason, PublishError,
    Publisher, Server, ServerEvent, Subscription,
};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use zeromq::{DealerSocket, PubSocket, Socket, SocketOptions, SocketRecv, SocketSend, SubSocket, ZmqMessage};

const DEADLINE: Duration = Duration::from_secs(60);

async fn in_time<T>(test: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, test).await.expect("the test takes too long")
}

fn anywhere() -> Endpoint {
    "tcp://127.0.0.1:0".parse().unwrap()
}

async fn server(limits: Limits) -> ZmqServer {
    ZmqServer::bind(&anywhere(), limits).await.unwrap()
}

async fn event(server: &mut ZmqServer) -> ServerEvent {
    let mut events = Vec::new();
    assert_eq!(in_time(server.recv(&mut events, 1)).await, 1);
    events.remove(0)
}

async fn dealer(server: &ZmqServer, options: SocketOptions) -> DealerSocket {
    let mut dealer = DealerSocket::with_options(options);
    dealer.connect(&server.endpoint().to_string()).await.unwrap();
    dealer
}

#[tokio::test]
async fn several_parts_are_reported_and_not_delivered() {
    let mut server = server(Limits::default()).await;
    let mut peer = dealer(&server, SocketOptions::default()).await;
    let mut message = ZmqMessage::from("one");
    message.push_back("two".into());
    message.push_back("three".into());
    peer.send(message).await.unwrap();
    peer.send(ZmqMessage::from("whole")).await.unwrap();

    let ServerEvent::Up { conn, peer: meta } = event(&mut server).await else { panic!() };
    assert!(meta.addr.is_some_and(|addr| addr.ip().is_loopback()));
    let reason = MalformedReason::Parts;
    assert_eq!(event(&mut server).await, ServerEvent::Malformed { conn, parts: 3, bytes: 11, reason });
    assert_eq!(event(&mut server).await, ServerEvent::Message { conn, body: "whole".into() });
}

#[tokio::test]
async fn a_second_claim_to_an_identity_ends_both_connections() {
    let mut server = server(Limits::default()).await;
    let claim = || {
        let mut options = SocketOptions::default();
        options.peer_identity("somebody".parse().unwrap());
        options
    };
    let _first = dealer(&server, claim()).await;
    let ServerEvent::Up { conn, .. } = event(&mut server).await else { panic!() };
    let mut second = dealer(&server, claim()).await;
    assert_eq!(event(&mut server).await, ServerEvent::Down { conn, reason: DownReason::Replaced });
    second.send(ZmqMessage::from("I am somebody")).await.ok();

    // Nothing of either is heard; the next event is that of an honest peer.
    let _honest = dealer(&server, SocketOptions::default()).await;
    assert!(matches!(event(&mut server).await, ServerEvent::Up { conn: next, .. } if next != conn));
}

#[tokio::test]
async fn connections_above_the_limit_are_closed() {
    let mut server = server(Limits { connections: 2, ..Limits::default() }).await;
    let connector = ZmqConnector::default();
    let (endpoint, limits) = (server.endpoint().clone(), Limits::default());
    let first = connector.connect(&endpoint, &limits).await.unwrap();
    let _second = connector.connect(&endpoint, &limits).await.unwrap();
    let mut third = connector.connect(&endpoint, &limits).await.unwrap();
    in_time(third.recv()).await.unwrap_err();

    // A place that becomes free is free.
    drop(first);
    for _ in 0..2 {
        assert!(matches!(event(&mut server).await, ServerEvent::Up { .. }));
    }
    assert!(matches!(event(&mut server).await, ServerEvent::Down { .. }));
    let _fourth = connector.connect(&endpoint, &limits).await.unwrap();
    assert!(matches!(event(&mut server).await, ServerEvent::Up { .. }));
}

#[tokio::test]
async fn a_peer_that_never_shakes_hands_ends_with_the_server() {
    let server = server(Limits::default()).await;
    let address = (server.endpoint().host().unwrap().to_owned(), server.endpoint().port().unwrap());
    let mut silent = TcpStream::connect(address).await.unwrap();
    let mut greeting = [0; 10];
    silent.read_exact(&mut greeting).await.unwrap();
    in_time(server.shutdown(Duration::from_millis(50))).await;
    // The end of the stream, or its reset, but not silence.
    let _ = in_time(silent.read_to_end(&mut Vec::new())).await;
}

#[tokio::test]
async fn a_server_that_is_dropped_ends_its_connections() {
    let server = server(Limits::default()).await;
    let endpoint = server.endpoint().clone();
    let mut connection = ZmqConnector::default().connect(&endpoint, &Limits::default()).await.unwrap();
    drop(server);
    in_time(connection.recv()).await.unwrap_err();
    // The endpoint becomes free when the server's thread is gone.
    in_time(async {
        while ZmqServer::bind(&endpoint, Limits::default()).await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_listener_that_never_answers_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = anywhere().with_port(listener.local_addr().unwrap().port());
    let timeout = Duration::from_millis(100);
    let limits = Limits { connect_timeout: timeout, ..Limits::default() };
    let began = Instant::now();
    let result = ZmqConnector::default().connect(&endpoint, &limits).await.map(drop);
    assert!(matches!(result, Err(ConnectError::Timeout { .. })), "{result:?}");
    assert!(began.elapsed() >= timeout);
}

#[tokio::test]
async fn a_connect_that_nobody_waits_for_leaves_nothing_behind() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = anywhere().with_port(listener.local_addr().unwrap().port());
    let (connector, limits) = (ZmqConnector::default(), Limits::default());
    let mut accepted = Vec::new();
    tokio::select! {
        _ = connector.connect(&endpoint, &limits) => panic!("nobody shook hands"),
        () = async {
            // The first finds out whether anybody listens, the second would stay.
            for _ in 0..2 {
                accepted.push(listener.accept().await.unwrap().0);
            }
        } => {}
    }
    for mut stream in accepted {
        let _ = in_time(stream.read_to_end(&mut Vec::new())).await;
    }
}

#[tokio::test]
async fn a_stalled_subscriber_stops_the_publisher_at_its_limit_until_it_is_gone() {
    let limits = Limits { outbox_bytes: 4 << 20, ..Limits::publisher() };
    let publisher = ZmqPublisher::bind(&anywhere(), limits).await.unwrap();
    let mut subscriber = SubSocket::new();
    subscriber.connect(&publisher.endpoint().to_string()).await.unwrap();
    subscriber.subscribe("").await.unwrap();
    let body = Bytes::from(vec![7; 256 << 10]);
    let publish = || publisher.publish(["topic".into(), "header".into(), body.clone()]);
    in_time(async {
        loop {
            publish().unwrap();
            if let Ok(heard) = tokio::time::timeout(Duration::from_millis(20), subscriber.recv()).await {
                assert_eq!(heard.unwrap().len(), 3);
                break;
            }
        }
        // From here on it does not read.
        while publish() != Err(PublishError::Full) {
            tokio::task::yield_now().await;
        }
        drop(subscriber);
        while publish().is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn publications_that_are_none_are_skipped_and_counted() {
    let mut publisher = PubSocket::new();
    let endpoint: Endpoint = publisher.bind("tcp://127.0.0.1:0").await.unwrap().to_string().parse().unwrap();
    let mut subscription =
        ZmqConnector::default().subscribe(&endpoint, &["news".to_owned()], &Limits::default()).await.unwrap();
    let publication = |parts: &[&'static str]| {
        let mut message = ZmqMessage::from("news");
        parts.iter().for_each(|part| message.push_back(Bytes::from_static(part.as_bytes())));
        message
    };
    in_time(async {
        loop {
            publisher.send(publication(&[])).await.unwrap();
            publisher.send(publication(&["header", "body"])).await.unwrap();
            publisher.send(publication(&["header", "body", "more"])).await.unwrap();
            let heard = tokio::time::timeout(Duration::from_millis(20), subscription.recv()).await;
            if let Ok(heard) = heard {
                assert_eq!(heard.unwrap(), ["news", "header", "body"]);
                break;
            }
        }
        while subscription.skipped() < 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}
