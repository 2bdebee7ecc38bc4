//! Seeing to tasks.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use ganger_client::session::request::Refused as RefusedOne;
use ganger_client::{TaskOutcome, TaskQuery};
use ganger_common::view::{Explanation, TaskState, TaskView};
use ganger_common::{Outcome, TaskId};

use super::Refused;
use super::submit::{Outcomes, ended, show};
use crate::app::App;
use crate::gate::Caller;
use crate::limits::SHOWN_BYTES_MAX_ALL;
use crate::model::{RefusedItem, TaskParams, TaskPayload, TaskResult, TaskRows, WaitParams};
use crate::params::{Params, Segments};
use crate::refusal::Refusal;
use crate::reply::{Format, of_bytes};

/// Lists tasks, oldest first.
#[utoipa::path(
    get,
    path = "/v1/tasks",
    params(TaskParams),
    responses((status = 200, description = "A page", body = TaskRows), Refused)
)]
pub(crate) async fn list(caller: Caller, Params(params): Params<TaskParams>) -> Result<Response, Refusal> {
    let TaskParams { state, kind, after, limit } = params;
    let page = caller.answer(caller.client.list(TaskQuery { state, kind, after, limit })).await?;
    caller.ok(&TaskRows { rows: page.rows, next: page.next })
}

/// One task, with its history.
#[utoipa::path(
    get,
    path = "/v1/tasks/{id}",
    params(("id" = TaskId, Path)),
    responses((status = 200, description = "The task", body = TaskView), Refused)
)]
pub(crate) async fn one(caller: Caller, Segments(id): Segments<TaskId>) -> Result<Response, Refusal> {
    // The explanation has the task without its result, which may be large.
    let explanation = caller.answer(caller.client.explain(id)).await?;
    caller.ok(&explanation.task)
}

/// Cancels a task.
#[utoipa::path(
    delete,
    path = "/v1/tasks/{id}",
    params(("id" = TaskId, Path)),
    responses((status = 204, description = "No result of it is accepted any more"), Refused)
)]
pub(crate) async fn cancel(caller: Caller, Segments(id): Segments<TaskId>) -> Result<Response, Refusal> {
    let refused = caller.answer(caller.client.cancel(&[id])).await?;
    none_refused(refused)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Puts a failed or dead task back into its queue.
#[utoipa::path(
    post,
    path = "/v1/tasks/{id}/retry",
    params(("id" = TaskId, Path)),
    responses((status = 202, description = "It is queued"), Refused)
)]
pub(crate) async fn retry(caller: Caller, Segments(id): Segments<TaskId>) -> Result<Response, Refusal> {
    let refused = caller.answer(caller.client.retry(&[id])).await?;
    none_refused(refused)?;
    Ok(StatusCode::ACCEPTED.into_response())
}

/// Why a task is where it is.
#[utoipa::path(
    get,
    path = "/v1/tasks/{id}/explain",
    params(("id" = TaskId, Path)),
    responses((status = 200, description = "The task and the reasons", body = Explanation), Refused)
)]
pub(crate) async fn explain(caller: Caller, Segments(id): Segments<TaskId>) -> Result<Response, Refusal> {
    let explanation = caller.answer(caller.client.explain(id)).await?;
    caller.ok(&explanation)
}

/// The payload of a task, as long as the task may run.
#[utoipa::path(
    get,
    path = "/v1/tasks/{id}/payload",
    params(("id" = TaskId, Path)),
    responses(
        (status = 200, description = "The payload; or, when asked for, the bytes", content(
            (TaskPayload = "application/json"),
            (Vec<u8> = "application/octet-stream"),
        )),
        Refused
    )
)]
pub(crate) async fn payload(caller: Caller, Segments(id): Segments<TaskId>) -> Result<Response, Refusal> {
    let payload = caller.answer(caller.client.payload(id)).await?;
    if caller.format == Format::Bytes {
        return Ok(of_bytes(StatusCode::OK, "application/octet-stream", payload));
    }
    let mut room = SHOWN_BYTES_MAX_ALL;
    let shown = show(&payload, &mut room);
    let bytes = payload.len() as u64;
    caller.ok(&TaskPayload { id, bytes, payload: shown.result, left_out: shown.left_out })
}

/// The outcome and the result of a task.
#[utoipa::path(
    get,
    path = "/v1/tasks/{id}/result",
    params(("id" = TaskId, Path), WaitParams),
    responses(
        (status = 200, description = "It has its outcome; or, when asked for, the bytes", content(
            (TaskResult = "application/json"),
            (Vec<u8> = "application/octet-stream"),
        )),
        (status = 202, description = "It has none yet", body = TaskResult),
        Refused
    )
)]
pub(crate) async fn result(
    State(app): State<Arc<App>>,
    caller: Caller,
    Segments(id): Segments<TaskId>,
    Params(params): Params<WaitParams>,
) -> Result<Response, Refusal> {
    let waited = match params.wait {
        Some(wait) => {
            let mut outcomes = Outcomes::none_of(vec![id]);
            outcomes.wait(&app, &caller.client, wait.wait()?).await?;
            outcomes.into_first()
        }
        None => None,
    };
    let outcome = match waited {
        Some(outcome) => outcome,
        None => {
            let (task, result) = caller.answer(caller.client.fetch(id)).await?;
            match task.outcome {
                Some(outcome) => of_kept(&task, outcome, result),
                None => {
                    let none = TaskResult { id, state: task.state, ended: None };
                    return Ok(caller.reply(StatusCode::ACCEPTED, &none));
                }
            }
        }
    };
    if caller.format == Format::Bytes {
        return match outcome.is_success() && !outcome.result_dropped {
            true => Ok(of_bytes(StatusCode::OK, "application/octet-stream", outcome.result)),
            false => Err(Refusal::not_found("the task has no result")),
        };
    }
    let mut room = SHOWN_BYTES_MAX_ALL;
    let ended = Some(ended(outcome, &mut room));
    caller.ok(&TaskResult { id, state: TaskState::Settled, ended })
}

/// What the broker keeps of a task, as it told it to who waited.
fn of_kept(task: &TaskView, outcome: Outcome, result: Option<Bytes>) -> TaskOutcome {
    let is_success = outcome == Outcome::Succeeded;
    TaskOutcome {
        id: task.id,
        outcome,
        attempt: task.attempt,
        result_dropped: is_success && result.is_none(),
        result: result.unwrap_or_default(),
        // What an earlier attempt said is history once another has succeeded.
        error: task.error.clone().filter(|_| !is_success),
    }
}

/// A request about one thing is refused when that is.
pub(crate) fn none_refused(refused: Vec<RefusedOne>) -> Result<(), Refusal> {
    match refused.into_iter().next() {
        None => Ok(()),
        Some(refused) => Err(Refusal::of(refused.code, refused.text, None)),
    }
}

/// Which of some tasks were refused, as it is shown.
pub(crate) fn refused_items(refused: Vec<RefusedOne>, ids: &[TaskId]) -> Vec<RefusedItem> {
    let item = |one: RefusedOne| {
        let id = *ids.get(one.index)?;
        let problem = Refusal::of(one.code, one.text, None).problem();
        Some(RefusedItem { index: one.index, id, problem })
    };
    refused.into_iter().filter_map(item).collect()
}
