//! What every backend offers.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ganger_common::ConnId;

use crate::endpoint::Endpoint;
use crate::error::{Closed, ConnectError, PublishError, SendError};
use crate::event::{DownReason, ServerEvent};
use crate::limits::Limits;
#[cfg(doc)]
use crate::limits::RECV_BYTES_MAX;
use crate::zmq::IoThread;

/// The listening side of conversations.
pub trait Server: Send + 'static {
    /// Waits for at least one event, moves up to `max` of them into `into` and returns how many. Zero:
    /// the server has shut down.
    ///
    /// Connections take turns, by bytes, so that one that floods does not stand before the others, and no
    /// more than [`RECV_BYTES_MAX`] are moved at a time: with what is left at the server, somebody else's
    /// turn may still come first.
    ///
    /// # Cancel safety
    /// No event is lost when the future is dropped.
    fn recv(&mut self, into: &mut Vec<ServerEvent>, max: usize) -> impl Future<Output = usize> + Send;

    /// Sends one message. Never waits.
    ///
    /// # Errors
    /// The message comes back when the connection is gone or its queue is full.
    fn try_send(&self, to: ConnId, body: Bytes) -> Result<(), SendError>;

    /// Closes a connection, after what was sent on it before. To its owner it is gone at once; a peer that
    /// does not read what was sent keeps the bytes until its system, or ours, gives the connection up.
    fn kick(&self, conn: ConnId, reason: DownReason);

    /// Where it listens, with the port that the system chose.
    fn endpoint(&self) -> &Endpoint;

    /// Stops listening, lets what was sent leave within `grace`, and ends.
    fn shutdown(self, grace: Duration) -> impl Future<Output = ()> + Send;
}

/// The sending side of publications.
pub trait Publisher: Send + 'static {
    /// Sends topic, header and body to whoever subscribed to a prefix of the topic. Best effort; never
    /// waits.
    ///
    /// # Errors
    /// When nothing more can be taken at the moment, or ever.
    fn publish(&self, parts: [Bytes; 3]) -> Result<(), PublishError>;

    /// Where it listens, with the port that the system chose.
    fn endpoint(&self) -> &Endpoint;

    /// Stops listening, lets what was published leave within `grace`, and ends.
    fn shutdown(self, grace: Duration) -> impl Future<Output = ()> + Send;
}

/// The connecting side of one conversation.
pub trait Connection: Send + 'static {
    /// Waits for the next message.
    ///
    /// # Errors
    /// The first error is the end of the connection.
    ///
    /// # Cancel safety
    /// No message is lost when the future is dropped.
    fn recv(&mut self) -> impl Future<Output = Result<Bytes, Closed>> + Send;

    /// The next message, if it is there already.
    ///
    /// # Errors
    /// The first error is the end of the connection.
    fn try_recv(&mut self) -> Result<Option<Bytes>, Closed>;

    /// Sends one message. Never waits.
    ///
    /// # Errors
    /// The message comes back when the connection is gone or its queue is full.
    fn try_send(&self, body: Bytes) -> Result<(), SendError>;

    /// Lets what was sent leave within `grace`, and ends.
    fn close(self, grace: Duration) -> impl Future<Output = ()> + Send;
}

/// The receiving side of publications.
pub trait Subscription: Send + 'static {
    /// Waits for the next publication: topic, header, body.
    ///
    /// # Errors
    /// The first error is the end of the subscription.
    ///
    /// # Cancel safety
    /// No publication is lost when the future is dropped.
    fn recv(&mut self) -> impl Future<Output = Result<[Bytes; 3], Closed>> + Send;

    /// Ends.
    fn close(self) -> impl Future<Output = ()> + Send;
}

/// How workers and clients reach a broker.
pub trait Connector: Clone + Send + Sync + 'static {
    /// The conversations that it makes.
    type Connection: Connection;
    /// The subscriptions that it makes.
    type Subscription: Subscription;

    /// The thread on which its sockets live, if they live on one: the place for what talks over them.
    ///
    /// # Errors
    /// When the system gives no thread.
    fn thread(&self) -> io::Result<Option<Arc<IoThread>>> {
        Ok(None)
    }

    /// Connects to a server.
    ///
    /// # Errors
    /// When nobody answers within [`Limits::connect_timeout`], or the endpoint is of another kind.
    fn connect(
        &self,
        to: &Endpoint,
        limits: &Limits,
    ) -> impl Future<Output = Result<Self::Connection, ConnectError>> + Send;

    /// Subscribes to everything whose topic begins with one of `topics`.
    ///
    /// # Errors
    /// When nobody answers within [`Limits::connect_timeout`], or the endpoint is of another kind.
    fn subscribe(
        &self,
        to: &Endpoint,
        topics: &[String],
        limits: &Limits,
    ) -> impl Future<Output = Result<Self::Subscription, ConnectError>> + Send;
}
