//! Peers come, come back, leave and are lost.

use std::time::Duration;

use ganger_common::view::{ReasonCode, TaskState, WorkerState};
use ganger_common::{ErrorCode, Outcome, Revision, SessionToken};
use ganger_scheduler::effect::{ClientReply, WorkerCommand};
use ganger_scheduler::input::{ClientRequest, WorkerHello, WorkerRequest};

use crate::support::*;

fn code_of(command: &WorkerCommand) -> Option<ErrorCode> {
    match command {
        WorkerCommand::Error(refused) => Some(refused.code),
        WorkerCommand::Goodbye { code, .. } => *code,
        _ => None,
    }
}

/// A client with task 1 at a worker that runs it.
fn running() -> (Desk, Client, Worker) {
    let mut desk = Desk::new();
    let (client, worker) = (desk.client(1), desk.worker(1, 1));
    desk.submit(client, tasks([1]));
    assert_eq!(desk.given(&worker), [(1, 1)]);
    desk.start(&worker, &[lease(1, 1)]);
    (desk, client, worker)
}

#[test]
fn a_silent_worker_is_given_up_after_three_heartbeats_and_told_so() {
    let (mut desk, client, worker) = running();
    desk.mute(&worker);
    desk.beat_once(&worker);
    desk.pass_ms(2_999);
    assert_eq!(desk.fetch(client, 1).map(|task| task.state), Some(TaskState::Running));
    desk.pass_ms(1);
    assert_eq!(desk.commands(&worker).iter().map(code_of).collect::<Vec<_>>(), [Some(ErrorCode::Silent)]);
    assert_eq!(desk.closed(), [worker.conn]);
    assert_eq!(desk.counted("workers_lost_silent"), 1);
    assert_eq!(desk.fetch(client, 1).map(|task| (task.state, task.crashes)), Some((TaskState::Parked, 1)));
}

#[test]
fn anything_that_a_worker_says_is_a_sign_of_life() {
    let (mut desk, _, worker) = running();
    desk.mute(&worker);
    for _ in 0..10 {
        desk.pass_ms(2_900);
        desk.start(&worker, &[]);
    }
    assert_eq!(desk.scheduler.status().workers, 1);
}

#[test]
fn a_broken_connection_may_come_back_within_the_grace_and_nothing_moves() {
    let (mut desk, client, worker) = running();
    desk.cut(worker.conn);
    desk.pass_ms(1_999);
    let worker = desk.come_back(&worker, &[held_started(1, 1)]);
    desk.pass(secs(10));
    assert_eq!(desk.commands(&worker), []);
    desk.end(&worker, vec![success(1, 1)]);
    let items = desk.outcome_items(client);
    assert_eq!((items[0].outcome, items[0].attempt.0), (Outcome::Succeeded, 1));
    assert_eq!(desk.counted("workers_resumed"), 1);
}

#[test]
fn a_broken_connection_that_does_not_come_back_loses_its_leases_after_the_grace() {
    let (mut desk, client, worker) = running();
    let other = desk.worker(2, 1);
    desk.cut(worker.conn);
    desk.pass_ms(1_999);
    assert_eq!(desk.given(&other), []);
    desk.pass_ms(1);
    assert_eq!(desk.given(&other), [(1, 2)]);
    assert_eq!(desk.counted("workers_lost_connection"), 1);
    assert_eq!(desk.fetch(client, 1).map(|task| task.crashes), Some(1));
}

#[test]
fn a_worker_that_comes_back_with_its_token_takes_over_a_connection_that_still_seems_to_live() {
    let (mut desk, client, old) = running();
    let new = desk.come_back(&old, &[held_started(1, 1)]);
    assert_eq!(desk.commands(&old).iter().map(code_of).collect::<Vec<_>>(), [None], "a goodbye");
    assert_eq!(desk.closed(), [old.conn]);
    desk.worker_says(old.conn, WorkerRequest::Heartbeat { revision: Revision(0) });
    assert_eq!(desk.commands(&old).iter().map(code_of).collect::<Vec<_>>(), [Some(ErrorCode::HelloFirst)]);
    desk.cut(old.conn);
    desk.pass(secs(5));
    desk.end(&new, vec![success(1, 1)]);
    assert_eq!(desk.outcomes(client), [(1, Outcome::Succeeded)]);
}

