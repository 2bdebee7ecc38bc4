//! Every maximum of the gateway. What happens at each stands in `docs/http.md`, "Limits".

use std::time::Duration;

use ganger_common::limits::{BATCH_ITEMS_MAX, PAYLOAD_BYTES_MAX};

/// Largest body: the largest payload in base64, and room for what stands around it.
pub const BODY_BYTES_MAX: usize = 24 << 20;
/// All bodies that are being received or decoded. What many slow senders could hold together must not be a
/// matter of how many they are.
pub const BODIES_BYTES_MAX: usize = 128 << 20;
/// How long a body may take.
pub const BODY_PATIENCE: Duration = Duration::from_secs(30);
/// How long the rest of a body is read and thrown away when the answer is known before its end.
pub const DISCARD_PATIENCE: Duration = Duration::from_secs(10);
/// Largest head of a request.
pub const HEAD_BYTES_MAX: usize = 64 << 10;
/// Most headers.
pub const HEADERS_MAX: usize = 100;
/// How long a head may take, the pause before it included.
pub const HEAD_PATIENCE: Duration = Duration::from_secs(10);
/// Connections at a time. More wait to be accepted.
pub const CONNECTIONS_MAX: usize = 1_024;
/// How long a TLS handshake may take.
pub const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(5);
/// TLS handshakes at a time. Whoever comes then takes the place of the one that has taken longest.
pub const HANDSHAKES_MAX: usize = 256;
/// As much of a file with certificates or a key is read.
pub const TLS_FILE_BYTES_MAX: u64 = 1 << 20;
/// Tasks whose outcomes are waited for, over all requests: each is a place at a client.
pub const WAITS_MAX: usize = 65_536;
/// Whoever follows a task hears something at least this often, so that neither end takes the other for gone.
pub const EVENTS_PAUSE: Duration = Duration::from_secs(15);
/// Events of tasks, of workers and of knowledge that are told one by one each second, for each of the three.
/// More than a person can read, and little beside what the broker does for a hundred thousand tasks; what is
/// over it is counted.
pub const EVENTS_A_SECOND: u32 = 1_000;
/// How many may be told at once after a quiet time.
pub const EVENTS_BURST: u32 = 2_000;
/// Longest text in an event: an error may be much longer, and its task has it whole.
pub const EVENT_TEXT_MAX: usize = 256;
/// Events that are kept for those who are behind or come back. With 128 bytes of topic, 512 of key and texts that
/// are cut, the largest takes about a kilobyte.
pub const FEED_EVENTS_MAX: usize = 8_192;
/// How long what happens is still told when nobody watches any more: whoever comes back finds all of it.
pub const FEED_LINGER: Duration = Duration::from_secs(60);
/// What is only counted is told when this has passed.
pub const FEED_SUMMARY: Duration = Duration::from_secs(1);
/// Watchers are woken no more often than this.
pub const FEED_PACE: Duration = Duration::from_millis(20);
/// Events that a watcher takes at a time. Whoever does not read has no more than these waiting.
pub const FEED_TAKE: usize = 64;
/// How old the rights may be by which a watcher is shown something.
pub const RIGHTS_FOR: Duration = Duration::from_secs(1);
/// Those who watch at a time, over HTTP and WebSockets.
pub const WATCHERS_MAX: usize = 1_024;
/// Types in a filter.
pub const FILTER_TYPES_MAX: usize = 32;
/// Kinds in a filter, and topics.
pub const FILTER_NAMES_MAX: usize = 64;
/// WebSockets at a time.
pub const SOCKETS_MAX: usize = 256;
/// Largest message over a WebSocket. One that is being received is in memory, so this is less than for a body.
pub const SOCKET_MESSAGE_MAX: usize = 1 << 20;
/// Requests of one WebSocket that go on: those that follow tasks or watch, too.
pub const SOCKET_REQUESTS_MAX: usize = 1_024;
/// Those of them that wait for the broker's first word.
pub const SOCKET_ASKING_MAX: usize = 32;
/// Tasks that one WebSocket follows.
pub const SOCKET_FOLLOWED_MAX: usize = 16_384;
/// What may wait to be read by a WebSocket's peer before nothing more is taken from it, and results are left out.
pub const SOCKET_UNREAD_MAX: usize = 2 << 20;
/// What may wait before progress and partial results are dropped, and watching pauses.
pub const SOCKET_UNREAD_TIGHT: usize = 256 << 10;
/// A WebSocket is pinged this often.
pub const SOCKET_PING: Duration = Duration::from_secs(15);
/// A WebSocket whose peer neither says nor takes anything for so long is closed.
pub const SOCKET_PATIENCE: Duration = Duration::from_secs(60);
/// Longest wait for outcomes.
pub const WAIT_MAX: Duration = Duration::from_secs(60);
/// How long the broker may take to answer.
pub const ANSWER_PATIENCE: Duration = Duration::from_secs(10);
/// Principals with a client of their own, each of which is a thread.
pub const VISITORS_MAX: usize = 256;
/// Largest result or value that is shown in an answer. Decoding makes it many times as large.
pub const SHOWN_BYTES_MAX: usize = 1 << 20;
/// Most bytes of results or values that one answer shows.
pub const SHOWN_BYTES_MAX_ALL: usize = 4 << 20;
/// Most tasks that a filter puts back at a time. Of those that are discarded, it is about as many.
pub const RETRIED_MAX: usize = BATCH_ITEMS_MAX;
/// Pages that are read in search of them.
pub const RETRY_PAGES_MAX: usize = 32;
/// Kinds that have figures of their own.
pub const KINDS_MEASURED_MAX: usize = 100;
/// How old the answer to "are you ready" may be: whoever asks needs no token, and may ask often.
pub const READY_FOR: Duration = Duration::from_secs(1);
/// How long requests may go on when the gateway ends.
pub const END_GRACE: Duration = Duration::from_secs(2);

const _: () = assert!(BODY_BYTES_MAX > PAYLOAD_BYTES_MAX / 3 * 4 && BODIES_BYTES_MAX > BODY_BYTES_MAX);
const _: () = assert!(HANDSHAKES_MAX < CONNECTIONS_MAX, "silent strangers alone must not fill the house");
