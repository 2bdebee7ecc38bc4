//! A broker that starts anew, with its journal or without, and peers that lived on.

use ganger_common::view::{ReasonCode, TaskState};
use ganger_common::{AttemptEnd, Epoch, ErrorCode, Outcome, Revision};
use ganger_scheduler::Record;
use ganger_scheduler::effect::{KnowledgeAnswer, WorkerCommand};
use ganger_scheduler::input::{Held, KnowledgeOp};

use crate::support::*;

/// Task 1 runs on a worker; the broker restarts; nobody has come back yet.
pub(crate) fn restarted(set: impl FnOnce(&mut ganger_common::TaskOptions)) -> (Desk, Worker) {
    let mut desk = Desk::new();
    let (client, worker) = (desk.client(1), desk.worker(1, 1));
    desk.submit(client, vec![task_with(1, set)]);
    assert_eq!(desk.given(&worker), [(1, 1)]);
    desk.start(&worker, &[lease(1, 1)]);
    desk.restart();
    (desk, worker)
}

fn stop(epoch: u64, n: u32, attempt: u32) -> WorkerCommand {
    WorkerCommand::Cancel { leases: vec![lease_of(epoch, n, attempt)], code: Some(ErrorCode::Stale) }
}

#[test]
fn each_start_raises_the_epoch_and_writes_it_down_first() {
    let mut desk = Desk::new();
    desk.restart();
    desk.restart();
    let epochs: Vec<Epoch> = desk
        .journal
        .iter()
        .filter_map(|(_, record)| match record {
            Record::Started { epoch } => Some(*epoch),
            _ => None,
        })
        .collect();
    assert_eq!(epochs, [Epoch(1), Epoch(2), Epoch(3)]);
    assert_eq!(desk.scheduler.status().epoch, Epoch(3));
}

#[test]
fn i19_a_running_task_survives_a_restart_if_its_worker_comes_back() {
    let (mut desk, worker) = restarted(|_| ());
    let other = desk.worker(2, 1);
    desk.pass_ms(4_900);
    assert_eq!(desk.given(&other), [], "its worker may still come");
    let worker = desk.come_back(&worker, &[held_started(1, 1)]);
    desk.pass(secs(5));
    assert_eq!(desk.given(&other), []);
    let client = desk.client(1);
    desk.resubmit(client, tasks([1]));
    desk.end(&worker, vec![success(1, 1)]);
    let items = desk.outcome_items(client);
    assert_eq!((items[0].outcome, items[0].attempt.0), (Outcome::Succeeded, 1));
    assert_eq!(desk.counted("leases_adopted"), 1);
}

#[test]
fn a_task_whose_worker_does_not_come_back_goes_to_another_when_the_window_ends() {
    let (mut desk, _) = restarted(|_| ());
    let (client, other) = (desk.client(1), desk.worker(2, 1));
    assert_eq!(desk.reasons(client, 1), [ReasonCode::Recovering]);
    desk.pass_ms(4_999);
    assert_eq!(desk.given(&other), []);
    desk.pass_ms(1);
    assert_eq!(desk.dispatches(&other)[0].task, id(1));
}

#[test]
fn a_result_that_was_ready_before_the_worker_came_back_counts() {
    let (mut desk, worker) = restarted(|_| ());
    let worker = desk.come_back(&worker, &[]);
    desk.end(&worker, vec![success(1, 1)]);
    let client = desk.client(1);
    assert_eq!(desk.watch(client, &[1], false), []);
    assert_eq!(desk.outcomes(client), [(1, Outcome::Succeeded)]);
    assert_eq!(desk.counted("attempts_given"), 0);
}

#[test]
fn a_worker_that_comes_back_too_late_is_told_to_stop_unless_it_is_done() {
    let (mut desk, worker) = restarted(|_| ());
    let other = desk.worker(2, 1);
    desk.pass(secs(5));
    assert_eq!(desk.given(&other).len(), 1);
    let worker = desk.come_back(&worker, &[held_started(1, 1)]);
    assert_eq!(desk.commands(&worker), [stop(1, 1, 1)]);
    desk.end(&worker, vec![success(1, 1)]);
    assert_eq!(desk.commands(&other).len(), 1, "a cancel");
    assert_eq!(desk.counted("late_successes"), 1);
}

