//! How hard a thread works.

use std::time::{Duration, Instant};

use tokio::runtime::Handle;

/// How long a thread is watched before it is judged. Shorter, and another process that has its core for a
/// moment looks like work; longer, and a flood holds up the others for longer.
pub const WATCH: Duration = Duration::from_millis(20);
/// A thread has no time left that has worked for more than so many hundredths of that: what comes alone uses
/// at most two thirds, because somebody else's thread works on it then.
pub const PRESSED_AT: u32 = 80;
/// How long what has left a thread for lack of time stays away: coming back would make it so again.
pub const REST: Duration = Duration::from_millis(500);

/// How long the thread of a runtime has worked, and not slept, since it was started.
pub fn worked(runtime: &Handle) -> Duration {
    runtime.metrics().worker_total_busy_duration(0)
}

/// Watches one thread, or several as if they were one.
#[derive(Debug)]
pub struct Strain {
    since: Instant,
    worked: Duration,
}

impl Strain {
    /// Begins to watch what has worked for so long.
    pub fn new(now: Instant, worked: Duration) -> Self {
        Self { since: now, worked }
    }

    /// The hundredths of the time that it has worked, if it was watched for long enough since this was said.
    pub fn look(&mut self, now: Instant, worked: impl FnOnce() -> Duration) -> Option<u32> {
        let watched = now.saturating_duration_since(self.since);
        if watched < WATCH {
            return None;
        }
        let worked = worked();
        let its = worked.saturating_sub(self.worked);
        (self.since, self.worked) = (now, worked);
        Some((its.as_nanos() * 100 / watched.as_nanos()).try_into().unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_judged_by_the_time_it_was_watched_for() {
        let (begin, ms) = (Instant::now(), Duration::from_millis(1));
        let mut strain = Strain::new(begin, 7 * ms);
        assert_eq!(strain.look(begin + WATCH - ms, || unreachable!()), None);
        assert_eq!(strain.look(begin + WATCH, || 7 * ms + WATCH / 2), Some(50));
        assert_eq!(strain.look(begin + WATCH + ms, || unreachable!()), None);
        assert_eq!(strain.look(begin + 11 * WATCH, || 7 * ms + 8 * WATCH), Some(75));
    }

    #[test]
    fn what_a_thread_does_counts_as_its_work() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        assert_eq!(worked(runtime.handle()), Duration::ZERO);
        runtime.block_on(async {
            let began = Instant::now();
            let spin = async move { while began.elapsed() < WATCH {} };
            tokio::spawn(spin).await.unwrap();
        });
        assert!(worked(runtime.handle()) >= WATCH / 2);
    }
}
