//! Tasks are handed in, acknowledged, refused, settled.

use std::time::Duration;

use ganger_common::ErrorCode;
use ganger_common::Outcome::Succeeded;
use ganger_common::message::Durability;

use super::rig::{Rig, Seen, id};
use crate::error::Error;
use crate::session::{Input, Submission};
use crate::task::NewTask;

fn batch(seq: u64, tasks: impl IntoIterator<Item = u64>) -> Seen {
    Seen::Submit { seq, again: false, tasks: tasks.into_iter().collect() }
}

fn batch_again(seq: u64, tasks: impl IntoIterator<Item = u64>) -> Seen {
    Seen::Submit { seq, again: true, tasks: tasks.into_iter().collect() }
}

fn settled(number: u64) -> Seen {
    Seen::Settled(vec![(number, Succeeded)])
}

#[test]
fn a_lone_task_leaves_at_once() {
    let mut rig = Rig::open();
    assert_eq!(rig.submit([1]), [batch(1, [1])]);
    assert_eq!(rig.accept(1), [Seen::Accepted(vec![1]), Seen::Room(1)]);
    assert_eq!(rig.settle(1, &[1]), [settled(1), Seen::Ack(1)]);
    assert_eq!(rig.session.awaited(), 0);
}

#[test]
fn what_comes_behind_four_batches_gathers() {
    let mut rig = Rig::open();
    for number in 1..=4 {
        assert_eq!(rig.submit([number]), [batch(number, [number])]);
    }
    assert_eq!(rig.submit([5]), []);
    assert_eq!(rig.submit([6, 7]), []);
    // Four make a full batch with this broker, which has no reason to wait.
    assert_eq!(rig.submit([8, 9]), [batch(5, 5..=8)]);
    assert_eq!(rig.accept(1), [Seen::Accepted(vec![1]), Seen::Room(1)]);
    assert_eq!(rig.accept(2), [Seen::Accepted(vec![2]), batch(6, [9]), Seen::Room(1)]);
}

#[test]
fn a_batch_holds_what_the_broker_takes() {
    let mut rig = Rig::open();
    assert_eq!(rig.submit(1..=6), [batch(1, 1..=4), batch(2, 5..=6)]);
}

#[test]
fn tasks_handed_in_before_there_is_a_broker_leave_after_the_welcome() {
    let mut rig = Rig::new();
    assert_eq!(rig.submit([1, 2]), []);
    assert_eq!(rig.connect(), [batch(1, [1, 2])]);
}

#[test]
fn what_was_not_acknowledged_is_handed_in_again_before_what_is_new() {
    let mut rig = Rig::open();
    rig.submit([1, 2]);
    rig.submit([3]);
    rig.accept(1);
    assert!(matches!(rig.lose()[..], [Seen::Down(_)]));
    assert_eq!(rig.submit([4]), []);
    let again = Seen::Watch { req: 1, tasks: vec![1, 2], events: false };
    assert_eq!(rig.connect(), [again, batch_again(3, [3]), batch(4, [4])]);
    // The acknowledgement of the lost connection's batch means nothing any more.
    assert_eq!(rig.accept(2), []);
    assert_eq!(rig.accept(3), [Seen::Accepted(vec![3]), Seen::Room(1)]);
}

#[test]
fn an_outcome_comes_once_however_often_it_is_told() {
    let mut rig = Rig::open();
    rig.submit([1]);
    rig.accept(1);
    assert_eq!(rig.settle(1, &[1]), [settled(1), Seen::Ack(1)]);
    assert_eq!(rig.settle(2, &[1]), [Seen::Ack(2)]);
    assert_eq!(rig.session.counters().outcomes_unclaimed, 1);
}

#[test]
fn several_messages_of_outcomes_taken_in_together_are_confirmed_together() {
    let mut rig = Rig::open();
    rig.submit([1, 2]);
    rig.accept(1);
    let now = rig.now;
    for (upto, number) in [(1, 1), (2, 2)] {
        let item = ganger_common::message::OutcomeItem {
            task: id(number),
            outcome: 0,
            attempt: ganger_common::Attempt(1),
            result: ganger_common::codec::Blob(b""),
            detail: None,
        };
        let outcomes = ganger_common::message::Outcomes { upto, items: [item].into_iter().collect() };
        let frame = ganger_common::encode(&ganger_common::message::ToClient::Outcomes(outcomes));
        rig.session.handle(now, Input::Received(frame));
    }
    assert_eq!(rig.seen(), [settled(1), settled(2), Seen::Ack(2)]);
}

#[test]
fn an_outcome_may_overtake_the_acknowledgement() {
    let mut rig = Rig::open();
    rig.submit([1]);
    assert_eq!(rig.settle(1, &[1]), [Seen::Accepted(vec![1]), settled(1), Seen::Ack(1), Seen::Room(1)]);
    assert_eq!(rig.accept(1), []);
}

#[test]
fn numbers_of_outcomes_begin_anew_with_each_connection() {
    let mut rig = Rig::open();
    rig.submit([1, 2]);
    rig.accept(1);
    assert_eq!(rig.settle(7, &[1]), [settled(1), Seen::Ack(7)]);
    rig.lose();
    rig.connect();
    assert_eq!(rig.settle(1, &[2]), [settled(2), Seen::Ack(1)]);
}

