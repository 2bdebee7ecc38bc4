//! Kinds that are paused wait, survive restarts, and go on where they were.

use ganger_common::limits::PAUSED_KINDS_MAX;
use ganger_common::message::Durability;
use ganger_common::view::ReasonCode;
use ganger_common::{AttemptEnd, ErrorCode, Outcome, Revision};
use ganger_scheduler::Input;
use ganger_scheduler::effect::{ClientReply, Effect};
use ganger_scheduler::input::{ClientRequest, Ended, KnowledgeOp};

use crate::support::*;

/// The kinds of the figures, with those that are paused.
fn kinds(desk: &Desk) -> Vec<(String, u64, bool)> {
    let rows = desk.scheduler.status().kinds.into_iter();
    rows.map(|row| (row.kind, row.queued, row.paused)).collect()
}

#[test]
fn a_paused_kind_is_taken_and_waits_and_the_others_go_on() {
    let mut desk = Desk::new();
    let (client, worker) = (desk.client(1), desk.worker_of(1, &[KIND, "other"], 4));
    assert_eq!(desk.pause(client, KIND), Ok(()));
    desk.submit(client, vec![task(1), task(2), task_of("other", 3)]);
    assert_eq!(desk.given(&worker), [(3, 1)]);
    assert_eq!(desk.reasons(client, 1), [ReasonCode::KindPaused, ReasonCode::BehindOthers]);
    assert_eq!(kinds(&desk), [("other".to_owned(), 0, false), (KIND.to_owned(), 2, true)]);
    desk.pass(secs(60));
    assert_eq!(desk.given(&worker), []);
    assert_eq!(desk.resume(client, KIND), Ok(()));
    assert_eq!(desk.given(&worker), [(1, 1), (2, 1)], "in their order");
    assert_eq!(kinds(&desk)[1], (KIND.to_owned(), 0, false));
}

#[test]
fn what_a_worker_has_goes_on_and_what_it_hands_back_waits() {
    let mut desk = Desk::new();
    let (client, worker) = (desk.client(1), desk.worker(1, 2));
    desk.submit(client, tasks(1..=3));
    assert_eq!(desk.given(&worker), [(1, 1), (2, 1)]);
    desk.start(&worker, &[lease(1, 1)]);
    assert_eq!(desk.pause(client, KIND), Ok(()));
    assert_eq!(desk.commands(&worker), [], "nothing is taken back");
    desk.end(&worker, vec![success(1, 1), ended(2, 1, AttemptEnd::Returned)]);
    assert_eq!(desk.outcomes(client), [(1, Outcome::Succeeded)]);
    assert_eq!(desk.given(&worker), []);
    assert_eq!(desk.resume(client, KIND), Ok(()));
    assert_eq!(desk.given(&worker), [(2, 2), (3, 1)], "what came back stands at the front");
}

#[test]
fn what_ends_a_wait_ends_it_while_the_kind_is_paused_too() {
    let mut desk = Desk::new();
    let (client, worker) = (desk.client(1), desk.worker(1, 4));
    assert_eq!(desk.pause(client, KIND), Ok(()));
    desk.submit(client, vec![task(1), task_with(2, |options| options.ttl_ms = Some(1_000))]);
    desk.submit(client, vec![task_with(3, |options| options.delay_ms = 1_000)]);
    assert_eq!(desk.cancel(client, &[1]), []);
    desk.pass(secs(1));
    assert_eq!(desk.outcomes(client), [(1, Outcome::Cancelled), (2, Outcome::Expired)]);
    assert_eq!(desk.given(&worker), []);
    assert_eq!(desk.reasons(client, 3)[0], ReasonCode::KindPaused, "it is due");
    assert_eq!(desk.resume(client, KIND), Ok(()));
    assert_eq!(desk.given(&worker), [(3, 1)]);
}

#[test]
fn a_task_that_waits_for_knowledge_waits_for_the_pause_to_end_as_well() {
    let mut desk = Desk::new();
    let (client, mut worker) = (desk.client(1), desk.worker(1, 1));
    desk.submit(client, vec![task_with(1, |options| options.knowledge = Some(Revision(1)))]);
    assert_eq!(desk.pause(client, KIND), Ok(()));
    let put = KnowledgeOp::Put { topic: "t".into(), key: "k".into(), value: "v".into(), expect: None };
    desk.know(client, put).expect("written");
    desk.take();
    desk.learns(&mut worker, 1);
    assert_eq!(desk.given(&worker), []);
    assert_eq!(desk.resume(client, KIND), Ok(()));
    assert_eq!(desk.given(&worker), [(1, 1)]);
}

