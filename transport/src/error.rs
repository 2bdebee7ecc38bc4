//! What can go wrong, by who is told:
//!
//! - [`BindError`], [`ConnectError`]: whoever sets something up.
//! - [`SendError`], [`PublishError`]: whoever sends; the message comes back.
//! - [`Closed`]: whoever receives; the end of that connection.

use std::io;
use std::time::Duration;

use bytes::Bytes;

use crate::endpoint::Endpoint;

/// A server could not listen.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Somebody listens there already. Another port helps, or ending the other process.
    #[error("{endpoint} is in use")]
    InUse {
        /// Where.
        endpoint: Endpoint,
    },
    /// The system refused.
    #[error("cannot listen on {endpoint}")]
    Io {
        /// Where.
        endpoint: Endpoint,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// This backend does not serve that kind of endpoint.
    #[error("{endpoint} is not an endpoint of this transport")]
    Unsupported {
        /// Where.
        endpoint: Endpoint,
    },
}

/// A connection did not come about. All but `Unsupported` may succeed when tried again.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Nobody answered in time.
    #[error("no answer from {endpoint} within {timeout:?}")]
    Timeout {
        /// Where.
        endpoint: Endpoint,
        /// For how long.
        timeout: Duration,
    },
    /// The other side, or the system, refused; nobody may be listening there.
    #[error("cannot connect to {endpoint}: {reason}")]
    Failed {
        /// Where.
        endpoint: Endpoint,
        /// Why.
        reason: String,
    },
    /// This backend does not reach that kind of endpoint.
    #[error("{endpoint} is not an endpoint of this transport")]
    Unsupported {
        /// Where.
        endpoint: Endpoint,
    },
}

/// A message was not accepted. It comes back.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The connection is gone.
    #[error("the connection is gone")]
    Gone(Bytes),
    /// The peer does not take what it was sent already.
    #[error("the queue of the connection is full")]
    Full(Bytes),
}

/// A publication was not accepted.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// More is being published than the socket takes. Subscribers will see the gap.
    #[error("the queue of the publisher is full")]
    Full,
    /// The publisher has shut down.
    #[error("the publisher has shut down")]
    Gone,
}

/// The end of a connection. A new one may be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the connection ended: {reason}")]
pub struct Closed {
    /// Why, for logs.
    pub reason: String,
}

impl Closed {
    pub(crate) fn because(reason: impl Into<String>) -> Self {
        Self { reason: reason.into() }
    }
}
