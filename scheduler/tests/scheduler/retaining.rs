//! How long outcomes are kept, and how many.

use ganger_common::{ErrorCode, Outcome};
use ganger_scheduler::Record;

use crate::support::*;

fn settle(desk: &mut Desk, client: Client, worker: &Worker, numbers: std::ops::RangeInclusive<u32>) {
    desk.submit(client, tasks(numbers.clone()));
    assert_eq!(desk.given(worker).len(), numbers.clone().count());
    desk.end(worker, numbers.map(|n| success(n, 1)).collect());
    desk.outcomes(client);
}

fn remembered(desk: &mut Desk, client: Client, numbers: std::ops::RangeInclusive<u32>) -> Vec<u32> {
    numbers.filter(|n| desk.fetch(client, *n).is_some()).collect()
}

#[test]
fn outcomes_are_kept_for_their_time_and_then_let_go() {
    let mut desk = Desk::with(|config| config.retain_for = secs(60));
    let (client, worker) = (desk.client(1), desk.worker(1, 10));
    settle(&mut desk, client, &worker, 1..=3);
    desk.pass(secs(30));
    settle(&mut desk, client, &worker, 4..=5);
    desk.pass_ms(30_000);
    assert_eq!(remembered(&mut desk, client, 1..=5), [1, 2, 3, 4, 5], "a full minute");
    desk.pass(secs(2));
    assert_eq!(remembered(&mut desk, client, 1..=5), [4, 5]);
    desk.pass(secs(30));
    assert_eq!(remembered(&mut desk, client, 1..=5), [0_u32; 0]);
    assert_eq!(desk.scheduler.status().retained_bytes, 0);
    assert_eq!(desk.counted("outcomes_dropped"), 0);
}

#[test]
fn many_outcomes_of_one_age_are_let_go_a_part_at_a_turn() {
    let mut desk = Desk::with(|config| config.retain_for = secs(60));
    let (client, worker) = (desk.client(1), desk.worker(1, 5_000));
    settle(&mut desk, client, &worker, 1..=5_000);
    desk.pass(secs(60));
    let mut left = vec![desk.scheduler.status().retained];
    for _ in 0..2_000 {
        desk.pass_ms(1);
        let retained = desk.scheduler.status().retained;
        if left.last() != Some(&retained) {
            left.push(retained);
        }
    }
    assert_eq!(left, [5_000, 2_952, 904, 0]);
}

#[test]
fn a_task_that_was_let_go_and_comes_again_is_new() {
    let mut desk = Desk::with(|config| config.retain_for = secs(1));
    let (client, worker) = (desk.client(1), desk.worker(1, 10));
    settle(&mut desk, client, &worker, 1..=1);
    desk.pass(secs(3));
    desk.submit(client, tasks([1]));
    assert_eq!(desk.given(&worker), [(1, 1)]);
}

#[test]
fn beyond_the_bytes_the_oldest_outcomes_leave_and_are_counted() {
    let mut desk = Desk::with(|config| config.retain_bytes_max = 3 * 200);
    let (client, worker) = (desk.client(1), desk.worker(1, 10));
    settle(&mut desk, client, &worker, 1..=5);
    assert_eq!(remembered(&mut desk, client, 1..=5), [3, 4, 5]);
    assert_eq!(desk.counted("outcomes_dropped"), 2);
    let forgotten =
        desk.journal.iter().filter(|(_, record)| matches!(record, Record::Forgotten { .. })).count();
    assert_eq!(forgotten, 1, "all at once");
}

#[test]
fn the_dead_set_keeps_the_newest() {
    let mut desk = Desk::with(|config| config.dead_set_max = 2);
    let (client, worker) = (desk.client(1), desk.worker(1, 10));
    desk.submit(client, tasks(1..=4));
    assert_eq!(desk.given(&worker).len(), 4);
    desk.end(&worker, (1..=4).map(|n| failure_with(n, 1, |detail| detail.is_final = true)).collect());
    assert_eq!(desk.outcomes(client), [1, 2, 3, 4].map(|n| (n, Outcome::Failed)), "all are told");
    assert_eq!((desk.scheduler.status().dead_set, desk.counted("dead_dropped")), (2, 2));
    assert_eq!(desk.retry(client, &[1, 3]), [(0, ErrorCode::UnknownTask)]);
    assert_eq!(desk.given(&worker), [(3, 2)]);
}

#[test]
fn the_dead_set_has_a_budget_of_bytes() {
    let mut desk = Desk::with(|config| config.dead_set_bytes_max = 20);
    let (client, worker) = (desk.client(1), desk.worker(1, 10));
    desk.submit(client, tasks(1..=4));
    assert_eq!(desk.given(&worker).len(), 4);
    desk.end(&worker, (1..=4).map(|n| failure_with(n, 1, |detail| detail.is_final = true)).collect());
    assert_eq!(desk.outcomes(client).len(), 4);
    assert_eq!(remembered(&mut desk, client, 1..=4), [3, 4]);
}

#[test]
fn what_was_let_go_stays_gone_over_a_restart() {
    let mut desk = Desk::with(|config| (config.retain_bytes_max, config.dead_set_max) = (3 * 200, 1));
    let (client, worker) = (desk.client(1), desk.worker(1, 10));
    settle(&mut desk, client, &worker, 1..=5);
    desk.submit(client, tasks(6..=8));
    desk.given(&worker);
    desk.end(&worker, (6..=8).map(|n| failure_with(n, 1, |detail| detail.is_final = true)).collect());
    desk.outcomes(client);
    let before = remembered(&mut desk, client, 1..=8);
    desk.restart();
    let client = desk.client(1);
    assert_eq!(before, [3, 4, 5, 8]);
    assert_eq!(remembered(&mut desk, client, 1..=8), before);
}
