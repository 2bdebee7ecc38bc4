//! Workers and brokers that go down in order.

use ganger_common::message::Durability;
use ganger_common::{AttemptEnd, ErrorCode, Outcome, Revision};
use ganger_scheduler::Input;
use ganger_scheduler::effect::{Effect, WorkerCommand};
use ganger_scheduler::input::{ClientRequest, WorkerRequest};

use crate::support::*;

fn drained(desk: &mut Desk) -> bool {
    let goodbyes = desk.pick(|effect| match effect {
        Effect::ToClient { reply: ganger_scheduler::effect::ClientReply::Goodbye { .. }, .. } => Some(()),
        Effect::ToWorker { command: WorkerCommand::Goodbye { .. }, .. } => Some(()),
        _ => None,
    });
    let said = desk.pick(|effect| (*effect == Effect::Drained).then_some(())).len() == 1;
    assert!(said || goodbyes.is_empty(), "goodbye is said at the end");
    said
}

#[test]
fn a_worker_that_drains_gets_nothing_more_and_hands_back_what_waits() {
    let mut desk = Desk::new();
    let (client, worker) = (desk.client(1), desk.worker(1, 2));
    desk.submit(client, tasks(1..=4));
    assert_eq!(desk.given(&worker).len(), 2);
    desk.start(&worker, &[lease(1, 1)]);
    desk.drain_worker(&worker);
    desk.end(&worker, vec![ended(2, 1, AttemptEnd::Returned), success(1, 1)]);
    assert_eq!(desk.given(&worker), []);
    desk.mute(&worker);
    desk.worker_says(worker.conn, WorkerRequest::Goodbye);
    assert_eq!(desk.closed(), [worker.conn]);
    let other = desk.worker(2, 4);
    assert_eq!(desk.given(&other), [(2, 2), (3, 1), (4, 1)]);
    assert_eq!(desk.outcomes(client), [(1, Outcome::Succeeded)]);
}

#[test]
fn an_operator_drains_a_worker_by_name_or_id_or_all_of_them() {
    let mut desk = Desk::new();
    let client = desk.client(1);
    let workers = [desk.worker(1, 1), desk.worker(2, 1), desk.worker(3, 1)];
    let by_id = workers[1].hello.worker.to_string();
    let refused = desk.drain_workers(client, &["worker-1", &by_id, "nobody"]);
    assert_eq!(refused, [(2, ErrorCode::UnknownWorker)]);
    let told: Vec<usize> = workers.iter().map(|worker| desk.commands(worker).len()).collect();
    assert_eq!(told, [1, 1, 0]);
    desk.submit(client, tasks(1..=3));
    let given: Vec<usize> = workers.iter().map(|worker| desk.given(worker).len()).collect();
    assert_eq!(given, [0, 0, 1]);
    assert_eq!(desk.drain_workers(client, &[]), []);
    assert!(matches!(&desk.commands(&workers[2])[..], [WorkerCommand::Drain { .. }]));
    desk.take();
}

#[test]
fn a_broker_with_nothing_to_do_is_drained_at_once() {
    let mut desk = Desk::new();
    desk.feed(Input::Drain { deadline: secs(30) });
    assert!(drained(&mut desk));
}

#[test]
fn a_draining_broker_takes_nothing_new_and_knows_what_it_has() {
    let mut desk = Desk::new();
    let (client, worker) = (desk.client(1), desk.worker(1, 1));
    desk.submit(client, tasks([1]));
    assert_eq!(desk.given(&worker), [(1, 1)]);
    desk.feed(Input::Drain { deadline: secs(30) });
    assert!(!drained(&mut desk));
    let refused = desk.submit_some(client, false, tasks(1..=2));
    assert_eq!(refused.iter().map(|no| (no.index, no.code)).collect::<Vec<_>>(), [(1, ErrorCode::Draining)]);
    desk.end(&worker, vec![success(1, 1)]);
    assert!(!drained(&mut desk), "the outcome is not confirmed");
    assert_eq!(desk.outcomes(client), [(1, Outcome::Succeeded)]);
    assert!(drained(&mut desk));
}

#[test]
fn a_broker_in_memory_works_off_its_queue_before_it_ends() {
    let mut desk = Desk::new();
    let (client, worker) = (desk.client(1), desk.worker(1, 1));
    desk.submit(client, tasks([1, 2]));
    assert_eq!(desk.given(&worker), [(1, 1)]);
    desk.feed(Input::Drain { deadline: secs(30) });
    desk.end(&worker, vec![success(1, 1)]);
    assert_eq!(desk.outcomes(client).len(), 1);
    assert_eq!(desk.given(&worker), [(2, 1)]);
    assert!(!drained(&mut desk));
    desk.end(&worker, vec![success(2, 1)]);
    assert_eq!(desk.outcomes(client).len(), 1);
    assert!(drained(&mut desk));
}

