//! The side door for HTTP: the gateway is a client like any other, only that it need not go through a socket.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use ganger_client::{Client, ClientConfig};
use ganger_http::feed::{Feed, Sight};
use ganger_http::{Gateway, House, Tls, Visitor};
use ganger_transport::mem::{MemNet, MemServer};
use ganger_transport::{Auth, BindError, Endpoint, Limits, PeerMeta};

use crate::config::Config;
use crate::error::BrokerError;
use crate::keys::KeyRing;

/// The listener of the gateway, before the broker serves anybody.
pub(crate) struct Porch {
    listener: TcpListener,
    house: BrokersHouse,
    tls: Option<Tls>,
}

/// What the broker's loop has of the gateway.
pub(crate) struct Aside {
    /// Where its clients come in.
    pub(crate) server: MemServer,
    /// Where it is told what happens.
    pub(crate) feed: Feed,
}

impl Porch {
    /// Listens, and makes the side door. Whoever comes waits until the gateway is started.
    pub(crate) fn open(
        config: &Config,
        keys: Option<&KeyRing>,
    ) -> Result<Option<(Self, Aside)>, BrokerError> {
        let Some(address) = config.http else { return Ok(None) };
        let tls = certificate(config)?;
        let listener = TcpListener::bind(address)
            .map_err(|source| BrokerError::Bind { flag: "--http", source: not_bound(address, source) })?;
        let (net, endpoint) = (MemNet::new(), Endpoint::Mem { name: "clients".to_owned() });
        let server = net
            .bind(&endpoint, &Limits::default())
            .map_err(|source| BrokerError::Bind { flag: "--http", source })?;
        let feed = Feed::default();
        let house = BrokersHouse { net, endpoint, keys: keys.cloned(), feed: feed.clone() };
        Ok(Some((Self { listener, house, tls }, Aside { server, feed })))
    }

    /// The certificate, if there is one.
    pub(crate) fn tls(&self) -> Option<Tls> {
        self.tls.clone()
    }

    /// Starts the gateway.
    pub(crate) fn start(self) -> Result<Gateway, BrokerError> {
        Gateway::start(self.listener, Arc::new(self.house), self.tls)
            .map_err(|source| BrokerError::Io { what: "cannot start the HTTP side", source })
    }
}

/// The certificate that the settings name.
fn certificate(config: &Config) -> Result<Option<Tls>, BrokerError> {
    let (Some(cert), Some(key)) = (&config.http_tls_cert, &config.http_tls_key) else { return Ok(None) };
    let tls =
        Tls::load(cert, key).map_err(|error| BrokerError::Config(format!("--http-tls-cert: {error}")))?;
    tracing::info!(certificate = %cert.display(), "HTTP is served over TLS");
    Ok(Some(tls))
}

fn not_bound(address: SocketAddr, source: std::io::Error) -> BindError {
    let endpoint = Endpoint::Tcp { host: address.ip().to_string(), port: address.port() };
    match source.kind() {
        std::io::ErrorKind::AddrInUse => BindError::InUse { endpoint },
        _ => BindError::Io { endpoint, source },
    }
}

/// What the gateway may know of the broker that it belongs to.
struct BrokersHouse {
    net: MemNet,
    endpoint: Endpoint,
    keys: Option<KeyRing>,
    feed: Feed,
}

impl House for BrokersHouse {
    fn has_keys(&self) -> bool {
        self.keys.is_some()
    }

    fn knows(&self, visitor: &Visitor) -> bool {
        let Some(keys) = &self.keys else { return true };
        match visitor {
            Visitor::Anybody => false,
            Visitor::Local => keys.knows_local(),
            Visitor::Token(fingerprint) => keys.knows_token(fingerprint),
            Visitor::Gateway => true,
        }
    }

    fn sight(&self, visitor: &Visitor) -> Option<Sight> {
        match (&self.keys, visitor) {
            (None, _) => Some(Sight::ALL),
            (Some(keys), Visitor::Token(fingerprint)) => keys.sight_of_token(fingerprint),
            (Some(keys), Visitor::Local) => keys.sight_of_local(),
            (Some(_), Visitor::Anybody | Visitor::Gateway) => None,
        }
    }

    fn feed(&self) -> &Feed {
        &self.feed
    }

    fn connect(&self, visitor: &Visitor) -> ganger_client::Result<Client> {
        let (auth, name) = match visitor {
            Visitor::Anybody => (Auth::None, "http"),
            Visitor::Local => (Auth::Local, "http-local"),
            Visitor::Token(fingerprint) => (Auth::Token(*fingerprint), "http-token"),
            Visitor::Gateway => (Auth::Gateway, "http-gateway"),
        };
        let connector = self.net.connector().known_as(PeerMeta { addr: None, auth });
        let config = ClientConfig {
            name: name.to_owned(),
            // Whoever hands in over HTTP is told that there is no room, and keeps what there is none for.
            patient: false,
            resubmit_lost: false,
            ..ClientConfig::new(self.endpoint.clone())
        };
        Client::start(connector, config)
    }
}
