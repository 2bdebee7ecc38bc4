//! What a session is told when it begins, and the numbers that bound it.

use std::sync::Arc;
use std::time::Duration;

use ganger_common::limits;
use ganger_common::{SessionToken, WorkerId};

/// Ends that wait for the broker's acknowledgement; at this many the worker stops taking tasks.
pub const UNACKED_ENDS_MAX: usize = 65_536;
/// Bytes of results that wait for the broker's acknowledgement; above this the worker stops taking tasks.
/// Half of what a connection accepts, so that everything fits when it is reported again.
pub const UNACKED_BYTES_MAX: usize = 128 << 20;
/// Bytes of partial results that wait to be sent; above this further ones are refused.
pub const PARTIAL_BYTES_MAX: usize = 32 << 20;
/// A running attempt tells its progress no more often than this.
pub const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);
/// First pause between two tries to connect; each further one doubles, with full jitter.
pub const RECONNECT_PAUSE_MIN: Duration = Duration::from_millis(50);
/// How long a broker may take to answer a hello.
pub const WELCOME_WITHIN: Duration = Duration::from_secs(5);
/// A changed knowledge revision is told in a heartbeat of its own, no more often than this.
pub const REVISION_INTERVAL: Duration = Duration::from_millis(20);
/// How long a worker that has drained waits for its last reports to be acknowledged.
pub const LAST_ACKS_WITHIN: Duration = Duration::from_secs(5);
/// How long what runs may go on in a drain, unless somebody says otherwise.
pub const DRAIN_DEADLINE: Duration = Duration::from_secs(30);

/// Who a session is and what it serves. Ids, secret and seed come from outside, so that the same inputs
/// always have the same effects.
#[derive(Clone, Debug)]
pub struct Config {
    /// This incarnation.
    pub worker: WorkerId,
    /// The secret that lets it come back.
    pub token: SessionToken,
    /// A label for people.
    pub name: String,
    /// The host, for people.
    pub host: String,
    /// The process, for people.
    pub pid: u32,
    /// What it serves.
    pub kinds: Arc<Kinds>,
    /// How many tasks run at a time; at least 1, at most [`limits::WORKER_SLOTS_MAX`].
    pub slots: u32,
    /// Spreads the pauses between tries to connect.
    pub seed: u64,
    /// How long what runs may go on in a drain that names no deadline.
    pub drain_deadline: Duration,
    /// The port of the knowledge socket does not come from the broker: its address is set by hand.
    pub knowledge_is_set: bool,
}

/// The place of a kind among those that a worker serves.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct KindIndex(pub u16);

/// The kinds that a worker serves, in the order in which they were registered.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Kinds(Vec<Arc<str>>);

impl Kinds {
    /// The kinds in this order; at most [`limits::WORKER_KINDS_MAX`], each named once.
    pub fn new<I: IntoIterator<Item = T>, T: Into<Arc<str>>>(names: I) -> Self {
        let names: Vec<Arc<str>> = names.into_iter().map(Into::into).collect();
        debug_assert!(names.len() <= limits::WORKER_KINDS_MAX);
        Self(names)
    }

    /// The place of a kind. `hint` is tried first: most tasks of a batch are of the same kind.
    pub(crate) fn find(&self, name: &str, hint: KindIndex) -> Option<KindIndex> {
        if self.0.get(usize::from(hint.0)).is_some_and(|kind| &**kind == name) {
            return Some(hint);
        }
        self.0.iter().position(|kind| &**kind == name).map(|place| KindIndex(place as u16))
    }

    /// The name of a kind.
    pub fn name(&self, kind: KindIndex) -> &str {
        self.0.get(usize::from(kind.0)).map_or("", |name| name)
    }

    /// All names.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|name| &**name)
    }
}
