//! A ROUTER and its connections.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
use ganger_common::ConnId;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use zeromq::util::PeerIdentity;
use zeromq::{MultiPeerBackend, RouterSocket, Socket, SocketEvent, SocketRecv, SocketSend, ZmqMessage};

use super::io::IoThread;
use super::{BURST, listener, owned};
use crate::endpoint::Endpoint;
use crate::error::{BindError, SendError};
use crate::limits::Limits;
use crate::mailbox::Mailbox;
use crate::traits::{Auth, DownReason, MalformedReason, PeerMeta, Server, ServerEvent};

/// Connections are numbered through over all servers of the process, so that no two are ever mixed up.
static NEXT_CONN: AtomicU64 = AtomicU64::new(1);

/// Reading stops while a message of this size could make the inbox overflow by more than itself.
const EVENT_OVERHEAD: usize = 64;

/// A server on a ROUTER socket.
#[derive(Debug)]
pub struct ZmqServer {
    endpoint: Endpoint,
    inbox: Mailbox<ServerEvent>,
    outgoing: Arc<Outgoing>,
    task: JoinHandle<()>,
    _io: IoThread,
}

/// What the owner wants done, until the socket's thread takes it.
#[derive(Debug)]
struct Outgoing {
    state: Mutex<OutgoingState>,
    filled: Notify,
    messages_max: usize,
    bytes_max: usize,
}

#[derive(Debug, Default)]
struct OutgoingState {
    commands: Vec<Command>,
    /// Live connections, with the messages and bytes among `commands` that are for each.
    conns: HashMap<ConnId, (usize, usize)>,
    shutdown: Option<Duration>,
}

#[derive(Debug)]
enum Command {
    Send(ConnId, Bytes),
    Kick(ConnId, DownReason),
}

impl ZmqServer {
    /// Listens on an endpoint.
    ///
    /// # Errors
    /// When the endpoint is in use, or the system refuses.
    pub async fn bind(endpoint: &Endpoint, limits: Limits) -> Result<Self, BindError> {
        let (listener, endpoint) = listener::listen(endpoint, &limits)?;
        let failed = |source: std::io::Error| BindError::Io { endpoint: endpoint.clone(), source };
        let io = IoThread::start().map_err(failed)?;
        let inbox = Mailbox::new(limits.inbox_messages, limits.inbox_bytes);
        let outgoing = Arc::new(Outgoing {
            state: Mutex::default(),
            filled: Notify::new(),
            messages_max: limits.outbox_messages,
            bytes_max: limits.outbox_bytes,
        });
        let (sink, source) = (inbox.clone(), outgoing.clone());
        let (bound, is_bound) = tokio::sync::oneshot::channel();
        let task = io.spawn(async move {
            let mut socket = RouterSocket::new();
            let monitor = socket.monitor();
            let result = socket.bind_listener(listener).await;
            let is_ok = result.is_ok();
            let _ = bound.send(result.map(|_| ()).map_err(|error| error.to_string()));
            if is_ok {
                let backend = socket.backend();
                let router = Router {
                    socket,
                    monitor,
                    backend,
                    peers: HashMap::new(),
                    conns: HashMap::new(),
                    inbox: sink,
                    outgoing: source,
                    limits,
                };
                router.run().await;
            }
        });
        match is_bound.await {
            Ok(Ok(())) => Ok(Self { endpoint, inbox, outgoing, task, _io: io }),
            Ok(Err(reason)) => Err(failed(std::io::Error::other(reason))),
            Err(_) => Err(failed(std::io::Error::other("the socket's thread ended"))),
        }
    }
}

impl Server for ZmqServer {
    async fn recv(&mut self, into: &mut Vec<ServerEvent>, max: usize) -> usize {
        self.inbox.recv(max, |event| into.push(event)).await
    }

    fn try_send(&self, to: ConnId, body: Bytes) -> Result<(), SendError> {
        let mut state = self.outgoing.state.lock();
        let Some((messages, bytes)) = state.conns.get_mut(&to) else { return Err(SendError::Gone(body)) };
        let is_full = *messages >= self.outgoing.messages_max
            || (*messages > 0 && *bytes + body.len() > self.outgoing.bytes_max);
        if is_full {
            return Err(SendError::Full(body));
        }
        *messages += 1;
        *bytes += body.len();
        state.commands.push(Command::Send(to, body));
        let is_first = state.commands.len() == 1;
        drop(state);
        if is_first {
            self.outgoing.filled.notify_one();
        }
        Ok(())
    }

    fn kick(&self, conn: ConnId, reason: DownReason) {
        self.outgoing.state.lock().commands.push(Command::Kick(conn, reason));
        self.outgoing.filled.notify_one();
    }

    fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    async fn shutdown(self, grace: Duration) {
        self.outgoing.state.lock().shutdown = Some(grace);
        self.outgoing.filled.notify_one();
        // The only error is that the task has ended already.
        let _ = self.task.await;
    }
}

/// The socket and what is known about its peers; lives on the socket's thread.
struct Router {
    socket: RouterSocket,
    monitor: futures_channel::mpsc::Receiver<SocketEvent>,
    backend: Arc<dyn MultiPeerBackend>,
    peers: HashMap<PeerIdentity, Peer>,
    conns: HashMap<ConnId, PeerIdentity>,
    inbox: Mailbox<ServerEvent>,
    outgoing: Arc<Outgoing>,
    limits: Limits,
}

#[derive(Clone, Copy)]
struct Peer {
    conn: ConnId,
    /// A message came before the library told of the connection.
    early: bool,
}

