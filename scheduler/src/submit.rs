//! Tasks come in, are asked about, cancelled and retried; their outcomes go out.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use ganger_common::limits::{PAYLOAD_BYTES_MAX, PAYLOAD_BYTES_WARN};
use ganger_common::message::Durability;
use ganger_common::{Account, ClientId, ConnId, ErrorCode, Outcome, TaskId};

use crate::apply::{Origin, settlement};
use crate::arena::TaskKey;
use crate::client::{ClientKey, Waiting};
use crate::client_session::refusal;
use crate::effect::{ClientReply, Refusal};
use crate::input::NewTask;
use crate::outcomes::Settled;
use crate::payers::Who;
use crate::record::{Cause, Record};
use crate::scheduler::Scheduler;
use crate::task::Task;

/// When a client whose task found no room should try again. Long enough for a queue to move, short enough
/// that an empty one does not stay empty.
const BUSY_RETRY: Duration = Duration::from_millis(200);

/// The same while the store is full: somebody has to make room on a disk, which takes people a while.
const STORAGE_RETRY: Duration = Duration::from_secs(1);

/// What to tell a person then.
pub(crate) const STORAGE_FULL: &str = "the disk of the broker's data is nearly full; what was taken goes on, \
                                       and new work is taken again when there is room";

/// One client may hold this many times as much of the queue as is free: a dynamic threshold, as switches
/// share their buffers (Choudhury and Hahne, 1998). Alone it gets eight ninths; however many try to fill
/// the queue, something always remains for one that comes with little.
const SHARE_OF_FREE: usize = 8;

/// What a batch found out about its tasks.
#[derive(Default)]
struct Sorted {
    fresh: Vec<NewTask>,
    fresh_bytes: usize,
    fresh_kinds: BTreeSet<Arc<str>>,
    /// With whether the outcome is not to be sent.
    known: Vec<(TaskKey, bool)>,
    refused: Vec<Refusal>,
}

impl Scheduler {
    pub(crate) fn on_submit(
        &mut self,
        conn: ConnId,
        client: ClientKey,
        seq: u64,
        again: bool,
        tasks: Vec<NewTask>,
    ) {
        #[cfg(feature = "planted")]
        self.accept_twice(&tasks);
        let sorted = self.sort_out(client, tasks);
        self.take_in(client, again, sorted.fresh);
        self.counters.tasks_resubmitted += sorted.known.len() as u64;
        for (key, detached) in sorted.known {
            #[cfg(feature = "planted")]
            if self.arena[key].holder().is_some()
                && crate::planted::is(crate::planted::Bug::ResubmissionDuplicates)
            {
                self.detach(key);
                self.queues.push(&mut self.arena, key, false);
            }
            if !detached {
                let task = &self.arena[key];
                let events = task.extra.as_ref().is_some_and(|extra| extra.options.events);
                self.watch(client, key, events);
            }
        }
        self.reply(conn, ClientReply::Accepted { seq, refused: sorted.refused });
    }

    #[cfg(feature = "planted")]
    fn accept_twice(&mut self, tasks: &[NewTask]) {
        let known = tasks.iter().filter(|task| self.arena.find(task.id).is_some());
        let known: Vec<NewTask> = known.cloned().collect();
        if !known.is_empty() && crate::planted::is(crate::planted::Bug::AcceptedTwice) {
            self.out.append(Record::Accepted { at: self.now.wall, client: None, tasks: known });
        }
    }

    fn sort_out(&mut self, client: ClientKey, tasks: Vec<NewTask>) -> Sorted {
        let (backlog, id) = self
            .clients
            .get(client)
            .map_or((0, None), |client| (client.stream.waiting.len(), Some(client.id)));
        let (mut account, mut held) = (None, self.held_by(id, None));
        let mut sorted = Sorted { fresh: Vec::with_capacity(tasks.len()), ..Sorted::default() };
        // Batches are mostly of one kind, and share its name.
        let mut last_kind: Option<Arc<str>> = None;
        for (index, task) in tasks.into_iter().enumerate() {
            if let Some(key) = self.arena.find(task.id) {
                sorted.known.push((key, task.options.as_ref().is_some_and(|options| options.detached)));
                continue;
            }
            let its = task.options.as_ref().and_then(|options| options.account);
            if its != account {
                (account, held) = (its, self.held_by(id, its));
            }
            match self.check_room(&task, (backlog, held.0, held.1), &sorted) {
                Ok(()) => {
                    self.counters.payloads_large += u64::from(task.payload.len() > PAYLOAD_BYTES_WARN);
                    sorted.fresh_bytes += task.payload.len();
                    if !last_kind.as_ref().is_some_and(|last| Arc::ptr_eq(last, &task.kind)) {
                        if self.queues.find(&task.kind).is_none() {
                            sorted.fresh_kinds.insert(task.kind.clone());
                        }
                        last_kind = Some(task.kind.clone());
                    }
                    sorted.fresh.push(task);
                }
                #[cfg(feature = "planted")]
                Err((ErrorCode::Busy, _)) if crate::planted::is(crate::planted::Bug::BusyIsSilent) => {}
                Err((code, text)) => {
                    let is_retryable = code.is_retryable();
                    match is_retryable {
                        true => self.counters.tasks_refused_busy += 1,
                        false => self.counters.tasks_refused += 1,
                    }
                    let retry_after = is_retryable.then_some(retry_after(code));
                    sorted.refused.push(Refusal { retry_after, ..refusal(index, code, text) });
                }
            }
        }
        sorted
    }

