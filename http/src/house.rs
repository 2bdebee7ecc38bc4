//! Who may come in, and as whom.

use std::fmt;

use ganger_client::{Client, Result};
use sha2::{Digest, Sha256};

use crate::feed::{Feed, Sight};

/// Longest token that is looked at.
pub const TOKEN_BYTES_MAX: usize = 512;

/// By what a token is known to those who must not know it: its SHA-256.
pub type Fingerprint = [u8; 32];

/// As whom a request comes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum Visitor {
    /// Anybody: the broker has no keys, so nobody proves anything.
    Anybody,
    /// Somebody on this machine who has shown no token.
    Local,
    /// The holder of this token.
    Token(Fingerprint),
    /// The gateway itself, to ask how the broker is.
    Gateway,
}

impl fmt::Debug for Visitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Anybody => "anybody",
            Self::Local => "local",
            Self::Token(_) => "token",
            Self::Gateway => "gateway",
        })
    }
}

/// Where the gateway stands: what it asks its broker's process.
pub trait House: Send + Sync + 'static {
    /// Whether keys say who may do what. Without, everybody may do everything.
    fn has_keys(&self) -> bool;

    /// Whether the keys name this visitor, as they are now.
    fn knows(&self, visitor: &Visitor) -> bool;

    /// What a visitor may see of what happens, as the keys are now. None for a visitor that they do not name.
    fn sight(&self, visitor: &Visitor) -> Option<Sight>;

    /// Where the broker tells what happens.
    fn feed(&self) -> &Feed;

    /// Makes a client for a visitor, with the visitor's rights. Must not wait for the broker.
    ///
    /// # Errors
    /// When the system has no thread for it.
    fn connect(&self, visitor: &Visitor) -> Result<Client>;
}

/// By what this token is known.
pub fn fingerprint(token: &str) -> Fingerprint {
    Sha256::digest(token.as_bytes()).into()
}
