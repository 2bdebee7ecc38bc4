//! What listings and status replies show.

use std::time::Duration;

use ganger_common::limits::PAGE_ROWS_MAX;
use ganger_common::view::{
    AttemptView, KindView, StateFilter, StatusView, TaskState, TaskView, WorkerState, WorkerView,
};
use ganger_common::{ConnId, ErrorCode, Outcome, TaskId, WorkerId};

use crate::arena::TaskKey;
use crate::effect::ClientReply;
use crate::input::TaskFilter;
use crate::knowledge_requests::page_limit;
use crate::queue::{Kind, KindKey};
use crate::scheduler::Scheduler;
use crate::task::{State, Task};
use crate::worker::Worker;

/// Slots that one page of a listing may look at. A filter that fits nothing must not stop the broker for
/// as long as it takes to walk through ten million tasks.
const SCAN_MAX: usize = 50_000;

/// Lines of a kind that are looked at in search of its oldest task.
const LINES_MAX: usize = 100;

impl Scheduler {
    pub(crate) fn on_fetch(&mut self, conn: ConnId, req: u64, id: TaskId) {
        let Some(key) = self.arena.find(id) else {
            let text = format!("task {id} is not remembered");
            return self.refuse(conn, Some(req), ErrorCode::UnknownTask, &text);
        };
        let task = Box::new(self.task_view(key));
        let result = (task.outcome == Some(Outcome::Succeeded)).then(|| self.arena[key].data.clone());
        self.reply(conn, ClientReply::Task { req, task, result });
    }

    pub(crate) fn on_payload(&mut self, conn: ConnId, req: u64, id: TaskId) {
        let Some(key) = self.arena.find(id) else {
            let text = format!("task {id} is not remembered");
            return self.refuse(conn, Some(req), ErrorCode::UnknownTask, &text);
        };
        let task = &self.arena[key];
        // Nobody needs it once the task cannot run again.
        if task.outcome().is_some_and(|outcome| !Task::is_retryable_outcome(outcome)) {
            let text = format!("the payload of task {id} was let go when the task got its outcome");
            return self.refuse(conn, Some(req), ErrorCode::NotFound, &text);
        }
        let payload = task.data.clone();
        self.reply(conn, ClientReply::Payload { req, payload });
    }

    /// Lists tasks in the order of the slots. The cursor is the slot to go on with, so a page costs no
    /// more when it comes late in the listing; tasks that come or go between two pages may be missed.
    pub(crate) fn on_list(
        &mut self,
        conn: ConnId,
        req: u64,
        filter: &TaskFilter,
        after: Option<&str>,
        limit: Option<u32>,
    ) {
        let from = match after.map(str::parse::<usize>) {
            None => 0,
            Some(Ok(from)) => from,
            Some(Err(_)) => {
                let text = "after: not a cursor of an earlier page";
                return self.refuse(conn, Some(req), ErrorCode::BadOption, text);
            }
        };
        let kind = filter.kind.as_deref().map(|name| self.queues.find(name));
        let limit = page_limit(limit);
        let mut rows = Vec::new();
        let mut next = None;
        for (scanned, slot) in (from..self.arena.slots()).enumerate() {
            if rows.len() == limit || scanned == SCAN_MAX {
                next = Some(slot.to_string());
                break;
            }
            let Some(key) = self.arena.at(slot) else { continue };
            let task = &self.arena[key];
            let fits_kind = kind.is_none_or(|kind| kind == Some(task.kind));
            if fits_kind && filter.state.is_none_or(|state| self.fits(task, state)) {
                // Histories would make a page of a thousand rows larger than a message may be; they come
                // with the task itself.
                rows.push(TaskView { attempts: Vec::new(), ..self.task_view(key) });
            }
        }
        self.reply(conn, ClientReply::Tasks { req, rows, next });
    }

    fn fits(&self, task: &Task, filter: StateFilter) -> bool {
        let state = self.state_of(task);
        let outcome = task.outcome();
        match filter {
            StateFilter::Queued => matches!(state, TaskState::Queued | TaskState::Parked),
            StateFilter::Parked => state == TaskState::Parked,
            StateFilter::Delayed => state == TaskState::Delayed,
            StateFilter::Assigned => state == TaskState::Assigned,
            StateFilter::Running => state == TaskState::Running,
            StateFilter::Settled => state == TaskState::Settled,
            StateFilter::Succeeded => outcome == Some(Outcome::Succeeded),
            StateFilter::Failed => outcome == Some(Outcome::Failed),
            StateFilter::Cancelled => outcome == Some(Outcome::Cancelled),
            StateFilter::Expired => outcome == Some(Outcome::Expired),
            StateFilter::Dead => outcome == Some(Outcome::Dead),
        }
    }

