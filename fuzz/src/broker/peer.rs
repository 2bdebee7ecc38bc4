//! What a peer knows of its conversation, so that it can go on with it.

use bytes::Bytes;
use ganger_broker::sans_io::Side;
use ganger_common::message::{Lease, ToClient, ToWorker};
use ganger_common::{ConnId, decode};

/// Leases that a peer remembers. More are forgotten, as by a peer that has lost its mind.
const LEASES_MAX: usize = 16;

/// One connection's other end.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) conn: ConnId,
    pub(super) side: Side,
    /// Which of few ids it says that it is.
    pub(super) name: u8,
    /// The newest mark.
    pub(super) mark: u64,
    /// The end of the stream of outcomes.
    pub(super) upto: u64,
    /// The last recall.
    pub(super) recall: u64,
    /// What it was given to run, and has not reported.
    pub(super) leases: Vec<Lease>,
}

impl Peer {
    pub(super) fn new(conn: ConnId, side: Side, name: u8) -> Self {
        Self { conn, side, name, mark: 0, upto: 0, recall: 0, leases: Vec::new() }
    }

    /// Takes in what the broker says.
    pub(super) fn hear(&mut self, frame: &Bytes) {
        match self.side {
            Side::Client => match decode::<ToClient<'_>>(frame).expect("a client can read it") {
                ToClient::Heartbeat(beat) => self.mark = beat.mark,
                ToClient::Outcomes(outcomes) => self.upto = outcomes.upto,
                _ => {}
            },
            Side::Worker => match decode::<ToWorker<'_>>(frame).expect("a worker can read it") {
                ToWorker::Heartbeat(beat) => self.mark = beat.mark,
                ToWorker::Recall(recall) => self.recall = recall.recall,
                ToWorker::Tasks(dispatch) => {
                    let epoch = dispatch.epoch;
                    let lease = |item: ganger_common::message::DispatchItem<'_>| Lease {
                        task: item.task,
                        epoch,
                        attempt: item.attempt,
                    };
                    self.leases.extend(dispatch.tasks.into_iter().map(lease));
                    let forgotten = self.leases.len().saturating_sub(LEASES_MAX);
                    self.leases.drain(..forgotten);
                }
                _ => {}
            },
        }
    }
}
