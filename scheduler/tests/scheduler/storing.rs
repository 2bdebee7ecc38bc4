//! Large payloads and results are named by their records once those are safe.

use ganger_common::message::Durability;
use ganger_common::{ErrorCode, Outcome, TaskId};
use ganger_scheduler::effect::ClientReply;
use ganger_scheduler::input::{ClientRequest, Ended, NewTask};
use ganger_scheduler::{Data, Effect, Input, Lsn, Record, Recovery, Stored};

use crate::support::*;

/// From so many bytes on values do not stay.
const MIN: usize = 100;

fn durable() -> Desk {
    Desk::with(|config| {
        (config.durability, config.stored_min) = (Durability::Journal, MIN);
        config.carry_tasks_max = 2;
    })
}

fn large(n: u32) -> NewTask {
    NewTask { payload: vec![n as u8; MIN].into(), ..task(n) }
}

fn large_success(n: u32, attempt: u32) -> Ended {
    Ended { result: vec![100 + n as u8; MIN].into(), ..success(n, attempt) }
}

impl Desk {
    fn lsn_of(&self, is_it: impl Fn(&Record) -> bool) -> Lsn {
        self.journal.iter().rev().find(|(_, record)| is_it(record)).expect("such a record").0
    }

    fn carry_all(&mut self) -> Lsn {
        self.feed(Input::Carry);
        let from = self.pick_one("end of the carrying", |effect| match effect {
            Effect::Carried { from } => Some(*from),
            _ => None,
        });
        self.let_go_before(from);
        from
    }

    /// The broker starts again from what a journal hands over: large values by name.
    fn restart_named(&mut self) {
        self.assert_quiet();
        let records = self.journal[self.gone..self.safe].to_vec();
        let mut recovery = Recovery::new(self.scheduler.config().clone(), self.now);
        for (lsn, mut record) in records {
            for (index, data) in record.values_mut().filter(|(_, data)| data.len() >= MIN) {
                *data = Data::Stored(Stored { lsn, index, len: data.len() as u32 });
            }
            recovery.apply(lsn, record).expect("nothing is missing");
        }
        recovery.check().expect("nothing is missing");
        let birth = ganger_scheduler::Birth { epoch: ganger_common::Epoch(2), knowledge_port: 0 };
        self.scheduler = recovery.finish(self.now, birth);
        self.drain();
    }
}

fn accepted(record: &Record) -> bool {
    matches!(record, Record::Accepted { .. })
}

#[test]
fn a_large_payload_is_named_once_its_record_is_safe_and_a_small_one_never() {
    let mut desk = durable();
    let client = desk.client(1);
    desk.submit(client, vec![task(1), large(2), large(3)]);
    let worker = desk.worker(1, 3);
    let given = desk.dispatches(&worker);
    let lsn = desk.lsn_of(accepted);
    let len = MIN as u32;
    assert_eq!(given[0].payload, task(1).payload);
    assert_eq!(given[1].payload, Data::Stored(Stored { lsn, index: 1, len }));
    assert_eq!(given[2].payload, Data::Stored(Stored { lsn, index: 2, len }));
    assert_eq!(desk.value(given[2].payload.stored().unwrap()), large(3).payload);
}

#[test]
fn a_payload_just_below_the_limit_stays_and_in_memory_all_do() {
    let mut desk = durable();
    let (client, worker) = (desk.client(1), desk.worker(1, 2));
    desk.submit(client, vec![NewTask { payload: vec![1; MIN - 1].into(), ..task(1) }]);
    assert!(desk.dispatches(&worker)[0].payload.inline().is_some());
    let mut desk = Desk::with(|config| config.stored_min = MIN);
    let (client, worker) = (desk.client(1), desk.worker(1, 2));
    desk.submit(client, vec![large(1)]);
    assert_eq!(desk.dispatches(&worker)[0].payload, large(1).payload);
}

#[test]
fn a_large_result_is_named_by_the_record_of_its_outcome() {
    let mut desk = durable();
    let (client, worker) = (desk.client(1), desk.worker(1, 2));
    desk.submit(client, vec![large(1), task(2)]);
    assert_eq!(desk.given(&worker).len(), 2);
    desk.end(&worker, vec![success(2, 1), large_success(1, 1)]);
    let items = desk.outcome_items(client);
    let lsn = desk.lsn_of(|record| matches!(record, Record::Settled { .. }));
    assert_eq!(items[0].result, result(2));
    assert_eq!(items[1].result, Data::Stored(Stored { lsn, index: 1, len: MIN as u32 }));
    let fetch = |req| ClientRequest::Fetch { req, task: id(1) };
    let ClientReply::Task { result: Some(kept), .. } = desk.request(client, fetch) else {
        panic!("the result is kept")
    };
    assert_eq!(kept, items[1].result);
}

