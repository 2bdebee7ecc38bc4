//! Submission: idempotent on the id for as long as the task or its outcome is remembered.

use ganger_common::ErrorCode::{Busy, TooLarge, TooMany};
use ganger_common::Outcome;
use ganger_scheduler::input::NewTask;

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
    assert_eq!(
        (items[0].task, items[0].outcome, &items[0].result),
        (id(1), Outcome::Succeeded, &result(1).into())
    );
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

#[test]
fn a_task_handed_in_after_it_settled_gets_its_outcome_again() {
    let mut desk = Desk::new();
    let (client, other, worker) = (desk.client(1), desk.client(2), desk.worker(1, 1));
    desk.submit(client, tasks([1]));
    assert_eq!(desk.given(&worker), [(1, 1)]);
    desk.end(&worker, vec![success(1, 1)]);
    assert_eq!(desk.outcomes(client), [(1, Outcome::Succeeded)]);
    desk.submit(other, tasks([1]));
    assert_eq!(desk.outcome_items(other)[0].result, result(1));
    assert_eq!(desk.given(&worker), [], "it does not run again");
}

#[test]
fn i3_a_task_handed_in_again_after_a_restart_is_the_same_task() {
    let mut desk = Desk::new();
    let (client, worker) = (desk.client(1), desk.worker(1, 1));
    desk.submit(client, tasks([1, 2]));
    assert_eq!(desk.given(&worker), [(1, 1)]);
    desk.end(&worker, vec![success(1, 1)]);
    assert_eq!(desk.given(&worker), [(2, 1)]);
    assert_eq!(desk.outcomes(client), [(1, Outcome::Succeeded)]);
    desk.restart();
    let client = desk.client(1);
    desk.resubmit(client, tasks([1, 2, 3]));
    assert_eq!(desk.outcomes(client), [(1, Outcome::Succeeded)], "the result survived");
    assert_eq!(desk.counted("tasks_accepted"), 1, "only the third is new");
    desk.pass(secs(5));
    let worker = desk.worker(2, 5);
    assert_eq!(desk.given(&worker).len(), 2);
}

#[test]
fn everybody_who_handed_a_task_in_is_told_its_outcome() {
    let mut desk = Desk::new();
    let (one, two, worker) = (desk.client(1), desk.client(2), desk.worker(1, 1));
    desk.submit(one, tasks([1]));
    desk.submit(two, tasks([1]));
    assert_eq!(desk.given(&worker), [(1, 1)]);
    desk.end(&worker, vec![success(1, 1)]);
    assert_eq!(desk.outcomes(one), [(1, Outcome::Succeeded)]);
    assert_eq!(desk.outcomes(two), [(1, Outcome::Succeeded)]);
}

#[test]
fn whoever_hands_in_a_detached_task_again_and_wants_its_outcome_gets_it() {
    let mut desk = Desk::new();
    let (first, second) = (desk.client(1), desk.client(2));
    let detached = || vec![task_with(1, |options| options.detached = true)];
    desk.submit(first, detached());
    desk.submit(second, tasks([1]));
    desk.submit(first, detached());
    let worker = desk.worker(1, 1);
    assert_eq!(desk.given(&worker), [(1, 1)]);
    desk.end(&worker, vec![success(1, 1)]);
    assert_eq!(desk.outcomes(second), [(1, Outcome::Succeeded)]);
    assert_eq!(desk.outcomes(first), []);
}

#[test]
fn a_detached_task_is_not_reported_and_can_be_fetched() {
    let mut desk = Desk::new();
    let (client, worker) = (desk.client(1), desk.worker(1, 1));
    desk.submit(client, vec![task_with(1, |options| options.detached = true)]);
    assert_eq!(desk.given(&worker), [(1, 1)]);
    desk.end(&worker, vec![success(1, 1)]);
    assert_eq!(desk.outcomes(client), []);
    assert_eq!(desk.fetch(client, 1).and_then(|task| task.outcome), Some(Outcome::Succeeded));
}