#[test]
fn a_task_in_its_pause_after_a_failure_may_be_running_and_is_held_too() {
    let mut desk = Desk::new();
    let (client, worker) = (desk.client(1), desk.worker(1, 1));
    desk.submit(client, tasks([1]));
    assert_eq!(desk.given(&worker), [(1, 1)]);
    desk.end(&worker, vec![failure(1, 1)]);
    desk.pass_ms(1_000);
    assert_eq!(desk.given(&worker), [(1, 2)]);
    desk.restart();
    let other = desk.worker(2, 1);
    desk.pass_ms(4_999);
    assert_eq!(desk.given(&other), [], "the second attempt may be running");
    let worker = desk.come_back(&worker, &[held_started(1, 2)]);
    desk.pass(secs(2));
    assert_eq!(desk.given(&other), []);
    desk.end(&worker, vec![ended_of(lease(1, 2), AttemptEnd::Succeeded)]);
    let client = desk.client(1);
    assert_eq!(
        desk.fetch(client, 1).map(|task| (task.outcome, task.attempt.0)),
        Some((Some(Outcome::Succeeded), 2))
    );
}

#[test]
fn a_task_that_runs_does_not_expire_over_a_restart() {
    let (mut desk, worker) = restarted(|options| options.ttl_ms = Some(1));
    desk.pass(secs(4));
    let worker = desk.come_back(&worker, &[held_started(1, 1)]);
    desk.pass(secs(10));
    desk.end(&worker, vec![success(1, 1)]);
    let client = desk.client(1);
    assert_eq!(desk.fetch(client, 1).and_then(|task| task.outcome), Some(Outcome::Succeeded));
}

#[test]
fn a_task_that_nobody_brings_back_expires_when_the_window_ends() {
    let (mut desk, _) = restarted(|options| options.ttl_ms = Some(1));
    desk.pass(secs(5));
    let client = desk.client(1);
    assert_eq!(desk.fetch(client, 1).and_then(|task| task.outcome), Some(Outcome::Expired));
}

#[test]
fn a_delay_goes_on_over_a_restart() {
    let mut desk = Desk::new();
    let client = desk.client(1);
    desk.submit(client, vec![task_with(1, |options| options.delay_ms = 20_000)]);
    desk.pass(secs(10));
    desk.restart();
    let worker = desk.worker(1, 1);
    desk.pass_ms(9_999);
    assert_eq!(desk.given(&worker), []);
    desk.pass_ms(1);
    assert_eq!(desk.given(&worker), [(1, 1)]);
}

#[test]
fn what_cost_something_is_remembered_over_a_restart() {
    let mut desk = Desk::new();
    let (client, worker) = (desk.client(1), desk.worker(1, 2));
    desk.submit(client, vec![task_with(1, |options| options.backoff_ms = Some(0)), task(2)]);
    assert_eq!(desk.given(&worker).len(), 2);
    desk.start(&worker, &[lease(2, 1)]);
    desk.end(&worker, vec![failure(1, 1)]);
    desk.pass_ms(1);
    assert_eq!(desk.given(&worker), [(1, 2)]);
    desk.end(&worker, vec![ended(1, 2, AttemptEnd::TimedOut)]);
    desk.cut(worker.conn);
    desk.pass(secs(2));
    let before: Vec<_> = [1, 2].iter().map(|n| desk.fetch(client, *n)).collect();
    desk.restart();
    let client = desk.client(1);
    for (before, n) in before.into_iter().zip([1, 2]) {
        let (before, after) = (before.expect("before"), desk.fetch(client, n).expect("after"));
        assert_eq!(
            (after.failures, after.timeouts, after.crashes),
            (before.failures, before.timeouts, before.crashes)
        );
        assert_eq!((after.attempt, after.attempts), (before.attempt, before.attempts));
    }
    desk.pass(secs(5));
    let worker = desk.worker(2, 2);
    let mut given = desk.dispatches(&worker);
    given.sort_by_key(|dispatch| dispatch.task);
    let given: Vec<_> =
        given.iter().map(|task| (number(task.task), task.attempt.0, task.confirm())).collect();
    assert_eq!(given, [(1, 3, false), (2, 2, true)]);
}

#[test]
fn order_and_priorities_survive_a_restart() {
    let mut desk = Desk::new();
    let (client, worker) = (desk.client(1), desk.worker(1, 1));
    let mut batch = tasks(1..=4);
    batch.push(task_with(5, |options| options.priority = 1));
    desk.submit(client, batch);
    let first = desk.given(&worker)[0].0;
    desk.cut(worker.conn);
    desk.pass(secs(2));
    desk.restart();
    desk.pass(secs(5));
    let worker = desk.worker(2, 10);
    let order: Vec<u32> = desk.given(&worker).iter().map(|(n, _)| *n).collect();
    assert_eq!((first, order), (5, vec![5, 1, 2, 3, 4]));
}