#[test]
fn a_payload_keeps_its_name_in_the_dead_set_and_through_a_retry() {
    let mut desk = durable();
    let (client, worker) = (desk.client(1), desk.worker(1, 1));
    desk.submit(client, vec![large(1)]);
    let first = desk.dispatches(&worker).remove(0).payload;
    desk.end(&worker, vec![failure_with(1, 1, |detail| detail.is_final = true)]);
    assert_eq!(desk.outcomes(client), [(1, Outcome::Failed)]);
    let ask = |req| ClientRequest::Payload { req, task: id(1) };
    let ClientReply::Payload { payload, .. } = desk.request(client, ask) else { panic!("it is kept") };
    assert_eq!(payload, first);
    assert_eq!(desk.retry(client, &[1]), []);
    assert_eq!(desk.dispatches(&worker).remove(0).payload, first);
}

#[test]
fn a_payload_whose_record_is_safe_only_after_its_task_was_settled_is_not_taken_for_the_result() {
    let mut desk = durable();
    let client = desk.client(1);
    desk.hold_journal();
    desk.client_says(client.conn, ClientRequest::Submit { seq: 9, again: false, tasks: vec![large(1)] });
    desk.client_says(client.conn, ClientRequest::Cancel { req: 1, tasks: vec![id(1)] });
    desk.journal_all();
    desk.take();
    let fetched = desk.fetch(client, 1).expect("it is remembered");
    assert_eq!((fetched.outcome, fetched.payload_bytes), (Some(Outcome::Cancelled), 0));
}

#[test]
fn what_is_carried_is_named_by_the_new_record_before_the_old_one_goes() {
    let mut desk = durable();
    let client = desk.client(1);
    let worker = desk.worker(1, 1);
    desk.submit(client, (1..=5).map(large).collect());
    desk.end(&worker, vec![large_success(1, 1)]);
    desk.take();
    for _ in 0..3 {
        let from = desk.carry_all();
        // Whatever is named from now on is in what was kept.
        let fetch = |req| ClientRequest::Fetch { req, task: id(1) };
        let ClientReply::Task { result: Some(kept), .. } = desk.request(client, fetch) else {
            panic!("the result is kept")
        };
        let stored = kept.stored().expect("it is large");
        assert!(stored.lsn > from && stored.index % 2 == 1, "{stored:?}");
        assert_eq!(desk.value(stored), Data::from(vec![101; MIN]));
    }
    desk.end(&worker, vec![success(2, 1)]);
    let given = desk.dispatches(&worker).remove(0);
    let stored = given.payload.stored().expect("it is large");
    assert_eq!((given.task, stored.index % 2), (id(3), 0));
    assert_eq!(desk.value(stored), large(3).payload);
    desk.take();
}

#[test]
fn a_restart_goes_on_with_names() {
    let mut desk = durable();
    let client = desk.client(1);
    desk.submit(client, (1..=3).map(large).collect());
    desk.mute_conn(client.conn);
    desk.restart_named();
    desk.pass(ganger_common::limits::REATTACH_WINDOW);
    desk.carry_all();
    let worker = desk.worker(1, 3);
    let given = desk.dispatches(&worker);
    let payloads: Vec<(TaskId, Data)> =
        given.iter().map(|it| (it.task, desk.value(it.payload.stored().expect("it is large")))).collect();
    assert_eq!(payloads, (1..=3).map(|n| (id(n), large(n).payload)).collect::<Vec<_>>());
}

#[test]
fn what_is_stored_counts_in_the_queue_like_what_is_not() {
    let mut desk = Desk::with(|config| {
        (config.durability, config.stored_min) = (Durability::Journal, MIN);
        config.queue_bytes_max = 4 * MIN;
    });
    let client = desk.client(1);
    let refused = desk.submit_some(client, false, (1..=5).map(large).collect());
    assert!(!refused.is_empty() && refused.iter().all(|refusal| refusal.code == ErrorCode::Busy));
    let taken = 5 - refused.len() as u64;
    assert_eq!(desk.scheduler.status().payload_bytes, taken * MIN as u64);
}
