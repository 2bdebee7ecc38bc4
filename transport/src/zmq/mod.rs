//! ZeroMQ over TCP and Unix sockets.
//!
//! The `zeromq` crate is fast and trusts its surroundings; this module is its surroundings. Its rules, and
//! what each prevents:
//! - All sockets of one owner live on one thread with a runtime of one thread. The library mixes blocking
//!   and asynchronous locks, and a runtime of several threads can stop for good under ordinary
//!   connecting and disconnecting.
//! - A send is polled once. A send that waits for a full queue holds a lock that other sends, and the
//!   removal of other peers, need. What is sent is counted until it is written, so that a peer that does not
//!   read is seen long before its queue in the library, a hundred thousand messages of any size, is full.
//! - Receiving goes on whenever there is room for what comes: the library notices a lost peer only while
//!   it is asked for messages. It yields every few messages, or timers and sends would starve behind a
//!   peer that never stops. When there is no room nothing is read, and the peers feel it through TCP.
//! - Identities are the library's own and unguessable, and never leave this module: whoever claims an
//!   identity takes over its connection.
//! - A socket that has accepted many connections is let go: it keeps something of each for ever.
//! - The first error of a connection is its end: the library can return the same one for ever.
//! - Nobody waits for the library to reconnect: it does not, or can hang in it.
//! - Listening sockets are made here, because the library sets neither keepalive nor the time after which
//!   unacknowledged data ends a connection, and cannot be told to.
//! - Shutting down lets queued messages leave before the runtime goes, because the library does not.
//!
//! Strangers do not get here. [`ZmqServer::bind_behind`] and [`ZmqPublisher::bind_behind`] give the listening
//! socket to the [`door`](crate::door), which relays to a private Unix socket on which the library listens;
//! what it learns of the peer becomes its [`PeerMeta`](crate::PeerMeta), and nothing above this module
//! notices. `bind` leaves it out: whoever reaches such a port can exhaust the process, so it is for loopback,
//! and a peer of another implementation must leave ZeroMQ's own heartbeats switched off there, because the
//! library takes them for an error. `tunnels` are the other end of CURVE, for connections of our own.

#[doc(hidden)]
pub mod bare;
mod connection;
mod connector;
mod generations;
mod helm;
mod io;
mod listener;
mod publisher;
mod router;
mod server;
mod subscription;
mod tunnels;

pub use connection::ZmqConnection;
pub use connector::ZmqConnector;
pub use io::{IoThread, let_out};
pub use publisher::ZmqPublisher;
pub use server::ZmqServer;
pub use subscription::ZmqSubscription;

use bytes::Bytes;

use crate::limits::Limits;

/// Messages taken from a socket in a row before others get a turn. More did not raise the throughput,
/// fewer did not lower the delay.
const BURST: usize = 64;
/// The same in bytes: large messages are handed on while the next are being read.
const BURST_BYTES: usize = 1 << 20;

/// A received frame is a piece of the buffer that it was read into, and keeps all of it. Below this size
/// a copy costs less than the buffer.
const COPY_BELOW: usize = 32 << 10;

/// The library waits, with its locks held, above this many messages for a connection; ours stays below.
const LIBRARY_MESSAGES_MAX: usize = 100_000;

fn owned(frame: Bytes) -> Bytes {
    match frame.len() < COPY_BELOW {
        true => Bytes::copy_from_slice(&frame),
        false => frame,
    }
}

fn held(limits: &Limits) -> crate::held::Held {
    crate::held::Held::new(limits.outbox_messages.min(LIBRARY_MESSAGES_MAX / 2), limits.outbox_bytes)
}
