//! Knowledge: one map, one revision, led by the broker.

use ganger_common::view::ReasonCode;
use ganger_common::{ErrorCode, Revision};
use ganger_scheduler::effect::{ClientReply, Effect, Entry, KnowledgeAnswer, Publication, WorkerCommand};
use ganger_scheduler::input::{ClientRequest, KnowledgeOp, WorkerRequest};

use crate::support::*;

fn put(topic: &str, key: &str, value: &'static str, expect: Option<u64>) -> KnowledgeOp {
    let expect = expect.map(Revision);
    KnowledgeOp::Put { topic: topic.into(), key: key.into(), value: value.into(), expect }
}

fn delete(topic: &str, key: &str, expect: Option<u64>) -> KnowledgeOp {
    KnowledgeOp::Delete { topic: topic.into(), key: key.into(), expect: expect.map(Revision) }
}

fn get(topic: &str, key: &str) -> KnowledgeOp {
    KnowledgeOp::Get { topic: topic.into(), key: key.into() }
}

fn written(revision: u64) -> Result<KnowledgeAnswer, ErrorCode> {
    Ok(KnowledgeAnswer::Written { revision: Revision(revision) })
}

/// What went out on PUB: revision, previous one of the topic, and whether there is a value.
fn deltas(desk: &mut Desk) -> Vec<(u64, u64, bool)> {
    desk.pick(|effect| match effect {
        Effect::Publish(Publication::Delta { change, previous }) => {
            Some((change.revision.0, previous.0, change.value.is_some()))
        }
        _ => None,
    })
}

fn keys(answer: Result<KnowledgeAnswer, ErrorCode>) -> (Vec<String>, bool) {
    match answer {
        Ok(KnowledgeAnswer::Entries { items, more, .. }) => {
            (items.iter().map(|entry| format!("{}/{}", entry.topic, entry.key)).collect(), more)
        }
        other => panic!("no entries: {other:?}"),
    }
}

#[test]
fn i16_every_change_raises_the_revision_by_one_and_names_the_one_before_in_its_topic() {
    let mut desk = Desk::new();
    let client = desk.client(1);
    assert_eq!(desk.know(client, put("a", "x", "1", None)), written(1));
    assert_eq!(desk.know(client, put("b", "x", "1", None)), written(2));
    assert_eq!(desk.know(client, put("a", "y", "2", None)), written(3));
    assert_eq!(desk.know(client, delete("a", "x", None)), written(4));
    assert_eq!(deltas(&mut desk), [(1, 0, true), (2, 0, true), (3, 1, true), (4, 3, false)]);
}

#[test]
fn what_was_put_is_got_until_it_is_deleted() {
    let mut desk = Desk::new();
    let client = desk.client(1);
    assert_eq!(desk.know(client, put("a", "x", "1", None)), written(1));
    assert_eq!(desk.know(client, put("a", "x", "2", None)), written(2));
    let entry = Entry { topic: "a".into(), key: "x".into(), revision: Revision(2), value: Some("2".into()) };
    assert_eq!(desk.know(client, get("a", "x")), Ok(KnowledgeAnswer::Entry(entry)));
    assert_eq!(desk.know(client, get("a", "y")), Err(ErrorCode::NotFound));
    assert_eq!(desk.know(client, delete("a", "x", None)), written(3));
    assert_eq!(desk.know(client, get("a", "x")), Err(ErrorCode::NotFound));
    assert_eq!(desk.know(client, delete("a", "x", None)), Err(ErrorCode::NotFound));
    assert_eq!(desk.scheduler.status().revision, Revision(3), "a refusal changes nothing");
    deltas(&mut desk);
}

#[test]
fn a_change_that_expects_another_revision_is_refused() {
    let mut desk = Desk::new();
    let client = desk.client(1);
    assert_eq!(desk.know(client, put("a", "x", "1", Some(0))), written(1));
    assert_eq!(desk.know(client, put("a", "x", "2", Some(0))), Err(ErrorCode::Conflict), "0: it must be new");
    assert_eq!(desk.know(client, put("a", "x", "2", Some(1))), written(2));
    assert_eq!(desk.know(client, delete("a", "x", Some(1))), Err(ErrorCode::Conflict));
    assert_eq!(desk.know(client, delete("a", "x", Some(2))), written(3));
    assert_eq!(desk.know(client, put("a", "x", "3", Some(0))), written(4), "it is gone, so it is new");
    deltas(&mut desk);
}

