//! The independent log of one run: what really happened, as those saw it to whom it happened.
//!
//! Nobody asks the broker. Clients write down what they asked and what they were told, handlers what they
//! ran, the wire what passed over it, the disk what it was given and what it kept, the fault injector what
//! it did. The checker decides from this log alone whether everything that was promised was kept.

use ganger_common::message::Durability;
use ganger_common::{
    Attempt, AttemptEnd, ConnId, Epoch, ErrorCode, Outcome, Revision, TaskId, TaskOptions, WorkerId,
};

pub use super::events::{BrokerEnd, CutBy, Fact, Fault, Promise, RunEnd, Sample, Told};

/// A moment of the simulated world, in microseconds since its beginning. No node's clock shows it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct At(pub u64);

/// Stands for some bytes: equal bytes, equal digest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Digest(pub u32);

impl Digest {
    /// The digest of some bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(crc32fast::hash(bytes))
    }
}

/// A place where clients run, whatever incarnation is there now. A program that dies starts again there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ClientNo(pub u16);

/// A place where workers run. The incarnation there is a [`WorkerId`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct WorkerNo(pub u16);

/// One process of the broker, counted from 1. Its epoch is told in [`Event::BrokerUp`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Life(pub u32);

/// Who talks with the broker.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Peer {
    /// A client.
    Client(ClientNo),
    /// A worker.
    Worker(WorkerNo),
}

/// The right to settle one attempt, as it stands on the wire.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LeaseId {
    /// The task.
    pub task: TaskId,
    /// The life of the broker's state that granted it.
    pub epoch: Epoch,
    /// The try.
    pub attempt: Attempt,
}

/// One entry of the log.
#[derive(Clone, PartialEq, Debug)]
pub struct Entry {
    /// When.
    pub at: At,
    /// What.
    pub event: Event,
}

/// Everything that can stand in the log.
///
/// Requests of clients have a number, `ask`, unique in the run. Each is followed by at most one of its
/// `…Acknowledged`, `…Refused`, `…Unknown`; by none only when the log ends first, which means unknown, too.
#[derive(Clone, PartialEq, Debug)]
#[allow(missing_docs)] // The fields are explained with their events.
pub enum Event {
    // ---- What clients asked and were told. ----------------------------------------------------------
    /// A program hands a task in. The same id again, by the same or another client, is the same task and
    /// carries the same kind, payload and options, always.
    Submitted { client: ClientNo, task: TaskId, kind: u8, payload: Digest, options: Box<TaskOptions> },
    /// The program was told that the task is taken. Under [`Durability::Memory`] that binds within the
    /// life of the broker that said so.
    Acknowledged { client: ClientNo, task: TaskId, durability: Durability },
    /// The program was told that the task is not taken, and no acknowledgement came before.
    Refused { client: ClientNo, task: TaskId, code: ErrorCode },
    /// The program died, or gave up, before it knew whether the task was taken.
    Unknown { client: ClientNo, task: TaskId },
    /// The program was told the outcome. Once for each time it waits: a second client may hear it as well.
    OutcomeHeard {
        client: ClientNo,
        task: TaskId,
        outcome: Outcome,
        attempt: Attempt,
        result: Digest,
        dropped: bool,
    },
    /// The program was told that it will hear no outcome, though the task had been acknowledged or only
    /// watched. `code` is absent when the library says that the broker has forgotten the task.
    WaitFailed { client: ClientNo, task: TaskId, code: Option<ErrorCode> },
    /// The program died while it waited for the outcome of a task that had been acknowledged.
    WaitAbandoned { client: ClientNo, task: TaskId },
    /// A program waits for the outcome of a task that somebody handed in.
    WatchAsked { client: ClientNo, task: TaskId },
    /// A program asks for a cancellation.
    CancelAsked { client: ClientNo, ask: u64, task: TaskId },
    /// It was told that the task is cancelled.
    CancelAcknowledged { client: ClientNo, ask: u64, task: TaskId },
    /// It was told that the task is not cancelled.
    CancelRefused { client: ClientNo, ask: u64, task: TaskId, code: ErrorCode },
    /// It will never know.
    CancelUnknown { client: ClientNo, ask: u64, task: TaskId },
    /// A program asks for another try at a task that failed or is dead. From the moment of this entry on
    /// the task may have a second settlement.
    RetryAsked { client: ClientNo, ask: u64, task: TaskId },
    /// It was told that the task is in its queue again.
    RetryAcknowledged { client: ClientNo, ask: u64, task: TaskId },
    /// It was told that it is not.
    RetryRefused { client: ClientNo, ask: u64, task: TaskId, code: ErrorCode },
    /// It will never know.
    RetryUnknown { client: ClientNo, ask: u64, task: TaskId },
    /// A program wants tasks of the dead set let go, these, or without any everything.
    DiscardAsked { client: ClientNo, ask: u64, tasks: Vec<TaskId> },
    /// It was told how many were let go, and which were not.
    DiscardAnswered { client: ClientNo, ask: u64, count: u64, refused: Vec<(TaskId, ErrorCode)> },
    /// It will never know.
    DiscardUnknown { client: ClientNo, ask: u64 },
    /// A program wants a kind paused, or resumed.
    KindAsked { client: ClientNo, ask: u64, kind: u8, pauses: bool },
    /// It was told that the kind is, or why it is not.
    KindAnswered { client: ClientNo, ask: u64, code: Option<ErrorCode> },
    /// It will never know.
    KindUnknown { client: ClientNo, ask: u64 },
    /// A program wants the knowledge map changed; `value` absent: the key removed. `expect`: only if the key
    /// is at this revision, 0: only if there is no such key.
    KnowledgeAsked {
        client: ClientNo,
        ask: u64,
        topic: String,
        key: String,
        value: Option<Digest>,
        expect: Option<Revision>,
    },
    /// It was told the revision of its change.
    KnowledgeAcknowledged { client: ClientNo, ask: u64, revision: Revision },
    /// It was told that nothing was changed.
    KnowledgeRefused { client: ClientNo, ask: u64, code: ErrorCode },
    /// It will never know.
    KnowledgeUnknown { client: ClientNo, ask: u64 },
    /// After everything was over, the auditor (a client of its own that never fails) asked the broker for
    /// a task: what the broker remembers. `outcome` absent: not settled, or (with `known` false) no such
    /// task. Asked of every task that anybody ever submitted, between [`Event::Settled`] and
    /// [`Event::Quiet`].
    Audited { task: TaskId, known: bool, outcome: Option<Outcome>, attempt: Attempt, result: Option<Digest> },
    /// The auditor's copy of one entry of the knowledge map, in the same place of the log.
    AuditedKnowledge { topic: String, key: String, revision: Revision, value: Digest },
    /// The auditor has read the whole map: its newest revision, and the checksum by [`map_checksum`].
    AuditedMap { revision: Revision, checksum: Digest },

