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
/// Most tasks that a filter puts back at a time.
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
