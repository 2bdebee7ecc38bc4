//! What a checker must know of a run beside its log.

use std::time::Duration;

use ganger_common::message::Durability;

/// The settings of one run that decide what is promised.
#[derive(Clone, PartialEq, Debug)]
pub struct Facts {
    /// The seed.
    pub seed: u64,
    /// The name of the profile.
    pub profile: &'static str,
    /// What an acknowledgement promises.
    pub durability: Durability,
    /// How often peers say that they live.
    pub heartbeat: Duration,
    /// A peer is given up after this many heartbeats of silence.
    pub liveness: u32,
    /// How long a broken connection may take to come back before leases move.
    pub grace: Duration,
    /// Tries of a task that fails or times out, unless its options say otherwise.
    pub max_attempts: u32,
    /// Workers that may die under a task, unless its options say otherwise.
    pub crash_limit: u32,
    /// Unsettled tasks that the broker takes.
    pub queue_tasks_max: u64,
    /// Bytes of their payloads that it takes.
    pub queue_bytes_max: u64,
    /// Settled tasks are kept for the whole run, so that the audit finds every one.
    pub retains_all: bool,
    /// The largest payload of the run.
    pub payload_max: u64,
    /// What the broker may have sent to one connection without the network taking it.
    pub outbox_bytes_max: u64,
    /// After the faults have ended, everything must have settled within this.
    pub settle_within: Duration,
    /// Slowest sync of the disk in this run.
    pub sync_max: Duration,
}
