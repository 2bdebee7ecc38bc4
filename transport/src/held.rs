//! What was accepted for sending and has not been written yet, counted.
//!
//! The library takes a hundred thousand messages for a connection whatever their size, and tells nobody how
//! many it still has. But it drops a message once it has copied it into its write buffer, so a message that
//! notices its own end tells: every body travels as a [`Slip`] that gives its place back when it is dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::sync::Notify;

/// The count of one connection, or of one publisher.
#[derive(Debug)]
pub(crate) struct Held {
    messages: AtomicUsize,
    bytes: AtomicUsize,
    drained: Notify,
    messages_max: usize,
    bytes_max: usize,
}

/// A body that is counted as long as anybody holds it.
struct Slip {
    body: Bytes,
    /// Its own size and that of what travels with it.
    bytes: usize,
    held: Arc<Held>,
}

impl Held {
    pub(crate) fn new(messages_max: usize, bytes_max: usize) -> Self {
        let (messages, bytes, drained) = (AtomicUsize::new(0), AtomicUsize::new(0), Notify::new());
        Self { messages, bytes, drained, messages_max, bytes_max }
    }

    /// Counts a message of `bytes` in all, of which `body` is one part. It comes back uncounted when a limit
    /// is reached; a message larger than all of the limit fits when nothing else is held.
    pub(crate) fn admit(self: &Arc<Self>, body: Bytes, bytes: usize) -> Result<Bytes, Bytes> {
        // Two senders at the same time may both pass where there is room for one, which is near enough.
        let messages = self.messages.load(Ordering::Acquire);
        let is_full = messages >= self.messages_max
            || (messages > 0 && self.bytes.load(Ordering::Acquire).saturating_add(bytes) > self.bytes_max);
        if is_full {
            return Err(body);
        }
        self.messages.fetch_add(1, Ordering::AcqRel);
        self.bytes.fetch_add(bytes, Ordering::AcqRel);
        Ok(Bytes::from_owner(Slip { body, bytes, held: self.clone() }))
    }

    /// Waits until nothing is held.
    pub(crate) async fn drained(&self) {
        loop {
            let drained = self.drained.notified();
            if self.messages.load(Ordering::Acquire) == 0 {
                return;
            }
            drained.await;
        }
    }
}

impl AsRef<[u8]> for Slip {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

impl Drop for Slip {
    fn drop(&mut self) {
        self.held.bytes.fetch_sub(self.bytes, Ordering::AcqRel);
        if self.held.messages.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.held.drained.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_message_is_counted_until_its_last_copy_is_dropped() {
        let held = Arc::new(Held::new(2, 100));
        let body = Bytes::from_static(b"payload");
        let first = held.admit(body.clone(), 60).unwrap();
        assert_eq!(first, body);
        assert_eq!(held.admit(body.clone(), 60), Err(body.clone()), "too many bytes");
        let second = held.admit(body.clone(), 40).unwrap();
        assert_eq!(held.admit(body.clone(), 0), Err(body.clone()), "too many messages");
        let copy = second.clone();
        drop((first, second));
        assert!(held.drained().now_or_never().is_none());
        drop(copy);
        assert!(held.drained().now_or_never().is_some());
        assert!(held.admit(body, 1_000).is_ok(), "a large one fits alone");
    }
}
