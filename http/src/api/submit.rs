//! Handing in.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;
use futures_util::StreamExt;
use ganger_client::{Client, NewTask, TaskHandle, TaskOutcome, as_completed};
use ganger_common::message::Durability;
use ganger_common::{TaskId, TaskOptions, Trace};
use tokio::time::Instant;

use super::Refused;
use crate::app::App;
use crate::body::Taken;
use crate::gate::{Caller, answered};
use crate::limits::{SHOWN_BYTES_MAX, SHOWN_BYTES_MAX_ALL};
use crate::model::{
    Accepted, AcceptedBatch, AcceptedItem, Batch, Ended, Handed, OneOrMany, RefusedItem, Shown, TOO_MANY,
    Task, WaitParams,
};
use crate::params::{Params, Span};
use crate::refusal::Refusal;
use crate::traced::{TraceParams, Traced};

/// Hands in a task, or an array of tasks.
#[utoipa::path(
    post,
    path = "/v1/tasks",
    params(WaitParams, TraceParams),
    request_body(content((OneOrMany = "application/json"), (OneOrMany = "application/msgpack"))),
    responses(
        (status = 200, description = "All have their outcomes", body = Handed),
        (status = 202, description = "Taken", body = Handed),
        Refused
    )
)]
pub(crate) async fn submit(
    State(app): State<Arc<App>>,
    caller: Caller,
    Params(params): Params<WaitParams>,
    Traced(trace): Traced,
    body: Taken,
) -> Result<Response, Refusal> {
    let wait = params.wait.map(Span::wait).transpose()?;
    let is_array = body.is_array();
    let tasks = match is_array {
        true => read_all(&body)?,
        false => vec![body.read::<Task>()?],
    };
    let new = |task| new_task(task, |options| belong(options, trace.as_ref()));
    let tasks = tasks.into_iter().map(new).collect::<Result<Vec<_>, _>>()?;
    drop(body);
    let verdicts = answered(&caller.client, hand_in(&caller.client, tasks)).await?;
    let mut taken = Outcomes::of(&verdicts);
    if let Some(wait) = wait {
        taken.wait(&app, &caller.client, wait).await?;
    }
    reply(&caller, verdicts, taken, is_array)
}

fn read_all(body: &Taken) -> Result<Vec<Task>, Refusal> {
    match body.read::<Batch<Task>>() {
        Ok(Batch(tasks)) => Ok(tasks),
        Err(refusal) if refusal.message.contains(TOO_MANY) => Err(Refusal::too_many(refusal.message)),
        Err(refusal) => Err(refusal),
    }
}

/// A task as the client library wants it, with a last word on its options.
pub(crate) fn new_task(task: Task, adjust: impl FnOnce(&mut TaskOptions)) -> Result<NewTask, Refusal> {
    let payloads = [
        task.payload.map(|packed| packed.0),
        task.payload_base64.map(|bytes| bytes.0),
        task.payload_bytes.map(|bytes| bytes.0),
    ];
    let mut payloads = payloads.into_iter().flatten();
    let payload: Bytes = payloads.next().unwrap_or_default();
    if payloads.next().is_some() {
        return Err(Refusal::bad_message("a task has one payload, payload_base64 or payload_bytes"));
    }
    let mut options = task.options.into();
    adjust(&mut options);
    let new = NewTask::new(task.kind, payload).options(options);
    Ok(match task.id {
        Some(id) => new.id(id),
        None => new,
    })
}

/// A task that names no span comes from that of the request.
fn belong(options: &mut TaskOptions, trace: Option<&Trace>) {
    if let (None, None, Some(trace)) = (&options.trace, &options.trace_state, trace) {
        (options.trace, options.trace_state) = (Some(trace.context), trace.state.clone());
    }
}

/// What the broker said to one task.
type Verdict = (TaskId, Result<Durability, Refusal>);

/// Hands tasks in, all before the first is waited for, so that they travel together.
async fn hand_in(client: &Client, tasks: Vec<NewTask>) -> ganger_client::Result<Vec<Verdict>> {
    let mut handles = Vec::with_capacity(tasks.len());
    for task in tasks {
        handles.push(client.send(task).await?);
    }
    let mut verdicts = Vec::with_capacity(handles.len());
    for handle in &mut handles {
        verdicts.push((handle.id(), handle.accepted().await.map_err(Refusal::from)));
    }
    Ok(verdicts)
}

/// Outcomes that were waited for, in the order of the tasks that were taken.
pub(crate) struct Outcomes {
    ids: Vec<TaskId>,
    found: Vec<Option<TaskOutcome>>,
}

