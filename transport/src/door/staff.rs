//! What all listeners of a door share: threads, counters, the count of each key's connections, a voice.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use tokio::runtime::Handle;

use super::counters::{Breach, Counters};
use super::keys::PublicKey;
use crate::zmq::IoThread;

/// Lines that may be logged in a row, and how fast there may be more: a flood of strangers must not become a
/// flood of lines. The counters count them all.
const LINES: f64 = 20.0;
const LINES_A_SECOND: f64 = 5.0;

/// Fits the 15 bytes that the system keeps of a name.
const THREAD_NAME: &str = "ganger-door";

#[derive(Debug)]
pub(super) struct Staff {
    threads: Vec<IoThread>,
    next: AtomicUsize,
    pub(super) counters: Counters,
    keys: Mutex<HashMap<PublicKey, usize>>,
    voice: Mutex<Voice>,
}

#[derive(Debug)]
struct Voice {
    left: f64,
    at: Instant,
    unsaid: u64,
}

impl Staff {
    pub(super) fn start(threads: usize) -> io::Result<Arc<Self>> {
        let threads =
            (0..threads.max(1)).map(|_| IoThread::start_as(THREAD_NAME)).collect::<io::Result<_>>()?;
        let voice = Voice { left: LINES, at: Instant::now(), unsaid: 0 };
        Ok(Arc::new(Self {
            threads,
            next: AtomicUsize::new(0),
            counters: Counters::default(),
            keys: Mutex::default(),
            voice: Mutex::new(voice),
        }))
    }

    /// Runs a task on one of the threads, each in its turn.
    pub(super) fn spawn<F>(&self, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.runtime().spawn(task);
    }

    /// The runtime of one of the threads, each in its turn.
    pub(super) fn runtime(&self) -> &Handle {
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        self.threads[next % self.threads.len()].handle()
    }

    /// Says something, unless too much was said already.
    pub(super) fn say(&self, line: impl FnOnce()) {
        let mut voice = self.voice.lock();
        let passed = voice.at.elapsed();
        voice.at += passed;
        voice.left = (voice.left + passed.as_secs_f64() * LINES_A_SECOND).min(LINES);
        if voice.left < 1.0 {
            voice.unsaid += 1;
            return;
        }
        voice.left -= 1.0;
        let unsaid = std::mem::take(&mut voice.unsaid);
        drop(voice);
        if unsaid > 0 {
            tracing::warn!(lines = unsaid, "more was refused than is told; the counters tell how much");
        }
        line();
    }
}

/// One connection of a key, counted.
#[derive(Debug)]
pub(super) struct KeyPlace {
    staff: Arc<Staff>,
    key: PublicKey,
}

impl KeyPlace {
    pub(super) fn take(staff: &Arc<Staff>, key: PublicKey, most: Option<usize>) -> Result<Self, Breach> {
        let mut keys = staff.keys.lock();
        let count = keys.entry(key).or_default();
        if most.is_some_and(|most| *count >= most) {
            return Err(Breach::TooManyOfKey);
        }
        *count += 1;
        Ok(Self { staff: staff.clone(), key })
    }
}

impl Drop for KeyPlace {
    fn drop(&mut self) {
        let mut keys = self.staff.keys.lock();
        if let Some(count) = keys.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                keys.remove(&self.key);
            }
        }
    }
}

/// Threads for a machine of this size: encryption scales with them, and the rest of the broker needs some
/// too.
pub(super) fn threads() -> usize {
    const MOST: usize = 8;
    std::thread::available_parallelism().map_or(2, |cores| cores.get().div_ceil(2)).clamp(1, MOST)
}
