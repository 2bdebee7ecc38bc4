//! The two clocks of a broker.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ganger_scheduler::{Now, Time, Wall};

/// The longest sleep. Nothing needs a longer one, and timers of the runtime have an end.
const SLEEP_MAX: Duration = Duration::from_secs(3_600);

/// Counts from the start of the broker.
#[derive(Debug)]
pub enum Clock {
    /// The clocks of the machine.
    Machine {
        /// When the broker started.
        start: Instant,
    },
    /// A moment that its owner sets: time in a simulation.
    ByHand(Now),
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self::Machine { start: Instant::now() }
    }

    pub(crate) fn now(&self) -> Now {
        match self {
            Self::Machine { start } => {
                // A wall clock before 1970 is a machine without a clock; its records will say 1970.
                let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                Now { time: Time(start.elapsed().as_micros() as u64), wall: Wall(wall.as_millis() as u64) }
            }
            Self::ByHand(now) => *now,
        }
    }

    /// Sets the moment, if it is set by hand.
    pub(crate) fn set(&mut self, now: Now) {
        if let Self::ByHand(moment) = self {
            *moment = now;
        }
    }

    /// When to wake for something that is due at `time`; it may be too early.
    pub(crate) fn wake_at(&self, time: Time) -> tokio::time::Instant {
        let from_now = Duration::from_micros(time.0.saturating_sub(self.now().time.0));
        tokio::time::Instant::now() + from_now.min(SLEEP_MAX)
    }
}
