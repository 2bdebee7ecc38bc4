//! Why a task is where it is, and what listings and figures show.

use ganger_common::view::{ReasonCode, StateFilter, TaskState, TaskView};
use ganger_common::{ErrorCode, Outcome, Revision};
use ganger_scheduler::effect::ClientReply;
use ganger_scheduler::input::{ClientRequest, TaskFilter, WorkerRequest};

use crate::support::*;

fn list(desk: &mut Desk, client: Client, filter: &TaskFilter, limit: u32) -> Vec<TaskView> {
    let mut all = Vec::new();
    let mut after = None;
    loop {
        let (filter, from) = (filter.clone(), after.take());
        let ask = |req| ClientRequest::List { req, filter, after: from, limit: Some(limit) };
        let ClientReply::Tasks { rows, next, .. } = desk.request(client, ask) else { panic!("no listing") };
        assert!(rows.len() <= limit as usize);
        all.extend(rows);
        match next {
            Some(next) => after = Some(next),
            None => return all,
        }
    }
}

#[test]
fn every_place_where_a_task_may_be_is_explained() {
    let mut desk = Desk::new();
    let client = desk.client(1);
    desk.submit(
        client,
        vec![
            task(1),
            task_with(2, |options| options.delay_ms = 60_000),
            task_with(3, |options| options.knowledge = Some(Revision(5))),
            task(4),
        ],
    );
    assert_eq!(desk.reasons(client, 1), [ReasonCode::NoWorkerForKind]);
    assert_eq!(desk.reasons(client, 2), [ReasonCode::Delayed]);
    let worker = desk.worker(1, 1);
    assert_eq!(desk.given(&worker), [(1, 1)]);
    assert_eq!(desk.reasons(client, 1), [ReasonCode::Assigned]);
    assert_eq!(desk.reasons(client, 3)[0], ReasonCode::WaitingForKnowledge);
    assert_eq!(desk.reasons(client, 4), [ReasonCode::NoCredit, ReasonCode::BehindOthers]);
    desk.start(&worker, &[lease(1, 1)]);
    assert_eq!(desk.reasons(client, 1), [ReasonCode::Running]);
    desk.end(&worker, vec![failure_with(1, 1, |detail| detail.retry_after = Some(secs(9)))]);
    assert_eq!(desk.reasons(client, 1), [ReasonCode::Backoff]);
    let explanation = desk.explain(client, 1);
    assert!(explanation.reasons[0].text.contains("failure 1"), "{:?}", explanation.reasons);
    assert_eq!(desk.given(&worker), [(4, 1)]);
    desk.drain_worker(&worker);
    assert_eq!(desk.reasons(client, 3), [ReasonCode::WorkersDraining]);
}

#[test]
fn every_outcome_is_explained() {
    let mut desk = Desk::new();
    let (client, worker) = (desk.client(1), desk.worker(1, 10));
    let once = |options: &mut ganger_common::TaskOptions| {
        options.max_attempts = Some(1);
        options.crash_limit = Some(1);
    };
    desk.submit(client, (1..=6).map(|n| task_with(n, once)).collect());
    desk.submit(client, vec![task_with(7, |options| options.ttl_ms = Some(1))]);
    assert_eq!(desk.given(&worker).len(), 7);
    desk.start(&worker, &[lease(6, 1)]);
    desk.pass_ms(1);
    assert_eq!(desk.cancel(client, &[5]), []);
    let final_failure = failure_with(2, 1, |detail| detail.is_final = true);
    let timed_out = ended(4, 1, ganger_common::AttemptEnd::TimedOut);
    desk.end(&worker, vec![success(1, 1), final_failure, failure(3, 1), timed_out]);
    desk.cut(worker.conn);
    desk.pass(secs(2));
    let found: Vec<_> = (1..=7).flat_map(|n| desk.reasons(client, n)).collect();
    assert_eq!(
        found,
        [
            ReasonCode::Succeeded,
            ReasonCode::FailedFinal,
            ReasonCode::FailuresExhausted,
            ReasonCode::TimeoutsExhausted,
            ReasonCode::Cancelled,
            ReasonCode::CrashLimit,
            ReasonCode::Expired,
        ]
    );
    desk.take();
}

