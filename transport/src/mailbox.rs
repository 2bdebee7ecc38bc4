//! A bounded queue between two threads that is cheap when both are busy.
//!
//! The receiver takes what is there under one lock, and the sender wakes it only when the queue was empty: a
//! burst costs one lock on each side and at most one wake-up, and a receiver that is awake is not woken at
//! all. In which order things come out is the queue's business: [`Fifo`] for one sender,
//! [`Turns`](crate::turns::Turns) for many connections.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

/// What a mailbox holds, and in which order it gives it out.
pub(crate) trait Queue: Default {
    type Item;

    /// Adds an item that costs so many bytes.
    fn push(&mut self, item: Self::Item, bytes: usize);

    /// Gives out at most `max` items, at least one when there is any, and returns how many, and the bytes
    /// that they cost.
    fn take(&mut self, max: usize, sink: &mut impl FnMut(Self::Item)) -> (usize, usize);

    fn len(&self) -> usize;
}

/// First in, first out.
#[derive(Debug)]
pub(crate) struct Fifo<T>(VecDeque<(T, usize)>);

/// Publications on their way: topic, header, body.
pub(crate) type Feed = Mailbox<Fifo<[bytes::Bytes; 3]>>;

/// One end of the queue; both ends are the same.
#[derive(Debug)]
pub(crate) struct Mailbox<Q> {
    shared: Arc<Shared<Q>>,
}

#[derive(Debug)]
struct Shared<Q> {
    inner: Mutex<Inner<Q>>,
    /// Wakes the receiver.
    filled: Notify,
    /// Wakes a sender that waits for room.
    emptied: Notify,
    messages_max: usize,
    bytes_max: usize,
}

#[derive(Debug)]
struct Inner<Q> {
    queue: Q,
    bytes: usize,
    sender_waits: bool,
    closed: bool,
}

/// Why something was not put into the queue. It comes back.
#[derive(Debug)]
pub(crate) enum Rejected<T> {
    Full(T),
    Closed(T),
}

impl<T> Default for Fifo<T> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<T> Queue for Fifo<T> {
    type Item = T;

    fn push(&mut self, item: T, bytes: usize) {
        self.0.push_back((item, bytes));
    }

    fn take(&mut self, max: usize, sink: &mut impl FnMut(T)) -> (usize, usize) {
        let count = self.0.len().min(max);
        let mut bytes = 0;
        for (item, size) in self.0.drain(..count) {
            bytes += size;
            sink(item);
        }
        (count, bytes)
    }

    fn len(&self) -> usize {
        self.0.len()
    }
}

impl<Q> Clone for Mailbox<Q> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<Q: Queue> Mailbox<Q> {
    pub(crate) fn new(messages_max: usize, bytes_max: usize) -> Self {
        let inner = Inner { queue: Q::default(), bytes: 0, sender_waits: false, closed: false };
        let (filled, emptied) = (Notify::new(), Notify::new());
        // A queue that never has room would be waited for without an end.
        let (messages_max, bytes_max) = (messages_max.max(1), bytes_max.max(1));
        Self {
            shared: Arc::new(Shared { inner: Mutex::new(inner), filled, emptied, messages_max, bytes_max }),
        }
    }

    /// Puts something in, unless the queue is at a limit. What is put into a queue below its limits may
    /// exceed them, so that a message larger than all of the queue still gets through.
    pub(crate) fn try_push(&self, item: Q::Item, bytes: usize) -> Result<(), Rejected<Q::Item>> {
        let inner = self.shared.inner.lock();
        if inner.closed {
            return Err(Rejected::Closed(item));
        }
        if !self.shared.has_room(&inner) {
            return Err(Rejected::Full(item));
        }
        self.shared.put(inner, [(item, bytes)]);
        Ok(())
    }

    /// Puts something in whatever the limits say; it comes back when the queue is closed.
    pub(crate) fn push(&self, item: Q::Item, bytes: usize) -> Result<(), Q::Item> {
        let inner = self.shared.inner.lock();
        if inner.closed {
            return Err(item);
        }
        self.shared.put(inner, [(item, bytes)]);
        Ok(())
    }

    /// Moves everything in whatever the limits say: who fills the queue asks [`Mailbox::room`] before. What
    /// is moved into a closed queue is gone.
    pub(crate) fn push_all(&self, items: &mut Vec<(Q::Item, usize)>) {
        if items.is_empty() {
            return;
        }
        let inner = self.shared.inner.lock();
        if inner.closed {
            drop(inner);
            return items.clear();
        }
        self.shared.put(inner, items.drain(..));
    }

    /// How many messages and bytes fit before a limit is reached; none at all when either is zero.
    pub(crate) fn room(&self) -> (usize, usize) {
        let inner = self.shared.inner.lock();
        let messages = self.shared.messages_max.saturating_sub(inner.queue.len());
        (messages, self.shared.bytes_max.saturating_sub(inner.bytes))
    }

    pub(crate) fn has_room(&self) -> bool {
        self.shared.has_room(&self.shared.inner.lock())
    }

    /// Waits until the queue is half empty, or closed. Half, because a sender that is woken for every
    /// message taken from a full queue would spend its time waking up.
    pub(crate) async fn half_empty(&self) {
        loop {
            let emptied = self.shared.emptied.notified();
            {
                let mut inner = self.shared.inner.lock();
                if inner.closed || self.shared.is_half_empty(&inner) {
                    return;
                }
                inner.sender_waits = true;
            }
            emptied.await;
        }
    }

