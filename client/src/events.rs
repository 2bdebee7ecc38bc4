//! What a running task says before it ends.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Poll, Waker};

use ganger_common::TaskId;
use parking_lot::Mutex;

use crate::desk::Desk;
use crate::error::Result;
use crate::session::TaskEvent;
use crate::task::TaskOutcome;

/// Most events that wait for one who follows a task. After that the oldest go, and are counted.
pub const EVENTS_MAX: usize = 1_024;

/// Where the events of a task gather for one who follows it.
#[derive(Debug, Default)]
pub(crate) struct Sink {
    inner: Mutex<Gathered>,
}

#[derive(Debug, Default)]
struct Gathered {
    events: VecDeque<TaskEvent>,
    missed: u64,
    waker: Option<Waker>,
}

impl Sink {
    pub(crate) fn put(&self, event: TaskEvent) {
        let mut inner = self.inner.lock();
        if inner.events.len() == EVENTS_MAX {
            inner.events.pop_front();
            inner.missed += 1;
        }
        inner.events.push_back(event);
        let waker = inner.waker.take();
        drop(inner);
        waker.into_iter().for_each(Waker::wake);
    }

    /// The next that is there; if there is none, the waker is kept.
    fn take(&self, waker: Option<&Waker>) -> Option<Followed> {
        let mut inner = self.inner.lock();
        if inner.missed > 0 {
            return Some(Followed::Missed(std::mem::take(&mut inner.missed)));
        }
        if let Some(event) = inner.events.pop_front() {
            return Some(Followed::Event(event));
        }
        if let Some(waker) = waker {
            inner.waker = Some(waker.clone());
        }
        None
    }
}

/// Something that a task says, or its end.
#[derive(Clone, PartialEq, Debug)]
pub enum Followed {
    /// Progress, or a part of the result.
    Event(TaskEvent),
    /// This many events were not taken in time and are gone.
    Missed(u64),
    /// The task has its outcome. Nothing follows.
    Ended(TaskOutcome),
}

/// Follows one task to its end.
#[derive(Debug)]
pub struct EventStream {
    desk: Arc<Desk>,
    sink: Arc<Sink>,
    slot: usize,
    id: TaskId,
    is_over: bool,
}

impl EventStream {
    pub(crate) fn open(desk: &Arc<Desk>, id: TaskId) -> Result<Self> {
        let sink = Arc::new(Sink::default());
        desk.sinks.entry(id).or_default().push(sink.clone());
        match desk.watch(id, true) {
            Ok(slot) => Ok(Self { desk: desk.clone(), sink, slot, id, is_over: false }),
            Err(error) => {
                remove(desk, id, &sink);
                Err(error)
            }
        }
    }

    /// The next event; `None` after the end.
    ///
    /// # Errors
    /// When the end will not be known here; see [`TaskHandle::outcome`](crate::TaskHandle::outcome).
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<Result<Followed>> {
        if self.is_over {
            return None;
        }
        let next = std::future::poll_fn(|context| {
            if let Some(gathered) = self.sink.take(Some(context.waker())) {
                return Poll::Ready(Ok(gathered));
            }
            let end = self.desk.poll_end(self.slot, context.waker());
            // What came before the end, but after the look above, comes first.
            match self.sink.take(None) {
                Some(gathered) => Poll::Ready(Ok(gathered)),
                None => end.map_ok(Followed::Ended),
            }
        })
        .await;
        self.is_over = matches!(next, Ok(Followed::Ended(_)) | Err(_));
        Some(next)
    }
}

impl Drop for EventStream {
    fn drop(&mut self) {
        remove(&self.desk, self.id, &self.sink);
        self.desk.leave_slot(self.slot);
    }
}

fn remove(desk: &Desk, id: TaskId, sink: &Arc<Sink>) {
    if let Some(mut sinks) = desk.sinks.get_mut(&id) {
        sinks.retain(|other| !Arc::ptr_eq(other, sink));
    }
    desk.sinks.remove_if(&id, |_, sinks| sinks.is_empty());
}
