//! A connection, from its first byte on: heard out, let in, carried.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use omq_proto::proto::connection::Connection;
use omq_proto::{CurveServerOptions, MechanismSetup};
use parking_lot::Mutex;
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Notify;

use super::counters::Breach;
use super::curve::Curve;
use super::frames::Inspector;
use super::gate::{Gate, Grant, KeyGate};
use super::handshake::{self, Failed};
use super::keys::PublicKey;
use super::listener::{Listener, Phase};
use super::plain::Plain;
use super::relay::{Carrier, Ending, Relay, Sides};
use super::roaming::roam;
use super::sockets::Inner;
use super::spread::Feed;
use super::staff::KeyPlace;
use super::topics::Topics;
use super::wire;
use crate::event::{Auth, PeerMeta};

/// How long the library, which is of this process, may take to answer.
const INNER_TIMEOUT: Duration = Duration::from_secs(10);
/// How soon it is tried again when its queue of new connections is full.
const INNER_PAUSE: Duration = Duration::from_millis(2);
/// What waits for a peer before the library is not read any more. Enough to keep the socket busy.
const HOLD: usize = 1;
const HOLD_ENCRYPTED: usize = 64 << 10;

/// One connection.
pub(super) struct Visit {
    listener: Arc<Listener>,
    from: SocketAddr,
    admitted: bool,
}

/// Somebody who may come in.
struct Guest {
    codec: Option<Box<Connection>>,
    key: Option<PublicKey>,
    grant: Grant,
}

impl Visit {
    pub(super) fn new(listener: Arc<Listener>, from: SocketAddr) -> Self {
        Self { listener, from, admitted: false }
    }

