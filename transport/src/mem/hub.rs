//! What lies between a server and its peers.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use ganger_common::ConnId;
use parking_lot::Mutex;

use super::Way;
use crate::error::SendError;
use crate::event::{DownReason, MalformedReason, PeerMeta, ServerEvent};
use crate::limits::{Limits, MESSAGE_COST};
use crate::mailbox::{Fifo, Mailbox};
use crate::turns::{self, Turns};

/// One server and its connections.
#[derive(Debug)]
pub(super) struct Hub {
    /// Where the server reads.
    pub(super) inbox: Mailbox<Turns>,
    links: Mutex<Links>,
    limits: Limits,
}

#[derive(Debug, Default)]
struct Links {
    all: BTreeMap<ConnId, Link>,
    /// Those from which messages wait for the server.
    waiting: BTreeSet<ConnId>,
}

/// One connection.
#[derive(Debug)]
struct Link {
    /// Where the peer reads.
    inbox: Mailbox<Fifo<Bytes>>,
    message_bytes: usize,
    to_peer: Lane,
    to_server: Lane,
}

/// Messages of one way that were accepted from their sender and for which their receiver has no room yet.
#[derive(Debug)]
struct Lane {
    waiting: VecDeque<Bytes>,
    bytes: usize,
    messages_max: usize,
    bytes_max: usize,
    held: bool,
    lose: u64,
}

/// What becomes of messages that wait when a connection ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Rest {
    /// They arrive, whatever the room.
    Delivered,
    Lost,
}

impl Hub {
    pub(super) fn new(limits: &Limits) -> Self {
        let inbox = Mailbox::new(limits.inbox_messages, limits.inbox_bytes);
        Self { inbox, links: Mutex::default(), limits: limits.clone() }
    }

    /// Adds a connection and returns where its peer reads.
    pub(super) fn join(&self, conn: ConnId, its: &Limits, peer: PeerMeta) -> Mailbox<Fifo<Bytes>> {
        let inbox = Mailbox::new(its.inbox_messages, its.inbox_bytes);
        let (to_peer, to_server) = (Lane::new(&self.limits), Lane::new(its));
        let link = Link { inbox: inbox.clone(), message_bytes: its.message_bytes, to_peer, to_server };
        self.links.lock().all.insert(conn, link);
        self.tell(ServerEvent::Up { conn, peer });
        inbox
    }

    /// Removes a connection and tells both of its ends.
    pub(super) fn part(&self, conn: ConnId, reason: DownReason, rest: Rest) {
        let Some(mut link) = self.links.lock().all.remove(&conn) else { return };
        match rest {
            Rest::Delivered => {
                while let Some(body) = link.to_server.next() {
                    self.arrive(conn, body);
                }
                while let Some(body) = link.to_peer.next() {
                    link.arrive(body);
                }
            }
            Rest::Lost => drop(link.inbox.take(usize::MAX, drop)),
        }
        link.inbox.close();
        self.tell(ServerEvent::Down { conn, reason });
    }

    pub(super) fn close(&self) {
        let conns: Vec<ConnId> = self.links.lock().all.keys().copied().collect();
        for conn in conns {
            self.part(conn, DownReason::Shutdown, Rest::Delivered);
        }
        self.inbox.close();
    }

    pub(super) fn send_to_peer(&self, conn: ConnId, body: Bytes) -> Result<(), SendError> {
        let mut links = self.links.lock();
        let Some(link) = links.all.get_mut(&conn) else { return Err(SendError::Gone(body)) };
        link.to_peer.offer(body).map_err(SendError::Full)?;
        match link.pump() {
            true => Ok(()),
            false => {
                drop(links);
                self.part(conn, DownReason::Closed, Rest::Lost);
                Ok(())
            }
        }
    }

