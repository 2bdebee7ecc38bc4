//! Listens, serves, ends.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::api;
use crate::app::App;
use crate::connection;
use crate::handshake::Handshake;
use crate::house::House;
use crate::limits::{CONNECTIONS_MAX, END_GRACE, SOCKETS_MAX};
use crate::tls::Tls;

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
    /// must not take more than one core from it. With a certificate, only encrypted.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn start(listener: TcpListener, house: Arc<dyn House>, tls: Option<Tls>) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let (end, ends) = watch::channel(false);
        let app = Arc::new(App::new(house, tls, address.ip().is_loopback(), ends.clone()));
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
                let (app, router, ends) = (app.clone(), router.clone(), ends.clone());
                connections.spawn(async move {
                    let _counted = app.metrics.connection();
                    receive(&app, stream, from, router, ends).await;
                    drop(place);
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

/// Serves one connection, encrypted where there is a certificate.
async fn receive(
    app: &App,
    stream: TcpStream,
    from: SocketAddr,
    router: Router,
    ends: watch::Receiver<bool>,
) {
    // An answer is one write; waiting for more would only delay it.
    let _ = stream.set_nodelay(true);
    let Some(tls) = &app.tls else { return connection::serve(stream, from, router, ends).await };
    match app.handshakes.shake(tls, stream).await {
        Ok(stream) => {
            app.metrics.handshake(Handshake::Done);
            connection::serve(stream, from, router, ends).await;
        }
        Err(how) => {
            app.metrics.handshake(how);
            tracing::debug!(%from, ?how, "a TLS handshake came to nothing");
        }
    }
}
