//! Waiting for conditions, never for time.
//!
//! A test says what must come true and by when; how long that takes on this machine today is nobody's
//! business. The few scenarios whose subject is a span of time (a process frozen for ten seconds, a put
//! every millisecond, a handler that takes its time) take it from [`Metronome`]. Nothing else here sleeps.

use std::future::Future;
use std::time::{Duration, Instant};

/// Pause between two looks at a condition: short beside every deadline, long beside a look.
const LOOK: Duration = Duration::from_millis(5);

/// Waits until a condition holds, and returns how long that took.
///
/// # Panics
/// When it does not by the deadline.
#[track_caller]
pub fn eventually(what: &str, deadline: Duration, holds: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    assert!(is_true_within(deadline, holds), "not within {deadline:?}: {what}");
    start.elapsed()
}

/// Waits until a condition holds; false when it does not by the deadline.
pub fn is_true_within(deadline: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    while !holds() {
        if start.elapsed() >= deadline {
            return false;
        }
        std::thread::park_timeout(LOOK);
    }
    true
}

/// Waits until an asynchronous look finds something, and returns it.
///
/// # Panics
/// When it has not by the deadline; also when a single look takes longer than what is left of it.
pub async fn until<T, F>(what: &str, deadline: Duration, look: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let Some(found) = found_within(deadline, look).await else { panic!("not within {deadline:?}: {what}") };
    found
}

/// Waits until an asynchronous look finds something, and returns it; nothing when it has not by the
/// deadline, or when a single look takes longer than what is left of it.
pub async fn found_within<T, F>(deadline: Duration, mut look: impl FnMut() -> F) -> Option<T>
where
    F: Future<Output = Option<T>>,
{
    let looks = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    tokio::time::timeout(deadline, looks).await.ok()
}

/// Waits for a future.
///
/// # Panics
/// When it is not done by the deadline.
pub async fn within<T>(what: &str, deadline: Duration, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(deadline, future).await {
        Ok(value) => value,
        Err(_) => panic!("not within {deadline:?}: {what}"),
    }
}

/// Beats at a fixed rate from its creation on; a beat that came late does not delay the next ones.
#[derive(Debug)]
pub struct Metronome {
    start: Instant,
    every: Duration,
    beats: u32,
}

impl Metronome {
    /// The first beat comes after one span.
    pub fn new(every: Duration) -> Self {
        Self { start: Instant::now(), every, beats: 0 }
    }

    /// Waits for the next beat.
    pub async fn beat(&mut self) {
        self.beats += 1;
        let at = self.start + self.every * self.beats;
        tokio::time::sleep_until(at.into()).await;
    }

    /// Waits until a single span has passed.
    pub async fn once(span: Duration) {
        Self::new(span).beat().await;
    }

    /// Time since it was made.
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }
}
