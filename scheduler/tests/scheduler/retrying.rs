//! Failure, crash, time-out and interruption, each with its own budget.

use ganger_common::AttemptEnd::{Crashed, Failed, Interrupted, Lost, Returned, TimedOut};
use ganger_common::{AttemptEnd, ErrorCode, Outcome};
use ganger_scheduler::effect::WorkerCommand;

use crate::support::*;

/// A client, and a worker of one slot that has the first task.
fn one_task(set: impl FnOnce(&mut ganger_common::TaskOptions)) -> (Desk, Client, Worker) {
    let mut desk = Desk::new();
    let (client, worker) = (desk.client(1), desk.worker(1, 1));
    desk.submit(client, vec![task_with(1, set)]);
    assert_eq!(desk.given(&worker), [(1, 1)]);
    (desk, client, worker)
}

/// Ends of all attempts in the history of a task.
fn history(desk: &mut Desk, client: Client, n: u32) -> Vec<AttemptEnd> {
    let task = desk.fetch(client, n).expect("the task is remembered");
    task.attempts.iter().map(|attempt| attempt.end).collect()
}

#[test]
fn a_failure_is_tried_again_after_a_pause_within_its_bound() {
    let (mut desk, client, worker) = one_task(|options| options.max_attempts = Some(10));
    for attempt in 1..10 {
        desk.end(&worker, vec![failure(1, attempt)]);
        let most = 1_000 << (attempt - 1).min(9);
        desk.pass_ms(most.min(600_000));
        assert_eq!(desk.given(&worker), [(1, attempt + 1)], "after attempt {attempt}");
    }
    desk.end(&worker, vec![success(1, 10)]);
    assert_eq!(desk.outcomes(client), [(1, Outcome::Succeeded)]);
}

#[test]
fn pauses_are_spread_over_their_whole_range() {
    let mut desk = Desk::new();
    let (client, worker) = (desk.client(1), desk.worker(1, 200));
    desk.submit(client, tasks(1..=200));
    assert_eq!(desk.given(&worker).len(), 200);
    desk.end(&worker, (1..=200).map(|n| failure(n, 1)).collect());
    desk.pass_ms(500);
    let early = desk.given(&worker).len();
    desk.pass_ms(500);
    let late = desk.given(&worker).len();
    assert_eq!(early + late, 200, "all within the first pause");
    assert!((70..=130).contains(&early), "{early} in the first half");
}

#[test]
fn the_pause_may_be_asked_for_in_the_options_or_by_the_handler() {
    let (mut desk, _, worker) = one_task(|options| options.backoff_ms = Some(0));
    desk.end(&worker, vec![failure(1, 1)]);
    desk.pass_ms(1);
    assert_eq!(desk.given(&worker), [(1, 2)], "at once");
    desk.end(&worker, vec![failure_with(1, 2, |detail| detail.retry_after = Some(secs(30)))]);
    desk.pass_ms(29_999);
    assert_eq!(desk.given(&worker), []);
    desk.pass_ms(1);
    assert_eq!(desk.given(&worker), [(1, 3)]);
}

#[test]
fn after_the_last_allowed_failure_the_task_has_failed() {
    let (mut desk, client, worker) = one_task(|options| options.backoff_ms = Some(0));
    for attempt in 1..=3 {
        desk.end(&worker, vec![failure(1, attempt)]);
        desk.pass_ms(1);
        desk.given(&worker);
    }
    let items = desk.outcome_items(client);
    assert_eq!((items[0].outcome, items[0].error.as_deref()), (Outcome::Failed, Some("failure 3")));
    assert_eq!(history(&mut desk, client, 1), [Failed; 3]);
    assert_eq!(desk.scheduler.status().dead_set, 1);
}

#[test]
fn a_final_failure_is_not_tried_again() {
    let (mut desk, client, worker) = one_task(|_| ());
    desk.end(&worker, vec![failure_with(1, 1, |detail| detail.is_final = true)]);
    assert_eq!(desk.outcomes(client), [(1, Outcome::Failed)]);
}

