//! Kinds are paused and resumed. How their queues stand is told with the status.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::Refused;
use crate::gate::Caller;
use crate::params::Segments;
use crate::refusal::Refusal;

/// Pauses a kind: its tasks are taken and wait, and nothing of it is given out.
#[utoipa::path(
    post,
    path = "/v1/kinds/{kind}/pause",
    params(("kind" = String, Path)),
    responses((status = 204, description = "It is paused; what workers have of it goes on"), Refused)
)]
pub(crate) async fn pause(caller: Caller, Segments(kind): Segments<String>) -> Result<Response, Refusal> {
    caller.answer(caller.client.pause(&kind)).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Resumes a paused kind.
#[utoipa::path(
    post,
    path = "/v1/kinds/{kind}/resume",
    params(("kind" = String, Path)),
    responses((status = 204, description = "It is given out"), Refused)
)]
pub(crate) async fn resume(caller: Caller, Segments(kind): Segments<String>) -> Result<Response, Refusal> {
    caller.answer(caller.client.resume(&kind)).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
