//! What the shell of the broker takes for its sockets and its journal.
//!
//! Whatever it does with them lands on one tape, in the order in which it was done: whether a promise left
//! before its record was handed to the disk can be seen there.

use std::collections::{BTreeMap, VecDeque};
use std::future::{Future, ready};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use ganger_broker::journal::{Journal, JournalError, Recovered, Usage};
use ganger_common::ConnId;
use ganger_scheduler::{Lsn, Record, Stored};
use ganger_transport::{DownReason, Endpoint, PublishError, Publisher, SendError, Server, ServerEvent};

/// Something that the shell did.
#[derive(Debug)]
pub(super) enum Done {
    Sent {
        conn: ConnId,
        body: Bytes,
    },
    /// The queue of the connection is full.
    Refused {
        conn: ConnId,
        body: Bytes,
    },
    Kicked {
        conn: ConnId,
        reason: DownReason,
    },
    Published([Bytes; 3]),
    /// Records were handed to the journal; `safe`: they are safe already.
    Appended {
        records: Vec<(Lsn, Record)>,
        safe: bool,
    },
    /// Values are to be read.
    Asked {
        values: Vec<Stored>,
    },
    /// Records before this one may go.
    Trimmed {
        before: Lsn,
    },
}

/// What a broker lets wait for its journal before it stops to hear clients. A run in which it should and
/// does not has a fault that found nobody.
const BEHIND_BYTES: u64 = 24 << 20;

/// What a journal that should be carried says of its length: more than any state of a run takes.
const LONG: u64 = 1 << 40;

/// What has been sent on a connection and was not taken by the network.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Room {
    pub(super) messages: u64,
    pub(super) bytes: u64,
}

/// How the journal answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Answers {
    /// When the records are safe, and it takes no time.
    AtOnce,
    /// Later.
    Later,
}

/// The inside of the broker's sockets and journal.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) tape: VecDeque<Done>,
    pub(super) rooms: BTreeMap<ConnId, Room>,
    pub(super) messages_max: u64,
    pub(super) bytes_max: u64,
    pub(super) answers: Answers,
    /// The first record that was not let go.
    pub(super) first: Lsn,
    /// The last record that is safe.
    pub(super) safe: Lsn,
    /// The last record that was safe when the state had been carried last.
    pub(super) carried: Lsn,
    /// From so many records after that on the journal counts as long.
    pub(super) long_from: u64,
    /// Values that were read, in the order in which they were asked for.
    pub(super) values: Vec<Bytes>,
    /// With so much that was handed over and is not safe, the journal counts as behind.
    pub(super) behind_from: u64,
    /// What was handed over and is not safe.
    pub(super) waiting: u64,
    /// There is hardly any room.
    pub(super) is_short: bool,
    /// The next write fails.
    pub(super) fails: bool,
}

/// The desk, as all the sockets of one broker share it. One thread at a time: the lock never waits.
#[derive(Clone, Debug)]
pub(super) struct SharedDesk(Arc<Mutex<Desk>>);

impl SharedDesk {
    pub(super) fn new(messages_max: u64, bytes_max: u64, answers: Answers) -> Self {
        Self(Arc::new(Mutex::new(Desk {
            tape: VecDeque::new(),
            rooms: BTreeMap::new(),
            messages_max,
            bytes_max,
            answers,
            first: Lsn(1),
            safe: Lsn(0),
            carried: Lsn(0),
            long_from: u64::MAX,
            values: Vec::new(),
            behind_from: u64::MAX,
            waiting: 0,
            is_short: false,
            fails: false,
        })))
    }

    /// With a journal that has these records, and counts as long with so many more.
    pub(super) fn with_journal(self, first: Lsn, last: Lsn, long_from: u64) -> Self {
        let mut desk = self.lock();
        (desk.first, desk.safe, desk.carried, desk.long_from) = (first, last, last, long_from);
        drop(desk);
        self
    }

