//! Connections: two pipes each, which keep the order of what is in them and lose it when they break.
//!
//! A side believes that a connection is up until it closes it or hears that it was closed; the two do not
//! always agree. What is in a pipe arrives in order or not at all: a break keeps some of the front and
//! loses all of the rest.

use std::collections::VecDeque;

use bytes::Bytes;
use ganger_broker::sans_io::Side;
use ganger_common::ConnId;
use ganger_transport::{DownReason, PeerMeta, ServerEvent};

use super::desk::Room;
use super::log::{CutBy, Event, Life, Peer};
use super::queue::{Happening, Wake};
use super::world::World;

/// What travels.
#[derive(Debug)]
pub(super) enum Item {
    Frame(Bytes),
    /// The other side, or the network, has closed it.
    Close,
}

/// One direction.
#[derive(Debug, Default)]
pub(super) struct Pipe {
    items: VecDeque<(u64, Item)>,
    /// When the last of them arrives: none overtakes another.
    last: u64,
    /// Nothing arrives before.
    pub(super) blocked_until: u64,
    /// Each message takes so much longer, one after the other.
    pub(super) slow: u64,
    /// Whatever is put in is lost, and nobody says so.
    pub(super) is_dead: bool,
    wake: Wake,
}

impl Pipe {
    fn frames(&self) -> u32 {
        self.items.iter().filter(|(_, item)| matches!(item, Item::Frame(_))).count() as u32
    }
}

/// One connection.
#[derive(Debug)]
pub(super) struct Conn {
    pub(super) peer: Peer,
    /// Which process of the peer; what arrives for another is void. `None`: a stranger that presents the
    /// credentials of the peer and does not read.
    pub(super) process: Option<u32>,
    pub(super) life: Life,
    pub(super) up: Pipe,
    pub(super) down: Pipe,
    pub(super) broker_open: bool,
    pub(super) peer_open: bool,
    pub(super) is_muted: bool,
}

impl Conn {
    fn pipe(&mut self, up: bool) -> &mut Pipe {
        if up { &mut self.up } else { &mut self.down }
    }
}

/// The socket of a peer.
pub(super) fn side(peer: Peer) -> Side {
    match peer {
        Peer::Client(_) => Side::Client,
        Peer::Worker(_) => Side::Worker,
    }
}

impl World {
    /// Makes a connection with the broker, which must be there.
    pub(super) fn connect(&mut self, peer: Peer, process: Option<u32>) -> ConnId {
        self.last_conn += 1;
        let conn = ConnId(self.last_conn);
        let new = Conn {
            peer,
            process,
            life: self.broker.life,
            up: Pipe::default(),
            down: Pipe::default(),
            broker_open: true,
            peer_open: true,
            is_muted: false,
        };
        self.conns.insert(conn, new);
        self.broker.desk.lock().rooms.insert(conn, Room::default());
        self.note(Event::Connected { peer, conn });
        self.tell_broker(side(peer), ServerEvent::Up { conn, peer: PeerMeta::default() });
        conn
    }

    /// Puts a message into the pipe towards the broker. Returns whether there was room.
    pub(super) fn send_up(&mut self, conn: ConnId, body: Bytes) -> bool {
        let most = self.plan.outbox_messages.max(200) as usize;
        match self.conns.get(&conn) {
            Some(it) if it.peer_open && it.up.items.len() < most => {}
            _ => return false,
        }
        self.put(conn, true, Item::Frame(body));
        true
    }

    /// Puts what the broker sent into the pipe towards the peer.
    pub(super) fn send_down(&mut self, conn: ConnId, body: Bytes) {
        self.put(conn, false, Item::Frame(body));
    }

    fn put(&mut self, conn: ConnId, up: bool, item: Item) {
        let (first, last) = self.plan.latency;
        let takes = self.rng.between(first, last);
        let now = self.now;
        let Some(it) = self.conns.get_mut(&conn) else { return };
        let pipe = it.pipe(up);
        let slow = if matches!(item, Item::Frame(_)) { pipe.slow } else { 0 };
        let at = (now + takes).max(pipe.last + slow);
        pipe.last = at;
        pipe.items.push_back((at, item));
        if pipe.items.len() == 1 {
            self.plan_arrival(conn, up, at);
        }
    }

    fn plan_arrival(&mut self, conn: ConnId, up: bool, at: u64) {
        let at = at.max(self.now);
        if self.conns.get_mut(&conn).is_some_and(|it| it.pipe(up).wake.want(at)) {
            self.queue.push(at, Happening::Arrive { conn, up });
        }
    }

