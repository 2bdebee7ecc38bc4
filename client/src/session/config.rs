//! The settings of a session, and the reasons for their defaults.

use std::time::Duration;

use ganger_common::{ClientId, SessionToken};

/// What a session is made with. It chooses nothing by itself: ids, secret and seed come from outside.
#[derive(Clone, Debug)]
pub struct SessionConfig {
    /// This incarnation of the client.
    pub client: ClientId,
    /// The secret that lets it come back.
    pub token: SessionToken,
    /// A label for people.
    pub name: String,
    /// Decides the jitter.
    pub seed: u64,
    /// Most tasks handed in and not acknowledged.
    pub window_tasks: usize,
    /// Most bytes of tasks handed in and not acknowledged; one larger task still fits an empty window.
    pub window_bytes: usize,
    /// Keep payloads until the outcome, and hand a task in again when a broker that held it in memory has
    /// lost it.
    pub resubmit_lost: bool,
    /// Most bytes kept for that. What comes on top is not kept: if it is lost, its submitter is told.
    pub kept_bytes_max: usize,
    /// Keep what the broker has no room for, and hand it in again when it may have. Without, the submitter is
    /// told.
    pub patient: bool,
}

impl SessionConfig {
    /// The defaults, for a client of this name.
    pub fn new(client: ClientId, token: SessionToken, seed: u64) -> Self {
        Self {
            client,
            token,
            name: String::new(),
            seed,
            window_tasks: WINDOW_TASKS,
            window_bytes: WINDOW_BYTES,
            resubmit_lost: true,
            kept_bytes_max: KEPT_BYTES_MAX,
            patient: true,
        }
    }
}

/// Default of [`SessionConfig::window_tasks`]: one full batch.
pub const WINDOW_TASKS: usize = 4_096;
/// Default of [`SessionConfig::window_bytes`].
pub const WINDOW_BYTES: usize = 16 << 20;
/// Default of [`SessionConfig::kept_bytes_max`].
pub const KEPT_BYTES_MAX: usize = 256 << 20;
/// Most requests without an answer.
pub const REQUESTS_MAX: usize = 1_024;

/// First pause after a connection that failed or broke; each further failure doubles its upper end.
pub(super) const PAUSE_BASE: Duration = Duration::from_millis(50);
/// A pause is never shorter: a broker that closes every connection at once must not be hammered.
pub(super) const PAUSE_MIN: Duration = Duration::from_millis(10);
/// When a refusal for want of room names no time.
pub(super) const BUSY_PAUSE: Duration = Duration::from_millis(200);
/// A submission or request that has no answer for this long, on a connection that is alive, was lost on
/// its way: the transport may drop a message rather than wait. A new connection sorts it out. Longer than
/// any sync of a journal should take.
pub(super) const PATIENCE: Duration = Duration::from_secs(15);
/// With this many batches on their way, what comes gathers until it fills a batch or one of them is
/// answered. So a task never waits for company while there is little to do, and never travels alone while
/// there is much.
pub(super) const GATHER_BEHIND: usize = 4;
/// Full batches on their way. Reached only when a broker has lost more tasks than a window holds.
pub(super) const BATCHES_MAX: usize = 32;
/// Messages that ask for outcomes, on their way.
pub(super) const WATCHES_MAX: usize = 4;
