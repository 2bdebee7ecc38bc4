//! The other end of an encrypted connection: how a worker or client of ours comes to a door.
//!
//! The library cannot encrypt, so it connects to a private Unix socket, and from there its bytes go through
//! CURVE to the broker. The broker's key is known beforehand: whoever does not have it gets nothing.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use omq_proto::MechanismSetup;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpStream, UnixListener};

use super::budget::Budget;
use super::counters::Breach;
use super::curve::Curve;
use super::handshake::{self, Failed};
use super::keys::{KeyError, PublicKey, SecretKey};
use super::limits::DoorLimits;
use super::patience::Patience;
use super::private::PrivateSocket;
use super::relay::{Relay, Sides};
use super::wire::SocketName;
use crate::limits::Limits;

/// What waits for the broker before the library is not read any more.
const HOLD: usize = 64 << 10;

/// Who a worker or client is, and which broker it trusts.
#[derive(Clone, Debug)]
pub struct ClientKeys {
    /// Its own key.
    pub secret: SecretKey,
    /// The key of the broker.
    pub broker: PublicKey,
}

impl ClientKeys {
    /// The key in a file, and the broker that it is for.
    ///
    /// # Errors
    /// When the file cannot be read, others can read it, or there is no key in it.
    pub fn load(secret: &Path, broker: PublicKey) -> Result<Self, KeyError> {
        Ok(Self { secret: SecretKey::load(secret)?, broker })
    }
}

/// A connection to a broker that is encrypted and stands, and waits for the library at its other end.
pub(crate) struct Tunnel {
    outer: TcpStream,
    carrier: Curve,
    limits: DoorLimits,
    inner: UnixListener,
    theirs: SocketName,
    place: PrivateSocket,
}

impl Tunnel {
    /// Connects, and proves both sides to each other.
    pub(crate) async fn open(
        to: SocketAddr,
        keys: &ClientKeys,
        subscribes: bool,
        limits: &Limits,
    ) -> io::Result<Self> {
        let mut outer = TcpStream::connect(to).await?;
        watch(&outer, limits)?;
        let (ours, theirs) = match subscribes {
            true => (SocketName::Sub, SocketName::Pub),
            false => (SocketName::Dealer, SocketName::Router),
        };
        let mechanism = MechanismSetup::CurveClient {
            our_keypair: keys.secret.pair(),
            server_public: omq_proto::CurvePublicKey::from_bytes(*keys.broker.as_bytes()),
        };
        let door = DoorLimits { reader_stall: limits.user_timeout, ..DoorLimits::default() };
        let (mut codec, _) = handshake::encrypted(&mut outer, ours, mechanism, &door)
            .await
            .map_err(|failed| io::Error::other(explain(&failed)))?;
        handshake::flush(&mut outer, &mut codec).await?;
        let (inner, place) = PrivateSocket::listen()?;
        inner.set_nonblocking(true)?;
        let inner = UnixListener::from_std(inner)?;
        let carrier = Curve::new(Box::new(codec), &door, None, HOLD);
        Ok(Self { outer, carrier, limits: door, inner, theirs, place })
    }

    /// Where the library finds it.
    pub(crate) fn address(&self) -> String {
        format!("ipc://{}", self.place.path().display())
    }

    /// Carries bytes until one side ends.
    pub(crate) async fn run(self) {
        let Self { outer, carrier, limits, inner, theirs, place } = self;
        let Ok((mut inner, _)) = inner.accept().await else { return };
        // Nobody else shall come, and nobody needs the name any more.
        drop(place);
        if handshake::inner(&mut inner, theirs, b"").await.is_err() {
            return;
        }
        let patience = Patience { stall: limits.reader_stall, behind: None, crush: None };
        let budget = Arc::new(Budget::new(&limits));
        Relay::new(Sides { outer, inner }, carrier, budget, patience).run().await;
    }
}

/// A broker that is gone without a word is noticed, as the broker notices us.
fn watch(outer: &TcpStream, limits: &Limits) -> io::Result<()> {
    outer.set_nodelay(true)?;
    let socket = SockRef::from(outer);
    let keepalive = TcpKeepalive::new()
        .with_time(limits.keepalive_idle)
        .with_interval(limits.keepalive_interval)
        .with_retries(limits.keepalive_probes);
    socket.set_tcp_keepalive(&keepalive)?;
    #[cfg(any(target_os = "android", target_os = "linux"))]
    socket.set_tcp_user_timeout(Some(limits.user_timeout))?;
    Ok(())
}

/// What failed, in words that help.
fn explain(failed: &Failed) -> String {
    match failed.breach {
        Breach::Key => "the broker does not allow this key here".to_owned(),
        Breach::Mechanism | Breach::NotZmtp | Breach::OldZmtp => {
            "whoever listens there does not speak CURVE; is it a broker with keys?".to_owned()
        }
        Breach::Gone => {
            "the broker hung up before the handshake was finished; does it have the key that was \
                         given as the broker's?"
                .to_owned()
        }
        _ => failed.detail.clone().unwrap_or_else(|| failed.breach.name().to_owned()),
    }
}
