//! How the broker is.

use std::sync::{Arc, LazyLock};
use std::time::Instant;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use ganger_common::view::StatusView;
use prometheus_client::encoding::text::{encode_eof, encode_registry};

use super::Refused;
use crate::app::App;
use crate::exposition;
use crate::figures::Figures;
use crate::gate::{Caller, answered};
use crate::house::Visitor;
use crate::limits::READY_FOR;
use crate::model::{Condition, KindRows};
use crate::refusal::Refusal;
use crate::reply::{Format, of_bytes};

/// The broker's figures and counters.
#[utoipa::path(
    get,
    path = "/v1/status",
    responses((status = 200, description = "The figures", body = StatusView), Refused)
)]
pub(crate) async fn status(caller: Caller) -> Result<Response, Refusal> {
    let status = caller.answer(caller.client.status()).await?;
    caller.ok(&status)
}

/// The queues, by kind.
#[utoipa::path(
    get,
    path = "/v1/kinds",
    responses((status = 200, description = "The first 1,000", body = KindRows), Refused)
)]
pub(crate) async fn kinds(caller: Caller) -> Result<Response, Refusal> {
    let status = caller.answer(caller.client.status()).await?;
    caller.ok(&KindRows { rows: status.kinds })
}

/// Whether the process answers.
#[utoipa::path(
    get,
    path = "/health",
    responses((status = 200, description = "It does", body = Condition))
)]
pub(crate) async fn health() -> Response {
    Format::Json.reply(StatusCode::OK, &Condition { status: "ok" })
}

/// Whether the broker answers and takes tasks.
#[utoipa::path(
    get,
    path = "/ready",
    responses((status = 200, description = "It does", body = Condition), Refused)
)]
pub(crate) async fn ready(State(app): State<Arc<App>>) -> Result<Response, Refusal> {
    let known = app.ready.lock().filter(|(at, _)| at.elapsed() < READY_FOR);
    let takes = match known {
        Some((_, takes)) => takes,
        None => {
            let client = app.visitors.client(Visitor::Gateway)?;
            let takes = !answered(&client, client.status()).await?.draining;
            *app.ready.lock() = Some((Instant::now(), takes));
            takes
        }
    };
    match takes {
        true => Ok(Format::Json.reply(StatusCode::OK, &Condition { status: "ok" })),
        false => {
            let text = "the broker is going down and takes nothing new".to_owned();
            Err(Refusal::of(ganger_common::ErrorCode::Draining, text, None))
        }
    }
}

/// The figures for Prometheus.
#[utoipa::path(
    get,
    path = "/metrics",
    responses(
        (status = 200, description = "OpenMetrics for whoever accepts it", content(
            (String = "application/openmetrics-text"),
            (String = "text/plain"),
        )),
        Refused
    )
)]
pub(crate) async fn metrics(
    State(app): State<Arc<App>>,
    caller: Caller,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let status = caller.answer(caller.client.status()).await?;
    let mut text = String::new();
    encode_registry(&mut text, &Figures(status).registry())
        .and_then(|()| encode_registry(&mut text, &app.metrics.registry))
        .and_then(|()| encode_eof(&mut text))
        .map_err(|_| Refusal::unreachable("the figures could not be written"))?;
    let accepted = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match accepted.contains("application/openmetrics-text") {
        true => Ok(of_bytes(StatusCode::OK, exposition::OPEN, text)),
        false => Ok(of_bytes(StatusCode::OK, exposition::PLAIN, exposition::plain(&text))),
    }
}

/// This description.
#[utoipa::path(
    get,
    path = "/v1/openapi.json",
    responses((status = 200, description = "OpenAPI 3.1", body = serde_json::Value))
)]
pub(crate) async fn page() -> Response {
    // It is the same for as long as the process lives.
    static PAGE: LazyLock<Bytes> =
        LazyLock::new(|| serde_json::to_vec(&super::description()).unwrap_or_default().into());
    of_bytes(StatusCode::OK, "application/json", PAGE.clone())
}
