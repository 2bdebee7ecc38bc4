//! ZeroMQ over TCP and Unix sockets.
//!
//! The `zeromq` crate is fast and trusts its surroundings; this module is its surroundings. Its rules, and
//! what each prevents:
//! - All sockets of one owner live on one thread with a runtime of one thread. The library mixes blocking
//!   and asynchronous locks, and a runtime of several threads can stop for good under ordinary
//!   connecting and disconnecting.
//! - A send is polled once. A send that waits for a full queue holds a lock that other sends, and the
//!   removal of other peers, need. A peer whose queue is full is cut instead.
//! - Receiving goes on whenever there is room for what comes: the library notices a lost peer only while
//!   it is asked for messages. It yields every few messages, or timers and sends would starve behind a
//!   peer that never stops.
//! - Identities are the library's own and unguessable, and never leave this module: whoever claims an
//!   identity takes over its connection.
//! - The first error of a connection is its end: the library can return the same one for ever.
//! - Shutting down lets queued messages leave before the runtime goes, because the library does not.

mod connector;
mod io;
mod listener;
mod publisher;
mod server;

pub use connector::{ZmqConnection, ZmqConnector, ZmqSubscription};
pub use publisher::ZmqPublisher;
pub use server::ZmqServer;

use bytes::Bytes;

/// Messages taken from a socket in a row before others get a turn. More did not raise the throughput,
/// fewer did not lower the delay.
const BURST: usize = 64;

/// A received frame is a piece of the buffer that it was read into, and keeps all of it. Below this size
/// a copy costs less than the buffer.
const COPY_BELOW: usize = 16 << 10;

fn owned(frame: Bytes) -> Bytes {
    match frame.len() < COPY_BELOW {
        true => Bytes::copy_from_slice(&frame),
        false => frame,
    }
}
