//! A listener behind which the library is: takes connections, hears them out, lets them in.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use omq_proto::{CurveServerOptions, MechanismSetup};
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::{Notify, mpsc, watch};

use super::budget::Budget;
use super::counters::Breach;
use super::crowd::Crowd;
use super::curve::Curve;
use super::frames::Inspector;
use super::gate::{Gate, Grant, KeyGate};
use super::guests::Guests;
use super::handshake::{self, Failed};
use super::keys::PublicKey;
use super::limits::DoorLimits;
use super::patience::{Crush, Patience};
use super::plain::Plain;
use super::relay::{Carrier, Ending, Relay, Sides};
use super::roaming::roam;
use super::seats::Seats;
use super::staff::{KeyPlace, Staff};
use super::topics::Topics;
use super::wire::{self, SocketName};
use crate::event::{Auth, PeerMeta};

/// Connections taken in a row before others get a turn.
const ACCEPTS: usize = 32;
/// When there are no files left, the next try comes after this: nothing tells when there are some again.
const FILES_PAUSE: Duration = Duration::from_millis(50);
/// How long the library, which is of this process, may take to answer.
const INNER_TIMEOUT: Duration = Duration::from_secs(10);
/// How soon it is tried again when its queue of new connections is full.
const INNER_PAUSE: Duration = Duration::from_millis(2);
/// What waits for a peer before the library is not read any more. Enough to keep the socket busy.
const HOLD: usize = 1;
const HOLD_ENCRYPTED: usize = 64 << 10;

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
        let visit = Visit { listener: self.clone(), from, admitted: false };
        let alive = alive.clone();
        self.staff.spawn(async move {
            visit.run(stream, place).await;
            drop(alive);
        });
    }

    fn refused(&self, from: SocketAddr, key: Option<PublicKey>, failed: &Failed) {
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

    fn patience(&self) -> Patience {
        let limits = &self.limits;
        let behind = (self.service == Service::Publications)
            .then_some((limits.subscriber_bytes, limits.subscriber_lag));
        let crush = behind.map(|_| self.crush.clone());
        Patience { stall: limits.reader_stall, behind, crush }
    }
}

/// One connection, from its first byte on.
struct Visit {
    listener: Arc<Listener>,
    from: SocketAddr,
    admitted: bool,
}

/// Somebody who may come in.
struct Guest {
    codec: Option<omq_proto::proto::connection::Connection>,
    key: Option<PublicKey>,
    grant: Grant,
}

impl Visit {
    async fn run(mut self, stream: std::net::TcpStream, place: Arc<Notify>) {
        let listener = self.listener.clone();
        let mut phase = listener.phase.clone();
        // A failure here is that of the peer's socket.
        let Ok(mut outer) = TcpStream::from_std(stream) else {
            listener.crowd.lock().leave_the_queue(self.ip());
            return;
        };
        let _ = outer.set_nodelay(true);
        let heard = tokio::select! {
            biased;
            _ = phase.wait_for(|phase| *phase != Phase::Open) => Err(Breach::Gone.into()),
            () = place.notified() => Err(Breach::Crowded.into()),
            heard = tokio::time::timeout(listener.limits.handshake, self.hear_out(&mut outer)) => {
                heard.unwrap_or_else(|_| Err(Breach::Slow.into()))
            }
        };
        drop(place);
        listener.crowd.lock().leave_the_queue(self.ip());
        let mut key = None;
        let let_in = match heard {
            Ok(guest) => {
                key = guest.key;
                self.let_in(outer, guest).await
            }
            Err(failed) => Err(failed),
        };
        if let Err(failed) = let_in {
            listener.refused(self.from, key, &failed);
        }
    }

    fn ip(&self) -> std::net::IpAddr {
        self.from.ip().to_canonical()
    }

    async fn hear_out(&self, outer: &mut TcpStream) -> Result<Guest, Failed> {
        let (ours, _) = self.listener.service.sockets();
        let limits = &self.listener.limits;
        match &self.listener.gate {
            Gate::Open => {
                handshake::plain(outer, ours, limits).await?;
                Ok(Guest { codec: None, key: None, grant: Grant::default() })
            }
            Gate::Keys(gate) => {
                let (proven, asked) = (Arc::new(Mutex::new(None)), gate.policy.clone());
                let sink = proven.clone();
                let options = CurveServerOptions::new().authenticator(move |peer| {
                    let key = PublicKey::from_bytes(peer.public_key);
                    let grant = asked.borrow().admit(&key);
                    let is_allowed = grant.is_some();
                    *sink.lock() = Some((key, grant));
                    is_allowed
                });
                let mechanism = MechanismSetup::CurveServer { our_keypair: gate.secret.pair(), options };
                let result = handshake::encrypted(outer, ours, mechanism, limits).await;
                let proven = proven.lock().take();
                match (result, proven) {
                    (Ok((codec, _)), Some((key, Some(grant)))) => {
                        Ok(Guest { codec: Some(codec), key: Some(key), grant })
                    }
                    // It has proven its key, and that was not enough.
                    (_, Some((key, None))) => {
                        Err(Failed { breach: Breach::Key, detail: Some(key.to_string()) })
                    }
                    (Ok(_), None) => Err(Breach::Curve.into()),
                    (Err(failed), _) => Err(failed),
                }
            }
        }
    }

