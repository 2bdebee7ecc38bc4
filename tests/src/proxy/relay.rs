//! One connection through the proxy.

use std::sync::Arc;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::flow::{Flow, FlowEnd};
use super::settings::{Counters, Cut, Orders, Silence, Way, count};
use crate::dice::Dice;

/// After an orderly cut each side gets this long to end its own direction. A socket that is closed while
/// something waits in it unread sends a reset instead.
const FAREWELL: Duration = Duration::from_secs(1);

/// What one connection needs to know.
pub(super) struct Relay {
    orders: watch::Receiver<Orders>,
    counters: Arc<Counters>,
    dice: Dice,
    /// Cuts before it was made are none of its business.
    cuts: u64,
}

impl Relay {
    pub(super) fn new(mut orders: watch::Receiver<Orders>, counters: Arc<Counters>, dice: Dice) -> Self {
        let cuts = orders.borrow_and_update().cuts;
        Self { orders, counters, dice, cuts }
    }

    /// Relays until both directions have ended, or one is cut.
    pub(super) async fn run(mut self, client: TcpStream, endpoint: String) {
        let server = tokio::select! {
            server = connect(self.orders.clone(), &endpoint) => server,
            cut = cut_on_demand(self.orders.clone(), self.cuts) => {
                count(&self.counters.cut, 1);
                return end(cut, client, None).await;
            }
        };
        let Some(server) = server else { return reset(&client) };
        // A frame of a few bytes must not wait for an acknowledgement that a delay holds back.
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let flow = |way, dice| Flow::new(way, self.orders.clone(), self.counters.clone(), dice);
        let (up, down) = (flow(Way::Up, self.dice.split()), flow(Way::Down, self.dice.split()));
        let ended = tokio::select! {
            cut = cut_on_demand(self.orders.clone(), self.cuts) => FlowEnd::Cut(cut),
            ended = both(up.run(&client, &server), down.run(&server, &client)) => ended,
        };
        match ended {
            FlowEnd::Finished => {}
            FlowEnd::Reset => end(Cut::Rst, client, Some(server)).await,
            FlowEnd::Cut(cut) => {
                count(&self.counters.cut, 1);
                end(cut, client, Some(server)).await;
            }
        }
    }
}

/// Connects to the endpoint, once there is a way to it.
async fn connect(mut orders: watch::Receiver<Orders>, endpoint: &str) -> Option<TcpStream> {
    orders.wait_for(|orders| orders.up.silence == Silence::None).await.ok()?;
    TcpStream::connect(endpoint).await.ok()
}

/// Waits until all connections are to be cut.
async fn cut_on_demand(mut orders: watch::Receiver<Orders>, cuts: u64) -> Cut {
    match orders.wait_for(|orders| orders.cuts > cuts).await {
        Ok(orders) => orders.cut.unwrap_or(Cut::Rst),
        Err(_) => Cut::Rst,
    }
}

/// Runs both directions until both have finished, or one ends the connection as a whole.
async fn both(one: impl Future<Output = FlowEnd>, other: impl Future<Output = FlowEnd>) -> FlowEnd {
    let (mut one, mut other) = (std::pin::pin!(one), std::pin::pin!(other));
    let (first, one_is_first) = tokio::select! {
        ended = &mut one => (ended, true),
        ended = &mut other => (ended, false),
    };
    match first {
        FlowEnd::Finished if one_is_first => other.await,
        FlowEnd::Finished => one.await,
        ended => ended,
    }
}

async fn end(cut: Cut, client: TcpStream, server: Option<TcpStream>) {
    match cut {
        Cut::Rst => {
            reset(&client);
            server.iter().for_each(reset);
        }
        Cut::Fin => {
            let farewells = async {
                tokio::join!(farewell(client), async {
                    if let Some(server) = server {
                        farewell(server).await;
                    }
                });
            };
            // Whoever does not end its direction by then is reset.
            let _ = tokio::time::timeout(FAREWELL, farewells).await;
        }
    }
}

/// Ends one direction, and takes what still comes in the other until it ends, too.
async fn farewell(mut stream: TcpStream) {
    if stream.shutdown().await.is_ok() {
        let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    }
}

/// Lets a stream end with a reset when it is dropped.
pub(super) fn reset(stream: &TcpStream) {
    // A socket that is gone already needs none.
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}
