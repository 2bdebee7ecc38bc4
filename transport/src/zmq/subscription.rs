//! A SUB socket: what one publisher says.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures_channel::mpsc;
use futures_util::StreamExt;
use tokio::task::JoinHandle;
use zeromq::{SocketEvent, SocketRecv, SubSocket, ZmqMessage};

use super::io::IoThread;
use super::tunnels::Dug;
use super::{BURST, owned};
use crate::error::Closed;
use crate::limits::{Limits, MESSAGE_COST};
use crate::mailbox::{Fifo, Mailbox};
use crate::traits::Subscription;

/// A subscription on a SUB socket.
#[derive(Debug)]
pub struct ZmqSubscription {
    ends: Ends,
    task: JoinHandle<()>,
    _io: Arc<IoThread>,
    _tunnel: Option<Dug>,
}

/// What both sides of a subscription share.
#[derive(Clone, Debug)]
pub(super) struct Ends {
    inbox: Mailbox<Fifo<[Bytes; 3]>>,
    skipped: Arc<AtomicU64>,
}

impl Ends {
    pub(super) fn new(limits: &Limits) -> Self {
        let inbox = Mailbox::new(limits.feed_messages, limits.feed_bytes);
        Self { inbox, skipped: Arc::default() }
    }
}

impl ZmqSubscription {
    pub(super) fn new(ends: Ends, task: JoinHandle<()>, io: Arc<IoThread>, tunnel: Option<Dug>) -> Self {
        Self { ends, task, _io: io, _tunnel: tunnel }
    }

    /// How many publications were not delivered, because they were malformed or because the owner was
    /// behind.
    pub fn skipped(&self) -> u64 {
        self.ends.skipped.load(Ordering::Relaxed)
    }
}

impl Subscription for ZmqSubscription {
    async fn recv(&mut self) -> Result<[Bytes; 3], Closed> {
        let mut received = None;
        self.ends.inbox.recv(1, |parts| received = Some(parts)).await;
        received.ok_or_else(|| Closed::because("the publisher is gone"))
    }

    async fn close(self) {}
}

impl Drop for ZmqSubscription {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The socket's side; lives on the socket's thread.
pub(super) struct Feed {
    ends: Ends,
    message_bytes: usize,
}

impl Feed {
    pub(super) fn new(ends: Ends, limits: &Limits) -> Self {
        Self { ends, message_bytes: limits.message_bytes }
    }

    /// Until the publisher is gone. The library would connect again by itself, and can hang in that for
    /// good, so a lost connection ends the subscription and its owner makes a new one.
    pub(super) async fn run(self, mut socket: SubSocket, mut monitor: mpsc::Receiver<SocketEvent>) {
        let mut count = 0_usize;
        loop {
            tokio::select! {
                event = monitor.next() => match event {
                    Some(SocketEvent::Disconnected(_)) | None => return,
                    Some(_) => {}
                },
                message = socket.recv() => match message {
                    Ok(message) => self.on_message(message),
                    Err(_) => return,
                },
            }
            count += 1;
            if count.is_multiple_of(BURST) {
                tokio::task::yield_now().await;
            }
        }
    }

    /// A subscriber that is behind loses publications, sees the gap and asks.
    fn on_message(&self, message: ZmqMessage) {
        let taken = <[Bytes; 3]>::try_from(message.into_vec()).ok().and_then(|parts| {
            let bytes = parts.iter().map(Bytes::len).sum::<usize>();
            let fits = bytes <= self.message_bytes;
            fits.then(|| self.ends.inbox.try_push(parts.map(owned), bytes + MESSAGE_COST).ok())?
        });
        if taken.is_none() {
            self.ends.skipped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.ends.inbox.close();
    }
}
