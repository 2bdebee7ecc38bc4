//! Who gets what, when: credit, breadth, priority, age.

use ganger_common::Outcome;
use ganger_common::view::TaskState;

use crate::support::*;

#[test]
fn a_worker_of_unknown_speed_gets_one_task_a_slot() {
    let mut desk = Desk::new();
    let (client, worker) = (desk.client(1), desk.worker(1, 3));
    desk.submit(client, tasks(1..=9));
    assert_eq!(desk.given(&worker), [(1, 1), (2, 1), (3, 1)]);
    desk.end(&worker, vec![success(2, 1)]);
    assert_eq!(desk.given(&worker), [(4, 1)], "a slot that is free again is filled again");
    assert_eq!(desk.outcomes(client), [(2, Outcome::Succeeded)]);
}

#[test]
fn few_tasks_spread_over_all_workers() {
    let mut desk = Desk::new();
    let client = desk.client(1);
    let workers: Vec<_> = (1..=3).map(|n| desk.worker(n, 10)).collect();
    desk.submit(client, tasks(1..=9));
    let given: Vec<usize> = workers.iter().map(|worker| desk.given(worker).len()).collect();
    assert_eq!(given, [3, 3, 3]);
}

#[test]
fn the_emptier_worker_is_served_first_by_its_share_of_busy_slots() {
    let mut desk = Desk::new();
    let (client, small, large) = (desk.client(1), desk.worker(1, 2), desk.worker(2, 8));
    desk.submit(client, tasks(1..=5));
    let given = (desk.given(&small).len(), desk.given(&large).len());
    assert_eq!(given, (2, 3), "an even share first");
    desk.submit(client, tasks(6..=10));
    assert_eq!((desk.given(&small).len(), desk.given(&large).len()), (0, 5));
}

#[test]
fn slots_are_filled_before_reserves() {
    let mut desk = Desk::new();
    let (client, tiny) = (desk.client(1), desk.worker(1, 1));
    desk.grow_credit(client, &tiny);
    let fresh = desk.worker(2, 4);
    desk.submit(client, tasks(1..=5));
    assert_eq!(desk.given(&fresh).len(), 4, "four slots");
    assert_eq!(desk.given(&tiny).len(), 1, "and one");
    desk.submit(client, tasks(6..=9));
    assert_eq!(
        (desk.given(&fresh).len(), desk.given(&tiny).len()),
        (0, 4),
        "then the reserve of the quick one"
    );
}

#[test]
fn a_higher_priority_goes_first_and_equal_ones_in_the_order_of_submission() {
    let mut desk = Desk::new();
    let client = desk.client(1);
    let mut batch = tasks(1..=3);
    batch.push(task_with(4, |options| options.priority = 5));
    batch.push(task_with(5, |options| options.priority = -5));
    batch.push(task_with(6, |options| options.priority = 5));
    desk.submit(client, batch);
    let worker = desk.worker(1, 10);
    let order: Vec<u32> = desk.given(&worker).into_iter().map(|(n, _)| n).collect();
    assert_eq!(order, [4, 6, 1, 2, 3, 5]);
}

#[test]
fn kinds_take_turns() {
    let mut desk = Desk::new();
    let client = desk.client(1);
    desk.submit(client, vec![task_of("b", 1), task_of("b", 2), task_of("b", 3), task_of("a", 4)]);
    let worker = desk.worker_of(1, &["a", "b"], 1);
    let mut order = Vec::new();
    for _ in 0..4 {
        let given = desk.given(&worker);
        desk.end(&worker, vec![success(given[0].0, 1)]);
        order.push(given[0].0);
    }
    assert_eq!(order, [1, 4, 2, 3]);
    assert_eq!(desk.outcomes(client).len(), 4);
}

#[test]
fn a_long_queue_of_one_kind_does_not_starve_another() {
    let mut desk = Desk::new();
    let client = desk.client(1);
    desk.submit(client, (1..=500).map(|n| task_of("many", n)).collect());
    desk.submit(client, vec![task_of("few", 501)]);
    let worker = desk.worker_of(1, &["few", "many"], 502);
    assert_eq!(desk.given(&worker).len(), 501);
}

