//! A broker on real sockets, started and stopped as a library.

mod common;

use std::time::Duration;

use common::{client_hello, to_client};
use ganger_broker::server::Stop;
use ganger_broker::{Broker, BrokerError, Config};
use ganger_common::message::ToClient;
use ganger_common::{ErrorCode, encode};
use ganger_transport::zmq::ZmqConnector;
use ganger_transport::{Connection, Connector, Limits};

#[tokio::test]
async fn a_broker_serves_over_tcp_until_it_is_stopped() {
    let broker = Broker::start(Config::on_free_ports()).unwrap();
    let endpoint = broker.endpoints().clients.clone();
    let mut peer = ZmqConnector::default().connect(&endpoint, &Limits::default()).await.unwrap();
    peer.try_send(encode(&client_hello(1))).unwrap();
    let frame = peer.recv().await.unwrap();
    let ToClient::Welcome(welcome) = to_client(&frame) else { panic!("{frame:?}") };
    assert_eq!(Some(welcome.knowledge_port), broker.endpoints().knowledge.port());
    broker.stop(Stop::Drain);
    let frame = peer.recv().await.unwrap();
    let ToClient::Goodbye(goodbye) = to_client(&frame) else { panic!("{frame:?}") };
    assert_eq!(goodbye.code, Some(ErrorCode::Draining));
    tokio::task::spawn_blocking(|| broker.join()).await.unwrap().unwrap();
}

#[tokio::test]
async fn the_last_words_before_a_close_arrive() {
    let broker = Broker::start(Config::on_free_ports()).unwrap();
    let endpoint = broker.endpoints().clients.clone();
    let mut peer = ZmqConnector::default().connect(&endpoint, &Limits::default()).await.unwrap();
    peer.try_send(bytes::Bytes::from_static(b"\x92\xa5hello\x81\xa8protocol\x92\x07\x00")).unwrap();
    let frame = peer.recv().await.unwrap();
    let ToClient::Error(error) = to_client(&frame) else { panic!("{frame:?}") };
    assert_eq!(error.code, ErrorCode::UnsupportedVersion);
    let end = tokio::time::timeout(Duration::from_secs(10), peer.recv()).await;
    assert!(end.expect("the connection ends").is_err());
}

#[test]
fn an_endpoint_in_use_is_an_error_that_names_the_flag() {
    let first = Broker::start(Config::on_free_ports()).unwrap();
    let config = Config { workers: first.endpoints().workers.clone(), ..Config::on_free_ports() };
    let error = Broker::start(config).unwrap_err();
    assert!(matches!(error, BrokerError::Bind { flag: "--workers", .. }), "{error}");
}

#[test]
fn a_setting_out_of_range_is_refused_before_anything_is_opened() {
    let mut config = Config::on_free_ports();
    config.scheduler.liveness = 0;
    assert!(matches!(Broker::start(config), Err(BrokerError::Config(_))));
}
