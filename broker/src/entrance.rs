//! What stands between the broker's sockets and the world.

use std::path::PathBuf;

use ganger_transport::door::{Door, DoorLimits, Gate, SecretKey};
use ganger_transport::zmq::{ZmqPublisher, ZmqServer};
use ganger_transport::{BindError, Endpoint, Limits};

use crate::config::Config;
use crate::error::BrokerError;
use crate::keys::{Guard, KeyRing, Owners, Port};

/// What stands before the sockets.
#[derive(Clone, Debug, Default)]
pub struct Entrance {
    /// Nothing: what is sent reaches the library as it is. For measuring.
    pub is_direct: bool,
    /// The file with the broker's own key.
    pub secret_key: Option<PathBuf>,
    /// The file with the keys that may connect.
    pub authorised_keys: Option<PathBuf>,
    /// How much the door lets in.
    pub limits: DoorLimits,
}

/// The same, put up.
pub(crate) struct Posts {
    door: Option<Door>,
    keys: Option<KeyRing>,
    owners: Owners,
}

impl Entrance {
    /// Reads the keys, if there are to be any.
    ///
    /// # Errors
    /// When a file cannot be read, others can read the secret one, or a line is wrong.
    pub(crate) fn keys(&self) -> Result<Option<KeyRing>, BrokerError> {
        let (Some(secret), Some(authorised)) = (&self.secret_key, &self.authorised_keys) else {
            return Ok(None);
        };
        let wrong =
            |flag: &str, error: &dyn std::error::Error| BrokerError::Config(format!("{flag}: {error}"));
        let secret = SecretKey::load(secret).map_err(|error| wrong("--secret-key", &error))?;
        let ring = KeyRing::load(secret, authorised).map_err(|error| wrong("--authorised-keys", &error))?;
        tracing::info!(public_key = %ring.public(), keys = ring.len(), "only the holders of keys may connect");
        Ok(Some(ring))
    }
}

impl Posts {
    pub(crate) fn put_up(config: &Config, keys: Option<KeyRing>) -> Result<Self, BrokerError> {
        let io = |source| BrokerError::Io { what: "cannot start the threads of the door", source };
        let limits = config.entrance.limits.clone();
        let door = (!config.entrance.is_direct).then(|| Door::start(limits)).transpose().map_err(io)?;
        let is_ipc = |endpoint: &Endpoint| matches!(endpoint, Endpoint::Ipc { .. });
        let owners = Owners { clients: is_ipc(&config.clients), workers: is_ipc(&config.workers) };
        Ok(Self { door, keys, owners })
    }

    fn gate(&self, port: Port) -> Gate {
        self.keys.as_ref().map_or(Gate::Open, |keys| keys.gate(port))
    }

    pub(crate) async fn server(&self, endpoint: &Endpoint, port: Port) -> Result<ZmqServer, BindError> {
        ZmqServer::bind_here(self.door.as_ref(), endpoint, Limits::default(), self.gate(port)).await
    }

    pub(crate) async fn publisher(&self, endpoint: &Endpoint) -> Result<ZmqPublisher, BindError> {
        let gate = self.gate(Port::Knowledge);
        ZmqPublisher::bind_here(self.door.as_ref(), endpoint, Limits::publisher(), gate).await
    }

    /// Who sees to it that nobody does more than they may.
    pub(crate) fn guard(&self) -> Guard {
        let mut guard = self.keys.as_ref().map(|keys| Guard::of(keys, self.owners)).unwrap_or_default();
        guard.door = self.door.clone();
        guard
    }
}
