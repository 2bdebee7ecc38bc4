//! What every request passes before anything is done for it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use ganger_client::Client;
use serde::Serialize;

use crate::app::App;
use crate::house::{TOKEN_BYTES_MAX, Visitor, fingerprint};
use crate::limits::ANSWER_PATIENCE;
use crate::page;
use crate::refusal::Refusal;
use crate::reply::Format;

/// Where a request comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// Whoever asks, with what it takes to answer.
pub(crate) struct Caller {
    pub(crate) visitor: Visitor,
    pub(crate) client: Client,
    pub(crate) format: Format,
}

impl FromRequestParts<Arc<App>> for Caller {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Refusal> {
        let visitor = visitor(app, parts)?;
        let client = app.visitors.client(visitor)?;
        Ok(Self { visitor, client, format: Format::accepted(&parts.headers) })
    }
}

impl Caller {
    /// Waits for an answer of the broker, for as long as that may take.
    pub(crate) async fn answer<T>(
        &self,
        question: impl Future<Output = ganger_client::Result<T>>,
    ) -> Result<T, Refusal> {
        answered(&self.client, question).await
    }

    pub(crate) fn reply<T: Serialize>(&self, status: axum::http::StatusCode, body: &T) -> Response {
        self.format.reply(status, body)
    }

    pub(crate) fn ok<T: Serialize>(&self, body: &T) -> Result<Response, Refusal> {
        Ok(self.reply(axum::http::StatusCode::OK, body))
    }
}

/// Waits for an answer of the broker, for as long as that may take.
pub(crate) async fn answered<T>(
    client: &Client,
    question: impl Future<Output = ganger_client::Result<T>>,
) -> Result<T, Refusal> {
    match tokio::time::timeout(ANSWER_PATIENCE, question).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(client.unreachable().into()),
    }
}

/// As whom somebody comes.
fn visitor(app: &App, parts: &Parts) -> Result<Visitor, Refusal> {
    if !app.house.has_keys() {
        return Ok(Visitor::Anybody);
    }
    let visitor = match token(&parts.headers) {
        Some(token) if token.len() <= TOKEN_BYTES_MAX => Visitor::Token(fingerprint(token)),
        Some(_) => return Err(Refusal::unauthenticated("nobody knows this token")),
        None if app.on_loopback && !is_forwarded(&parts.headers) && is_local(parts) => Visitor::Local,
        None => return Err(needs_token()),
    };
    match (app.house.knows(&visitor), visitor) {
        (true, visitor) => Ok(visitor),
        (false, Visitor::Token(_)) => Err(Refusal::unauthenticated("nobody knows this token")),
        (false, _) => Err(needs_token()),
    }
}

fn needs_token() -> Refusal {
    Refusal::unauthenticated("a token is needed: Authorization: Bearer TOKEN")
}

/// The token that a request shows. A page cannot give its WebSocket a header, but can name subprotocols.
fn token(headers: &HeaderMap) -> Option<&str> {
    let Some(shown) = headers.get(header::AUTHORIZATION) else {
        let offered = headers.get(header::SEC_WEBSOCKET_PROTOCOL)?.to_str().ok()?;
        return offered.split(',').find_map(|protocol| protocol.trim().strip_prefix("bearer."));
    };
    let (scheme, token) = shown.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

fn is_local(parts: &Parts) -> bool {
    parts.extensions.get::<Peer>().is_some_and(|peer| peer.0.ip().is_loopback())
}

/// Whoever is on this machine may be a proxy, and whom it speaks for somewhere else.
fn is_forwarded(headers: &HeaderMap) -> bool {
    const FORWARDED: [HeaderName; 2] = [header::FORWARDED, HeaderName::from_static("x-forwarded-for")];
    FORWARDED.iter().any(|name| headers.contains_key(name))
}

/// Refuses what pages of other origins send, and makes every answer safe in a browser.
pub(crate) async fn guard(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let mut response = match check_origin(&app, request.uri(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    };
    let headers = response.headers_mut();
    for (name, value) in SAFE {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

const SAFE: [(HeaderName, &str); 6] = [
    (header::CACHE_CONTROL, "no-store"),
    (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// A page of another origin can make a browser send requests here. What it sends is told by the headers that
/// no page can forge; a name that was pointed at this machine, by the name.
fn check_origin(app: &App, uri: &Uri, headers: &HeaderMap) -> Result<(), Refusal> {
    if page::has(uri) {
        return Ok(());
    }
    let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let host = uri.authority().map(Authority::as_str).or(text(header::HOST)).unwrap_or_default();
    if text(HeaderName::from_static("sec-fetch-site"))
        .is_some_and(|site| site == "cross-site" || site == "same-site")
    {
        return Err(Refusal::foreign("a page of another origin may not use this"));
    }
    if let Some(origin) = text(header::ORIGIN) {
        let same = origin.split_once("://").is_some_and(|(_, of)| of.eq_ignore_ascii_case(host));
        if !same {
            return Err(Refusal::foreign(format!(
                "the origin is not the host that this was sent to, {host:?}"
            )));
        }
    }
    // With a token nobody needs to be kept from using a name: whoever has it may come from anywhere.
    if app.on_loopback && token(headers).is_none() && !is_own_name(host) {
        let text = format!("{host:?} is no address, and not localhost; a token would do, too");
        return Err(Refusal::foreign(text));
    }
    Ok(())
}

/// Whether this is a name that nobody can point elsewhere: an address, or that of this machine for itself.
fn is_own_name(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or(rest, |(name, _)| name),
        None => host.split_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_and_localhost_are_names_that_nobody_can_point_elsewhere() {
        for host in ["127.0.0.1:7713", "localhost", "LOCALHOST:1", "[::1]:7713", "10.1.2.3"] {
            assert!(is_own_name(host), "{host}");
        }
        for host in
            ["", "evil.example", "evil.example:7713", "localhost.evil.example", "127.0.0.1.evil.example"]
        {
            assert!(!is_own_name(host), "{host}");
        }
    }
}
