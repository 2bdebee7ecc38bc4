//! Why a task is where it is.

use std::time::Duration;

use ganger_common::view::{Explanation, Reason, ReasonCode};
use ganger_common::{ConnId, ErrorCode, Outcome, Revision, TaskId};

use crate::arena::TaskKey;
use crate::effect::ClientReply;
use crate::record::Cause;
use crate::scheduler::Scheduler;
use crate::task::{DelayReason, State, Task};
use crate::time::Time;
use crate::worker::{Worker, WorkerKey};

impl Scheduler {
    pub(crate) fn on_explain(&mut self, conn: ConnId, req: u64, id: TaskId) {
        let Some(key) = self.arena.find(id) else {
            let text = format!("task {id} is not remembered: it was never taken, or its outcome was let go");
            return self.refuse(conn, Some(req), ErrorCode::UnknownTask, &text);
        };
        let explanation = Box::new(Explanation { task: self.task_view(key), reasons: self.reasons(key) });
        self.reply(conn, ClientReply::Explanation { req, explanation });
    }

    fn reasons(&self, key: TaskKey) -> Vec<Reason> {
        let task = &self.arena[key];
        match task.state {
            State::Fresh => {
                let text = "it is being written to the journal".to_owned();
                vec![reason(ReasonCode::BehindOthers, text)]
            }
            State::Ready if self.queues.is_held(task) => {
                let ends = self.slots.reattach.unwrap_or(self.now.time);
                vec![self.why_delayed(task, ends, DelayReason::Reattach)]
            }
            State::Ready => self.why_waiting(task, None),
            State::Gated { revision } => self.why_waiting(task, Some(revision)),
            State::Delayed { due, why } => vec![self.why_delayed(task, due, why)],
            State::Assigned { worker, at, .. } => {
                self.why_with(worker, ReasonCode::Assigned, "waits to start", at)
            }
            State::Running { worker, at, .. } => self.why_with(worker, ReasonCode::Running, "runs", at),
            State::Settled { outcome, cause, .. } => vec![why_settled(task, outcome, cause)],
        }
    }

    fn why_waiting(&self, task: &Task, gate: Option<Revision>) -> Vec<Reason> {
        let kind = self.queues.kind(task.kind);
        let name = &kind.name;
        let mut reasons = Vec::new();
        if kind.is_paused {
            let text = format!("its kind is paused: `ganger resume {name}` lets it go on");
            reasons.push(reason(ReasonCode::KindPaused, text));
        }
        let servers: Vec<&Worker> =
            self.queues.servers(task.kind).filter_map(|worker| self.fleet.get(worker)).collect();
        if servers.is_empty() {
            let text = format!("no connected worker serves the kind {name}; the task is parked");
            reasons.push(reason(ReasonCode::NoWorkerForKind, text));
            return reasons;
        }
        if servers.iter().all(|worker| worker.draining) {
            let text = format!("all {} workers of the kind {name} are draining", servers.len());
            reasons.push(reason(ReasonCode::WorkersDraining, text));
            return reasons;
        }
        if let Some(revision) = gate
            && let best = servers.iter().map(|worker| worker.revision).max().unwrap_or_default()
            && best < revision
        {
            let text = format!(
                "it asks for knowledge revision {revision}; of {} workers of the kind {name} the furthest is \
                 at {best}",
                servers.len()
            );
            reasons.push(reason(ReasonCode::WaitingForKnowledge, text));
        }
        if servers.iter().all(|worker| worker.room(&self.config) == 0) {
            let busy: u32 = servers.iter().map(|worker| worker.outstanding()).sum();
            let text = format!(
                "all {} workers of the kind {name} have as much as they may hold ({busy} tasks)",
                servers.len()
            );
            reasons.push(reason(ReasonCode::NoCredit, text));
        }
        if kind.ready > 1 || reasons.is_empty() {
            let text = format!("{} tasks of the kind {name} wait, this one among them", kind.ready);
            reasons.push(reason(ReasonCode::BehindOthers, text));
        }
        reasons
    }