    pub(crate) fn state_of(&self, task: &Task) -> TaskState {
        match task.state {
            State::Fresh if !self.queues.is_served(task.kind) => TaskState::Parked,
            State::Fresh => TaskState::Queued,
            State::Ready if self.queues.is_held(task) => TaskState::Delayed,
            State::Ready | State::Gated { .. } if !self.queues.is_served(task.kind) => TaskState::Parked,
            State::Ready | State::Gated { .. } => TaskState::Queued,
            State::Delayed { .. } => TaskState::Delayed,
            State::Assigned { .. } => TaskState::Assigned,
            State::Running { .. } => TaskState::Running,
            State::Settled { .. } => TaskState::Settled,
        }
    }

    pub(crate) fn task_view(&self, key: TaskKey) -> TaskView {
        let task = &self.arena[key];
        let extra = task.extra.as_deref();
        let holder = task.holder().and_then(|worker| self.fleet.get(worker));
        let (settled_at, settled_by) = match task.state {
            State::Settled { at, worker, .. } => (Some(at.0), worker),
            _ => (None, None),
        };
        let worker = holder.map(|worker| worker.id).or(settled_by);
        let has_result = task.outcome() == Some(Outcome::Succeeded);
        let history = extra.map(|extra| extra.history.as_slice()).unwrap_or_default();
        let here = |id| self.fleet.get(self.fleet.find(id)?).map(|worker| worker.name.clone());
        // Only attempts without a result remember the name of a worker that is gone: a text with every result
        // would cost each of millions of tasks, in memory and in the journal.
        let past =
            |id| history.iter().rfind(|ended| ended.worker == id).map(|ended| ended.worker_name.clone());
        let name = worker.and_then(|id| here(id).or_else(|| past(id)));
        TaskView {
            id: task.id,
            kind: self.queues.kind(task.kind).name.to_string(),
            state: self.state_of(task),
            outcome: task.outcome(),
            priority: task.priority,
            attempt: task.attempt,
            failures: extra.map_or(0, |extra| extra.failures),
            timeouts: extra.map_or(0, |extra| extra.timeouts),
            crashes: extra.map_or(0, |extra| extra.crashes),
            submitted_unix_ms: task.submitted.0,
            settled_unix_ms: settled_at,
            payload_bytes: if has_result { 0 } else { task.data.len() as u64 },
            result_bytes: if has_result { task.data.len() as u64 } else { 0 },
            worker,
            worker_name: name,
            error: history.iter().rev().find_map(|ended| ended.error.clone()).filter(|_| !has_result),
            trace_id: extra.and_then(|extra| extra.options.trace).map(|trace| trace.trace_id()),
            attempts: history
                .iter()
                .map(|ended| AttemptView {
                    attempt: ended.attempt,
                    worker: ended.worker,
                    worker_name: ended.worker_name.clone(),
                    end: ended.end,
                    at_unix_ms: ended.at.0,
                    run_us: ended.run_us,
                    error: ended.error.clone(),
                })
                .collect(),
        }
    }

    pub(crate) fn on_list_workers(
        &mut self,
        conn: ConnId,
        req: u64,
        after: Option<&str>,
        limit: Option<u32>,
    ) {
        let after = match after.map(str::parse::<WorkerId>) {
            None => None,
            Some(Ok(id)) => Some(id),
            Some(Err(_)) => {
                let text = "after: not a cursor of an earlier page";
                return self.refuse(conn, Some(req), ErrorCode::BadOption, text);
            }
        };
        let limit = page_limit(limit);
        let mut found = self.fleet.by_id(after);
        let rows: Vec<WorkerView> =
            found.by_ref().take(limit).map(|(_, worker)| self.worker_view(worker)).collect();
        let more = found.next().is_some();
        let next = rows.last().filter(|_| more).map(|worker| worker.id.to_string());
        drop(found);
        self.reply(conn, ClientReply::Workers { req, rows, next });
    }

