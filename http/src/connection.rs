//! One connection, with its limits.

use std::net::SocketAddr;
use std::pin::pin;

use axum::Router;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;

use crate::gate::Peer;
use crate::limits::{HEAD_BYTES_MAX, HEAD_PATIENCE, HEADERS_MAX};
use crate::linger::Lingering;

/// Serves a connection to its end, or until the request that is under way when the gateway ends.
pub(crate) async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    from: SocketAddr,
    router: Router,
    mut end: watch::Receiver<bool>,
) {
    let routes = TowerToHyperService::new(router);
    let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let (mut head, body) = request.into_parts();
        head.extensions.insert(Peer(from));
        let body = Lingering::new(&head.headers, body);
        routes.call(hyper::Request::from_parts(head, body))
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_PATIENCE)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    let served = tokio::select! {
        served = connection.as_mut() => Some(served),
        () = async { drop(end.wait_for(|ends| *ends).await) } => None,
    };
    let served = match served {
        Some(served) => served,
        None => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(%from, %error, "an HTTP connection ended");
    }
}
