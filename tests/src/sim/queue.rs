//! What will happen, in the order in which it will.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use ganger_common::ConnId;
use ganger_worker::session::Ticket;

use super::log::{ClientNo, Life, Peer, WorkerNo};

/// One thing that will happen. Each names whom it concerns so exactly that it is void when that is gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Happening {
    /// The broker takes in what is there, or does what is due.
    Broker(Life),
    Worker(WorkerNo),
    Client(ClientNo),
    /// The head of a pipe has arrived: of the one towards the broker, or of the other.
    Arrive {
        conn: ConnId,
        up: bool,
    },
    /// A try to connect has come to its end.
    Reach {
        peer: Peer,
        attempt: u32,
    },
    /// A try to subscribe has.
    Subscribe {
        worker: WorkerNo,
        attempt: u32,
    },
    /// A publication has arrived.
    Publication {
        worker: WorkerNo,
        attempt: u32,
    },
    /// A handler has done what it does.
    HandlerEnds {
        worker: WorkerNo,
        process: u32,
        ticket: Ticket,
    },
    /// The disk has finished what it was writing.
    SyncDone(Life),
    /// The disk has read what it was asked for.
    ValuesRead(Life),
    /// The broker hears how much room the disk has.
    DiskTells(Life),
    /// The power goes while something is being written.
    Crash(Life),
    /// A step of the workload.
    Act(usize),
    /// A planned fault.
    Fault(usize),
    /// What a fault began ends.
    Over(usize),
    Restart(Node),
    /// A look at how much is held, and whether all is done.
    Look,
}

/// A process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Node {
    Broker,
    Worker(WorkerNo),
    Client(ClientNo),
}

#[derive(Debug)]
struct Planned {
    at: u64,
    number: u64,
    what: Happening,
}

impl PartialEq for Planned {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Planned {}

impl PartialOrd for Planned {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Planned {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

/// The one queue: by time, and what is due at the same time in the order in which it was planned.
#[derive(Debug, Default)]
pub(super) struct Queue {
    heap: BinaryHeap<Reverse<Planned>>,
    planned: u64,
}

impl Queue {
    pub(super) fn push(&mut self, at: u64, what: Happening) {
        self.planned += 1;
        self.heap.push(Reverse(Planned { at, number: self.planned, what }));
    }

    pub(super) fn pop(&mut self) -> Option<(u64, Happening)> {
        self.heap.pop().map(|Reverse(planned)| (planned.at, planned.what))
    }
}

/// When a node wants to be called: only the earliest of its wishes counts.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wake(Option<u64>);

impl Wake {
    /// Notes a wish. Returns whether it is to be planned.
    pub(super) fn want(&mut self, at: u64) -> bool {
        let is_news = self.0.is_none_or(|planned| at < planned);
        if is_news {
            self.0 = Some(at);
        }
        is_news
    }

    /// A plan comes true. Returns whether it still counts.
    pub(super) fn take(&mut self, at: u64) -> bool {
        let counts = self.0 == Some(at);
        if counts {
            self.0 = None;
        }
        counts
    }

    pub(super) fn clear(&mut self) {
        self.0 = None;
    }
}
