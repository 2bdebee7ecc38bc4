//! What an operator may set, with defaults that suit one broker on one machine.

use std::time::Duration;

use ganger_common::Epoch;
use ganger_common::limits;
use ganger_common::message::Durability;

/// Settings of the scheduler. They do not change while it lives.
#[derive(Clone, Debug)]
pub struct Config {
    /// Program and version, told to peers.
    pub broker: String,
    /// The life of the state; part of every lease. Raised at each start.
    pub epoch: Epoch,
    /// What an acknowledgement promises.
    pub durability: Durability,
    /// Seeds the hash of the task index and the jitter of retries.
    pub seed: u64,
    /// Port of the PUB socket, told to peers; 0 when there is none.
    pub knowledge_port: u16,
    /// How often peers say that they live.
    pub heartbeat: Duration,
    /// A peer is given up after this many heartbeats of silence.
    pub liveness: u32,
    /// How long a broken connection may take to come back before leases move.
    pub grace: Duration,
    /// Tries of a task that fails or times out.
    pub max_attempts: u32,
    /// Workers that may die under a task.
    pub crash_limit: u32,
    /// First pause after a failure.
    pub backoff_base: Duration,
    /// Longest pause after a failure.
    pub backoff_max: Duration,
    /// Unsettled tasks; more are refused with `busy`.
    pub queue_tasks_max: usize,
    /// Payload bytes of unsettled tasks; more are refused with `busy`.
    pub queue_bytes_max: usize,
    /// How long an outcome is kept after the task settled.
    pub retain_for: Duration,
    /// Bytes that kept outcomes may take; the oldest leave first.
    pub retain_bytes_max: usize,
    /// Tasks in the dead set; the oldest leave first, counted.
    pub dead_set_max: usize,
    /// Payload bytes of the dead set; the oldest leave first, counted.
    pub dead_set_bytes_max: usize,
    /// Sessions of workers.
    pub workers_max: usize,
    /// Sessions of clients.
    pub clients_max: usize,
    /// Different kinds.
    pub kinds_max: usize,
    /// Tasks that may wait at a worker beside those that run there. For tasks that take next to no time it is
    /// this that bounds how long they wait there, and so how long whoever comes next waits behind a flood: a
    /// worker takes some 5 µs for each all the same. Fewer than this cost throughput, more bring none.
    pub credit_max: u32,
    /// Payload bytes that may be with one worker.
    pub worker_bytes_max: usize,
    /// How much work, in time, may wait at a worker. It bounds how long a recalled task was held up; it
    /// must cover a round trip, or workers of tiny tasks run dry.
    pub hold_time: Duration,
    /// Outcomes sent to a client and not confirmed.
    pub client_window: usize,
    /// Result bytes sent to a client and not confirmed.
    pub client_window_bytes: usize,
    /// Outcomes that wait for a client's window; above it that client's submissions are refused.
    pub client_backlog_max: usize,
    /// Bytes of the knowledge map, at most [`limits::KNOWLEDGE_BYTES_MAX`]; more are refused with `busy`.
    pub knowledge_bytes_max: usize,
    /// Changes of the knowledge map that are kept for `since`.
    pub knowledge_history_max: usize,
    /// Payloads and results of so many bytes or more do not stay in memory: once the journal has them they are
    /// read from there when they are sent. `usize::MAX`: never, for a journal that cannot be read from.
    pub stored_min: usize,
    /// Tasks that one record carries at the most, when the state is written down once more. Each is copied
    /// within one turn, which should stay well below a millisecond.
    pub carry_tasks_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            broker: concat!("ganger-broker ", env!("CARGO_PKG_VERSION")).to_owned(),
            epoch: Epoch(1),
            durability: Durability::Memory,
            seed: 0,
            knowledge_port: 0,
            heartbeat: limits::HEARTBEAT,
            liveness: limits::LIVENESS,
            grace: limits::GRACE,
            max_attempts: limits::ATTEMPTS_MAX,
            crash_limit: limits::CRASH_LIMIT,
            backoff_base: limits::BACKOFF_BASE,
            backoff_max: limits::BACKOFF_MAX,
            queue_tasks_max: 10_000_000,
            queue_bytes_max: 4 << 30,
            retain_for: Duration::from_secs(3600),
            retain_bytes_max: 512 << 20,
            dead_set_max: 100_000,
            dead_set_bytes_max: 1 << 30,
            workers_max: 20_000,
            clients_max: 20_000,
            kinds_max: 65_536,
            credit_max: 1_024,
            worker_bytes_max: 64 << 20,
            hold_time: Duration::from_millis(10),
            client_window: 16_384,
            client_window_bytes: 8 << 20,
            client_backlog_max: 1_000_000,
            knowledge_bytes_max: limits::KNOWLEDGE_BYTES_MAX,
            knowledge_history_max: 100_000,
            stored_min: usize::MAX,
            carry_tasks_max: 2_048,
        }
    }
}

impl Config {
    /// A peer that was silent for this long is given up.
    pub fn silence_max(&self) -> Duration {
        self.heartbeat * self.liveness
    }

    /// How often the scheduler wants to be called at the least while it has peers, so that it can tell
    /// its own stalls from theirs.
    pub(crate) fn tick(&self) -> Duration {
        self.heartbeat / 4
    }
}
