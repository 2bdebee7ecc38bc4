//! How much is told one by one.

use std::time::Duration;

use crate::limits::{EVENTS_A_SECOND, EVENTS_BURST};

/// How many more events of a group may be told one by one now. What is over it is only counted.
#[derive(Debug)]
pub struct Budget {
    left: f64,
    at: Duration,
}

impl Default for Budget {
    fn default() -> Self {
        Self { left: f64::from(EVENTS_BURST), at: Duration::ZERO }
    }
}

impl Budget {
    /// Lets time pass, which is counted from any one moment.
    pub fn refill(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.at).as_secs_f64();
        self.left = (self.left + passed * f64::from(EVENTS_A_SECOND)).min(f64::from(EVENTS_BURST));
        self.at = now;
    }

    /// Takes room for one event, if there is some.
    pub fn take(&mut self) -> bool {
        let may = self.left >= 1.0;
        if may {
            self.left -= 1.0;
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_told_and_after_it_what_the_rate_allows() {
        let mut budget = Budget::default();
        let mut told = |ms: u64, tried: u32| {
            budget.refill(Duration::from_millis(ms));
            (0..tried).filter(|_| budget.take()).count() as u32
        };
        assert_eq!(told(0, EVENTS_BURST * 2), EVENTS_BURST);
        assert_eq!(told(100, EVENTS_BURST), EVENTS_A_SECOND / 10);
        assert_eq!(told(3_600_000, EVENTS_BURST * 2), EVENTS_BURST, "idleness is saved up to a burst");
    }
}
