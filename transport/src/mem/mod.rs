//! Connections within one process, with faults on demand.
//!
//! Nothing here knows time or chance, and no thread or task runs: what is sent is there at once, in the order
//! in which it was sent, unless a fault was asked for. Queues are bounded like those of [`zmq`](crate::zmq):
//! a message waits at its sender until the receiver's inbox has room for it, and the sender's outbox is full
//! some time.
//!
//! ```
//! # use ganger_transport::{Connection, Connector, Endpoint, Limits, Server, ServerEvent, mem::MemNet};
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let net = MemNet::new();
//! let endpoint: Endpoint = "mem://broker".parse()?;
//! let mut server = net.bind(&endpoint, &Limits::default())?;
//! let connection = net.connector().connect(&endpoint, &Limits::default()).await?;
//! connection.try_send("hello".into())?;
//!
//! let mut events = Vec::new();
//! server.recv(&mut events, 10).await;
//! let conn = connection.conn();
//! assert_eq!(events[1], ServerEvent::Message { conn, body: "hello".into() });
//! net.cut(conn);
//! # Ok(()) }
//! ```

mod connection;
mod hub;
mod publish;
mod server;

pub use connection::{MemConnection, MemConnector};
pub use publish::{MemPublisher, MemSubscription};
pub use server::MemServer;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ganger_common::ConnId;
use parking_lot::Mutex;

use crate::endpoint::Endpoint;
use crate::error::{BindError, ConnectError};
use crate::event::DownReason;
use crate::limits::Limits;
use hub::{Hub, Rest};
use publish::Topics;

/// A network of named endpoints. Clones are the same network.
#[derive(Clone, Debug, Default)]
pub struct MemNet {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    servers: BTreeMap<String, Arc<Hub>>,
    publishers: BTreeMap<String, Arc<Topics>>,
    unreachable: BTreeSet<String>,
    conns: u64,
}

/// The direction of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// From the server to the peer.
    ToPeer,
    /// From the peer to the server.
    ToServer,
}

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
        let name = bindable(endpoint)?;
        let mut state = self.state.lock();
        if state.servers.contains_key(name) {
            return Err(BindError::InUse { endpoint: endpoint.clone() });
        }
        let hub = Arc::new(Hub::new(limits));
        state.servers.insert(name.to_owned(), hub.clone());
        Ok(MemServer::new(endpoint.clone(), hub, self.clone()))
    }

    /// Publishes under the name of a `mem` endpoint.
    ///
    /// # Errors
    /// When the name is taken, or the endpoint is of another kind.
    pub fn bind_publisher(&self, endpoint: &Endpoint) -> Result<MemPublisher, BindError> {
        let name = bindable(endpoint)?;
        let mut state = self.state.lock();
        if state.publishers.contains_key(name) {
            return Err(BindError::InUse { endpoint: endpoint.clone() });
        }
        let topics = Arc::new(Topics::default());
        state.publishers.insert(name.to_owned(), topics.clone());
        Ok(MemPublisher::new(endpoint.clone(), topics, self.clone()))
    }

    /// How workers and clients of this network connect.
    pub fn connector(&self) -> MemConnector {
        MemConnector::new(self.clone())
    }

    fn next_conn(&self) -> ConnId {
        let mut state = self.state.lock();
        state.conns += 1;
        ConnId(state.conns)
    }

    fn server(&self, to: &Endpoint) -> Result<Arc<Hub>, ConnectError> {
        let state = self.state.lock();
        state.reachable(to).and_then(|name| state.servers.get(name).cloned().ok_or_else(|| refused(to)))
    }

    fn publisher(&self, to: &Endpoint) -> Result<Arc<Topics>, ConnectError> {
        let state = self.state.lock();
        state.reachable(to).and_then(|name| state.publishers.get(name).cloned().ok_or_else(|| refused(to)))
    }
}

/// Faults.
impl MemNet {
    /// Breaks a connection. What waits on its way, either way, is lost, and so is what the peer has not
    /// taken from its inbox.
    pub fn cut(&self, conn: ConnId) {
        self.hubs().iter().for_each(|hub| hub.part(conn, DownReason::Closed, Rest::Lost));
    }

    /// Makes messages to the peer wait, as for a peer that does not read, or lets them go on.
    pub fn stall(&self, conn: ConnId, stalled: bool) {
        self.hold(conn, Way::ToPeer, stalled);
    }

    /// Makes messages of one way wait, or lets them go on. Both ways held: a network that is silent without
    /// being broken.
    pub fn hold(&self, conn: ConnId, way: Way, held: bool) {
        self.hubs().iter().for_each(|hub| hub.hold(conn, way, held));
    }

    /// Loses the next messages of one way, as a library may that accepted them.
    pub fn lose(&self, conn: ConnId, way: Way, count: u64) {
        self.hubs().iter().for_each(|hub| hub.lose(conn, way, count));
    }

    /// Loses the next publications of an endpoint for all of its subscribers.
    pub fn lose_publications(&self, of: &Endpoint, count: u64) {
        if let Ok(topics) = self.publisher(of) {
            topics.lose(count);
        }
    }

    /// Makes new connections to an endpoint fail, or lets them succeed again. Those that exist stay.
    pub fn refuse(&self, to: &Endpoint, refused: bool) {
        if let Endpoint::Mem { name } = to {
            let unreachable = &mut self.state.lock().unreachable;
            match refused {
                true => unreachable.insert(name.clone()),
                false => unreachable.remove(name),
            };
        }
    }

    fn hubs(&self) -> Vec<Arc<Hub>> {
        self.state.lock().servers.values().cloned().collect()
    }
}

impl State {
    fn reachable<'a>(&self, to: &'a Endpoint) -> Result<&'a str, ConnectError> {
        match to {
            Endpoint::Mem { name } if self.unreachable.contains(name) => Err(refused(to)),
            Endpoint::Mem { name } => Ok(name),
            Endpoint::Tcp { .. } | Endpoint::Ipc { .. } => {
                Err(ConnectError::Unsupported { endpoint: to.clone() })
            }
        }
    }
}

fn bindable(endpoint: &Endpoint) -> Result<&str, BindError> {
    match endpoint {
        Endpoint::Mem { name } => Ok(name),
        Endpoint::Tcp { .. } | Endpoint::Ipc { .. } => {
            Err(BindError::Unsupported { endpoint: endpoint.clone() })
        }
    }
}

fn refused(to: &Endpoint) -> ConnectError {
    ConnectError::Failed { endpoint: to.clone(), reason: "nobody listens there".to_owned() }
}
