//! The socket's side of a ROUTER: which connection is which peer, what comes in, what goes out.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use ganger_common::ConnId;
use tokio::time::Instant;
use zeromq::util::PeerIdentity;
use zeromq::{SocketEvent, ZmqError, ZmqMessage};

use super::generations::{Generations, Heard, Number};
use super::server::{Order, Orders};
use super::{BURST, BURST_BYTES, held, owned};
use crate::door::Guests;
use crate::event::{Auth, DownReason, MalformedReason, PeerMeta, ServerEvent};
use crate::limits::{Limits, MESSAGE_COST};
use crate::mailbox::Mailbox;
use crate::turns::{self, Turns};

/// Connections are numbered through over all servers of the process, so that no two are ever mixed up.
static NEXT_CONN: AtomicU64 = AtomicU64::new(1);

/// Complaints about failing accepts come no more often than this: the library retries without a pause.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(5);

/// Lives on the socket's thread.
pub(super) struct Router {
    sockets: Generations,
    peers: HashMap<PeerIdentity, Peer>,
    conns: HashMap<ConnId, (Number, PeerIdentity)>,
    conns_max: usize,
    /// What happened since the inbox was last filled.
    events: Vec<(ServerEvent, usize)>,
    inbox: Mailbox<Turns>,
    /// What is being carried out; kept for its memory.
    batch: Vec<Order>,
    orders: Arc<Orders>,
    limits: Limits,
    /// What the door, if there is one, knows of peers.
    guests: Option<Arc<Guests>>,
    complaint: Option<Instant>,
}

#[derive(Clone, Copy)]
struct Peer {
    conn: ConnId,
    /// A message came, and the notice of the connection did not come yet or was lost.
    early: bool,
}

impl Router {
    pub(super) fn new(
        sockets: Generations,
        inbox: Mailbox<Turns>,
        orders: Arc<Orders>,
        limits: Limits,
        nofile: u64,
        guests: Option<Arc<Guests>>,
    ) -> Self {
        // The other half of the files is for the other sockets of the process, and for its own.
        let conns_max = limits.connections.min(usize::try_from(nofile / 2).unwrap_or(usize::MAX));
        let (peers, conns) = (HashMap::new(), HashMap::new());
        let (events, batch, complaint) = (Vec::new(), Vec::new(), None);
        Self { sockets, peers, conns, conns_max, events, inbox, batch, orders, limits, guests, complaint }
    }

    /// Until the owner wants the end; returns until when peers may be written to. Nothing in a turn waits, but
    /// for a new socket once in a long while, and every turn is bounded: a peer that never stops cannot keep
    /// others, or the writers of the library, from theirs.
    pub(super) async fn run(mut self) -> Instant {
        loop {
            let mut busy = self.carry_out();
            if self.inbox.has_room() {
                busy |= self.notice();
                busy |= self.receive();
            }
            self.inbox.push_all(&mut self.events);
            if self.sockets.is_full() {
                self.sockets.renew().await;
            }
            let shutdown = self.orders.state.lock().shutdown;
            match shutdown {
                Some(grace) => return self.end(grace).await,
                None if busy => tokio::task::yield_now().await,
                None => self.wait().await,
            }
        }
    }

    /// Sleeps until there is something to do. Without room in the inbox nothing is received, and no notice
    /// is taken either: they wait in a queue of bounded length.
    async fn wait(&mut self) {
        if !self.inbox.has_room() {
            tokio::select! {
                () = self.orders.given.notified() => {}
                () = self.inbox.half_empty() => {}
            }
            return;
        }
        tokio::select! {
            () = self.orders.given.notified() => {}
            heard = self.sockets.hear() => match heard {
                Heard::Notice(of, notice) => self.on_notice(of, notice),
                Heard::Message(of, message) => {
                    // The notice of a connection comes before its first message, but in another queue.
                    self.notice();
                    self.on_message(of, message);
                }
                Heard::Nothing => {}
            }
        }
    }