#[test]
fn listings_come_page_by_page_in_order_and_by_prefix() {
    let mut desk = Desk::new();
    let client = desk.client(1);
    for (topic, key) in [("b", "1"), ("ab", "1"), ("a", "2"), ("a", "1"), ("c", "1")] {
        desk.know(client, put(topic, key, "v", None)).expect("room");
    }
    deltas(&mut desk);
    let mut list = |prefix: &str, after: Option<(&str, &str)>, limit| {
        let after = after.map(|(topic, key)| (topic.to_owned(), key.to_owned()));
        let op = KnowledgeOp::List { prefix: prefix.into(), after, keys_only: false, limit };
        let (keys, more) = keys(desk.know(client, op));
        (keys.join(" "), more)
    };
    assert_eq!(list("", None, None), ("a/1 a/2 ab/1 b/1 c/1".into(), false));
    assert_eq!(list("", None, Some(2)), ("a/1 a/2".into(), true));
    assert_eq!(list("", Some(("a", "2")), Some(2)), ("ab/1 b/1".into(), true));
    assert_eq!(list("", Some(("b", "1")), Some(2)), ("c/1".into(), false));
    assert_eq!(list("a", None, None), ("a/1 a/2 ab/1".into(), false));
    assert_eq!(list("a", Some(("a", "1")), Some(1)), ("a/2".into(), true));
    assert_eq!(list("a", Some(("ab", "1")), None), (String::new(), false));
    assert_eq!(list("b", Some(("a", "1")), None), ("b/1".into(), false));
    assert_eq!(list("", Some(("a", "1x")), Some(1)), ("a/2".into(), true), "the cursor may be gone");
    assert_eq!(list("zz", None, None), (String::new(), false));
}

#[test]
fn a_listing_of_keys_has_no_values() {
    let mut desk = Desk::new();
    let client = desk.client(1);
    desk.know(client, put("a", "x", "1", None)).expect("room");
    let op = KnowledgeOp::List { prefix: String::new(), after: None, keys_only: true, limit: None };
    let Ok(KnowledgeAnswer::Entries { items, revision, .. }) = desk.know(client, op) else {
        panic!("no entries")
    };
    assert_eq!((items[0].value.clone(), revision), (None, Revision(1)));
    deltas(&mut desk);
}

#[test]
fn i16_a_gap_is_healed_by_asking_for_what_came_since() {
    let mut desk = Desk::with(|config| config.knowledge_history_max = 3);
    let client = desk.client(1);
    for value in ["1", "2", "3", "4", "5"] {
        desk.know(client, put("a", "x", value, None)).expect("room");
    }
    deltas(&mut desk);
    let mut since = |revision| match desk.know(client, KnowledgeOp::Since { revision: Revision(revision) }) {
        Ok(KnowledgeAnswer::Changes { items, revision }) => {
            assert_eq!(revision, Revision(5));
            Ok(items.iter().map(|change| change.revision.0).collect::<Vec<_>>())
        }
        Ok(other) => panic!("{other:?}"),
        Err(code) => Err(code),
    };
    assert_eq!(since(5), Ok(vec![]));
    assert_eq!(since(3), Ok(vec![4, 5]));
    assert_eq!(since(2), Ok(vec![3, 4, 5]));
    assert_eq!(since(1), Err(ErrorCode::HistoryGone));
    assert_eq!(since(0), Err(ErrorCode::HistoryGone));
    assert_eq!(since(6), Err(ErrorCode::HistoryGone), "a revision of another life");
}

#[test]
fn a_full_map_answers_busy_and_lets_what_is_smaller_replace_what_is_there() {
    let mut desk = Desk::with(|config| config.knowledge_bytes_max = 300);
    let client = desk.client(1);
    assert_eq!(desk.know(client, put("a", "x", "0123456789", None)), written(1));
    assert_eq!(desk.know(client, put("a", "y", "0123456789", None)), written(2));
    assert_eq!(desk.know(client, put("a", "z", "0", None)), Err(ErrorCode::Busy));
    assert_eq!(desk.know(client, put("a", "x", "01234", None)), written(3));
    assert_eq!(desk.know(client, delete("a", "y", None)), written(4));
    assert_eq!(desk.know(client, put("a", "z", "0", None)), written(5));
    deltas(&mut desk);
}

