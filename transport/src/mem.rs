//! Connections within one process, with faults on demand.
//!
//! Nothing here knows time or chance: what is sent is there at once, unless a fault was asked for. Most
//! tests of the broker, the worker and the client run on this.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use ganger_common::ConnId;
use parking_lot::Mutex;

use crate::endpoint::Endpoint;
use crate::error::{BindError, Closed, ConnectError, PublishError, SendError};
use crate::limits::Limits;
use crate::mailbox::Mailbox;
use crate::traits::{
    Connection, Connector, DownReason, MalformedReason, PeerMeta, Publisher, Server, ServerEvent,
    Subscription,
};

/// A network of named endpoints.
#[derive(Clone, Debug, Default)]
pub struct MemNet {
    names: Arc<Mutex<Names>>,
}

#[derive(Debug, Default)]
struct Names {
    servers: HashMap<String, Arc<Hub>>,
    publishers: HashMap<String, Arc<Topics>>,
}

/// Far from the numbers of real connections, so that a log tells which is which.
static NEXT_CONN: AtomicU64 = AtomicU64::new(1 << 48);

impl MemNet {
    /// An empty network.
    pub fn new() -> Self {
        Self::default()
    }

    /// Listens under the name of a `mem` endpoint.
    ///
    /// # Errors
    /// When the name is taken, or the endpoint is of another kind.
    pub fn bind(&self, endpoint: &Endpoint, limits: &Limits) -> Result<MemServer, BindError> {
        let Endpoint::Mem { name } = endpoint else {
            return Err(BindError::Unsupported { endpoint: endpoint.clone() });
        };
        let hub = Arc::new(Hub {
            inbox: Mailbox::new(limits.inbox_messages, limits.inbox_bytes),
            links: Mutex::default(),
            message_bytes: limits.message_bytes,
        });
        let mut names = self.names.lock();
        if names.servers.contains_key(name) {
            return Err(BindError::InUse { endpoint: endpoint.clone() });
        }
        names.servers.insert(name.clone(), hub.clone());
        Ok(MemServer { endpoint: endpoint.clone(), hub, net: self.clone() })
    }

    /// Publishes under the name of a `mem` endpoint.
    ///
    /// # Errors
    /// When the name is taken, or the endpoint is of another kind.
    pub fn bind_publisher(&self, endpoint: &Endpoint) -> Result<MemPublisher, BindError> {
        let Endpoint::Mem { name } = endpoint else {
            return Err(BindError::Unsupported { endpoint: endpoint.clone() });
        };
        let mut names = self.names.lock();
        if names.publishers.contains_key(name) {
            return Err(BindError::InUse { endpoint: endpoint.clone() });
        }
        let topics = Arc::new(Topics::default());
        names.publishers.insert(name.clone(), topics.clone());
        Ok(MemPublisher { endpoint: endpoint.clone(), topics, net: self.clone() })
    }

    /// How workers and clients of this network connect.
    pub fn connector(&self) -> MemConnector {
        MemConnector { net: self.clone() }
    }

    /// Breaks a connection; what is on its way is lost.
    pub fn cut(&self, conn: ConnId) {
        let hubs: Vec<Arc<Hub>> = self.names.lock().servers.values().cloned().collect();
        for hub in hubs {
            hub.drop_link(conn, DownReason::Closed, false);
        }
    }

    /// Stops, or resumes, what a server sends to a connection: a peer that does not read.
    pub fn stall(&self, conn: ConnId, stalled: bool) {
        for hub in self.names.lock().servers.values() {
            if let Some(link) = hub.links.lock().get(&conn) {
                link.stalled.store(stalled, Ordering::SeqCst);
                if !stalled {
                    link.release();
                }
            }
        }
    }
}

/// The middle of a server.
#[derive(Debug)]
struct Hub {
    inbox: Mailbox<ServerEvent>,
    links: Mutex<HashMap<ConnId, Arc<MemLink>>>,
    message_bytes: usize,
}

