//! DEALER and SUB: the connecting side.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use zeromq::{
    DealerSocket, Socket, SocketEvent, SocketOptions, SocketRecv, SocketSend, SubSocket, ZmqError, ZmqMessage,
};

use super::io::IoThread;
use super::{BURST, owned};
use crate::endpoint::Endpoint;
use crate::error::{Closed, ConnectError, SendError};
use crate::limits::Limits;
use crate::mailbox::Mailbox;
use crate::traits::{Connection, Connector, Subscription};

/// Makes connections over TCP and Unix sockets, all on one thread. The thread starts with the first
/// connection and ends with the last, or with the connector if that lives longer.
#[derive(Clone, Debug, Default)]
pub struct ZmqConnector {
    io: Arc<Mutex<Option<Arc<IoThread>>>>,
}

impl ZmqConnector {
    fn io(&self, to: &Endpoint) -> Result<Arc<IoThread>, ConnectError> {
        if matches!(to, Endpoint::Mem { .. }) {
            return Err(ConnectError::Unsupported { endpoint: to.clone() });
        }
        let mut io = self.io.lock();
        if let Some(io) = &*io {
            return Ok(io.clone());
        }
        let failed =
            |error: std::io::Error| ConnectError::Failed { endpoint: to.clone(), reason: error.to_string() };
        let started = Arc::new(IoThread::start().map_err(failed)?);
        *io = Some(started.clone());
        Ok(started)
    }
}

fn options(limits: &Limits) -> SocketOptions {
    let mut options = SocketOptions::default();
    options.connect_timeout(limits.connect_timeout);
    options
}

fn connect_error(to: &Endpoint, limits: &Limits, error: &ZmqError) -> ConnectError {
    match error {
        ZmqError::ConnectTimeout(_) => {
            ConnectError::Timeout { endpoint: to.clone(), timeout: limits.connect_timeout }
        }
        other => ConnectError::Failed { endpoint: to.clone(), reason: other.to_string() },
    }
}

impl Connector for ZmqConnector {
    type Connection = ZmqConnection;
    type Subscription = ZmqSubscription;

    async fn connect(&self, to: &Endpoint, limits: &Limits) -> Result<ZmqConnection, ConnectError> {
        let io = self.io(to)?;
        let inbox = Mailbox::new(limits.inbox_messages, limits.inbox_bytes);
        let outbox = Mailbox::new(limits.outbox_messages, limits.outbox_bytes);
        let stop = Arc::new(Stop::default());
        let link = Link {
            inbox: inbox.clone(),
            outbox: outbox.clone(),
            stop: stop.clone(),
            message_bytes: limits.message_bytes,
        };
        let (connected, is_connected) = tokio::sync::oneshot::channel();
        let (address, options) = (to.to_string(), options(limits));
        let task = io.spawn(async move {
            let mut socket = DealerSocket::with_options(options);
            let monitor = socket.monitor();
            let result = socket.connect(&address).await;
            let is_ok = result.is_ok();
            // The receiver is gone when the caller has given up meanwhile.
            if connected.send(result).is_ok() && is_ok {
                link.run(socket, monitor).await;
            }
        });
        match is_connected.await {
            Ok(Ok(())) => Ok(ZmqConnection { inbox, outbox, stop, task: Some(task), _io: io }),
            Ok(Err(error)) => Err(connect_error(to, limits, &error)),
            Err(_) => Err(ConnectError::Failed {
                endpoint: to.clone(),
                reason: "the socket's thread ended".to_owned(),
            }),
        }
    }

