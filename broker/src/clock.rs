//! The two clocks of a broker.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ganger_scheduler::{Now, Time, Wall};

/// The longest sleep. Nothing needs a longer one, and timers of the runtime have an end.
const SLEEP_MAX: Duration = Duration::from_secs(3_600);

/// Counts from the start of the broker.
#[derive(Debug)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { start: Instant::now() }
    }

    pub(crate) fn now(&self) -> Now {
        // A wall clock before 1970 is a machine without a clock; its records will say 1970.
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now { time: Time(self.start.elapsed().as_micros() as u64), wall: Wall(wall.as_millis() as u64) }
    }

    /// When to wake for something that is due at `time`; it may be too early.
    pub(crate) fn wake_at(&self, time: Time) -> tokio::time::Instant {
        let from_now = Duration::from_micros(time.0).saturating_sub(self.start.elapsed());
        tokio::time::Instant::now() + from_now.min(SLEEP_MAX)
    }
}
