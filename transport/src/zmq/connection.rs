//! A DEALER socket: one conversation with one broker.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_channel::mpsc;
use futures_util::{FutureExt, StreamExt};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use zeromq::{DealerSocket, SocketEvent, SocketRecv, SocketSend, ZmqMessage};

use super::io::IoThread;
use super::tunnels::Dug;
use super::{BURST, held, owned};
use crate::error::{Closed, SendError};
use crate::held::Held;
use crate::limits::{Limits, MESSAGE_COST};
use crate::mailbox::{Fifo, Mailbox};
use crate::traits::Connection;

/// A connection on a DEALER socket.
#[derive(Debug)]
pub struct ZmqConnection {
    ends: Ends,
    /// Taken from the inbox in one go, and not asked for yet.
    taken: VecDeque<Bytes>,
    task: Option<JoinHandle<()>>,
    io: Arc<IoThread>,
    tunnel: Option<Dug>,
}

/// What both sides of a connection share.
#[derive(Clone, Debug)]
pub(super) struct Ends {
    inbox: Mailbox<Fifo<Bytes>>,
    outbox: Mailbox<Fifo<Bytes>>,
    held: Arc<Held>,
    end: Arc<End>,
}

/// How the connection is to end, and why it did.
#[derive(Debug, Default)]
struct End {
    asked: Notify,
    grace: Mutex<Option<Duration>>,
    reason: Mutex<Option<String>>,
}

impl Ends {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            inbox: Mailbox::new(limits.inbox_messages, limits.inbox_bytes),
            // What is in it is among what is held, and that is bounded.
            outbox: Mailbox::new(usize::MAX, usize::MAX),
            held: Arc::new(held(limits)),
            end: Arc::default(),
        }
    }

    fn ask_for_the_end(&self, grace: Duration) {
        self.end.grace.lock().get_or_insert(grace);
        self.end.asked.notify_one();
    }
}

impl ZmqConnection {
    pub(super) fn new(ends: Ends, task: JoinHandle<()>, io: Arc<IoThread>, tunnel: Option<Dug>) -> Self {
        Self { ends, taken: VecDeque::new(), task: Some(task), io, tunnel }
    }

    fn closed(&self) -> Closed {
        let reason = self.ends.end.reason.lock();
        Closed::because(reason.as_deref().unwrap_or("the socket's thread ended"))
    }
}

impl Connection for ZmqConnection {
    async fn recv(&mut self) -> Result<Bytes, Closed> {
        if let Some(body) = self.taken.pop_front() {
            return Ok(body);
        }
        self.ends.inbox.recv(BURST, |body| self.taken.push_back(body)).await;
        self.taken.pop_front().ok_or_else(|| self.closed())
    }

    fn try_recv(&mut self) -> Result<Option<Bytes>, Closed> {
        if self.taken.is_empty() && self.ends.inbox.take(BURST, |body| self.taken.push_back(body)) == 0 {
            return match self.ends.inbox.is_closed_and_empty() {
                true => Err(self.closed()),
                false => Ok(None),
            };
        }
        Ok(self.taken.pop_front())
    }

    fn try_send(&self, body: Bytes) -> Result<(), SendError> {
        if self.ends.outbox.is_closed() {
            return Err(SendError::Gone(body));
        }
        let bytes = body.len();
        let body = self.ends.held.admit(body, bytes).map_err(SendError::Full)?;
        self.ends.outbox.push(body, bytes).map_err(SendError::Gone)
    }

    async fn close(mut self, grace: Duration) {
        let until = Instant::now() + grace;
        self.ends.ask_for_the_end(grace);
        if let Some(task) = self.task.take() {
            // The only error is that the task has ended already.
            let _ = task.await;
        }
        // The last of it may still be between the library and the system.
        self.io.linger_until(until);
        if let Some(tunnel) = self.tunnel.take() {
            tunnel.drained(until).await;
        }
    }
}

impl Drop for ZmqConnection {
    fn drop(&mut self) {
        self.ends.ask_for_the_end(Duration::ZERO);
    }
}

