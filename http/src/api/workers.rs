//! Workers.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use ganger_client::Error;
use ganger_client::session::request::{Answer, Request};

use super::Refused;
use super::tasks::none_refused;
use crate::gate::Caller;
use crate::model::{DrainParams, PageParams, WorkerRows};
use crate::params::{Params, Segments};
use crate::refusal::Refusal;

/// Lists workers.
#[utoipa::path(
    get,
    path = "/v1/workers",
    params(PageParams),
    responses((status = 200, description = "A page", body = WorkerRows), Refused)
)]
pub(crate) async fn list(caller: Caller, Params(params): Params<PageParams>) -> Result<Response, Refusal> {
    match caller.answer(caller.client.ask(Request::Workers { after: params.after })).await? {
        Answer::Workers { rows, next } => caller.ok(&WorkerRows { rows, next }),
        _ => Err(Error::Protocol("the answer to another question came".to_owned()).into()),
    }
}

/// Drains a worker: it takes nothing new, finishes what it runs, and ends.
#[utoipa::path(
    post,
    path = "/v1/workers/{id}/drain",
    params(("id" = String, Path, description = "Its id or its name"), DrainParams),
    responses((status = 202, description = "It has been told"), Refused)
)]
pub(crate) async fn drain(
    caller: Caller,
    Segments(id): Segments<String>,
    Params(params): Params<DrainParams>,
) -> Result<Response, Refusal> {
    let deadline = params.deadline.map(|span| span.0);
    // An empty list would mean every worker; so must an empty name not be one.
    if id.is_empty() {
        return Err(Refusal::bad_option("id: the id or the name of a worker"));
    }
    let refused = caller.answer(caller.client.drain(vec![id], deadline)).await?;
    none_refused(refused)?;
    Ok(StatusCode::ACCEPTED.into_response())
}