    // ---- What handlers did. --------------------------------------------------------------------------
    /// A handler begins. `knows`: the revision of the replica at this moment.
    RunStarted {
        worker: WorkerNo,
        incarnation: WorkerId,
        lease: LeaseId,
        kind: u8,
        payload: Digest,
        knows: Revision,
    },
    /// The handler was told to stop: cancelled, its lease lost, its time over, or the worker leaves.
    RunTold { worker: WorkerNo, incarnation: WorkerId, lease: LeaseId, why: Told },
    /// The handler ended, or its process did.
    RunEnded { worker: WorkerNo, incarnation: WorkerId, lease: LeaseId, how: RunEnd },
    /// The copy of the knowledge map has reached a revision. `epoch` is the life of the broker's state that
    /// the worker is joined to. Written whenever the revision changed, also when a new life made it begin
    /// again at 0 (then the epoch differs).
    ReplicaAt { worker: WorkerNo, incarnation: WorkerId, epoch: Epoch, revision: Revision, checksum: Digest },

    // ---- What passed over the wire, read there. ------------------------------------------------------
    /// A task left the broker for a worker. What is sent may still be lost on the way.
    LeaseGiven {
        life: Life,
        worker: WorkerNo,
        incarnation: WorkerId,
        lease: LeaseId,
        kind: u8,
        payload: Digest,
        confirm: bool,
    },
    /// A worker named a lease in its hello, and the message has reached the broker.
    LeaseBrought { life: Life, worker: WorkerNo, incarnation: WorkerId, lease: LeaseId, started: bool },
    /// A reported start has reached the broker.
    StartReported { life: Life, worker: WorkerNo, incarnation: WorkerId, lease: LeaseId },
    /// A reported end has reached the broker. The same end may come again after a reconnection.
    EndReported {
        life: Life,
        worker: WorkerNo,
        incarnation: WorkerId,
        lease: LeaseId,
        end: AttemptEnd,
        result: Digest,
    },
    /// The broker answered that this end changed nothing.
    EndStale { life: Life, worker: WorkerNo, incarnation: WorkerId, lease: LeaseId },
    /// The broker told a worker to stop an attempt. `stale`: the lease is not the current one any more;
    /// otherwise the task was cancelled.
    CancelSent { life: Life, worker: WorkerNo, lease: LeaseId, stale: bool },
    /// The broker asked a worker for tasks back.
    RecallSent { life: Life, worker: WorkerNo, count: u32 },
    /// Something that promises left the broker. What it says must be in the journal by then, see
    /// [`Event::Appended`] and [`Event::Synced`] of the same life. `to` is absent for what is published. A
    /// [`Promise::RevisionNamed`] is written when it is higher than the last on that connection.
    PromiseLeft { life: Life, to: Option<Peer>, promise: Promise },
    /// The broker closed the session of a peer, with this code.
    GoodbyeSent { life: Life, to: Peer, code: Option<ErrorCode> },
    /// A peer's session was opened: the welcome has reached it.
    Joined { peer: Peer, epoch: Epoch },