impl Outcomes {
    fn of(verdicts: &[Verdict]) -> Self {
        let taken = verdicts.iter().filter(|(_, verdict)| verdict.is_ok());
        Self::none_of(taken.map(|(id, _)| *id).collect())
    }

    pub(crate) fn none_of(ids: Vec<TaskId>) -> Self {
        let found = ids.iter().map(|_| None).collect();
        Self { ids, found }
    }

    /// Waits until all are there, or the time is over.
    pub(crate) async fn wait(&mut self, app: &App, client: &Client, wait: Duration) -> Result<(), Refusal> {
        let until = Instant::now() + wait;
        let busy = |_| Refusal::busy("too many outcomes are waited for already; the tasks were taken");
        let _places = app.waits.clone().try_acquire_many_owned(self.ids.len() as u32).map_err(busy)?;
        let handles: Vec<TaskHandle> = client.watch(self.ids.iter().copied())?;
        let mut places: std::collections::HashMap<TaskId, Vec<usize>> = std::collections::HashMap::new();
        self.ids.iter().enumerate().for_each(|(place, id)| places.entry(*id).or_default().push(place));
        let mut ends = std::pin::pin!(as_completed(handles));
        while let Ok(Some((id, end))) = tokio::time::timeout_at(until, ends.next()).await {
            // Without an outcome here, the task is answered as one that has none yet.
            let Ok(outcome) = end else { continue };
            for place in places.get(&id).into_iter().flatten() {
                self.found[*place] = Some(outcome.clone());
            }
        }
        Ok(())
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.found.iter().all(Option::is_some)
    }

    /// The outcome of the first task.
    pub(crate) fn into_first(self) -> Option<TaskOutcome> {
        self.found.into_iter().next().flatten()
    }

    /// The outcomes as they are shown, in order.
    pub(crate) fn shown(self) -> Vec<Option<Ended>> {
        let mut room = SHOWN_BYTES_MAX_ALL;
        self.found.into_iter().map(|outcome| outcome.map(|outcome| ended(outcome, &mut room))).collect()
    }
}

/// An outcome as it is shown.
pub(crate) fn ended(outcome: TaskOutcome, room: &mut usize) -> Ended {
    let result = match outcome.is_success() && !outcome.result_dropped {
        true => show(&outcome.result, room),
        false => Shown { dropped: outcome.result_dropped, ..Shown::default() },
    };
    Ended { outcome: outcome.outcome, attempt: outcome.attempt, error: outcome.error, result }
}

/// Shows bytes, if that takes no more than what is left.
pub(crate) fn show(bytes: &[u8], room: &mut usize) -> Shown {
    match bytes.len() <= SHOWN_BYTES_MAX.min(*room) {
        true => {
            *room -= bytes.len();
            Shown { result: Some(ganger_client::json::show(bytes)), ..Shown::default() }
        }
        false => Shown { left_out: true, ..Shown::default() },
    }
}

fn reply(
    caller: &Caller,
    verdicts: Vec<Verdict>,
    outcomes: Outcomes,
    is_array: bool,
) -> Result<Response, Refusal> {
    let durability = verdicts.iter().find_map(|(_, verdict)| verdict.as_ref().ok().copied());
    let Some(durability) = durability else {
        let first = verdicts.into_iter().find_map(|(_, verdict)| verdict.err());
        return match first {
            Some(refusal) => Err(refusal),
            None => Err(Refusal::bad_message("an array without tasks")),
        };
    };
    let status = if outcomes.is_complete() { StatusCode::OK } else { StatusCode::ACCEPTED };
    let mut ends = outcomes.shown().into_iter();
    let (mut tasks, mut refused) = (Vec::new(), Vec::new());
    for (index, (id, verdict)) in verdicts.into_iter().enumerate() {
        match verdict {
            Ok(_) => tasks.push(AcceptedItem { index, id, ended: ends.next().flatten() }),
            Err(refusal) => refused.push(RefusedItem { index, id, problem: refusal.problem() }),
        }
    }
    if is_array {
        let batch = AcceptedBatch { durability, accepted: tasks.len(), tasks, refused };
        return Ok(caller.reply(status, &Handed::Many(batch)));
    }
    let one = tasks.pop().ok_or_else(|| Refusal::unreachable("no verdict on the task came"))?;
    Ok(caller.reply(status, &Handed::One(Accepted { id: one.id, durability, ended: one.ended })))
}
