//! Nothing is promised before the journal has it (I8).

use ganger_common::{AttemptEnd, Outcome, Revision};
use ganger_scheduler::effect::{ClientReply, Effect, Publication, WorkerCommand};
use ganger_scheduler::input::{ClientRequest, KnowledgeOp, WorkerRequest};
use ganger_scheduler::{Input, Lsn};

use crate::support::*;

/// A desk with a client and a worker, whose journal is slow from here on.
fn slow() -> (Desk, Client, Worker) {
    let mut desk = Desk::new();
    let (client, worker) = (desk.client(1), desk.worker(1, 2));
    desk.hold_journal();
    (desk, client, worker)
}

/// A task that the worker runs, all of it safe.
fn slow_with_task() -> (Desk, Client, Worker) {
    let mut desk = Desk::new();
    let (client, worker) = (desk.client(1), desk.worker(1, 2));
    desk.submit(client, tasks([1]));
    assert_eq!(desk.given(&worker), [(1, 1)]);
    desk.start(&worker, &[lease(1, 1)]);
    desk.hold_journal();
    (desk, client, worker)
}

fn put(key: &str) -> KnowledgeOp {
    KnowledgeOp::Put { topic: "t".into(), key: key.into(), value: "v".into(), expect: None }
}

#[test]
fn i8_a_submission_is_not_acknowledged_before_the_journal_has_it() {
    let (mut desk, client, worker) = slow();
    desk.client_says(client.conn, ClientRequest::Submit { seq: 5, again: false, tasks: tasks([1]) });
    assert_eq!(desk.replies(client), []);
    assert_eq!(desk.given(&worker), [(1, 1)], "to run it promises nothing");
    desk.journal_all();
    assert_eq!(desk.replies(client), [ClientReply::Accepted { seq: 5, refused: vec![] }]);
}

#[test]
fn i8_a_submission_of_known_tasks_waits_for_the_record_that_made_them_known() {
    let (mut desk, client, _worker) = slow();
    let other = desk.client_hello(2);
    desk.client_says(client.conn, ClientRequest::Submit { seq: 5, again: false, tasks: tasks([1]) });
    desk.client_says(other.conn, ClientRequest::Submit { seq: 6, again: false, tasks: tasks([1]) });
    desk.pick(|effect| matches!(effect, Effect::ToWorker { .. }).then_some(()));
    assert!(matches!(&desk.replies(other)[..], [ClientReply::Welcome(_)]));
    desk.assert_quiet();
    desk.journal_all();
    assert_eq!((desk.replies(client).len(), desk.replies(other).len()), (1, 1));
}

#[test]
fn i8_an_outcome_is_neither_told_nor_acknowledged_before_the_journal_has_it() {
    for end in [AttemptEnd::Succeeded, AttemptEnd::Failed, AttemptEnd::Interrupted] {
        let (mut desk, client, worker) = slow_with_task();
        desk.report(&worker, vec![], vec![ended(1, 1, end)], 0);
        desk.given(&worker);
        desk.assert_quiet();
        desk.journal_all();
        assert!(matches!(&desk.commands(&worker)[..], [WorkerCommand::Ack { .. }]));
        assert_eq!(desk.outcomes(client).len(), usize::from(end == AttemptEnd::Succeeded));
    }
}

#[test]
fn i8_a_late_watcher_waits_for_the_journal_too() {
    let (mut desk, _, worker) = slow_with_task();
    desk.report(&worker, vec![], vec![success(1, 1)], 0);
    let other = desk.client_hello(2);
    desk.client_says(other.conn, ClientRequest::Watch { req: 1, tasks: vec![id(1)], events: false });
    desk.client_says(other.conn, ClientRequest::Fetch { req: 2, task: id(1) });
    assert_eq!(desk.replies(other), []);
    desk.journal_all();
    let replies = desk.replies(other);
    assert_eq!(replies.len(), 4, "{replies:?}");
    assert!(matches!(replies[0], ClientReply::Welcome(_)), "and in order");
    desk.take();
}