    fn why_delayed(&self, task: &Task, due: Time, why: DelayReason) -> Reason {
        let left = shown(due.since(self.now.time));
        match why {
            DelayReason::Asked => {
                reason(ReasonCode::Delayed, format!("its submitter asked for a delay; {left} are left"))
            }
            DelayReason::Backoff => {
                let last = task.extra.as_ref().and_then(|extra| extra.history.last());
                let said = last.and_then(|ended| ended.error.as_deref()).unwrap_or("no error text");
                let end = last.map_or("failed", |ended| ended.end.as_str());
                let text = format!(
                    "attempt {} {end} ({said}); the next one may start in {left}",
                    last.map_or(0, |ended| ended.attempt.0)
                );
                reason(ReasonCode::Backoff, text)
            }
            DelayReason::Reattach => {
                let text = format!(
                    "the broker has just started and waits {left} more for the worker that may still run it"
                );
                reason(ReasonCode::Recovering, text)
            }
        }
    }

    fn why_with(&self, worker: WorkerKey, code: ReasonCode, does: &str, at: Time) -> Vec<Reason> {
        let since = shown(self.now.time.since(at));
        let Some(worker) = self.fleet.get(worker) else { return Vec::new() };
        let text = format!("it {does} on worker {} ({}), for {since}", worker.name, worker.id);
        let mut reasons = vec![reason(code, text)];
        if worker.conn.is_none() {
            let left = worker.grace_at.map(|at| shown(at.since(self.now.time))).unwrap_or_default();
            let text = format!("that worker's connection is gone; it has {left} more to come back");
            reasons.push(reason(ReasonCode::WorkerAway, text));
        }
        reasons
    }
}

fn why_settled(task: &Task, outcome: Outcome, cause: Cause) -> Reason {
    let extra = task.extra.as_deref();
    let said = extra
        .and_then(|extra| extra.history.iter().rev().find_map(|ended| ended.error.as_deref()))
        .unwrap_or("no error text");
    let (code, text) = match cause {
        Cause::Result => (ReasonCode::Succeeded, format!("attempt {} succeeded", task.attempt)),
        Cause::Final => {
            (ReasonCode::FailedFinal, format!("its handler said that trying again is pointless: {said}"))
        }
        Cause::Failures => {
            let failures = extra.map_or(0, |extra| extra.failures);
            (
                ReasonCode::FailuresExhausted,
                format!("all {failures} allowed attempts failed; the last: {said}"),
            )
        }
        Cause::Timeouts => {
            let timeouts = extra.map_or(0, |extra| extra.timeouts);
            (ReasonCode::TimeoutsExhausted, format!("all {timeouts} allowed attempts ran for too long"))
        }
        Cause::Crashes => {
            let crashes = extra.map_or(0, |extra| extra.crashes);
            (ReasonCode::CrashLimit, format!("{crashes} workers died while they ran it"))
        }
        Cause::Cancelled => (ReasonCode::Cancelled, "somebody cancelled it".to_owned()),
        Cause::Expired => (ReasonCode::Expired, "its time to live ended before it started".to_owned()),
    };
    debug_assert!(outcome != Outcome::Succeeded || code == ReasonCode::Succeeded);
    reason(code, text)
}

fn reason(code: ReasonCode, text: String) -> Reason {
    Reason { code, text }
}

/// A span as people read it: two digits and a unit are enough.
fn shown(span: Duration) -> String {
    let seconds = span.as_secs_f64();
    match seconds {
        _ if seconds < 1.0 => format!("{} ms", span.as_millis()),
        _ if seconds < 120.0 => format!("{seconds:.1} s"),
        _ if seconds < 7_200.0 => format!("{:.0} min", seconds / 60.0),
        _ => format!("{:.1} h", seconds / 3_600.0),
    }
}