    // ---- What the disk was given, and kept. ----------------------------------------------------------
    /// A record was handed to the journal. One entry for each fact in it, all with its number.
    Appended { life: Life, lsn: u64, fact: Fact },
    /// Everything up to this record is safe, and the broker is told now.
    Synced { life: Life, upto: u64 },
    /// A write or sync failed. What of the records after the last [`Event::Synced`] is safe, nobody knows.
    SyncFailed { life: Life },
    /// The journal as the next life will find it: everything up to here, whole records only. Never less
    /// than what was synced.
    DiskKept { upto: u64 },
    /// The broker knows that there is hardly any room on the disk: nothing new may be taken.
    DiskShort { life: Life },
    /// There is room on the disk again; the broker hears of it soon.
    DiskRoom,

    // ---- Processes. ----------------------------------------------------------------------------------
    /// A broker runs. `recovered`: the last record that it has read back, 0 for none.
    BrokerUp { life: Life, epoch: Epoch, durability: Durability, recovered: u64 },
    /// It was killed.
    BrokerKilled { life: Life },
    /// It ended by itself.
    BrokerEnded { life: Life, why: BrokerEnd },
    /// It stands still (and its messages wait), until [`Event::BrokerResumed`].
    BrokerPaused { life: Life },
    /// It goes on, its clock included, which went on meanwhile.
    BrokerResumed { life: Life },
    /// Its wall clock jumps by so many milliseconds.
    WallJumped { life: Life, by_ms: i64 },
    /// A worker process runs.
    WorkerUp { worker: WorkerNo, incarnation: WorkerId, slots: u32, kinds: Vec<u8> },
    /// It was killed, or a task took it down.
    WorkerKilled { worker: WorkerNo, incarnation: WorkerId, by_task: Option<TaskId> },
    /// It was asked to drain.
    WorkerDrains { worker: WorkerNo, incarnation: WorkerId },
    /// It ended by itself, after a drain or because the broker refused it.
    WorkerLeft { worker: WorkerNo, incarnation: WorkerId },
    /// It stands still.
    WorkerPaused { worker: WorkerNo, incarnation: WorkerId },
    /// It goes on.
    WorkerResumed { worker: WorkerNo, incarnation: WorkerId },
    /// A client's process runs.
    ClientUp { client: ClientNo },
    /// It was killed. What it waited for follows as [`Event::Unknown`], [`Event::WaitAbandoned`] and so on.
    ClientKilled { client: ClientNo },
    /// It stands still.
    ClientPaused { client: ClientNo },
    /// It goes on.
    ClientResumed { client: ClientNo },

    // ---- The network. --------------------------------------------------------------------------------
    /// A connection was made. Its number is the one that the broker uses.
    Connected { peer: Peer, conn: ConnId },
    /// A connection is gone, and so many messages that were on it.
    Cut { peer: Peer, conn: ConnId, lost_to_broker: u32, lost_to_peer: u32, by: CutBy },

    /// From here on nothing of this peer reaches the broker, or nothing of the broker the peer, or either
    /// only with long delay: a silence, a partition, a slow reader, a connection that only one side still
    /// believes in.
    LinkMuted { peer: Peer, to_broker: bool, from_broker: bool },
    /// That is over. A connection that was only half there is closed on both sides now.
    LinkHealed { peer: Peer },

    // ---- The run itself. -----------------------------------------------------------------------------
    /// The injector has done this now. What follows from it has entries of its own.
    Fault(Fault),
    /// How much the broker holds now.
    Sample(Sample),
    /// The faults are over: every process runs, every link is whole. From here on everything acknowledged
    /// must settle within [`super::Facts::settle_within`].
    FaultsEnded,
    /// Every task of which anybody is owed an outcome has it: the audit begins.
    Settled,
    /// The audit is over, nothing waits anywhere. The last entry of a run that ended well.
    Quiet,
}

/// The log of one run, oldest entry first.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Log {
    entries: Vec<Entry>,
}

impl Log {
    /// Adds an entry. Time does not go back.
    pub fn push(&mut self, at: At, event: Event) {
        debug_assert!(self.entries.last().is_none_or(|last| last.at <= at));
        self.entries.push(Entry { at, event });
    }

    /// All entries.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// All entries with their places in the log.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (usize, &Entry)> {
        self.entries.iter().enumerate()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing has happened.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

/// The checksum of a knowledge map: of its entries in the order of topic and key, each with its revision and
/// the digest of its value.
pub fn map_checksum<'a>(entries: impl IntoIterator<Item = (&'a str, &'a str, Revision, Digest)>) -> Digest {
    let mut hasher = crc32fast::Hasher::new();
    for (topic, key, revision, value) in entries {
        let numbers = [revision.0, u64::from(value.0)].map(u64::to_le_bytes).concat();
        for part in [topic.as_bytes(), key.as_bytes(), &numbers] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
    }
    Digest(hasher.finalize())
}
