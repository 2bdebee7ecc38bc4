//! The owner's side of a ROUTER.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ganger_common::ConnId;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::generations::Generations;
use super::io::{self, IoThread};
use super::listener::Bound;
use super::router::Router;
use crate::door::{Attended, Door, Gate, Service};
use crate::endpoint::Endpoint;
use crate::error::{BindError, SendError};
use crate::event::{DownReason, ServerEvent};
use crate::held::Held;
use crate::limits::{Limits, raise_nofile_limit};
use crate::mailbox::Mailbox;
use crate::traits::Server;
use crate::turns::Turns;

/// A server on a ROUTER socket, which lives on a thread of its own.
#[derive(Debug)]
pub struct ZmqServer {
    endpoint: Endpoint,
    inbox: Mailbox<Turns>,
    orders: Arc<Orders>,
    task: JoinHandle<()>,
    io: IoThread,
    attended: Option<Attended>,
}

/// What the owner wants done, until the socket's thread takes it.
#[derive(Debug, Default)]
pub(super) struct Orders {
    pub(super) state: Mutex<OrdersState>,
    /// Wakes the socket's thread; only the first order of a batch does.
    pub(super) given: Notify,
}

#[derive(Debug, Default)]
pub(super) struct OrdersState {
    pub(super) waiting: Vec<Order>,
    /// Live connections, each with what was accepted for it and is not written yet.
    pub(super) conns: HashMap<ConnId, Arc<Held>>,
    pub(super) shutdown: Option<Duration>,
}

#[derive(Debug)]
pub(super) enum Order {
    Send(ConnId, Bytes),
    Kick(ConnId, DownReason),
}

impl ZmqServer {
    /// Listens on an endpoint that nobody but friends can reach: what comes in goes to the library as it is.
    /// Raises the process's limit of open files on the way: a server that runs out
    /// of them is of no use, and the library spins.
    ///
    /// # Errors
    /// When the endpoint is in use, or the system refuses.
    pub async fn bind(endpoint: &Endpoint, limits: Limits) -> Result<Self, BindError> {
        let bound = super::listener::listen(endpoint, &limits)?;
        Self::on(own(endpoint)?, bound, None, limits).await
    }

    /// Listens on an endpoint behind a door, which checks every byte before the library sees it. A Unix
    /// socket, which only its owner can reach, needs none and gets none.
    ///
    /// # Errors
    /// When the endpoint is in use, or the system refuses.
    pub async fn bind_behind(
        door: &Door,
        endpoint: &Endpoint,
        limits: Limits,
        gate: Gate,
    ) -> Result<Self, BindError> {
        let service = Service::Conversations;
        let io = own(endpoint)?;
        let (bound, attended) = super::listener::listen_behind(door, &io, endpoint, &limits, gate, service)?;
        Self::on(io, bound, attended, limits).await
    }

    /// Listens on the thread of the caller, behind a door if there is one: between the sockets of a runtime
    /// of one thread, and whoever takes their messages there, no thread is woken. On any other runtime the
    /// socket gets a thread of its own. Whoever ends the runtime calls [`let_out`](super::let_out) before.
    ///
    /// # Errors
    /// When the endpoint is in use, or the system refuses.
    pub async fn bind_here(
        door: Option<&Door>,
        endpoint: &Endpoint,
        limits: Limits,
        gate: Gate,
    ) -> Result<Self, BindError> {
        let io = IoThread::of_the_caller().map_err(|error| super::listener::failed(endpoint, error))?;
        let (bound, attended) = match door {
            Some(door) => {
                let service = Service::Conversations;
                super::listener::listen_behind(door, &io, endpoint, &limits, gate, service)?
            }
            None => (super::listener::listen(endpoint, &limits)?, None),
        };
        Self::on(io, bound, attended, limits).await
    }

    async fn on(
        io: IoThread,
        bound: Bound,
        attended: Option<Attended>,
        limits: Limits,
    ) -> Result<Self, BindError> {
        let nofile = raise_nofile_limit();
        let Bound { listening, endpoint, file } = bound;
        let guests = attended.as_ref().map(|attended| attended.guests.clone());
        let failed = |source: std::io::Error| BindError::Io { endpoint: endpoint.clone(), source };
        let is_lent = io.is_lent();
        let inbox = Mailbox::new(limits.inbox_messages, limits.inbox_bytes);
        let orders = Arc::new(Orders::default());
        let (sink, source) = (inbox.clone(), orders.clone());
        let (bound, is_bound) = tokio::sync::oneshot::channel();
        let task = io.spawn(async move {
            let (result, sockets) = match Generations::begin(listening).await {
                Ok(sockets) => (Ok(()), Some(sockets)),
                Err(reason) => (Err(reason), None),
            };
            // The owner is gone when it has given up meanwhile.
            if let (Ok(()), Some(sockets)) = (bound.send(result), sockets) {
                let until = Router::new(sockets, sink, source, limits, nofile, guests).run().await;
                if !is_lent {
                    // This task is the one that is left.
                    io::finished(1, until).await;
                }
            }
            drop(file);
        });
        match is_bound.await {
            Ok(Ok(())) => Ok(Self { endpoint, inbox, orders, task, io, attended }),
            Ok(Err(reason)) => Err(failed(std::io::Error::other(reason))),
            Err(_) => Err(failed(std::io::Error::other("the socket's thread ended"))),
        }
    }
}

fn own(endpoint: &Endpoint) -> Result<IoThread, BindError> {
    IoThread::start().map_err(|error| super::listener::failed(endpoint, error))
}

impl Server for ZmqServer {
    async fn recv(&mut self, into: &mut Vec<ServerEvent>, max: usize) -> usize {
        self.inbox.recv(max, |event| into.push(event)).await
    }

    fn try_send(&self, to: ConnId, body: Bytes) -> Result<(), SendError> {
        let mut state = self.orders.state.lock();
        let Some(held) = state.conns.get(&to) else { return Err(SendError::Gone(body)) };
        let bytes = body.len();
        let body = held.admit(body, bytes).map_err(SendError::Full)?;
        state.waiting.push(Order::Send(to, body));
        let is_first = state.waiting.len() == 1;
        drop(state);
        if is_first {
            self.orders.given.notify_one();
        }
        Ok(())
    }

    fn kick(&self, conn: ConnId, reason: DownReason) {
        let mut state = self.orders.state.lock();
        state.waiting.push(Order::Kick(conn, reason));
        drop(state);
        self.orders.given.notify_one();
    }

    fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    async fn shutdown(self, grace: Duration) {
        let until = tokio::time::Instant::now() + grace;
        if let Some(attended) = &self.attended {
            attended.close();
        }
        self.orders.state.lock().shutdown = Some(grace);
        self.orders.given.notify_one();
        // The only error is that the task has ended already.
        let _ = self.task.await;
        self.io.end().await;
        // What the library has written is now at the door.
        if let Some(attended) = self.attended {
            attended.drained(until).await;
        }
    }
}
