//! Sockets without a network.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use ganger_common::ConnId;
use ganger_transport::{DownReason, Endpoint, PublishError, Publisher, SendError, Server, ServerEvent};
use ganger_worker::replica::Publication;

/// What both servers write to, and what the fuzzer reads.
#[derive(Clone, Debug, Default)]
pub(super) struct Wires(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// Open connections, and whether nothing more fits their queues.
    open: BTreeMap<ConnId, bool>,
    sent: Vec<(ConnId, Bytes)>,
    kicked: Vec<ConnId>,
}

impl Wires {
    pub(super) fn open(&self, conn: ConnId) {
        self.state().open.insert(conn, false);
    }

    pub(super) fn close(&self, conn: ConnId) {
        self.state().open.remove(&conn);
    }

    pub(super) fn stuff(&self, conn: ConnId, is_full: bool) {
        if let Some(full) = self.state().open.get_mut(&conn) {
            *full = is_full;
        }
    }

    pub(super) fn take_sent(&self) -> Vec<(ConnId, Bytes)> {
        std::mem::take(&mut self.state().sent)
    }

    pub(super) fn take_kicked(&self) -> Vec<ConnId> {
        std::mem::take(&mut self.state().kicked)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One side's server.
#[derive(Debug)]
pub(super) struct FuzzServer {
    wires: Wires,
    endpoint: Endpoint,
}

impl FuzzServer {
    pub(super) fn new(wires: &Wires) -> Self {
        Self { wires: wires.clone(), endpoint: nowhere() }
    }
}

impl Server for FuzzServer {
    async fn recv(&mut self, _into: &mut Vec<ServerEvent>, _max: usize) -> usize {
        std::future::pending().await
    }

    fn try_send(&self, to: ConnId, body: Bytes) -> Result<(), SendError> {
        let mut state = self.wires.state();
        match state.open.get(&to) {
            None => Err(SendError::Gone(body)),
            Some(true) => Err(SendError::Full(body)),
            Some(false) => {
                state.sent.push((to, body));
                Ok(())
            }
        }
    }

    fn kick(&self, conn: ConnId, _reason: DownReason) {
        let mut state = self.wires.state();
        state.open.remove(&conn);
        state.kicked.push(conn);
    }

    fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    async fn shutdown(self, _grace: Duration) {}
}

/// A publisher whose publications must be readable.
#[derive(Debug)]
pub(super) struct FuzzPublisher {
    endpoint: Endpoint,
}

impl Default for FuzzPublisher {
    fn default() -> Self {
        Self { endpoint: nowhere() }
    }
}

impl Publisher for FuzzPublisher {
    fn publish(&self, parts: [Bytes; 3]) -> Result<(), PublishError> {
        assert!(Publication::read(&parts).is_some(), "a subscriber can read {parts:?}");
        Ok(())
    }

    fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    async fn shutdown(self, _grace: Duration) {}
}

fn nowhere() -> Endpoint {
    Endpoint::Mem { name: "nowhere".to_owned() }
}
