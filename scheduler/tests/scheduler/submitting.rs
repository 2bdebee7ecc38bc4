//! Submission: idempotent on the id for as long as the task or its outcome is remembered.

use ganger_common::Outcome;

use crate::support::*;

#[test]
fn a_task_goes_to_a_worker_and_its_result_to_its_client() {
    let mut desk = Desk::new();
    let (client, worker) = (desk.client(1), desk.worker(1, 1));
    desk.submit(client, tasks([1]));
    assert_eq!(desk.given(&worker), [(1, 1)]);
    desk.start(&worker, &[lease(1, 1)]);
    desk.end(&worker, vec![success(1, 1)]);
    let items = desk.outcome_items(client);
    assert_eq!((items[0].task, items[0].outcome, &items[0].result), (id(1), Outcome::Succeeded, &result(1)));
}

#[test]
fn a_task_twice_in_one_batch_is_one_task() {
    let mut desk = Desk::new();
    let (client, worker) = (desk.client(1), desk.worker(1, 5));
    desk.submit(client, tasks([1, 1, 2, 1]));
    assert_eq!(desk.given(&worker), [(1, 1), (2, 1)]);
    assert_eq!(desk.counted("tasks_accepted"), 2);
}

#[test]
fn a_task_in_another_batch_is_the_same_task() {
    let mut desk = Desk::new();
    let (client, worker) = (desk.client(1), desk.worker(1, 5));
    desk.submit(client, tasks([1]));
    desk.submit(client, tasks([1, 2]));
    assert_eq!(desk.given(&worker), [(1, 1), (2, 1)]);
    desk.end(&worker, vec![success(1, 1)]);
    assert_eq!(desk.outcomes(client), [(1, Outcome::Succeeded)], "told once, though handed in twice");
}
