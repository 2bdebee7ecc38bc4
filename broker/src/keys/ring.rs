//! The keys that hold now.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ganger_transport::door::{Gate, Grant, KeyGate, Policy, PublicKey, SecretKey};
use tokio::sync::watch;

use super::file::{self, Table};
use super::rights::{LOCAL, Port, Principal, Proof};

/// The file of authorised keys was not taken. Mending it and reading it again helps.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// A line is wrong.
    #[error("{}:{line}: {reason}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The number of the line.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// The file cannot be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// The broker's own key, and those of everybody who may come in. Clones are the same.
#[derive(Clone, Debug)]
pub struct KeyRing {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    secret: SecretKey,
    path: PathBuf,
    table: watch::Sender<Arc<Table>>,
    ports: [(Port, watch::Sender<Arc<dyn Policy>>); 3],
}

impl KeyRing {
    /// Reads the file of authorised keys.
    ///
    /// # Errors
    /// When it cannot be read, or a line is wrong.
    pub fn load(secret: SecretKey, path: &Path) -> Result<Self, KeyFileError> {
        let table = Arc::new(read(path)?);
        let port = |port| (port, watch::Sender::new(policy(&table, port)));
        let ports = [port(Port::Clients), port(Port::Workers), port(Port::Knowledge)];
        let inner = Inner { secret, path: path.to_owned(), table: watch::Sender::new(table.clone()), ports };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Reads the file again. From then on it holds: keys that it does not name any more are cut off. A file
    /// that is wrong changes nothing.
    ///
    /// # Errors
    /// When it cannot be read, or a line is wrong.
    pub fn reload(&self) -> Result<usize, KeyFileError> {
        let table = Arc::new(read(&self.inner.path)?);
        let count = table.len();
        // The shell first, so that nobody who is let in anew is judged by the old rights.
        self.inner.table.send_replace(table.clone());
        for (port, sender) in &self.inner.ports {
            sender.send_replace(policy(&table, *port));
        }
        Ok(count)
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.inner.table.borrow().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The key by which peers know the broker.
    pub fn public(&self) -> PublicKey {
        self.inner.secret.public()
    }

    pub(crate) fn gate(&self, port: Port) -> Gate {
        let [clients, workers, knowledge] = &self.inner.ports;
        let (_, sender) = match port {
            Port::Clients => clients,
            Port::Workers => workers,
            Port::Knowledge => knowledge,
        };
        Gate::Keys(KeyGate::new(self.inner.secret.clone(), sender.subscribe()))
    }

    /// Whether the file names the token with this fingerprint.
    pub(crate) fn knows_token(&self, fingerprint: &[u8; 32]) -> bool {
        self.knows(&PublicKey::from_bytes(*fingerprint), Proof::Token)
    }

    /// Whether the file says what somebody on this machine may do who shows nothing.
    pub(crate) fn knows_local(&self) -> bool {
        self.knows(&LOCAL, Proof::Local)
    }

    fn knows(&self, key: &PublicKey, proof: Proof) -> bool {
        self.inner.table.borrow().get(key).is_some_and(|principal| principal.proof == proof)
    }

    /// The rights of whoever has proven a key like this.
    pub(super) fn principal(&self, key: &PublicKey, proof: Proof) -> Option<Principal> {
        self.inner.table.borrow().get(key).filter(|principal| principal.proof == proof).cloned()
    }

    pub(super) fn table(&self) -> watch::Receiver<Arc<Table>> {
        self.inner.table.subscribe()
    }
}

fn read(path: &Path) -> Result<Table, KeyFileError> {
    let text =
        std::fs::read_to_string(path).map_err(|source| KeyFileError::Io { path: path.to_owned(), source })?;
    file::read(&text).map_err(|(line, reason)| KeyFileError::Line { path: path.to_owned(), line, reason })
}

fn policy(table: &Arc<Table>, port: Port) -> Arc<dyn Policy> {
    Arc::new(AtPort { table: table.clone(), port })
}

/// The rights that matter at one listener.
#[derive(Debug)]
struct AtPort {
    table: Arc<Table>,
    port: Port,
}

impl Policy for AtPort {
    fn admit(&self, key: &PublicKey) -> Option<Grant> {
        // A fingerprint is as long as a key, and is none.
        self.table.get(key).filter(|principal| principal.proof == Proof::Curve)?.grant(self.port)
    }
}