impl Router {
    async fn run(mut self) {
        loop {
            let sent = self.send_all();
            let noticed = self.notice();
            let received = self.receive_burst();
            if sent || noticed || received {
                tokio::task::yield_now().await;
                continue;
            }
            let shutdown = self.outgoing.state.lock().shutdown;
            if let Some(grace) = shutdown {
                return self.end(grace).await;
            }
            self.wait().await;
        }
    }

    /// Sleeps until there is something to do.
    async fn wait(&mut self) {
        let has_room = self.inbox.has_room();
        tokio::select! {
            () = self.outgoing.filled.notified() => {}
            event = self.monitor.next() => if let Some(event) = event {
                self.on_event(event);
            },
            () = self.inbox.room(), if !has_room => {}
            message = self.socket.recv(), if has_room => if let Ok(message) = message {
                self.on_message(message);
            },
        }
    }

    /// Hands what the owner has queued to the library. Returns whether there was anything.
    fn send_all(&mut self) -> bool {
        let commands = {
            let mut state = self.outgoing.state.lock();
            if state.commands.is_empty() {
                return false;
            }
            for counts in state.conns.values_mut() {
                *counts = (0, 0);
            }
            std::mem::take(&mut state.commands)
        };
        for command in commands {
            match command {
                Command::Send(conn, body) => self.send(conn, body),
                Command::Kick(conn, reason) => self.drop_conn(conn, reason),
            }
        }
        true
    }

    fn send(&mut self, conn: ConnId, body: Bytes) {
        let Some(peer) = self.conns.get(&conn) else { return };
        let mut message = ZmqMessage::from(body);
        message.push_front(peer.clone().into());
        match self.socket.send(message).now_or_never() {
            Some(Ok(())) => {}
            Some(Err(_)) => self.drop_conn(conn, DownReason::Closed),
            None => self.drop_conn(conn, DownReason::Overflow),
        }
    }

    fn notice(&mut self) -> bool {
        let mut noticed = false;
        while let Ok(event) = self.monitor.try_recv() {
            self.on_event(event);
            noticed = true;
        }
        noticed
    }

    fn receive_burst(&mut self) -> bool {
        for count in 0..BURST {
            if !self.inbox.has_room() {
                return count > 0;
            }
            match self.socket.recv().now_or_never() {
                Some(Ok(message)) => self.on_message(message),
                Some(Err(_)) | None => return count > 0,
            }
        }
        true
    }

    fn on_event(&mut self, event: SocketEvent) {
        match event {
            SocketEvent::Accepted(from, id) => match self.peers.get_mut(&id) {
                Some(peer) if peer.early => peer.early = false,
                // Identities are generated, so a second claim to one is an attack or a fault: neither
                // connection can be trusted.
                Some(peer) => {
                    let conn = peer.conn;
                    self.drop_conn(conn, DownReason::Replaced);
                }
                None => {
                    self.add(id, address_of(&from), false);
                }
            },
            SocketEvent::Disconnected(id) => {
                if let Some(peer) = self.peers.get(&id) {
                    self.drop_conn(peer.conn, DownReason::Closed);
                }
            }
            SocketEvent::AcceptFailed(error) => tracing::debug!(%error, "a connection was not accepted"),
            _ => {}
        }
    }

    fn on_message(&mut self, message: ZmqMessage) {
        let mut parts = message.into_vec();
        if parts.is_empty() {
            return;
        }
        let Ok(id) = PeerIdentity::try_from(parts.remove(0)) else { return };
        let conn = match self.peers.get(&id) {
            Some(peer) => peer.conn,
            None => self.add(id, None, true),
        };
        let bytes = parts.iter().map(Bytes::len).sum();
        let reason = match parts.len() {
            1 if bytes <= self.limits.message_bytes => None,
            1 => Some(MalformedReason::TooLarge),
            _ => Some(MalformedReason::Parts),
        };
        let event = match (reason, parts.pop()) {
            (None, Some(body)) => ServerEvent::Message { conn, body: owned(body) },
            (reason, _) => ServerEvent::Malformed {
                conn,
                parts: parts.len() + 1,
                bytes,
                reason: reason.unwrap_or(MalformedReason::Parts),
            },
        };
        self.inbox.push(event, bytes + EVENT_OVERHEAD);
    }

    fn add(&mut self, id: PeerIdentity, addr: Option<SocketAddr>, early: bool) -> ConnId {
        let conn = ConnId(NEXT_CONN.fetch_add(1, Ordering::Relaxed));
        self.peers.insert(id.clone(), Peer { conn, early });
        self.conns.insert(conn, id);
        self.outgoing.state.lock().conns.insert(conn, (0, 0));
        let peer = PeerMeta { addr, auth: Auth::None };
        self.inbox.push(ServerEvent::Up { conn, peer }, EVENT_OVERHEAD);
        conn
    }

    /// Forgets a connection and makes the library forget it, which closes it after what is queued.
    fn drop_conn(&mut self, conn: ConnId, reason: DownReason) {
        let Some(id) = self.conns.remove(&conn) else { return };
        self.peers.remove(&id);
        self.outgoing.state.lock().conns.remove(&conn);
        self.backend.peer_disconnected(&id);
        self.inbox.push(ServerEvent::Down { conn, reason }, EVENT_OVERHEAD);
    }

    async fn end(mut self, grace: Duration) {
        self.socket.unbind_all().await;
        let conns: Vec<ConnId> = self.conns.keys().copied().collect();
        for conn in conns {
            self.drop_conn(conn, DownReason::Shutdown);
        }
        self.inbox.close();
        // Dropping the peers made their writers finish what they have; the library has no way to tell
        // when they are done.
        tokio::time::sleep(grace).await;
    }
}

impl Drop for Router {
    fn drop(&mut self) {
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