    /// Introduces a guest to the library, and carries what they say to each other.
    async fn let_in(&mut self, outer: TcpStream, guest: Guest) -> Result<(), Failed> {
        let listener = self.listener.clone();
        let (ours, theirs) = listener.service.sockets();
        listener.crowd.lock().admit(self.ip())?;
        self.admitted = true;
        let place = match guest.key {
            Some(key) => Some(KeyPlace::take(&listener.staff, key, guest.grant.connections)?),
            None => None,
        };
        let auth = guest.key.map_or(Auth::None, Auth::Key);
        let badge = listener.guests.expect(PeerMeta { addr: Some(self.from), auth });
        let introduced = async {
            let mut inner = connect_inner(&listener.inner).await?;
            handshake::inner(&mut inner, theirs, &badge).await?;
            Ok::<_, Failed>(inner)
        };
        let inner =
            tokio::time::timeout(INNER_TIMEOUT, introduced).await.unwrap_or(Err(Breach::Gone.into()))?;
        listener.staff.counters.admitted.fetch_add(1, Ordering::Relaxed);
        let sides = Sides { outer, inner };
        let topics = (listener.service == Service::Publications)
            .then(|| Topics::new(&listener.limits, guest.grant.topics.clone()));
        let ending = match guest.codec {
            Some(codec) => {
                let hold = self.hold(HOLD_ENCRYPTED);
                self.carry(sides, Curve::new(codec, &listener.limits, topics, hold), guest.key).await
            }
            None => {
                let owed = wire::ready(ours, b"");
                let inspector = Inspector::new(&listener.limits, topics);
                self.carry(sides, Plain::new(inspector, &owed, self.hold(HOLD)), None).await
            }
        };
        drop(place);
        listener.staff.counters.closed.fetch_add(1, Ordering::Relaxed);
        if let Ending::Breach(breach) = ending {
            listener.staff.counters.count(breach);
            let (from, reason) = (self.from, breach.name());
            let key = guest.key.map(|key| key.to_string()).unwrap_or_default();
            listener.staff.say(|| tracing::warn!(%from, key, reason, "a connection was cut"));
        }
        Ok(())
    }

    /// A subscriber is sent everything at once, so that no slow one holds up the publisher; what it does not
    /// take waits here. Whoever talks is read from as fast as it reads.
    fn hold(&self, conversation: usize) -> usize {
        match self.listener.service {
            Service::Publications => self.listener.limits.subscriber_bytes,
            Service::Conversations => conversation,
        }
    }

    async fn carry<C: Carrier + Send + 'static>(
        &self,
        sides: Sides,
        carrier: C,
        key: Option<PublicKey>,
    ) -> Ending {
        let listener = &self.listener;
        let relay = Relay::new(sides, carrier, listener.budget.clone(), listener.patience());
        let mut phase = listener.phase.clone();
        let seats = match listener.service {
            Service::Conversations => Some(listener.seats.clone()),
            // What subscribers do not read waits in the relay; nobody waits for the rest.
            Service::Publications => None,
        };
        let carried = async {
            match seats {
                Some(seats) => roam(relay, seats).await,
                None => relay.run().await,
            }
        };
        tokio::select! {
            ending = carried => ending,
            _ = phase.wait_for(|phase| *phase == Phase::Closed) => Ending::Closed,
            () = revoked(&listener.gate, key) => Ending::Breach(Breach::Revoked),
        }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        if self.admitted {
            self.listener.crowd.lock().leave(self.ip());
        }
    }
}

/// Waits until the key is no longer allowed, or allowed something else.
async fn revoked(gate: &Gate, key: Option<PublicKey>) {
    let (Gate::Keys(KeyGate { policy, .. }), Some(key)) = (gate, key) else {
        return std::future::pending().await;
    };
    let mut policy = policy.clone();
    let granted = policy.borrow_and_update().admit(&key);
    loop {
        if granted.is_none() || policy.borrow_and_update().admit(&key) != granted {
            return;
        }
        if policy.changed().await.is_err() {
            // Whoever could change it is gone.
            return std::future::pending().await;
        }
    }
}

async fn connect_inner(path: &std::path::Path) -> io::Result<UnixStream> {
    loop {
        match UnixStream::connect(path).await {
            // The queue of the library's listener is full.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => tokio::time::sleep(INNER_PAUSE).await,
            result => return result,
        }
    }
}
