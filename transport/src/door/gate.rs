//! What a listener asks of those who come.

use std::fmt;
use std::sync::Arc;

use tokio::sync::watch;

use super::keys::{PublicKey, SecretKey};
use super::topics::Prefixes;

/// Who may pass a listener.
#[derive(Clone, Debug, Default)]
pub enum Gate {
    /// Everybody; nothing is encrypted.
    #[default]
    Open,
    /// Those whose key is allowed; everything is encrypted (CURVE).
    Keys(KeyGate),
}

/// A gate for the holders of keys.
#[derive(Clone, Debug)]
pub struct KeyGate {
    pub(super) secret: SecretKey,
    pub(super) policy: watch::Receiver<Arc<dyn Policy>>,
}

impl KeyGate {
    /// A gate of this server. The policy is asked for every connection that proves its key, and for every
    /// live one again when it changes: who is no longer allowed is cut at once.
    pub fn new(secret: SecretKey, policy: watch::Receiver<Arc<dyn Policy>>) -> Self {
        Self { secret, policy }
    }
}

/// Says who may pass.
pub trait Policy: fmt::Debug + Send + Sync {
    /// What the holder of this key is granted, if anything.
    fn admit(&self, key: &PublicKey) -> Option<Grant>;
}

/// What the holder of a key is granted at a listener.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Grant {
    /// The most connections of the key at a time, over all listeners of the door.
    pub connections: Option<usize>,
    /// The beginnings of topics that may be subscribed to; all, when there are none.
    pub topics: Option<Prefixes>,
}