#[test]
fn a_full_queue_answers_busy_for_each_task_that_found_no_room() {
    let mut desk = Desk::with(|config| config.queue_tasks_max = 3);
    let client = desk.client(1);
    let refused = desk.submit_some(client, false, tasks(1..=5));
    assert_eq!(refused.iter().map(|no| (no.index, no.code)).collect::<Vec<_>>(), [(3, Busy), (4, Busy)]);
    assert!(refused.iter().all(|no| no.retry_after.is_some()), "with a delay");
    desk.submit(client, tasks(1..=3));
    assert_eq!(desk.scheduler.status().queued, 3, "what is known already needs no room");
}

#[test]
fn a_queue_full_of_bytes_answers_busy_and_still_takes_what_fits() {
    let mut desk = Desk::with(|config| config.queue_bytes_max = 10);
    let client = desk.client(1);
    let sized = |n, bytes: &'static [u8]| NewTask { payload: bytes.into(), ..task(n) };
    let refused =
        desk.submit_some(client, false, vec![sized(1, b"12345678"), sized(2, b"123"), sized(3, b"12")]);
    assert_eq!(refused.iter().map(|no| (no.index, no.code)).collect::<Vec<_>>(), [(1, Busy)]);
    assert_eq!(desk.scheduler.status().payload_bytes, 10);
}

#[test]
fn a_client_that_fills_the_queue_leaves_room_for_one_that_comes_with_little() {
    let mut desk = Desk::with(|config| config.queue_tasks_max = 900);
    let greedy = desk.client(1);
    let refused = desk.submit_some(greedy, false, tasks(1..=900));
    assert!((90..=110).contains(&refused.len()), "alone it gets eight ninths: {} refused", refused.len());
    let modest = desk.client(2);
    desk.submit(modest, tasks(1_001..=1_040));
}

#[test]
fn an_oversized_payload_is_refused_for_good() {
    let mut desk = Desk::new();
    let client = desk.client(1);
    let payload = vec![0; ganger_common::limits::PAYLOAD_BYTES_MAX + 1].into();
    let refused = desk.submit_some(client, false, vec![NewTask { payload, ..task(1) }, task(2)]);
    assert_eq!(refused.iter().map(|no| (no.index, no.code)).collect::<Vec<_>>(), [(0, TooLarge)]);
    assert_eq!(refused[0].retry_after, None);
}

#[test]
fn kinds_beyond_their_limit_are_refused_and_known_ones_are_not() {
    let mut desk = Desk::with(|config| config.kinds_max = 2);
    let client = desk.client(1);
    let batch = vec![task_of("a", 1), task_of("a", 2), task_of("b", 3), task_of("c", 4), task_of("b", 5)];
    let refused = desk.submit_some(client, false, batch);
    assert_eq!(refused.iter().map(|no| (no.index, no.code)).collect::<Vec<_>>(), [(3, TooMany)]);
}

#[test]
fn a_task_says_how_large_it_is_above_the_size_that_is_worth_a_warning() {
    let mut desk = Desk::new();
    let client = desk.client(1);
    let payload = vec![0; ganger_common::limits::PAYLOAD_BYTES_WARN + 1].into();
    desk.submit(client, vec![NewTask { payload, ..task(1) }]);
    assert_eq!(desk.counted("payloads_large"), 1);
}

#[test]
fn a_task_larger_than_the_whole_queue_is_refused_for_good() {
    let mut desk = Desk::with(|config| config.queue_bytes_max = 10);
    let client = desk.client(1);
    let large = NewTask { payload: vec![0; 11].into(), ..task(1) };
    let refused = desk.submit_some(client, false, vec![large]);
    assert_eq!(refused[0].code, TooLarge, "waiting for room would be for ever");
    assert_eq!(refused[0].retry_after, None);
}