#[test]
fn i8_a_cancellation_is_not_acknowledged_before_the_journal_has_it() {
    let (mut desk, client, worker) = slow_with_task();
    desk.client_says(client.conn, ClientRequest::Cancel { req: 3, tasks: vec![id(1)] });
    assert_eq!(desk.replies(client), []);
    assert_eq!(desk.commands(&worker).len(), 1, "the worker may stop at once");
    desk.journal_all();
    let replies = desk.replies(client);
    assert!(
        matches!(&replies[..], [ClientReply::Verdicts { req: 3, .. }, ClientReply::Outcomes { .. }]),
        "{replies:?}"
    );
}

#[test]
fn i8_a_retry_is_not_acknowledged_before_the_journal_has_it() {
    let mut desk = Desk::new();
    let (client, worker) = (desk.client(1), desk.worker(1, 2));
    desk.submit(client, tasks([1]));
    assert_eq!(desk.given(&worker), [(1, 1)]);
    desk.end(&worker, vec![failure_with(1, 1, |detail| detail.is_final = true)]);
    assert_eq!(desk.outcomes(client), [(1, Outcome::Failed)]);
    desk.hold_journal();
    desk.client_says(client.conn, ClientRequest::Retry { req: 3, tasks: vec![id(1)] });
    assert_eq!(desk.replies(client), []);
    desk.given(&worker);
    desk.journal_all();
    assert_eq!(desk.replies(client), [ClientReply::Verdicts { req: 3, refused: vec![] }]);
}

#[test]
fn i8_a_change_of_knowledge_is_neither_told_nor_published_before_the_journal_has_it() {
    let (mut desk, client, worker) = slow();
    desk.client_says(client.conn, ClientRequest::Knowledge { req: 1, op: put("a") });
    desk.worker_says(worker.conn, WorkerRequest::Knowledge { req: 2, op: put("b") });
    desk.client_says(
        client.conn,
        ClientRequest::Knowledge { req: 3, op: KnowledgeOp::Since { revision: Revision(0) } },
    );
    desk.assert_quiet();
    desk.journal_all();
    let deltas = desk.pick(|effect| match effect {
        Effect::Publish(Publication::Delta { change, previous }) => Some((change.revision.0, previous.0)),
        _ => None,
    });
    assert_eq!(deltas, [(1, 0), (2, 1)]);
    assert_eq!((desk.replies(client).len(), desk.commands(&worker).len()), (2, 1));
}

#[test]
fn i8_no_sign_of_life_names_a_revision_that_the_journal_does_not_have() {
    let (mut desk, client, worker) = slow();
    desk.client_says(client.conn, ClientRequest::Knowledge { req: 1, op: put("a") });
    desk.client_says(client.conn, ClientRequest::Heartbeat);
    desk.worker_says(worker.conn, WorkerRequest::Heartbeat { revision: Revision(0) });
    assert_eq!(desk.replies(client), [ClientReply::Heartbeat { revision: Revision(0) }]);
    assert_eq!(desk.commands(&worker), [WorkerCommand::Heartbeat { revision: Revision(0) }]);
    let conn = desk.conn();
    desk.worker_says(conn, WorkerRequest::Hello(worker_hello(2, &[KIND], 1)));
    let late = Worker { conn, hello: worker_hello(2, &[KIND], 1) };
    assert!(
        matches!(&desk.commands(&late)[..], [WorkerCommand::Welcome(welcome)] if welcome.revision.0 == 0)
    );
    desk.journal_all();
    desk.replies(client);
    desk.worker_says(worker.conn, WorkerRequest::Heartbeat { revision: Revision(0) });
    assert_eq!(desk.commands(&worker), [WorkerCommand::Heartbeat { revision: Revision(1) }]);
    desk.take();
}

#[test]
fn i8_promises_leave_one_by_one_as_the_journal_gets_on() {
    let (mut desk, client, worker) = slow();
    let before = desk.journal.len() as u64;
    for n in 1..=3 {
        desk.client_says(
            client.conn,
            ClientRequest::Submit { seq: n.into(), again: false, tasks: tasks([n]) },
        );
    }
    desk.given(&worker);
    for n in 1..=3 {
        desk.feed(Input::Journaled { upto: Lsn(before + n) });
        assert_eq!(desk.replies(client), [ClientReply::Accepted { seq: n, refused: vec![] }]);
    }
}