#[test]
fn a_pause_is_answered_when_it_is_on_record_and_holds_from_its_request_on() {
    let mut desk = Desk::with(|config| config.durability = Durability::Journal);
    let (client, worker) = (desk.client(1), desk.worker(1, 1));
    desk.submit(client, tasks([1]));
    assert_eq!(desk.given(&worker), [(1, 1)]);
    desk.submit(client, tasks([2]));
    desk.hold_journal();
    desk.client_says(client.conn, ClientRequest::Pause { req: 7, kind: KIND.into() });
    assert_eq!(desk.replies(client), [], "not yet");
    desk.report(&worker, vec![], vec![success(1, 1)], 0);
    assert_eq!(desk.given(&worker), []);
    desk.journal_all();
    let is_done = |effect: &Effect| format!("{effect:?}").contains("Done { req: 7 }");
    assert_eq!(desk.take().iter().filter(|effect| is_done(effect)).count(), 1);
}

#[test]
fn i10_a_pause_survives_a_restart_also_without_the_journals_beginning() {
    for is_carried in [false, true] {
        let mut desk = Desk::with(|config| config.durability = Durability::Journal);
        let client = desk.client(1);
        for kind in [KIND, "other", "unheard of"] {
            assert_eq!(desk.pause(client, kind), Ok(()));
        }
        assert_eq!(desk.resume(client, "other"), Ok(()));
        desk.submit(client, vec![task(1), task_of("other", 2)]);
        if is_carried {
            let from = desk.carry();
            desk.let_go_before(from[0]);
        }
        desk.restart();
        let (client, worker) = (desk.client(1), desk.worker_of(1, &[KIND, "other"], 4));
        desk.pass(secs(6));
        assert_eq!(desk.given(&worker), [(2, 1)]);
        let paused: Vec<_> = kinds(&desk).into_iter().filter(|(_, _, paused)| *paused).collect();
        assert_eq!(paused, [("unheard of".to_owned(), 0, true), (KIND.to_owned(), 1, true)]);
        assert_eq!(desk.resume(client, KIND), Ok(()));
        assert_eq!(desk.given(&worker), [(1, 1)]);
    }
}

#[test]
fn pausing_twice_is_pausing_once_and_resuming_what_is_not_paused_is_nothing() {
    let mut desk = Desk::new();
    let (client, worker) = (desk.client(1), desk.worker(1, 1));
    let before = desk.journal.len();
    assert_eq!(desk.resume(client, KIND), Ok(()));
    assert_eq!(desk.journal.len(), before);
    for _ in 0..2 {
        assert_eq!(desk.pause(client, KIND), Ok(()));
    }
    assert_eq!(desk.journal.len(), before + 1);
    assert_eq!(desk.resume(client, KIND), Ok(()));
    desk.submit(client, tasks([1]));
    assert_eq!(desk.given(&worker), [(1, 1)]);
}

#[test]
fn i15_only_so_many_kinds_are_paused_at_a_time() {
    let mut desk = Desk::new();
    let client = desk.client(1);
    for n in 0..PAUSED_KINDS_MAX {
        assert_eq!(desk.pause(client, &format!("kind-{n}")), Ok(()));
    }
    assert_eq!(desk.pause(client, "one more"), Err(ErrorCode::TooMany));
    assert_eq!(desk.pause(client, "kind-0"), Ok(()), "it is paused already");
    assert_eq!(desk.resume(client, "kind-0"), Ok(()));
    assert_eq!(desk.pause(client, "one more"), Ok(()));
    assert_eq!(kinds(&desk).len(), PAUSED_KINDS_MAX, "all of them are seen");
}

#[test]
fn a_broker_in_memory_does_not_wait_for_what_is_paused_when_it_drains() {
    let mut desk = Desk::new();
    let (client, _worker) = (desk.client(1), desk.worker(1, 1));
    assert_eq!(desk.pause(client, KIND), Ok(()));
    desk.submit(client, tasks([1]));
    desk.feed(Input::Drain { deadline: secs(30) });
    assert!(desk.take().contains(&Effect::Drained));
}

#[test]
fn a_worker_whose_only_work_is_paused_keeps_its_reserve() {
    let mut desk = Desk::new();
    let (client, worker) = (desk.client(1), desk.worker_of(1, &[KIND, "other"], 1));
    assert_eq!(desk.pause(client, "other"), Ok(()));
    desk.submit(client, vec![task_of("other", 99)]);
    for n in 1..=8 {
        desk.submit(client, tasks([n]));
        assert_eq!(desk.given(&worker), [(n, 1)]);
        desk.end(&worker, vec![Ended { run_us: 200, ..success(n, 1) }]);
    }
    desk.outcomes(client);
    let ask = |req| ClientRequest::ListWorkers { req, after: None, limit: None };
    let ClientReply::Workers { rows, .. } = desk.request(client, ask) else { panic!("no workers") };
    assert_eq!(rows[0].credit, 1, "it never ran dry beside work that it could have had");
}
