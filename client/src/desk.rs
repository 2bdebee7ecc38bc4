//! Where the callers and the I/O thread meet.
//!
//! One lock, held for moments: callers put in what they want and find what they wait for; the I/O thread
//! takes everything that is there in one go and puts back a whole message of outcomes in one go. A task
//! costs no channel and no spawn, only a place in a slab.

use std::sync::Arc;
use std::task::{Poll, Waker};

use dashmap::DashMap;
use ganger_common::TaskId;
use ganger_common::message::Durability;
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore, oneshot, watch};

use crate::error::{Error, Result};
use crate::events::Sink;
use crate::ids::IdSource;
use crate::pipe::Lane;
use crate::places::Places;
use crate::session::request::{Answer, Request};
use crate::session::{Broker, REQUESTS_MAX, Settled, Submission, Token, window};
use crate::task::TaskOutcome;

/// What the callers and the I/O thread share.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) ids: IdSource,
    inner: Mutex<Inner>,
    /// Wakes the I/O thread.
    filled: Notify,
    /// The window of the session, as seen from outside: permits come back with `Effect::Room`.
    room_tasks: Semaphore,
    room_units: Semaphore,
    window_tasks: usize,
    units_max: usize,
    /// Questions under way, by token.
    pub(crate) questions: DashMap<Token, oneshot::Sender<Result<Answer>>>,
    pub(crate) question_room: Semaphore,
    /// Who follows which task.
    pub(crate) sinks: DashMap<TaskId, Vec<Arc<Sink>>>,
    pub(crate) state: watch::Sender<LinkState>,
    /// The I/O thread has let everything leave.
    gone: watch::Sender<bool>,
}

/// Where the connection is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LinkState {
    /// There is none, and one is being made.
    Down {
        /// What went wrong last.
        reason: Option<String>,
    },
    /// The broker has opened the session.
    Open(Box<Broker>),
    /// The client is over.
    Ended(Error),
}

#[derive(Debug, Default)]
struct Inner {
    orders: Orders,
    places: Places,
    next_question: Token,
    /// The I/O thread is gone: nothing that is put in would be looked at.
    over: Option<Error>,
}

/// What the callers want.
#[derive(Debug, Default)]
pub(crate) struct Orders {
    pub(crate) submissions: Vec<Submission>,
    pub(crate) watches: Vec<(Token, TaskId, bool)>,
    pub(crate) questions: Vec<(Token, Request)>,
    pub(crate) close: bool,
}

impl Orders {
    fn is_empty(&self) -> bool {
        self.submissions.is_empty() && self.watches.is_empty() && self.questions.is_empty() && !self.close
    }
}

impl Desk {
    pub(crate) fn new(window_tasks: usize, window_bytes: usize) -> Self {
        let units_max = window::units_max(window_bytes).min(u32::MAX as usize);
        let window_tasks = window_tasks.clamp(1, u32::MAX as usize);
        Self {
            ids: IdSource::new(),
            inner: Mutex::default(),
            filled: Notify::new(),
            room_tasks: Semaphore::new(window_tasks),
            room_units: Semaphore::new(units_max),
            window_tasks,
            units_max,
            questions: DashMap::new(),
            question_room: Semaphore::new(REQUESTS_MAX),
            sinks: DashMap::new(),
            state: watch::Sender::new(LinkState::Down { reason: None }),
            gone: watch::Sender::new(false),
        }
    }

    /// What a task takes of the window.
    pub(crate) fn units(&self, payload_bytes: usize) -> usize {
        window::units(payload_bytes).min(self.units_max)
    }

    pub(crate) fn units_max(&self) -> usize {
        self.units_max
    }

    pub(crate) fn window_tasks(&self) -> usize {
        self.window_tasks
    }

    /// Waits until the window has room.
    ///
    /// # Cancel safety
    /// Nothing is taken when the future is dropped.
    pub(crate) async fn enter(&self, tasks: usize, units: usize) -> Result<()> {
        let closed = |_| self.end_reason();
        let tasks = self.room_tasks.acquire_many(tasks as u32).await.map_err(closed)?;
        self.room_units.acquire_many(units as u32).await.map_err(closed)?.forget();
        tasks.forget();
        Ok(())
    }

    pub(crate) fn leave(&self, tasks: usize, units: usize) {
        self.room_tasks.add_permits(tasks);
        self.room_units.add_permits(units);
    }

    /// Why the client is over.
    pub(crate) fn end_reason(&self) -> Error {
        match &*self.state.borrow() {
            LinkState::Ended(error) => error.clone(),
            _ => Error::Closed,
        }
    }

