//! A broker that starts anew and knows nothing, while its peers remember.

use ganger_common::view::TaskState;
use ganger_common::{AttemptEnd, Epoch, ErrorCode, Outcome};
use ganger_scheduler::effect::WorkerCommand;
use ganger_scheduler::input::{Held, WorkerHello};

use crate::support::*;

fn stop(epoch: u64, n: u32, attempt: u32) -> WorkerCommand {
    WorkerCommand::Cancel { leases: vec![lease_of(epoch, n, attempt)], code: Some(ErrorCode::Stale) }
}

/// Task 1 runs on a worker; the broker restarts and knows nothing.
fn forgotten() -> (Desk, Worker) {
    let mut desk = Desk::new();
    let (client, worker) = (desk.client(1), desk.worker(1, 1));
    desk.submit(client, tasks([1]));
    assert_eq!(desk.given(&worker), [(1, 1)]);
    desk.start(&worker, &[lease(1, 1)]);
    desk.restart_empty();
    (desk, worker)
}

#[test]
fn a_worker_before_its_client_keeps_the_attempt_that_runs() {
    let (mut desk, worker) = forgotten();
    let worker = desk.come_back(&worker, &[held_started(1, 1)]);
    assert_eq!(desk.commands(&worker), [], "the client may still come");
    let client = desk.client(1);
    desk.resubmit(client, tasks([1]));
    assert_eq!(desk.told_to_run(&worker), [lease(1, 1)]);
    assert_eq!(desk.fetch(client, 1).map(|task| (task.state, task.attempt.0)), Some((TaskState::Running, 1)));
    desk.pass(secs(6));
    desk.end(&worker, vec![success(1, 1)]);
    assert_eq!(desk.outcomes(client), [(1, Outcome::Succeeded)]);
    assert_eq!(desk.counted("attempts_given"), 0, "it ran once");
}

#[test]
fn a_client_before_its_worker_waits_for_the_attempt_that_runs() {
    let (mut desk, worker) = forgotten();
    let (client, other) = (desk.client(1), desk.worker(2, 1));
    desk.resubmit(client, tasks([1]));
    desk.pass(secs(4));
    assert_eq!(desk.given(&other), []);
    let worker = desk.come_back(&worker, &[held_started(1, 1)]);
    desk.pass(secs(4));
    assert_eq!(desk.given(&other), []);
    desk.end(&worker, vec![success(1, 1)]);
    assert_eq!(desk.outcomes(client), [(1, Outcome::Succeeded)]);
}

#[test]
fn a_result_waits_for_the_client_that_hands_its_task_in_again() {
    let (mut desk, worker) = forgotten();
    let worker = desk.come_back(&worker, &[]);
    desk.end(&worker, vec![success(1, 1)]);
    let client = desk.client(1);
    desk.resubmit(client, tasks([1]));
    let items = desk.outcome_items(client);
    assert_eq!((items[0].outcome, &items[0].result), (Outcome::Succeeded, &result(1).into()));
}

#[test]
fn a_result_that_ends_an_orphaned_lease_waits_too() {
    let (mut desk, worker) = forgotten();
    let worker = desk.come_back(&worker, &[held_started(1, 1)]);
    desk.end(&worker, vec![success(1, 1)]);
    let client = desk.client(1);
    desk.resubmit(client, tasks([1, 2]));
    assert_eq!(desk.outcomes(client), [(1, Outcome::Succeeded)]);
    desk.pass(secs(5));
    assert_eq!(desk.given(&worker), [(2, 1)], "its slot is free");
}

#[test]
fn orphans_are_stopped_when_the_window_ends_and_nobody_came() {
    let (mut desk, worker) = forgotten();
    let worker = desk.come_back(&worker, &[held_started(1, 1)]);
    desk.pass_ms(4_999);
    assert_eq!(desk.commands(&worker), []);
    desk.pass_ms(1);
    assert_eq!(desk.commands(&worker), [stop(1, 1, 1)]);
    let client = desk.client(1);
    desk.resubmit(client, tasks([1]));
    assert_eq!(desk.given(&worker), [], "its slot is not free before it says so");
    desk.end(&worker, vec![ended(1, 1, AttemptEnd::Cancelled)]);
    assert_eq!(desk.given(&worker), [(1, 1)]);
}

