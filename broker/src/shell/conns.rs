//! What the shell knows of each connection.

use std::collections::{HashMap, VecDeque};

use ganger_common::{ConnId, Revision, WorkerId};

use crate::asks::Asks;
use crate::convert::PreRefused;
use crate::outbox::Outbox;

use super::values::Held;

/// Which socket a connection belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// The clients'.
    Client,
    /// The workers'.
    Worker,
}

/// One connection that is open. Once the shell has closed one it is forgotten, and what still comes from
/// it is void.
#[derive(Debug)]
pub(crate) struct Conn {
    pub(crate) side: Side,
    /// A hello has been handed to the scheduler.
    pub(crate) greeted: bool,
    /// The worker that has said so.
    pub(crate) worker: Option<WorkerId>,
    pub(crate) outbox: Outbox,
    /// What waits for values that the journal holds, and what waits behind that.
    pub(super) held: Held,
    pub(crate) asks: Asks,
    /// What the shell refused of batches that the scheduler has not answered yet, oldest first.
    pub(crate) pre_refused: VecDeque<(u64, PreRefused)>,
    /// Its last heartbeat needs no answer when this is the newest revision.
    pub(crate) quiet: Option<Revision>,
    /// An earlier one needs an answer, and has none yet.
    pub(crate) asked: bool,
}

impl Conn {
    /// Whether to answer a heartbeat by telling this revision.
    pub(crate) fn is_to_be_answered(&mut self, revision: Revision) -> bool {
        std::mem::take(&mut self.asked) || self.quiet != Some(revision)
    }

    /// Takes what the shell refused of the batch that is answered now.
    pub(crate) fn take_pre_refused(&mut self, seq: u64) -> Option<PreRefused> {
        let place = self.pre_refused.iter().position(|(of, _)| *of == seq)?;
        self.pre_refused.remove(place).map(|(_, pre)| pre)
    }
}

/// The open connections.
#[derive(Debug, Default)]
pub(crate) struct Conns {
    open: HashMap<ConnId, Conn>,
}

impl Conns {
    pub(crate) fn add(&mut self, conn: ConnId, side: Side) {
        let new = Conn {
            side,
            greeted: false,
            worker: None,
            outbox: Outbox::default(),
            held: Held::default(),
            asks: Asks::default(),
            pre_refused: VecDeque::new(),
            quiet: None,
            asked: false,
        };
        self.open.insert(conn, new);
    }

    pub(crate) fn get_mut(&mut self, conn: ConnId) -> Option<&mut Conn> {
        self.open.get_mut(&conn)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (ConnId, &Conn)> {
        self.open.iter().map(|(conn, peer)| (*conn, peer))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Conn> {
        self.open.values_mut()
    }

    pub(crate) fn remove(&mut self, conn: ConnId) -> Option<Conn> {
        self.open.remove(&conn)
    }
}