#[test]
fn a_full_broker_is_a_pause_and_not_an_error() {
    let mut rig = Rig::open();
    rig.submit([1, 2, 3]);
    let busy = rig.refuse(1, &[(0, ErrorCode::Busy, 300), (2, ErrorCode::Draining, 0)]);
    assert_eq!(busy, [Seen::Accepted(vec![2]), Seen::Room(1)]);
    assert_eq!(rig.session.unacknowledged(), 2);
    assert_eq!(rig.submit([4]), [], "what is new waits, too");
    assert_eq!(rig.pass(Duration::from_millis(299)), []);
    assert_eq!(rig.pass(Duration::from_millis(1)), [batch(2, [1, 3, 4])]);
    assert_eq!(rig.session.counters().busy, 2);
}

#[test]
fn one_who_does_not_want_to_wait_is_told_that_the_broker_is_full() {
    let mut rig = Rig::with(|config| config.patient = false);
    rig.connect();
    rig.submit([1, 2]);
    let told = rig.refuse(1, &[(0, ErrorCode::Busy, 300)]);
    let error = Error::Refused {
        code: ErrorCode::Busy,
        text: "no".to_owned(),
        retry_after: Some(Duration::from_millis(300)),
    };
    assert_eq!(told, [Seen::Failed(1, error), Seen::Accepted(vec![2]), Seen::Room(2)]);
    assert_eq!(rig.submit([3]), [batch(2, [3])], "and what comes next is not held back");
}

#[test]
fn any_other_refusal_is_the_submitters() {
    let mut rig = Rig::open();
    rig.submit([1, 2]);
    let error = Error::Refused { code: ErrorCode::BadOption, text: "no".to_owned(), retry_after: None };
    let expected = [Seen::Failed(1, error), Seen::Accepted(vec![2]), Seen::Room(2)];
    assert_eq!(rig.refuse(1, &[(0, ErrorCode::BadOption, 0)]), expected);
}

#[test]
fn the_window_takes_so_many_tasks() {
    let mut rig = Rig::with(|config| config.window_tasks = 2);
    rig.connect();
    let full = Error::Full { what: "unacknowledged tasks", most: 2 };
    assert_eq!(rig.session.room(), 2);
    assert_eq!(rig.submit([1, 2, 3]), [Seen::Failed(3, full), batch(1, [1, 2])]);
    assert_eq!(rig.session.room(), 0);
}

#[test]
fn the_window_takes_so_many_bytes_and_always_one_task() {
    let mut rig = Rig::with(|config| config.window_bytes = 256);
    rig.connect();
    let task = || NewTask::new("kind", vec![0; 900]);
    assert_eq!(rig.submit_task(1, task()), [batch(1, [1])]);
    assert!(matches!(rig.submit_task(2, task())[..], [Seen::Failed(2, Error::Full { .. })]));
    assert_eq!(rig.accept(1), [Seen::Accepted(vec![1]), Seen::Room(1)]);
    assert_eq!(rig.submit_task(2, task()), [batch(2, [2])]);
}

#[test]
fn what_the_broker_would_refuse_is_refused_here() {
    let mut rig = Rig::open();
    let code = |seen: &[Seen]| match seen {
        [Seen::Failed(_, error), Seen::Room(1)] => error.code(),
        other => panic!("{other:?}"),
    };
    assert_eq!(code(&rig.submit_task(1, NewTask::new("", ""))), Some(ErrorCode::BadOption));
    let slow = NewTask::new("kind", "").max_attempts(0);
    assert_eq!(code(&rig.submit_task(2, slow)), Some(ErrorCode::BadOption));
    assert_eq!(code(&rig.submit_task(3, NewTask::new("kind", vec![0; 1_001]))), Some(ErrorCode::TooLarge));
}

#[test]
fn the_same_id_twice_is_one_task_with_two_who_wait() {
    let mut rig = Rig::open();
    rig.submit([1]);
    let twice = Submission { token: 9, id: id(1), task: NewTask::new("kind", "payload") };
    assert_eq!(rig.handle(Input::Submit(vec![twice])), [Seen::Room(1)]);
    assert_eq!(rig.accept(1), [Seen::Accepted(vec![1, 9]), Seen::Room(1)]);
    let both = Seen::Settled(vec![(1, Succeeded), (9, Succeeded)]);
    assert_eq!(rig.settle(1, &[1]), [both, Seen::Ack(1)]);
}

#[test]
fn a_detached_task_ends_with_its_acceptance() {
    let mut rig = Rig::open();
    rig.submit_task(1, NewTask::new("kind", "").detached());
    let expected = [Seen::Accepted(vec![1]), Seen::Failed(1, Error::Detached), Seen::Room(1)];
    assert_eq!(rig.accept(1), expected);
    assert_eq!(rig.session.awaited(), 0);
}

#[test]
fn payloads_are_let_go_when_the_broker_has_a_journal() {
    let mut rig = Rig::new();
    rig.durability = Durability::Journal;
    rig.connect();
    rig.submit([1]);
    rig.accept(1);
    assert_eq!(rig.session.kept_bytes, 0);
}

#[test]
fn payloads_are_kept_within_their_limit() {
    let mut rig = Rig::with(|config| config.kept_bytes_max = 10);
    rig.connect();
    rig.submit([1, 2]);
    rig.accept(1);
    assert_eq!(rig.session.kept_bytes, b"payload".len());
    rig.settle(2, &[1, 2]);
    assert_eq!(rig.session.kept_bytes, 0);
}