/// The middle of a connection.
#[derive(Debug)]
struct MemLink {
    to_peer: Mailbox<Bytes>,
    stalled: AtomicBool,
    /// What a stalled peer has not read.
    held: Mutex<Vec<Bytes>>,
    messages_max: usize,
}

impl MemLink {
    fn release(&self) {
        for body in self.held.lock().drain(..) {
            let bytes = body.len();
            self.to_peer.push(body, bytes);
        }
    }
}

impl Hub {
    fn drop_link(&self, conn: ConnId, reason: DownReason, deliver: bool) {
        let Some(link) = self.links.lock().remove(&conn) else { return };
        if !deliver {
            link.to_peer.take(usize::MAX, drop);
        }
        link.to_peer.close();
        self.inbox.push(ServerEvent::Down { conn, reason }, 0);
    }
}

/// A server in memory.
#[derive(Debug)]
pub struct MemServer {
    endpoint: Endpoint,
    hub: Arc<Hub>,
    net: MemNet,
}

impl Server for MemServer {
    async fn recv(&mut self, into: &mut Vec<ServerEvent>, max: usize) -> usize {
        self.hub.inbox.recv(max, |event| into.push(event)).await
    }

    fn try_send(&self, to: ConnId, body: Bytes) -> Result<(), SendError> {
        let Some(link) = self.hub.links.lock().get(&to).cloned() else { return Err(SendError::Gone(body)) };
        if link.stalled.load(Ordering::SeqCst) {
            let mut held = link.held.lock();
            if held.len() >= link.messages_max {
                return Err(SendError::Full(body));
            }
            held.push(body);
            return Ok(());
        }
        if !link.to_peer.has_room() {
            return Err(SendError::Full(body));
        }
        let bytes = body.len();
        link.to_peer.push(body, bytes);
        Ok(())
    }

    fn kick(&self, conn: ConnId, reason: DownReason) {
        self.hub.drop_link(conn, reason, true);
    }

    fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    async fn shutdown(self, _grace: Duration) {}
}

impl Drop for MemServer {
    fn drop(&mut self) {
        if let Endpoint::Mem { name } = &self.endpoint {
            self.net.names.lock().servers.remove(name);
        }
        let conns: Vec<ConnId> = self.hub.links.lock().keys().copied().collect();
        for conn in conns {
            self.hub.drop_link(conn, DownReason::Shutdown, true);
        }
        self.hub.inbox.close();
    }
}

/// Subscribers by their topics.
#[derive(Debug, Default)]
struct Topics {
    subscribers: Mutex<Vec<Subscriber>>,
}

type Subscriber = (Vec<String>, Mailbox<[Bytes; 3]>);

/// A publisher in memory.
#[derive(Debug)]
pub struct MemPublisher {
    endpoint: Endpoint,
    topics: Arc<Topics>,
    net: MemNet,
}

impl Publisher for MemPublisher {
    fn publish(&self, parts: [Bytes; 3]) -> Result<(), PublishError> {
        let mut subscribers = self.topics.subscribers.lock();
        subscribers.retain(|(_, inbox)| !inbox.is_closed());
        for (topics, inbox) in subscribers.iter() {
            let wants = topics.iter().any(|topic| parts[0].starts_with(topic.as_bytes()));
            if wants && inbox.has_room() {
                inbox.push(parts.clone(), parts.iter().map(Bytes::len).sum());
            }
        }
        Ok(())
    }

    fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    async fn shutdown(self, _grace: Duration) {}
}

impl Drop for MemPublisher {
    fn drop(&mut self) {
        if let Endpoint::Mem { name } = &self.endpoint {
            self.net.names.lock().publishers.remove(name);
        }
        self.topics.subscribers.lock().iter().for_each(|(_, inbox)| inbox.close());
    }
}

/// Makes connections in memory.
#[derive(Clone, Debug)]
pub struct MemConnector {
    net: MemNet,
}

impl Connector for MemConnector {
    type Connection = MemConnection;
    type Subscription = MemSubscription;

