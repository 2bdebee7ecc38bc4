//! Outcomes are asked for.

use std::time::Duration;

use ganger_common::Outcome::Succeeded;
use ganger_common::message::{Durability, ErrorReply, TaskProgress, ToClient};
use ganger_common::{Attempt, Epoch, ErrorCode};

use super::rig::{Rig, Seen, id};
use crate::error::Error;
use crate::session::Input;

fn watch(req: u64, tasks: &[u64]) -> Seen {
    Seen::Watch { req, tasks: tasks.to_vec(), events: false }
}

#[test]
fn a_task_of_somebody_else_can_be_waited_for() {
    let mut rig = Rig::open();
    assert_eq!(rig.watch(&[1, 2]), [watch(1, &[1, 2])]);
    assert_eq!(rig.forget(1, &[1]), [Seen::Failed(2, Error::refused(ErrorCode::UnknownTask, "unknown"))]);
    assert_eq!(rig.settle(1, &[1]), [Seen::Settled(vec![(1, Succeeded)]), Seen::Ack(1)]);
}

#[test]
fn a_task_of_this_client_is_not_asked_for_twice() {
    let mut rig = Rig::open();
    rig.submit([1]);
    let tasks = vec![(9, id(1))];
    assert_eq!(rig.handle(Input::Watch { tasks, events: false }), []);
    rig.accept(1);
    let both = Seen::Settled(vec![(1, Succeeded), (9, Succeeded)]);
    assert_eq!(rig.settle(1, &[1]), [both, Seen::Ack(1)]);
}

#[test]
fn everything_awaited_is_asked_for_after_a_lost_connection() {
    let mut rig = Rig::open();
    rig.submit([1, 2]);
    rig.accept(1);
    rig.watch(&[3]);
    rig.lose();
    assert_eq!(rig.connect(), [watch(2, &[1, 2, 3])]);
    assert_eq!(rig.forget(2, &[]), []);
}

#[test]
fn a_broker_that_lost_its_memory_gets_the_task_again() {
    let mut rig = Rig::open();
    rig.submit([1, 2]);
    rig.accept(1);
    rig.lose();
    rig.epoch = Epoch(2);
    assert_eq!(rig.connect(), [watch(1, &[1, 2])]);
    assert_eq!(rig.forget(1, &[0]), [Seen::Submit { seq: 2, again: true, tasks: vec![1] }]);
    // Those who wait were told before.
    assert_eq!(rig.accept(2), []);
    let both = Seen::Settled(vec![(2, Succeeded), (1, Succeeded)]);
    assert_eq!(rig.settle(2, &[2, 1]), [both, Seen::Ack(2)]);
    assert_eq!(rig.session.kept_bytes, 0);
}

#[test]
fn the_same_life_that_forgot_a_task_does_not_run_it_again() {
    let mut rig = Rig::open();
    rig.submit([1]);
    rig.accept(1);
    rig.lose();
    rig.connect();
    assert_eq!(rig.forget(1, &[0]), [Seen::Failed(1, Error::Forgotten)]);
}

#[test]
fn a_task_whose_payload_was_not_kept_is_forgotten() {
    let mut rig = Rig::with(|config| config.resubmit_lost = false);
    rig.connect();
    rig.submit([1]);
    rig.accept(1);
    rig.lose();
    rig.epoch = Epoch(2);
    rig.connect();
    assert_eq!(rig.forget(1, &[0]), [Seen::Failed(1, Error::Forgotten)]);
}

#[test]
fn a_journal_that_forgot_a_task_does_not_run_it_again() {
    let mut rig = Rig::new();
    rig.durability = Durability::Journal;
    rig.connect();
    rig.submit([1]);
    rig.accept(1);
    rig.lose();
    rig.epoch = Epoch(2);
    rig.connect();
    assert_eq!(rig.forget(1, &[0]), [Seen::Failed(1, Error::Forgotten)]);
}

#[test]
fn requests_for_outcomes_are_few_at_a_time() {
    let mut rig = Rig::open();
    let numbers: Vec<u64> = (1..=20).collect();
    let seen = rig.watch(&numbers);
    assert_eq!(
        seen,
        [
            watch(1, &[1, 2, 3, 4]),
            watch(2, &[5, 6, 7, 8]),
            watch(3, &[9, 10, 11, 12]),
            watch(4, &[13, 14, 15, 16])
        ]
    );
    assert_eq!(rig.forget(1, &[]), [watch(5, &[17, 18, 19, 20])]);
}

#[test]
fn a_request_for_outcomes_that_finds_no_room_is_repeated() {
    let mut rig = Rig::open();
    rig.watch(&[1]);
    let (code, text) = (ErrorCode::Busy, "no".into());
    let busy = ErrorReply { req: Some(1), code, text, retry_after_ms: Some(50) };
    assert_eq!(rig.hear(&ToClient::Error(busy)), []);
    assert_eq!(rig.pass(Duration::from_millis(50)), [watch(2, &[1])]);
}

#[test]
fn events_of_tasks_that_nobody_awaits_are_dropped() {
    let mut rig = Rig::open();
    let tasks = vec![(1, id(1))];
    let seen = rig.handle(Input::Watch { tasks, events: true });
    assert_eq!(seen, [Seen::Watch { req: 1, tasks: vec![1], events: true }]);
    let progress =
        |task| TaskProgress { task: id(task), attempt: Attempt(1), fraction: Some(0.5), text: "half".into() };
    assert_eq!(rig.hear(&ToClient::Progress(progress(1))), [Seen::Event(1)]);
    assert_eq!(rig.hear(&ToClient::Progress(progress(2))), []);
}

#[test]
fn who_follows_a_task_before_it_leaves_is_heard() {
    let mut rig = Rig::new();
    rig.submit([1]);
    rig.handle(Input::Watch { tasks: vec![(9, id(1))], events: true });
    assert_eq!(rig.connect(), [Seen::Submit { seq: 1, again: false, tasks: vec![1] }]);
    assert!(rig.last_submit_wants_events);
}

#[test]
fn who_follows_a_task_that_is_under_way_is_heard() {
    let mut rig = Rig::open();
    rig.submit([1]);
    let seen = rig.handle(Input::Watch { tasks: vec![(9, id(1))], events: true });
    assert_eq!(seen, [Seen::Watch { req: 1, tasks: vec![1], events: true }]);
}
