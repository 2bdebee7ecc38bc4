//! How much of anything the door lets in.

use std::time::Duration;

use ganger_common::limits::MESSAGE_BYTES_MAX;

/// Limits of a door.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DoorLimits {
    /// How long the greeting and everything before the first message may take.
    pub handshake: Duration,
    /// Connections at a time, those whose handshake is finished. A third of the files that the process may
    /// open is the limit when that is less, because each takes three.
    pub connections: usize,
    /// The same from one address.
    pub connections_per_address: usize,
    /// Connections whose handshake is not finished. Above it the oldest is closed: an honest handshake takes
    /// milliseconds, so what is oldest is what hangs.
    pub handshakes: usize,
    /// The same from one address.
    pub handshakes_per_address: usize,
    /// New connections a second from one address, in the long run.
    pub rate: u32,
    /// New connections from one address that may come at once.
    pub burst: u32,
    /// Largest READY, and largest command afterwards.
    pub ready_bytes: usize,
    /// Most parts of a message. Messages of the protocol have one; a few more are let through so that their
    /// sender is told what is wrong.
    pub parts: usize,
    /// Largest message, all parts together. What is over the limit of the protocol, and below this, is let
    /// through for the same reason.
    pub message_bytes: u64,
    /// A message above this takes its size from a budget before it is read, so that many half-sent messages
    /// cannot add up.
    pub message_bytes_free: u64,
    /// That budget, over all connections of a listener.
    pub message_bytes_budget: u64,
    /// Most topics that one connection may subscribe to.
    pub subscriptions: usize,
    /// Longest topic, in bytes.
    pub topic_bytes: usize,
    /// Publications that are kept for those who are not done with them, whoever and however many they are.
    /// Whoever has not read what is not kept any more is behind for too long.
    pub published_bytes: usize,
    /// Bytes of publications that wait for a subscriber before it counts as behind.
    pub subscriber_bytes: usize,
    /// Bytes of its own that may wait for all subscribers of a listener together: what was begun, what was
    /// encrypted. Above it whoever has more than an equal share waiting is behind for too long already.
    pub subscriber_bytes_budget: usize,
    /// How long a subscriber may be behind.
    pub subscriber_lag: Duration,
    /// How long a peer may take nothing of what waits for it.
    pub reader_stall: Duration,
}

impl Default for DoorLimits {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(5),
            connections: 24_576,
            connections_per_address: 16_384,
            handshakes: 2_048,
            handshakes_per_address: 1_024,
            rate: 2_000,
            burst: 8_192,
            ready_bytes: 1 << 10,
            parts: 16,
            message_bytes: MESSAGE_BYTES_MAX as u64 + (64 << 10),
            message_bytes_free: 64 << 10,
            message_bytes_budget: 2 * (MESSAGE_BYTES_MAX as u64 + (64 << 10)),
            subscriptions: 256,
            topic_bytes: 1 << 10,
            published_bytes: 8 << 20,
            subscriber_bytes: 512 << 10,
            subscriber_bytes_budget: 12 << 20,
            subscriber_lag: Duration::from_secs(2),
            reader_stall: Duration::from_secs(30),
        }
    }
}
