//! The connection, as the session sees it.
//!
//! ```text
//!              pause is over            Connected               welcome
//!   ┌─► Waiting ───────────► Connecting ──────────► Greeting ───────────► Open
//!   │      ▲  ConnectFailed  │                         │                   │
//!   │      └─────────────────┘   no welcome in time    │   lost, silent    │
//!   └──────────────────────────────────────────────────┴───────────────────┘
//!                    refused for good, or closed: Over
//! ```

use std::time::{Duration, Instant};

use ganger_common::limits::{HEARTBEAT, LIVENESS, RECONNECT_PAUSE_MAX};

use super::config::{PAUSE_BASE, PAUSE_MIN};
use super::event::Broker;
use super::random::Random;
use crate::error::Error;

/// Where the connection is.
#[derive(Debug)]
pub(super) enum Link {
    /// A pause before the next try.
    Waiting {
        until: Instant,
    },
    /// The shell makes a connection, and has a time limit of its own.
    Connecting,
    /// Hello was said.
    Greeting {
        deadline: Instant,
    },
    /// The session is open.
    Open(Open),
    Over(Error),
}

/// An open session.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) broker: Broker,
    pub(super) since: Instant,
    /// When the broker was last heard.
    pub(super) heard: Instant,
    /// When to send the next heartbeat.
    pub(super) beat_at: Instant,
    /// The newest mark of the broker.
    pub(super) mark: u64,
}

impl Open {
    /// When the broker counts as gone if it stays silent.
    pub(super) fn silent_at(&self) -> Instant {
        self.heard + self.broker.heartbeat * self.broker.liveness
    }
}

impl Link {
    pub(super) fn open(&self) -> Option<&Open> {
        match self {
            Self::Open(open) => Some(open),
            _ => None,
        }
    }

    pub(super) fn open_mut(&mut self) -> Option<&mut Open> {
        match self {
            Self::Open(open) => Some(open),
            _ => None,
        }
    }
}

/// How long a broker may take to say welcome: it has not told its heartbeat yet.
pub(super) fn welcome_patience() -> Duration {
    HEARTBEAT * LIVENESS
}

/// Exponential pause with full jitter, so that a thousand clients of a broker that comes back do not come
/// at once.
pub(super) fn pause(failures: u32, random: &mut Random) -> Duration {
    let most = PAUSE_BASE.saturating_mul(1 << failures.min(16)).min(RECONNECT_PAUSE_MAX);
    Duration::from_micros(random.up_to(most.as_micros() as u64)).max(PAUSE_MIN)
}
