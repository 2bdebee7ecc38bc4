//! Outcomes on their way to clients: windows, confirmations, slow readers.

use bytes::Bytes;
use ganger_common::{ErrorCode, Outcome};
use ganger_scheduler::effect::ClientReply;
use ganger_scheduler::input::{ClientRequest, Ended, WorkerRequest};

use crate::support::*;

/// A client and a worker of many slots; all tasks have been given out.
fn busy(count: u32, set: impl FnOnce(&mut ganger_scheduler::Config)) -> (Desk, Client, Worker) {
    let mut desk = Desk::with(set);
    let (client, worker) = (desk.client(1), desk.worker(1, 4_000));
    desk.submit(client, tasks(1..=count));
    assert_eq!(desk.given(&worker).len(), count as usize);
    (desk, client, worker)
}

fn ack(desk: &mut Desk, client: Client, upto: u64) {
    desk.client_says(client.conn, ClientRequest::Ack { upto });
}

fn numbers(messages: Vec<(u64, Vec<ganger_scheduler::effect::OutcomeItem>)>) -> Vec<(u64, Vec<u32>)> {
    let row = |items: Vec<ganger_scheduler::effect::OutcomeItem>| {
        items.iter().map(|item| number(item.task)).collect()
    };
    messages.into_iter().map(|(upto, items)| (upto, row(items))).collect()
}

#[test]
fn no_more_outcomes_are_sent_than_the_window_holds() {
    let (mut desk, client, worker) = busy(10, |config| config.client_window = 4);
    desk.end(&worker, (1..=10).map(|n| success(n, 1)).collect());
    assert_eq!(numbers(desk.outcome_messages(client)), [(4, vec![1, 2, 3, 4])]);
    ack(&mut desk, client, 3);
    assert_eq!(numbers(desk.outcome_messages(client)), [(7, vec![5, 6, 7])]);
    ack(&mut desk, client, 7);
    assert_eq!(numbers(desk.outcome_messages(client)), [(10, vec![8, 9, 10])]);
}

#[test]
fn the_window_holds_bytes_too_and_always_one_outcome() {
    let (mut desk, client, worker) = busy(5, |config| config.client_window_bytes = 100);
    let large = |n| Ended { result: Bytes::from(vec![1; 60]), ..success(n, 1) };
    desk.end(&worker, (1..=5).map(large).collect());
    assert_eq!(numbers(desk.outcome_messages(client)), [(2, vec![1, 2])]);
    ack(&mut desk, client, 1);
    assert_eq!(numbers(desk.outcome_messages(client)), [], "a message counts until all of it is confirmed");
    ack(&mut desk, client, 2);
    assert_eq!(numbers(desk.outcome_messages(client)), [(4, vec![3, 4])]);
}

#[test]
fn a_confirmation_of_what_was_never_sent_confirms_no_more_than_was() {
    let (mut desk, client, worker) = busy(3, |config| config.client_window = 1);
    desk.end(&worker, (1..=3).map(|n| success(n, 1)).collect());
    assert_eq!(numbers(desk.outcome_messages(client)), [(1, vec![1])]);
    ack(&mut desk, client, u64::MAX);
    assert_eq!(numbers(desk.outcome_messages(client)), [(2, vec![2])]);
    ack(&mut desk, client, 0);
    assert_eq!(numbers(desk.outcome_messages(client)), [], "nor does it go back");
}

#[test]
fn a_client_that_reads_too_slowly_is_answered_busy() {
    let (mut desk, client, worker) = busy(5, |config| {
        config.client_window = 1;
        config.client_backlog_max = 3;
    });
    desk.end(&worker, (1..=5).map(|n| success(n, 1)).collect());
    let refused = desk.submit_some(client, false, tasks(5..=7));
    assert_eq!(
        refused.iter().map(|no| (no.index, no.code)).collect::<Vec<_>>(),
        [(1, ErrorCode::Busy), (2, ErrorCode::Busy)]
    );
    let other = desk.client(2);
    desk.submit(other, tasks([8]));
    assert_eq!(desk.given(&worker), [(8, 1)], "others are not held up");
    while let Some((upto, _)) = desk.outcome_messages(client).pop() {
        ack(&mut desk, client, upto);
    }
    desk.submit(client, tasks([6]));
    assert_eq!(desk.given(&worker), [(6, 1)]);
}

#[test]
fn the_stream_begins_anew_on_a_new_connection() {
    let (mut desk, client, worker) = busy(3, |config| config.client_window = 1);
    desk.end(&worker, vec![success(1, 1), success(2, 1)]);
    assert_eq!(numbers(desk.outcome_messages(client)), [(1, vec![1])]);
    desk.cut(client.conn);
    let client = desk.client(1);
    assert_eq!(numbers(desk.outcome_messages(client)), [], "the client asks for what it still waits for");
    assert_eq!(desk.watch(client, &[1, 2, 3, 9], false), [(3, ErrorCode::UnknownTask)]);
    assert_eq!(numbers(desk.outcome_messages(client)), [(1, vec![1])]);
    ack(&mut desk, client, 1);
    assert_eq!(numbers(desk.outcome_messages(client)), [(2, vec![2])]);
    desk.end(&worker, vec![success(3, 1)]);
    ack(&mut desk, client, 2);
    assert_eq!(numbers(desk.outcome_messages(client)), [(3, vec![3])]);
}

