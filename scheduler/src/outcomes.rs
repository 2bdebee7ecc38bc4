//! Outcomes are written down, wait for those who want them, and go out as fast as they are read. What
//! running tasks tell meanwhile goes to those who follow them.

use bytes::Bytes;
use ganger_common::limits::{BATCH_BYTES_TARGET, BATCH_ITEMS_MAX};
use ganger_common::message::Lease;
use ganger_common::{Attempt, Outcome, TaskId};

use crate::arena::TaskKey;
use crate::client::{ClientKey, Waiting};
use crate::effect::{ClientReply, Effect, OutcomeItem};
use crate::record::{Record, Settlement};
use crate::scheduler::Scheduler;
use crate::task::{State, Task};
use crate::worker::WorkerKey;

/// Outcomes that tasks were given and that are not written down yet. Nothing forgets a task before they are.
#[derive(Debug, Default)]
pub(crate) struct Settled {
    items: Vec<Settlement>,
    keys: Vec<TaskKey>,
}

impl Settled {
    pub(crate) fn with_capacity(count: usize) -> Self {
        Self { items: Vec::with_capacity(count), keys: Vec::with_capacity(count) }
    }

    pub(crate) fn push(&mut self, key: TaskKey, settlement: Settlement) {
        self.items.push(settlement);
        self.keys.push(key);
    }
}

impl Scheduler {
    /// Gives one task its outcome.
    pub(crate) fn settle(&mut self, key: TaskKey, settlement: Settlement) {
        let mut settled = Settled::default();
        self.settle_into(&mut settled, key, settlement);
        self.book_settled(settled);
    }

    /// Gives a task its outcome at once, so that whatever else the same message says of it finds it
    /// settled; [`book_settled`](Self::book_settled) writes all of them down together.
    pub(crate) fn settle_into(&mut self, settled: &mut Settled, key: TaskKey, settlement: Settlement) {
        self.durations.submit_to_settle.note_between(self.arena[key].submitted, self.now.wall);
        self.apply_settlement(self.now.wall, Some(key), settlement.clone());
        settled.push(key, settlement);
    }

    /// Writes outcomes down, and tells those who want to know.
    pub(crate) fn book_settled(&mut self, settled: Settled) {
        if settled.items.is_empty() {
            return;
        }
        self.append(Record::Settled { at: self.now.wall, tasks: settled.items });
        for key in settled.keys {
            self.announce(key);
        }
    }

    /// Lets the outcome of a settled task wait for everybody who wants it.
    fn announce(&mut self, key: TaskKey) {
        let lsn = self.out.appended();
        let task = &mut self.arena[key];
        let Some(outcome) = task.outcome() else { return };
        let waiting = Waiting { lsn, task: task.id, key, outcome, attempt: task.attempt };
        let owner = task.owner.take();
        let others: Vec<ClientKey> = match &mut task.extra {
            Some(extra) => {
                extra.followers.clear();
                std::mem::take(&mut extra.watchers)
            }
            None => Vec::new(),
        };
        for client in owner.into_iter().chain(others) {
            self.clients.tell(client, waiting);
        }
    }

    /// Sends what the windows of the clients have room for.
    pub(crate) fn flush_streams(&mut self) {
        for key in self.clients.take_dirty() {
            while self.send_outcomes(key) {}
        }
    }

    /// Sends one message of outcomes. Returns whether there may be another.
    fn send_outcomes(&mut self, key: ClientKey) -> bool {
        let (window, window_bytes) = (self.config.client_window, self.config.client_window_bytes);
        let safe = self.out.safe();
        let Some(client) = self.clients.get_mut(key) else { return false };
        let Some(conn) = client.conn else { return false };
        let room = client.stream.room(window, window_bytes).min(BATCH_ITEMS_MAX);
        let room_bytes = client.stream.room_bytes(window_bytes).min(BATCH_BYTES_TARGET);
        let mut items = Vec::with_capacity(room.min(client.stream.waiting.len()));
        let mut put_back = Vec::new();
        let mut bytes = 0;
        while items.len() < room && bytes < room_bytes {
            let Some(next) = client.stream.waiting.front() else { break };
            if next.lsn > safe {
                self.awaiting_journal.push(key);
                break;
            }
            let found = self.arena.find_at(next.key, next.task);
            #[cfg(feature = "planted")]
            if found.is_none() && crate::planted::is(crate::planted::Bug::ForgottenUntold) {
                client.stream.waiting.pop_front();
                continue;
            }
            let task = found.map(|key| &self.arena[key]);
            let is_same = |task: &Task| task.outcome() == Some(next.outcome) && task.attempt == next.attempt;
            match found.filter(|_| !task.is_some_and(is_same)) {
                Some(key) => put_back.push(key),
                None => {
                    let item = outcome_item(next, task);
                    bytes += item.result.len();
                    items.push(item);
                }
            }
            client.stream.waiting.pop_front();
        }
        // Tasks that were put back from the dead set meanwhile: the client is told what becomes of them.
        let again = !put_back.is_empty();
        for task in put_back {
            self.watch(key, task, false);
        }
        if items.is_empty() {
            return again;
        }
        let Some(client) = self.clients.get_mut(key) else { return false };
        client.stream.book_sent(items.len(), bytes);
        let reply = ClientReply::Outcomes { upto: client.stream.sent, items };
        self.out.push(Effect::ToClient { conn, reply });
        true
    }

    pub(crate) fn on_progress(&mut self, worker: WorkerKey, lease: Lease, fraction: Option<f32>, text: &str) {
        self.follow(worker, lease, |task, attempt| ClientReply::Progress {
            task,
            attempt,
            fraction,
            text: text.to_owned(),
        });
    }

    pub(crate) fn on_partial(&mut self, worker: WorkerKey, lease: Lease, index: u64, data: &Bytes) {
        self.follow(worker, lease, |task, attempt| ClientReply::Partial {
            task,
            attempt,
            index,
            data: data.clone(),
        });
    }

    fn follow(&mut self, worker: WorkerKey, lease: Lease, reply: impl Fn(TaskId, Attempt) -> ClientReply) {
        let Some(key) = self.arena.find(lease.task) else { return };
        let task = &self.arena[key];
        if !task.is_leased_to(worker, lease.epoch, lease.attempt) {
            return;
        }
        let Some(extra) = &task.extra else { return };
        for follower in &extra.followers {
            if let Some(conn) = self.clients.get(*follower).and_then(|client| client.conn) {
                self.out.push(Effect::ToClient { conn, reply: reply(task.id, task.attempt) });
            }
        }
    }
}

fn outcome_item(waiting: &Waiting, task: Option<&Task>) -> OutcomeItem {
    let error = task
        .and_then(|task| task.extra.as_ref())
        .filter(|_| waiting.outcome != Outcome::Succeeded)
        .and_then(|extra| extra.history.last()?.error.clone());
    let result = match task {
        Some(Task { state: State::Settled { outcome: Outcome::Succeeded, .. }, data, .. }) => data.clone(),
        _ => Default::default(),
    };
    OutcomeItem {
        task: waiting.task,
        outcome: waiting.outcome,
        attempt: waiting.attempt,
        result,
        error,
        result_dropped: task.is_none() && waiting.outcome == Outcome::Succeeded,
    }
}