#[test]
fn a_new_task_is_not_held_back_in_the_window() {
    let mut desk = Desk::early(|_| ());
    let (client, worker) = (desk.client(1), desk.worker(1, 2));
    desk.submit(client, tasks([1]));
    assert_eq!(desk.given(&worker), [(1, 1)]);
    desk.resubmit(client, tasks([2]));
    assert_eq!(desk.given(&worker), []);
    desk.pass(secs(5));
    assert_eq!(desk.given(&worker), [(2, 1)]);
}

#[test]
fn an_orphan_of_another_kind_than_its_worker_serves_is_not_believed() {
    let mut desk = Desk::early(|config| config.epoch = Epoch(2));
    let holding = vec![Held { lease: lease(1, 1), started: true }];
    let liar = desk.join(WorkerHello { holding, ..worker_hello(1, &["other"], 1) });
    desk.end(&liar, vec![success(2, 1)]);
    let client = desk.client(1);
    desk.resubmit(client, tasks([1, 2]));
    assert_eq!(desk.commands(&liar), [stop(1, 1, 1)]);
    assert_eq!(desk.outcomes(client), []);
    assert_eq!(desk.scheduler.status().delayed, 2);
}

#[test]
fn of_two_workers_that_claim_one_orphan_the_first_has_it() {
    let (mut desk, worker) = forgotten();
    let first = desk.come_back(&worker, &[held_started(1, 1)]);
    let holding = vec![held_started(1, 1)];
    let second = desk.join(WorkerHello { holding, ..worker_hello(2, &[KIND], 1) });
    assert_eq!(desk.commands(&second), [stop(1, 1, 1)]);
    let client = desk.client(1);
    desk.resubmit(client, tasks([1]));
    assert_eq!(desk.told_to_run(&first), [lease(1, 1)]);
    desk.end(&first, vec![success(1, 1)]);
    assert_eq!(desk.outcomes(client), [(1, Outcome::Succeeded)]);
}

#[test]
fn whoever_runs_a_task_whose_result_was_brought_by_another_is_stopped_at_once() {
    let (mut desk, worker) = forgotten();
    let first = desk.come_back(&worker, &[]);
    desk.end(&first, vec![success(1, 1)]);
    let holding = vec![held_started(1, 1)];
    let second = desk.join(WorkerHello { holding, ..worker_hello(2, &[KIND], 1) });
    let client = desk.client(1);
    desk.resubmit(client, tasks([1]));
    assert_eq!(desk.outcomes(client), [(1, Outcome::Succeeded)]);
    assert_eq!(desk.commands(&second), [stop(1, 1, 1)]);
}

#[test]
fn a_task_twice_in_one_batch_meets_its_result_and_another_workers_lease() {
    let (mut desk, worker) = forgotten();
    let first = desk.come_back(&worker, &[]);
    desk.end(&first, vec![success(1, 1)]);
    let holding = vec![held_started(1, 1)];
    let second = desk.join(WorkerHello { holding, ..worker_hello(2, &[KIND], 1) });
    let client = desk.client(1);
    desk.resubmit(client, tasks([1, 1]));
    assert_eq!(desk.outcomes(client), [(1, Outcome::Succeeded)]);
    assert_eq!(desk.commands(&second), [stop(1, 1, 1)]);
}

#[test]
fn after_the_window_a_result_of_a_forgotten_task_is_stale() {
    let (mut desk, worker) = forgotten();
    let worker = desk.come_back(&worker, &[]);
    desk.pass(secs(5));
    desk.end_stale(&worker, success(1, 1));
    let client = desk.client(1);
    desk.resubmit(client, tasks([1]));
    assert_eq!(desk.outcomes(client), []);
    assert_eq!(desk.given(&worker), [(1, 1)]);
}

#[test]
fn an_orphan_that_its_worker_no_longer_names_is_not_its_own() {
    let (mut desk, worker) = forgotten();
    let worker = desk.come_back(&worker, &[held(1, 1)]);
    desk.cut(worker.conn);
    let worker = desk.come_back(&worker, &[]);
    let client = desk.client(1);
    desk.resubmit(client, tasks([1]));
    assert_eq!(desk.fetch(client, 1).map(|task| task.state), Some(TaskState::Delayed));
    desk.pass(secs(5));
    assert_eq!(desk.given(&worker), [(1, 1)]);
}

