//! Credit adapts, and is recallable.

use std::time::Duration;

use ganger_common::AttemptEnd;
use ganger_scheduler::effect::WorkerCommand;
use ganger_scheduler::input::Ended;

use crate::support::*;

impl Desk {
    /// Lets a worker run 500 small tasks, dry again and again, so that it may hold some dozens.
    pub(crate) fn grow_credit(&mut self, client: Client, worker: &Worker) {
        self.submit(client, tasks(100_000..100_500));
        loop {
            let given = self.given(worker);
            if given.is_empty() {
                break;
            }
            self.end(worker, small_ends(&given, 130));
            self.outcomes(client);
        }
    }
}

pub(crate) fn small_ends(given: &[(u32, u32)], run_us: u64) -> Vec<Ended> {
    given.iter().map(|(n, attempt)| Ended { run_us, ..success(*n, *attempt) }).collect()
}

#[test]
fn the_credit_of_small_tasks_grows_until_the_hold_time_is_covered() {
    let mut desk = Desk::new();
    let (client, worker) = (desk.client(1), desk.worker(1, 1));
    desk.submit(client, tasks(1..=2_000));
    let mut sizes = Vec::new();
    let mut given = desk.given(&worker);
    while sizes.len() < 15 {
        sizes.push(given.len());
        desk.end(&worker, small_ends(&given, 130));
        given = desk.given(&worker);
        desk.outcomes(client);
    }
    assert_eq!(&sizes[..5], [1, 2, 3, 5, 9], "the reserve doubles while the worker runs dry");
    assert_eq!(sizes.last(), Some(&77), "10 ms of work at 130 us each, and the slot");
    desk.take();
}

#[test]
fn the_credit_of_tiny_tasks_stops_at_its_cap() {
    let mut desk = Desk::with(|config| config.credit_max = 7);
    let (client, worker) = (desk.client(1), desk.worker(1, 1));
    desk.submit(client, tasks(1..=1_000));
    for _ in 0..10 {
        let given = desk.given(&worker);
        assert!(given.len() <= 8);
        desk.end(&worker, small_ends(&given, 20));
    }
    assert_eq!(desk.given(&worker).len(), 8);
    desk.take();
}

#[test]
fn a_worker_of_long_tasks_holds_one_a_slot() {
    let mut desk = Desk::new();
    let (client, worker) = (desk.client(1), desk.worker(1, 2));
    desk.submit(client, tasks(1..=20));
    assert_eq!(desk.given(&worker).len(), 2);
    for n in 1..=10 {
        desk.end(&worker, vec![success(n, 1)]);
        assert_eq!(desk.given(&worker), [(n + 2, 1)]);
    }
    desk.outcomes(client);
}

#[test]
fn the_reserve_shrinks_when_tasks_become_long() {
    let mut desk = Desk::new();
    let (client, worker) = (desk.client(1), desk.worker(1, 1));
    desk.grow_credit(client, &worker);
    desk.submit(client, tasks(1..=60));
    let given = desk.given(&worker);
    for (n, attempt) in &given[..given.len() - 1] {
        desk.end(&worker, vec![success(*n, *attempt)]);
    }
    desk.outcomes(client);
    desk.submit(client, tasks(61..=100));
    assert_eq!(desk.given(&worker), [], "it holds one, and runs seconds at each");
}

/// Worker 1 holds tasks 1 to 5 and runs the first; worker 2 is idle.
fn lopsided() -> (Desk, Client, Worker, Worker) {
    let mut desk = Desk::new();
    let (client, hoarder) = (desk.client(1), desk.worker(1, 1));
    desk.grow_credit(client, &hoarder);
    desk.submit(client, tasks(1..=5));
    assert_eq!(desk.given(&hoarder).len(), 5);
    desk.start(&hoarder, &[lease(1, 1)]);
    let idle = desk.worker(2, 2);
    (desk, client, hoarder, idle)
}

#[test]
fn what_waits_at_one_worker_is_recalled_for_another_that_is_idle() {
    let (mut desk, _, hoarder, idle) = lopsided();
    desk.pass_ms(20);
    assert_eq!(desk.commands(&hoarder), [WorkerCommand::Recall { recall: 1, count: 2 }]);
    let back = vec![ended(5, 1, AttemptEnd::Returned), ended(4, 1, AttemptEnd::Returned)];
    assert_eq!(desk.report_recall(&hoarder, vec![], back, 2, Some(1)), []);
    assert_eq!(desk.given(&idle), [(4, 2), (5, 2)]);
    assert_eq!(desk.given(&hoarder), [], "the one who gave it back does not get it again");
    desk.pass(secs(1));
    assert_eq!(desk.commands(&hoarder), [], "nobody is idle any more");
}