#[test]
fn a_task_that_was_never_taken_is_unknown() {
    let mut desk = Desk::new();
    let client = desk.client(1);
    assert_eq!(desk.fetch(client, 1), None);
    let reply = desk.request(client, |req| ClientRequest::Explain { req, task: id(1) });
    assert!(matches!(reply, ClientReply::Error(no) if no.code == ErrorCode::UnknownTask));
}

#[test]
fn a_fetch_brings_the_result() {
    let mut desk = Desk::new();
    let (client, worker) = (desk.client(1), desk.worker(1, 1));
    desk.submit(client, tasks([1]));
    assert_eq!(desk.given(&worker), [(1, 1)]);
    let fetch = |req| ClientRequest::Fetch { req, task: id(1) };
    assert!(matches!(desk.request(client, fetch), ClientReply::Task { result: None, .. }));
    desk.end(&worker, vec![success(1, 1)]);
    assert!(
        matches!(desk.request(client, fetch), ClientReply::Task { result: Some(found), .. } if found == result(1))
    );
    assert_eq!(desk.outcomes(client).len(), 1);
}

#[test]
fn a_listing_goes_through_everything_once_and_filters() {
    let mut desk = Desk::new();
    let client = desk.client(1);
    desk.submit(client, tasks(1..=7));
    desk.submit(client, vec![task_of("other", 8), task_with(9, |options| options.delay_ms = 9_000)]);
    let worker = desk.worker(1, 3);
    assert_eq!(desk.given(&worker).len(), 3);
    desk.start(&worker, &[lease(1, 1), lease(2, 1)]);
    desk.end(&worker, vec![success(1, 1)]);
    assert_eq!(desk.given(&worker), [(4, 1)]);
    assert_eq!(desk.outcomes(client).len(), 1);
    let mut numbers = |state, kind: Option<&str>| -> Vec<u32> {
        let filter = TaskFilter { state, kind: kind.map(str::to_owned) };
        list(&mut desk, client, &filter, 2).iter().map(|row| number(row.id)).collect()
    };
    assert_eq!(numbers(None, None), [1, 2, 3, 4, 5, 6, 7, 8, 9]);
    assert_eq!(numbers(None, Some("other")), [8]);
    assert_eq!(numbers(None, Some("no such kind")), [0_u32; 0]);
    assert_eq!(numbers(Some(StateFilter::Queued), None), [5, 6, 7, 8]);
    assert_eq!(numbers(Some(StateFilter::Parked), None), [8]);
    assert_eq!(numbers(Some(StateFilter::Delayed), None), [9]);
    assert_eq!(numbers(Some(StateFilter::Assigned), None), [3, 4]);
    assert_eq!(numbers(Some(StateFilter::Running), None), [2]);
    assert_eq!(numbers(Some(StateFilter::Settled), None), [1]);
    assert_eq!(numbers(Some(StateFilter::Succeeded), Some(KIND)), [1]);
    assert_eq!(numbers(Some(StateFilter::Failed), None), [0_u32; 0]);
}

#[test]
fn cursors_that_are_none_are_refused() {
    let mut desk = Desk::new();
    let client = desk.client(1);
    let after = || Some("nonsense".to_owned());
    let filter = TaskFilter::default();
    let tasks = desk.request(client, |req| ClientRequest::List { req, filter, after: after(), limit: None });
    assert!(matches!(tasks, ClientReply::Error(no) if no.code == ErrorCode::BadOption));
    let workers = desk.request(client, |req| ClientRequest::ListWorkers { req, after: after(), limit: None });
    assert!(matches!(workers, ClientReply::Error(no) if no.code == ErrorCode::BadOption));
}

