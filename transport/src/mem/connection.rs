//! The connecting side in memory.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ganger_common::ConnId;

use super::MemNet;
use super::hub::{Hub, Rest};
use super::publish::MemSubscription;
use crate::endpoint::Endpoint;
use crate::error::{Closed, ConnectError, SendError};
use crate::event::{DownReason, PeerMeta};
use crate::limits::Limits;
use crate::mailbox::{Fifo, Mailbox};
use crate::traits::{Connection, Connector};

/// Makes connections in memory.
#[derive(Clone, Debug)]
pub struct MemConnector {
    net: MemNet,
    peer: PeerMeta,
}

impl MemConnector {
    pub(super) fn new(net: MemNet) -> Self {
        Self { net, peer: PeerMeta::default() }
    }

    /// The same for connections of whom this is known. Within one process a server takes that on trust.
    #[must_use]
    pub fn known_as(self, peer: PeerMeta) -> Self {
        Self { peer, ..self }
    }
}

impl Connector for MemConnector {
    type Connection = MemConnection;
    type Subscription = MemSubscription;

    async fn connect(&self, to: &Endpoint, limits: &Limits) -> Result<MemConnection, ConnectError> {
        let hub = self.net.server(to)?;
        let conn = self.net.next_conn();
        let inbox = hub.join(conn, limits, self.peer.clone());
        Ok(MemConnection { conn, inbox, hub })
    }

    async fn subscribe(
        &self,
        to: &Endpoint,
        topics: &[String],
        limits: &Limits,
    ) -> Result<MemSubscription, ConnectError> {
        Ok(self.net.publisher(to)?.subscribe(topics, limits))
    }
}

/// A connection in memory.
#[derive(Debug)]
pub struct MemConnection {
    conn: ConnId,
    inbox: Mailbox<Fifo<Bytes>>,
    hub: Arc<Hub>,
}

impl MemConnection {
    /// Its number at the server, for asking for faults.
    pub fn conn(&self) -> ConnId {
        self.conn
    }
}

fn closed() -> Closed {
    Closed::because("the peer closed it")
}

impl Connection for MemConnection {
    async fn recv(&mut self) -> Result<Bytes, Closed> {
        let mut received = None;
        self.inbox.recv(1, |body| received = Some(body)).await;
        self.hub.peer_took(self.conn);
        received.ok_or_else(closed)
    }

    fn try_recv(&mut self) -> Result<Option<Bytes>, Closed> {
        let mut received = None;
        self.inbox.take(1, |body| received = Some(body));
        self.hub.peer_took(self.conn);
        match received {
            None if self.inbox.is_closed_and_empty() => Err(closed()),
            received => Ok(received),
        }
    }

    fn try_send(&self, body: Bytes) -> Result<(), SendError> {
        self.hub.send_to_server(self.conn, body)
    }

    async fn close(self, _grace: Duration) {}
}

impl Drop for MemConnection {
    fn drop(&mut self) {
        self.hub.part(self.conn, DownReason::Closed, Rest::Delivered);
    }
}
