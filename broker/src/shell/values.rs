//! Letters that wait for what the journal holds of them.
//!
//! A message that names large values cannot leave before they were read. Until it has, whatever else is to be
//! said on its connection waits behind it, so that the order on a connection is the order in which things were
//! decided: a worker hears of a lease before it hears that the lease is recalled. Only heartbeats overtake, so
//! that a peer does not take a busy disk for a dead broker. Connections do not wait for one another beyond the
//! reading itself, and take turns at it: of each, one message at a time.
//!
//! What is read and not sent yet is bounded by [`READ_AHEAD_BYTES`] and one message; what waits behind counts
//! as unread by its peer like everything that was sent.

use std::collections::VecDeque;

use bytes::Bytes;
use ganger_common::ConnId;
use ganger_scheduler::effect::{ClientReply, Dispatch, WorkerCommand};
use ganger_scheduler::{Data, Lsn, Stored};
use ganger_transport::{Publisher, Server};

use super::Shell;
use super::delivery::{Frames, Weight};
use crate::asks::{Answer, answer_of_client, answer_of_worker};
use crate::error::BrokerError;
use crate::journal::Journal;

/// Another message is asked for while no more than this is being read.
const READ_AHEAD_BYTES: usize = 8 << 20;

/// Something to be said to a peer.
#[derive(Debug)]
pub(super) enum Letter {
    /// To a client.
    Client(ClientReply),
    /// To a worker.
    Worker(WorkerCommand),
}

impl Letter {
    /// The payloads and results in it.
    fn values(&mut self) -> impl Iterator<Item = &mut Data> {
        let (tasks, items, result) = match self {
            Self::Worker(WorkerCommand::Tasks { tasks, .. }) => (&mut tasks[..], &mut [][..], None),
            Self::Client(ClientReply::Outcomes { items, .. }) => (&mut [][..], &mut items[..], None),
            Self::Client(ClientReply::Task { result, .. }) => (&mut [][..], &mut [][..], result.as_mut()),
            Self::Client(ClientReply::Payload { payload, .. }) => (&mut [][..], &mut [][..], Some(payload)),
            _ => (&mut [][..], &mut [][..], None),
        };
        let payloads = tasks.iter_mut().map(|task| &mut task.payload);
        payloads.chain(items.iter_mut().map(|item| &mut item.result)).chain(result)
    }

    /// The names of those that the journal holds.
    fn named(&mut self) -> impl Iterator<Item = Stored> {
        self.values().filter_map(|data| data.stored())
    }

    /// The leases in it that wait.
    fn leases(&self) -> &[Dispatch] {
        match self {
            Self::Worker(WorkerCommand::Tasks { tasks, .. }) => tasks,
            _ => &[],
        }
    }

    pub(super) fn is_whole(&mut self) -> bool {
        self.named().next().is_none()
    }

    pub(super) fn weight(&self) -> Weight {
        match self {
            Self::Client(ClientReply::Outcomes { .. }) | Self::Worker(WorkerCommand::Tasks { .. }) => {
                Weight::Windowed
            }
            Self::Client(ClientReply::Progress { .. } | ClientReply::Partial { .. }) => Weight::Extra,
            Self::Client(_) | Self::Worker(_) => Weight::Control,
        }
    }

    pub(super) fn answer(&self) -> Answer {
        match self {
            Self::Client(reply) => answer_of_client(reply),
            Self::Worker(command) => answer_of_worker(command),
        }
    }

    pub(super) fn is_heartbeat(&self) -> bool {
        matches!(
            self,
            Self::Client(ClientReply::Heartbeat { .. }) | Self::Worker(WorkerCommand::Heartbeat { .. })
        )
    }

    pub(super) fn is_goodbye(&self) -> bool {
        matches!(
            self,
            Self::Client(ClientReply::Goodbye { .. }) | Self::Worker(WorkerCommand::Goodbye { .. })
        )
    }
}

/// What waits to be sent on one connection, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Held {
    queue: VecDeque<Waiting>,
    /// Bytes in it that count as sent already.
    booked: u64,
}

/// One thing that waits.
#[derive(Debug)]
enum Waiting {
    /// It names values.
    Letter {
        letter: Box<Letter>,
        /// Its number, once the values were asked for.
        asked: Option<u64>,
    },
    /// It waits for what is before it. Counted as sent.
    Frames(Frames),
}

impl Held {
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(super) fn booked(&self) -> u64 {
        self.booked
    }

    /// The connection ends: what waits is not sent any more.
    pub(super) fn clear(&mut self) {
        self.queue.clear();
    }

    pub(super) fn push_letter(&mut self, letter: Letter) {
        self.queue.push_back(Waiting::Letter { letter: Box::new(letter), asked: None });
    }

    pub(super) fn push_frames(&mut self, frames: Frames) {
        self.booked += frames.booked;
        self.queue.push_back(Waiting::Frames(frames));
    }

    fn leases(&self) -> impl Iterator<Item = &Dispatch> {
        let letters = self.queue.iter().filter_map(|waiting| match waiting {
            Waiting::Letter { letter, .. } => Some(letter.leases()),
            Waiting::Frames(_) => None,
        });
        letters.flatten()
    }

