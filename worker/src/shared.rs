//! What the thread of the connection and the executors share.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use ganger_common::WorkerId;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

use crate::executor::Running;
use crate::lone::Pace;
use crate::replica::Knowledge;
use crate::session::{Assignment, End, KindIndex, Session, Ticket};
use crate::spans::Tracer;
use crate::time::{Clock, Time};

/// The session, and who sleeps.
pub(crate) struct Shared {
    guarded: Mutex<Guarded>,
    /// Wakes the thread of the connection.
    pub(crate) work: Notify,
    /// One for each executor.
    bells: Vec<Notify>,
    /// One for each slot of the session.
    cells: Vec<Cell>,
    /// One for each kind.
    paces: Vec<Pace>,
    lone_ended: Notify,
    pub(crate) clock: Clock,
    pub(crate) worker: WorkerId,
    pub(crate) knowledge: Knowledge,
    /// Where the spans of attempts go, if anywhere.
    pub(crate) tracer: Option<Tracer>,
}

/// Behind the lock. Whoever goes to sleep writes it down under the same lock under which it saw that
/// there is nothing to do, so no wake-up is lost and nobody who is awake is woken.
pub(crate) struct Guarded {
    pub(crate) session: Session,
    /// Executors that sleep.
    idle: Vec<usize>,
    /// The thread of the connection sleeps until then.
    pub(crate) sleeps_until: Option<Time>,
    /// Handlers that were polled already and wait for an executor.
    begun: VecDeque<(Ticket, Running)>,
    /// The task that came alone will be run by whoever saw it come.
    pub(crate) lone_is_called: bool,
    lone_runs: bool,
    closed: bool,
}

impl Guarded {
    pub(crate) fn has_idle(&self) -> bool {
        !self.idle.is_empty()
    }

    /// Whether the thread of the connection sleeps and has something to do. It is asked once: whoever asked
    /// wakes it.
    pub(crate) fn wants_connection(&mut self) -> bool {
        let Some(until) = self.sleeps_until else { return false };
        let is_due =
            self.session.has_effects() || self.session.poll_timeout().is_some_and(|timeout| timeout < until);
        if is_due {
            self.sleeps_until = None;
        }
        is_due
    }

