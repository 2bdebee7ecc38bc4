//! Handlers that pretend: they take their time, and end as the script of their task says.

use std::collections::BTreeMap;

use bytes::Bytes;
use ganger_common::{TaskId, TaskOptions};
use ganger_worker::session::{Assignment, CancelReason, End, Failure, Ticket};

use super::log::{Digest, Event, Fault, LeaseId, RunEnd, Told, WorkerNo};
use super::plan::{MS, S};
use super::queue::Happening;
use super::world::World;

/// How a task behaves whenever it runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Script {
    Succeeds,
    /// So many tries fail, then one succeeds.
    FailsAtFirst(u32),
    Fails,
    FailsForGood,
    Panics,
    /// It goes on until it is told to stop. Such a task has a run limit.
    Hangs,
    /// It takes its worker down so many times, then it succeeds.
    Poison(u32),
}

/// What the simulation knows of a task.
#[derive(Clone, Debug)]
pub(super) struct Task {
    pub(super) kind: u8,
    pub(super) payload: Bytes,
    pub(super) options: TaskOptions,
    pub(super) script: Script,
    /// It runs from here to there.
    pub(super) run: (u64, u64),
    /// It does not stop when it is told to.
    pub(super) is_stubborn: bool,
    pub(super) runs: u32,
    pub(super) kills: u32,
}

/// Every task of the run.
pub(super) type Tasks = BTreeMap<TaskId, Task>;

/// One handler at work.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    pub(super) lease: LeaseId,
    told: bool,
}

impl World {
    /// An executor begins a task.
    pub(super) fn begin_run(&mut self, no: WorkerNo, assignment: &Assignment) {
        let given = assignment.lease;
        let lease = LeaseId { task: given.task, epoch: given.epoch, attempt: given.attempt };
        let it = self.worker(no);
        let (incarnation, process) = (it.incarnation, it.process);
        let kind = it.plan.kinds.get(usize::from(assignment.kind.0)).copied().unwrap_or(u8::MAX);
        let (payload, knows) = (Digest::of(&assignment.payload), it.knowledge.revision());
        self.note(Event::RunStarted { worker: no, incarnation, lease, kind, payload, knows });
        self.figures.runs += 1;
        let Some(task) = self.tasks.get_mut(&lease.task) else {
            return self.defect("a task ran that nobody has handed in");
        };
        task.runs += 1;
        let (first, last) = task.run;
        let hangs = task.script == Script::Hangs;
        let takes = if hangs { 600 * S } else { self.rng.between(first, last) };
        self.worker_mut(no).runs.insert(assignment.ticket, Run { lease, told: false });
        let ticket = assignment.ticket;
        self.queue.push(self.now + takes, Happening::HandlerEnds { worker: no, process, ticket });
        if assignment.events && self.rng.percent(50) {
            self.tell_of_run(no, ticket);
        }
    }

    /// A handler says how far it is.
    fn tell_of_run(&mut self, no: WorkerNo, ticket: Ticket) {
        let now = self.now;
        let it = self.worker_mut(no);
        let time = it.now(now);
        if let Some(session) = &mut it.session {
            session.progress(time, ticket, Some(0.5), "half".to_owned());
            session.partial(ticket, &Bytes::from_static(b"part"));
        }
    }

    /// A handler is told to stop.
    pub(super) fn tell_run(&mut self, no: WorkerNo, ticket: Ticket, why: CancelReason) {
        let it = self.worker_mut(no);
        let (incarnation, process) = (it.incarnation, it.process);
        let Some(run) = it.runs.get_mut(&ticket) else { return };
        run.told = true;
        let lease = run.lease;
        let why = match why {
            CancelReason::Cancelled => Told::Cancelled,
            CancelReason::Stale => Told::Stale,
            CancelReason::TimedOut => Told::TimedOut,
            CancelReason::Leaving => Told::Leaving,
        };
        self.note(Event::RunTold { worker: no, incarnation, lease, why });
        if self.tasks.get(&lease.task).is_some_and(|task| task.is_stubborn) {
            // It goes on for as long as it would have.
            return self.fault(Fault::StubbornHandler);
        }
        let takes = self.rng.between(10, 20 * MS);
        self.queue.push(self.now + takes, Happening::HandlerEnds { worker: no, process, ticket });
    }

    pub(super) fn on_handler_ends(&mut self, no: WorkerNo, process: u32, ticket: Ticket) {
        let it = self.worker(no);
        if it.process != process || !it.is_up() {
            return;
        }
        if it.is_paused {
            // A process that stands still ends nothing.
            self.queue.push(self.now + 50 * MS, Happening::HandlerEnds { worker: no, process, ticket });
            return;
        }
        let Some(run) = self.worker_mut(no).runs.get(&ticket).copied() else { return };
        let (how, end) = self.outcome_of(no, run);
        if how == RunEnd::Died {
            self.fault(Fault::PoisonTask);
            return self.kill_worker(no, Some(run.lease.task));
        }
        let now = self.now;
        let it = self.worker_mut(no);
        it.runs.remove(&ticket);
        let (incarnation, time) = (it.incarnation, it.now(now));
        self.note(Event::RunEnded { worker: no, incarnation, lease: run.lease, how });
        if let Some(session) = &mut self.worker_mut(no).session {
            session.finish(time, ticket, end);
        }
        self.run_worker(no);
    }

    fn outcome_of(&mut self, no: WorkerNo, run: Run) -> (RunEnd, End) {
        let fails = |text: &str, is_final| {
            End::Failed(Failure { text: text.to_owned(), is_final, retry_after_ms: None })
        };
        let incarnation = self.worker(no).incarnation;
        let Some(task) = self.tasks.get_mut(&run.lease.task) else {
            return (RunEnd::Failed, fails("unknown", true));
        };
        if run.told && !task.is_stubborn {
            return (RunEnd::Stopped, fails("stopped", false));
        }
        match task.script {
            Script::Poison(times) if task.kills < times => {
                task.kills += 1;
                return (RunEnd::Died, fails("died", false));
            }
            Script::FailsAtFirst(times) if task.runs <= times => {
                return (RunEnd::Failed, fails("not yet", false));
            }
            Script::Fails => return (RunEnd::Failed, fails("no", false)),
            Script::FailsForGood => return (RunEnd::FailedForGood, fails("never", true)),
            Script::Panics => return (RunEnd::Panicked, fails("the handler panicked", false)),
            Script::Hangs => return (RunEnd::Stopped, fails("stopped at last", false)),
            Script::Succeeds | Script::FailsAtFirst(_) | Script::Poison(_) => {}
        }
        // Every execution has a result of its own, so that a result tells which one it is of.
        let result = format!("{}/{}/{}/{incarnation}", run.lease.task, run.lease.epoch, run.lease.attempt);
        let result = if task.payload.is_empty() { Bytes::new() } else { Bytes::from(result) };
        (RunEnd::Succeeded(Digest::of(&result)), End::Succeeded(result))
    }
}