    pub(super) fn send_to_server(&self, conn: ConnId, body: Bytes) -> Result<(), SendError> {
        let mut links = self.links.lock();
        let Some(link) = links.all.get_mut(&conn) else { return Err(SendError::Gone(body)) };
        link.to_server.offer(body).map_err(SendError::Full)?;
        while self.inbox.has_room()
            && let Some(body) = link.to_server.next()
        {
            self.arrive(conn, body);
        }
        if !link.to_server.waiting.is_empty() {
            links.waiting.insert(conn);
        }
        Ok(())
    }

    /// The peer has taken something from its inbox.
    pub(super) fn peer_took(&self, conn: ConnId) {
        let broken = self.links.lock().all.get_mut(&conn).is_some_and(|link| !link.pump());
        if broken {
            self.part(conn, DownReason::Closed, Rest::Lost);
        }
    }

    /// The server has taken something from its inbox. Those who wait for room get it in turn.
    pub(super) fn server_took(&self) {
        let Links { all, waiting } = &mut *self.links.lock();
        let mut moved = true;
        while std::mem::take(&mut moved) {
            waiting.retain(|conn| {
                let Some(link) = all.get_mut(conn) else { return false };
                if self.inbox.has_room()
                    && let Some(body) = link.to_server.next()
                {
                    self.arrive(*conn, body);
                    moved = true;
                }
                !link.to_server.waiting.is_empty()
            });
        }
    }

    pub(super) fn hold(&self, conn: ConnId, way: Way, held: bool) {
        if let Some(link) = self.links.lock().all.get_mut(&conn) {
            link.lane(way).held = held;
        }
        self.peer_took(conn);
        self.server_took();
    }

    pub(super) fn lose(&self, conn: ConnId, way: Way, count: u64) {
        if let Some(link) = self.links.lock().all.get_mut(&conn) {
            link.lane(way).lose = count;
        }
    }

    fn arrive(&self, conn: ConnId, body: Bytes) {
        let bytes = body.len();
        let event = match bytes <= self.limits.message_bytes {
            true => ServerEvent::Message { conn, body },
            false => ServerEvent::Malformed { conn, parts: 1, bytes, reason: MalformedReason::TooLarge },
        };
        self.tell(event);
    }

    fn tell(&self, event: ServerEvent) {
        let cost = turns::cost(&event);
        // A server that is gone hears nothing.
        let _ = self.inbox.push(event, cost);
    }
}

impl Link {
    fn lane(&mut self, way: Way) -> &mut Lane {
        match way {
            Way::ToPeer => &mut self.to_peer,
            Way::ToServer => &mut self.to_server,
        }
    }

    /// Moves what there is room for to the peer. False: something arrived that ends the connection.
    fn pump(&mut self) -> bool {
        while self.inbox.has_room()
            && let Some(body) = self.to_peer.next()
        {
            if !self.arrive(body) {
                return false;
            }
        }
        true
    }

    fn arrive(&self, body: Bytes) -> bool {
        let bytes = body.len();
        bytes <= self.message_bytes && self.inbox.push(body, bytes + MESSAGE_COST).is_ok()
    }
}

impl Lane {
    fn new(limits: &Limits) -> Self {
        let (messages_max, bytes_max) = (limits.outbox_messages, limits.outbox_bytes);
        Self { waiting: VecDeque::new(), bytes: 0, messages_max, bytes_max, held: false, lose: 0 }
    }

    fn offer(&mut self, body: Bytes) -> Result<(), Bytes> {
        let is_full = self.waiting.len() >= self.messages_max
            || (!self.waiting.is_empty() && self.bytes + body.len() > self.bytes_max);
        if is_full {
            return Err(body);
        }
        if self.lose > 0 {
            self.lose -= 1;
            return Ok(());
        }
        self.bytes += body.len();
        self.waiting.push_back(body);
        Ok(())
    }

    fn next(&mut self) -> Option<Bytes> {
        if self.held {
            return None;
        }
        let body = self.waiting.pop_front()?;
        self.bytes -= body.len();
        Some(body)
    }
}