#[test]
fn workers_may_propose_too() {
    let mut desk = Desk::new();
    let worker = desk.worker(1, 1);
    desk.worker_says(worker.conn, WorkerRequest::Knowledge { req: 4, op: put("a", "x", "1", None) });
    let answer = KnowledgeAnswer::Written { revision: Revision(1) };
    assert_eq!(desk.commands(&worker), [WorkerCommand::Knowledge { req: 4, answer }]);
    desk.worker_says(worker.conn, WorkerRequest::Knowledge { req: 5, op: get("a", "y") });
    assert!(matches!(&desk.commands(&worker)[..],
        [WorkerCommand::Error(no)] if no.req == Some(5) && no.code == ErrorCode::NotFound));
    deltas(&mut desk);
}

#[test]
fn a_task_that_asks_for_knowledge_goes_only_to_a_worker_that_has_it() {
    let mut desk = Desk::new();
    let (client, mut worker, mut other) = (desk.client(1), desk.worker(1, 4), desk.worker(2, 4));
    for value in ["1", "2", "3"] {
        desk.know(client, put("a", "x", value, None)).expect("room");
    }
    deltas(&mut desk);
    let needs = |n, revision| task_with(n, |options| options.knowledge = Some(Revision(revision)));
    desk.submit(client, vec![needs(1, 3), needs(2, 2), needs(3, 0)]);
    let free = [desk.given(&worker), desk.given(&other)].concat();
    assert_eq!(free, [(3, 1)], "which asks for nothing");
    assert_eq!(desk.reasons(client, 1)[0], ReasonCode::WaitingForKnowledge);
    desk.learns(&mut worker, 2);
    assert_eq!(desk.given(&worker), [(2, 1)]);
    desk.learns(&mut other, 3);
    assert_eq!(desk.given(&other), [(1, 1)]);
    assert_eq!(desk.scheduler.status().queued, 0);
}

#[test]
fn a_gated_task_can_be_cancelled_lost_and_given_again() {
    let mut desk = Desk::new();
    let client = desk.client(1);
    let worker = desk
        .join(ganger_scheduler::input::WorkerHello { revision: Revision(9), ..worker_hello(1, &[KIND], 4) });
    let needs = |n| task_with(n, |options| options.knowledge = Some(Revision(9)));
    desk.submit(client, vec![needs(1), needs(2)]);
    assert_eq!(desk.given(&worker).len(), 2);
    desk.cut(worker.conn);
    desk.pass(secs(2));
    assert_eq!(desk.cancel(client, &[2]), []);
    let worker = desk
        .join(ganger_scheduler::input::WorkerHello { revision: Revision(9), ..worker_hello(2, &[KIND], 4) });
    assert_eq!(desk.given(&worker), [(1, 2)]);
    assert_eq!(desk.outcomes(client).len(), 1);
}

#[test]
fn the_status_tells_who_is_how_far() {
    let mut desk = Desk::new();
    let (client, mut ahead, _behind) = (desk.client(1), desk.worker(1, 1), desk.worker(2, 1));
    desk.know(client, put("a", "x", "1", None)).expect("room");
    desk.learns(&mut ahead, 1);
    let Ok(KnowledgeAnswer::Status(status)) = desk.know(client, KnowledgeOp::Status) else {
        panic!("no status")
    };
    assert_eq!((status.revision, status.entries, status.history_from), (Revision(1), 1, Revision(0)));
    let rows: Vec<_> = status.workers.iter().map(|row| (row.name.as_str(), row.revision.0)).collect();
    assert_eq!(rows, [("worker-2", 0), ("worker-1", 1)]);
    deltas(&mut desk);
}

#[test]
fn a_broadcast_goes_out_at_once_and_carries_the_revision() {
    let mut desk = Desk::new();
    let client = desk.client(1);
    let reply =
        desk.request(client, |req| ClientRequest::Publish { req, topic: "t".into(), body: "b".into() });
    assert!(matches!(reply, ClientReply::Done { .. }));
    let sent = desk.pick_one("broadcast", |effect| match effect {
        Effect::Publish(Publication::Broadcast { topic, body, revision, .. }) => {
            Some((topic.clone(), body.clone(), *revision))
        }
        _ => None,
    });
    assert_eq!(sent, ("t".into(), "b".into(), Revision(0)));
}
