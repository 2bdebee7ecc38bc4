//! What can happen to a session, and how bytes become it.

use std::time::Duration;

use bytes::Bytes;
use ganger_common::message::{KnowledgeAnswer, Lease, ToWorker, Welcome};
use ganger_common::version::Version;
use ganger_common::{DecodeError, Epoch, ErrorCode, Revision, Trace};

use super::config::{KindIndex, Kinds};
use crate::replica::{Answer, Publication};

/// A payload shorter than [`COPY_BELOW`] in a frame longer than this is copied: it would keep the frame.
const COPY_FROM: usize = 256 << 10;
/// See [`COPY_FROM`].
const COPY_BELOW: usize = 4 << 10;

/// One thing that happened.
#[derive(Debug)]
pub enum Input {
    /// The connection that was asked for stands.
    Connected,
    /// The connection is gone, or did not come about.
    Disconnected,
    /// The broker said something.
    Message(Incoming),
    /// The broker sent bytes that are no message.
    Garbled(DecodeError),
    /// The subscription that was asked for stands.
    Subscribed,
    /// The subscription is gone, or did not come about.
    Unsubscribed,
    /// Something was published.
    Publication(Publication),
    /// The worker is to finish what it holds and leave.
    Drain {
        /// How long what runs may go on; absent: what the configuration says.
        deadline: Option<Duration>,
    },
    /// The worker is to leave now.
    Stop,
}

impl Input {
    /// Reads one frame of the connection.
    pub fn frame(kinds: &Kinds, frame: &Bytes) -> Self {
        match Incoming::read(kinds, frame) {
            Ok(message) => Self::Message(message),
            Err(error) => Self::Garbled(error),
        }
    }
}

/// What the broker may say, owned: reading it needs no access to the session, so nobody waits meanwhile.
#[derive(Clone, PartialEq, Debug)]
#[allow(missing_docs)] // The fields are those of the messages of the same names, documented there.
pub enum Incoming {
    Welcome(Opening),
    Heartbeat { mark: u64, revision: Revision },
    Tasks { items: Vec<Item>, unserved: Vec<(Lease, String)> },
    Start { leases: Vec<Lease> },
    Recall { recall: u64, count: u32 },
    Cancel { leases: Vec<Lease>, code: Option<ErrorCode> },
    Ack { upto: u64, stale: Vec<Lease> },
    Drain { deadline: Option<Duration> },
    Knowledge { req: u64, answer: Answer },
    Error { req: Option<u64>, code: ErrorCode, text: String, retry_after: Option<Duration> },
    Goodbye { code: Option<ErrorCode>, text: String },
}

/// A task to run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Item {
    /// The right to run it.
    pub lease: Lease,
    /// Which handler.
    pub kind: KindIndex,
    /// Report the start and wait before running.
    pub confirm: bool,
    /// The submitter wants progress and partial results.
    pub events: bool,
    /// Longest run.
    pub run_limit: Option<Duration>,
    /// The trace that the task belongs to; boxed because few have one.
    pub trace: Option<Box<Trace>>,
    /// The payload.
    pub payload: Bytes,
}

/// What a worker keeps of a welcome.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Opening {
    /// What the broker speaks.
    pub protocol: Version,
    /// The broker's program and version.
    pub broker: String,
    /// The life of the broker's state.
    pub epoch: Epoch,
    /// How often to send a heartbeat.
    pub heartbeat: Duration,
    /// Silence of this many heartbeats ends the connection.
    pub liveness: u32,
    /// Largest payload that the broker takes.
    pub payload_bytes_max: u64,
    /// Most items that the broker takes in one batch.
    pub batch_items_max: u32,
    /// The newest knowledge revision.
    pub revision: Revision,
    /// The port of the knowledge socket; 0: none is known.
    pub knowledge_port: u16,
}

impl Opening {
    fn of(welcome: &Welcome<'_>) -> Self {
        Self {
            protocol: welcome.protocol,
            broker: welcome.broker.0.to_owned(),
            epoch: welcome.epoch,
            // A broker that asks for a heartbeat every 0 ms would keep the worker busy with nothing else.
            heartbeat: Duration::from_millis(u64::from(welcome.heartbeat_ms.max(1))),
            liveness: welcome.liveness.max(1),
            payload_bytes_max: welcome.payload_bytes_max,
            batch_items_max: welcome.batch_items_max.max(1),
            revision: welcome.revision,
            knowledge_port: welcome.knowledge_port,
        }
    }

    /// How long the broker may be silent.
    pub fn silence_max(&self) -> Duration {
        self.heartbeat.saturating_mul(self.liveness)
    }
}

