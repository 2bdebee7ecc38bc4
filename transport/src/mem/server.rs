//! A server in memory.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ganger_common::ConnId;

use super::MemNet;
use super::hub::{Hub, Rest};
use crate::endpoint::Endpoint;
use crate::error::SendError;
use crate::event::{DownReason, ServerEvent};
use crate::traits::Server;

/// A server in memory.
#[derive(Debug)]
pub struct MemServer {
    endpoint: Endpoint,
    hub: Arc<Hub>,
    net: MemNet,
}

impl MemServer {
    pub(super) fn new(endpoint: Endpoint, hub: Arc<Hub>, net: MemNet) -> Self {
        Self { endpoint, hub, net }
    }
}

impl Server for MemServer {
    async fn recv(&mut self, into: &mut Vec<ServerEvent>, max: usize) -> usize {
        let count = self.hub.inbox.recv(max, |event| into.push(event)).await;
        self.hub.server_took();
        count
    }

    fn try_send(&self, to: ConnId, body: Bytes) -> Result<(), SendError> {
        self.hub.send_to_peer(to, body)
    }

    fn kick(&self, conn: ConnId, reason: DownReason) {
        self.hub.part(conn, reason, Rest::Delivered);
    }

    fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    async fn shutdown(self, _grace: Duration) {}
}

impl Drop for MemServer {
    fn drop(&mut self) {
        if let Endpoint::Mem { name } = &self.endpoint {
            self.net.state.lock().servers.remove(name);
        }
        self.hub.close();
    }
}
