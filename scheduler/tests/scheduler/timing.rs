//! The loop that hands the time-out back: on time, and never busy.

use std::time::Duration;

use ganger_scheduler::{Config, Now, Scheduler, Time};

use crate::support::*;

#[test]
fn calling_the_time_out_early_does_nothing() {
    let mut desk = Desk::new();
    let (client, worker) = (desk.client(1), desk.worker(1, 1));
    desk.submit(client, vec![task_with(1, |options| options.delay_ms = 100)]);
    let before = desk.scheduler.poll_timeout();
    for _ in 0..10 {
        desk.wake();
    }
    assert_eq!(desk.scheduler.poll_timeout(), before);
    assert_eq!(desk.given(&worker), []);
}

#[test]
fn every_delay_is_due_at_its_moment() {
    let mut desk = Desk::new();
    let (client, worker) = (desk.client(1), desk.worker(1, 50));
    let delays: Vec<u64> = (1..=40).map(|n| n * 37).collect();
    let batch = (1..).zip(&delays).map(|(n, delay)| task_with(n, |options| options.delay_ms = *delay));
    desk.submit(client, batch.collect());
    let begin = desk.now.time;
    let mut due = Vec::new();
    while due.len() < delays.len() {
        let (at, _) = desk.scheduler.poll_timeout().expect("something is due");
        desk.pass(at.since(desk.now.time));
        due.extend(desk.given(&worker).iter().map(|_| desk.now.time.since(begin).as_millis() as u64));
    }
    assert_eq!(due, delays);
}

#[test]
fn an_hour_with_peers_needs_no_more_wakes_than_ticks_and_heartbeats() {
    let mut desk = Desk::new();
    let (client, worker) = (desk.client(1), desk.worker(1, 4));
    desk.submit(client, tasks(1..=8));
    assert_eq!(desk.given(&worker).len(), 4);
    let mut wakes = 0;
    let end = desk.now.time.plus(secs(3_600));
    while let Some((at, _)) = desk.scheduler.poll_timeout().filter(|(at, _)| *at <= end) {
        desk.pass(at.since(desk.now.time));
        wakes += 1;
    }
    assert!(wakes < 3_600 * 12, "{wakes} wakes in an hour");
}

#[test]
fn a_broker_without_peers_wakes_for_its_sign_of_life_alone() {
    let desk = Desk::new();
    let (at, why) = desk.scheduler.poll_timeout().expect("a beat");
    assert_eq!(why, "beat");
    assert!(at.since(desk.now.time) <= Config::default().heartbeat);
}

#[test]
fn time_that_goes_back_is_taken_for_standing_still() {
    let now = Now { time: Time(5_000_000), ..Now::default() };
    let mut scheduler = Scheduler::new(Config::default(), now);
    scheduler.handle_timeout(Now { time: Time(1), ..now });
    scheduler.check_invariants();
    assert!(scheduler.poll_timeout().is_some_and(|(at, _)| at > now.time));
}

#[test]
fn the_longest_delays_do_not_overflow() {
    let mut desk = Desk::new();
    let (client, worker) = (desk.client(1), desk.worker(1, 2));
    let longest = ganger_common::limits::DELAY_MAX.as_millis() as u64;
    desk.submit(
        client,
        vec![
            task_with(1, |options| (options.delay_ms, options.ttl_ms) = (longest, Some(longest))),
            task_with(2, |options| options.run_limit_ms = Some(longest)),
        ],
    );
    assert_eq!(desk.given(&worker), [(2, 1)]);
    desk.start(&worker, &[lease(2, 1)]);
    desk.end(&worker, vec![failure_with(2, 1, |detail| detail.retry_after = Some(Duration::MAX))]);
    desk.pass(secs(10));
    assert_eq!(desk.scheduler.status().delayed, 2);
}
