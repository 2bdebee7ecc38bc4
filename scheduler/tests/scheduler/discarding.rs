//! Tasks of the dead set that are let go because somebody says so.

use ganger_common::limits::BATCH_ITEMS_MAX;
use ganger_common::message::Durability;
use ganger_common::view::Among;
use ganger_common::{ErrorCode, Outcome};
use ganger_scheduler::Record;
use ganger_scheduler::effect::ClientReply;
use ganger_scheduler::input::{ClientRequest, Discard};

use crate::support::*;

/// Tasks with these numbers fail for good, in this order; those above 100 take a worker down.
fn buried(desk: &mut Desk, client: Client, numbers: &[u32]) {
    for n in numbers {
        let once = |options: &mut ganger_common::TaskOptions| options.crash_limit = Some(1);
        desk.submit(client, vec![task_with(*n, once)]);
        let worker = desk.worker(9, 1);
        assert_eq!(desk.given(&worker), [(*n, 1)]);
        desk.start(&worker, &[lease(*n, 1)]);
        match *n > 100 {
            true => {
                desk.cut(worker.conn);
                desk.pass(secs(2));
            }
            false => {
                desk.end(&worker, vec![failure_with(*n, 1, |detail| detail.is_final = true)]);
                desk.mute(&worker);
                desk.worker_says(worker.conn, ganger_scheduler::WorkerRequest::Goodbye);
            }
        }
        desk.closed();
    }
    assert_eq!(desk.outcomes(client).len(), numbers.len());
}

#[test]
fn tasks_are_let_go_by_name_and_others_are_refused() {
    let mut desk = Desk::new();
    let client = desk.client(1);
    buried(&mut desk, client, &[1, 2, 101]);
    desk.submit(client, tasks([3, 4]));
    assert_eq!(desk.cancel(client, &[4]), []);
    assert_eq!(desk.outcomes(client), [(4, Outcome::Cancelled)]);
    let (count, refused) = desk.discard(client, &[2, 3, 4, 77, 101, 2]);
    let not = ErrorCode::NotRetryable;
    assert_eq!((count, refused), (2, vec![(1, not), (2, not), (3, ErrorCode::UnknownTask)]));
    assert_eq!(desk.scheduler.status().dead_set, 1);
    assert_eq!((desk.fetch(client, 2), desk.fetch(client, 101)), (None, None));
    assert_eq!(desk.retry(client, &[2]), [(0, ErrorCode::UnknownTask)]);
    assert_eq!(desk.discard(client, &[2]), (0, vec![(0, ErrorCode::UnknownTask)]));
    assert!(desk.fetch(client, 1).is_some() && desk.fetch(client, 4).is_some());
    assert_eq!(desk.counted("tasks_discarded"), 2);
}

#[test]
fn tasks_are_let_go_by_outcome_and_kind() {
    let mut desk = Desk::new();
    let client = desk.client(1);
    buried(&mut desk, client, &[1, 101, 2, 102]);
    assert_eq!(desk.discard_some(client, Among::Any, Some("other"), None), (0, None));
    assert_eq!(desk.discard_some(client, Among::Any, Some("no such kind"), None), (0, None));
    assert_eq!(desk.discard_some(client, Among::Dead, Some(KIND), None), (2, None));
    let left: Vec<bool> = [1, 2, 101, 102].iter().map(|n| desk.fetch(client, *n).is_some()).collect();
    assert_eq!(left, [true, true, false, false]);
    assert_eq!(desk.discard_some(client, Among::Failed, None, None), (2, None));
    assert_eq!(desk.scheduler.status().dead_set, 0);
    assert_eq!(desk.discard_some(client, Among::Any, None, None), (0, None));
}

#[test]
fn a_task_that_was_let_go_may_be_handed_in_again_and_is_another_one() {
    let mut desk = Desk::new();
    let client = desk.client(1);
    buried(&mut desk, client, &[1]);
    assert_eq!(desk.discard(client, &[1]), (1, vec![]));
    let worker = desk.worker(1, 1);
    desk.submit(client, tasks([1]));
    assert_eq!(desk.given(&worker), [(1, 1)]);
    desk.end(&worker, vec![success(1, 1)]);
    assert_eq!(desk.outcomes(client), [(1, Outcome::Succeeded)]);
}

