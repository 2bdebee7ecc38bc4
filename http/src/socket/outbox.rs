//! What a peer has not read yet.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::Notify;

use super::message::{Body, Said};
use crate::limits::{SOCKET_UNREAD_MAX, SOCKET_UNREAD_TIGHT};

/// What waits to be written. It never refuses an answer or an outcome, of which there are only so many at a time;
/// everything that could be without end looks first whether there is room.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    inner: Mutex<Inner>,
    /// Something was put in.
    filled: Notify,
    /// Something was read.
    emptied: Notify,
}

#[derive(Debug)]
struct Inner {
    texts: VecDeque<String>,
    /// Bytes that were put in and have not left.
    bytes: usize,
    /// When the peer last said something, or took something.
    alive: Instant,
}

impl Default for Inner {
    fn default() -> Self {
        Self { texts: VecDeque::new(), bytes: 0, alive: Instant::now() }
    }
}

impl Outbox {
    /// Puts something in.
    pub(super) fn say(&self, req: impl Into<Option<u64>>, body: &Body) {
        self.put(&Said { req: req.into(), body });
    }

    fn put<T: Serialize>(&self, said: &T) {
        // Our own shapes always encode.
        let text = serde_json::to_string(said).unwrap_or_default();
        let mut inner = self.inner.lock();
        inner.bytes += text.len();
        inner.texts.push_back(text);
        drop(inner);
        self.filled.notify_one();
    }

    /// The next text; waits for one.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub(super) async fn next(&self) -> String {
        loop {
            let filled = self.filled.notified();
            if let Some(text) = self.try_next() {
                return text;
            }
            filled.await;
        }
    }

    pub(super) fn try_next(&self) -> Option<String> {
        self.inner.lock().texts.pop_front()
    }

    /// So many bytes have left.
    pub(super) fn read(&self, bytes: usize) {
        let mut inner = self.inner.lock();
        inner.bytes -= bytes;
        inner.alive = Instant::now();
        drop(inner);
        self.emptied.notify_waiters();
    }

    /// Waits until no more than this waits to be read.
    pub(super) async fn room(&self, most: usize) {
        loop {
            let mut emptied = std::pin::pin!(self.emptied.notified());
            emptied.as_mut().enable();
            if self.inner.lock().bytes <= most {
                return;
            }
            emptied.await;
        }
    }

    /// How large a result may be to be shown. Written out it takes up to twice as much.
    pub(super) fn room_for_results(&self) -> usize {
        SOCKET_UNREAD_MAX.saturating_sub(self.inner.lock().bytes) / 2
    }

    /// Whether what can be done without is to be dropped.
    pub(super) fn is_tight(&self) -> bool {
        self.inner.lock().bytes > SOCKET_UNREAD_TIGHT
    }

    /// The peer has said something.
    pub(super) fn alive(&self) {
        self.inner.lock().alive = Instant::now();
    }

    pub(super) fn silent_for(&self) -> Duration {
        self.inner.lock().alive.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn done() -> Body {
        Body::Done { refused: Vec::new() }
    }

    #[tokio::test]
    async fn whoever_waits_for_room_goes_on_when_enough_has_left() {
        let outbox = Outbox::default();
        (0..3).for_each(|req| outbox.say(req, &done()));
        let bytes = outbox.inner.lock().bytes;
        let mut room = std::pin::pin!(outbox.room(bytes / 2));
        assert!((&mut room).now_or_never().is_none());
        for _ in 0..2 {
            let text = outbox.next().await;
            outbox.read(text.len());
        }
        room.await;
        assert!(!outbox.is_tight());
    }

    #[tokio::test]
    async fn a_peer_that_does_not_read_gets_no_results_but_every_outcome() {
        let outbox = Outbox::default();
        let text = "x".repeat(SOCKET_UNREAD_MAX);
        let full = Body::Error { id: None, problem: crate::refusal::Refusal::busy(text).problem() };
        assert!(outbox.room_for_results() > 0);
        outbox.say(1, &full);
        assert_eq!((outbox.room_for_results(), outbox.is_tight()), (0, true));
        outbox.say(2, &done());
        outbox.next().await;
        assert_eq!(outbox.next().await, "{\"req\":2,\"type\":\"done\"}");
    }
}
