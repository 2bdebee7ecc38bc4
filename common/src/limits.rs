//! Every maximum that both ends of a wire must know, with the reason for its size.
//!
//! What happens at a limit is part of the protocol: see `docs/protocol.md`, "Limits".

use std::time::Duration;

/// Largest payload, result, partial result or knowledge value, in bytes. Above it: `too_large`.
pub const PAYLOAD_BYTES_MAX: usize = 16 << 20;
/// A payload above this is accepted and counted, so that a size budget is seen before the wall.
pub const PAYLOAD_BYTES_WARN: usize = 1 << 20;
/// A broker with a journal keeps payloads and results of so many bytes or more there instead of in memory, and
/// reads them when it sends them. A smaller value costs more to read than its memory is worth; ten million
/// values below this are what a queue of 4 GiB is made for.
pub const STORED_BYTES_MIN: usize = 64 << 10;
/// Largest message, all parts together, in bytes.
pub const MESSAGE_BYTES_MAX: usize = 64 << 20;
/// A sender starts another message once a batch holds this many bytes; a lone larger item still fits one.
pub const BATCH_BYTES_TARGET: usize = 4 << 20;
/// Most tasks, leases, outcomes or ids in one message.
pub const BATCH_ITEMS_MAX: usize = 4_096;
/// Deepest nesting of a message. Ours need five; more is somebody else's data.
pub const DEPTH_MAX: usize = 16;
/// Longest text anywhere in a message, in bytes, also where it would be ignored. A text in a wrong place is
/// quoted in the error about it, several times as long as it came: without a bound, one message of 64 MiB
/// would cost more than a gigabyte.
pub const ANY_TEXT_BYTES_MAX: usize = 64 << 10;

/// Longest name of a kind, in bytes.
pub const KIND_BYTES_MAX: usize = 128;
/// Longest human-readable name or label, in bytes.
pub const NAME_BYTES_MAX: usize = 128;
/// Longest error text; a longer one is cut at a character boundary by its sender.
pub const TEXT_BYTES_MAX: usize = 4_096;
/// Longest `tracestate` that goes with a task, in bytes: what its specification asks everybody to carry.
pub const TRACE_STATE_BYTES_MAX: usize = 512;
/// Most kinds that one worker may announce.
pub const WORKER_KINDS_MAX: usize = 256;
/// Most kinds that may be paused at a time. They stand in one record of the journal, and in every status reply.
pub const PAUSED_KINDS_MAX: usize = 256;
/// Most leases that a worker may name when it comes back: its slots, and all that may wait there.
pub const HELD_LEASES_MAX: usize = 16_384;
/// Most slots of one worker.
pub const WORKER_SLOTS_MAX: u32 = 4_096;
/// Longest topic or key of the knowledge map, in bytes.
pub const TOPIC_BYTES_MAX: usize = 128;
/// Longest key of the knowledge map, in bytes.
pub const KEY_BYTES_MAX: usize = 512;
/// Most that the knowledge map of a broker may hold: every worker has a copy of it. A worker that is sent
/// more than twice as much leaves the broker.
pub const KNOWLEDGE_BYTES_MAX: usize = 1 << 30;
/// What an entry of the knowledge map counts as beside its topic, its key and its value: about what it
/// takes in memory, so that a map of empty values is bounded too.
pub const KNOWLEDGE_ENTRY_BYTES: usize = 128;
/// Most rows of a listing in one reply; the reply names where the next page begins.
pub const PAGE_ROWS_MAX: usize = 1_000;

/// A value above this is not sent over PUB: subscribers fetch it over their own connection. PUB has no
/// flow control of its own, so what a stalled subscriber can make the broker hold must stay small.
pub const PUBLISH_INLINE_BYTES_MAX: usize = 4 << 10;

/// Largest broadcast: it goes out on PUB to every subscriber and cannot be fetched again.
pub const BROADCAST_BYTES_MAX: usize = 64 << 10;

/// How often a peer says that it lives.
pub const HEARTBEAT: Duration = Duration::from_secs(1);
/// A peer is silent for too long after this many heartbeats.
pub const LIVENESS: u32 = 3;
/// There is a pulse on PUB every so many heartbeats. With thousands of idle workers a beat a second for each
/// cost the broker as much as a third of all their heartbeats.
pub const PULSE_BEATS: u32 = 5;
/// How long a worker whose connection broke may take to come back before its tasks move.
pub const GRACE: Duration = Duration::from_secs(2);

/// How long a broker that has just started waits for the workers of its last life before it runs their
/// tasks anew. Longer than a worker's longest pause between two tries to connect.
pub const REATTACH_WINDOW: Duration = Duration::from_secs(5);
/// A worker's or client's longest pause between two tries to connect.
pub const RECONNECT_PAUSE_MAX: Duration = Duration::from_secs(2);

/// Tries at a task that fails, unless its options say otherwise.
pub const ATTEMPTS_MAX: u32 = 3;
/// Workers that may die while running a task before the task is `dead`.
pub const CRASH_LIMIT: u32 = 3;
/// First pause after a failure; each further failure doubles it.
pub const BACKOFF_BASE: Duration = Duration::from_secs(1);
/// Longest pause after a failure.
pub const BACKOFF_MAX: Duration = Duration::from_secs(600);
/// Longest delay, time to live and run limit: 10 years, so that no sum of two can overflow.
pub const DELAY_MAX: Duration = Duration::from_secs(10 * 365 * 86_400);

const _: () = {
    assert!(PAYLOAD_BYTES_WARN < PAYLOAD_BYTES_MAX);
    assert!(STORED_BYTES_MIN < PAYLOAD_BYTES_WARN && PAYLOAD_BYTES_MAX <= u32::MAX as usize);
    assert!(PAYLOAD_BYTES_MAX < KNOWLEDGE_BYTES_MAX);
    assert!(BATCH_BYTES_TARGET + PAYLOAD_BYTES_MAX < MESSAGE_BYTES_MAX);
    assert!(PUBLISH_INLINE_BYTES_MAX < BATCH_BYTES_TARGET);
    assert!(PAGE_ROWS_MAX <= BATCH_ITEMS_MAX && PAUSED_KINDS_MAX < PAGE_ROWS_MAX);
    assert!(TEXT_BYTES_MAX < ANY_TEXT_BYTES_MAX);
};