#[test]
fn workers_are_listed_page_by_page() {
    let mut desk = Desk::new();
    let client = desk.client(1);
    for n in 1..=5 {
        desk.worker(n, 1);
    }
    let (mut names, mut after) = (Vec::new(), None);
    loop {
        let from = after.take();
        let ask = |req| ClientRequest::ListWorkers { req, after: from, limit: Some(2) };
        let ClientReply::Workers { rows, next, .. } = desk.request(client, ask) else { panic!("no workers") };
        names.extend(rows.into_iter().map(|row| row.name));
        match next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    assert_eq!(names, ["worker-1", "worker-2", "worker-3", "worker-4", "worker-5"]);
}

#[test]
fn the_status_counts_every_task_once() {
    let mut desk = Desk::new();
    let client = desk.client(1);
    desk.submit(client, tasks(1..=6));
    desk.submit(client, vec![task_of("parked", 7), task_with(8, |options| options.delay_ms = 9_000)]);
    let worker = desk.worker(1, 3);
    assert_eq!(desk.given(&worker).len(), 3);
    desk.start(&worker, &[lease(1, 1)]);
    desk.end(&worker, vec![success(2, 1), failure_with(3, 1, |detail| detail.is_final = true)]);
    assert_eq!(desk.given(&worker).len(), 2);
    let status = desk.scheduler.status();
    let places = (status.queued, status.parked, status.delayed, status.assigned, status.running);
    assert_eq!(places, (2, 1, 1, 2, 1));
    assert_eq!(
        (status.retained, status.dead_set, status.workers, status.slots, status.clients),
        (1, 1, 1, 3, 1)
    );
    assert_eq!(status.payload_bytes, 6 * 9);
    let kinds: Vec<_> =
        status.kinds.iter().map(|row| (row.kind.as_str(), row.queued, row.leased, row.workers)).collect();
    assert_eq!(kinds, [("parked", 1, 0, 0), (KIND, 1, 3, 1)]);
    assert_eq!(desk.outcomes(client), [(2, Outcome::Succeeded), (3, Outcome::Failed)]);
}

#[test]
fn a_worker_is_shown_with_what_it_has() {
    let mut desk = Desk::new();
    let (client, worker) = (desk.client(1), desk.worker(1, 3));
    desk.submit(client, tasks(1..=3));
    assert_eq!(desk.given(&worker).len(), 3);
    desk.start(&worker, &[lease(1, 1)]);
    assert_eq!(desk.cancel(client, &[2]), []);
    desk.take();
    desk.worker_says(worker.conn, WorkerRequest::Heartbeat { revision: Revision(4) });
    desk.take();
    let ask = |req| ClientRequest::ListWorkers { req, after: None, limit: None };
    let ClientReply::Workers { rows, .. } = desk.request(client, ask) else { panic!("no workers") };
    let row = &rows[0];
    assert_eq!((row.running, row.waiting, row.slots, row.credit, row.revision.0), (2, 1, 3, 3, 4));
    assert_eq!((row.kinds.as_slice(), row.ended), (&[KIND.to_owned()][..], 0));
}

#[test]
fn a_task_tells_who_has_it_and_who_settled_it() {
    let mut desk = Desk::new();
    let (client, worker) = (desk.client(1), desk.worker(1, 1));
    desk.submit(client, tasks([1]));
    assert_eq!(desk.given(&worker), [(1, 1)]);
    let view = desk.fetch(client, 1).expect("it is remembered");
    assert_eq!((view.state, view.worker_name.as_deref()), (TaskState::Assigned, Some("worker-1")));
    desk.end(&worker, vec![success(1, 1)]);
    let view = desk.fetch(client, 1).expect("it is remembered");
    assert_eq!((view.worker, view.worker_name.as_deref()), (Some(worker.hello.worker), Some("worker-1")));
    assert_eq!((view.payload_bytes, view.result_bytes), (0, 8));
    desk.outcomes(client);
}

#[test]
fn the_name_of_a_worker_that_is_gone_stays_with_a_failure_and_its_id_with_a_result() {
    let mut desk = Desk::new();
    let (client, worker) = (desk.client(1), desk.worker(1, 2));
    desk.submit(client, tasks([1, 2]));
    assert_eq!(desk.given(&worker), [(1, 1), (2, 1)]);
    desk.end(&worker, vec![success(1, 1), failure_with(2, 1, |detail| detail.is_final = true)]);
    desk.outcomes(client);
    desk.cut(worker.conn);
    desk.pass(secs(3_000));
    let mut of = |n| {
        let view = desk.fetch(client, n).expect("it is remembered");
        (view.worker, view.worker_name)
    };
    assert_eq!(of(1), (Some(worker.hello.worker), None));
    assert_eq!(of(2), (Some(worker.hello.worker), Some("worker-1".to_owned())));
}
