//! A PUB socket.

use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use tokio::task::JoinHandle;
use zeromq::{PubSocket, Socket, SocketSend, ZmqMessage};

use super::io::IoThread;
use super::{BURST, listener};
use crate::endpoint::Endpoint;
use crate::error::{BindError, PublishError};
use crate::limits::Limits;
use crate::mailbox::Mailbox;
use crate::traits::Publisher;

/// A publisher on a PUB socket.
///
/// The library never drops a publication for a slow subscriber, whatever it says: what a stalled one can
/// make it hold is bounded by the time after which TCP gives the connection up
/// ([`Limits::publisher`]) and by keeping publications small, which is the owner's part.
#[derive(Debug)]
pub struct ZmqPublisher {
    endpoint: Endpoint,
    queue: Mailbox<[Bytes; 3]>,
    task: JoinHandle<Option<Duration>>,
    grace: std::sync::Arc<parking_lot::Mutex<Duration>>,
    _io: IoThread,
}

impl ZmqPublisher {
    /// Listens on an endpoint.
    ///
    /// # Errors
    /// When the endpoint is in use, or the system refuses.
    pub async fn bind(endpoint: &Endpoint, limits: Limits) -> Result<Self, BindError> {
        let (listener, endpoint) = listener::listen(endpoint, &limits)?;
        let failed = |source: std::io::Error| BindError::Io { endpoint: endpoint.clone(), source };
        let io = IoThread::start().map_err(failed)?;
        let queue: Mailbox<[Bytes; 3]> = Mailbox::new(limits.outbox_messages, limits.outbox_bytes);
        let grace = std::sync::Arc::new(parking_lot::Mutex::new(Duration::ZERO));
        let (source, linger) = (queue.clone(), grace.clone());
        let (bound, is_bound) = tokio::sync::oneshot::channel();
        let task = io.spawn(async move {
            let mut socket = PubSocket::new();
            let result = socket.bind_listener(listener).await;
            let is_ok = result.is_ok();
            let _ = bound.send(result.map(|_| ()).map_err(|error| error.to_string()));
            if !is_ok {
                return None;
            }
            publish_all(&mut socket, &source).await;
            socket.unbind_all().await;
            let grace = *linger.lock();
            tokio::time::sleep(grace).await;
            Some(grace)
        });
        match is_bound.await {
            Ok(Ok(())) => Ok(Self { endpoint, queue, task, grace, _io: io }),
            Ok(Err(reason)) => Err(failed(std::io::Error::other(reason))),
            Err(_) => Err(failed(std::io::Error::other("the socket's thread ended"))),
        }
    }
}

/// Until the queue is closed. The library spreads publications to subscribers in a task of its own with a
/// ring that overflows silently, so that task gets its turn after every burst.
async fn publish_all(socket: &mut PubSocket, queue: &Mailbox<[Bytes; 3]>) {
    let mut burst = Vec::with_capacity(BURST);
    while queue.recv(BURST, |parts| burst.push(parts)).await > 0 {
        for [topic, header, body] in burst.drain(..) {
            let mut message = ZmqMessage::from(topic);
            message.push_back(header);
            message.push_back(body);
            let _ = socket.send(message).now_or_never();
        }
        tokio::task::yield_now().await;
    }
}

impl Publisher for ZmqPublisher {
    fn publish(&self, parts: [Bytes; 3]) -> Result<(), PublishError> {
        if !self.queue.has_room() {
            return Err(PublishError::Full);
        }
        let bytes = parts.iter().map(Bytes::len).sum();
        match self.queue.push(parts, bytes) {
            true => Ok(()),
            false => Err(PublishError::Gone),
        }
    }

    fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    async fn shutdown(self, grace: Duration) {
        *self.grace.lock() = grace;
        self.queue.close();
        let _ = self.task.await;
    }
}
