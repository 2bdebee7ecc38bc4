//! Every reason to wake, exactly: due at T means handled at T, and not a nanosecond earlier, by the loop
//! that hands `poll_timeout` back.

use std::time::Duration;

use ganger_common::ErrorCode;

use super::rig::{Rig, Seen};
use crate::session::request::Request;
use crate::session::{Input, WakeReason};

const TICK: Duration = Duration::from_nanos(1);
const SECOND: Duration = Duration::from_secs(1);

impl Rig {
    /// Lets time pass until just before, then to the moment, which must be why the session wakes and what
    /// `wanted` comes of.
    #[track_caller]
    fn exactly_after(&mut self, span: Duration, why: WakeReason, wanted: impl Fn(&Seen) -> bool) {
        let before = self.pass(span - TICK);
        assert!(!before.iter().any(&wanted), "{why:?} came early: {before:?}");
        let due = self.session.poll_timeout();
        assert_eq!(due, Some((self.now + TICK, why)), "what is next");
        let seen = self.pass(TICK);
        assert!(seen.iter().any(&wanted), "nothing of {why:?} in {seen:?}");
    }
}

#[test]
fn a_heartbeat_is_said_after_a_heartbeat() {
    let mut rig = Rig::open();
    rig.exactly_after(SECOND, WakeReason::Heartbeat, |seen| *seen == Seen::Heartbeat(0));
    rig.exactly_after(SECOND, WakeReason::Heartbeat, |seen| *seen == Seen::Heartbeat(0));
}

#[test]
fn a_silent_broker_is_left_after_three_heartbeats() {
    let mut rig = Rig::open();
    rig.pass(Duration::from_millis(700));
    rig.beat(1);
    rig.exactly_after(3 * SECOND, WakeReason::Silence, |seen| *seen == Seen::Disconnect);
}

#[test]
fn a_hello_is_given_up_after_three_heartbeats() {
    let mut rig = Rig::new();
    rig.pass(Duration::ZERO);
    rig.handle(Input::Connected);
    rig.exactly_after(3 * SECOND, WakeReason::NoWelcome, |seen| *seen == Seen::Disconnect);
}

#[test]
fn a_new_connection_is_tried_when_its_pause_is_over() {
    let mut rig = Rig::open();
    for _ in 0..20 {
        let seen = rig.lose();
        let pause = seen.iter().find_map(|seen| match seen {
            Seen::Down(pause) => Some(*pause),
            _ => None,
        });
        let pause = pause.expect("how long it waits");
        rig.exactly_after(pause, WakeReason::Reconnect, |seen| *seen == Seen::Connect);
        rig.handle(Input::Connected);
        rig.welcome();
    }
}

/// Twelve seconds in which the broker lives and answers nothing.
fn live_for_twelve_seconds(rig: &mut Rig) {
    for _ in 0..6 {
        rig.pass(2 * SECOND);
        rig.beat(1);
    }
}

/// What is sent now is not answered by a broker that lives, and costs the connection.
fn costs_the_connection_after_fifteen_seconds(send: impl FnOnce(&mut Rig)) {
    let mut rig = Rig::open();
    rig.pass(Duration::from_millis(300));
    send(&mut rig);
    live_for_twelve_seconds(&mut rig);
    rig.pass(Duration::from_millis(500));
    rig.beat(1);
    let left = Duration::from_millis(2_500);
    rig.exactly_after(left, WakeReason::Unanswered, |seen| *seen == Seen::Disconnect);
}

#[test]
fn a_batch_without_an_answer_costs_the_connection() {
    costs_the_connection_after_fifteen_seconds(|rig| {
        rig.submit([1]);
    });
}

#[test]
fn a_question_without_an_answer_costs_the_connection() {
    costs_the_connection_after_fifteen_seconds(|rig| {
        rig.ask(1, Request::Status);
    });
}

#[test]
fn a_request_for_outcomes_without_an_answer_costs_the_connection() {
    costs_the_connection_after_fifteen_seconds(|rig| {
        rig.watch(&[1]);
    });
}

#[test]
fn a_full_broker_is_asked_again_when_it_says() {
    let mut rig = Rig::open();
    rig.submit([1]);
    rig.refuse(1, &[(0, ErrorCode::Busy, 456)]);
    let is_again = |seen: &Seen| matches!(seen, Seen::Submit { tasks, .. } if *tasks == [1]);
    rig.exactly_after(Duration::from_millis(456), WakeReason::Busy, is_again);
}

#[test]
fn a_full_broker_that_names_no_time_is_asked_again_soon() {
    let mut rig = Rig::open();
    rig.submit([1]);
    rig.refuse(1, &[(0, ErrorCode::Busy, 0)]);
    let is_again = |seen: &Seen| matches!(seen, Seen::Submit { tasks, .. } if *tasks == [1]);
    rig.exactly_after(Duration::from_millis(200), WakeReason::Busy, is_again);
}