    /// The head of a pipe may have arrived.
    pub(super) fn on_arrive(&mut self, conn: ConnId, up: bool) {
        let now = self.now;
        let Some(it) = self.conns.get_mut(&conn) else { return };
        if it.pipe(up).wake.take(now) {
            self.pump(conn, up);
        }
    }

    /// Delivers what has arrived, as far as whoever should take it does.
    pub(super) fn pump(&mut self, conn: ConnId, up: bool) {
        loop {
            let now = self.now;
            let Some(it) = self.conns.get_mut(&conn) else { return };
            let (peer, process) = (it.peer, it.process);
            let pipe = it.pipe(up);
            let Some((at, _)) = pipe.items.front() else { break };
            let at = (*at).max(pipe.blocked_until);
            if pipe.is_dead {
                return;
            }
            if at > now {
                return self.plan_arrival(conn, up, at);
            }
            if self.stands_still(up, peer, process) {
                return;
            }
            let Some(it) = self.conns.get_mut(&conn) else { return };
            let Some((_, item)) = it.pipe(up).items.pop_front() else { break };
            match up {
                true => self.deliver_up(conn, item),
                false => self.deliver_down(conn, item),
            }
        }
        self.forget_if_over(conn);
    }

    /// Whether the process that should take something is paused. It will come for it when it goes on.
    fn stands_still(&self, up: bool, peer: Peer, process: Option<u32>) -> bool {
        match (up, peer) {
            (true, _) => self.broker.is_paused(),
            (false, _) if process.is_none() => false,
            (false, Peer::Worker(no)) => self.worker(no).is_paused,
            (false, Peer::Client(no)) => self.client(no).is_paused,
        }
    }

    fn deliver_up(&mut self, conn: ConnId, item: Item) {
        let Some(it) = self.conns.get_mut(&conn) else { return };
        if !it.broker_open || it.life != self.broker.life {
            return;
        }
        let side = side(it.peer);
        match item {
            Item::Frame(body) => {
                self.read_up(conn, &body);
                self.tell_broker(side, ServerEvent::Message { conn, body });
            }
            Item::Close => {
                it.broker_open = false;
                self.broker.desk.lock().rooms.remove(&conn);
                self.tell_broker(side, ServerEvent::Down { conn, reason: DownReason::Closed });
            }
        }
    }

    fn deliver_down(&mut self, conn: ConnId, item: Item) {
        let Some(it) = self.conns.get_mut(&conn) else { return };
        let (peer, process, is_open) = (it.peer, it.process, it.peer_open);
        if matches!(item, Item::Close) {
            it.peer_open = false;
        }
        if let Item::Frame(body) = &item {
            self.free_room(conn, body.len());
        }
        if is_open && let Some(process) = process {
            match peer {
                Peer::Worker(no) => self.worker_hears(no, process, conn, item),
                Peer::Client(no) => self.client_hears(no, process, conn, item),
            }
        }
    }

    fn free_room(&mut self, conn: ConnId, bytes: usize) {
        if let Some(room) = self.broker.desk.lock().rooms.get_mut(&conn) {
            room.messages -= 1;
            room.bytes -= bytes as u64;
        }
    }

    /// A peer closes a connection, or dies. What it sent before may still arrive.
    pub(super) fn close_from_peer(&mut self, conn: ConnId, by: CutBy) {
        let Some(it) = self.conns.get_mut(&conn) else { return };
        if !std::mem::replace(&mut it.peer_open, false) {
            return;
        }
        let (peer, lost_to_peer) = (it.peer, it.down.frames());
        it.down.items.clear();
        self.give_up_muted(conn);
        // A program that dies may leave some of what it said unsent; and its machine may die with it, so
        // that nobody tells the broker.
        let mut lost_to_broker = 0;
        let mut tells = true;
        if by == CutBy::Network {
            lost_to_broker = self.lose_tail(conn, true);
            tells = self.rng.percent(80);
        }
        self.note(Event::Cut { peer, conn, lost_to_broker, lost_to_peer, by });
        if tells {
            self.put(conn, true, Item::Close);
        }
        self.forget_if_over(conn);
    }

    /// The broker has closed a connection: its peer hears of it after what was sent before.
    pub(super) fn close_from_broker(&mut self, conn: ConnId, reason: DownReason) {
        let Some(it) = self.conns.get_mut(&conn) else { return };
        it.broker_open = false;
        let peer = it.peer;
        let lost_to_broker = it.up.frames();
        it.up.items.clear();
        self.give_up_muted(conn);
        let lost_to_peer = match reason {
            DownReason::Overflow => self.lose_tail(conn, false),
            _ => 0,
        };
        let by = if reason == DownReason::Overflow { CutBy::Overflow } else { CutBy::Broker };
        self.note(Event::Cut { peer, conn, lost_to_broker, lost_to_peer, by });
        self.put(conn, false, Item::Close);
    }

