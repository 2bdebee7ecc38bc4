//! How long whoever does not read is waited for.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::counters::Breach;

/// A reader is not stalled as long as it takes this much in [`DoorLimits::reader_stall`].
const STALL_BYTES: u64 = 64 << 10;

/// What waits for all readers of a listener together.
#[derive(Debug)]
pub(super) struct Crush {
    bytes: AtomicUsize,
    readers: AtomicUsize,
    most: usize,
}

impl Crush {
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { bytes: AtomicUsize::new(0), readers: AtomicUsize::new(0), most })
    }

    /// Whether a reader for which this much waits keeps too much from the others.
    fn is_too_much(&self, waiting: usize) -> bool {
        let readers = self.readers.load(Ordering::Relaxed).max(1);
        self.bytes.load(Ordering::Relaxed) > self.most && waiting > self.most / readers
    }
}

/// One reader's part in it.
#[derive(Debug)]
pub(super) struct Part {
    of: Arc<Crush>,
    waiting: usize,
}

impl Part {
    pub(super) fn new(of: Arc<Crush>) -> Self {
        of.readers.fetch_add(1, Ordering::Relaxed);
        Self { of, waiting: 0 }
    }

    /// Books what waits now. Returns whether that is too much.
    pub(super) fn book(&mut self, waiting: usize) -> bool {
        if waiting != self.waiting {
            // Wraps round to the right sum, whichever of the two is larger.
            self.of.bytes.fetch_add(waiting.wrapping_sub(self.waiting), Ordering::Relaxed);
            self.waiting = waiting;
        }
        self.of.is_too_much(waiting)
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.of.bytes.fetch_sub(self.waiting, Ordering::Relaxed);
        self.of.readers.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How long whom is waited for.
#[derive(Clone, Debug)]
pub(super) struct Patience {
    /// For a peer that takes nothing.
    pub(super) stall: Duration,
    /// For a peer for which this much waits, to take half of it.
    pub(super) behind: Option<(usize, Duration)>,
    /// For all of them together.
    pub(super) crush: Option<Arc<Crush>>,
}

/// How the peer takes what it is sent.
#[derive(Debug, Default)]
pub(super) struct Reader {
    stalls_at: Option<Instant>,
    taken: u64,
    falls_behind_at: Option<Instant>,
}

impl Reader {
    pub(super) fn look(&mut self, patience: &Patience, waiting: usize, written: u64) -> Result<(), Breach> {
        if waiting == 0 {
            *self = Self::default();
            return Ok(());
        }
        let now = Instant::now();
        self.taken += written;
        if self.stalls_at.is_none() || self.taken >= STALL_BYTES {
            (self.stalls_at, self.taken) = (Some(now + patience.stall), 0);
        }
        if let Some((most, lag)) = patience.behind {
            if waiting >= most {
                self.falls_behind_at.get_or_insert(now + lag);
            } else if waiting < most / 2 {
                self.falls_behind_at = None;
            }
        }
        let is_over = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        match is_over(self.stalls_at) || is_over(self.falls_behind_at) {
            true => Err(Breach::SlowReader),
            false => Ok(()),
        }
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.stalls_at.into_iter().chain(self.falls_behind_at).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_more_than_its_share_waiting_goes_when_it_is_too_much_for_all() {
        let crush = Crush::new(1_000);
        let mut readers: Vec<Part> = (0..4).map(|_| Part::new(crush.clone())).collect();
        assert!(!readers[0].book(900), "alone it may");
        assert!(!readers[1].book(90) && !readers[2].book(90), "they have less than a quarter");
        assert!(readers[0].book(901), "the others need it");
        readers.remove(0);
        assert!(!readers[0].book(500));
        drop(readers);
        assert_eq!(crush.bytes.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_reader_is_given_up_when_it_stalls_or_stays_behind() {
        let patience = |stall, lag| Patience {
            stall: Duration::from_millis(stall),
            behind: Some((1_000, Duration::from_millis(lag))),
            crush: None,
        };
        let mut reader = Reader::default();
        assert_eq!(reader.look(&patience(0, 99_999), 10, 0), Err(Breach::SlowReader));
        let mut reader = Reader::default();
        assert_eq!(reader.look(&patience(99_999, 0), 999, 0), Ok(()));
        assert_eq!(reader.look(&patience(99_999, 0), 1_000, 0), Err(Breach::SlowReader));
        let mut reader = Reader::default();
        assert_eq!(reader.look(&patience(99_999, 99_999), 1_000, 0), Ok(()));
        assert!(reader.falls_behind_at.is_some());
        assert_eq!(reader.look(&patience(99_999, 99_999), 499, 0), Ok(()));
        assert!(reader.falls_behind_at.is_none() && reader.stalls_at.is_some());
        assert_eq!(reader.look(&patience(99_999, 99_999), 0, 0), Ok(()));
        assert!(reader.due().is_none());
    }
}