#[test]
fn time_outs_have_a_budget_of_their_own() {
    let (mut desk, client, worker) = one_task(|options| options.backoff_ms = Some(0));
    let ends = [TimedOut, Failed, TimedOut, Failed];
    for (attempt, end) in (1..).zip(ends) {
        desk.end(&worker, vec![ended(1, attempt, end)]);
        desk.pass_ms(1);
        assert_eq!(desk.given(&worker), [(1, attempt + 1)]);
    }
    desk.end(&worker, vec![ended(1, 5, TimedOut)]);
    assert_eq!(desk.outcomes(client), [(1, Outcome::Failed)]);
    assert_eq!(history(&mut desk, client, 1), [TimedOut, Failed, TimedOut, Failed, TimedOut]);
}

#[test]
fn interruptions_and_returns_cost_nothing_and_go_again_at_once() {
    let (mut desk, client, worker) = one_task(|options| options.max_attempts = Some(1));
    for attempt in 1..=20 {
        let end = if attempt % 2 == 0 { Interrupted } else { Returned };
        desk.end(&worker, vec![ended(1, attempt, end)]);
        assert_eq!(desk.given(&worker), [(1, attempt + 1)]);
    }
    assert_eq!(history(&mut desk, client, 1), [Interrupted; 10], "what did not start leaves no trace");
}

#[test]
fn a_worker_that_claims_the_brokers_own_verdicts_has_interrupted_the_task() {
    let (mut desk, client, worker) = one_task(|options| options.crash_limit = Some(1));
    desk.end(&worker, vec![ended(1, 1, Crashed)]);
    assert_eq!(desk.given(&worker), [(1, 2)]);
    desk.end(&worker, vec![ended(1, 2, Lost)]);
    assert_eq!(desk.given(&worker), [(1, 3)]);
    assert_eq!(history(&mut desk, client, 1), [Interrupted; 2]);
}

#[test]
fn a_task_under_which_too_many_workers_died_is_dead_and_keeps_its_history() {
    let mut desk = Desk::new();
    let client = desk.client(1);
    desk.submit(client, tasks([1]));
    for attempt in 1..=3_u8 {
        let worker = desk.worker(attempt, 1);
        assert_eq!(desk.given(&worker), [(1, u32::from(attempt))]);
        desk.start(&worker, &[lease(1, u32::from(attempt))]);
        let confirms = desk.commands(&worker).len();
        assert_eq!(confirms, usize::from(attempt > 1), "from the second on, the start is confirmed");
        desk.cut(worker.conn);
        desk.pass(secs(2));
    }
    assert_eq!(desk.outcomes(client), [(1, Outcome::Dead)]);
    assert_eq!(history(&mut desk, client, 1), [Crashed; 3]);
    let names: Vec<String> =
        desk.fetch(client, 1).into_iter().flat_map(|task| task.attempts).map(|at| at.worker_name).collect();
    assert_eq!(names, ["worker-1", "worker-2", "worker-3"]);
}

#[test]
fn workers_that_die_before_a_start_do_not_count_against_the_task() {
    let mut desk = Desk::new();
    let client = desk.client(1);
    desk.submit(client, vec![task_with(1, |options| options.crash_limit = Some(1))]);
    for attempt in 1..=5_u8 {
        let worker = desk.worker(attempt, 1);
        assert_eq!(desk.given(&worker), [(1, u32::from(attempt))]);
        desk.cut(worker.conn);
        desk.pass(secs(2));
    }
    assert_eq!(history(&mut desk, client, 1), [Lost; 5]);
    assert_eq!(desk.scheduler.status().queued, 1);
}