    /// Hands what the owner wants to the library. Returns whether there was anything.
    fn carry_out(&mut self) -> bool {
        std::mem::swap(&mut self.batch, &mut self.orders.state.lock().waiting);
        let mut batch = std::mem::take(&mut self.batch);
        let any = !batch.is_empty();
        for order in batch.drain(..) {
            match order {
                Order::Send(conn, body) => self.send(conn, body),
                Order::Kick(conn, reason) => self.forget(conn, reason),
            }
        }
        self.batch = batch;
        any
    }

    fn send(&mut self, conn: ConnId, body: Bytes) {
        let Some((of, peer)) = self.conns.get(&conn) else { return };
        let mut message = ZmqMessage::from(body);
        message.push_front(peer.clone().into());
        match self.sockets.send(*of, message) {
            Some(Ok(())) => {}
            Some(Err(_)) => self.forget(conn, DownReason::Closed),
            None => self.forget(conn, DownReason::Overflow),
        }
    }

    fn notice(&mut self) -> bool {
        let mut any = false;
        while let Some((of, notice)) = self.sockets.notice() {
            self.on_notice(of, notice);
            any = true;
        }
        any
    }

    fn receive(&mut self) -> bool {
        let (messages, bytes) = self.inbox.room();
        let mut bytes = bytes.min(BURST_BYTES);
        for count in 0..BURST.min(messages) {
            let Some((of, message)) = self.sockets.receive() else { return count > 0 };
            bytes = bytes.saturating_sub(self.on_message(of, message));
            if bytes == 0 {
                return true;
            }
        }
        true
    }

    fn on_notice(&mut self, of: Number, notice: SocketEvent) {
        match notice {
            SocketEvent::Accepted(from, id) => match self.peers.get_mut(&id) {
                Some(peer) if peer.early => peer.early = false,
                // Identities are generated, so a second claim to one is an attack or a fault: neither
                // connection can be trusted.
                Some(peer) => {
                    let conn = peer.conn;
                    self.forget(conn, DownReason::Replaced);
                }
                None => drop(self.add(of, id, address_of(&from), false)),
            },
            SocketEvent::Disconnected(id) => {
                if let Some(peer) = self.peers.get(&id) {
                    self.forget(peer.conn, DownReason::Closed);
                }
            }
            SocketEvent::AcceptFailed(ZmqError::Network(error))
                if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) =>
            {
                self.complain("there are no files left to open");
            }
            SocketEvent::AcceptFailed(error) => tracing::debug!(%error, "a connection broke before it began"),
            _ => {}
        }
    }

    fn complain(&mut self, reason: &str) {
        if self.complaint.is_none_or(|last| last.elapsed() >= COMPLAINT_INTERVAL) {
            tracing::warn!(reason, "connections are refused");
            self.complaint = Some(Instant::now());
        }
    }

    /// Returns what the message took to receive.
    fn on_message(&mut self, of: Number, message: ZmqMessage) -> usize {
        let mut parts = message.into_vecdeque();
        let Some(Ok(id)) = parts.pop_front().map(PeerIdentity::try_from) else { return 0 };
        let known = self.peers.get(&id).map(|peer| peer.conn);
        let Some(conn) = known.or_else(|| self.add(of, id, None, true)) else { return 0 };
        let (count, bytes) = (parts.len(), parts.iter().map(Bytes::len).sum());
        match parts.pop_front() {
            Some(body) if count == 1 && bytes <= self.limits.message_bytes => {
                self.tell(ServerEvent::Message { conn, body: owned(body) });
            }
            _ => {
                let reason = match count {
                    1 => MalformedReason::TooLarge,
                    _ => MalformedReason::Parts,
                };
                let event = ServerEvent::Malformed { conn, parts: count, bytes, reason };
                self.tell(event);
            }
        }
        bytes + MESSAGE_COST
    }

    fn tell(&mut self, event: ServerEvent) {
        let cost = turns::cost(&event);
        self.events.push((event, cost));
    }

    /// Nobody, when there are too many already.
    fn add(&mut self, of: Number, id: PeerIdentity, addr: Option<SocketAddr>, early: bool) -> Option<ConnId> {
        if self.conns.len() >= self.conns_max {
            self.sockets.refuse(of, &id);
            self.complain(&format!("there are {} connections already", self.conns_max));
            return None;
        }
        let peer = match &self.guests {
            Some(guests) => guests.meet(id.as_ref()).unwrap_or_default(),
            None => PeerMeta { addr, auth: Auth::None },
        };
        let conn = ConnId(NEXT_CONN.fetch_add(1, Ordering::Relaxed));
        self.peers.insert(id.clone(), Peer { conn, early });
        self.conns.insert(conn, (of, id));
        self.sockets.came(of);
        self.orders.state.lock().conns.insert(conn, Arc::new(held(&self.limits)));
        self.tell(ServerEvent::Up { conn, peer });
        Some(conn)
    }

    /// Forgets a connection and makes the library forget it, which closes it after what is queued.
    fn forget(&mut self, conn: ConnId, reason: DownReason) {
        let Some((of, id)) = self.conns.remove(&conn) else { return };
        self.peers.remove(&id);
        self.orders.state.lock().conns.remove(&conn);
        self.sockets.went(of, &id);
        self.tell(ServerEvent::Down { conn, reason });
    }

    async fn end(mut self, grace: Duration) -> Instant {
        let until = Instant::now() + grace;
        self.carry_out();
        self.sockets.unbind().await;
        self.orders.state.lock().conns.clear();
        for (conn, _) in std::mem::take(&mut self.conns) {
            self.tell(ServerEvent::Down { conn, reason: DownReason::Shutdown });
        }
        self.inbox.push_all(&mut self.events);
        until
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        self.orders.state.lock().conns.clear();
        self.inbox.close();
    }
}