#[test]
fn a_worker_with_another_token_is_refused_and_the_first_one_stays() {
    let (mut desk, client, worker) = running();
    let conn = desk.conn();
    let token = SessionToken::from_bytes([99; 16]);
    desk.worker_says(conn, WorkerRequest::Hello(WorkerHello { token, ..worker.hello.clone() }));
    let thief = Worker { conn, ..worker.clone() };
    assert_eq!(
        desk.commands(&thief).iter().map(code_of).collect::<Vec<_>>(),
        [Some(ErrorCode::SessionTaken)]
    );
    assert_eq!(desk.closed(), [conn]);
    desk.end(&worker, vec![success(1, 1)]);
    assert_eq!(desk.outcomes(client), [(1, Outcome::Succeeded)]);
}

#[test]
fn a_second_hello_on_a_connection_is_refused_and_changes_nothing() {
    let (mut desk, client, worker) = running();
    desk.worker_says(worker.conn, WorkerRequest::Hello(worker_hello(9, &["other"], 7)));
    assert_eq!(desk.commands(&worker).iter().map(code_of).collect::<Vec<_>>(), [Some(ErrorCode::BadMessage)]);
    let token = SessionToken::from_bytes([9; 16]);
    let hello = |n| ClientRequest::Hello {
        client: ganger_common::ClientId::from_bytes([n; 16]),
        token,
        name: String::new(),
    };
    desk.client_says(client.conn, hello(9));
    assert!(
        matches!(&desk.replies(client)[..], [ClientReply::Error(no)] if no.code == ErrorCode::BadMessage)
    );
    desk.client_says(worker.conn, hello(8));
    let as_client = Client { conn: worker.conn, id: 8 };
    assert!(
        matches!(&desk.replies(as_client)[..], [ClientReply::Error(no)] if no.code == ErrorCode::BadMessage)
    );
    desk.worker_says(client.conn, WorkerRequest::Goodbye);
    let as_worker = Worker { conn: client.conn, ..worker };
    assert_eq!(
        desk.commands(&as_worker).iter().map(code_of).collect::<Vec<_>>(),
        [Some(ErrorCode::BadMessage)]
    );
    assert_eq!((desk.scheduler.status().workers, desk.scheduler.status().clients), (1, 1));
}

#[test]
fn nothing_is_heard_before_a_hello() {
    let mut desk = Desk::new();
    let conn = desk.conn();
    desk.client_says(conn, ClientRequest::Submit { seq: 1, again: false, tasks: tasks([1]) });
    let stranger = Client { conn, id: 0 };
    assert!(
        matches!(&desk.replies(stranger)[..], [ClientReply::Error(no)] if no.code == ErrorCode::HelloFirst)
    );
    assert_eq!(desk.scheduler.status().queued, 0);
    assert_eq!(desk.counted("messages_before_hello"), 1);
}

#[test]
fn what_a_worker_does_not_account_for_is_given_back_at_its_second_heartbeat() {
    let mut desk = Desk::new();
    let (client, worker) = (desk.client(1), desk.worker(1, 3));
    desk.submit(client, tasks(1..=3));
    assert_eq!(desk.given(&worker).len(), 3);
    desk.cut(worker.conn);
    let worker = desk.come_back(&worker, &[held(2, 1)]);
    desk.mute(&worker);
    desk.beat_once(&worker);
    assert_eq!(desk.given(&worker), [], "the reports of its old life may still come");
    desk.beat_once(&worker);
    assert_eq!(desk.given(&worker), [(1, 2), (3, 2)]);
    assert_eq!(desk.fetch(client, 1).map(|task| task.crashes), Some(0));
}

#[test]
fn an_end_that_is_reported_again_before_the_first_heartbeat_counts() {
    let mut desk = Desk::new();
    let (client, worker) = (desk.client(1), desk.worker(1, 3));
    desk.submit(client, tasks(1..=2));
    assert_eq!(desk.given(&worker).len(), 2);
    desk.cut(worker.conn);
    let worker = desk.come_back(&worker, &[held(2, 1)]);
    desk.end(&worker, vec![success(1, 1)]);
    desk.pass(secs(3));
    assert_eq!(desk.outcomes(client), [(1, Outcome::Succeeded)]);
    assert_eq!(desk.given(&worker), []);
    assert_eq!(desk.counted("attempts_given"), 2);
}