/// The socket's side; lives on the socket's thread.
pub(super) struct Link {
    ends: Ends,
    message_bytes: usize,
    received: Vec<(Bytes, usize)>,
}

impl Link {
    pub(super) fn new(ends: Ends, limits: &Limits) -> Self {
        Self { ends, message_bytes: limits.message_bytes, received: Vec::new() }
    }

    pub(super) async fn run(mut self, mut socket: DealerSocket, mut monitor: mpsc::Receiver<SocketEvent>) {
        let result = self.carry(&mut socket, &mut monitor).await;
        self.ends.inbox.push_all(&mut self.received);
        let reason = result.as_ref().err().map_or("it was closed", String::as_str);
        *self.ends.end.reason.lock() = Some(reason.to_owned());
        self.ends.outbox.close();
        if result.is_ok() && self.send_all(&mut socket).is_ok() {
            let grace = self.ends.end.grace.lock().unwrap_or_default();
            let _ = tokio::time::timeout(grace, self.ends.held.drained()).await;
        }
    }

    /// Until the owner asks for the end (`Ok`), or the connection is lost. A lost connection is never used
    /// again: the library neither connects anew nor stops repeating an error.
    async fn carry(
        &mut self,
        socket: &mut DealerSocket,
        monitor: &mut mpsc::Receiver<SocketEvent>,
    ) -> Result<(), String> {
        loop {
            let mut busy = self.send_all(socket)?;
            busy |= self.receive(socket)?;
            self.ends.inbox.push_all(&mut self.received);
            if self.ends.end.grace.lock().is_some() {
                return Ok(());
            }
            if busy {
                tokio::task::yield_now().await;
                continue;
            }
            let has_room = self.ends.inbox.has_room();
            tokio::select! {
                biased;
                () = self.ends.end.asked.notified() => {}
                () = self.ends.outbox.filled() => {}
                () = self.ends.inbox.half_empty(), if !has_room => {}
                message = socket.recv(), if has_room => {
                    self.on_message(message.map_err(|error| error.to_string())?)?;
                }
                event = monitor.next() => if matches!(event, Some(SocketEvent::Disconnected(_)) | None) {
                    return Err("the peer closed it".to_owned());
                },
            }
        }
    }

    fn send_all(&self, socket: &mut DealerSocket) -> Result<bool, String> {
        let mut result = Ok(());
        let count = self.ends.outbox.take(usize::MAX, |body| {
            if result.is_err() {
                return;
            }
            // Polled once: a send that waits keeps a lock with which the library can stop for good.
            result = match socket.send(ZmqMessage::from(body)).now_or_never() {
                Some(sent) => sent.map_err(|error| error.to_string()),
                None => Err("the peer does not read".to_owned()),
            };
        });
        result.map(|()| count > 0)
    }

    fn receive(&mut self, socket: &mut DealerSocket) -> Result<bool, String> {
        let (messages, bytes) = self.ends.inbox.room();
        let mut received = 0;
        for count in 0..BURST.min(messages) {
            match socket.recv().now_or_never() {
                Some(Ok(message)) => received += self.on_message(message)?,
                Some(Err(error)) => return Err(error.to_string()),
                None => return Ok(count > 0),
            }
            if received >= bytes {
                return Ok(true);
            }
        }
        Ok(messages > 0)
    }

    /// Returns what the message costs of the inbox.
    fn on_message(&mut self, message: ZmqMessage) -> Result<usize, String> {
        let mut parts = message.into_vecdeque();
        match (parts.pop_front(), parts.is_empty()) {
            (Some(body), true) if body.len() <= self.message_bytes => {
                let cost = body.len() + MESSAGE_COST;
                self.received.push((owned(body), cost));
                Ok(cost)
            }
            _ => Err("the peer sent a message of several parts, or one over the limit".to_owned()),
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // However the link ended, its owner hears of it.
        self.ends.outbox.close();
        self.ends.inbox.close();
    }
}
