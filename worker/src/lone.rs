//! A task that comes alone and is known to take microseconds is run where it came in.
//!
//! To wake an executor and to be woken by it would take longer than the task itself. The thread of the
//! connection leaves its sockets for that moment, and is relieved by another if the handler turns out to
//! block: see [`IoThread::call`]. A handler that waits is polled once here and goes on at an executor.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use ganger_transport::IoThread;
use tokio::runtime::Handle;

use crate::executor::{Running, Table, unpack};
use crate::handler::{Handler, run_async};
use crate::session::KindIndex;
use crate::shared::{Guarded, Seat};

/// A handler that takes no longer than this costs less than two wake-ups.
const QUICK: Duration = Duration::from_micros(50);
/// So many more quick runs than slow ones make a kind quick; what is above is forgotten. A slow one counts
/// for more, but not for all: any run is slow when the system takes the processor away.
const QUICK_RUNS: u32 = 4;
const QUICK_RUNS_MAX: u32 = 16;
const SLOW_RUN: u32 = 4;

/// How quick the handler of a kind was of late.
#[derive(Debug, Default)]
pub(crate) struct Pace(AtomicU32);

impl Pace {
    pub(crate) fn is_quick(&self) -> bool {
        self.0.load(Ordering::Relaxed) >= QUICK_RUNS
    }

    /// Takes note of a run. Two at the same time may count as one: it is a hint.
    pub(crate) fn note(&self, run: Duration) {
        let runs = self.0.load(Ordering::Relaxed);
        let runs = match run <= QUICK {
            true => (runs + 1).min(QUICK_RUNS_MAX),
            false => runs.saturating_sub(SLOW_RUN),
        };
        self.0.store(runs, Ordering::Relaxed);
    }
}

/// Runs lone tasks on the thread of the connection.
pub(crate) struct Lone {
    thread: Arc<IoThread>,
    handlers: Handle,
    table: Table,
    seat: Arc<Seat>,
}

impl Lone {
    pub(crate) fn new(thread: Arc<IoThread>, handlers: Handle, table: Table, seat: Arc<Seat>) -> Arc<Self> {
        Arc::new(Self { thread, handlers, table, seat })
    }

    /// Whether the only task that is there is to be run here, and an executor would have to be woken for it.
    pub(crate) fn suits(&self, guarded: &Guarded) -> bool {
        guarded.session.ready() == 1 && guarded.has_idle() && self.is_quick(guarded) && self.thread.has_time()
    }

    fn is_quick(&self, guarded: &Guarded) -> bool {
        guarded.session.next_kind().is_some_and(|kind| {
            self.seat.shared().pace(kind).is_quick() && matches!(self.handler(kind), Handler::Async(_))
        })
    }

    fn handler(&self, kind: KindIndex) -> &Handler {
        &self.table[usize::from(kind.0)]
    }

    /// Has the next task run here as soon as the session has nothing to do.
    pub(crate) fn call(self: &Arc<Self>) {
        let lone = self.clone();
        self.thread.call(move |has_time| {
            let is_due = lone.run(has_time);
            move || {
                if is_due {
                    lone.seat.shared().work.notify_one();
                }
            }
        });
    }

    /// Claims only now, so that a task that ends at once is reported once, as ended. Returns whether the
    /// connection is to be woken.
    fn run(&self, has_time: bool) -> bool {
        let shared = self.seat.shared();
        let mut guarded = shared.lock();
        guarded.lone_is_called = false;
        if !has_time || !self.is_quick(&guarded) {
            shared.wake_executors(&mut guarded);
            return false;
        }
        let Some(assignment) = shared.take_lone(guarded) else {
            return shared.lock().wants_connection();
        };
        let (ticket, kind) = (assignment.ticket, assignment.kind);
        let Handler::Async(handler) = self.handler(kind).clone() else { return false };
        let (task, context) = unpack(&self.seat, assignment);
        let mut running = Box::pin(async move { run_async(&*handler, task, context).await });
        let begin = Instant::now();
        // As if on the runtime of the executors, to which its timers and tasks belong.
        let polled = self.handlers.block_on(poll_fn(|context| Poll::Ready(running.as_mut().poll(context))));
        shared.pace(kind).note(if polled.is_ready() { begin.elapsed() } else { Duration::MAX });
        let end = match polled {
            Poll::Ready(end) => Ok(end),
            Poll::Pending => Err(running as Running),
        };
        shared.leave_lone(ticket, end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_quick_after_some_quick_runs_and_until_it_is_slow_often() {
        let (pace, quick) = (Pace::default(), Duration::from_micros(1));
        (1..QUICK_RUNS).for_each(|_| pace.note(quick));
        assert!(!pace.is_quick());
        pace.note(quick);
        assert!(pace.is_quick());
        (0..100).for_each(|_| pace.note(quick));
        pace.note(Duration::MAX);
        assert!(pace.is_quick());
        (0..QUICK_RUNS_MAX / SLOW_RUN).for_each(|_| pace.note(Duration::MAX));
        assert!(!pace.is_quick());
    }
}