    async fn connect(&self, to: &Endpoint, limits: &Limits) -> Result<MemConnection, ConnectError> {
        let Endpoint::Mem { name } = to else {
            return Err(ConnectError::Unsupported { endpoint: to.clone() });
        };
        let Some(hub) = self.net.names.lock().servers.get(name).cloned() else {
            return Err(nobody(to));
        };
        let conn = ConnId(NEXT_CONN.fetch_add(1, Ordering::Relaxed));
        let link = Arc::new(MemLink {
            to_peer: Mailbox::new(limits.outbox_messages, limits.outbox_bytes),
            stalled: AtomicBool::new(false),
            held: Mutex::default(),
            messages_max: limits.outbox_messages,
        });
        hub.links.lock().insert(conn, link.clone());
        hub.inbox.push(ServerEvent::Up { conn, peer: PeerMeta::default() }, 0);
        Ok(MemConnection { conn, hub, link })
    }

    async fn subscribe(
        &self,
        to: &Endpoint,
        topics: &[String],
        limits: &Limits,
    ) -> Result<MemSubscription, ConnectError> {
        let Endpoint::Mem { name } = to else {
            return Err(ConnectError::Unsupported { endpoint: to.clone() });
        };
        let Some(publisher) = self.net.names.lock().publishers.get(name).cloned() else {
            return Err(nobody(to));
        };
        let inbox = Mailbox::new(limits.inbox_messages, limits.inbox_bytes);
        publisher.subscribers.lock().push((topics.to_vec(), inbox.clone()));
        Ok(MemSubscription { inbox })
    }
}

fn nobody(to: &Endpoint) -> ConnectError {
    ConnectError::Failed { endpoint: to.clone(), reason: "nobody listens there".to_owned() }
}

/// A connection in memory.
#[derive(Debug)]
pub struct MemConnection {
    conn: ConnId,
    hub: Arc<Hub>,
    link: Arc<MemLink>,
}

impl MemConnection {
    /// Its number at the server, for asking for faults.
    pub fn conn(&self) -> ConnId {
        self.conn
    }
}

impl Connection for MemConnection {
    async fn recv(&mut self) -> Result<Bytes, Closed> {
        let mut received = None;
        self.link.to_peer.recv(1, |body| received = Some(body)).await;
        received.ok_or_else(|| Closed::because("the peer closed it"))
    }

    fn try_recv(&mut self) -> Result<Option<Bytes>, Closed> {
        let mut received = None;
        self.link.to_peer.take(1, |body| received = Some(body));
        match received {
            None if self.link.to_peer.is_closed() => Err(Closed::because("the peer closed it")),
            received => Ok(received),
        }
    }

    fn try_send(&self, body: Bytes) -> Result<(), SendError> {
        if self.link.to_peer.is_closed() {
            return Err(SendError::Gone(body));
        }
        if !self.hub.inbox.has_room() {
            return Err(SendError::Full(body));
        }
        let (conn, bytes) = (self.conn, body.len());
        let event = match bytes <= self.hub.message_bytes {
            true => ServerEvent::Message { conn, body },
            false => ServerEvent::Malformed { conn, parts: 1, bytes, reason: MalformedReason::TooLarge },
        };
        self.hub.inbox.push(event, bytes);
        Ok(())
    }

    async fn close(self, _grace: Duration) {}
}

impl Drop for MemConnection {
    fn drop(&mut self) {
        self.hub.drop_link(self.conn, DownReason::Closed, false);
    }
}

/// A subscription in memory.
#[derive(Debug)]
pub struct MemSubscription {
    inbox: Mailbox<[Bytes; 3]>,
}

impl Subscription for MemSubscription {
    async fn recv(&mut self) -> Result<[Bytes; 3], Closed> {
        let mut received = None;
        self.inbox.recv(1, |parts| received = Some(parts)).await;
        received.ok_or_else(|| Closed::because("the publisher is gone"))
    }

    async fn close(self) {}
}

impl Drop for MemSubscription {
    fn drop(&mut self) {
        self.inbox.close();
    }
}