#[test]
fn an_outcome_that_settles_while_its_client_is_away_waits_for_it() {
    let (mut desk, client, worker) = busy(1, |_| ());
    desk.cut(client.conn);
    desk.end(&worker, vec![success(1, 1)]);
    let client = desk.client(1);
    desk.resubmit(client, tasks([1]));
    assert_eq!(desk.outcomes(client), [(1, Outcome::Succeeded)]);
}

#[test]
fn an_outcome_that_was_let_go_before_it_was_told_is_told_without_its_result() {
    let (mut desk, client, worker) = busy(2, |config| {
        config.client_window = 1;
        config.retain_bytes_max = 300;
    });
    desk.end(&worker, vec![success(1, 1), success(2, 1)]);
    assert_eq!(numbers(desk.outcome_messages(client)), [(1, vec![1])]);
    desk.submit(client, tasks([3, 4]));
    assert_eq!(desk.given(&worker).len(), 2);
    desk.end(&worker, vec![success(3, 1), success(4, 1)]);
    ack(&mut desk, client, 1);
    let (_, items) = desk.outcome_messages(client).remove(0);
    assert_eq!((items[0].outcome, items[0].result_dropped), (Outcome::Succeeded, true));
    assert!(items[0].result.is_empty());
}

#[test]
fn a_failure_that_was_put_back_before_it_was_told_is_told_when_it_has_its_next_outcome() {
    let (mut desk, client, worker) = busy(2, |config| config.client_window = 1);
    desk.end(&worker, vec![success(1, 1), failure_with(2, 1, |detail| detail.is_final = true)]);
    assert_eq!(numbers(desk.outcome_messages(client)), [(1, vec![1])]);
    let operator = desk.client(2);
    assert_eq!(desk.retry(operator, &[2]), []);
    assert_eq!(desk.given(&worker), [(2, 2)]);
    ack(&mut desk, client, 1);
    assert_eq!(desk.outcome_messages(client), []);
    desk.end(&worker, vec![success(2, 2)]);
    let (_, items) = desk.outcome_messages(client).remove(0);
    assert_eq!((items[0].outcome, &items[0].result), (Outcome::Succeeded, &result(2).into()));
}

#[test]
fn a_waiting_outcome_that_was_replaced_is_told_as_it_is_now() {
    let (mut desk, client, worker) = busy(2, |config| config.client_window = 1);
    desk.end(&worker, vec![success(1, 1), failure_with(2, 1, |detail| detail.is_final = true)]);
    assert_eq!(numbers(desk.outcome_messages(client)), [(1, vec![1])]);
    let operator = desk.client(2);
    assert_eq!(desk.retry(operator, &[2]), []);
    assert_eq!(desk.given(&worker), [(2, 2)]);
    desk.hold_journal();
    desk.report(&worker, vec![], vec![success(2, 2)], 0);
    ack(&mut desk, client, 1);
    assert_eq!(desk.outcome_messages(client), [], "not before the journal has it");
    desk.journal_all();
    let items: Vec<_> = desk.outcome_messages(client).into_iter().flat_map(|(_, items)| items).collect();
    assert_eq!((items.len(), items[0].outcome, &items[0].result), (1, Outcome::Succeeded, &result(2).into()));
    desk.commands(&worker);
}

#[test]
fn progress_and_partial_results_go_to_those_who_asked_and_only_from_the_holder() {
    let mut desk = Desk::new();
    let (one, two, worker) = (desk.client(1), desk.client(2), desk.worker(1, 2));
    let other = desk.worker(2, 0);
    desk.submit(one, vec![task_with(1, |options| options.events = true), task(2)]);
    let given = desk.dispatches(&worker);
    let elsewhere = desk.dispatches(&other);
    let wants: Vec<bool> = given
        .iter()
        .chain(&elsewhere)
        .map(|dispatch| dispatch.detail.as_ref().is_some_and(|detail| detail.events))
        .collect();
    assert_eq!(wants, [true, false]);
    let holder = if number(given[0].task) == 1 { &worker } else { &other };
    let stranger = if number(given[0].task) == 1 { &other } else { &worker };
    let progress = |lease| WorkerRequest::Progress { lease, fraction: Some(0.5), text: "half".into() };
    desk.worker_says(holder.conn, progress(lease(1, 1)));
    assert!(matches!(&desk.replies(one)[..], [ClientReply::Progress { fraction: Some(_), .. }]));
    assert_eq!(desk.watch(two, &[1], true), []);
    desk.worker_says(holder.conn, WorkerRequest::Partial { lease: lease(1, 1), index: 7, data: "x".into() });
    assert!(matches!(&desk.replies(one)[..], [ClientReply::Partial { index: 7, .. }]));
    assert!(matches!(&desk.replies(two)[..], [ClientReply::Partial { index: 7, .. }]));
    desk.worker_says(stranger.conn, progress(lease(1, 1)));
    desk.worker_says(holder.conn, progress(lease(1, 2)));
    desk.worker_says(holder.conn, progress(lease(9, 1)));
    desk.assert_quiet();
    desk.end(holder, vec![success(1, 1)]);
    assert_eq!(desk.outcomes(one), [(1, Outcome::Succeeded)]);
    assert_eq!(desk.outcomes(two), [(1, Outcome::Succeeded)]);
}
