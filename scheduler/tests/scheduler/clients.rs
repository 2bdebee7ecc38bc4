//! Clients' sessions: who speaks for whom.

use ganger_common::{ClientId, ErrorCode, Outcome, SessionToken};
use ganger_scheduler::effect::ClientReply;
use ganger_scheduler::input::ClientRequest;

use crate::support::*;

#[test]
fn a_client_with_another_token_is_refused_and_the_first_one_stays() {
    let mut desk = Desk::new();
    let client = desk.client(1);
    desk.submit(client, tasks([1]));
    let conn = desk.conn();
    let (same, token) = (ClientId::from_bytes([1; 16]), SessionToken::from_bytes([9; 16]));
    desk.client_says(conn, ClientRequest::Hello { client: same, token, name: String::new() });
    let thief = Client { conn, id: 1 };
    assert!(
        matches!(&desk.replies(thief)[..], [ClientReply::Error(no)] if no.code == ErrorCode::SessionTaken)
    );
    assert_eq!(desk.closed(), [conn]);
    assert_eq!(desk.cancel(client, &[1]), []);
    assert_eq!(desk.outcomes(client), [(1, Outcome::Cancelled)]);
    assert_eq!(desk.counted("sessions_refused"), 1);
}

#[test]
fn a_client_that_comes_back_with_its_token_takes_over_and_the_old_connection_ends() {
    let mut desk = Desk::new();
    let (old, worker) = (desk.client(1), desk.worker(1, 1));
    desk.submit(old, tasks([1]));
    assert_eq!(desk.given(&worker), [(1, 1)]);
    desk.mute_conn(old.conn);
    let new = desk.client(1);
    assert!(matches!(&desk.replies(old)[..], [ClientReply::Goodbye { code: None, .. }]));
    assert_eq!(desk.closed(), [old.conn]);
    desk.end(&worker, vec![success(1, 1)]);
    assert_eq!(desk.outcomes(new), [(1, Outcome::Succeeded)], "its tasks are still its own");
    desk.cut(old.conn);
    desk.pass(secs(5));
    assert_eq!(desk.scheduler.status().clients, 1);
}

#[test]
fn a_client_that_says_goodbye_is_told_nothing_more() {
    let mut desk = Desk::new();
    let (client, worker) = (desk.client(1), desk.worker(1, 1));
    desk.submit(client, tasks([1]));
    assert_eq!(desk.given(&worker), [(1, 1)]);
    desk.mute_conn(client.conn);
    desk.client_says(client.conn, ClientRequest::Goodbye);
    assert_eq!(desk.closed(), [client.conn]);
    desk.end(&worker, vec![success(1, 1)]);
    assert_eq!(desk.scheduler.status().clients, 0);
}

#[test]
fn a_watcher_of_a_task_whose_owner_left_is_told() {
    let mut desk = Desk::new();
    let (owner, other, worker) = (desk.client(1), desk.client(2), desk.worker(1, 1));
    desk.submit(owner, tasks([1]));
    assert_eq!(desk.given(&worker), [(1, 1)]);
    desk.mute_conn(owner.conn);
    desk.client_says(owner.conn, ClientRequest::Goodbye);
    assert_eq!(desk.closed(), [owner.conn]);
    for _ in 0..3 {
        assert_eq!(desk.watch(other, &[1], true), []);
    }
    desk.end(&worker, vec![success(1, 1)]);
    assert_eq!(desk.outcomes(other), [(1, Outcome::Succeeded)], "once, however often it asked");
}

#[test]
fn an_end_of_connection_that_comes_late_or_twice_harms_nobody() {
    let mut desk = Desk::new();
    let (client, worker) = (desk.client(1), desk.worker(1, 1));
    desk.cut(worker.conn);
    let worker = desk.come_back(&worker, &[]);
    desk.cut(ganger_common::ConnId(1_000));
    desk.submit(client, tasks([1]));
    assert_eq!(desk.given(&worker), [(1, 1)]);
}