    fn next(&mut self, now: Time, executor: usize) -> Step {
        // It has a slot, so there is an executor that has none: no task waits for it for ever.
        if let Some((ticket, running)) = self.begun.pop_front() {
            return Step::GoOn(ticket, running);
        }
        match self.session.take(now) {
            _ if self.closed => Step::Closed,
            Some(assignment) => Step::Run(assignment),
            None => {
                self.idle.push(executor);
                Step::Idle
            }
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("worker", &self.worker).finish_non_exhaustive()
    }
}

/// What an executor does next.
pub(crate) enum Step {
    /// Run this.
    Run(Assignment),
    /// Go on with this.
    GoOn(Ticket, Running),
    /// Sleep until the bell rings.
    Idle,
    /// The worker has ended.
    Closed,
}

impl Shared {
    pub(crate) fn new(
        session: Session,
        slots: u32,
        clock: Clock,
        worker: WorkerId,
        knowledge: Knowledge,
        tracer: Option<Tracer>,
    ) -> Self {
        let paces = session.kinds().iter().map(|_| Pace::default()).collect();
        let guarded = Guarded {
            session,
            idle: Vec::new(),
            sleeps_until: None,
            begun: VecDeque::new(),
            lone_is_called: false,
            lone_runs: false,
            closed: false,
        };
        Self {
            guarded: Mutex::new(guarded),
            work: Notify::new(),
            bells: (0..slots).map(|_| Notify::new()).collect(),
            cells: (0..slots).map(|_| Cell::default()).collect(),
            paces,
            lone_ended: Notify::new(),
            clock,
            worker,
            knowledge,
            tracer,
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Guarded> {
        self.guarded.lock()
    }

    /// Rings for as many executors as would get a task.
    pub(crate) fn wake_executors(&self, guarded: &mut Guarded) {
        let ready = guarded.session.ready() + guarded.begun.len();
        for _ in 0..ready.min(guarded.idle.len()) {
            if let Some(executor) = guarded.idle.pop() {
                self.bells[executor].notify_one();
            }
        }
    }

    /// Sends all executors home.
    pub(crate) fn close(&self) {
        let mut guarded = self.lock();
        guarded.closed = true;
        guarded.idle.clear();
        drop(guarded);
        self.bells.iter().for_each(Notify::notify_one);
    }

    pub(crate) fn pace(&self, kind: KindIndex) -> &Pace {
        &self.paces[usize::from(kind.0)]
    }

    /// Claims a task that no executor runs.
    pub(crate) fn take_lone(&self, mut guarded: MutexGuard<'_, Guarded>) -> Option<Assignment> {
        let assignment = guarded.session.take(self.clock.now());
        guarded.lone_runs = assignment.is_some();
        assignment
    }

    /// Takes in the end of such a task, or has an executor go on with it. Returns whether the connection is
    /// to be woken.
    pub(crate) fn leave_lone(&self, ticket: Ticket, end: Result<End, Running>) -> bool {
        let now = self.clock.now();
        let mut guarded = self.lock();
        match end {
            Ok(end) => guarded.session.finish(now, ticket, end),
            Err(running) => guarded.begun.push_back((ticket, running)),
        }
        guarded.lone_runs = false;
        self.lone_ended.notify_waiters();
        self.wake_executors(&mut guarded);
        guarded.wants_connection()
    }

    /// Waits until no task runs that no executor runs.
    pub(crate) async fn lone_left(&self) {
        loop {
            let ended = self.lone_ended.notified();
            tokio::pin!(ended);
            ended.as_mut().enable();
            if !self.lock().lone_runs {
                return;
            }
            ended.await;
        }
    }

    pub(crate) fn cell(&self, ticket: Ticket) -> &Cell {
        &self.cells[ticket.slot as usize]
    }

    pub(crate) fn progress(&self, ticket: Ticket, fraction: Option<f32>, text: String) {
        let now = self.clock.now();
        let mut guarded = self.lock();
        guarded.session.progress(now, ticket, fraction, text);
        self.wake_connection(guarded);
    }

    pub(crate) fn partial(&self, ticket: Ticket, data: &Bytes) -> bool {
        let mut guarded = self.lock();
        let is_taken = guarded.session.partial(ticket, data);
        self.wake_connection(guarded);
        is_taken
    }

    /// Lets go of the lock, and wakes the thread of the connection if it sleeps and has something to do.
    pub(crate) fn wake_connection(&self, mut guarded: MutexGuard<'_, Guarded>) {
        if guarded.wants_connection() {
            drop(guarded);
            self.work.notify_one();
        }
    }
}

/// An executor's place. Each has a copy of the shared pointer of its own, so that counting its users does
/// not bounce between processors.
#[derive(Debug)]
pub(crate) struct Seat {
    shared: Arc<Shared>,
    number: usize,
    /// Names of the kinds, again a copy for each executor.
    pub(crate) kinds: Vec<Arc<str>>,
}

impl Seat {
    pub(crate) fn new(shared: Arc<Shared>, number: usize) -> Self {
        let kinds = shared.lock().session.kinds().iter().map(Arc::from).collect();
        Self { shared, number, kinds }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Hands in what was done and claims what is next, under one lock.
    pub(crate) fn step(&self, done: Option<(Ticket, End)>) -> Step {
        let now = self.shared.clock.now();
        let mut guarded = self.shared.lock();
        if let Some((ticket, end)) = done {
            guarded.session.finish(now, ticket, end);
        }
        let step = guarded.next(now, self.number);
        self.shared.wake_connection(guarded);
        step
    }

    /// Waits for the bell.
    pub(crate) async fn bell(&self) {
        self.shared.bells[self.number].notified().await;
    }
}

/// Tells the handler in a slot to stop.
#[derive(Debug, Default)]
pub(crate) struct Cell {
    /// Every attempt up to this number should stop.
    serial: AtomicU64,
    changed: Notify,
}

impl Cell {
    pub(crate) fn cancel(&self, ticket: Ticket) {
        self.serial.fetch_max(ticket.serial, Ordering::Release);
        self.changed.notify_waiters();
    }

    pub(crate) fn is_cancelled(&self, ticket: Ticket) -> bool {
        self.serial.load(Ordering::Acquire) >= ticket.serial
    }

    pub(crate) async fn cancelled(&self, ticket: Ticket) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.is_cancelled(ticket) {
                return;
            }
            changed.await;
        }
    }
}