    /// Tasks, and bytes of them, that count where one of this client, or of this account, would count.
    fn held_by(&self, client: Option<ClientId>, account: Option<Account>) -> (usize, usize) {
        let who = account.map(Who::Account).or(client.map(Who::Client));
        who.map_or((0, 0), |who| self.payers.holdings(who))
    }

    fn check_room(
        &self,
        task: &NewTask,
        (backlog, held, held_bytes): (usize, usize, usize),
        sorted: &Sorted,
    ) -> Result<(), (ErrorCode, String)> {
        let config = &self.config;
        let bytes = task.payload.len();
        if bytes > PAYLOAD_BYTES_MAX {
            let text = format!("a payload of {bytes} bytes is over the limit of {PAYLOAD_BYTES_MAX}");
            return Err((ErrorCode::TooLarge, text));
        }
        // `busy` would have it handed in again for ever.
        if bytes > config.queue_bytes_max {
            let text =
                format!("a payload of {bytes} bytes is more than the {} of a queue", config.queue_bytes_max);
            return Err((ErrorCode::TooLarge, text));
        }
        if self.draining.is_some() {
            return Err((ErrorCode::Draining, "the broker is going down".to_owned()));
        }
        if self.storage_full {
            #[cfg(feature = "planted")]
            if crate::planted::is(crate::planted::Bug::FullUnheeded) {
                return Ok(());
            }
            return Err((ErrorCode::StorageFull, STORAGE_FULL.to_owned()));
        }
        if backlog >= config.client_backlog_max {
            let text = format!("{backlog} outcomes wait for this client to read them");
            return Err((ErrorCode::Busy, text));
        }
        #[cfg(feature = "planted")]
        if crate::planted::is(crate::planted::Bug::QueueUnbounded) {
            return Ok(());
        }
        if self.unsettled + sorted.fresh.len() >= config.queue_tasks_max {
            return Err((ErrorCode::Busy, format!("the queue is full at {} tasks", config.queue_tasks_max)));
        }
        if self.payload_bytes + sorted.fresh_bytes + bytes > config.queue_bytes_max {
            return Err((ErrorCode::Busy, format!("the queue is full at {} bytes", config.queue_bytes_max)));
        }
        // Tasks put back from the dead set are let in over the limits, so there may be less than nothing.
        let free = config.queue_tasks_max.saturating_sub(self.unsettled + sorted.fresh.len());
        let free_bytes = config.queue_bytes_max.saturating_sub(self.payload_bytes + sorted.fresh_bytes);
        if held + sorted.fresh.len() > free.saturating_mul(SHARE_OF_FREE)
            || held_bytes + sorted.fresh_bytes > free_bytes.saturating_mul(SHARE_OF_FREE)
        {
            let text = format!("this client has its share of the queue: {held} tasks, {held_bytes} bytes");
            return Err((ErrorCode::Busy, text));
        }
        if self.queues.kinds_len() + sorted.fresh_kinds.len() >= config.kinds_max
            && self.queues.find(&task.kind).is_none()
            && !sorted.fresh_kinds.contains(&task.kind)
        {
            return Err((ErrorCode::TooMany, format!("there are {} kinds already", config.kinds_max)));
        }
        Ok(())
    }

    fn take_in(&mut self, client: ClientKey, again: bool, fresh: Vec<NewTask>) {
        if fresh.is_empty() {
            return;
        }
        let before = self.unsettled;
        let hold_until = self.slots.reattach.filter(|_| again);
        let fresh_first = self.config.durability == Durability::Journal;
        let origin = Origin { owner: Some(client), hold_until, fresh: fresh_first };
        let id = self.clients.get(client).map(|client| client.id);
        self.apply_accepted(self.now.wall, id, fresh.iter().cloned(), origin);
        self.counters.tasks_accepted += (self.unsettled - before) as u64;
        // Also what its client hands in for the first time: another one may have handed it in before.
        let reunited: Vec<TaskId> = match !self.orphans.is_empty() {
            true => fresh.iter().map(|task| task.id).collect(),
            false => Vec::new(),
        };
        self.append(Record::Accepted { at: self.now.wall, client: id, tasks: fresh });
        self.note_fresh();
        let mut settled = Settled::default();
        for id in reunited {
            if let Some(key) = self.arena.find(id)
                && let Some(settlement) = self.reunite(key)
            {
                self.settle_into(&mut settled, key, settlement);
            }
        }
        self.book_settled(settled);
    }