    async fn subscribe(
        &self,
        to: &Endpoint,
        topics: &[String],
        limits: &Limits,
    ) -> Result<ZmqSubscription, ConnectError> {
        let io = self.io(to)?;
        let inbox = Mailbox::new(limits.inbox_messages, limits.inbox_bytes);
        let sink = inbox.clone();
        let (connected, is_connected) = tokio::sync::oneshot::channel();
        let (address, options, topics) = (to.to_string(), options(limits), topics.to_vec());
        let task = io.spawn(async move {
            let mut socket = SubSocket::with_options(options);
            let monitor = socket.monitor();
            let mut result = socket.connect(&address).await;
            for topic in &topics {
                if result.is_ok() {
                    result = socket.subscribe(topic).await;
                }
            }
            let is_ok = result.is_ok();
            if connected.send(result).is_ok() && is_ok {
                take_publications(socket, monitor, &sink).await;
            }
            sink.close();
        });
        match is_connected.await {
            Ok(Ok(())) => Ok(ZmqSubscription { inbox, task, _io: io }),
            Ok(Err(error)) => Err(connect_error(to, limits, &error)),
            Err(_) => Err(ConnectError::Failed {
                endpoint: to.clone(),
                reason: "the socket's thread ended".to_owned(),
            }),
        }
    }
}

/// A connection on a DEALER socket.
#[derive(Debug)]
pub struct ZmqConnection {
    inbox: Mailbox<Bytes>,
    outbox: Mailbox<Bytes>,
    stop: Arc<Stop>,
    task: Option<JoinHandle<()>>,
    _io: Arc<IoThread>,
}

/// How a connection is to end, and why it did.
#[derive(Debug, Default)]
struct Stop {
    asked: Notify,
    grace: Mutex<Option<Duration>>,
    reason: Mutex<Option<String>>,
}

impl ZmqConnection {
    fn closed(&self) -> Closed {
        Closed::because(self.stop.reason.lock().clone().unwrap_or_else(|| "it was closed".to_owned()))
    }
}

impl Connection for ZmqConnection {
    async fn recv(&mut self) -> Result<Bytes, Closed> {
        let mut received = None;
        self.inbox.recv(1, |body| received = Some(body)).await;
        received.ok_or_else(|| self.closed())
    }

    fn try_recv(&mut self) -> Result<Option<Bytes>, Closed> {
        let mut received = None;
        self.inbox.take(1, |body| received = Some(body));
        match received {
            None if self.inbox.is_closed() => Err(self.closed()),
            received => Ok(received),
        }
    }

    fn try_send(&self, body: Bytes) -> Result<(), SendError> {
        if self.outbox.is_closed() {
            return Err(SendError::Gone(body));
        }
        if !self.outbox.has_room() {
            return Err(SendError::Full(body));
        }
        let bytes = body.len();
        match self.outbox.push(body, bytes) {
            true => Ok(()),
            false => Err(SendError::Gone(Bytes::new())),
        }
    }

    async fn close(mut self, grace: Duration) {
        *self.stop.grace.lock() = Some(grace);
        self.stop.asked.notify_one();
        if let Some(task) = self.task.take() {
            let _ = task.await;
        }
    }
}

impl Drop for ZmqConnection {
    fn drop(&mut self) {
        self.stop.asked.notify_one();
    }
}

/// The socket's side of a connection; lives on the socket's thread.
struct Link {
    inbox: Mailbox<Bytes>,
    outbox: Mailbox<Bytes>,
    stop: Arc<Stop>,
    message_bytes: usize,
}

impl Link {
    async fn run(self, mut socket: DealerSocket, mut monitor: futures_channel::mpsc::Receiver<SocketEvent>) {
        let reason = self.carry(&mut socket, &mut monitor).await;
        let _ = reason.as_ref().map_err(|reason| *self.stop.reason.lock() = Some(reason.clone()));
        self.outbox.close();
        self.inbox.close();
        if reason.is_ok() {
            self.send_all(&mut socket);
            let grace = self.stop.grace.lock().unwrap_or_default();
            drop(socket);
            // The library's writer finishes what it has while the runtime lives; there is no way to ask
            // whether it is done.
            tokio::time::sleep(grace).await;
        }
    }

