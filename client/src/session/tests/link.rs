//! Connections come and go.

use std::time::Duration;

use bytes::Bytes;
use ganger_common::ErrorCode;
use ganger_common::message::{Goodbye, ToClient};

use super::rig::{Rig, Seen};
use crate::error::Error;
use crate::session::request::Request;
use crate::session::{Input, WakeReason};

const SECOND: Duration = Duration::from_secs(1);

fn ended(code: ErrorCode) -> Error {
    Error::Ended { code, text: "no".to_owned() }
}

#[test]
fn a_new_session_connects_at_once() {
    let mut rig = Rig::new();
    assert_eq!(rig.session.poll_timeout(), Some((rig.now, WakeReason::Reconnect)));
    assert_eq!(rig.pass(Duration::ZERO), [Seen::Connect]);
    assert_eq!(rig.session.poll_timeout(), None, "the shell has a limit of its own");
}

#[test]
fn heartbeats_echo_the_newest_mark() {
    let mut rig = Rig::open();
    assert_eq!(rig.pass(SECOND), [Seen::Heartbeat(0)]);
    assert_eq!(rig.beat(41), []);
    assert_eq!(rig.pass(SECOND), [Seen::Heartbeat(41)]);
    assert_eq!(rig.beat(42), []);
    assert_eq!(rig.pass(SECOND), [Seen::Heartbeat(42)]);
}

#[test]
fn a_silent_broker_is_given_up_and_tried_again() {
    let mut rig = Rig::open();
    let seen = rig.pass(3 * SECOND);
    let [Seen::Heartbeat(0), Seen::Heartbeat(0), Seen::Disconnect, Seen::Down(pause), ..] = seen[..] else {
        panic!("{seen:?}")
    };
    assert!(pause <= Duration::from_millis(50), "{pause:?} after a connection that had lasted");
    assert_eq!(rig.pass(SECOND), [Seen::Connect]);
}

#[test]
fn any_message_is_a_sign_of_life() {
    let mut rig = Rig::open();
    for _ in 0..10 {
        rig.pass(2 * SECOND);
        assert_eq!(rig.settle(0, &[]), []);
    }
    assert_eq!(rig.session.counters().opened, 1);
}

#[test]
fn pauses_grow_to_a_limit_and_are_never_nothing() {
    let mut rig = Rig::new();
    let mut longest = Duration::ZERO;
    for tries in 0..50 {
        let (at, reason) = rig.session.poll_timeout().unwrap();
        assert_eq!(reason, WakeReason::Reconnect);
        rig.now = at;
        rig.session.handle_timeout(rig.now);
        assert_eq!(rig.seen(), [Seen::Connect]);
        let seen = rig.handle(Input::ConnectFailed { reason: "refused".to_owned() });
        let [Seen::Down(pause)] = seen[..] else { panic!("{seen:?}") };
        assert!(pause >= Duration::from_millis(10) && pause <= 2 * SECOND, "{pause:?}");
        assert!(tries > 0 || pause <= Duration::from_millis(100), "{pause:?} at first");
        longest = longest.max(pause);
    }
    assert!(longest > SECOND, "{longest:?}");
}

#[test]
fn a_broker_that_says_no_welcome_is_given_up() {
    let mut rig = Rig::new();
    rig.pass(Duration::ZERO);
    assert_eq!(rig.handle(Input::Connected), [Seen::Hello]);
    assert_eq!(rig.pass(3 * SECOND)[..1], [Seen::Disconnect]);
}

#[test]
fn a_message_that_stays_unanswered_costs_the_connection() {
    let mut rig = Rig::open();
    rig.submit([1]);
    for _ in 0..14 {
        assert!(!rig.pass(SECOND).contains(&Seen::Disconnect));
        rig.beat(1);
    }
    assert!(rig.pass(SECOND).contains(&Seen::Disconnect));
    assert_eq!(rig.connect(), [Seen::Submit { seq: 2, again: true, tasks: vec![1] }]);
}