    fn worker_view(&self, worker: &Worker) -> WorkerView {
        let kinds = &self.queues.class(worker.class).kinds;
        WorkerView {
            id: worker.id,
            name: worker.name.clone(),
            host: worker.host.clone(),
            pid: worker.pid,
            state: match worker.conn {
                None => WorkerState::Away,
                Some(_) if worker.draining => WorkerState::Draining,
                Some(_) => WorkerState::Ready,
            },
            kinds: kinds.iter().map(|kind| self.queues.kind(*kind).name.to_string()).collect(),
            slots: worker.slots,
            credit: worker.credit.target(worker.slots),
            running: (worker.running.len() + worker.revoked.len()) as u32,
            waiting: worker.assigned.len() as u32,
            ended: worker.ended,
            silent_ms: self.now.time.since(worker.last_seen).as_millis() as u64,
            revision: worker.revision,
            average_run_us: worker.credit.average_run_us(),
            busy_us: self.busy(worker).as_micros().min(u128::from(u64::MAX)) as u64,
        }
    }

    /// How long the slots of a worker have been busy together. What runs counts from when its start was heard,
    /// so a long run shows while it lasts, and not in one piece when it ends.
    fn busy(&self, worker: &Worker) -> Duration {
        let since = self.arena.walk(&worker.running).map(|key| match self.arena[key].state {
            State::Running { at, .. } => self.now.time.since(at),
            _ => Duration::ZERO,
        });
        since.fold(worker.ran, Duration::saturating_add)
    }

    /// The scheduler's figures.
    pub fn status(&self) -> StatusView {
        let parked = |(key, kind): (_, &Kind)| match self.queues.is_served(key) {
            true => 0,
            false => kind.ready as u64,
        };
        StatusView {
            broker: self.config.broker.clone(),
            epoch: self.config.epoch,
            uptime_ms: self.now.time.since(self.started.time).as_millis() as u64,
            durability: self.config.durability.as_str().to_owned(),
            draining: self.draining.is_some(),
            workers: self.fleet.len() as u32,
            slots: self.fleet.iter().map(|(_, worker)| worker.slots).sum(),
            clients: self.clients.len() as u32,
            queued: (self.queues.len + self.fresh.len) as u64,
            parked: self.queues.kinds_by_name().map(parked).sum(),
            delayed: (self.delayed + self.queues.held_len) as u64,
            assigned: self.fleet.assigned as u64,
            running: self.fleet.running as u64,
            retained: self.retention.kept_len() as u64,
            retained_bytes: self.retention.kept_bytes() as u64,
            dead_set: self.retention.dead_len() as u64,
            payload_bytes: self.payload_bytes as u64,
            revision: self.knowledge.revision(),
            knowledge_entries: self.knowledge.entries() as u64,
            counters: self.counters.by_name(),
            durations: self.durations.views(),
            kinds: self.kind_views(),
        }
    }

    fn kind_views(&self) -> Vec<KindView> {
        // What somebody has paused must be seen, however many kinds there are.
        let mut rows: Vec<KindView> = self
            .queues
            .paused()
            .map(|name| match self.queues.find(name) {
                Some(key) => self.kind_view(key),
                None => nothing_of(name),
            })
            .collect();
        let is_used = |key, kind: &Kind| kind.ready + kind.leased > 0 || self.queues.is_served(key);
        let others = self.queues.kinds_by_name().filter(|(key, kind)| !kind.is_paused && is_used(*key, kind));
        let room = PAGE_ROWS_MAX.saturating_sub(rows.len());
        rows.extend(others.take(room).map(|(key, _)| self.kind_view(key)));
        rows.sort_by(|one, other| one.kind.cmp(&other.kind));
        rows
    }

    fn kind_view(&self, key: KindKey) -> KindView {
        let kind = self.queues.kind(key);
        let lines = kind.levels.values().flat_map(crate::level::Level::lists);
        let first = lines.take(LINES_MAX).filter_map(crate::arena::List::head);
        let oldest = first.map(|key| self.arena[key].submitted).min();
        KindView {
            queued: kind.ready as u64,
            leased: kind.leased as u64,
            workers: self.queues.servers(key).count() as u32,
            oldest_ms: oldest.map_or(0, |oldest| self.now.wall.since(oldest).as_millis() as u64),
            paused: kind.is_paused,
            ..nothing_of(&kind.name)
        }
    }
}

/// A paused kind of which there has been nothing yet.
fn nothing_of(kind: &str) -> KindView {
    KindView { kind: kind.to_owned(), queued: 0, leased: 0, workers: 0, oldest_ms: 0, paused: true }
}