    /// Until the owner asks for the end, or the connection is lost.
    async fn carry(
        &self,
        socket: &mut DealerSocket,
        monitor: &mut futures_channel::mpsc::Receiver<SocketEvent>,
    ) -> Result<(), String> {
        loop {
            let sent = self.send_all(socket);
            let received = self.receive_burst(socket)?;
            if sent || received {
                tokio::task::yield_now().await;
            }
            let has_room = self.inbox.has_room();
            tokio::select! {
                biased;
                () = self.stop.asked.notified() => return Ok(()),
                () = self.outbox.filled() => {}
                () = self.inbox.room(), if !has_room => {}
                message = socket.recv(), if has_room => match message {
                    Ok(message) => self.on_message(message)?,
                    Err(error) => return Err(error.to_string()),
                },
                event = monitor.next() => if matches!(event, Some(SocketEvent::Disconnected(_)) | None) {
                    // What came before the end is still there to be read.
                    while self.receive_burst(socket).unwrap_or(false) {}
                    return Err("the peer closed it".to_owned());
                },
            }
        }
    }

    fn send_all(&self, socket: &mut DealerSocket) -> bool {
        self.outbox.take(usize::MAX, |body| {
            // A send that would wait means a peer that does not read; what is lost here is sent again by
            // the protocol, on the next connection.
            let _ = socket.send(ZmqMessage::from(body)).now_or_never();
        }) > 0
    }

    fn receive_burst(&self, socket: &mut DealerSocket) -> Result<bool, String> {
        for count in 0..BURST {
            if !self.inbox.has_room() {
                return Ok(count > 0);
            }
            match socket.recv().now_or_never() {
                Some(Ok(message)) => self.on_message(message)?,
                Some(Err(error)) => return Err(error.to_string()),
                None => return Ok(count > 0),
            }
        }
        Ok(true)
    }

    fn on_message(&self, message: ZmqMessage) -> Result<(), String> {
        let mut parts = message.into_vec();
        match (parts.pop(), parts.is_empty()) {
            (Some(body), true) if body.len() <= self.message_bytes => {
                let bytes = body.len();
                self.inbox.push(owned(body), bytes);
                Ok(())
            }
            _ => Err("the broker sent a message of several parts, or one over the limit".to_owned()),
        }
    }
}

/// A subscription on a SUB socket.
#[derive(Debug)]
pub struct ZmqSubscription {
    inbox: Mailbox<[Bytes; 3]>,
    task: JoinHandle<()>,
    _io: Arc<IoThread>,
}

impl Subscription for ZmqSubscription {
    async fn recv(&mut self) -> Result<[Bytes; 3], Closed> {
        let mut received = None;
        self.inbox.recv(1, |parts| received = Some(parts)).await;
        received.ok_or_else(|| Closed::because("the publisher is gone"))
    }

    async fn close(self) {
        self.task.abort();
    }
}

impl Drop for ZmqSubscription {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Until the publisher is gone. The library would reconnect by itself and can hang in it for good, so a
/// lost connection ends the subscription and its owner makes a new one.
async fn take_publications(
    mut socket: SubSocket,
    mut monitor: futures_channel::mpsc::Receiver<SocketEvent>,
    inbox: &Mailbox<[Bytes; 3]>,
) {
    let mut count = 0_usize;
    loop {
        let message = tokio::select! {
            biased;
            event = monitor.next() => match event {
                Some(SocketEvent::Disconnected(_)) | None => return,
                Some(_) => continue,
            },
            message = socket.recv() => match message {
                Ok(message) => message,
                Err(_) => return,
            },
        };
        // A subscriber that is behind loses publications, sees the gap and asks.
        if inbox.has_room()
            && let Ok(parts) = <[Bytes; 3]>::try_from(message.into_vec())
        {
            let bytes = parts.iter().map(Bytes::len).sum();
            inbox.push(parts.map(owned), bytes);
        }
        count += 1;
        if count.is_multiple_of(BURST) {
            tokio::task::yield_now().await;
        }
    }
}
