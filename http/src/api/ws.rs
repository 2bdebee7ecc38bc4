//! From a request to a conversation.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::Refused;
use crate::app::App;
use crate::gate::Caller;
use crate::model::Problem;
use crate::refusal::Refusal;
use crate::socket;

/// The one subprotocol. A page that shows a token names it, too, because a browser wants one that is taken.
const PROTOCOL: &str = "ganger";

/// Begins a conversation over a WebSocket; see docs/http.md, "WebSocket".
#[utoipa::path(
    get,
    path = "/v1/ws",
    responses(
        (status = 101, description = "From here on it is a WebSocket"),
        (status = 426, description = "The request asks for no WebSocket", body = Problem),
        Refused
    )
)]
pub(crate) async fn talk(
    State(app): State<Arc<App>>,
    caller: Caller,
    mut request: Request,
) -> Result<Response, Refusal> {
    let accept = derive_accept_key(key(request.headers())?.as_bytes());
    let has_protocol = list(request.headers(), header::SEC_WEBSOCKET_PROTOCOL).any(|name| name == PROTOCOL);
    let busy = |_| Refusal::busy("there are too many WebSockets already");
    let place = app.sockets.clone().try_acquire_owned().map_err(busy)?;
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        match upgrade.await {
            Ok(stream) => socket::serve(stream, app, caller, place).await,
            Err(error) => tracing::debug!(%error, "a WebSocket did not begin"),
        }
    });
    let accept =
        HeaderValue::try_from(accept).map_err(|_| Refusal::no_upgrade("that key cannot be answered"))?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    if has_protocol {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(PROTOCOL));
    }
    Ok(response)
}

/// The key of a request for a WebSocket.
fn key(headers: &HeaderMap) -> Result<&str, Refusal> {
    let says = |name: HeaderName, what: &str| list(headers, name).any(|said| said.eq_ignore_ascii_case(what));
    if !says(header::CONNECTION, "upgrade") || !says(header::UPGRADE, "websocket") {
        return Err(Refusal::no_upgrade("here is a WebSocket and nothing else"));
    }
    if !says(header::SEC_WEBSOCKET_VERSION, "13") {
        return Err(Refusal::no_upgrade("only version 13 of WebSocket is spoken here"));
    }
    let key = headers.get(header::SEC_WEBSOCKET_KEY).and_then(|key| key.to_str().ok());
    key.ok_or_else(|| Refusal::no_upgrade("a request for a WebSocket has a Sec-WebSocket-Key"))
}

fn list(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}
