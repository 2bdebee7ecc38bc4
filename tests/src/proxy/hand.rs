//! The proxy, and the hand that moves it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::relay::{Relay, reset};
use super::settings::{Armed, Counters, Cut, Fired, Orders, Path, Silence, Trap, Way, count};
use crate::dice::Dice;
use crate::wait::Metronome;

/// Pause after a connection that could not be taken. What there was no room for is a file, and nothing tells
/// when there is: without a pause, asking again and again would take the time of those relays whose ends
/// make room.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// A proxy on a free port of this machine. Dropping it ends its connections and frees the port.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    orders: watch::Sender<Orders>,
    counters: Arc<Counters>,
    traps: AtomicU64,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// Starts a proxy for an endpoint, `HOST:PORT` or `tcp://HOST:PORT`, on the runtime of the caller. The
    /// seed decides the jitter.
    ///
    /// # Errors
    /// When the system gives no port.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn start(endpoint: &str, seed: u64) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (orders, watched) = watch::channel(Orders::default());
        let counters = Arc::new(Counters::default());
        let endpoint = endpoint.strip_prefix("tcp://").unwrap_or(endpoint).to_owned();
        let accepting = tokio::spawn(accept(listener, endpoint, watched, counters.clone(), Dice::new(seed)));
        Ok(Self { address, orders, counters, traps: AtomicU64::new(0), accepting })
    }

    /// Where to connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where to connect, in the words of this project.
    pub fn endpoint(&self) -> String {
        format!("tcp://{}", self.address)
    }

    /// Changes what happens to the bytes of one direction.
    pub fn set(&self, way: Way, path: Path) {
        self.orders.send_modify(|orders| *orders.path_mut(way) = path);
    }

    /// Changes only the silence of some directions.
    pub fn silence(&self, ways: &[Way], silence: Silence) {
        self.orders.send_modify(|orders| {
            ways.iter().for_each(|way| orders.path_mut(*way).silence = silence);
        });
    }

    /// Sets a trap after so many more bytes in one direction, counted on each connection by itself; on one
    /// that comes later, from its beginning.
    pub fn trap(&self, way: Way, after: u64, trap: Trap) {
        let number = self.traps.fetch_add(1, Ordering::Relaxed);
        self.orders.send_modify(|orders| *orders.trap_mut(way) = Some(Armed { trap, after, number }));
    }

    /// Takes the traps away; what stalled goes on.
    pub fn release(&self) {
        self.orders.send_modify(|orders| (orders.up_trap, orders.down_trap) = (None, None));
    }

    /// Ends every connection that is there.
    pub fn cut(&self, cut: Cut) {
        self.orders.send_modify(|orders| {
            orders.cuts += 1;
            orders.cut = Some(cut);
        });
    }

    /// Whether new connections are reset as soon as they are made.
    pub fn refuse(&self, refuses: bool) {
        self.orders.send_modify(|orders| orders.refuses = refuses);
    }

    /// Ends every fault: bytes pass, connections are taken.
    pub fn heal(&self) {
        self.orders.send_modify(|orders| {
            let (cuts, cut) = (orders.cuts, orders.cut);
            *orders = Orders { cuts, cut, ..Orders::default() };
        });
    }

    /// What it has done so far.
    pub fn fired(&self) -> Fired {
        self.counters.read()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // The connections are in a set that the task owns, and end with it.
        self.accepting.abort();
    }
}

async fn accept(
    listener: TcpListener,
    endpoint: String,
    orders: watch::Receiver<Orders>,
    counters: Arc<Counters>,
    mut dice: Dice,
) {
    let mut relays = JoinSet::new();
    loop {
        tokio::select! {
            // Ended relays are taken away as they end, so that the set holds those that live.
            Some(_) = relays.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) if orders.borrow().refuses => {
                    count(&counters.refused, 1);
                    reset(&stream);
                }
                Ok((stream, _)) => {
                    count(&counters.connections, 1);
                    let relay = Relay::new(orders.clone(), counters.clone(), dice.split());
                    relays.spawn(relay.run(stream, endpoint.clone()));
                }
                // The machine has no room for another connection: those that are there may still end.
                Err(_) => Metronome::once(ACCEPT_PAUSE).await,
            },
        }
    }
}