    pub(crate) fn on_watch(
        &mut self,
        conn: ConnId,
        client: ClientKey,
        req: u64,
        tasks: &[TaskId],
        events: bool,
    ) {
        let mut refused = Vec::new();
        for (index, id) in tasks.iter().enumerate() {
            match self.arena.find(*id) {
                Some(key) => self.watch(client, key, events),
                None => refused.push(unknown(index)),
            }
        }
        self.reply(conn, ClientReply::Verdicts { req, refused });
    }

    /// Puts a client among those who want the outcome of a task.
    pub(crate) fn watch(&mut self, client: ClientKey, key: TaskKey, events: bool) {
        let task = &mut self.arena[key];
        if let Some(outcome) = task.outcome() {
            let (lsn, attempt) = (self.out.appended(), task.attempt);
            let waiting = Waiting { lsn, task: task.id, key, outcome, attempt };
            return self.clients.tell(client, waiting);
        }
        if task.owner.is_none_or(|owner| self.clients.get(owner).is_none()) {
            task.owner = Some(client);
        } else if task.owner != Some(client) {
            let clients = &self.clients;
            let watchers = &mut task.extra_mut().watchers;
            watchers.retain(|watcher| *watcher != client && clients.get(*watcher).is_some());
            watchers.push(client);
        }
        if events {
            let clients = &self.clients;
            let followers = &mut task.extra_mut().followers;
            followers.retain(|follower| *follower != client && clients.get(*follower).is_some());
            followers.push(client);
        }
    }

    pub(crate) fn on_cancel(&mut self, conn: ConnId, req: u64, tasks: &[TaskId]) {
        let mut refused = Vec::new();
        let mut cancelled = Settled::default();
        for (index, id) in tasks.iter().enumerate() {
            let Some(key) = self.arena.find(*id) else {
                refused.push(unknown(index));
                continue;
            };
            match self.arena[key].outcome() {
                #[cfg(feature = "planted")]
                None if self.arena[key].holder().is_some()
                    && crate::planted::is(crate::planted::Bug::CancelForgotten) => {}
                None => {
                    self.revoke(key, None);
                    let attempt = self.arena[key].attempt;
                    let settlement = settlement(*id, Outcome::Cancelled, attempt, Cause::Cancelled);
                    self.settle_into(&mut cancelled, key, settlement);
                }
                Some(Outcome::Cancelled) => {}
                Some(outcome) => {
                    let text = format!("the task has {outcome} already");
                    refused.push(refusal(index, ErrorCode::AlreadySettled, text));
                }
            }
        }
        self.book_settled(cancelled);
        self.reply(conn, ClientReply::Verdicts { req, refused });
    }

    pub(crate) fn on_retry(&mut self, conn: ConnId, req: u64, tasks: &[TaskId]) {
        let mut refused = Vec::new();
        let mut retried = Vec::new();
        for (index, id) in tasks.iter().enumerate() {
            match self.arena.find(*id).map(|key| self.arena[key].outcome()) {
                None => refused.push(unknown(index)),
                Some(Some(outcome)) if Task::is_retryable_outcome(outcome) && self.storage_full => {
                    let full = refusal(index, ErrorCode::StorageFull, STORAGE_FULL);
                    refused.push(Refusal { retry_after: Some(STORAGE_RETRY), ..full });
                }
                Some(Some(outcome)) if Task::is_retryable_outcome(outcome) => retried.push(*id),
                Some(Some(outcome)) => {
                    let text = format!("the task has {outcome}; only failed and dead ones can be retried");
                    refused.push(refusal(index, ErrorCode::NotRetryable, text));
                }
                Some(None) => {
                    let text = "the task has no outcome yet";
                    refused.push(refusal(index, ErrorCode::NotRetryable, text));
                }
            }
        }
        if !retried.is_empty() {
            self.commit(Record::Retried { at: self.now.wall, tasks: retried });
        }
        self.reply(conn, ClientReply::Verdicts { req, refused });
    }
}

fn retry_after(code: ErrorCode) -> Duration {
    match code {
        ErrorCode::StorageFull => STORAGE_RETRY,
        _ => BUSY_RETRY,
    }
}

fn unknown(index: usize) -> Refusal {
    refusal(index, ErrorCode::UnknownTask, "no such task is remembered")
}