#[test]
fn knowledge_and_its_revision_survive_a_restart() {
    let mut desk = Desk::new();
    let client = desk.client(1);
    let put =
        |key: &str| KnowledgeOp::Put { topic: "t".into(), key: key.into(), value: "v".into(), expect: None };
    desk.know(client, put("a")).expect("a");
    desk.know(client, put("b")).expect("b");
    desk.take();
    desk.restart();
    let client = desk.client(1);
    let answer = desk.know(client, KnowledgeOp::Since { revision: Revision(1) }).expect("changes");
    assert!(
        matches!(answer, KnowledgeAnswer::Changes { revision: Revision(2), items } if items[0].key == "b")
    );
}

#[test]
fn i10_recovering_twice_is_the_same_as_recovering_once() {
    let (mut desk, _) = restarted(|_| ());
    let before = desk.scheduler.status();
    desk.restart();
    let after = desk.scheduler.status();
    assert_eq!((before.delayed, before.payload_bytes), (after.delayed, after.payload_bytes));
}

#[test]
fn i14_a_wall_clock_that_was_set_back_while_the_broker_was_down_holds_nothing_up() {
    let mut desk = Desk::new();
    let (client, worker) = (desk.client(1), desk.worker(1, 1));
    desk.submit(
        client,
        vec![
            task_with(1, |options| options.priority = 9),
            task_with(2, |options| options.priority = 1),
            task_with(3, |options| options.delay_ms = 20_000),
            task_with(4, |options| (options.priority, options.ttl_ms) = (-1, Some(20_000))),
        ],
    );
    assert_eq!(desk.given(&worker), [(1, 1)]);
    desk.end(&worker, vec![failure_with(1, 1, |detail| detail.retry_after = Some(secs(20)))]);
    desk.given(&worker);
    desk.now.wall.0 -= 86_400_000;
    desk.restart();
    desk.pass(secs(5));
    let worker = desk.worker(2, 1);
    assert_eq!(desk.given(&worker)[0].0, 2);
    let client = desk.client(1);
    desk.pass(secs(15));
    desk.end(&worker, vec![ended_of(lease_of(2, 2, 1), AttemptEnd::Succeeded)]);
    assert_eq!(desk.given(&worker), [(1, 2)]);
    assert_eq!(desk.fetch(client, 3).map(|task| task.state), Some(TaskState::Queued));
    assert_eq!(desk.fetch(client, 4).and_then(|task| task.outcome), Some(Outcome::Expired));
}

#[test]
fn a_task_that_started_once_does_not_expire_after_a_restart_either() {
    let mut desk = Desk::new();
    let (client, worker) = (desk.client(1), desk.worker(1, 1));
    desk.submit(client, vec![task_with(1, |options| options.ttl_ms = Some(8_000))]);
    assert_eq!(desk.given(&worker), [(1, 1)]);
    desk.end(&worker, vec![failure_with(1, 1, |detail| detail.retry_after = Some(secs(60)))]);
    let mut other = desk.recovered();
    for desk in [&mut desk, &mut other] {
        desk.pass(secs(30));
        let client = desk.client(2);
        assert_eq!(desk.fetch(client, 1).map(|task| task.state), Some(TaskState::Delayed));
    }
}

#[test]
fn a_lease_that_was_refused_once_can_be_adopted_later_and_counts_then() {
    let (mut desk, worker) = restarted(|_| ());
    let other = desk.worker(2, 1);
    desk.pass(secs(5));
    assert_eq!(desk.given(&other), [(1, 1)]);
    let held = Held { lease: lease_of(1, 1, 5), started: true };
    let worker = desk.come_back(&worker, &[held]);
    assert_eq!(desk.commands(&worker), [stop(1, 1, 5)], "another has it");
    desk.drain_worker(&other);
    desk.end(&other, vec![ended_of(lease_of(2, 1, 1), AttemptEnd::Returned)]);
    desk.cut(worker.conn);
    let worker = desk.come_back(&worker, &[held]);
    let client = desk.client(1);
    assert_eq!(desk.fetch(client, 1).map(|task| (task.state, task.attempt.0)), Some((TaskState::Running, 5)));
    desk.end(&worker, vec![ended_of(held.lease, AttemptEnd::Interrupted)]);
    assert_eq!(desk.given(&worker), [(1, 6)]);
}