#[test]
fn another_version_is_the_end_and_names_both() {
    let mut rig = Rig::new();
    rig.pass(Duration::ZERO);
    rig.handle(Input::Connected);
    // A welcome of version 9.0, written by hand.
    let mut frame = vec![0x92, 0xa7];
    frame.extend_from_slice(b"welcome");
    let rest = serde_json::json!({
        "protocol": [9, 0], "broker": "b", "epoch": 1, "heartbeat_ms": 1000, "liveness": 3,
        "grace_ms": 1, "durability": "memory", "message_bytes_max": 1, "payload_bytes_max": 1,
        "batch_items_max": 1, "revision": 0, "knowledge_port": 0
    });
    frame.extend(crate::json::to_msgpack(&rest).unwrap());
    let seen = rig.handle(Input::Received(Bytes::from(frame)));
    let [Seen::Disconnect, Seen::Ended(Error::Ended { code, text })] = &seen[..] else { panic!("{seen:?}") };
    assert_eq!(*code, ErrorCode::UnsupportedVersion);
    assert!(text.contains("9.0") && text.contains("1.0"), "{text}");
}

#[test]
fn a_session_that_was_taken_ends_for_everybody() {
    let mut rig = Rig::open();
    rig.submit([1]);
    rig.accept(1);
    rig.submit([2]);
    rig.ask(10, Request::Status);
    let error = ended(ErrorCode::SessionTaken);
    let expected = [
        Seen::Disconnect,
        Seen::Failed(1, error.clone()),
        Seen::Failed(2, error.clone()),
        Seen::Answer(10, Err(error.clone())),
        Seen::Ended(error.clone()),
        Seen::Room(1),
    ];
    assert_eq!(rig.complain(ErrorCode::SessionTaken), expected);
    assert_eq!(rig.session.poll_timeout(), None);
    assert_eq!(rig.submit([3]), [Seen::Failed(3, error.clone()), Seen::Room(1)]);
    assert_eq!(rig.watch(&[4]), [Seen::Failed(4, error.clone())]);
    assert_eq!(rig.ask(20, Request::Status), [Seen::Answer(20, Err(error))]);
}

#[test]
fn a_broker_with_too_many_sessions_is_tried_again() {
    let mut rig = Rig::new();
    rig.pass(Duration::ZERO);
    rig.handle(Input::Connected);
    assert!(matches!(rig.complain(ErrorCode::TooManySessions)[..], [Seen::Disconnect, Seen::Down(_)]));
}

#[test]
fn a_complaint_about_nothing_in_particular_is_told() {
    let mut rig = Rig::open();
    assert_eq!(rig.complain(ErrorCode::BadMessage), [Seen::Notice(ErrorCode::BadMessage)]);
}

#[test]
fn a_goodbye_is_followed_by_another_try() {
    let mut rig = Rig::open();
    let goodbye = ToClient::Goodbye(Goodbye { code: None, text: "restart".into() });
    assert!(matches!(rig.hear(&goodbye)[..], [Seen::Disconnect, Seen::Down(_)]));
    assert_eq!(rig.connect(), []);
}

#[test]
fn bytes_that_are_no_message_cost_the_connection() {
    let mut rig = Rig::open();
    let seen = rig.handle(Input::Received(Bytes::from_static(b"\x92\xa8accepted")));
    assert!(matches!(seen[..], [Seen::Disconnect, Seen::Down(_)]));
}

#[test]
fn a_message_of_a_newer_broker_is_skipped() {
    let mut rig = Rig::open();
    let seen = rig.handle(Input::Received(Bytes::from_static(b"\x92\xa5later\x80")));
    assert_eq!(seen, [Seen::Notice(ErrorCode::UnknownMessage)]);
}

#[test]
fn closing_hands_in_what_was_taken_in_and_says_goodbye() {
    let mut rig = Rig::open();
    rig.session.handle(rig.now, Input::Close);
    let expected = [Seen::Goodbye, Seen::Disconnect, Seen::Ended(Error::Closed)];
    assert_eq!(rig.seen(), expected);
    assert!(rig.session.is_over());
}

#[test]
fn what_comes_of_a_connection_that_is_gone_changes_nothing() {
    let mut rig = Rig::open();
    rig.lose();
    assert_eq!(rig.settle(1, &[1]), []);
    assert_eq!(rig.lose(), []);
    assert_eq!(rig.handle(Input::Connected), []);
}
