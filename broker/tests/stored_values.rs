//! Messages wait for what the journal holds of them, each connection for itself and in its order.

mod common;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use common::*;
use ganger_broker::BrokerError;
use ganger_broker::journal::{Journal, JournalError, Recovered, Usage};
use ganger_common::Revision;
use ganger_common::codec::Blob;
use ganger_common::message::{
    Durability, FromClient, FromWorker, OneTask, TaskList, ToClient, ToWorker, WorkerHeartbeat,
};
use ganger_scheduler::{Config, Data, Lsn, Record, Stored};
use ganger_transport::Limits;

/// A journal in memory that reads back what it is asked for when a test says so.
#[derive(Clone, Default)]
struct Library(Arc<Mutex<Shelf>>);

#[derive(Default)]
struct Shelf {
    records: Vec<(Lsn, Record)>,
    asked: Vec<Stored>,
    trims: Vec<Lsn>,
    /// Nothing is handed over.
    is_shut: bool,
    /// Reading fails.
    fails: bool,
    /// It says that it has grown long.
    is_long: bool,
}

impl Shelf {
    fn value(&self, stored: Stored) -> Bytes {
        assert!(self.trims.iter().all(|before| stored.lsn >= *before), "{stored:?} was let go");
        let (_, record) = self.records.iter().find(|(lsn, _)| *lsn == stored.lsn).unwrap();
        let (_, data) = record.values().find(|(index, _)| *index == stored.index).unwrap();
        data.inline().unwrap().clone()
    }
}

impl Journal for Library {
    fn read(&mut self, _each: &mut dyn FnMut(Lsn, Record)) -> Result<Recovered, JournalError> {
        Ok(Recovered::default())
    }

    fn append(&mut self, batch: &mut Vec<(Lsn, Record)>) -> Result<Lsn, JournalError> {
        let mut shelf = self.0.lock().unwrap();
        for (lsn, mut record) in batch.drain(..) {
            for (_, data) in record.values_mut() {
                if let Data::Stored(stored) = *data {
                    *data = Data::Inline(shelf.value(stored));
                }
            }
            shelf.records.push((lsn, record));
        }
        Ok(shelf.records.last().map_or(Lsn(0), |(lsn, _)| *lsn))
    }

    fn fetch(&mut self, wanted: &mut Vec<Stored>, came: &mut Vec<Bytes>) -> Result<(), JournalError> {
        let mut shelf = self.0.lock().unwrap();
        shelf.asked.append(wanted);
        if let (true, Some(stored)) = (shelf.fails, shelf.asked.first()) {
            return Err(JournalError::NoValue { stored: *stored });
        }
        if !shelf.is_shut {
            let asked = std::mem::take(&mut shelf.asked);
            came.extend(asked.into_iter().map(|stored| shelf.value(stored)));
        }
        Ok(())
    }

    fn trim(&mut self, before: Lsn) -> Result<(), JournalError> {
        let mut shelf = self.0.lock().unwrap();
        shelf.is_long = false;
        shelf.trims.push(before);
        Ok(())
    }

    fn tend(&mut self) -> Result<bool, JournalError> {
        Ok(false)
    }

    fn usage(&self) -> Usage {
        let log_bytes = if self.0.lock().unwrap().is_long { 1 << 40 } else { 0 };
        Usage { log_bytes, ..Usage::default() }
    }

    fn close(self) -> Result<(), JournalError> {
        Ok(())
    }
}

impl Library {
    fn shut(&self) {
        self.0.lock().unwrap().is_shut = true;
    }

    fn open(&self) {
        self.0.lock().unwrap().is_shut = false;
    }
}

/// A broker whose payloads are all large enough to be stored.
fn start(library: &Library) -> Rig {
    let grace = Duration::from_millis(1);
    let config = Config { durability: Durability::Journal, stored_min: 1, grace, ..patient() };
    Rig::with_journal(config, &Limits::default(), library.clone())
}

impl Peer {
    /// A worker's sign of life, and the broker's: what was said before has been taken in. Fails when anything
    /// else comes first.
    async fn beat(&mut self) {
        self.say(&FromWorker::Heartbeat(WorkerHeartbeat {
            mark: self.mark,
            revision: Revision(0),
            quiet: false,
        }));
        let frame = self.hear().await;
        let ToWorker::Heartbeat(beat) = to_worker(&frame) else { panic!("{:?}", to_worker(&frame)) };
        self.mark = beat.mark;
    }

    /// Checks that a task comes with its payload.
    async fn hear_task(&mut self, number: u128, attempt: u32) {
        let frame = self.hear().await;
        let ToWorker::Tasks(dispatch) = to_worker(&frame) else { panic!("{:?}", to_worker(&frame)) };
        let item = &dispatch.tasks[0];
        assert_eq!((item.task, item.attempt.0, item.payload), (task_id(number), attempt, Blob(b"payload")));
    }

    async fn hear_accepted(&mut self) {
        let frame = self.hear().await;
        assert!(matches!(to_client(&frame), ToClient::Accepted(_)), "{:?}", to_client(&frame));
    }
}

