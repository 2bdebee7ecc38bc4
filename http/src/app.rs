//! What all requests share.

use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::{Semaphore, watch};

use crate::handshake::Handshakes;
use crate::house::House;
use crate::limits::{BODIES_BYTES_MAX, HANDSHAKE_PATIENCE, SOCKETS_MAX, WAITS_MAX, WATCHERS_MAX};
use crate::metrics::Metrics;
use crate::tls::Tls;
use crate::visitors::Visitors;

/// Kibibytes, in which bodies are counted.
pub(crate) const KIB: usize = 1 << 10;

/// The gateway as its requests see it.
pub(crate) struct App {
    pub(crate) house: Arc<dyn House>,
    pub(crate) visitors: Visitors,
    /// Room for bodies, in kibibytes.
    pub(crate) bodies: Arc<Semaphore>,
    /// Tasks that may still be waited for.
    pub(crate) waits: Arc<Semaphore>,
    /// Room for those who watch what happens.
    pub(crate) watchers: Arc<Semaphore>,
    /// Room for WebSockets.
    pub(crate) sockets: Arc<Semaphore>,
    /// Becomes true when the gateway ends.
    pub(crate) end: watch::Receiver<bool>,
    pub(crate) metrics: Metrics,
    /// The certificate, where connections are encrypted.
    pub(crate) tls: Option<Tls>,
    pub(crate) handshakes: Handshakes,
    /// Only this machine can connect.
    pub(crate) on_loopback: bool,
    /// When the broker was last asked whether it takes tasks, and what it said.
    pub(crate) ready: Mutex<Option<(Instant, bool)>>,
}

impl App {
    pub(crate) fn new(
        house: Arc<dyn House>,
        tls: Option<Tls>,
        on_loopback: bool,
        end: watch::Receiver<bool>,
    ) -> Self {
        Self {
            visitors: Visitors::new(house.clone()),
            house,
            bodies: Arc::new(Semaphore::new(BODIES_BYTES_MAX / KIB)),
            waits: Arc::new(Semaphore::new(WAITS_MAX)),
            watchers: Arc::new(Semaphore::new(WATCHERS_MAX)),
            sockets: Arc::new(Semaphore::new(SOCKETS_MAX)),
            end,
            metrics: Metrics::new(),
            tls,
            handshakes: Handshakes::new(HANDSHAKE_PATIENCE),
            on_loopback,
            ready: Mutex::new(None),
        }
    }
}
