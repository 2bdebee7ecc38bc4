//! Broadcasts.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::Refused;
use crate::body::Taken;
use crate::gate::Caller;
use crate::model::Broadcast;
use crate::refusal::Refusal;

/// Sends a broadcast to whoever listens now.
#[utoipa::path(
    post,
    path = "/v1/publish",
    request_body(content((Broadcast = "application/json"), (Broadcast = "application/msgpack"))),
    responses((status = 202, description = "It was sent"), Refused)
)]
pub(crate) async fn publish(caller: Caller, body: Taken) -> Result<Response, Refusal> {
    let Broadcast { topic, body: value, body_base64 } = body.read()?;
    drop(body);
    let bytes = match (value, body_base64) {
        (Some(_), Some(_)) => return Err(Refusal::bad_message("either body or body_base64")),
        (value, base64) => value.map(|value| value.0).or(base64.map(|bytes| bytes.0)).unwrap_or_default(),
    };
    caller.answer(caller.client.publish(&topic, bytes)).await?;
    Ok(StatusCode::ACCEPTED.into_response())
}
