//! Two kinds of time, both handed in from outside.
//!
//! Every decision about liveness, delays and limits is made on [`Time`], which never goes back. [`Wall`]
//! is written into records and shown to people; nothing is decided by comparing two of them, so a jump of
//! the wall clock changes no decision.

use std::fmt;
use std::time::Duration;

/// A moment, in microseconds since the process started.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Time(pub u64);

impl Time {
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

/// A moment by the wall clock, in milliseconds since 1970.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Wall(pub u64);

impl Wall {
    /// This much later.
    #[must_use]
    pub fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(span.as_millis().min(u128::from(u64::MAX)) as u64))
    }

    /// How much time lies between an earlier moment and this one; zero if it is not earlier.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

/// The present, by both clocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Now {
    /// What decisions are made on.
    pub time: Time,
    /// What records and listings show.
    pub wall: Wall,
}
