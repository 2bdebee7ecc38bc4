//! What followed tasks say, and how they end.

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use ganger_client::{Error, EventStream, Followed, TaskEvent, TaskHandle, TaskOutcome, as_completed};
use ganger_common::TaskId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::message::Body;
use super::outbox::Outbox;
use crate::api::{ended, show};
use crate::refusal::Refusal;

/// Places for tasks that are followed: at the gateway, and at one WebSocket.
pub(super) struct Places(Vec<OwnedSemaphorePermit>);

impl Places {
    pub(super) fn none() -> Self {
        Self(Vec::new())
    }

    pub(super) fn take(all: &Arc<Semaphore>, own: &Arc<Semaphore>, count: usize) -> Result<Self, Refusal> {
        let take = |room: &Arc<Semaphore>| room.clone().try_acquire_many_owned(count as u32);
        let busy = |_| Refusal::busy("too many tasks are followed already; nothing was done");
        Ok(Self(vec![take(own).map_err(busy)?, take(all).map_err(busy)?]))
    }

    /// Gives back all but so many.
    pub(super) fn keep(&mut self, count: usize) {
        for permit in &mut self.0 {
            drop(permit.split(permit.num_permits().saturating_sub(count)));
        }
    }

    fn give_back_one(&mut self) {
        self.0.iter_mut().for_each(|permit| drop(permit.split(1)));
    }
}

/// Tells how tasks end, each when it does.
pub(super) async fn follow_outcomes(
    outbox: &Outbox,
    req: u64,
    handles: Vec<TaskHandle>,
    places: &mut Places,
) {
    let mut ends = std::pin::pin!(as_completed(handles));
    while let Some((id, end)) = ends.next().await {
        tell_end(outbox, req, id, end);
        places.give_back_one();
    }
}

/// Tells what tasks say and how they end.
pub(super) async fn follow_all(
    outbox: &Outbox,
    req: u64,
    streams: Vec<(TaskId, EventStream)>,
    places: &mut Places,
) {
    let following = streams.into_iter().map(|(id, stream)| follow_one(outbox, req, id, stream));
    let mut following: FuturesUnordered<_> = following.collect();
    while following.next().await.is_some() {
        places.give_back_one();
    }
}

/// Takes what a task says as it comes, so that nothing gathers, and drops what the peer has no room for.
async fn follow_one(outbox: &Outbox, req: u64, id: TaskId, mut stream: EventStream) {
    let mut missed = 0;
    while let Some(followed) = stream.next().await {
        let event = match followed {
            Ok(Followed::Event(event)) => event,
            Ok(Followed::Missed(count)) => {
                missed += count;
                continue;
            }
            Ok(Followed::Ended(outcome)) => {
                tell_missed(outbox, req, id, &mut missed);
                return tell_end(outbox, req, id, Ok(outcome));
            }
            Err(error) => return tell_end(outbox, req, id, Err(error)),
        };
        if outbox.is_tight() {
            missed += 1;
            continue;
        }
        tell_missed(outbox, req, id, &mut missed);
        tell_event(outbox, req, id, event);
    }
}

fn tell_event(outbox: &Outbox, req: u64, id: TaskId, event: TaskEvent) {
    let body = match event {
        TaskEvent::Progress { attempt, fraction, text } => Body::Progress { id, attempt, fraction, text },
        TaskEvent::Partial { attempt, index, data } => {
            let mut room = outbox.room_for_results();
            Body::Partial { id, attempt, index, data: show(&data, &mut room) }
        }
    };
    outbox.say(req, &body);
}

fn tell_missed(outbox: &Outbox, req: u64, id: TaskId, missed: &mut u64) {
    if *missed > 0 {
        let count = Some(std::mem::take(missed));
        outbox.say(req, &Body::Missed { id: Some(id), count, oldest: None });
    }
}

fn tell_end(outbox: &Outbox, req: u64, id: TaskId, end: Result<TaskOutcome, Error>) {
    let body = match end {
        Ok(outcome) => {
            let mut room = outbox.room_for_results();
            Body::Ended { id, ended: ended(outcome, &mut room) }
        }
        Err(error) => Body::Error { id: Some(id), problem: Refusal::from(error).problem() },
    };
    outbox.say(req, &body);
}