fn address_of(endpoint: &zeromq::Endpoint) -> Option<SocketAddr> {
    match endpoint {
        zeromq::Endpoint::Tcp(zeromq::Host::Ipv4(ip), port) => Some(SocketAddr::from((*ip, *port))),
        zeromq::Endpoint::Tcp(zeromq::Host::Ipv6(ip), port) => Some(SocketAddr::from((*ip, *port))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn router(limits: Limits) -> Router {
        let inbox = Mailbox::new(100, 100);
        let bound = super::super::listener::listen(&"tcp://127.0.0.1:0".parse().unwrap(), &limits).unwrap();
        let sockets = Generations::begin(bound.listening).await.unwrap();
        Router::new(sockets, inbox, Arc::default(), limits, 1_000, None)
    }

    fn said_by(peer: &PeerIdentity) -> ZmqMessage {
        let mut message = ZmqMessage::from("something");
        message.push_front(peer.clone().into());
        message
    }

    fn accepted(peer: &PeerIdentity) -> SocketEvent {
        SocketEvent::Accepted("tcp://127.0.0.1:1".parse().unwrap(), peer.clone())
    }

    #[tokio::test]
    async fn a_connection_whose_notice_is_late_or_lost_is_known_by_its_first_message() {
        let mut router = router(Limits::default()).await;
        let (peer, other) = (PeerIdentity::new(), PeerIdentity::new());
        router.on_message(1, said_by(&peer));
        router.on_notice(1, accepted(&peer));
        router.on_message(1, said_by(&peer));
        router.on_notice(1, accepted(&other));
        let events: Vec<ServerEvent> = router.events.drain(..).map(|(event, _)| event).collect();
        let [first, second] = [router.peers[&peer].conn, router.peers[&other].conn];
        let body = Bytes::from("something");
        let (meta, addr) = (PeerMeta::default(), "127.0.0.1:1".parse().ok());
        let expected = [
            ServerEvent::Up { conn: first, peer: meta.clone() },
            ServerEvent::Message { conn: first, body: body.clone() },
            ServerEvent::Message { conn: first, body },
            ServerEvent::Up { conn: second, peer: PeerMeta { addr, ..meta } },
        ];
        assert_eq!(events, expected);
    }
}