#[test]
fn i4_what_a_worker_did_not_name_is_not_taken_for_the_next_task_of_that_id() {
    let mut desk = Desk::with(|config| config.retain_for = Duration::from_millis(1));
    let (client, worker) = (desk.client(1), desk.worker(1, 1));
    desk.submit(client, tasks([1]));
    assert_eq!(desk.given(&worker), [(1, 1)]);
    desk.cut(worker.conn);
    let worker = desk.come_back(&worker, &[]);
    desk.mute(&worker);
    desk.end(&worker, vec![success(1, 1)]);
    assert_eq!(desk.outcomes(client), [(1, Outcome::Succeeded)]);
    desk.pass(secs(2));
    desk.submit(client, tasks([1]));
    assert_eq!(desk.given(&worker), [(1, 1)], "its outcome was let go");
    desk.beat_once(&worker);
    desk.beat_once(&worker);
    assert_eq!(desk.given(&worker), []);
    assert_eq!(desk.fetch(client, 1).map(|task| task.attempt.0), Some(1));
}

#[test]
fn a_worker_that_is_away_gets_nothing_and_is_shown_as_away() {
    let (mut desk, client, worker) = running();
    desk.cut(worker.conn);
    desk.submit(client, tasks([2]));
    assert_eq!(desk.reasons(client, 1), [ReasonCode::Running, ReasonCode::WorkerAway]);
    let ClientReply::Workers { rows, .. } =
        desk.request(client, |req| ClientRequest::ListWorkers { req, after: None, limit: None })
    else {
        panic!("no workers");
    };
    assert_eq!((rows.len(), rows[0].state), (1, WorkerState::Away));
    assert_eq!(desk.given(&worker), []);
}

#[test]
fn a_worker_that_says_goodbye_hands_back_what_it_has_at_no_cost() {
    let mut desk = Desk::new();
    let (client, worker) = (desk.client(1), desk.worker(1, 2));
    desk.submit(client, vec![task_with(1, |options| options.crash_limit = Some(1)), task(2)]);
    assert_eq!(desk.given(&worker).len(), 2);
    desk.start(&worker, &[lease(1, 1)]);
    desk.mute(&worker);
    desk.worker_says(worker.conn, WorkerRequest::Goodbye);
    assert_eq!(desk.closed(), [worker.conn]);
    let other = desk.worker(2, 2);
    assert_eq!(desk.given(&other), [(1, 2), (2, 2)]);
    assert_eq!(desk.counted("workers_left"), 1);
}

#[test]
fn the_heartbeat_is_answered() {
    let mut desk = Desk::new();
    let (client, worker) = (desk.client(1), desk.worker(1, 1));
    desk.client_says(client.conn, ClientRequest::Heartbeat);
    assert_eq!(desk.replies(client), [ClientReply::Heartbeat { revision: Revision(0) }]);
    desk.beat_once(&worker);
}

#[test]
fn sessions_beyond_their_limit_are_refused() {
    let mut desk = Desk::with(|config| (config.workers_max, config.clients_max) = (1, 1));
    let (client, worker) = (desk.client(1), desk.worker(1, 1));
    let conn = desk.conn();
    desk.worker_says(conn, WorkerRequest::Hello(worker_hello(2, &[KIND], 1)));
    let second = Worker { conn, ..worker.clone() };
    let codes: Vec<_> = desk.commands(&second).iter().map(code_of).collect();
    assert_eq!(codes, [Some(ErrorCode::TooManySessions)]);
    let other = desk.client_hello(2);
    assert!(
        matches!(&desk.replies(other)[..], [ClientReply::Error(no)] if no.code == ErrorCode::TooManySessions)
    );
    assert_eq!(desk.closed(), [conn, other.conn]);
    desk.come_back(&worker, &[]);
    let moved = desk.client(1);
    assert_ne!(moved.conn, client.conn, "who is known may come back");
    desk.take();
}

