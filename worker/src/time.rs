//! Time as the session sees it: an argument, never asked for.

use std::fmt;
use std::time::{Duration, Instant};

/// A moment, in microseconds since the process started.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Time(pub u64);

impl Time {
    /// Later than anything that happens.
    pub const NEVER: Self = Self(u64::MAX);

    /// This much later.
    #[must_use]
    pub fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(span.as_micros().min(u128::from(u64::MAX)) as u64))
    }

    /// How much time lies between an earlier moment and this one; zero if it is not earlier.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}s", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

/// The one clock of the shell.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { start: Instant::now() }
    }

    pub(crate) fn now(self) -> Time {
        Time(self.start.elapsed().as_micros() as u64)
    }

    /// The moment by the runtime's clock, for sleeping. A microsecond late: waking early would do nothing
    /// and sleep again.
    pub(crate) fn instant(self, time: Time) -> Option<Instant> {
        self.start.checked_add(Duration::from_micros(time.0.checked_add(1)?))
    }
}
