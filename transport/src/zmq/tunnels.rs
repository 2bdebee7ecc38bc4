//! The tunnels of a connector: encrypted connections, each with its near end at the library.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::io::IoThread;
use crate::door::{ClientKeys, Tunnel};
use crate::endpoint::Endpoint;
use crate::error::ConnectError;
use crate::limits::Limits;

/// What digs tunnels.
#[derive(Debug)]
pub(super) struct Tunnels {
    keys: ClientKeys,
}

/// A tunnel that stands. It ends with the library's side of it, and without a word when this value is dropped.
#[derive(Debug)]
pub(super) struct Dug {
    address: String,
    task: Option<JoinHandle<()>>,
    _io: Arc<IoThread>,
}

impl Tunnels {
    pub(super) fn new(keys: ClientKeys) -> Self {
        Self { keys }
    }

    /// Connects to a broker. The tunnel is on the thread of the socket that will use it: a message then takes
    /// its two steps without waking another thread in between, which is most of what a short one costs.
    pub(super) async fn dig(
        &self,
        io: Arc<IoThread>,
        to: &Endpoint,
        host: &str,
        port: u16,
        subscribes: bool,
        limits: &Limits,
    ) -> Result<Dug, ConnectError> {
        let failed =
            |error: io::Error| ConnectError::Failed { endpoint: to.clone(), reason: error.to_string() };
        let (told, hears) = oneshot::channel();
        let (host, keys, within) = (host.to_owned(), self.keys.clone(), limits.clone());
        let task = io.spawn(async move {
            let opened = open(&host, port, &keys, subscribes, &within);
            let result = tokio::time::timeout(within.connect_timeout, opened).await;
            match result {
                Ok(Ok(tunnel)) => {
                    if told.send(Ok(tunnel.address())).is_ok() {
                        tunnel.run().await;
                    }
                }
                // Nobody listens when the caller has given up meanwhile.
                Ok(Err(error)) => drop(told.send(Err(Some(error)))),
                Err(_) => drop(told.send(Err(None))),
            }
        });
        // Whoever stops waiting does not leave a tunnel behind.
        let mut dug = Dug { address: String::new(), task: Some(task), _io: io };
        match hears.await {
            Ok(Ok(address)) => {
                dug.address = address;
                Ok(dug)
            }
            Ok(Err(Some(error))) => Err(failed(error)),
            Ok(Err(None)) => {
                Err(ConnectError::Timeout { endpoint: to.clone(), timeout: limits.connect_timeout })
            }
            Err(_) => Err(failed(io::Error::other("the tunnel's thread ended"))),
        }
    }
}

async fn open(
    host: &str,
    port: u16,
    keys: &ClientKeys,
    subscribes: bool,
    limits: &Limits,
) -> io::Result<Tunnel> {
    let addresses: Vec<SocketAddr> = tokio::net::lookup_host((host, port)).await?.collect();
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in addresses {
        match Tunnel::open(address, keys, subscribes, limits).await {
            Ok(tunnel) => return Ok(tunnel),
            Err(error) => last = error,
        }
    }
    Err(last)
}

impl Dug {
    /// Where the library finds its near end.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Waits until the broker has what the library sent, or for so long.
    pub(super) async fn drained(mut self, until: Instant) {
        if let Some(task) = &mut self.task {
            // The only error is that the task has ended already.
            let _ = tokio::time::timeout_at(until, task).await;
        }
    }
}

impl Drop for Dug {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}