#[test]
fn after_a_loss_the_next_worker_confirms_the_start_before_it_runs() {
    let mut desk = Desk::new();
    let (client, worker) = (desk.client(1), desk.worker(1, 1));
    desk.submit(client, tasks([1]));
    assert!(!desk.dispatches(&worker)[0].confirm());
    desk.cut(worker.conn);
    desk.pass(secs(2));
    let worker = desk.worker(2, 1);
    assert!(desk.dispatches(&worker)[0].confirm());
    desk.start(&worker, &[lease(1, 2)]);
    assert_eq!(desk.commands(&worker), [WorkerCommand::Start { leases: vec![lease(1, 2)] }]);
    desk.start(&worker, &[lease(1, 2)]);
    assert_eq!(desk.commands(&worker).len(), 1, "asked again, said again");
}

#[test]
fn a_start_that_is_not_the_current_lease_is_not_confirmed() {
    let mut desk = Desk::new();
    let (client, worker) = (desk.client(1), desk.worker(1, 1));
    desk.submit(client, tasks([1]));
    assert_eq!(desk.given(&worker), [(1, 1)]);
    desk.cut(worker.conn);
    desk.pass(secs(2));
    let (next, other) = (desk.worker(2, 1), desk.worker(3, 1));
    assert_eq!(desk.given(&next), [(1, 2)]);
    desk.start(&other, &[lease(1, 2), lease(1, 1), lease(9, 1)]);
    desk.start(&next, &[lease(1, 1), lease_of(2, 1, 2)]);
    assert_eq!(desk.scheduler.status().running, 0);
}

#[test]
fn a_run_limit_that_the_worker_does_not_keep_is_kept_by_the_broker() {
    let (mut desk, client, worker) = one_task(|options| {
        options.run_limit_ms = Some(5_000);
        options.max_attempts = Some(1);
    });
    desk.start(&worker, &[lease(1, 1)]);
    desk.pass_ms(5_999);
    assert_eq!(desk.outcomes(client), []);
    desk.pass_ms(1);
    assert_eq!(desk.outcomes(client), [(1, Outcome::Failed)]);
    let stop = WorkerCommand::Cancel { leases: vec![lease(1, 1)], code: Some(ErrorCode::Stale) };
    assert_eq!(desk.commands(&worker), [stop]);
    assert_eq!(history(&mut desk, client, 1), [TimedOut]);
}

#[test]
fn the_run_limit_begins_anew_with_each_start_and_ends_with_each_end() {
    let (mut desk, client, worker) = one_task(|options| options.run_limit_ms = Some(5_000));
    assert_eq!(desk.scheduler.status().assigned, 1);
    desk.pass(secs(10));
    desk.start(&worker, &[lease(1, 1)]);
    desk.pass_ms(5_900);
    desk.end(&worker, vec![ended(1, 1, Interrupted)]);
    let detail = desk.dispatches(&worker)[0].detail.clone().unwrap();
    assert_eq!(detail.run_limit, Some(secs(5)));
    desk.start(&worker, &[lease(1, 2)]);
    desk.pass_ms(5_900);
    desk.end(&worker, vec![success(1, 2)]);
    assert_eq!(desk.outcomes(client), [(1, Outcome::Succeeded)]);
}

#[test]
fn a_task_that_did_not_start_within_its_time_to_live_expires_where_it_is() {
    let mut desk = Desk::new();
    let (client, worker) = (desk.client(1), desk.worker(1, 1));
    let short = |n| task_with(n, |options| options.ttl_ms = Some(3_000));
    desk.submit(client, vec![short(1), short(2), task(3)]);
    assert_eq!(desk.given(&worker), [(1, 1)]);
    desk.pass_ms(2_999);
    assert_eq!(desk.outcomes(client), []);
    desk.pass_ms(1);
    assert_eq!(desk.outcomes(client), [(1, Outcome::Expired), (2, Outcome::Expired)]);
    assert_eq!(desk.commands(&worker), [WorkerCommand::Cancel { leases: vec![lease(1, 1)], code: None }]);
    desk.end(&worker, vec![ended(1, 1, AttemptEnd::Cancelled)]);
    assert_eq!(desk.given(&worker), [(3, 1)]);
}