    /// On a disk that has hardly any room, or counts as behind with so much to write.
    pub(super) fn on_disk(self, is_short: bool, behind_from: u64) -> Self {
        let mut desk = self.lock();
        (desk.is_short, desk.behind_from) = (is_short, behind_from);
        drop(desk);
        self
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Desk> {
        // Poisoned only by a panic that ends the run anyway.
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// One of the broker's listening sockets.
#[derive(Debug)]
pub(super) struct SimServer {
    desk: SharedDesk,
    endpoint: Endpoint,
}

impl SimServer {
    pub(super) fn new(desk: SharedDesk, name: &str) -> Self {
        Self { desk, endpoint: Endpoint::Mem { name: name.to_owned() } }
    }
}

impl Server for SimServer {
    fn recv(&mut self, _into: &mut Vec<ServerEvent>, _max: usize) -> impl Future<Output = usize> + Send {
        // Events are handed to the shell directly.
        std::future::pending()
    }

    fn try_send(&self, to: ConnId, body: Bytes) -> Result<(), SendError> {
        let mut desk = self.desk.lock();
        let (messages_max, bytes_max) = (desk.messages_max, desk.bytes_max);
        let Some(room) = desk.rooms.get_mut(&to) else { return Err(SendError::Gone(body)) };
        if room.messages >= messages_max || room.bytes >= bytes_max {
            desk.tape.push_back(Done::Refused { conn: to, body: body.clone() });
            return Err(SendError::Full(body));
        }
        room.messages += 1;
        room.bytes += body.len() as u64;
        desk.tape.push_back(Done::Sent { conn: to, body });
        Ok(())
    }

    fn kick(&self, conn: ConnId, reason: DownReason) {
        let mut desk = self.desk.lock();
        if desk.rooms.remove(&conn).is_some() {
            desk.tape.push_back(Done::Kicked { conn, reason });
        }
    }

    fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    fn shutdown(self, _grace: Duration) -> impl Future<Output = ()> + Send {
        ready(())
    }
}

/// The broker's publishing socket.
#[derive(Debug)]
pub(super) struct SimPublisher {
    desk: SharedDesk,
    endpoint: Endpoint,
}

impl SimPublisher {
    pub(super) fn new(desk: SharedDesk) -> Self {
        Self { desk, endpoint: Endpoint::Mem { name: "knowledge".to_owned() } }
    }
}

impl Publisher for SimPublisher {
    fn publish(&self, parts: [Bytes; 3]) -> Result<(), PublishError> {
        self.desk.lock().tape.push_back(Done::Published(parts));
        Ok(())
    }

    fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    fn shutdown(self, _grace: Duration) -> impl Future<Output = ()> + Send {
        ready(())
    }
}

/// The broker's journal.
#[derive(Debug)]
pub(super) struct SimJournal(pub(super) SharedDesk);

impl Journal for SimJournal {
    /// The world reads the disk itself.
    fn read(&mut self, _each: &mut dyn FnMut(Lsn, Record)) -> Result<Recovered, JournalError> {
        Ok(Recovered::default())
    }

    fn append(&mut self, batch: &mut Vec<(Lsn, Record)>) -> Result<Lsn, JournalError> {
        let mut desk = self.0.lock();
        let first = batch.first().map_or(Lsn(0), |(lsn, _)| *lsn);
        if desk.fails {
            let source = std::io::Error::other("the disk of the simulation fails");
            return Err(JournalError::Write { lsn: first, source: source.into() });
        }
        let records = std::mem::take(batch);
        let safe = desk.answers == Answers::AtOnce;
        if safe {
            desk.safe = records.last().map_or(desk.safe, |(lsn, _)| *lsn);
        } else {
            desk.waiting += weight(&records);
        }
        desk.tape.push_back(Done::Appended { records, safe });
        Ok(desk.safe)
    }

    fn trim(&mut self, before: Lsn) -> Result<(), JournalError> {
        let mut desk = self.0.lock();
        (desk.first, desk.carried) = (before, desk.safe);
        desk.tape.push_back(Done::Trimmed { before });
        Ok(())
    }

    /// Answered by the world, later.
    fn fetch(&mut self, wanted: &mut Vec<Stored>, came: &mut Vec<Bytes>) -> Result<(), JournalError> {
        let mut desk = self.0.lock();
        if !wanted.is_empty() {
            desk.tape.push_back(Done::Asked { values: std::mem::take(wanted) });
        }
        came.append(&mut desk.values);
        Ok(())
    }

    fn tend(&mut self) -> Result<bool, JournalError> {
        Ok(false)
    }

    /// Counts records where a journal counts bytes: no run is long enough for those.
    fn usage(&self) -> Usage {
        let desk = self.0.lock();
        let is_long = desk.safe.0.saturating_sub(desk.carried.0) >= desk.long_from;
        let log_bytes = if is_long { LONG } else { 0 };
        let is_short_of_room = desk.is_short;
        Usage { first: desk.first, last: desk.safe, log_bytes, is_short_of_room, ..Usage::default() }
    }

    /// Stretched, like the length: what waits in a run is a few records, and a broker minds many megabytes.
    fn waiting_bytes(&self) -> usize {
        let desk = self.0.lock();
        let each = BEHIND_BYTES / desk.behind_from + 1;
        (desk.waiting * each) as usize
    }

    fn close(self) -> Result<(), JournalError> {
        Ok(())
    }
}

/// What records count for where they wait to be written: each, and every task in it. What is carried counts
/// nothing: a part of it is small against the 12 MiB below which a broker is no longer behind, and here one
/// would be half of all that may wait, so that nothing was given out for as long as the carrying took.
pub(super) fn weight(records: &[(Lsn, Record)]) -> u64 {
    let weigh = |record: &Record| match record {
        Record::Accepted { tasks, .. } => 1 + tasks.len(),
        Record::Settled { tasks, .. } => 1 + tasks.len(),
        Record::CarryBegun(_)
        | Record::CarriedTasks(_)
        | Record::CarriedTopic(_)
        | Record::CarriedHistory(_)
        | Record::CarryEnded { .. } => 0,
        _ => 1,
    };
    records.iter().map(|(_, record)| weigh(record) as u64).sum()
}
