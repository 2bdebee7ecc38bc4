//! A report counts only if its lease is the current one.

use ganger_common::AttemptEnd::{Failed, Interrupted, Returned, TimedOut};
use ganger_common::{ErrorCode, Outcome};
use ganger_scheduler::effect::WorkerCommand;

use crate::support::*;

/// Worker 1 had task 1 and was declared dead; worker 2 has it now; worker 1 is back.
fn moved() -> (Desk, Client, Worker, Worker) {
    let mut desk = Desk::new();
    let (client, late) = (desk.client(1), desk.worker(1, 1));
    desk.submit(client, tasks([1]));
    assert_eq!(desk.given(&late), [(1, 1)]);
    desk.start(&late, &[lease(1, 1)]);
    desk.cut(late.conn);
    desk.pass(secs(2));
    let now = desk.worker(2, 1);
    assert_eq!(desk.given(&now), [(1, 2)]);
    let late = desk.come_back(&late, &[held_started(1, 1)]);
    let stop = WorkerCommand::Cancel { leases: vec![lease(1, 1)], code: Some(ErrorCode::Stale) };
    assert_eq!(desk.commands(&late), [stop]);
    (desk, client, late, now)
}

#[test]
fn a_late_success_settles_the_task_and_stops_the_newer_attempt() {
    let (mut desk, client, late, now) = moved();
    desk.end(&late, vec![success(1, 1)]);
    let items = desk.outcome_items(client);
    assert_eq!(
        (items[0].outcome, items[0].attempt.0, &items[0].result),
        (Outcome::Succeeded, 1, &result(1).into())
    );
    let stop = WorkerCommand::Cancel { leases: vec![lease(1, 2)], code: Some(ErrorCode::Stale) };
    assert_eq!(desk.commands(&now), [stop]);
    desk.end(&now, vec![success(1, 2)]);
    assert_eq!(desk.outcomes(client), [], "settled once");
    assert_eq!(desk.counted("late_successes"), 1);
}

#[test]
fn a_late_success_after_the_settlement_is_stale() {
    let (mut desk, client, late, now) = moved();
    desk.end(&now, vec![success(1, 2)]);
    assert_eq!(desk.outcome_items(client)[0].attempt.0, 2);
    // It was told to stop, so the end itself is expected; it changes nothing.
    desk.end(&late, vec![success(1, 1)]);
    assert_eq!(desk.outcomes(client), []);
    assert_eq!(desk.fetch(client, 1).map(|task| task.attempt.0), Some(2));
}

#[test]
fn any_other_late_report_changes_nothing() {
    for end in [Failed, TimedOut, Interrupted, Returned] {
        let (mut desk, client, late, now) = moved();
        desk.end(&late, vec![ended(1, 1, end)]);
        desk.end_stale(&late, ended(1, 1, end));
        let task = desk.fetch(client, 1).expect("it is remembered");
        assert_eq!((task.attempt.0, task.failures, task.timeouts, task.attempts.len()), (2, 0, 0, 1));
        desk.end(&now, vec![success(1, 2)]);
        assert_eq!(desk.outcomes(client), [(1, Outcome::Succeeded)]);
    }
}

#[test]
fn i5_a_worker_cannot_settle_what_another_holds() {
    let mut desk = Desk::new();
    let (client, holder) = (desk.client(1), desk.worker(1, 1));
    desk.submit(client, tasks([1]));
    assert_eq!(desk.given(&holder), [(1, 1)]);
    let other = desk.worker(2, 1);
    for end in [ganger_common::AttemptEnd::Succeeded, Failed, Returned] {
        desk.end_stale(&other, ended(1, 1, end));
    }
    assert_eq!(desk.commands(&holder), []);
    desk.end(&holder, vec![success(1, 1)]);
    assert_eq!(desk.outcomes(client), [(1, Outcome::Succeeded)]);
}

#[test]
fn i5_a_worker_cannot_settle_an_attempt_that_another_lost() {
    let (mut desk, client, _, now) = moved();
    let other = desk.worker(3, 1);
    desk.end_stale(&other, success(1, 1));
    desk.end(&now, vec![success(1, 2)]);
    assert_eq!(desk.outcome_items(client)[0].attempt.0, 2);
}

#[test]
fn i5_attempts_that_were_never_given_out_settle_nothing() {
    let mut desk = Desk::new();
    let client = desk.client(1);
    desk.submit(client, vec![task_of("other", 1)]);
    let worker = desk.worker(1, 1);
    for wrong in [lease(1, 0), lease(1, 1), lease(1, u32::MAX), lease_of(0, 1, 1), lease_of(2, 1, 1)] {
        desk.end_stale(&worker, ended_of(wrong, ganger_common::AttemptEnd::Succeeded));
    }
    desk.end_stale(&worker, success(77, 1));
    assert_eq!(desk.outcomes(client), []);
    assert_eq!(desk.counted("reports_stale"), 6);
}

#[test]
fn i5_a_hello_cannot_claim_what_was_never_given_to_that_worker() {
    let mut desk = Desk::new();
    let (client, holder) = (desk.client(1), desk.worker(1, 1));
    desk.submit(client, tasks([1, 2]));
    assert_eq!(desk.given(&holder), [(1, 1)]);
    let claims = [held_started(1, 1), held(1, 2), held(2, 1), held_started(2, u32::MAX), held(9, 1)];
    let thief = desk.join(ganger_scheduler::input::WorkerHello {
        holding: claims.to_vec(),
        ..worker_hello(2, &[KIND], 9)
    });
    match desk.commands(&thief).as_slice() {
        [
            WorkerCommand::Cancel { leases, code: Some(ErrorCode::Stale) },
            WorkerCommand::Tasks { tasks, .. },
        ] => {
            assert_eq!(leases.len(), 5, "all claims are refused");
            assert_eq!(
                (tasks[0].task, tasks[0].attempt.0),
                (id(2), 1),
                "and the free task is given properly"
            );
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(desk.scheduler.status().running, 0);
    desk.end(&holder, vec![success(1, 1)]);
    assert_eq!(desk.outcomes(client), [(1, Outcome::Succeeded)]);
}

#[test]
fn the_same_end_twice_counts_once() {
    let mut desk = Desk::new();
    let (client, worker) = (desk.client(1), desk.worker(1, 1));
    desk.submit(client, tasks([1, 2]));
    assert_eq!(desk.given(&worker), [(1, 1)]);
    assert_eq!(desk.report(&worker, vec![], vec![success(1, 1), success(1, 1)], 0), [lease(1, 1)]);
    assert_eq!(desk.outcomes(client), [(1, Outcome::Succeeded)]);
    assert_eq!((desk.counted("attempts_succeeded"), desk.counted("tasks_succeeded")), (1, 1));
    assert_eq!(desk.given(&worker), [(2, 1)]);
}

#[test]
fn a_failure_and_a_success_of_one_lease_in_one_report_settle_it_by_the_first() {
    let mut desk = Desk::new();
    let (client, worker) = (desk.client(1), desk.worker(1, 1));
    desk.submit(client, tasks([1]));
    assert_eq!(desk.given(&worker), [(1, 1)]);
    assert_eq!(desk.report(&worker, vec![], vec![success(1, 1), failure(1, 1)], 0), [lease(1, 1)]);
    assert_eq!(desk.outcomes(client), [(1, Outcome::Succeeded)]);
    assert_eq!(desk.fetch(client, 1).map(|task| task.failures), Some(0));
}
