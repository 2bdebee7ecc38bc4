//! What happens in the broker, for whoever watches.
//!
//! ```text
//!  broker's loop                               gateway's thread
//!  records, leases, workers                    one cursor for each watcher
//!      │ budget: told one by one, or counted       ▲ filter, rights
//!      ▼                                           │
//!    Batch ──── publish: one lock a turn ────► ring of the newest events
//! ```
//!
//! The broker's side costs one look at a flag while nobody watches. Nobody's slowness costs anybody else: there is
//! one ring for all, watchers read from their own places in it, and one that the ring has overtaken is told how
//! much it missed.
//!
//! - `news`: what can be told. `counts`: what is only counted. `budget`: which of the two.
//! - `ring`: the newest events, and their numbers. `watcher`: one who reads them. `sight`: what it may see.

mod budget;
mod counts;
mod filter;
mod news;
mod ring;
mod sight;
mod watcher;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};

use crate::limits::{FEED_LINGER, FEED_PACE, FEED_SUMMARY};
use ring::{Read, Ring};

pub use budget::Budget;
pub use counts::{Counts, Settled};
pub(crate) use filter::{Filter, Wishes};
pub(crate) use news::Event;
pub use news::{Group, News, cut};
pub(crate) use ring::Missed;
pub use sight::{Names, Sight};
pub(crate) use watcher::{Told, Watcher};

/// What goes from the broker to those who watch. Clones are the same.
#[derive(Clone, Debug)]
pub struct Feed {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// Somebody watches, or did so a moment ago.
    is_awake: AtomicBool,
    /// The gateway waits to be told that there is something new.
    is_listening: AtomicBool,
    bell: Notify,
    /// The number of the newest event, as far as watchers have been woken for it.
    newest: watch::Sender<u64>,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    ring: Ring,
    watchers: usize,
    /// When the last watcher went.
    left: Option<Instant>,
}

/// What happened in one turn of the broker.
#[derive(Debug, Default)]
pub struct Batch {
    /// What is told one by one.
    pub news: Vec<News>,
    /// What is only counted.
    pub counts: Counts,
}

impl Batch {
    /// Whether nothing happened.
    pub fn is_empty(&self) -> bool {
        self.news.is_empty() && self.counts.is_empty()
    }
}

/// Keeps the feed awake.
#[derive(Debug)]
pub(crate) struct Seat(Feed);

impl Drop for Seat {
    fn drop(&mut self) {
        let mut inner = self.0.shared.inner.lock();
        inner.watchers -= 1;
        inner.left = Some(Instant::now());
    }
}

impl Default for Feed {
    fn default() -> Self {
        let shared = Shared {
            is_awake: AtomicBool::new(false),
            is_listening: AtomicBool::new(false),
            bell: Notify::new(),
            newest: watch::Sender::new(0),
            inner: Mutex::default(),
        };
        Self { shared: Arc::new(shared) }
    }
}

impl Feed {
    /// Whether what happens is to be told.
    pub fn is_awake(&self) -> bool {
        // Whoever has begun to watch reaches the broker's loop by a way that orders this, too.
        self.shared.is_awake.load(Ordering::Relaxed)
    }

    /// Tells what happened, and when, in milliseconds since 1970.
    pub fn publish(&self, batch: Batch, at_ms: u64) {
        let mut inner = self.shared.inner.lock();
        if !self.is_awake() {
            return;
        }
        inner.ring.count(&batch.counts, Instant::now());
        batch.news.into_iter().for_each(|news| inner.ring.push(news, at_ms));
        drop(inner);
        if self.shared.is_listening.swap(false, Ordering::AcqRel) {
            self.shared.bell.notify_one();
        }
    }

    /// Begins to watch: what happens from now on is in the ring.
    fn sit_down(&self) -> Seat {
        let mut inner = self.shared.inner.lock();
        inner.watchers += 1;
        if !self.is_awake() {
            // Numbers are never used again, in another life of the broker neither: they go on from the time.
            inner.ring.begin(now_us());
            self.shared.is_awake.store(true, Ordering::Relaxed);
            self.shared.bell.notify_one();
        }
        Seat(self.clone())
    }

    fn read(&self, after: u64, most: usize) -> Read {
        self.shared.inner.lock().ring.read(after, most)
    }

    /// The numbers of the oldest event that is kept, and of the newest.
    fn kept(&self) -> (u64, u64) {
        self.shared.inner.lock().ring.kept()
    }

    fn newest(&self) -> watch::Receiver<u64> {
        self.shared.newest.subscribe()
    }

    /// Wakes watchers when there is something new, at a measured pace, for ever.
    pub(crate) async fn run(&self) {
        loop {
            self.shared.is_listening.store(true, Ordering::Release);
            self.tend();
            let rung = self.shared.bell.notified();
            match self.is_awake() {
                // Without a ring, too, a count may have to be closed, or everybody may be gone.
                true => drop(timeout(FEED_SUMMARY / 4, rung).await),
                false => rung.await,
            }
            sleep(FEED_PACE).await;
        }
    }

    fn tend(&self) {
        let mut inner = self.shared.inner.lock();
        let now = Instant::now();
        inner.ring.sum_up(now, now_us() / 1_000);
        let is_left = inner.left.is_some_and(|left| now.duration_since(left) >= FEED_LINGER);
        if inner.watchers == 0 && is_left && self.is_awake() {
            self.shared.is_awake.store(false, Ordering::Relaxed);
            inner.ring.end();
        }
        let (_, newest) = inner.ring.kept();
        drop(inner);
        self.shared.newest.send_if_modified(|known| std::mem::replace(known, newest) != newest);
    }
}

fn now_us() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as u64
}

#[cfg(test)]
mod tests;
