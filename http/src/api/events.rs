//! What a task says while it runs, as server-sent events.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use ganger_client::{EventStream, Followed, TaskEvent};
use ganger_common::TaskId;
use tokio::sync::OwnedSemaphorePermit;

use super::Refused;
use super::submit::{ended, show};
use super::watch::named;
use crate::app::App;
use crate::gate::Caller;
use crate::limits::{EVENTS_PAUSE, SHOWN_BYTES_MAX};
use crate::model::{Missed, Partial, Progress, StreamEvent};
use crate::params::Segments;
use crate::refusal::Refusal;

/// Follows a task to its end: events `progress`, `partial`, `missed`, and at last `ended` or `error`.
#[utoipa::path(
    get,
    path = "/v1/tasks/{id}/events",
    params(("id" = TaskId, Path)),
    responses(
        (status = 200, description = "Server-sent events", body = StreamEvent, content_type = "text/event-stream"),
        Refused
    )
)]
pub(crate) async fn follow(
    State(app): State<Arc<App>>,
    caller: Caller,
    Segments(id): Segments<TaskId>,
) -> Result<Response, Refusal> {
    // Whoever asks for a task that there is not hears of it by the status, which goes out first.
    caller.answer(caller.client.explain(id)).await?;
    let busy = |_| Refusal::busy("too many outcomes are waited for already");
    let place = app.waits.clone().try_acquire_owned().map_err(busy)?;
    let following = Following { events: caller.client.events(id)?, _place: place, is_over: false };
    let events = stream::unfold(following, Following::next);
    let quiet = KeepAlive::new().interval(EVENTS_PAUSE);
    Ok(Sse::new(events).keep_alive(quiet).into_response())
}

/// A task that somebody follows. What is not read in time the client library drops and counts, so that nothing
/// gathers here.
struct Following {
    events: EventStream,
    _place: OwnedSemaphorePermit,
    is_over: bool,
}

impl Following {
    async fn next(mut self) -> Option<(Result<Event, Infallible>, Self)> {
        if self.is_over {
            return None;
        }
        let event = match self.events.next().await? {
            Ok(Followed::Event(event)) => shown(event),
            Ok(Followed::Missed(count)) => named("missed", &Missed { count }),
            Ok(Followed::Ended(outcome)) => {
                self.is_over = true;
                let mut room = SHOWN_BYTES_MAX;
                named("ended", &ended(outcome, &mut room))
            }
            Err(error) => {
                self.is_over = true;
                named("error", &Refusal::from(error).problem())
            }
        };
        Some((Ok(event), self))
    }
}

fn shown(event: TaskEvent) -> Event {
    match event {
        TaskEvent::Progress { attempt, fraction, text } => {
            named("progress", &Progress { attempt, fraction, text })
        }
        TaskEvent::Partial { attempt, index, data } => {
            let mut room = SHOWN_BYTES_MAX;
            named("partial", &Partial { attempt, index, data: show(&data, &mut room) })
        }
    }
}
