//! What happens, for whoever watches over HTTP.
//!
//! It is read off the effects on their way out, so the scheduler knows nothing of it. What stands in a record is a
//! promise like any other: it is told when the record is safe, and everything is told in its order.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use ganger_common::{TaskId, WorkerId};
use ganger_http::feed::{Batch, Budget, Feed, News, cut};
use ganger_scheduler::effect::{Dispatch, WorkerChange, WorkerMove};
use ganger_scheduler::record::{AttemptEnded, Change, Settlement};
use ganger_scheduler::{Lsn, Now, Record, Scheduler};

/// Events that may wait for the journal. What is over it is only counted.
const WAITING_MAX: usize = 8_192;

/// Gathers what happens in a turn, and tells it.
#[derive(Debug, Default)]
pub(crate) struct Reporter {
    feed: Option<Feed>,
    tasks: Budget,
    workers: Budget,
    knowledge: Budget,
    /// What happened in this turn.
    turn: Batch,
    /// Earlier turns, with the last record that was written before each ended.
    waiting: VecDeque<(Lsn, Batch)>,
    waiting_events: usize,
    /// The last record that was written.
    last: Lsn,
    /// The last that is safe.
    safe: Lsn,
}

impl Reporter {
    pub(crate) fn to(feed: Option<Feed>) -> Self {
        Self { feed, ..Self::default() }
    }

    /// Whether anybody wants to know.
    pub(super) fn is_wanted(&self) -> bool {
        self.feed.as_ref().is_some_and(Feed::is_awake)
    }

    /// A record is about to be written: what happens from now on is told after it.
    pub(super) fn written(&mut self, lsn: Lsn) {
        self.last = lsn;
    }

    /// Something was decided.
    pub(super) fn record(&mut self, now: Now, record: &Record, scheduler: &Scheduler) {
        match record {
            Record::Accepted { tasks, .. } => {
                let (mut teller, counts) = self.of_tasks(now);
                for task in tasks {
                    let (id, kind) = (task.id, &task.kind);
                    counts.accepted += teller.tell(|| News::TaskAccepted { id, kind: kind.clone() });
                }
            }
            Record::AttemptEnded(ended) => {
                let (mut teller, counts) = self.of_tasks(now);
                counts.attempts_ended += teller.tell(|| attempt_ended(ended, scheduler));
            }
            Record::Settled { tasks, .. } => {
                let (mut teller, counts) = self.of_tasks(now);
                for settlement in tasks {
                    if teller.tell(|| settled(settlement, scheduler)) > 0 {
                        counts.settled.add(settlement.outcome);
                    }
                }
            }
            Record::Retried { tasks, .. } => {
                let (mut teller, counts) = self.of_tasks(now);
                for id in tasks {
                    let kind = || kind_of(*id, scheduler);
                    counts.retried += teller.tell(|| News::TaskRetried { id: *id, kind: kind() });
                }
            }
            Record::Discarded { tasks } => {
                let (mut teller, counts) = self.of_tasks(now);
                let count = tasks.len() as u64;
                counts.discarded += count * teller.tell(|| News::TasksDiscarded { count });
            }
            Record::KindPaused { kind } => {
                let (mut teller, counts) = self.of_tasks(now);
                counts.kinds += teller.tell(|| News::KindPaused { kind: kind.clone() });
            }
            Record::KindResumed { kind } => {
                let (mut teller, counts) = self.of_tasks(now);
                counts.kinds += teller.tell(|| News::KindResumed { kind: kind.clone() });
            }
            Record::Knowledge(change) => {
                self.knowledge.refill(since_start(now));
                let room = self.waiting_events < WAITING_MAX;
                let mut teller = Teller { budget: &mut self.knowledge, news: &mut self.turn.news, room };
                self.turn.counts.knowledge += teller.tell(|| changed(change));
            }
            // How workers come and go is told by the scheduler itself; the rest is of no interest.
            _ => {}
        }
    }

    /// Tasks are about to be given to a worker.
    pub(super) fn given(&mut self, now: Now, worker: Option<WorkerId>, tasks: &[Dispatch]) {
        let (mut teller, counts) = self.of_tasks(now);
        for task in tasks {
            counts.assigned += teller.tell(|| News::TaskAssigned {
                id: task.task,
                kind: task.kind.clone(),
                attempt: task.attempt,
                worker,
            });
        }
    }

