//! Backends, and what the tests do with their servers.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use ganger_common::ConnId;
use ganger_transport::door::{
    ClientKeys, Door, DoorLimits, Gate, Grant, KeyGate, Policy, PublicKey, SecretKey,
};
use ganger_transport::mem::{MemConnector, MemNet, MemPublisher, MemServer};
use ganger_transport::zmq::{ZmqConnector, ZmqPublisher, ZmqServer};
use ganger_transport::{
    BindError, Connection, Connector, DownReason, Endpoint, Limits, Publisher, SendError, Server, ServerEvent,
};
use tokio::sync::watch;

/// One backend.
pub(crate) trait Net: Send + Sync + 'static {
    type Server: Server;
    type Publisher: Publisher;
    type Connector: Connector;

    fn new() -> Self;

    /// Somewhere to listen where nobody does.
    fn free(&self) -> Endpoint;

    fn bind(
        &self,
        endpoint: &Endpoint,
        limits: Limits,
    ) -> impl Future<Output = Result<Self::Server, BindError>> + Send;

    fn publish(&self, endpoint: &Endpoint) -> impl Future<Output = Self::Publisher> + Send;

    fn connector(&self) -> Self::Connector;
}

pub(crate) struct Tcp(ZmqConnector);

impl Net for Tcp {
    type Server = ZmqServer;
    type Publisher = ZmqPublisher;
    type Connector = ZmqConnector;

    fn new() -> Self {
        Self(ZmqConnector::default())
    }

    fn free(&self) -> Endpoint {
        "tcp://127.0.0.1:0".parse().unwrap()
    }

    async fn bind(&self, endpoint: &Endpoint, limits: Limits) -> Result<ZmqServer, BindError> {
        ZmqServer::bind(endpoint, limits).await
    }

    async fn publish(&self, endpoint: &Endpoint) -> ZmqPublisher {
        ZmqPublisher::bind(endpoint, Limits::publisher()).await.unwrap()
    }

    fn connector(&self) -> ZmqConnector {
        self.0.clone()
    }
}

/// A door that lets tests connect as fast as they like.
fn door() -> Door {
    let limits = DoorLimits { rate: 1_000_000, burst: 1_000_000, ..DoorLimits::default() };
    Door::start(limits).unwrap()
}

/// TCP, with the door before the library.
pub(crate) struct Doored(ZmqConnector, Door);

impl Net for Doored {
    type Server = ZmqServer;
    type Publisher = ZmqPublisher;
    type Connector = ZmqConnector;

    fn new() -> Self {
        Self(ZmqConnector::default(), door())
    }

    fn free(&self) -> Endpoint {
        "tcp://127.0.0.1:0".parse().unwrap()
    }

    async fn bind(&self, endpoint: &Endpoint, limits: Limits) -> Result<ZmqServer, BindError> {
        ZmqServer::bind_behind(&self.1, endpoint, limits, Gate::Open).await
    }

    async fn publish(&self, endpoint: &Endpoint) -> ZmqPublisher {
        ZmqPublisher::bind_behind(&self.1, endpoint, Limits::publisher(), Gate::Open).await.unwrap()
    }

    fn connector(&self) -> ZmqConnector {
        self.0.clone()
    }
}

/// The same on the thread of the caller.
pub(crate) struct Here(ZmqConnector, Door);

impl Net for Here {
    type Server = ZmqServer;
    type Publisher = ZmqPublisher;
    type Connector = ZmqConnector;

    fn new() -> Self {
        Self(ZmqConnector::default(), door())
    }

    fn free(&self) -> Endpoint {
        "tcp://127.0.0.1:0".parse().unwrap()
    }

    async fn bind(&self, endpoint: &Endpoint, limits: Limits) -> Result<ZmqServer, BindError> {
        ZmqServer::bind_here(Some(&self.1), endpoint, limits, Gate::Open).await
    }

    async fn publish(&self, endpoint: &Endpoint) -> ZmqPublisher {
        let door = Some(&self.1);
        ZmqPublisher::bind_here(door, endpoint, Limits::publisher(), Gate::Open).await.unwrap()
    }

    fn connector(&self) -> ZmqConnector {
        self.0.clone()
    }
}

/// Through the door, encrypted.
pub(crate) struct Curved {
    connector: ZmqConnector,
    door: Door,
    gate: Gate,
}

#[derive(Debug)]
struct Everybody;

impl Policy for Everybody {
    fn admit(&self, _: &PublicKey) -> Option<Grant> {
        Some(Grant::default())
    }
}

impl Net for Curved {
    type Server = ZmqServer;
    type Publisher = ZmqPublisher;
    type Connector = ZmqConnector;

    fn new() -> Self {
        let (broker, secret) = (SecretKey::generate(), SecretKey::generate());
        let connector = ZmqConnector::with_keys(ClientKeys { secret, broker: broker.public() });
        let policy: Arc<dyn Policy> = Arc::new(Everybody);
        let gate = Gate::Keys(KeyGate::new(broker, watch::channel(policy).1));
        Self { connector, door: door(), gate }
    }

    fn free(&self) -> Endpoint {
        "tcp://127.0.0.1:0".parse().unwrap()
    }

    async fn bind(&self, endpoint: &Endpoint, limits: Limits) -> Result<ZmqServer, BindError> {
        ZmqServer::bind_behind(&self.door, endpoint, limits, self.gate.clone()).await
    }

    async fn publish(&self, endpoint: &Endpoint) -> ZmqPublisher {
        let limits = Limits::publisher();
        ZmqPublisher::bind_behind(&self.door, endpoint, limits, self.gate.clone()).await.unwrap()
    }