#[test]
fn a_broker_in_memory_does_not_wait_for_tasks_that_nobody_can_run() {
    let mut desk = Desk::new();
    let (client, worker) = (desk.client(1), desk.worker(1, 1));
    desk.submit(client, vec![task_of("nobody's", 1), task_of("nobody's", 2), task(3)]);
    desk.submit(
        client,
        vec![
            task_with(4, |options| options.delay_ms = 40_000),
            task_with(5, |options| options.knowledge = Some(Revision(9))),
        ],
    );
    assert_eq!(desk.given(&worker), [(3, 1)]);
    desk.feed(Input::Drain { deadline: secs(30) });
    desk.pass(secs(2));
    assert!(!drained(&mut desk), "one runs");
    desk.end(&worker, vec![success(3, 1)]);
    assert_eq!(desk.outcomes(client), [(3, Outcome::Succeeded)]);
    assert!(drained(&mut desk));
}

#[test]
fn a_broker_in_memory_waits_for_what_is_due_before_its_deadline() {
    let mut desk = Desk::new();
    let (client, worker) = (desk.client(1), desk.worker(1, 1));
    desk.submit(client, vec![task_with(1, |options| options.delay_ms = 10_000)]);
    desk.feed(Input::Drain { deadline: secs(30) });
    desk.pass_ms(9_999);
    assert!(!drained(&mut desk));
    desk.pass_ms(1);
    assert_eq!(desk.given(&worker), [(1, 1)]);
    desk.end(&worker, vec![success(1, 1)]);
    assert_eq!(desk.outcomes(client).len(), 1);
    assert!(drained(&mut desk));
}

#[test]
fn a_broker_in_memory_waits_for_a_worker_that_may_come_back_and_not_for_one_that_leaves() {
    let mut desk = Desk::new();
    let (client, away, leaving) = (desk.client(1), desk.worker(1, 1), desk.worker_of(2, &["other"], 1));
    desk.cut(away.conn);
    desk.drain_worker(&leaving);
    desk.submit(client, vec![task(1), task_of("other", 2)]);
    desk.feed(Input::Drain { deadline: secs(30) });
    desk.pass_ms(1_999);
    assert!(!drained(&mut desk), "one may come back within the grace");
    desk.pass_ms(1);
    assert!(drained(&mut desk));
}

#[test]
fn a_broker_with_a_journal_leaves_its_queue_to_its_next_life() {
    let mut desk = Desk::with(|config| config.durability = Durability::Journal);
    let (client, worker) = (desk.client(1), desk.worker(1, 1));
    desk.submit(client, tasks([1, 2]));
    assert_eq!(desk.given(&worker), [(1, 1)]);
    desk.feed(Input::Drain { deadline: secs(30) });
    desk.end(&worker, vec![success(1, 1)]);
    assert_eq!(desk.given(&worker), []);
    assert_eq!(desk.outcomes(client).len(), 1);
    assert!(drained(&mut desk));
}

#[test]
fn a_drain_ends_at_its_deadline_whatever_runs() {
    let mut desk = Desk::new();
    let (client, worker) = (desk.client(1), desk.worker(1, 1));
    desk.submit(client, tasks([1]));
    assert_eq!(desk.given(&worker), [(1, 1)]);
    desk.client_says(
        client.conn,
        ClientRequest::Drain { req: 1, workers: vec![], broker: true, deadline: Some(secs(7)) },
    );
    assert_eq!(desk.replies(client).len(), 1);
    desk.pass_ms(6_999);
    assert!(!drained(&mut desk));
    desk.pass_ms(1);
    assert!(drained(&mut desk));
    desk.pass(secs(20));
    assert!(!drained(&mut desk), "it is said once");
}

#[test]
fn a_drain_waits_for_the_journal() {
    let mut desk = Desk::new();
    let (client, worker) = (desk.client(1), desk.worker(1, 1));
    desk.submit(client, vec![task_with(1, |options| options.detached = true)]);
    assert_eq!(desk.given(&worker), [(1, 1)]);
    desk.hold_journal();
    desk.report(&worker, vec![], vec![success(1, 1)], 0);
    desk.feed(Input::Drain { deadline: secs(30) });
    assert!(!drained(&mut desk), "the worker has no acknowledgement yet");
    desk.journal_all();
    assert_eq!(desk.commands(&worker).len(), 2, "its acknowledgement, then a goodbye");
    assert!(drained(&mut desk));
}