    /// The first record that something in it names a value of.
    fn oldest_named(&mut self) -> Option<Lsn> {
        let letters = self.queue.iter_mut().filter_map(|waiting| match waiting {
            Waiting::Letter { letter, .. } => letter.named().map(|stored| stored.lsn).min(),
            Waiting::Frames(_) => None,
        });
        letters.min()
    }

    /// Fills in a value of the first letter. Says whether the letter has all of its values now.
    fn fill(&mut self, number: u64, value: Bytes) -> bool {
        let Some(Waiting::Letter { letter, asked }) = self.queue.front_mut() else { return false };
        if *asked != Some(number) {
            return false;
        }
        // Values come in the order in which they were asked for, and are asked for in the order of the letter.
        if let Some(data) = letter.values().find(|data| data.stored().is_some()) {
            *data = Data::Inline(value);
        }
        letter.is_whole()
    }
}

/// What is being read for all connections.
#[derive(Debug, Default)]
pub(super) struct Reads {
    /// Connections whose first letter was not asked for yet.
    turn: VecDeque<ConnId>,
    /// What was asked for: for which letter of which connection.
    asked: VecDeque<(ConnId, u64, Stored)>,
    asked_bytes: usize,
    letters: u64,
    /// Records before this one may go, once nothing waits that names a value of theirs.
    trim: Option<Lsn>,
    wanted: Vec<Stored>,
    came: Vec<Bytes>,
}

impl Reads {
    /// The first letter of a connection names values.
    pub(super) fn queue(&mut self, conn: ConnId) {
        self.turn.push_back(conn);
    }
}

impl<S: Server, P: Publisher, J: Journal> Shell<S, P, J> {
    /// Leases that were given and wait for a payload to be read, for whoever looks on.
    pub fn waiting_leases(&self) -> impl Iterator<Item = (ConnId, &Dispatch)> {
        self.conns.iter().flat_map(|(conn, peer)| peer.held.leases().map(move |lease| (conn, lease)))
    }

    /// Asks for what letters wait for, and sends those that have it. Says whether any was sent.
    pub(super) fn read_values(&mut self) -> Result<bool, BrokerError> {
        if self.reads.turn.is_empty() && self.reads.asked.is_empty() && self.reads.trim.is_none() {
            return Ok(false);
        }
        let before = self.reads.asked.len();
        self.ask_values();
        let Reads { wanted, came, .. } = &mut self.reads;
        self.journal.fetch(wanted, came)?;
        let came = std::mem::take(&mut self.reads.came);
        let moved = !came.is_empty() || self.reads.asked.len() > before;
        for value in came {
            self.on_value(value);
        }
        self.trim_if_unnamed()?;
        Ok(moved)
    }

    fn ask_values(&mut self) {
        while self.reads.asked_bytes <= READ_AHEAD_BYTES
            && let Some(conn) = self.reads.turn.pop_front()
        {
            let Some(peer) = self.conns.get_mut(conn) else { continue };
            let Some(Waiting::Letter { letter, asked }) = peer.held.queue.front_mut() else { continue };
            if asked.is_some() {
                continue;
            }
            self.reads.letters += 1;
            let number = self.reads.letters;
            *asked = Some(number);
            for stored in letter.named() {
                self.reads.asked_bytes += stored.len as usize;
                self.reads.asked.push_back((conn, number, stored));
                self.reads.wanted.push(stored);
            }
        }
    }

    /// A value has come: that of the oldest order.
    fn on_value(&mut self, value: Bytes) {
        let Some((conn, number, stored)) = self.reads.asked.pop_front() else { return };
        self.reads.asked_bytes -= stored.len as usize;
        // The connection may be gone, and what was to be said on it with it.
        let Some(peer) = self.conns.get_mut(conn) else { return };
        if peer.held.fill(number, value) {
            self.counters.values_read += 1;
            self.release(conn);
        }
    }

    /// Sends what waits on a connection, up to the next letter whose values have to be read.
    fn release(&mut self, conn: ConnId) {
        while let Some(peer) = self.conns.get_mut(conn) {
            let is_unread = |waiting: &mut Waiting| match waiting {
                Waiting::Letter { letter, .. } => !letter.is_whole(),
                Waiting::Frames(_) => false,
            };
            if peer.held.queue.front_mut().is_some_and(is_unread) {
                return self.reads.queue(conn);
            }
            match peer.held.queue.pop_front() {
                Some(Waiting::Letter { letter, .. }) => self.send_letter(conn, *letter),
                Some(Waiting::Frames(frames)) => {
                    peer.held.booked -= frames.booked;
                    self.send_frames(conn, frames);
                }
                None => return,
            }
        }
    }

    /// Lets go of everything before a record, as soon as nothing that waits names a value of it.
    pub(super) fn trim_unnamed(&mut self, before: Lsn) -> Result<(), BrokerError> {
        self.reads.trim = Some(before);
        self.trim_if_unnamed()
    }

    fn trim_if_unnamed(&mut self) -> Result<(), BrokerError> {
        let Some(before) = self.reads.trim else { return Ok(()) };
        let asked = self.reads.asked.iter().any(|(_, _, stored)| stored.lsn < before);
        if asked || self.conns.iter_mut().any(|conn| conn.held.oldest_named().is_some_and(|lsn| lsn < before))
        {
            return Ok(());
        }
        self.reads.trim = None;
        self.journal.trim(before)?;
        self.journaling.trimmed();
        Ok(())
    }
}
