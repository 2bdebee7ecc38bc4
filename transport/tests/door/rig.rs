//! A server behind a door, and peers that say what no library would.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ganger_common::ConnId;
use ganger_transport::door::{Door, DoorLimits, Gate, Grant, KeyGate, Policy, PublicKey, SecretKey};
use ganger_transport::zmq::{ZmqConnection, ZmqConnector, ZmqPublisher, ZmqServer};
use ganger_transport::{Connection, Connector, Endpoint, Limits, PeerMeta, Publisher, Server, ServerEvent};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

/// No test waits for time; this only ends one that waits for what never comes.
const DEADLINE: Duration = Duration::from_secs(60);

pub(crate) async fn in_time<T>(test: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, test).await.expect("the test takes too long")
}

pub(crate) fn anywhere() -> Endpoint {
    "tcp://127.0.0.1:0".parse().unwrap()
}

/// Limits that a test can reach soon.
pub(crate) fn tight() -> DoorLimits {
    DoorLimits { handshake: Duration::from_millis(500), ..DoorLimits::default() }
}

/// A server behind a door. What comes in is sent back.
pub(crate) struct Rig {
    pub(crate) door: Door,
    pub(crate) server: ZmqServer,
    seen: Vec<ServerEvent>,
}

impl Rig {
    pub(crate) async fn start(limits: DoorLimits) -> Self {
        Self::with(limits, Gate::Open).await
    }

    pub(crate) async fn with(limits: DoorLimits, gate: Gate) -> Self {
        let door = Door::start(limits).unwrap();
        let server = ZmqServer::bind_here(Some(&door), &anywhere(), Limits::default(), gate).await.unwrap();
        Self { door, server, seen: Vec::new() }
    }

    pub(crate) fn endpoint(&self) -> Endpoint {
        self.server.endpoint().clone()
    }

    pub(crate) async fn connect_raw(&self) -> TcpStream {
        connect_raw(self.server.endpoint()).await
    }

    pub(crate) async fn event(&mut self) -> ServerEvent {
        if self.seen.is_empty() {
            in_time(self.server.recv(&mut self.seen, 64)).await;
            self.seen.reverse();
        }
        self.seen.pop().expect("the server ended")
    }

    pub(crate) async fn up(&mut self) -> (ConnId, PeerMeta) {
        loop {
            if let ServerEvent::Up { conn, peer } = self.event().await {
                return (conn, peer);
            }
        }
    }

    pub(crate) async fn message(&mut self) -> (ConnId, Bytes) {
        loop {
            if let ServerEvent::Message { conn, body } = self.event().await {
                return (conn, body);
            }
        }
    }

    pub(crate) async fn down(&mut self, of: ConnId) {
        loop {
            if matches!(self.event().await, ServerEvent::Down { conn, .. } if conn == of) {
                return;
            }
        }
    }

    /// Whoever is honest gets in, is heard and hears the answer.
    pub(crate) async fn serves(&mut self, connector: &ZmqConnector) -> ZmqConnection {
        let (to, limits) = (self.endpoint(), Limits::default());
        let mut connection =
            in_time(connector.connect(&to, &limits)).await.expect("an honest peer is let in");
        connection.try_send("honest".into()).unwrap();
        let conn = loop {
            let (conn, body) = self.message().await;
            if body == "honest" {
                break conn;
            }
        };
        self.server.try_send(conn, "heard".into()).unwrap();
        assert_eq!(in_time(connection.recv()).await.unwrap(), "heard");
        connection
    }

    pub(crate) fn count(&self, name: &str) -> u64 {
        count(&self.door, name)
    }

    pub(crate) async fn counts(&self, name: &str, at_least: u64) {
        counts(&self.door, name, at_least).await;
    }
}

pub(crate) fn count(door: &Door, name: &str) -> u64 {
    let found = door.counters().into_iter().find(|(of, _)| *of == name);
    found.unwrap_or_else(|| panic!("there is no counter {name}")).1
}