#[test]
fn a_task_that_runs_does_not_expire() {
    let (mut desk, client, worker) = one_task(|options| options.ttl_ms = Some(3_000));
    desk.start(&worker, &[lease(1, 1)]);
    desk.pass(secs(10));
    desk.end(&worker, vec![success(1, 1)]);
    assert_eq!(desk.outcomes(client), [(1, Outcome::Succeeded)]);
}

#[test]
fn a_dead_task_can_be_put_back_with_fresh_budgets() {
    let (mut desk, client, worker) = one_task(|options| options.backoff_ms = Some(0));
    desk.end(&worker, vec![failure(1, 1)]);
    desk.pass_ms(1);
    assert_eq!(desk.given(&worker), [(1, 2)]);
    desk.end(&worker, vec![failure_with(1, 2, |detail| detail.is_final = true)]);
    assert_eq!(desk.outcomes(client), [(1, Outcome::Failed)]);
    assert_eq!(desk.retry(client, &[1, 2]), [(1, ErrorCode::UnknownTask)]);
    let again = desk.dispatches(&worker);
    assert_eq!((again[0].attempt.0, &again[0].payload), (3, &task(1).payload), "attempts count on");
    assert_eq!(desk.watch(client, &[1], false), []);
    assert_eq!(desk.fetch(client, 1).map(|task| task.failures), Some(0));
    desk.end(&worker, vec![success(1, 3)]);
    assert_eq!(desk.outcomes(client), [(1, Outcome::Succeeded)]);
    assert_eq!(desk.retry(client, &[1]), [(0, ErrorCode::NotRetryable)]);
}

#[test]
fn a_task_without_an_outcome_cannot_be_retried() {
    let (mut desk, client, _) = one_task(|_| ());
    assert_eq!(desk.retry(client, &[1]), [(0, ErrorCode::NotRetryable)]);
}

#[test]
fn the_history_of_a_task_keeps_its_newest_attempts() {
    let (mut desk, client, worker) = one_task(|_| ());
    let most = ganger_common::view::HISTORY_MAX as u32;
    for attempt in 1..=most + 5 {
        desk.end(&worker, vec![ended(1, attempt, Interrupted)]);
        assert_eq!(desk.given(&worker), [(1, attempt + 1)]);
    }
    let attempts = desk.fetch(client, 1).map(|task| task.attempts).unwrap_or_default();
    let numbers: Vec<u32> = attempts.iter().map(|attempt| attempt.attempt.0).collect();
    assert_eq!(numbers, (6..=most + 5).collect::<Vec<_>>());
}

#[test]
fn a_report_without_a_number_is_not_acknowledged() {
    let (mut desk, _, worker) = one_task(|_| ());
    desk.start(&worker, &[lease(1, 1)]);
    desk.assert_quiet();
    assert_eq!(desk.scheduler.status().running, 1);
}

#[test]
fn a_run_limit_that_passed_leaves_the_slot_to_the_worker_until_it_says_that_it_stopped() {
    let (mut desk, client, worker) = one_task(|options| {
        options.run_limit_ms = Some(1_000);
        options.backoff_ms = Some(0);
    });
    desk.start(&worker, &[lease(1, 1)]);
    desk.pass_ms(2_100);
    assert_eq!(desk.commands(&worker).len(), 1, "a cancel, and no task");
    assert_eq!(desk.reasons(client, 1)[0], ganger_common::view::ReasonCode::NoCredit);
    desk.end(&worker, vec![ended(1, 1, TimedOut)]);
    assert_eq!(desk.given(&worker), [(1, 2)]);
    assert_eq!(history(&mut desk, client, 1), [TimedOut], "counted once");
}