#[test]
fn i8_what_was_never_appended_is_not_believed_to_be_safe() {
    let (mut desk, client, worker) = slow();
    desk.feed(Input::Journaled { upto: Lsn(u64::MAX) });
    desk.client_says(client.conn, ClientRequest::Submit { seq: 1, again: false, tasks: tasks([1]) });
    desk.given(&worker);
    assert_eq!(desk.replies(client), []);
    desk.feed(Input::Journaled { upto: Lsn(0) });
    assert_eq!(desk.replies(client), []);
    desk.journal_all();
    assert_eq!(desk.replies(client).len(), 1);
}

#[test]
fn i4_no_lease_is_granted_before_the_journal_knows_the_epoch_that_it_names() {
    let mut desk = Desk::new();
    let client = desk.client(1);
    desk.submit(client, tasks([1]));
    desk.hold_journal();
    desk.restart();
    desk.hold_journal();
    desk.pass(secs(6));
    let conn = desk.conn();
    let worker = Worker { conn, hello: worker_hello(1, &[KIND], 1) };
    desk.worker_says(conn, WorkerRequest::Hello(worker.hello.clone()));
    assert_eq!(desk.given(&worker), []);
    desk.journal_all();
    assert_eq!(desk.given(&worker), [(1, 1)]);
    desk.take();
}

#[test]
fn i8_an_outcome_after_a_retry_waits_for_its_own_record_and_not_for_that_of_the_one_before() {
    let mut desk = Desk::with(|config| config.max_attempts = 1);
    let (client, other, worker) = (desk.client(1), desk.client(2), desk.worker(1, 2));
    desk.submit(client, tasks([1]));
    assert_eq!(desk.given(&worker), [(1, 1)]);
    desk.end(&worker, vec![failure(1, 1)]);
    assert_eq!(desk.outcomes(client), [(1, Outcome::Failed)]);
    desk.hold_journal();
    // Something that is not safe, so that who asks for the outcome now has to wait behind it.
    desk.client_says(client.conn, ClientRequest::Submit { seq: 9, again: false, tasks: tasks([2]) });
    desk.client_says(other.conn, ClientRequest::Watch { req: 1, tasks: vec![id(1)], events: false });
    desk.client_says(client.conn, ClientRequest::Retry { req: 2, tasks: vec![id(1)] });
    desk.report(&worker, vec![], vec![failure(1, 2)], 0);
    desk.given(&worker);
    desk.journal_some(1);
    assert_eq!(desk.outcome_items(other), [], "the second failure is not on record");
    desk.journal_all();
    let told: Vec<_> = desk.outcome_items(other).iter().map(|item| (item.outcome, item.attempt.0)).collect();
    assert_eq!(told, [(Outcome::Failed, 2)]);
    desk.take();
}

#[test]
fn an_outcome_leaves_before_the_acknowledgement_that_nobody_waits_for() {
    let (mut desk, client, worker) = slow_with_task();
    desk.report(&worker, vec![], vec![success(1, 1)], 0);
    desk.journal_all();
    let order = desk.pick(|effect| match effect {
        Effect::ToClient { reply: ClientReply::Outcomes { .. }, .. } => Some("outcome"),
        Effect::ToWorker { command: WorkerCommand::Ack { .. }, .. } => Some("acknowledgement"),
        _ => None,
    });
    assert_eq!(order, ["outcome", "acknowledgement"]);
    desk.outcomes(client);
}

#[test]
fn reports_that_come_together_are_acknowledged_together() {
    let (mut desk, _, worker) = slow();
    for seq in [5, 6] {
        let report = WorkerRequest::Report {
            seq,
            started: vec![],
            ended: vec![success(seq as u32, 1)],
            waiting: 0,
            recall: None,
        };
        desk.scheduler.handle(desk.now, Input::Worker { conn: worker.conn, request: report });
    }
    desk.drain();
    let stale = vec![lease(5, 1), lease(6, 1)];
    assert_eq!(desk.commands(&worker), [WorkerCommand::Ack { upto: 6, stale }]);
}