pub(crate) async fn counts(door: &Door, name: &str, at_least: u64) {
    in_time(async {
        while count(door, name) < at_least {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

pub(crate) async fn connect_raw(to: &Endpoint) -> TcpStream {
    in_time(TcpStream::connect((to.host().unwrap(), to.port().unwrap()))).await.unwrap()
}

/// The 64 bytes that a peer of version 3.0 begins with.
pub(crate) fn greeting(mechanism: &[u8]) -> [u8; 64] {
    let mut bytes = [0; 64];
    (bytes[0], bytes[9], bytes[10]) = (0xff, 0x7f, 3);
    bytes[12..12 + mechanism.len()].copy_from_slice(mechanism);
    bytes
}

pub(crate) fn frame(flags: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    match u8::try_from(body.len()) {
        Ok(length) => bytes.extend([flags, length]),
        Err(_) => {
            bytes.push(flags | 2);
            bytes.extend((body.len() as u64).to_be_bytes());
        }
    }
    bytes.extend_from_slice(body);
    bytes
}

/// The head of a frame that announces so much.
pub(crate) fn announced(flags: u8, bytes: u64) -> Vec<u8> {
    [vec![flags | 2], bytes.to_be_bytes().to_vec()].concat()
}

pub(crate) fn ready(properties: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = b"\x05READY".to_vec();
    for (name, value) in properties {
        body.push(name.len() as u8);
        body.extend_from_slice(name.as_bytes());
        body.extend((value.len() as u32).to_be_bytes());
        body.extend_from_slice(value);
    }
    frame(4, &body)
}

/// A peer that has shaken hands, and from here on says whatever it likes.
pub(crate) async fn shaken(to: &Endpoint, socket: &[u8], identity: &[u8]) -> TcpStream {
    let mut peer = connect_raw(to).await;
    let hello = [greeting(b"NULL").to_vec(), ready(&[("Socket-Type", socket), ("Identity", identity)])];
    peer.write_all(&hello.concat()).await.unwrap();
    let mut theirs = [0; 66];
    in_time(peer.read_exact(&mut theirs)).await.unwrap();
    let mut rest = vec![0; theirs[65].into()];
    in_time(peer.read_exact(&mut rest)).await.unwrap();
    peer
}

/// Reads until the other side closes, and returns what came.
pub(crate) async fn closed(mut peer: TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    // The end of the stream, or its reset.
    let _ = in_time(peer.read_to_end(&mut bytes)).await;
    bytes
}

/// Says something as far as anybody listens, and waits for the end.
pub(crate) async fn says_and_is_closed(mut peer: TcpStream, bytes: &[u8]) -> Vec<u8> {
    let (mut reader, mut writer) = peer.split();
    let mut heard = Vec::new();
    let talk = async {
        let _ = writer.write_all(bytes).await;
        std::future::pending::<()>().await;
    };
    in_time(async {
        tokio::select! {
            () = talk => {}
            _ = reader.read_to_end(&mut heard) => {}
        }
    })
    .await;
    heard
}

/// A policy that tests can change.
#[derive(Clone, Debug, Default)]
pub(crate) struct Allowed(pub(crate) Arc<Mutex<Vec<(PublicKey, Grant)>>>);

impl Policy for Allowed {
    fn admit(&self, key: &PublicKey) -> Option<Grant> {
        self.0.lock().iter().find(|(of, _)| of == key).map(|(_, grant)| grant.clone())
    }
}

/// A gate with the keys that it lets in.
pub(crate) struct Keys {
    pub(crate) broker: SecretKey,
    pub(crate) policy: watch::Sender<Arc<dyn Policy>>,
}

impl Keys {
    pub(crate) fn new(allowed: &[(PublicKey, Grant)]) -> Self {
        let policy: Arc<dyn Policy> = Arc::new(Allowed(Arc::new(Mutex::new(allowed.to_vec()))));
        Self { broker: SecretKey::generate(), policy: watch::Sender::new(policy) }
    }

    pub(crate) fn gate(&self) -> Gate {
        Gate::Keys(KeyGate::new(self.broker.clone(), self.policy.subscribe()))
    }

    pub(crate) fn connector(&self, secret: &SecretKey) -> ZmqConnector {
        let broker = self.broker.public();
        ZmqConnector::with_keys(ganger_transport::door::ClientKeys { secret: secret.clone(), broker })
    }

    pub(crate) fn allow(&self, allowed: &[(PublicKey, Grant)]) {
        let policy: Arc<dyn Policy> = Arc::new(Allowed(Arc::new(Mutex::new(allowed.to_vec()))));
        self.policy.send_replace(policy);
    }
}

/// A publisher behind a door.
pub(crate) async fn publisher(limits: DoorLimits, gate: Gate) -> (Door, ZmqPublisher) {
    let door = Door::start(limits).unwrap();
    let publisher =
        ZmqPublisher::bind_here(Some(&door), &anywhere(), Limits::publisher(), gate).await.unwrap();
    (door, publisher)
}

pub(crate) fn publish(publisher: &ZmqPublisher, body: &Bytes) {
    publisher.publish(["news".into(), Bytes::new(), body.clone()]).expect("nobody holds up the publisher");
}
