//! Cancellation is a fact in the queue, and final.

use ganger_common::{AttemptEnd, ErrorCode, Outcome};
use ganger_scheduler::effect::WorkerCommand;

use crate::support::*;

fn stop(leases: &[(u32, u32)]) -> WorkerCommand {
    WorkerCommand::Cancel { leases: leases.iter().map(|(n, at)| lease(*n, *at)).collect(), code: None }
}

#[test]
fn a_cancelled_task_in_the_queue_never_goes_out() {
    let mut desk = Desk::new();
    let client = desk.client(1);
    desk.submit(client, tasks(1..=3));
    assert_eq!(desk.cancel(client, &[2]), []);
    assert_eq!(desk.outcomes(client), [(2, Outcome::Cancelled)]);
    let worker = desk.worker(1, 5);
    assert_eq!(desk.given(&worker), [(1, 1), (3, 1)]);
}

#[test]
fn i18_after_its_acknowledgement_no_result_is_accepted() {
    let mut desk = Desk::new();
    let (client, worker) = (desk.client(1), desk.worker(1, 2));
    desk.submit(client, tasks(1..=2));
    assert_eq!(desk.given(&worker).len(), 2);
    desk.start(&worker, &[lease(1, 1)]);
    assert_eq!(desk.cancel(client, &[1, 2]), []);
    assert_eq!(desk.commands(&worker), [stop(&[(1, 1), (2, 1)])], "the running and the waiting one");
    desk.end(&worker, vec![success(1, 1)]);
    desk.end_stale(&worker, success(1, 1));
    assert_eq!(desk.outcomes(client), [(1, Outcome::Cancelled), (2, Outcome::Cancelled)]);
    assert_eq!(desk.fetch(client, 1).and_then(|task| task.outcome), Some(Outcome::Cancelled));
    desk.end(&worker, vec![ended(2, 1, AttemptEnd::Cancelled)]);
}

#[test]
fn the_slot_of_a_cancelled_task_is_free_when_the_worker_says_so_and_not_earlier() {
    let mut desk = Desk::new();
    let (client, worker) = (desk.client(1), desk.worker(1, 1));
    desk.submit(client, tasks(1..=2));
    assert_eq!(desk.given(&worker), [(1, 1)]);
    desk.start(&worker, &[lease(1, 1)]);
    assert_eq!(desk.cancel(client, &[1]), []);
    assert_eq!(desk.commands(&worker), [stop(&[(1, 1)])], "and nothing new");
    desk.pass(secs(1));
    desk.end(&worker, vec![ended(1, 1, AttemptEnd::Cancelled)]);
    assert_eq!(desk.given(&worker), [(2, 1)]);
    assert_eq!(desk.outcomes(client), [(1, Outcome::Cancelled)]);
}

#[test]
fn a_cancelled_task_that_is_cancelled_again_is_cancelled() {
    let mut desk = Desk::new();
    let (client, worker) = (desk.client(1), desk.worker(1, 1));
    desk.submit(client, tasks([1]));
    assert_eq!(desk.given(&worker), [(1, 1)]);
    assert_eq!(desk.cancel(client, &[1, 1]), []);
    assert_eq!(desk.commands(&worker), [stop(&[(1, 1)])], "told once");
    assert_eq!(desk.cancel(client, &[1]), []);
    assert_eq!(desk.outcomes(client), [(1, Outcome::Cancelled)]);
    assert_eq!(desk.counted("tasks_cancelled"), 1);
}

#[test]
fn a_settled_task_cannot_be_cancelled_and_an_unknown_one_is_named() {
    let mut desk = Desk::new();
    let (client, worker) = (desk.client(1), desk.worker(1, 1));
    desk.submit(client, tasks([1]));
    assert_eq!(desk.given(&worker), [(1, 1)]);
    desk.end(&worker, vec![success(1, 1)]);
    let refused = desk.cancel(client, &[1, 9]);
    assert_eq!(refused, [(0, ErrorCode::AlreadySettled), (1, ErrorCode::UnknownTask)]);
    assert_eq!(desk.outcomes(client), [(1, Outcome::Succeeded)]);
}

#[test]
fn delayed_tasks_are_cancelled_too() {
    let mut desk = Desk::new();
    let (client, worker) = (desk.client(1), desk.worker(1, 1));
    desk.submit(client, vec![task_with(1, |options| options.delay_ms = 1_000)]);
    assert_eq!(desk.cancel(client, &[1]), []);
    desk.pass(secs(2));
    assert_eq!(desk.given(&worker), []);
    assert_eq!(desk.outcomes(client), [(1, Outcome::Cancelled)]);
}

#[test]
fn a_task_that_was_lost_on_the_way_and_then_cancelled_takes_up_no_slot() {
    let mut desk = Desk::new();
    let (client, worker) = (desk.client(1), desk.worker(1, 1));
    desk.submit(client, tasks([1]));
    assert_eq!(desk.given(&worker), [(1, 1)]);
    desk.cut(worker.conn);
    // It never arrived; the broker cannot know before the worker has had its say.
    let worker = desk.come_back(&worker, &[]);
    assert_eq!(desk.cancel(client, &[1]), []);
    assert_eq!(desk.commands(&worker), [stop(&[(1, 1)])]);
    assert_eq!(desk.outcomes(client), [(1, Outcome::Cancelled)]);
    desk.submit(client, tasks([2]));
    desk.beat_once(&worker);
    desk.beat_once(&worker);
    assert_eq!(desk.given(&worker), [(2, 1)]);
}

#[test]
fn a_worker_that_was_away_learns_of_the_cancellation_when_it_comes_back() {
    let mut desk = Desk::new();
    let (client, worker) = (desk.client(1), desk.worker(1, 1));
    desk.submit(client, tasks([1]));
    assert_eq!(desk.given(&worker), [(1, 1)]);
    desk.cut(worker.conn);
    assert_eq!(desk.cancel(client, &[1]), []);
    let worker = desk.come_back(&worker, &[held_started(1, 1)]);
    assert_eq!(desk.commands(&worker).len(), 1, "a cancel");
    assert_eq!(desk.outcomes(client), [(1, Outcome::Cancelled)]);
    desk.submit(client, tasks([2]));
    assert_eq!(desk.given(&worker), [], "its slot is not free yet");
    desk.end(&worker, vec![ended(1, 1, AttemptEnd::Cancelled)]);
    assert_eq!(desk.given(&worker), [(2, 1)]);
}
