//! What happens in the broker, as server-sent events.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::Serialize;
use tokio::sync::watch;

use super::Refused;
use crate::app::App;
use crate::feed::{Told, Watcher};
use crate::gate::Caller;
use crate::limits::EVENTS_PAUSE;
use crate::model::{WatchParams, Watching};
use crate::params::Params;
use crate::refusal::Refusal;

/// Watches what happens: `watching` first, then events by their types, `missed`, and at last `error`.
#[utoipa::path(
    get,
    path = "/v1/events",
    params(WatchParams, ("Last-Event-ID" = Option<u64>, Header)),
    responses(
        (status = 200, description = "Server-sent events, without an end", body = String,
            content_type = "text/event-stream"),
        Refused
    )
)]
pub(crate) async fn watch(
    State(app): State<Arc<App>>,
    caller: Caller,
    Params(params): Params<WatchParams>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let after = match headers.get("last-event-id").map(|value| value.to_str().unwrap_or_default().trim()) {
        None | Some("") => params.after,
        Some(number) => {
            let wrong = |_| Refusal::bad_option("Last-Event-ID: the number of an event");
            Some(number.parse().map_err(wrong)?)
        }
    };
    let watcher = Watcher::begin(&app, caller.visitor, params.wishes(), after)?;
    let (oldest, newest) = watcher.kept();
    // Whoever comes back without having heard of an event begins where this one did.
    let first = named("watching", &Watching { oldest, newest }).id(after.unwrap_or(newest).to_string());
    let reading = Reading { watcher, end: app.end.clone(), first: Some(first), is_over: false };
    let events = stream::unfold(reading, Reading::next);
    let quiet = KeepAlive::new().interval(EVENTS_PAUSE);
    Ok(Sse::new(events).keep_alive(quiet).into_response())
}

struct Reading {
    watcher: Watcher,
    end: watch::Receiver<bool>,
    first: Option<Event>,
    is_over: bool,
}

impl Reading {
    async fn next(mut self) -> Option<(Result<Event, Infallible>, Self)> {
        if self.is_over {
            return None;
        }
        if let Some(first) = self.first.take() {
            return Some((Ok(first), self));
        }
        let told = tokio::select! {
            told = self.watcher.next() => told,
            _ = self.end.wait_for(|ends| *ends) => return None,
        };
        let event = match told {
            Ok(Told::Event(event)) => named(event.news.type_name(), &event).id(event.number.to_string()),
            Ok(Told::Missed(missed)) => named("missed", &missed),
            Err(refusal) => {
                self.is_over = true;
                named("error", &refusal.problem())
            }
        };
        Some((Ok(event), self))
    }
}

pub(super) fn named<T: Serialize>(name: &str, data: &T) -> Event {
    // One line, so that whoever reads it needs no more than a line.
    Event::default().event(name).data(serde_json::to_string(data).unwrap_or_default())
}