#[test]
fn an_outcome_that_waits_to_be_told_is_told_though_its_task_is_gone() {
    let mut desk = Desk::with(|config| config.client_window = 1);
    let (client, worker) = (desk.client(1), desk.worker(1, 2));
    desk.submit(client, tasks([1, 2]));
    desk.given(&worker);
    let is_final = |n| failure_with(n, 1, |detail| detail.is_final = true);
    desk.end(&worker, vec![is_final(1), is_final(2)]);
    let first = desk.outcome_messages(client);
    assert_eq!(desk.discard(client, &[1, 2]), (2, vec![]));
    desk.client_says(client.conn, ClientRequest::Ack { upto: first[0].0 });
    assert_eq!(desk.outcomes(client), [(2, Outcome::Failed)]);
}

#[test]
fn it_is_answered_when_it_is_on_record() {
    let mut desk = Desk::with(|config| config.durability = Durability::Journal);
    let client = desk.client(1);
    buried(&mut desk, client, &[1]);
    desk.hold_journal();
    let which = Discard::Tasks(vec![id(1)]);
    desk.client_says(client.conn, ClientRequest::Discard { req: 7, which });
    assert_eq!(desk.replies(client), []);
    assert_eq!(desk.journal.last().unwrap().1, Record::Discarded { tasks: vec![id(1)] });
    desk.journal_all();
    assert!(matches!(desk.replies(client)[..], [ClientReply::Discarded { req: 7, count: 1, .. }]));
}

#[test]
fn i10_what_was_let_go_stays_away_whatever_part_of_the_journal_is_read() {
    let mut desk =
        Desk::with(|config| (config.durability, config.carry_tasks_max) = (Durability::Journal, 1));
    let client = desk.client(1);
    buried(&mut desk, client, &[1, 2, 3, 101, 4]);
    assert_eq!(desk.discard(client, &[2]), (1, vec![]));
    // One is let go before it is carried, one between two parts, one after the last.
    desk.hold_journal();
    desk.carry();
    for n in [4, 1, 3] {
        let which = Discard::Tasks(vec![id(n)]);
        desk.client_says(client.conn, ClientRequest::Discard { req: 0, which });
        desk.journal_all();
    }
    desk.journals_at_once = true;
    desk.journal_all();
    desk.take();
    let begun = desk.journal.iter().position(|(_, record)| matches!(record, Record::CarryBegun(_)));
    for first in [0, begun.unwrap()] {
        let mut other = desk.recovered_from(first);
        assert_eq!(desk.scheduler.remembered()[1..], other.scheduler.remembered()[1..]);
        let there = other.client(9);
        let left: Vec<u32> =
            [1, 2, 3, 101, 4].into_iter().filter(|n| other.fetch(there, *n).is_some()).collect();
        assert_eq!(left, [101]);
        other.take();
    }
}

#[test]
fn a_large_dead_set_is_let_go_in_parts_that_go_on_where_they_were() {
    let count = 2 * BATCH_ITEMS_MAX as u32 + 10;
    let mut desk = Desk::new();
    let (client, worker) = (desk.client(1), desk.worker(1, 100));
    for first in (1..=count).step_by(100) {
        let numbers = first..(first + 100).min(count + 1);
        desk.submit(client, tasks(numbers.clone()));
        desk.given(&worker);
        desk.end(&worker, numbers.map(|n| failure_with(n, 1, |detail| detail.is_final = true)).collect());
        desk.outcomes(client);
    }
    // Whoever stands between two parts may go by himself: the next part begins at the oldest then.
    let (first, next) = desk.discard_some(client, Among::Any, None, None);
    assert_eq!(first, BATCH_ITEMS_MAX as u64);
    assert_eq!(desk.discard(client, &[BATCH_ITEMS_MAX as u32 + 1]), (1, vec![]));
    let (second, next) = desk.discard_some(client, Among::Any, None, next);
    assert_eq!(second, BATCH_ITEMS_MAX as u64);
    let (third, none) = desk.discard_some(client, Among::Any, None, next);
    assert_eq!((third, none), (9, None));
    assert_eq!(desk.scheduler.status().dead_set, 0);
}

#[test]
fn a_cursor_that_is_none_is_refused() {
    let mut desk = Desk::new();
    let client = desk.client(1);
    for after in ["nonsense", "1", "1.x", ".", "-1.2"] {
        let which = Discard::All { among: Among::Any, kind: None, after: Some(after.to_owned()) };
        let reply = desk.request(client, |req| ClientRequest::Discard { req, which });
        assert!(matches!(reply, ClientReply::Error(no) if no.code == ErrorCode::BadOption), "{after}");
    }
    let far = Some(format!("{}.1", usize::MAX));
    assert_eq!(desk.discard_some(client, Among::Any, None, far), (0, None));
}
