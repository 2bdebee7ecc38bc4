//! Executors: one for each slot, each claiming the next task as it ends the last.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Instant;

use tokio::sync::oneshot;

use crate::handler::{Handler, run_async, run_blocking};
use crate::session::{Assignment, End, Failure};
use crate::shared::{Seat, Step};
use crate::task::{Context, Task};

/// Handlers in the order of the session's kinds.
pub(crate) type Table = Arc<[Handler]>;
/// A handler on its way.
pub(crate) type Running = Pin<Box<dyn Future<Output = End> + Send>>;

/// Runs tasks until the worker ends.
///
/// Asynchronous handlers are polled right here: a task that is ready at once costs a claim and a report,
/// no spawn and no channel.
pub(crate) async fn execute(seat: Arc<Seat>, table: Table) {
    let mut bench = None;
    let mut step = seat.step(None);
    // Whether the task is the first since the executor slept: how long those take is what matters.
    let mut is_first = false;
    loop {
        step = match step {
            Step::Closed => return,
            Step::Idle => {
                seat.bell().await;
                is_first = true;
                seat.step(None)
            }
            Step::GoOn(ticket, running) => seat.step(Some((ticket, running.await))),
            Step::Run(assignment) => match &table[usize::from(assignment.kind.0)] {
                Handler::Async(handler) => {
                    let (ticket, kind) = (assignment.ticket, assignment.kind);
                    let began = std::mem::take(&mut is_first).then(Instant::now);
                    let (task, context) = unpack(&seat, assignment);
                    let end = run_async(&**handler, task, context).await;
                    if let Some(began) = began {
                        seat.shared().pace(kind).note(began.elapsed());
                    }
                    // Handlers that never wait would keep a thread of the runtime to themselves.
                    tokio::task::coop::consume_budget().await;
                    seat.step(Some((ticket, end)))
                }
                Handler::Blocking(_) => {
                    let bench = bench.get_or_insert_with(|| Bench::new(&seat, &table));
                    bench.burst(&seat, assignment).await
                }
            },
        };
    }
}

pub(crate) fn unpack(seat: &Arc<Seat>, assignment: Assignment) -> (Task, Context) {
    let Assignment { ticket, lease, kind, events, trace, payload } = assignment;
    let kind = seat.kinds[usize::from(kind.0)].clone();
    let context = Context { seat: seat.clone(), ticket, lease, events, trace };
    (Task { id: lease.task, kind, payload }, context)
}

/// The thread of a slot, for handlers that block. It ends with the executor.
struct Bench {
    orders: Option<mpsc::Sender<(Assignment, oneshot::Sender<Step>)>>,
}

impl Bench {
    fn new(seat: &Arc<Seat>, table: &Table) -> Self {
        let (orders, inbox) = mpsc::channel();
        let (seat, table) = (seat.clone(), table.clone());
        let started = std::thread::Builder::new()
            .name("ganger-handler".to_owned())
            .spawn(move || serve(&seat, &table, &inbox));
        Self { orders: started.ok().map(|_| orders) }
    }

    /// Has a task run on the thread, and whatever follows it as long as that blocks too. Returns what the
    /// executor does next.
    async fn burst(&mut self, seat: &Seat, assignment: Assignment) -> Step {
        let ticket = assignment.ticket;
        let (answer, answered) = oneshot::channel();
        let is_sent = self.orders.as_ref().is_some_and(|orders| orders.send((assignment, answer)).is_ok());
        if is_sent && let Ok(step) = answered.await {
            return step;
        }
        let text = "the worker has no thread to run it on".to_owned();
        seat.step(Some((ticket, End::Failed(Failure { text, ..Failure::default() }))))
    }
}

fn serve(seat: &Arc<Seat>, table: &Table, inbox: &mpsc::Receiver<(Assignment, oneshot::Sender<Step>)>) {
    while let Ok((mut assignment, answer)) = inbox.recv() {
        let step = loop {
            let Handler::Blocking(handler) = &table[usize::from(assignment.kind.0)] else {
                break Step::Run(assignment);
            };
            let ticket = assignment.ticket;
            let (task, context) = unpack(seat, assignment);
            let end = run_blocking(&**handler, task, context);
            match seat.step(Some((ticket, end))) {
                Step::Run(next) => assignment = next,
                step => break step,
            }
        };
        // The executor is gone when its runtime was shut down.
        let _ = answer.send(step);
    }
}
