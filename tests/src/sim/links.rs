//! What befalls connections: silence, slowness, halves that nobody told, strangers with credentials.

use ganger_common::message::{ClientHello, FromClient, FromWorker, WorkerHello};
use ganger_common::version::PROTOCOL;
use ganger_common::{ConnId, Revision, encode};

use super::faults::Over;
use super::log::{CutBy, Event, Peer};
use super::plan::{MS, S};
use super::world::World;

impl World {
    fn begin_mute(&mut self, peer: Peer, to_broker: bool, from_broker: bool) {
        *self.muted.entry(peer).or_default() += 1;
        self.note(Event::LinkMuted { peer, to_broker, from_broker });
    }

    /// One of the things that keep a peer from being heard is over.
    pub(super) fn end_mute(&mut self, peer: Peer) {
        let left = self.muted.entry(peer).or_default();
        *left = left.saturating_sub(1);
        if *left == 0 {
            self.note(Event::LinkHealed { peer });
        }
    }

    pub(super) fn mute(&mut self, conn: ConnId, to_broker: bool, from_broker: bool) {
        let lasts = match self.rng.below(3) {
            0 => self.rng.between(50 * MS, S),
            1 => self.rng.between(S, 3_500 * MS),
            _ => self.rng.between(3 * S, 9 * S),
        };
        let until = self.now + lasts;
        let Some(it) = self.conns.get_mut(&conn) else { return };
        it.is_muted = true;
        let peer = it.peer;
        if to_broker {
            it.up.blocked_until = until;
        }
        if from_broker {
            it.down.blocked_until = until;
        }
        self.begin_mute(peer, to_broker, from_broker);
        self.later(lasts, Over::Unmute(conn));
    }

    pub(super) fn slow_down(&mut self, conn: ConnId) {
        let lasts = self.rng.between(S, 6 * S);
        let slow = self.rng.between(20 * MS, 400 * MS);
        let Some(it) = self.conns.get_mut(&conn) else { return };
        it.is_muted = true;
        it.down.slow = slow;
        let peer = it.peer;
        self.begin_mute(peer, false, true);
        self.later(lasts, Over::Unmute(conn));
    }

    pub(super) fn unmute(&mut self, conn: ConnId) {
        let Some(it) = self.conns.get_mut(&conn) else { return };
        let peer = it.peer;
        it.up.blocked_until = 0;
        it.down.blocked_until = 0;
        it.down.slow = 0;
        if std::mem::replace(&mut it.is_muted, false) {
            self.end_mute(peer);
        }
        self.pump(conn, true);
        self.pump(conn, false);
    }

    pub(super) fn half_open(&mut self, conn: ConnId) {
        let (lost_to_broker, lost_to_peer) = self.kill_silently(conn);
        let Some(it) = self.conns.get_mut(&conn) else { return };
        it.is_muted = true;
        let peer = it.peer;
        self.figures.messages_lost += u64::from(lost_to_broker + lost_to_peer);
        self.begin_mute(peer, true, true);
        let after = self.rng.between(500 * MS, 15 * S);
        self.later(after, Over::FindOut(conn));
    }

    pub(super) fn find_out(&mut self, conn: ConnId) {
        let Some(it) = self.conns.get_mut(&conn) else { return };
        let peer = it.peer;
        if std::mem::replace(&mut it.is_muted, false) {
            self.end_mute(peer);
        }
        let (lost_to_broker, lost_to_peer) = (0, 0);
        self.note(Event::Cut { peer, conn, lost_to_broker, lost_to_peer, by: CutBy::Network });
        self.close_both(conn);
    }

    /// Some peers, or all, reach the broker no more. What they have with it stays, and is silent.
    pub(super) fn part(&mut self) {
        let lasts = self.rng.between(300 * MS, 8 * S);
        let share = if self.rng.percent(30) { 100 } else { self.rng.between(20, 80) };
        let mut peers: Vec<Peer> = self.workers.iter().map(|it| Peer::Worker(it.no)).collect();
        peers.extend(self.clients.iter().map(|it| Peer::Client(it.no)));
        let until = self.now + lasts;
        for peer in peers {
            if !self.rng.percent(share) || self.parted.contains(&peer) {
                continue;
            }
            self.parted.insert(peer);
            self.begin_mute(peer, true, true);
            for it in self.conns.values_mut().filter(|it| it.peer == peer) {
                it.up.blocked_until = until;
                it.down.blocked_until = until;
            }
            self.later(lasts, Over::Unpart(peer));
        }
    }

    pub(super) fn unpart(&mut self, peer: Peer) {
        if !self.parted.remove(&peer) {
            return;
        }
        self.end_mute(peer);
        let conns: Vec<ConnId> =
            self.conns.iter().filter(|(_, it)| it.peer == peer).map(|(conn, _)| *conn).collect();
        for conn in conns {
            if let Some(it) = self.conns.get_mut(&conn) {
                it.up.blocked_until = 0;
                it.down.blocked_until = 0;
            }
            self.pump(conn, true);
            self.pump(conn, false);
        }
    }

    pub(super) fn is_parted(&self, peer: Peer) -> bool {
        self.parted.contains(&peer)
    }

    /// Somebody presents the credentials of a session that lives, on a connection of its own.
    pub(super) fn duplicate(&mut self, conn: ConnId) {
        let Some(peer) = self.conns.get(&conn).map(|it| it.peer) else { return };
        let hello = match peer {
            Peer::Client(no) => {
                let it = self.client(no);
                let (client, token) = (it.client, it.token);
                encode(&FromClient::Hello(ClientHello { protocol: PROTOCOL, client, token, name: "".into() }))
            }
            Peer::Worker(no) => {
                let it = self.worker(no);
                let kinds: Vec<String> = it.plan.kinds.iter().map(|kind| format!("k{kind}")).collect();
                encode(&FromWorker::Hello(WorkerHello {
                    protocol: PROTOCOL,
                    worker: it.incarnation,
                    token: it.token,
                    name: "".into(),
                    host: "".into(),
                    pid: 2,
                    kinds: kinds.iter().map(|kind| kind.as_str().into()).collect(),
                    slots: it.plan.slots,
                    holding: Vec::new().into(),
                    revision: Revision(0),
                    draining: false,
                }))
            }
        };
        let stranger = self.connect(peer, None);
        self.send_up(stranger, hello);
        let after = self.rng.between(10 * MS, 3 * S);
        self.later(after, Over::Leave(stranger));
    }
}
