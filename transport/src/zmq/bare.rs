//! The library with nothing around it: what any broker on it is measured against.
//!
//! A client's DEALER sends one message a task to a ROUTER, which hands it to the next worker's DEALER through
//! another ROUTER, and the answer goes the same way back. Nobody remembers anything, nothing is decoded, and
//! nothing is ever sent again. Not for work: for the baseline of `ganger bench`.

use std::io::{Error, Result};

use bytes::Bytes;
use futures_util::FutureExt;
use zeromq::{DealerSocket, RouterSocket, Socket, SocketRecv, SocketSend, ZmqMessage};

use super::BURST;
use crate::endpoint::Endpoint;

/// Relays for ever between clients and workers. `told` hears where: clients first, then workers.
///
/// # Errors
/// When it cannot listen.
pub async fn relay(told: impl FnOnce(String, String)) -> Result<()> {
    let (mut clients, mut workers) = (RouterSocket::new(), RouterSocket::new());
    let anywhere = "tcp://127.0.0.1:0";
    let at = clients.bind(anywhere).await.map_err(Error::other)?;
    let and_at = workers.bind(anywhere).await.map_err(Error::other)?;
    told(at.to_string(), and_at.to_string());
    let mut ring = Vec::new();
    let mut next = 0;
    loop {
        let mut busy = false;
        for _ in 0..BURST {
            // Workers introduce themselves with an empty message; all else is an answer.
            let Some(Ok(message)) = workers.recv().now_or_never() else { break };
            busy = true;
            answer(message, &mut ring, &mut clients).await;
        }
        for _ in 0..BURST {
            if ring.is_empty() {
                break;
            }
            let Some(Ok(message)) = clients.recv().now_or_never() else { break };
            busy = true;
            hand_on(message, &ring, &mut next, &mut workers).await;
        }
        if busy {
            tokio::task::yield_now().await;
            continue;
        }
        tokio::select! {
            Ok(message) = workers.recv() => answer(message, &mut ring, &mut clients).await,
            Ok(message) = clients.recv(), if !ring.is_empty() => {
                hand_on(message, &ring, &mut next, &mut workers).await;
            }
            // Both sockets have failed for good.
            else => return Ok(()),
        }
    }
}

async fn hand_on(mut message: ZmqMessage, ring: &[Bytes], next: &mut usize, workers: &mut RouterSocket) {
    message.push_front(ring[*next % ring.len()].clone());
    *next = next.wrapping_add(1);
    // Whoever is gone gets nothing; the client that waits for the answer is told by its deadline.
    let _ = workers.send(message).await;
}

async fn answer(message: ZmqMessage, ring: &mut Vec<Bytes>, clients: &mut RouterSocket) {
    let mut parts = message.into_vecdeque();
    let Some(worker) = parts.pop_front() else { return };
    match parts.len() {
        2 => {
            if let Ok(message) = ZmqMessage::try_from(parts) {
                let _ = clients.send(message).await;
            }
        }
        _ => ring.push(worker),
    }
}

/// Answers whatever comes from a relay with the same, for ever.
///
/// # Errors
/// When the relay cannot be reached, or is gone.
pub async fn echo(relay: &Endpoint) -> Result<()> {
    let mut socket = DealerSocket::new();
    socket.connect(&relay.to_string()).await.map_err(Error::other)?;
    socket.send(ZmqMessage::from(Bytes::new())).await.map_err(Error::other)?;
    loop {
        let message = socket.recv().await.map_err(Error::other)?;
        socket.send(message).await.map_err(Error::other)?;
        for _ in 1..BURST {
            let Some(message) = socket.recv().now_or_never() else { break };
            socket.send(message.map_err(Error::other)?).await.map_err(Error::other)?;
        }
        tokio::task::yield_now().await;
    }
}

/// A client of a relay.
pub struct BareClient {
    socket: DealerSocket,
}

impl BareClient {
    /// Connects.
    ///
    /// # Errors
    /// When the relay cannot be reached.
    pub async fn connect(relay: &Endpoint) -> Result<Self> {
        let mut socket = DealerSocket::new();
        socket.connect(&relay.to_string()).await.map_err(Error::other)?;
        Ok(Self { socket })
    }

    /// Sends one message.
    ///
    /// # Errors
    /// When the relay is gone.
    pub async fn send(&mut self, body: Bytes) -> Result<()> {
        self.socket.send(ZmqMessage::from(body)).await.map_err(Error::other)
    }

    /// Waits for an answer, and moves what else is there into `into` as well.
    ///
    /// # Errors
    /// When the relay is gone.
    pub async fn recv_many(&mut self, into: &mut Vec<Bytes>) -> Result<()> {
        let first = self.socket.recv().await.map_err(Error::other)?;
        into.extend(first.into_vecdeque().pop_front());
        for _ in 1..BURST {
            let Some(message) = self.socket.recv().now_or_never() else { break };
            into.extend(message.map_err(Error::other)?.into_vecdeque().pop_front());
        }
        Ok(())
    }
}