#[test]
fn the_tasks_of_a_client_that_is_gone_go_on() {
    let mut desk = Desk::new();
    let client = desk.client(1);
    desk.submit(client, tasks(1..=2));
    desk.mute_conn(client.conn);
    desk.pass(secs(3));
    assert_eq!(desk.closed(), [client.conn]);
    assert!(matches!(
        &desk.replies(client)[..],
        [ClientReply::Goodbye { code: Some(ErrorCode::Silent), .. }]
    ));
    assert_eq!(desk.scheduler.status().clients, 0);
    let worker = desk.worker(1, 2);
    assert_eq!(desk.given(&worker).len(), 2);
    desk.end(&worker, vec![success(1, 1), success(2, 1)]);
    let client = desk.client(1);
    assert_eq!(desk.watch(client, &[1, 2], false), []);
    assert_eq!(desk.outcomes(client).len(), 2);
}

#[test]
fn i13_a_stall_of_the_broker_kills_nobody() {
    let (mut desk, client, worker) = running();
    desk.stall(secs(10));
    desk.beat_once(&worker);
    desk.client_says(client.conn, ClientRequest::Heartbeat);
    desk.wake();
    desk.pass(secs(2));
    desk.replies(client);
    assert_eq!((desk.scheduler.status().workers, desk.scheduler.status().clients), (1, 1));
    assert_eq!(desk.counted("own_stalls"), 1);
}

#[test]
fn i13_a_stall_kills_nobody_even_if_the_time_out_is_handed_in_first() {
    let (mut desk, client, worker) = running();
    desk.stall(secs(10));
    desk.wake();
    assert_eq!((desk.scheduler.status().workers, desk.scheduler.status().clients), (1, 1));
    desk.pass(secs(1));
    desk.end(&worker, vec![success(1, 1)]);
    assert_eq!(desk.outcomes(client), [(1, Outcome::Succeeded)]);
}

#[test]
fn a_worker_that_is_really_silent_is_found_after_a_stall() {
    let (mut desk, _, worker) = running();
    desk.mute(&worker);
    desk.stall(secs(10));
    desk.wake();
    desk.pass_ms(3_100);
    assert_eq!(desk.counted("workers_lost_silent"), 1);
    desk.take();
}

#[test]
fn a_stall_is_not_charged_to_the_grace_of_a_broken_connection() {
    let (mut desk, client, worker) = running();
    desk.cut(worker.conn);
    desk.pass(secs(1));
    desk.stall(secs(10));
    desk.wake();
    let worker = desk.come_back(&worker, &[held_started(1, 1)]);
    desk.end(&worker, vec![success(1, 1)]);
    assert_eq!(desk.outcome_items(client)[0].attempt.0, 1);
}

#[test]
fn many_short_stalls_are_forgiven_as_one_long_one_is() {
    let (mut desk, _, worker) = running();
    desk.mute(&worker);
    for _ in 0..10 {
        desk.stall(secs(1));
        desk.wake();
    }
    assert_eq!(desk.scheduler.status().workers, 1, "the broker ran for three seconds at most");
    desk.mute(&worker);
    desk.pass(secs(4));
    assert_eq!(desk.scheduler.status().workers, 0);
    desk.take();
}

#[test]
fn i14_jumps_of_the_wall_clock_change_nothing() {
    let hour = 3_600_000;
    for jump in [-hour, hour] {
        let (mut desk, client, worker) = running();
        desk.submit(
            client,
            vec![
                task_with(2, |options| options.delay_ms = 5_000),
                task_with(3, |options| options.ttl_ms = Some(5_000)),
            ],
        );
        desk.pass(secs(1));
        desk.now.wall.0 = desk.now.wall.0.wrapping_add_signed(jump);
        desk.wake();
        desk.pass_ms(3_999);
        assert_eq!((desk.scheduler.status().workers, desk.scheduler.status().delayed), (1, 1));
        assert_eq!(desk.outcomes(client), []);
        desk.pass_ms(1);
        assert_eq!(desk.scheduler.status().delayed, 0);
        assert_eq!(desk.outcomes(client), [(3, Outcome::Expired)]);
        desk.end(&worker, vec![success(1, 1)]);
        assert_eq!(desk.given(&worker), [(2, 1)]);
        assert_eq!(desk.outcomes(client), [(1, Outcome::Succeeded)]);
    }
}
