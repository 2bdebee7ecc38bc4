//! What the peers say, as bytes.

use bytes::Bytes;
use ganger_common::codec::Blob;
use ganger_common::message::{
    Ack, AttemptReport, ClientHello, Dispatch, FromClient, FromWorker, NewTask, Report, Submit, WorkerHello,
};
use ganger_common::version::PROTOCOL;
use ganger_common::{AttemptEnd, ClientId, Revision, SessionToken, WorkerId, encode};

use super::{Ids, KIND, PAYLOAD, SLOTS};

/// Makes the messages of a client and of workers.
#[derive(Debug)]
pub struct Frames {
    ids: Ids,
    payload: Vec<u8>,
    submits: u64,
    reports: u64,
}

impl Default for Frames {
    fn default() -> Self {
        Self { ids: Ids::default(), payload: vec![0x61; PAYLOAD], submits: 0, reports: 0 }
    }
}

impl Frames {
    /// The hello of the client.
    pub fn client_hello() -> Bytes {
        let (client, token) = (ClientId::from_bytes([1; 16]), SessionToken::from_bytes([2; 16]));
        encode(&FromClient::Hello(ClientHello { protocol: PROTOCOL, client, token, name: "".into() }))
    }

    /// The hello of a worker.
    pub fn worker_hello(number: usize) -> Bytes {
        encode(&FromWorker::Hello(WorkerHello {
            protocol: PROTOCOL,
            worker: WorkerId::from_bytes([3 + number as u8; 16]),
            token: SessionToken::from_bytes([2; 16]),
            name: "".into(),
            host: "".into(),
            pid: 0,
            kinds: vec![KIND.into()].into(),
            slots: SLOTS,
            holding: Vec::new().into(),
            revision: Revision(0),
            draining: false,
        }))
    }

    /// A batch of new tasks.
    pub fn submit(&mut self, tasks: usize) -> Bytes {
        self.submits += 1;
        let tasks = (0..tasks).map(|_| NewTask {
            id: self.ids.next(),
            kind: KIND.into(),
            payload: Blob(&self.payload),
            options: None,
        });
        let tasks = tasks.collect();
        encode(&FromClient::Submit(Submit { seq: self.submits, again: false, tasks }))
    }

    /// What a worker says that has run all of these.
    pub fn report(&mut self, dispatch: &Dispatch<'_>) -> Bytes {
        self.reports += 1;
        let ended = dispatch.tasks.iter().map(|task| AttemptReport {
            task: task.task,
            epoch: dispatch.epoch,
            attempt: task.attempt,
            end: AttemptEnd::Succeeded.code(),
            run_us: 1,
            result: Blob(&[]),
            detail: None,
        });
        let (ended, started) = (ended.collect(), Vec::new().into());
        encode(&FromWorker::Report(Report { seq: self.reports, started, ended, waiting: 0, recall: None }))
    }

    /// What a client says that has read outcomes.
    pub fn ack(upto: u64) -> Bytes {
        encode(&FromClient::Ack(Ack { upto }))
    }
}
