//! Room for large messages, and how long one may keep it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::limits::DoorLimits;

/// What a large message may take, whatever its size; and what it must come at, when nobody waits for the
/// budget and when somebody does.
const LARGE_PATIENCE: Duration = Duration::from_secs(5);
const LARGE_RATE: u64 = 64 << 10;
const LARGE_PATIENCE_CROWDED: Duration = Duration::from_secs(1);
const LARGE_RATE_CROWDED: u64 = 4 << 20;

/// Memory for large messages, shared by all connections of a listener.
#[derive(Debug)]
pub(super) struct Budget {
    room: Arc<Semaphore>,
    kib: u32,
    waiting: AtomicUsize,
}

impl Budget {
    pub(super) fn new(limits: &DoorLimits) -> Self {
        let kib =
            u32::try_from(limits.message_bytes_budget.max(limits.message_bytes) >> 10).unwrap_or(u32::MAX);
        let kib = kib.clamp(1, (Semaphore::MAX_PERMITS >> 1).try_into().unwrap_or(u32::MAX));
        Self { room: Arc::new(Semaphore::new(kib as usize)), kib, waiting: AtomicUsize::new(0) }
    }

    pub(super) async fn take(self: Arc<Self>, bytes: u64) -> Option<OwnedSemaphorePermit> {
        let kib = u32::try_from(bytes.div_ceil(1 << 10)).unwrap_or(u32::MAX).min(self.kib);
        if let Ok(permit) = self.room.clone().try_acquire_many_owned(kib) {
            return Some(permit);
        }
        let _waits = Waits::new(&self.waiting);
        // Never closed, so there is no error.
        self.room.clone().acquire_many_owned(kib).await.ok()
    }

    pub(super) fn is_crowded(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }
}

struct Waits<'a>(&'a AtomicUsize);

impl<'a> Waits<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A large message on its way in.
#[derive(Debug, Default)]
pub(super) struct Large {
    pub(super) waited: Duration,
    pub(super) bytes: u64,
}

impl Large {
    pub(super) fn patience(&self, is_crowded: bool) -> Duration {
        let (patience, rate) = match is_crowded {
            true => (LARGE_PATIENCE_CROWDED, LARGE_RATE_CROWDED),
            false => (LARGE_PATIENCE, LARGE_RATE),
        };
        patience + Duration::from_millis(self.bytes * 1_000 / rate)
    }
}