    pub(super) async fn run(mut self, stream: std::net::TcpStream, place: Arc<Notify>) {
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
            heard = tokio::time::timeout(listener.limits.handshake, Box::pin(self.hear_out(&mut outer))) => {
                heard.unwrap_or_else(|_| Err(Breach::Slow.into()))
            }
        };
        drop(place);
        listener.crowd.lock().leave_the_queue(self.ip());
        let mut key = None;
        let let_in = match heard {
            Ok(guest) => {
                key = guest.key;
                Box::pin(self.let_in(outer, guest)).await
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
                        Ok(Guest { codec: Some(Box::new(codec)), key: Some(key), grant })
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

    /// Lets a guest in, and carries what is said until one side ends.
    async fn let_in(&mut self, outer: TcpStream, guest: Guest) -> Result<(), Failed> {
        let listener = self.listener.clone();
        listener.crowd.lock().admit(self.ip())?;
        self.admitted = true;
        let place = match guest.key {
            Some(key) => Some(KeyPlace::take(&listener.staff, key, guest.grant.connections)?),
            None => None,
        };
        let key = guest.key;
        let ending = match &listener.spread {
            Some(spread) => {
                listener.staff.counters.admitted.fetch_add(1, Ordering::Relaxed);
                self.stays(key, Box::pin(self.tell(Sides { outer, inner: spread.join() }, guest))).await
            }
            None => {
                let introduced = tokio::time::timeout(INNER_TIMEOUT, Box::pin(self.introduce(key))).await;
                let inner = introduced.unwrap_or(Err(Breach::Gone.into()))?;
                listener.staff.counters.admitted.fetch_add(1, Ordering::Relaxed);
                self.stays(key, Box::pin(self.converse(Sides { outer, inner }, guest))).await
            }
        };
        drop(place);
        listener.staff.counters.closed.fetch_add(1, Ordering::Relaxed);
        if let Ending::Breach(breach) = ending {
            listener.staff.counters.count(breach);
            let (from, reason) = (self.from, breach.name());
            let key = key.map(|key| key.to_string()).unwrap_or_default();
            listener.staff.say(|| tracing::warn!(%from, key, reason, "a connection was cut"));
        }
        Ok(())
    }

    /// Introduces a guest to the library.
    async fn introduce(&self, key: Option<PublicKey>) -> Result<UnixStream, Failed> {
        let listener = &self.listener;
        let auth = key.map_or(Auth::None, Auth::Key);
        let badge = listener.guests.expect(PeerMeta { addr: Some(self.from), auth });
        let mut inner = connect_inner(&listener.inner).await?;
        let (_, theirs) = listener.service.sockets();
        handshake::inner(&mut inner, theirs, &badge).await?;
        Ok(inner)
    }

    /// A conversation with the library. Whoever talks is read from as fast as it reads.
    async fn converse(&self, sides: Sides, guest: Guest) -> Ending {
        let (limits, seats) = (&self.listener.limits, self.listener.seats.clone());
        match guest.codec {
            Some(codec) => {
                let carrier = Curve::new(codec, limits, None, HOLD_ENCRYPTED);
                Box::pin(roam(self.relay(sides, carrier), seats)).await
            }
            None => {
                let carrier = Plain::new(Inspector::new(limits, None), &self.owed(), HOLD);
                Box::pin(roam(self.relay(sides, carrier), seats)).await
            }
        }
    }

    /// Tells a subscriber what is published. It stays with the staff: nobody waits for the rest.
    async fn tell(&self, sides: Sides<TcpStream, Feed>, guest: Guest) -> Ending {
        let limits = &self.listener.limits;
        let topics = Some(Topics::new(limits, guest.grant.topics));
        match guest.codec {
            Some(codec) => Box::pin(self.relay(sides, Curve::new(codec, limits, topics, HOLD)).run()).await,
            None => {
                let carrier = Plain::new(Inspector::new(limits, topics), &self.owed(), HOLD);
                Box::pin(self.relay(sides, carrier).run()).await
            }
        }
    }

    /// What a peer that is not encrypted was not told yet in its handshake.
    fn owed(&self) -> Vec<u8> {
        let (ours, _) = self.listener.service.sockets();
        wire::ready(ours, b"")
    }

    fn relay<C: Carrier, I: Inner>(
        &self,
        sides: Sides<TcpStream, I>,
        carrier: C,
    ) -> Relay<C, Sides<TcpStream, I>> {
        Relay::new(sides, carrier, self.listener.budget.clone(), self.listener.patience())
    }

    /// Until it ends by itself, the listener closes, or the key is not good any more.
    async fn stays(&self, key: Option<PublicKey>, carried: impl Future<Output = Ending> + Unpin) -> Ending {
        let mut phase = self.listener.phase.clone();
        tokio::select! {
            ending = carried => ending,
            _ = phase.wait_for(|phase| *phase == Phase::Closed) => Ending::Closed,
            () = revoked(&self.listener.gate, key) => Ending::Breach(Breach::Revoked),
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

/// Connects to the library.
pub(super) async fn connect_inner(path: &std::path::Path) -> io::Result<UnixStream> {
    loop {
        match UnixStream::connect(path).await {
            // The queue of the library's listener is full.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => tokio::time::sleep(INNER_PAUSE).await,
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::relay::Loose;
    use super::super::seats::{Seat, Seats};
    use super::*;

    /// The size of what is called with arguments like these.
    fn size<A, F>(_: impl FnOnce(A) -> F) -> usize {
        size_of::<F>()
    }

    type Listens = (&'static Visit, Sides<TcpStream, Feed>, Guest);
    type Talks = (&'static Visit, Sides, Guest);

    /// Everything that a connection is while nothing is said lives in these, and there are thousands.
    #[test]
    fn a_connection_that_is_quiet_takes_a_few_kibibytes() {
        let visit = size(|(visit, stream, place): (Visit, _, Arc<Notify>)| visit.run(stream, place))
            + size(|(visit, outer, guest): (&'static mut Visit, TcpStream, Guest)| {
                visit.let_in(outer, guest)
            });
        let listens = size(|(visit, sides, guest): Listens| visit.tell(sides, guest));
        let fed = size(|relay: Relay<Plain, Sides<TcpStream, Feed>>| relay.run())
            .max(size(|relay: Relay<Curve, Sides<TcpStream, Feed>>| relay.run()));
        let talks = size(|(visit, sides, guest): Talks| visit.converse(sides, guest))
            + size(|(relay, seats): (Relay<Plain>, Arc<Seats>)| roam(relay, seats));
        let carried = size(|(relay, seat): (Box<Relay<Plain, Loose>>, Seat)| relay.go_on(seat))
            .max(size(|(relay, seat): (Box<Relay<Curve, Loose>>, Seat)| relay.go_on(seat)));
        assert!(visit + listens + fed <= 4 << 10, "{visit}, {listens} and {fed} bytes for a subscriber");
        assert!(
            visit + talks + carried <= 5 << 10,
            "{visit}, {talks} and {carried} bytes for a peer that talks"
        );
    }
}