#[test]
fn an_attempt_that_runs_is_met_by_whoever_hands_its_task_in_also_for_the_first_time() {
    let (mut desk, worker) = forgotten();
    let worker = desk.come_back(&worker, &[held_started(1, 1)]);
    let another = desk.client(2);
    desk.submit(another, tasks([1]));
    assert_eq!(desk.told_to_run(&worker), [lease(1, 1)]);
    assert_eq!(desk.given(&worker), [], "it runs already");
    desk.end(&worker, vec![success(1, 1)]);
    assert_eq!(desk.outcomes(another), [(1, Outcome::Succeeded)]);
}

/// Task 1 took a worker down, waits at another to be told that it may run, and the broker forgets all of it.
fn suspect_forgotten() -> (Desk, Worker) {
    let mut desk = Desk::new();
    let (client, first) = (desk.client(1), desk.worker(1, 1));
    desk.submit(client, tasks([1]));
    assert_eq!(desk.given(&first), [(1, 1)]);
    desk.start(&first, &[lease(1, 1)]);
    desk.cut(first.conn);
    desk.pass(secs(2));
    let second = desk.worker(2, 1);
    assert!(desk.dispatches(&second)[0].confirm());
    desk.restart_empty();
    (desk, second)
}

#[test]
fn a_worker_that_waits_to_run_what_the_broker_forgot_is_told_when_the_task_is_known_again() {
    let (mut desk, worker) = suspect_forgotten();
    let worker = desk.come_back_waiting(&worker, &[held(1, 2)]);
    desk.start(&worker, &[lease(1, 2)]);
    assert_eq!(desk.commands(&worker), [], "nobody knows the task");
    let client = desk.client(1);
    desk.resubmit(client, tasks([1]));
    assert_eq!(desk.told_to_run(&worker), [lease(1, 2)]);
    assert_eq!(desk.fetch(client, 1).map(|task| task.state), Some(TaskState::Running));
}

#[test]
fn a_worker_that_waits_to_run_a_task_that_the_broker_knows_only_as_new_is_told_at_once() {
    let (mut desk, worker) = suspect_forgotten();
    let client = desk.client(1);
    desk.resubmit(client, tasks([1]));
    let worker = desk.come_back_waiting(&worker, &[held(1, 2)]);
    assert_eq!(desk.commands(&worker), [], "it has not started");
    desk.start(&worker, &[lease(1, 2)]);
    assert_eq!(desk.told_to_run(&worker), [lease(1, 2)]);
    desk.cut(worker.conn);
    let worker = desk.come_back_waiting(&worker, &[held_started(1, 2)]);
    assert_eq!(desk.told_to_run(&worker), [lease(1, 2)], "the first may have been lost");
}

#[test]
fn a_start_of_another_worker_or_attempt_does_not_start_an_orphan() {
    let (mut desk, worker) = suspect_forgotten();
    let worker = desk.come_back_waiting(&worker, &[held(1, 2)]);
    let liar = desk.worker(3, 1);
    desk.start(&liar, &[lease(1, 2)]);
    desk.start(&worker, &[lease(1, 1)]);
    let client = desk.client(1);
    desk.resubmit(client, tasks([1]));
    assert_eq!(desk.told_to_run(&worker), []);
    assert_eq!(desk.fetch(client, 1).map(|task| task.state), Some(TaskState::Assigned));
}

#[test]
fn the_late_end_of_an_earlier_attempt_says_nothing_of_the_one_that_runs() {
    let (mut desk, worker) = forgotten();
    let worker = desk.come_back(&worker, &[held_started(1, 2)]);
    desk.end_stale(&worker, failure(1, 1));
    let client = desk.client(1);
    desk.resubmit(client, tasks([1]));
    assert_eq!(desk.told_to_run(&worker), [lease(1, 2)]);
    desk.end(&worker, vec![failure(1, 2)]);
    assert_eq!(desk.fetch(client, 1).map(|task| (task.failures, task.attempts.len())), Some((1, 1)));
}