#[test]
fn a_kind_that_nobody_serves_is_parked_and_goes_out_when_somebody_does() {
    let mut desk = Desk::new();
    let (client, other) = (desk.client(1), desk.worker_of(1, &["other"], 4));
    desk.submit(client, tasks(1..=3));
    assert_eq!(desk.given(&other), []);
    assert_eq!((desk.scheduler.status().queued, desk.scheduler.status().parked), (3, 3));
    assert_eq!(desk.fetch(client, 1).map(|task| task.state), Some(TaskState::Parked));
    let worker = desk.worker(2, 2);
    assert_eq!(desk.given(&worker), [(1, 1), (2, 1)]);
    assert_eq!((desk.scheduler.status().queued, desk.scheduler.status().parked), (1, 0));
}

#[test]
fn a_delayed_task_goes_out_when_it_is_due_and_not_earlier() {
    let mut desk = Desk::new();
    let (client, worker) = (desk.client(1), desk.worker(1, 2));
    desk.submit(client, vec![task_with(1, |options| options.delay_ms = 700), task(2)]);
    assert_eq!(desk.given(&worker), [(2, 1)]);
    assert_eq!(desk.scheduler.status().delayed, 1);
    desk.pass_ms(699);
    assert_eq!(desk.given(&worker), []);
    desk.pass_ms(1);
    assert_eq!(desk.given(&worker), [(1, 1)]);
}

#[test]
fn large_payloads_stop_at_what_one_worker_may_hold() {
    let mut desk = Desk::with(|config| config.worker_bytes_max = 25);
    let (client, worker) = (desk.client(1), desk.worker(1, 100));
    desk.submit(client, tasks(1..=9));
    let given = desk.given(&worker).len();
    assert!((2..=4).contains(&given), "payloads of 9 bytes, at most 25 and one: {given}");
}

#[test]
fn a_task_above_what_one_worker_may_hold_goes_to_a_worker_with_nothing_else() {
    let mut desk = Desk::with(|config| config.worker_bytes_max = 3);
    let (client, worker) = (desk.client(1), desk.worker(1, 100));
    desk.submit(client, tasks(1..=2));
    assert_eq!(desk.given(&worker), [(1, 1)]);
    desk.end(&worker, vec![success(1, 1)]);
    assert_eq!(desk.given(&worker), [(2, 1)]);
    assert_eq!(desk.outcomes(client).len(), 1);
}

#[test]
fn what_came_together_leaves_together() {
    let mut desk = Desk::new();
    let (client, _worker) = (desk.client(1), desk.worker(1, 10));
    desk.submit(client, tasks(1..=10));
    assert_eq!(desk.take().len(), 1, "one message of ten tasks");
}

#[test]
fn tasks_of_a_dead_worker_go_to_the_front_in_their_order() {
    let mut desk = Desk::new();
    let (client, worker) = (desk.client(1), desk.worker(1, 4));
    desk.submit(client, tasks(1..=6));
    assert_eq!(desk.given(&worker).len(), 4);
    desk.start(&worker, &[lease(1, 1), lease(2, 1)]);
    desk.cut(worker.conn);
    desk.pass(secs(2));
    let other = desk.worker(2, 6);
    assert_eq!(desk.given(&other), [(1, 2), (2, 2), (3, 2), (4, 2), (5, 1), (6, 1)]);
}

#[test]
fn what_a_worker_hands_back_goes_to_the_front_in_its_order_however_it_is_listed() {
    use ganger_common::AttemptEnd::{Interrupted, Returned};
    for listed in [[1, 2, 3], [3, 2, 1], [2, 3, 1]] {
        for end in [Returned, Interrupted] {
            let mut desk = Desk::new();
            let (client, worker) = (desk.client(1), desk.worker(1, 3));
            desk.submit(client, tasks(1..=4));
            assert_eq!(desk.given(&worker).len(), 3);
            desk.drain_worker(&worker);
            desk.end(&worker, listed.iter().map(|n| ended(*n, 1, end)).collect());
            let other = desk.worker(2, 6);
            assert_eq!(desk.given(&other), [(1, 2), (2, 2), (3, 2), (4, 1)]);
        }
    }
}

#[test]
fn an_attempt_never_has_two_live_leases() {
    let mut desk = Desk::new();
    let client = desk.client(1);
    let workers = [desk.worker(1, 5), desk.worker(2, 5)];
    desk.submit(client, tasks(1..=10));
    let mut all: Vec<_> = workers.iter().flat_map(|worker| desk.given(worker)).collect();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 10);
}