    /// A connection that somebody has given up keeps nobody from being heard any more.
    fn give_up_muted(&mut self, conn: ConnId) {
        if let Some(it) = self.conns.get_mut(&conn)
            && std::mem::replace(&mut it.is_muted, false)
        {
            let peer = it.peer;
            self.end_mute(peer);
        }
    }

    /// Loses some of what is in a pipe, from the back. Returns how many messages.
    fn lose_tail(&mut self, conn: ConnId, up: bool) -> u32 {
        let Some(it) = self.conns.get_mut(&conn) else { return 0 };
        let pipe = it.pipe(up);
        let before = pipe.frames();
        let keep = self.rng.below(pipe.items.len() as u64 + 1) as usize;
        pipe.items.truncate(keep);
        before - pipe.frames()
    }

    /// The network breaks a connection; both sides hear of it.
    pub(super) fn cut(&mut self, conn: ConnId) {
        let lost_to_broker = self.lose_tail(conn, true);
        let lost_to_peer = self.lose_tail(conn, false);
        let Some(it) = self.conns.get(&conn) else { return };
        let peer = it.peer;
        self.note(Event::Cut { peer, conn, lost_to_broker, lost_to_peer, by: CutBy::Network });
        self.close_both(conn);
    }

    /// Both sides are told, after what still arrives.
    pub(super) fn close_both(&mut self, conn: ConnId) {
        if let Some(it) = self.conns.get_mut(&conn) {
            for pipe in [&mut it.up, &mut it.down] {
                if std::mem::replace(&mut pipe.is_dead, false) {
                    // Something before it was lost, and a stream has no holes.
                    pipe.items.clear();
                }
            }
        }
        self.put(conn, true, Item::Close);
        self.put(conn, false, Item::Close);
        self.pump(conn, true);
        self.pump(conn, false);
    }

    /// From now on nothing passes, and nobody is told. Returns how many messages were lost each way.
    pub(super) fn kill_silently(&mut self, conn: ConnId) -> (u32, u32) {
        let lost = (self.lose_tail(conn, true), self.lose_tail(conn, false));
        if let Some(it) = self.conns.get_mut(&conn) {
            // What is still in the pipes was under way and arrives no more, either.
            it.up.is_dead = true;
            it.down.is_dead = true;
        }
        lost
    }

    /// Every connection of the broker breaks with it.
    pub(super) fn break_all(&mut self) {
        let life = self.broker.life;
        let of_it: Vec<ConnId> =
            self.conns.iter().filter(|(_, it)| it.life == life).map(|(id, _)| *id).collect();
        let tells = self.rng.percent(75);
        for conn in of_it {
            let lost_to_peer = self.lose_tail(conn, false);
            let Some(it) = self.conns.get_mut(&conn) else { continue };
            it.broker_open = false;
            let (peer, lost_to_broker) = (it.peer, it.up.frames());
            it.up.items.clear();
            self.give_up_muted(conn);
            self.note(Event::Cut { peer, conn, lost_to_broker, lost_to_peer, by: CutBy::Network });
            match tells {
                true => self.put(conn, false, Item::Close),
                // Its machine died with it: peers find out by the silence, or when it is back.
                false => self.silent_conns.push(conn),
            }
            self.forget_if_over(conn);
        }
    }

    /// Links are quick again: what a slow one still holds arrives at once.
    pub(super) fn hurry(&mut self) {
        let now = self.now;
        for it in self.conns.values_mut() {
            for pipe in [&mut it.up, &mut it.down] {
                pipe.slow = 0;
                pipe.last = pipe.last.min(now);
                pipe.items.iter_mut().for_each(|(at, _)| *at = (*at).min(now));
            }
        }
        self.pump_all();
    }

    fn forget_if_over(&mut self, conn: ConnId) {
        let is_over = self
            .conns
            .get(&conn)
            .is_some_and(|it| !it.broker_open && !it.peer_open && it.down.items.is_empty());
        if is_over {
            self.give_up_muted(conn);
            self.conns.remove(&conn);
        }
    }

    /// Every pipe whose taker stood still is looked at again.
    pub(super) fn pump_all(&mut self) {
        let all: Vec<ConnId> = self.conns.keys().copied().collect();
        for conn in all {
            self.pump(conn, true);
            self.pump(conn, false);
        }
    }
}
