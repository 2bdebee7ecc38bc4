//! A listener behind which the library is: takes connections, so many and so fast as they may come.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

use super::budget::Budget;
use super::counters::Breach;
use super::crowd::Crowd;
use super::gate::Gate;
use super::guests::Guests;
use super::handshake::Failed;
use super::keys::PublicKey;
use super::limits::DoorLimits;
use super::patience::{Crush, Patience};
use super::seats::Seats;
use super::spread::Spread;
use super::staff::Staff;
use super::visit::Visit;
use super::wire::SocketName;

/// Connections taken in a row before others get a turn.
const ACCEPTS: usize = 32;
/// When there are no files left, the next try comes after this: nothing tells when there are some again.
const FILES_PAUSE: Duration = Duration::from_millis(50);
/// What is behind a listener.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Service {
    /// A ROUTER: conversations.
    Conversations,
    /// A PUB: publications.
    Publications,
}

impl Service {
    /// What the door calls itself to the peer, and to the library.
    pub(super) fn sockets(self) -> (SocketName, SocketName) {
        match self {
            Self::Conversations => (SocketName::Router, SocketName::Dealer),
            Self::Publications => (SocketName::Pub, SocketName::Sub),
        }
    }
}

/// How far the end of a listener has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    Open,
    /// Nobody comes in any more; those who are in may finish.
    Closing,
    /// Everybody leaves.
    Closed,
}

/// What all connections of a listener share.
pub(super) struct Listener {
    pub(super) staff: Arc<Staff>,
    pub(super) limits: DoorLimits,
    pub(super) gate: Gate,
    pub(super) service: Service,
    pub(super) guests: Arc<Guests>,
    pub(super) crowd: Mutex<Crowd>,
    pub(super) budget: Arc<Budget>,
    pub(super) crush: Arc<Crush>,
    /// What all subscribers listen to.
    pub(super) spread: Option<Arc<Spread>>,
    /// Where the library listens.
    pub(super) inner: PathBuf,
    /// Where guests may be.
    pub(super) seats: Arc<Seats>,
    pub(super) phase: watch::Receiver<Phase>,
}

/// Held by everything that is alive behind a listener; the last one ends the wait for them.
pub(super) type Alive = mpsc::Sender<()>;

impl Listener {
    /// Takes connections until the listener closes.
    pub(super) async fn attend(
        self: Arc<Self>,
        socket: std::net::TcpListener,
        alive: Alive,
    ) -> io::Result<()> {
        socket.set_nonblocking(true)?;
        let socket = TcpListener::from_std(socket)?;
        let mut phase = self.phase.clone();
        let mut count = 0_usize;
        loop {
            let accepted = tokio::select! {
                biased;
                _ = phase.wait_for(|phase| *phase != Phase::Open) => return Ok(()),
                // From here on it belongs to the thread that will serve it.
                accepted = socket.accept() => accepted.and_then(|(stream, from)| Ok((stream.into_std()?, from))),
            };
            match accepted {
                Ok((stream, from)) => self.take(stream, from, &alive),
                Err(error) if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) => {
                    self.staff.counters.out_of_files.fetch_add(1, Ordering::Relaxed);
                    self.staff.say(|| tracing::warn!("there are no files left to open; nobody comes in"));
                    tokio::time::sleep(FILES_PAUSE).await;
                }
                // The peer went away before it was taken.
                Err(_) => {}
            }
            count += 1;
            if count.is_multiple_of(ACCEPTS) {
                tokio::task::yield_now().await;
            }
        }
    }

    fn take(self: &Arc<Self>, stream: std::net::TcpStream, from: SocketAddr, alive: &Alive) {
        self.staff.counters.accepted.fetch_add(1, Ordering::Relaxed);
        let place = match self.crowd.lock().arrive(from.ip().to_canonical(), Instant::now()) {
            Ok(place) => place,
            Err(breach) => return self.refused(from, None, &breach.into()),
        };
        let visit = Visit::new(self.clone(), from);
        let alive = alive.clone();
        self.staff.spawn(async move {
            visit.run(stream, place).await;
            drop(alive);
        });
    }

    pub(super) fn refused(&self, from: SocketAddr, key: Option<PublicKey>, failed: &Failed) {
        let breach = failed.breach;
        self.staff.counters.count(breach);
        let (reason, service) = (breach.name(), self.service);
        let detail = failed.detail.clone().or(key.map(|key| key.to_string())).unwrap_or_default();
        match breach {
            // Somebody looked whether anybody is here.
            Breach::Gone if failed.detail.is_none() => {}
            _ => self.staff.say(|| {
                tracing::warn!(%from, ?service, reason, detail, "a connection was refused");
            }),
        }
    }

    pub(super) fn patience(&self) -> Patience {
        let limits = &self.limits;
        let behind = (self.service == Service::Publications)
            .then_some((limits.subscriber_bytes, limits.subscriber_lag));
        let crush = behind.map(|_| self.crush.clone());
        Patience { stall: limits.reader_stall, behind, crush }
    }
}