#[tokio::test]
async fn what_follows_a_payload_that_is_read_waits_for_it_and_heartbeats_do_not() {
    let library = Library::default();
    let rig = start(&library);
    let (mut client, mut worker) = (rig.client(1).await, rig.worker(2, &["work"], 1).await);
    library.shut();
    client.say(&submit(1, vec![task(7, "work")]));
    client.hear_accepted().await;
    worker.beat().await;
    client.say(&FromClient::Cancel(TaskList { req: 2, tasks: vec![task_id(7)].into() }));
    // Other connections do not wait.
    let frame = client.hear().await;
    assert!(matches!(to_client(&frame), ToClient::Verdicts(_)), "{:?}", to_client(&frame));
    worker.beat().await;
    library.open();
    worker.say(&FromWorker::Heartbeat(WorkerHeartbeat {
        mark: worker.mark,
        revision: Revision(0),
        quiet: false,
    }));
    let mut heard = Vec::new();
    while heard.len() < 3 {
        heard.push(worker.hear().await);
    }
    let is_beat = |frame: &Bytes| matches!(to_worker(frame), ToWorker::Heartbeat(_));
    heard.retain(|frame| !is_beat(frame));
    assert_eq!(heard.len(), 2);
    assert!(matches!(to_worker(&heard[0]), ToWorker::Tasks(_)), "the lease comes before its end");
    assert!(matches!(to_worker(&heard[1]), ToWorker::Cancel(_)));
    rig.finish().await;
}

#[tokio::test]
async fn a_connection_that_ends_takes_what_waits_for_it_along_and_the_next_one_is_served() {
    let library = Library::default();
    let rig = start(&library);
    let (mut client, mut first) = (rig.client(1).await, rig.worker(2, &["work"], 1).await);
    library.shut();
    client.say(&submit(1, vec![task(7, "work")]));
    client.hear_accepted().await;
    first.beat().await;
    let mut second = rig.worker(3, &["work"], 1).await;
    drop(first);
    let asked = || library.0.lock().unwrap().asked.len();
    // What the first one asked for is on its way; nobody gets it.
    while asked() < 2 {
        client.sync().await;
    }
    library.open();
    client.sync().await;
    second.hear_task(7, 2).await;
    rig.finish().await;
}

#[tokio::test]
async fn nothing_is_trimmed_while_a_message_waits_for_a_value_of_it() {
    let library = Library::default();
    let rig = start(&library);
    let (mut client, mut worker) = (rig.client(1).await, rig.worker(2, &["work"], 1).await);
    library.shut();
    client.say(&submit(1, vec![task(7, "work"), task(8, "work")]));
    client.hear_accepted().await;
    worker.beat().await;
    library.0.lock().unwrap().is_long = true;
    let is_carried = || {
        let shelf = library.0.lock().unwrap();
        shelf.records.iter().any(|(_, record)| matches!(record, Record::CarryEnded { .. }))
    };
    while !is_carried() {
        client.sync().await;
    }
    client.sync().await;
    assert_eq!(library.0.lock().unwrap().trims, [], "the payload is still to be read");
    library.open();
    client.sync().await;
    worker.hear_task(7, 1).await;
    client.sync().await;
    assert_eq!(library.0.lock().unwrap().trims.len(), 1);
    rig.finish().await;
}

#[tokio::test]
async fn a_result_is_read_when_it_is_fetched_and_comes_after_what_was_said_before() {
    let library = Library::default();
    let rig = start(&library);
    let (mut client, mut worker) = (rig.client(1).await, rig.worker(2, &["work"], 1).await);
    client.say(&submit(1, vec![task(7, "work")]));
    client.hear_accepted().await;
    worker.hear_task(7, 1).await;
    library.shut();
    worker.say(&report(7));
    // Neither the outcome nor what was asked for after it overtakes, once the outcome waits.
    while library.0.lock().unwrap().asked.is_empty() {
        client.sync().await;
    }
    client.say(&FromClient::Fetch(OneTask { req: 5, task: task_id(7) }));
    assert!(client.sync().await.is_empty(), "it waits behind the outcome");
    library.open();
    let mut answers = Vec::new();
    while !answers.iter().any(|frame: &Bytes| matches!(to_client(frame), ToClient::Task(_))) {
        answers.extend(client.sync().await);
    }
    let fetched = answers.iter().find_map(|frame| match to_client(frame) {
        ToClient::Task(reply) => Some(reply.result == Some(Blob(b"result"))),
        _ => None,
    });
    assert_eq!(fetched, Some(true));
    let has_outcome = |frame: &Bytes| match to_client(frame) {
        ToClient::Outcomes(outcomes) => outcomes.items[0].result == Blob(b"result"),
        _ => false,
    };
    assert!(answers.iter().any(has_outcome));
    rig.finish().await;
}

#[tokio::test]
async fn i9_a_value_that_cannot_be_read_ends_the_broker() {
    let library = Library::default();
    let rig = start(&library);
    let (client, _worker) = (rig.client(1).await, rig.worker(2, &["work"], 1).await);
    library.0.lock().unwrap().fails = true;
    client.say(&submit(1, vec![task(7, "work")]));
    let error = rig.end().await.unwrap_err();
    assert!(matches!(error, BrokerError::Journal(JournalError::NoValue { .. })), "{error}");
}

fn report(number: u128) -> FromWorker<'static> {
    use ganger_common::message::{AttemptReport, Report};
    use ganger_common::{Attempt, AttemptEnd, Epoch};
    let ended = AttemptReport {
        task: task_id(number),
        epoch: Epoch(1),
        attempt: Attempt(1),
        end: AttemptEnd::Succeeded.code(),
        run_us: 10,
        result: Blob(b"result"),
        detail: None,
    };
    let (started, ended) = (Vec::new().into(), vec![ended].into());
    FromWorker::Report(Report { seq: 1, started, ended, waiting: 0, recall: None })
}