    /// Something has become of a worker.
    pub(super) fn worker(&mut self, now: Now, change: WorkerChange) {
        self.workers.refill(since_start(now));
        let room = self.waiting_events < WAITING_MAX;
        let mut teller = Teller { budget: &mut self.workers, news: &mut self.turn.news, room };
        self.turn.counts.workers += teller.tell(|| moved(change));
    }

    /// Everything up to this record is safe.
    pub(super) fn safe(&mut self, upto: Lsn) {
        self.safe = upto;
    }

    /// Whether there is anything to be told.
    pub(super) fn has_any(&self) -> bool {
        !self.turn.is_empty() || !self.waiting.is_empty()
    }

    /// Tells what may be told.
    pub(super) fn publish(&mut self, now: Now) {
        if !self.turn.is_empty() {
            let turn = std::mem::take(&mut self.turn);
            self.waiting_events += turn.news.len();
            self.waiting.push_back((self.last, turn));
        }
        while let Some((_, batch)) = self.waiting.pop_front_if(|(last, _)| *last <= self.safe) {
            self.waiting_events -= batch.news.len();
            if let Some(feed) = &self.feed {
                feed.publish(batch, now.wall.0);
            }
        }
    }

    fn of_tasks(&mut self, now: Now) -> (Teller<'_>, &mut ganger_http::feed::Counts) {
        self.tasks.refill(since_start(now));
        let room = self.waiting_events < WAITING_MAX;
        (Teller { budget: &mut self.tasks, news: &mut self.turn.news, room }, &mut self.turn.counts)
    }
}

/// Tells things one by one as long as there is room.
struct Teller<'a> {
    budget: &'a mut Budget,
    news: &'a mut Vec<News>,
    room: bool,
}

impl Teller<'_> {
    /// Returns how many are only to be counted: this one, or none.
    fn tell(&mut self, make: impl FnOnce() -> News) -> u64 {
        match self.room && self.news.len() < WAITING_MAX && self.budget.take() {
            true => {
                self.news.push(make());
                0
            }
            false => 1,
        }
    }
}

fn since_start(now: Now) -> Duration {
    Duration::from_micros(now.time.0)
}

/// A task that was forgotten in the same turn has no kind any more.
fn kind_of(task: TaskId, scheduler: &Scheduler) -> Arc<str> {
    scheduler.kind_of(task).unwrap_or_default().into()
}

fn attempt_ended(ended: &AttemptEnded, scheduler: &Scheduler) -> News {
    News::TaskAttemptEnded {
        id: ended.task,
        kind: kind_of(ended.task, scheduler),
        attempt: ended.attempt,
        end: ended.end,
        worker: ended.worker,
        error: ended.error.as_deref().map(cut),
        retry_at_ms: ended.retry_at.map(|at| at.0),
    }
}

fn settled(settlement: &Settlement, scheduler: &Scheduler) -> News {
    News::TaskSettled {
        id: settlement.task,
        kind: kind_of(settlement.task, scheduler),
        outcome: settlement.outcome,
        attempt: settlement.attempt,
    }
}

fn changed(change: &Change) -> News {
    News::KnowledgeChanged {
        topic: change.topic.clone(),
        key: change.key.clone(),
        revision: change.revision,
        removed: change.value.is_none(),
        bytes: change.value.as_ref().map_or(0, |value| value.len() as u64),
    }
}

fn moved(change: WorkerChange) -> News {
    let WorkerChange { worker, name, what } = change;
    match what {
        WorkerMove::Joined { host, slots } => News::WorkerJoined { worker, name, host, slots },
        WorkerMove::Resumed => News::WorkerResumed { worker, name },
        WorkerMove::Away => News::WorkerAway { worker, name },
        WorkerMove::Draining => News::WorkerDraining { worker, name },
        WorkerMove::Left => News::WorkerLeft { worker, name },
        WorkerMove::Disconnected => News::WorkerLost { worker, name, silent: false },
        WorkerMove::Silent => News::WorkerLost { worker, name, silent: true },
    }
}