    fn connector(&self) -> ZmqConnector {
        self.connector.clone()
    }
}

pub(crate) struct Ipc {
    connector: ZmqConnector,
    directory: tempfile::TempDir,
    count: AtomicUsize,
}

impl Net for Ipc {
    type Server = ZmqServer;
    type Publisher = ZmqPublisher;
    type Connector = ZmqConnector;

    fn new() -> Self {
        let (connector, directory) = (ZmqConnector::default(), tempfile::tempdir().unwrap());
        Self { connector, directory, count: AtomicUsize::new(0) }
    }

    fn free(&self) -> Endpoint {
        let name = self.count.fetch_add(1, Ordering::Relaxed).to_string();
        Endpoint::Ipc { path: self.directory.path().join(name) }
    }

    async fn bind(&self, endpoint: &Endpoint, limits: Limits) -> Result<ZmqServer, BindError> {
        ZmqServer::bind(endpoint, limits).await
    }

    async fn publish(&self, endpoint: &Endpoint) -> ZmqPublisher {
        ZmqPublisher::bind(endpoint, Limits::publisher()).await.unwrap()
    }

    fn connector(&self) -> ZmqConnector {
        self.connector.clone()
    }
}

pub(crate) struct Mem(MemNet, AtomicUsize);

impl Net for Mem {
    type Server = MemServer;
    type Publisher = MemPublisher;
    type Connector = MemConnector;

    fn new() -> Self {
        Self(MemNet::new(), AtomicUsize::new(0))
    }

    fn free(&self) -> Endpoint {
        Endpoint::Mem { name: self.1.fetch_add(1, Ordering::Relaxed).to_string() }
    }

    async fn bind(&self, endpoint: &Endpoint, limits: Limits) -> Result<MemServer, BindError> {
        self.0.bind(endpoint, &limits)
    }

    async fn publish(&self, endpoint: &Endpoint) -> MemPublisher {
        self.0.bind_publisher(endpoint).unwrap()
    }

    fn connector(&self) -> MemConnector {
        self.0.connector()
    }
}

/// A server whose events are taken one at a time.
pub(crate) struct Host<S> {
    pub(crate) server: S,
    events: VecDeque<ServerEvent>,
}

impl<S: Server> Host<S> {
    pub(crate) async fn start<N: Net<Server = S>>(net: &N) -> Self {
        Self::limited(net, Limits::default()).await
    }

    pub(crate) async fn limited<N: Net<Server = S>>(net: &N, limits: Limits) -> Self {
        let server = net.bind(&net.free(), limits).await.unwrap();
        Self { server, events: VecDeque::new() }
    }

    pub(crate) async fn event(&mut self) -> ServerEvent {
        if self.events.is_empty() {
            let mut events = Vec::new();
            let count = self.server.recv(&mut events, 16).await;
            assert!(count > 0, "the server has ended");
            assert_eq!(count, events.len());
            self.events.extend(events);
        }
        self.events.pop_front().unwrap()
    }

    /// The next connection.
    pub(crate) async fn up(&mut self) -> ConnId {
        match self.event().await {
            ServerEvent::Up { conn, .. } => conn,
            other => panic!("{other:?} instead of a connection"),
        }
    }

    /// The next message; connections that come and go are passed over.
    pub(crate) async fn message(&mut self) -> (ConnId, Bytes) {
        loop {
            match self.event().await {
                ServerEvent::Message { conn, body } => return (conn, body),
                ServerEvent::Malformed { .. } => panic!("a malformed message"),
                ServerEvent::Up { .. } | ServerEvent::Down { .. } => {}
            }
        }
    }

    /// The end of a connection; everything else is passed over.
    pub(crate) async fn down(&mut self, of: ConnId) -> DownReason {
        loop {
            if let ServerEvent::Down { conn, reason } = self.event().await
                && conn == of
            {
                return reason;
            }
        }
    }

    /// Sends every message back to where it came from, for ever.
    pub(crate) async fn echo(&mut self) {
        loop {
            let (conn, body) = self.message().await;
            // A peer that left does not wait for its echo.
            let _ = self.server.try_send(conn, body);
        }
    }

    pub(crate) async fn connect<N: Net<Server = S>>(
        &self,
        net: &N,
    ) -> <N::Connector as Connector>::Connection {
        self.connect_limited(net, &Limits::default()).await
    }

    pub(crate) async fn connect_limited<N: Net<Server = S>>(
        &self,
        net: &N,
        limits: &Limits,
    ) -> <N::Connector as Connector>::Connection {
        net.connector().connect(self.server.endpoint(), limits).await.unwrap()
    }
}

/// Sends, and as long as the queue is full lets others work.
pub(crate) async fn send(connection: &impl Connection, mut body: Bytes) {
    loop {
        match connection.try_send(body) {
            Ok(()) => return,
            Err(SendError::Full(back)) => body = back,
            Err(SendError::Gone(_)) => panic!("the connection is gone"),
        }
        tokio::task::yield_now().await;
    }
}

/// A message that is recognised by its number and of a certain length.
pub(crate) fn numbered(number: usize, bytes: usize) -> Bytes {
    let mut body = vec![number as u8; bytes.max(8)];
    body[..8].copy_from_slice(&(number as u64).to_be_bytes());
    body.into()
}

pub(crate) fn number(body: &[u8]) -> usize {
    u64::from_be_bytes(body[..8].try_into().unwrap()) as usize
}

/// Runs something while something else goes on that never ends.
pub(crate) async fn beside<T>(endless: impl Future<Output = ()>, wanted: impl Future<Output = T>) -> T {
    tokio::select! {
        () = endless => unreachable!(),
        wanted = wanted => wanted,
    }
}