    /// Takes up to `max` items that are there, as many as the queue gives at a time.
    pub(crate) fn take(&self, max: usize, mut sink: impl FnMut(Q::Item)) -> usize {
        self.take_or_closed(max, &mut sink).unwrap_or_default()
    }

    /// Waits until something is there, and takes up to `max` items, as many as the queue gives at a time. Zero: the queue is closed and empty.
    pub(crate) async fn recv(&self, max: usize, mut sink: impl FnMut(Q::Item)) -> usize {
        loop {
            match self.take_or_closed(max, &mut sink) {
                None => return 0,
                Some(0) => self.shared.filled.notified().await,
                Some(count) => return count,
            }
        }
    }

    /// Waits until something was put in since the last time; may return although it was taken meanwhile.
    /// Only for receivers that take all there is.
    pub(crate) async fn filled(&self) {
        self.shared.filled.notified().await;
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.shared.inner.lock().closed
    }

    pub(crate) fn is_closed_and_empty(&self) -> bool {
        let inner = self.shared.inner.lock();
        inner.closed && inner.queue.len() == 0
    }

    /// Nothing more comes in; what is there can still be taken.
    pub(crate) fn close(&self) {
        self.shared.inner.lock().closed = true;
        self.shared.filled.notify_one();
        self.shared.emptied.notify_one();
    }

    fn take_or_closed(&self, max: usize, sink: &mut impl FnMut(Q::Item)) -> Option<usize> {
        let mut inner = self.shared.inner.lock();
        if inner.queue.len() == 0 && inner.closed {
            return None;
        }
        let (count, bytes) = inner.queue.take(max, sink);
        inner.bytes -= bytes;
        let wake = inner.sender_waits && self.shared.is_half_empty(&inner);
        if wake {
            inner.sender_waits = false;
        }
        drop(inner);
        if wake {
            self.shared.emptied.notify_one();
        }
        Some(count)
    }
}

impl<Q: Queue> Shared<Q> {
    fn has_room(&self, inner: &Inner<Q>) -> bool {
        inner.queue.len() < self.messages_max && inner.bytes < self.bytes_max
    }

    fn is_half_empty(&self, inner: &Inner<Q>) -> bool {
        inner.queue.len() <= self.messages_max / 2 && inner.bytes <= self.bytes_max / 2
    }

    fn put(
        &self,
        mut inner: parking_lot::MutexGuard<'_, Inner<Q>>,
        items: impl IntoIterator<Item = (Q::Item, usize)>,
    ) {
        let was_empty = inner.queue.len() == 0;
        for (item, bytes) in items {
            inner.bytes += bytes;
            inner.queue.push(item, bytes);
        }
        drop(inner);
        if was_empty {
            self.filled.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn a_full_queue_gives_the_message_back_and_an_empty_one_takes_any() {
        let mailbox = Mailbox::<Fifo<_>>::new(10, 100);
        assert!(mailbox.try_push('a', 1_000).is_ok());
        assert!(matches!(mailbox.try_push('b', 1), Err(Rejected::Full('b'))));
        assert_eq!(mailbox.take(9, drop), 1);
        assert!(mailbox.try_push('b', 1).is_ok());
        mailbox.close();
        assert!(matches!(mailbox.try_push('c', 1), Err(Rejected::Closed('c'))));
    }

    #[tokio::test]
    async fn what_was_put_in_before_the_end_comes_out_before_the_end() {
        let mailbox = Mailbox::<Fifo<_>>::new(10, 100);
        mailbox.push_all(&mut vec![(1, 0), (2, 0), (3, 0)]);
        mailbox.close();
        let mut taken = Vec::new();
        assert_eq!(mailbox.recv(2, |item| taken.push(item)).await, 2);
        assert_eq!(mailbox.recv(2, |item| taken.push(item)).await, 1);
        assert_eq!(mailbox.recv(2, |item| taken.push(item)).await, 0);
        assert_eq!(taken, [1, 2, 3]);
    }

    #[tokio::test]
    async fn a_waiting_sender_wakes_at_half() {
        let mailbox = Mailbox::<Fifo<_>>::new(4, 100);
        mailbox.push_all(&mut vec![(1, 0), (2, 0), (3, 0), (4, 0)]);
        let mut waiting = std::pin::pin!(mailbox.half_empty());
        assert!(waiting.as_mut().now_or_never().is_none());
        mailbox.take(1, drop);
        assert!(waiting.as_mut().now_or_never().is_none());
        mailbox.take(1, drop);
        assert!(waiting.as_mut().now_or_never().is_some());
    }

    #[tokio::test]
    async fn a_receiver_on_another_thread_gets_everything() {
        const COUNT: usize = 20_000;
        let mailbox = Mailbox::<Fifo<_>>::new(COUNT, usize::MAX);
        let sender = mailbox.clone();
        let thread = std::thread::spawn(move || {
            for number in 0..COUNT {
                assert!(sender.push(number, 1).is_ok());
            }
            sender.close();
        });
        let mut taken = Vec::new();
        while mailbox.recv(7, |number| taken.push(number)).await > 0 {}
        assert!(taken.iter().copied().eq(0..COUNT));
        thread.join().unwrap();
    }
}
