//! What ended, or waited, while the broker was away: a new life takes it over (I4, I5, I13).

use ganger_common::message::Durability;
use ganger_common::view::ReasonCode;
use ganger_common::{AttemptEnd, Outcome};

use crate::restarting::restarted;
use crate::support::*;

#[test]
fn a_worker_that_waits_to_run_a_task_whose_crash_the_journal_lost_is_told_all_the_same() {
    let mut desk = Desk::with(|config| config.durability = Durability::Journal);
    let (client, first, second) = (desk.client(1), desk.worker(1, 1), desk.worker(2, 1));
    desk.submit(client, tasks([1]));
    assert_eq!(desk.given(&first), [(1, 1)]);
    desk.start(&first, &[lease(1, 1)]);
    desk.cut(first.conn);
    desk.hold_journal();
    desk.pass(secs(2));
    assert!(desk.dispatches(&second)[0].confirm());
    desk.restart();
    let second = desk.come_back_waiting(&second, &[held(1, 2)]);
    assert_eq!(desk.counted("leases_adopted"), 1);
    desk.start(&second, &[lease(1, 2)]);
    assert_eq!(desk.told_to_run(&second), [lease(1, 2)]);
    desk.take();
}

#[test]
fn i4_i5_a_failure_that_the_broker_was_not_there_to_hear_counts_and_its_number_is_not_given_again() {
    let mut desk = Desk::with(|config| config.durability = Durability::Journal);
    let (client, worker) = (desk.client(1), desk.worker(1, 1));
    desk.submit(client, vec![task_with(1, |options| options.backoff_ms = Some(0))]);
    assert_eq!(desk.given(&worker), [(1, 1)]);
    desk.restart();
    let worker = desk.come_back(&worker, &[]);
    desk.end(&worker, vec![failure(1, 1)]);
    desk.pass_ms(1);
    assert_eq!(desk.given(&worker), [], "another may have the next attempt");
    desk.beat_once(&worker);
    assert_eq!(desk.given(&worker), [(1, 2)]);
    let client = desk.client(1);
    let task = desk.fetch(client, 1).expect("known");
    assert_eq!((task.failures, task.attempts.len()), (1, 1));
}

#[test]
fn a_last_allowed_failure_settles_the_task_although_the_broker_was_away_when_it_happened() {
    let (mut desk, worker) = restarted(|options| options.max_attempts = Some(1));
    let worker = desk.come_back(&worker, &[]);
    desk.end(&worker, vec![failure(1, 1)]);
    let client = desk.client(1);
    assert_eq!(desk.fetch(client, 1).and_then(|task| task.outcome), Some(Outcome::Failed));
}

#[test]
fn an_interruption_that_the_broker_was_not_there_to_hear_is_booked() {
    let (mut desk, worker) = restarted(|_| ());
    let worker = desk.come_back(&worker, &[]);
    desk.end(&worker, vec![ended(1, 1, AttemptEnd::Interrupted)]);
    desk.pass(secs(5));
    assert_eq!(desk.given(&worker), [(1, 2)]);
}

#[test]
fn a_task_that_was_handed_back_while_the_broker_was_away_cost_nothing() {
    let (mut desk, worker) = restarted(|_| ());
    let worker = desk.come_back(&worker, &[]);
    desk.end_stale(&worker, ended(1, 1, AttemptEnd::Returned));
    desk.pass(secs(5));
    assert_eq!(desk.dispatches(&worker).len(), 1);
    let client = desk.client(1);
    assert_eq!(desk.fetch(client, 1).map(|task| task.attempts.len()), Some(0));
}

#[test]
fn i5_a_failure_of_the_last_life_is_stale_once_another_has_the_task() {
    let (mut desk, worker) = restarted(|_| ());
    let other = desk.worker(2, 1);
    desk.pass(secs(5));
    assert_eq!(desk.given(&other), [(1, 1)], "another life, so another lease");
    let worker = desk.come_back(&worker, &[]);
    desk.end_stale(&worker, failure(1, 1));
    desk.end(&other, vec![ended_of(lease_of(2, 1, 1), AttemptEnd::Failed)]);
    desk.end_stale(&worker, failure(1, 1));
    let client = desk.client(1);
    assert_eq!(desk.fetch(client, 1).map(|task| task.failures), Some(1));
}

#[test]
fn a_failure_of_the_last_life_counts_only_from_a_worker_that_serves_the_kind() {
    let (mut desk, _) = restarted(|_| ());
    let liar = desk.worker_of(3, &["other"], 1);
    desk.end_stale(&liar, failure(1, 1));
}

#[test]
fn a_failure_of_a_forgotten_life_counts_once_its_task_is_known_again_and_holds_it_no_less() {
    let mut desk = Desk::new();
    let (client, worker) = (desk.client(1), desk.worker(1, 1));
    desk.submit(client, vec![task_with(1, |options| options.backoff_ms = Some(0))]);
    assert_eq!(desk.given(&worker), [(1, 1)]);
    desk.restart_empty();
    let client = desk.client(1);
    desk.resubmit(client, vec![task_with(1, |options| options.backoff_ms = Some(0))]);
    let worker = desk.come_back(&worker, &[]);
    desk.end(&worker, vec![failure(1, 1)]);
    desk.pass_ms(4_999);
    assert_eq!(desk.given(&worker), [], "another may have been given the next attempt");
    desk.pass_ms(1);
    assert_eq!(desk.given(&worker), [(1, 2)]);
}

#[test]
fn i13_the_window_is_longer_by_the_time_in_which_the_broker_itself_stood_still() {
    let (mut desk, worker) = restarted(|options| options.ttl_ms = Some(1));
    let other = desk.worker(2, 2);
    let client = desk.client(1);
    desk.resubmit(client, vec![task(2)]);
    desk.pass(secs(1));
    desk.stall(secs(20));
    desk.wake();
    assert_eq!(desk.reasons(client, 1), [ReasonCode::Recovering]);
    desk.pass_ms(3_000);
    assert_eq!(desk.given(&other), [], "workers could not come back while the broker stood still");
    let worker = desk.come_back(&worker, &[held_started(1, 1)]);
    desk.pass(secs(2));
    assert_eq!(desk.given(&other), [(2, 1)]);
    desk.end(&worker, vec![success(1, 1)]);
    assert_eq!(desk.counted("leases_adopted"), 1);
    desk.take();
}
