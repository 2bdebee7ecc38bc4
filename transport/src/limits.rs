//! How much of anything a socket holds.

use std::time::Duration;

use ganger_common::limits::MESSAGE_BYTES_MAX;

/// What a message counts for beyond its bytes, in bytes. To look at an empty one takes about as long as to copy
/// a kibibyte, and to keep it takes some memory: many small messages must be no cheap way to either.
pub(crate) const MESSAGE_COST: usize = 1 << 10;

/// A server gives its owner no more bytes at a time, or one message when that is larger. What the owner has
/// taken stands before whatever comes later, whoever sends it, and counts against no limit of the socket.
pub const RECV_BYTES_MAX: usize = 1 << 20;

/// Limits of one socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest message. A larger one is reported as malformed and not delivered.
    pub message_bytes: usize,
    /// How long connecting, its handshake included, may take.
    pub connect_timeout: Duration,
    /// Messages accepted for one connection, or for all subscribers of a publisher, and not yet written.
    pub outbox_messages: usize,
    /// Bytes accepted for one connection, or for all subscribers of a publisher, and not yet written; one
    /// larger message still fits an empty outbox.
    pub outbox_bytes: usize,
    /// Messages received and not yet taken by the owner, over all connections. When it is full the
    /// sockets are not read, and the peers feel it through TCP.
    pub inbox_messages: usize,
    /// Bytes received and not yet taken by the owner, over all connections, each message counted with a
    /// kibibyte on top; one larger message still fits. It has to bridge the time for which the owner is busy
    /// with what it has taken, and no more: the library cannot be told to read one connection and not
    /// another, so what is said while the inbox is full waits for half of it to be taken, whoever filled it.
    pub inbox_bytes: usize,
    /// Publications received and not yet taken by a subscriber. Above it they are lost.
    pub feed_messages: usize,
    /// Bytes of publications received and not yet taken by a subscriber, counted in the same way. Nobody
    /// waits behind them, and what is lost must be asked for: more than an inbox.
    pub feed_bytes: usize,
    /// A connection with nothing to say is probed by TCP after this.
    pub keepalive_idle: Duration,
    /// Pause between probes.
    pub keepalive_interval: Duration,
    /// Unanswered probes before the connection is dead.
    pub keepalive_probes: u32,
    /// Sent data may stay unacknowledged for this long before the connection is dead. It bounds what a
    /// stalled peer can make the library hold, because the library itself never gives up on it.
    pub user_timeout: Duration,
    /// Connections at a time. More are closed at once; half of the files that the process may open is the
    /// limit when that is less. More than the sessions that a broker takes, so that it can say why it takes no
    /// more.
    pub connections: usize,
    /// Connections that wait to be accepted.
    pub backlog: i32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes: MESSAGE_BYTES_MAX,
            connect_timeout: Duration::from_secs(5),
            outbox_messages: 50_000,
            outbox_bytes: 256 << 20,
            inbox_messages: 65_536,
            inbox_bytes: 4 << 20,
            feed_messages: 65_536,
            feed_bytes: 64 << 20,
            keepalive_idle: Duration::from_secs(15),
            keepalive_interval: Duration::from_secs(5),
            keepalive_probes: 3,
            user_timeout: Duration::from_secs(30),
            connections: 20_480,
            backlog: 1_024,
        }
    }
}

impl Limits {
    /// Limits of a publisher: a subscriber that does not read is dropped sooner, since publishing has no
    /// other way to slow down, and less may wait for it, since what is lost can be asked for.
    #[must_use]
    pub fn publisher() -> Self {
        Self { user_timeout: Duration::from_secs(10), outbox_bytes: 16 << 20, ..Self::default() }
    }
}

/// Raises the limit of open files to what the system allows this process, and returns it. A broker of a
/// thousand workers needs more than the usual 1,024.
pub fn raise_nofile_limit() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls only read or write the struct that they are given, which outlives them.
    #[allow(unsafe_code)] // The standard library has no face for resource limits.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) == 0 && limit.rlim_cur < limit.rlim_max {
            limit.rlim_cur = limit.rlim_max;
            if libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) != 0 {
                libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit);
            }
        }
    }
    limit.rlim_cur
}