    /// Puts something in, and wakes the I/O thread if it may be asleep.
    fn order<T>(&self, put: impl FnOnce(&mut Inner) -> T) -> Result<T> {
        let mut inner = self.inner.lock();
        if let Some(error) = &inner.over {
            return Err(error.clone());
        }
        let was_empty = inner.orders.is_empty();
        let put = put(&mut inner);
        drop(inner);
        if was_empty {
            self.filled.notify_one();
        }
        Ok(put)
    }

    /// Hands in one task that has entered the window; returns the place to wait at.
    pub(crate) fn submit(&self, make: impl FnOnce(Token) -> Submission) -> Result<usize> {
        self.order(|inner| {
            let slot = inner.places.add_slot();
            inner.orders.submissions.push(make(slot as Token));
            slot
        })
    }

    /// Hands in tasks of a lane that have entered the window.
    pub(crate) fn submit_lane(
        &self,
        lane: usize,
        count: usize,
        submissions: impl Iterator<Item = Submission>,
    ) -> Result<()> {
        self.order(|inner| {
            inner.places.expect(lane, count);
            inner.orders.submissions.extend(submissions);
        })
    }

    /// Asks for the outcome of a task; returns the place to wait at.
    pub(crate) fn watch(&self, task: TaskId, events: bool) -> Result<usize> {
        self.order(|inner| {
            let slot = inner.places.add_slot();
            inner.orders.watches.push((slot as Token, task, events));
            slot
        })
    }

    pub(crate) fn ask(&self, request: Request, answer: oneshot::Sender<Result<Answer>>) -> Result<Token> {
        self.order(|inner| {
            let token = inner.next_question;
            inner.next_question += 1;
            self.questions.insert(token, answer);
            inner.orders.questions.push((token, request));
            token
        })
    }

    pub(crate) fn close(&self) {
        // Already over: nothing to close.
        let _ = self.order(|inner| inner.orders.close = true);
    }

    /// The I/O thread has nothing left to do.
    pub(crate) fn leave_for_good(&self) {
        self.gone.send_replace(true);
    }

    /// Waits until the I/O thread has nothing left to do.
    pub(crate) async fn gone(&self) {
        // The sender lives as long as the desk does.
        let _ = self.gone.subscribe().wait_for(|gone| *gone).await;
    }

    /// Waits until something was put in; may return although it was taken meanwhile.
    pub(crate) async fn filled(&self) {
        self.filled.notified().await;
    }

    /// Takes all that was put in.
    pub(crate) fn take_orders(&self) -> Orders {
        std::mem::take(&mut self.inner.lock().orders)
    }

    /// The I/O thread leaves: what is put in from now on is refused. Returns what was put in before.
    pub(crate) fn end(&self, error: &Error) -> Orders {
        let mut inner = self.inner.lock();
        let is_first = inner.over.is_none();
        inner.over.get_or_insert_with(|| error.clone());
        let orders = std::mem::take(&mut inner.orders);
        drop(inner);
        if is_first {
            self.state.send_replace(LinkState::Ended(error.clone()));
        }
        self.room_tasks.close();
        self.room_units.close();
        self.question_room.close();
        orders
    }

    pub(crate) fn accepted(&self, tokens: &[Token], durability: Durability, wakers: &mut Vec<Waker>) {
        let mut inner = self.inner.lock();
        tokens.iter().for_each(|token| inner.places.accepted(*token, durability, wakers));
    }

    pub(crate) fn settled(&self, settled: Vec<Settled>, wakers: &mut Vec<Waker>) {
        let mut inner = self.inner.lock();
        for Settled { token, outcome } in settled {
            inner.places.ended(token, Ok(outcome), wakers);
        }
    }

    pub(crate) fn failed(&self, token: Token, task: TaskId, error: Error, wakers: &mut Vec<Waker>) {
        self.inner.lock().places.ended(token, Err((task, error)), wakers);
    }

    /// Polls for the acknowledgement of a task.
    pub(crate) fn poll_accepted(&self, slot: usize, waker: &Waker) -> Poll<Result<Durability>> {
        self.inner.lock().places.poll_accepted(slot, waker)
    }

    /// Polls for the end of a task.
    pub(crate) fn poll_end(&self, slot: usize, waker: &Waker) -> Poll<Result<TaskOutcome>> {
        self.inner.lock().places.poll_end(slot, waker)
    }

    /// Nobody will look at this place any more.
    pub(crate) fn leave_slot(&self, slot: usize) {
        let mut inner = self.inner.lock();
        let is_over = inner.over.is_some();
        inner.places.leave_slot(slot, is_over);
    }

    pub(crate) fn add_lane(&self, lane: Lane) -> usize {
        self.inner.lock().places.add_lane(lane)
    }

    pub(crate) fn with_lane<T>(&self, lane: usize, look: impl FnOnce(&mut Lane) -> T) -> Option<T> {
        self.inner.lock().places.with_lane(lane, look)
    }
}
