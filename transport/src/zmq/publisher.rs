//! A PUB socket.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use zeromq::{PubSocket, Socket, SocketSend, ZmqMessage};

use super::io::{self, IoThread};
use super::listener::Bound;
use super::{BURST, held, listener};
use crate::door::{Attended, Door, Gate, Service};
use crate::endpoint::Endpoint;
use crate::error::{BindError, PublishError};
use crate::held::Held;
use crate::limits::{Limits, raise_nofile_limit};
use crate::mailbox::Feed;
use crate::traits::Publisher;

/// A publisher on a PUB socket, which lives on a thread of its own.
///
/// The library never drops a publication for a slow subscriber, whatever it says. So a publication counts
/// until the slowest subscriber has it, and above the limits of the outbox nothing is taken for anybody:
/// memory is bounded, and every subscriber sees the gap and asks. It lasts until TCP gives the slow one up
/// ([`Limits::publisher`]), and small publications keep it from ever coming, which is the owner's part.
/// Behind a door none of this happens: to the library the door is the only subscriber, and a fast one.
#[derive(Debug)]
pub struct ZmqPublisher {
    endpoint: Endpoint,
    queue: Feed,
    held: Arc<Held>,
    grace: Arc<Mutex<Duration>>,
    task: JoinHandle<()>,
    io: IoThread,
    attended: Option<Attended>,
}

impl ZmqPublisher {
    /// Listens on an endpoint that nobody but friends can reach.
    ///
    /// # Errors
    /// When the endpoint is in use, or the system refuses.
    pub async fn bind(endpoint: &Endpoint, limits: Limits) -> Result<Self, BindError> {
        let bound = listener::listen(endpoint, &limits)?;
        Self::on(own(endpoint)?, bound, None, limits).await
    }

    /// Listens on an endpoint behind a door, which lets subscribers say nothing but what they subscribe to,
    /// and cuts one that falls behind before anybody else notices.
    ///
    /// # Errors
    /// When the endpoint is in use, or the system refuses.
    pub async fn bind_behind(
        door: &Door,
        endpoint: &Endpoint,
        limits: Limits,
        gate: Gate,
    ) -> Result<Self, BindError> {
        let service = Service::Publications;
        let io = own(endpoint)?;
        let (bound, attended) = listener::listen_behind(door, &io, endpoint, &limits, gate, service)?;
        Self::on(io, bound, attended, limits).await
    }

    /// Listens on the thread of the caller, as [`ZmqServer::bind_here`](super::ZmqServer::bind_here) does.
    ///
    /// # Errors
    /// When the endpoint is in use, or the system refuses.
    pub async fn bind_here(
        door: Option<&Door>,
        endpoint: &Endpoint,
        limits: Limits,
        gate: Gate,
    ) -> Result<Self, BindError> {
        let io = IoThread::of_the_caller().map_err(|error| listener::failed(endpoint, error))?;
        let (bound, attended) = match door {
            Some(door) => {
                let service = Service::Publications;
                listener::listen_behind(door, &io, endpoint, &limits, gate, service)?
            }
            None => (listener::listen(endpoint, &limits)?, None),
        };
        Self::on(io, bound, attended, limits).await
    }

    async fn on(
        io: IoThread,
        bound: Bound,
        attended: Option<Attended>,
        limits: Limits,
    ) -> Result<Self, BindError> {
        raise_nofile_limit();
        let Bound { listening, endpoint, file } = bound;
        let failed = |source: std::io::Error| BindError::Io { endpoint: endpoint.clone(), source };
        let is_lent = io.is_lent();
        let queue = Feed::new(usize::MAX, usize::MAX);
        let (held, grace) = (Arc::new(held(&limits)), Arc::new(Mutex::default()));
        let outlet = Outlet { queue: queue.clone(), held: held.clone(), grace: grace.clone() };
        let (bound, is_bound) = tokio::sync::oneshot::channel();
        let task = io.spawn(async move {
            let mut socket = PubSocket::new();
            let result = socket
                .bind_listener(zeromq::Listener::from(listening))
                .await
                .map(drop)
                .map_err(|error| error.to_string());
            let is_ok = result.is_ok();
            // The owner is gone when it has given up meanwhile.
            if bound.send(result).is_ok() && is_ok {
                let until = outlet.run(socket).await;
                if !is_lent {
                    io::finished(1, until).await;
                }
            }
            drop(file);
        });
        match is_bound.await {
            Ok(Ok(())) => Ok(Self { endpoint, queue, held, grace, task, io, attended }),
            Ok(Err(reason)) => Err(failed(std::io::Error::other(reason))),
            Err(_) => Err(failed(std::io::Error::other("the socket's thread ended"))),
        }
    }
}

fn own(endpoint: &Endpoint) -> Result<IoThread, BindError> {
    IoThread::start().map_err(|error| listener::failed(endpoint, error))
}

impl Publisher for ZmqPublisher {
    fn publish(&self, parts: [Bytes; 3]) -> Result<(), PublishError> {
        let bytes = parts.iter().map(Bytes::len).sum();
        let [topic, header, body] = parts;
        let topic = self.held.admit(topic, bytes).map_err(|_| PublishError::Full)?;
        self.queue.push([topic, header, body], bytes).map_err(|_| PublishError::Gone)
    }

    fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    async fn shutdown(self, grace: Duration) {
        let until = Instant::now() + grace;
        if let Some(attended) = &self.attended {
            attended.close();
        }
        *self.grace.lock() = grace;
        self.queue.close();
        // The only error is that the task has ended already.
        let _ = self.task.await;
        self.io.end().await;
        if let Some(attended) = self.attended {
            attended.drained(until).await;
        }
    }
}

/// The socket's side; lives on the socket's thread.
struct Outlet {
    queue: Feed,
    held: Arc<Held>,
    grace: Arc<Mutex<Duration>>,
}

impl Outlet {
    /// Until the queue is closed; returns until when subscribers may be written to.
    async fn run(self, mut socket: PubSocket) -> Instant {
        self.publish_all(&mut socket).await;
        let until = Instant::now() + *self.grace.lock();
        socket.unbind_all().await;
        // Dropping the socket drops what it has not spread to its subscribers yet.
        let _ = tokio::time::timeout_at(until, self.held.drained()).await;
        until
    }

    /// Until the queue is closed. The library spreads publications to subscribers in a task of its own, from
    /// a ring that overflows silently, so that task gets its turn after every burst.
    async fn publish_all(&self, socket: &mut PubSocket) {
        let mut burst = Vec::with_capacity(BURST);
        while self.queue.recv(BURST, |parts| burst.push(parts)).await > 0 {
            for [topic, header, body] in burst.drain(..) {
                let mut message = ZmqMessage::from(topic);
                message.push_back(header);
                message.push_back(body);
                // Without waiting, and without an error that anybody could act upon: best effort.
                let _ = socket.send(message).now_or_never();
            }
            tokio::task::yield_now().await;
        }
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        self.queue.close();
    }
}
