//! What a server tells its owner.

use std::net::SocketAddr;

use bytes::Bytes;
use ganger_common::ConnId;

use crate::door::PublicKey;

/// Something that happened at a server.
#[derive(Debug, PartialEq, Eq)]
pub enum ServerEvent {
    /// Somebody connected. Comes before the first message of the connection.
    Up {
        /// The connection.
        conn: ConnId,
        /// What is known of the peer.
        peer: PeerMeta,
    },
    /// A message of one part, within the limits. Small ones own their bytes, so that keeping one does not
    /// keep the buffer that it was read into.
    Message {
        /// The connection.
        conn: ConnId,
        /// The message.
        body: Bytes,
    },
    /// A message that cannot be one of ours. It is not delivered.
    Malformed {
        /// The connection.
        conn: ConnId,
        /// How many parts it had.
        parts: usize,
        /// How many bytes.
        bytes: usize,
        /// What is wrong.
        reason: MalformedReason,
    },
    /// A connection is gone. Nothing comes from it after this.
    Down {
        /// The connection.
        conn: ConnId,
        /// Why.
        reason: DownReason,
    },
}

impl ServerEvent {
    /// The connection at which it happened.
    pub fn conn(&self) -> ConnId {
        match self {
            Self::Up { conn, .. }
            | Self::Message { conn, .. }
            | Self::Malformed { conn, .. }
            | Self::Down { conn, .. } => *conn,
        }
    }
}

/// Why a message cannot be one of ours.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MalformedReason {
    /// It does not consist of exactly one part.
    Parts,
    /// It is over the size limit.
    TooLarge,
}

/// Why a connection is gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DownReason {
    /// The peer closed it, or the network broke it.
    Closed,
    /// Our side closed it.
    Kicked,
    /// The peer did not read what it was sent.
    Overflow,
    /// Another connection claims to be the same one.
    Replaced,
    /// The server shuts down.
    Shutdown,
}

/// What is known of a peer.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PeerMeta {
    /// Where it connects from.
    pub addr: Option<SocketAddr>,
    /// Who it has proven to be.
    pub auth: Auth,
}

/// Who a peer has proven to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum Auth {
    /// Nobody: the connection carries no proof.
    #[default]
    None,
    /// The holder of this key.
    Key(PublicKey),
    /// The holder of a token with this fingerprint. Only who is in the server's own process can say so: a
    /// gateway that was shown the token.
    Token([u8; 32]),
    /// Somebody on this machine who showed nothing to such a gateway.
    Local,
    /// Such a gateway itself, which asks how the server is.
    Gateway,
}
