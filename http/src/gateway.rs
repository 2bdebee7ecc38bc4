//! Listens, serves, ends.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::api;
use crate::app::App;
use crate::connection;
use crate::house::House;
use crate::limits::{CONNECTIONS_MAX, END_GRACE, SOCKETS_MAX};

/// Between two tries to accept when the system has no room for a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A gateway that runs. Dropping it ends it, without waiting.
#[derive(Debug)]
pub struct Gateway {
    address: SocketAddr,
    end: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Gateway {
    /// Serves whoever comes to a listener, on a thread of its own: it shares a machine with the broker, and
    /// must not take more than one core from it.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn start(listener: TcpListener, house: Arc<dyn House>) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let (end, ends) = watch::channel(false);
        let app = Arc::new(App::new(house, address.ip().is_loopback(), ends.clone()));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new().name("ganger-http".to_owned()).spawn(move || {
            runtime.block_on(async move {
                match tokio::net::TcpListener::from_std(listener) {
                    Ok(listener) => listen(listener, &app, ends).await,
                    Err(error) => tracing::error!(%error, "the HTTP side cannot listen"),
                }
            });
        })?;
        Ok(Self { address, end, thread: Some(thread) })
    }

    /// Where it listens, with the port that the system chose.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more requests, lets those under way end, for a moment, and ends.
    pub fn stop(mut self) {
        self.end.send_replace(true);
        // A panic of the thread has been told on standard error; there is nothing else to be lost.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.end.send_replace(true);
    }
}

async fn listen(listener: tokio::net::TcpListener, app: &Arc<App>, mut end: watch::Receiver<bool>) {
    let router: Router = api::router(app.clone());
    let feed = app.house.feed().clone();
    let feeding = tokio::spawn(async move { feed.run().await });
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    let ends = end.clone();
    let mut ended = std::pin::pin!(end.wait_for(|ends| *ends));
    loop {
        let next = async {
            // Whoever finds no room waits at the system's door, where it costs nothing.
            let place = room.clone().acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            biased;
            _ = &mut ended => break,
            Some(_) = connections.join_next() => continue,
            next = next => next,
        };
        match accepted {
            Ok((stream, from)) => {
                let (router, ends, counted) = (router.clone(), ends.clone(), app.metrics.connection());
                connections.spawn(async move {
                    connection::serve(stream, from, router, ends).await;
                    drop((place, counted));
                });
            }
            Err(error) => {
                tracing::debug!(%error, "an HTTP connection was not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    let all_gone = async {
        while connections.join_next().await.is_some() {}
        // WebSockets are no connections of HTTP any more.
        drop(app.sockets.acquire_many(SOCKETS_MAX as u32).await);
    };
    let _ = tokio::time::timeout(END_GRACE, all_gone).await;
    feeding.abort();
}