impl Incoming {
    /// Reads one frame.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn read(kinds: &Kinds, frame: &Bytes) -> Result<Self, DecodeError> {
        Ok(match ganger_common::decode::<ToWorker<'_>>(frame)? {
            ToWorker::Welcome(welcome) => Self::Welcome(Opening::of(&welcome)),
            ToWorker::Heartbeat(beat) => Self::Heartbeat { mark: beat.mark, revision: beat.revision },
            ToWorker::Tasks(dispatch) => {
                let mut tasks = Tasks { kinds, frame, items: Vec::new(), unserved: Vec::new() };
                tasks.items.reserve(dispatch.tasks.len());
                tasks.read(dispatch);
                Self::Tasks { items: tasks.items, unserved: tasks.unserved }
            }
            ToWorker::Start(start) => Self::Start { leases: start.leases.0 },
            ToWorker::Recall(recall) => Self::Recall { recall: recall.recall, count: recall.count },
            ToWorker::Cancel(cancel) => Self::Cancel { leases: cancel.leases.0, code: cancel.code },
            ToWorker::Ack(ack) => Self::Ack { upto: ack.upto, stale: ack.stale.0 },
            ToWorker::Drain(drain) => Self::Drain { deadline: drain.deadline_ms.map(Duration::from_millis) },
            ToWorker::Knowledge(reply) => Self::Knowledge { req: reply.req, answer: answer(reply.answer) },
            ToWorker::Error(error) => Self::Error {
                req: error.req,
                code: error.code,
                text: error.text.0.to_owned(),
                retry_after: error.retry_after_ms.map(|ms| Duration::from_millis(ms.into())),
            },
            ToWorker::Goodbye(goodbye) => {
                Self::Goodbye { code: goodbye.code, text: goodbye.text.0.to_owned() }
            }
        })
    }
}

/// A batch while it is read.
struct Tasks<'a> {
    kinds: &'a Kinds,
    frame: &'a Bytes,
    items: Vec<Item>,
    /// Tasks of kinds that this worker did not announce.
    unserved: Vec<(Lease, String)>,
}

impl Tasks<'_> {
    fn read(&mut self, dispatch: ganger_common::message::Dispatch<'_>) {
        let mut last = KindIndex(0);
        for item in dispatch.tasks {
            let lease = Lease { task: item.task, epoch: dispatch.epoch, attempt: item.attempt };
            let Some(kind) = self.kinds.find(&item.kind, last) else {
                self.unserved.push((lease, item.kind.0.to_owned()));
                continue;
            };
            last = kind;
            let detail = item.detail.unwrap_or_default();
            self.items.push(Item {
                lease,
                kind,
                confirm: detail.confirm,
                events: detail.events,
                run_limit: detail.run_limit_ms.map(Duration::from_millis),
                trace: detail.trace.map(|context| Box::new(Trace { context, state: detail.trace_state })),
                payload: owned(self.frame, item.payload.0),
            });
        }
    }
}

/// The bytes of a part of a frame, shared with it unless they would keep alive far more than themselves.
fn owned(frame: &Bytes, part: &[u8]) -> Bytes {
    let is_large_part = part.len() >= COPY_BELOW && part.len() >= frame.len() / 4;
    match is_large_part || frame.len() <= COPY_FROM {
        true => frame.slice_ref(part),
        false => Bytes::copy_from_slice(part),
    }
}

/// Values are copied: the map outlives the frame, and a small value that shared it would keep all of it.
fn answer(answer: KnowledgeAnswer<'_>) -> Answer {
    use crate::replica::Change;
    match answer {
        KnowledgeAnswer::Changes { revision, items } => {
            let change = |item: ganger_common::message::ChangeItem<'_>| Change {
                revision: item.revision,
                topic: item.topic.0.to_owned(),
                key: item.key.0.to_owned(),
                value: item.value.map(|value| Bytes::copy_from_slice(value.0)),
            };
            Answer::Changes { newest: revision, changes: items.into_iter().map(change).collect() }
        }
        KnowledgeAnswer::Entries { revision, items, more } => {
            let entry = |item: ganger_common::message::EntryItem<'_>| Change {
                revision: item.revision,
                topic: item.topic.0.to_owned(),
                key: item.key.0.to_owned(),
                value: item.value.map(|value| Bytes::copy_from_slice(value.0)),
            };
            Answer::Entries { newest: revision, entries: items.into_iter().map(entry).collect(), more }
        }
        KnowledgeAnswer::Written { .. } | KnowledgeAnswer::Entry(_) | KnowledgeAnswer::Status(_) => {
            Answer::Other
        }
    }
}
