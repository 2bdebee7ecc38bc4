//! The door: every byte of a stranger is checked here before the library sees it.
//!
//! The library trusts its peers. So it listens on a private Unix socket, and this module on TCP before it:
//!
//! 1. `listener` accepts, on threads of its own, and refuses whoever is too many or too fast (`crowd`).
//! 2. `handshake` reads the greeting and READY under a deadline, or goes through CURVE: then the peer's key is
//!    proven, and the [`Policy`] of the [`Gate`] says whether it may come in.
//! 3. Whoever may is introduced to the library under an identity that the door makes up. What a peer claims to
//!    be is not even passed on; what the door knows of it is (`guests`).
//! 4. `relay` carries bytes both ways. `plain` looks at the headers of frames and passes the rest as it is;
//!    `curve` decrypts and encrypts. Both hold every message to the limits (`frames`), answer PING, and see to
//!    it that no topic is subscribed to beyond the right (`topics`).
//!    Publications do not come from the library once for each subscriber, but are kept once for all of them
//!    (`source`, `spread`).
//!    A relay is on the thread of the library's socket while that has time (`seats`, `roaming`).
//! 5. A peer that does not read (`patience`), or that sends a large message so slowly that others wait
//!    (`budget`), is cut; one whose
//!    messages nobody takes yet is not read, and no other peer notices.
//!
//! What was refused is counted by [`Breach`].

mod backlog;
mod budget;
mod client;
mod counters;
mod crowd;
mod curve;
mod frames;
mod gate;
mod guests;
mod handshake;
mod keys;
mod limits;
mod listener;
mod patience;
mod plain;
mod private;
#[doc(hidden)]
pub mod rehearsal;
mod relay;
mod roaming;
mod seats;
mod sockets;
mod source;
mod spread;
mod staff;
mod topics;
mod visit;
mod wire;

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};

pub use client::ClientKeys;
pub(crate) use client::Tunnel;
pub use counters::Breach;
pub use gate::{Gate, Grant, KeyGate, Policy};
pub(crate) use guests::Guests;
pub use keys::{KeyError, PublicKey, SecretKey};
pub use limits::DoorLimits;
pub(crate) use listener::Service;
use listener::{Listener, Phase};
pub(crate) use private::PrivateSocket;
use staff::Staff;
pub use topics::Prefixes;

use crate::limits::raise_nofile_limit;

/// Files that one connection takes: towards the peer, towards the library, and the library's own end.
const FILES_A_CONNECTION: u64 = 3;
/// Files that are left for everything else.
const FILES_FOR_OTHERS: u64 = 64;

/// A door with threads of its own. Clones are the same door; it ends with the last of them and of the sockets
/// behind it.
#[derive(Clone, Debug)]
pub struct Door {
    staff: Arc<Staff>,
    limits: DoorLimits,
}

impl Door {
    /// Puts up a door for this machine.
    ///
    /// # Errors
    /// When the system has no thread for it.
    pub fn start(limits: DoorLimits) -> io::Result<Self> {
        Ok(Self { staff: Staff::start(staff::threads())?, limits })
    }

    /// What has happened since, by name.
    pub fn counters(&self) -> Vec<(&'static str, u64)> {
        self.staff.counters.by_name()
    }

    /// Lets those through to the library who come to this listener and may pass.
    pub(crate) fn attend(
        &self,
        socket: TcpListener,
        gate: Gate,
        service: Service,
        (inner, home): (PrivateSocket, Handle),
    ) -> Attended {
        let (close, phase) = watch::channel(Phase::Open);
        let (alive, all_gone) = mpsc::channel(1);
        let guests = Arc::new(Guests::default());
        let files = raise_nofile_limit().saturating_sub(FILES_FOR_OTHERS) / FILES_A_CONNECTION;
        let connections = self.limits.connections.min(usize::try_from(files).unwrap_or(usize::MAX)).max(1);
        let spread = (service == Service::Publications).then(|| {
            let spread = spread::Spread::new(self.limits.published_bytes, self.limits.reader_stall);
            self.staff.spawn(source::gather(inner.path().to_owned(), spread.clone(), phase.clone()));
            spread
        });
        let listener = Arc::new(Listener {
            staff: self.staff.clone(),
            limits: self.limits.clone(),
            gate,
            service,
            guests: guests.clone(),
            crowd: Mutex::new(crowd::Crowd::new(self.limits.clone(), connections, Instant::now())),
            budget: Arc::new(budget::Budget::new(&self.limits)),
            crush: patience::Crush::new(self.limits.subscriber_bytes_budget),
            spread,
            inner: inner.path().to_owned(),
            seats: Arc::new(seats::Seats::new(home, self.staff.clone())),
            phase,
        });
        self.staff.spawn(async move {
            if let Err(error) = listener.attend(socket, alive).await {
                tracing::error!(%error, "the door cannot listen any more");
            }
        });
        Attended { close, all_gone, guests, _inner: inner, _door: self.clone() }
    }
}

/// A listener with a door before it. Dropping it closes it, and every connection that is in.
#[derive(Debug)]
pub(crate) struct Attended {
    close: watch::Sender<Phase>,
    all_gone: mpsc::Receiver<()>,
    pub(crate) guests: Arc<Guests>,
    _inner: PrivateSocket,
    _door: Door,
}

impl Attended {
    /// Lets nobody in any more.
    pub(crate) fn close(&self) {
        self.close.send_replace(Phase::Closing);
    }

    /// Waits until everybody has what the library sent, or for so long.
    pub(crate) async fn drained(mut self, until: tokio::time::Instant) {
        let _ = tokio::time::timeout_at(until, self.all_gone.recv()).await;
        self.close.send_replace(Phase::Closed);
    }
}

impl Drop for Attended {
    fn drop(&mut self) {
        self.close.send_replace(Phase::Closed);
    }
}