#[test]
fn what_waits_behind_tasks_that_nobody_else_can_run_is_recalled_too() {
    let mut desk = Desk::new();
    let (client, hoarder) = (desk.client(1), desk.worker_of(1, &[KIND, "other"], 1));
    desk.grow_credit(client, &hoarder);
    desk.submit(client, tasks(1..=2));
    desk.submit(client, (3..=5).map(|n| task_of("other", n)).collect());
    let given = desk.given(&hoarder);
    assert_eq!(given.len(), 5);
    desk.start(&hoarder, &[lease(1, 1)]);
    let idle = desk.worker(2, 1);
    desk.pass_ms(20);
    assert_eq!(desk.commands(&hoarder), [WorkerCommand::Recall { recall: 1, count: 4 }]);
    let back = [5, 4, 3, 2].map(|n| ended(n, 1, AttemptEnd::Returned)).to_vec();
    assert_eq!(desk.report_recall(&hoarder, vec![], back, 0, Some(1)), []);
    assert_eq!(desk.given(&idle), [(2, 2)]);
    assert_eq!(desk.given(&hoarder), [(3, 2), (4, 2), (5, 2)], "nobody else can run these");
}

#[test]
fn a_recall_is_not_repeated_before_it_is_answered() {
    let (mut desk, _, hoarder, _) = lopsided();
    desk.pass_ms(200);
    assert_eq!(desk.commands(&hoarder).len(), 1);
    assert_eq!(desk.report_recall(&hoarder, vec![], vec![], 4, Some(1)), []);
    desk.pass_ms(50);
    assert_eq!(desk.commands(&hoarder).len(), 1, "the answer brought nothing: ask again");
}

#[test]
fn a_task_that_fills_a_slot_is_not_recalled() {
    let mut desk = Desk::new();
    let (client, worker) = (desk.client(1), desk.worker(1, 1));
    desk.submit(client, tasks([1]));
    assert_eq!(desk.given(&worker), [(1, 1)]);
    let _idle = desk.worker(2, 1);
    desk.pass_ms(499);
    assert_eq!(desk.commands(&worker), [], "its start may just not have been told yet");
}

#[test]
fn a_task_that_does_not_start_is_recalled_though_its_worker_should_have_a_slot() {
    // A handler that does not stop at its run limit keeps its slot, and only its worker knows.
    let mut desk = Desk::new();
    let (client, stuck) = (desk.client(1), desk.worker(1, 1));
    desk.submit(client, vec![task_with(1, |options| options.backoff_ms = Some(0))]);
    assert_eq!(desk.given(&stuck), [(1, 1)]);
    desk.start(&stuck, &[lease(1, 1)]);
    desk.end(&stuck, vec![ended(1, 1, AttemptEnd::TimedOut)]);
    desk.pass_ms(1);
    assert_eq!(desk.given(&stuck), [(1, 2)]);
    let idle = desk.worker(2, 1);
    desk.pass_ms(600);
    assert_eq!(desk.commands(&stuck), [WorkerCommand::Recall { recall: 1, count: 1 }]);
    let back = vec![ended(1, 2, AttemptEnd::Returned)];
    assert_eq!(desk.report_recall(&stuck, vec![], back, 0, Some(1)), []);
    assert_eq!(desk.given(&idle), [(1, 3)]);
}

#[test]
fn a_worker_that_reports_no_starts_is_seldom_asked_for_them() {
    let mut desk = Desk::new();
    let (client, worker) = (desk.client(1), desk.worker(1, 1));
    desk.submit(client, tasks([1]));
    assert_eq!(desk.given(&worker), [(1, 1)]);
    let _idle = desk.worker(2, 1);
    let mut asked = 0;
    for _ in 0..100 {
        desk.pass_ms(50);
        for _ in desk.commands(&worker) {
            asked += 1;
            assert_eq!(desk.report_recall(&worker, vec![], vec![], 0, Some(asked)), []);
        }
    }
    assert!((5..=10).contains(&asked), "asked {asked} times in five seconds");
}

#[test]
fn an_idle_worker_of_another_kind_recalls_nothing() {
    let mut desk = Desk::new();
    let (client, hoarder) = (desk.client(1), desk.worker(1, 1));
    desk.grow_credit(client, &hoarder);
    desk.submit(client, tasks(1..=5));
    assert_eq!(desk.given(&hoarder).len(), 5);
    let _other = desk.worker_of(2, &["other"], 4);
    desk.pass(secs(1));
    assert_eq!(desk.commands(&hoarder), []);
}

#[test]
fn looking_for_somebody_to_recall_from_does_not_become_a_busy_loop() {
    let mut desk = Desk::new();
    let (client, worker) = (desk.client(1), desk.worker(1, 1));
    desk.submit(client, tasks([1]));
    assert_eq!(desk.given(&worker), [(1, 1)]);
    let _idle = desk.worker(2, 1);
    let mut wakes = 0;
    let end = desk.now.time.plus(Duration::from_secs(1));
    while let Some((at, _)) = desk.scheduler.poll_timeout().filter(|(at, _)| *at <= end) {
        desk.pass(at.since(desk.now.time));
        wakes += 1;
    }
    assert!(wakes <= 60, "{wakes} wakes in a second");
    assert!(desk.commands(&worker).len() <= 1, "one question at a time");
}
