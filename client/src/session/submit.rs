//! Tasks go out in batches, are acknowledged, refused, and settled.

use std::time::{Duration, Instant};

use bytes::Bytes;
use ganger_common::codec::{Blob, List, Text};
use ganger_common::limits::BATCH_BYTES_TARGET;
use ganger_common::message::{
    self as wire, Accepted, Ack, Durability, FromClient, Outcomes, Refusal, Submit,
};
use ganger_common::{ErrorCode, TaskId, encode, encode_into};

use super::config::{BATCHES_MAX, BUSY_PAUSE, GATHER_BEHIND};
use super::event::{Effect, Settled, Submission, TaskEvent, Token};
use super::machine::Session;
use super::table::{Entry, Key, State, Work};
use super::wire::outcome;
use crate::error::Error;

/// A batch on its way.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) items: Vec<Key>,
    pub(super) sent_at: Instant,
}

/// What an acknowledgement has to tell.
#[derive(Default)]
struct Told {
    tokens: Vec<Token>,
    /// Detached tasks: their acceptance is all that there is to wait for.
    detached: Vec<Entry>,
}

impl Session {
    pub(super) fn on_submit(&mut self, submission: Submission) {
        let Submission { token, id, task } = submission;
        let bytes = task.payload.len();
        if !self.window.enter(bytes) {
            let error = Error::Full { what: "unacknowledged tasks", most: self.config.window_tasks };
            return self.effects.push_back(Effect::Failed { token, task: id, error });
        }
        if let Err(error) = self.check_alive().and_then(|()| task.check()) {
            self.window.leave(bytes);
            return self.effects.push_back(Effect::Failed { token, task: id, error });
        }
        let work = Work { kind: task.kind, payload: task.payload, options: task.options };
        match self.table.find(id) {
            None => {
                let key = self.table.add(id, token, Some(work), State::Queued);
                self.enqueue(key);
            }
            Some(key) => self.join(key, token, work, bytes),
        }
    }

    /// The same id once more: the same task.
    fn join(&mut self, key: Key, token: Token, work: Work, bytes: usize) {
        let durability = self.broker().map_or(Durability::Memory, |broker| broker.durability);
        let Some(entry) = self.table.get_mut(key) else { return };
        entry.waiters.add(token);
        match entry.state {
            // It was only watched so far. Handing it in is harmless when the broker knows it.
            State::Watched => {
                entry.events |= work.options.as_ref().is_some_and(|options| options.events);
                entry.work = Some(work);
                entry.state = State::Queued;
                return self.enqueue(key);
            }
            State::Accepted { .. } => {
                self.effects.push_back(Effect::Accepted { tokens: vec![token], durability });
            }
            State::Queued | State::Sent => {}
        }
        self.window.leave(bytes);
    }

    /// The task has entered the window and waits for a batch.
    fn enqueue(&mut self, key: Key) {
        if let Some(entry) = self.table.get_mut(key) {
            entry.inside = true;
            self.fresh.push(key);
        }
    }

    pub(super) fn has_queued(&self) -> bool {
        !self.again.is_empty() || !self.fresh.is_empty() || !self.to_watch.is_empty()
    }

    pub(super) fn send_batches(&mut self) {
        let Some(broker) = self.broker() else { return };
        let (most, payload_max) = (broker.batch_items_max, broker.payload_bytes_max);
        while self.busy_until.is_none() && self.batches.len() < BATCHES_MAX {
            let is_again = !self.again.is_empty();
            let queued = if is_again { self.again.len() } else { self.fresh.len() };
            if queued == 0 || (self.batches.len() >= GATHER_BEHIND && queued < most) {
                return;
            }
            let items = self.pick(is_again, most, payload_max);
            if !items.is_empty() {
                self.send_batch(items, is_again);
            }
        }
    }

    /// Takes from a queue what fits one message.
    fn pick(&mut self, is_again: bool, most: usize, payload_max: usize) -> Vec<Key> {
        let queue = if is_again { &mut self.again } else { &mut self.fresh };
        let mut items = Vec::with_capacity(queue.len().min(most));
        let mut bytes = 0;
        let mut too_large = Vec::new();
        while items.len() < most
            && let Some(key) = queue.pop()
        {
            // Some have their outcome already, since an earlier life handed them in.
            let Some(entry) = self.table.get_mut(key).filter(|entry| entry.state == State::Queued) else {
                continue;
            };
            let size = entry.work.as_ref().map_or(0, |work| work.payload.len());
            if size > payload_max {
                too_large.push((key, size));
                continue;
            }
            if bytes + size > BATCH_BYTES_TARGET && !items.is_empty() {
                queue.unpop(key);
                break;
            }
            bytes += size;
            entry.state = State::Sent;
            items.push(key);
        }
        for (key, size) in too_large {
            let text = format!("a payload of {size} bytes is over this broker's limit of {payload_max}");
            self.fail(key, &Error::refused(ErrorCode::TooLarge, text));
        }
        items
    }

    fn send_batch(&mut self, items: Vec<Key>, is_again: bool) {
        let seq = self.next_seq;
        self.next_seq += 1;
        self.counters.batches += 1;
        self.counters.submitted += items.len() as u64;
        self.counters.resubmitted += if is_again { items.len() as u64 } else { 0 };
        let frame = self.encode_batch(seq, is_again, &items);
        self.batches.insert(seq, Batch { items, sent_at: self.now });
        self.effects.push_back(Effect::Send(frame));
    }

    fn encode_batch(&self, seq: u64, again: bool, items: &[Key]) -> Bytes {
        let entries = items.iter().filter_map(|key| self.table.get(*key));
        let mut bytes = 64;
        let tasks = entries.filter_map(|entry| {
            let work = entry.work.as_ref()?;
            bytes += work.payload.len() + work.kind.len() + 32;
            let options = work.options.as_deref().cloned();
            let id = entry.id;
            #[cfg(feature = "planted")]
            let id = match again && crate::planted::is(crate::planted::Bug::AnotherId) {
                true => TaskId::from_bytes(id.as_bytes().map(|byte| !byte)),
                false => id,
            };
            Some(wire::NewTask { id, kind: Text(&work.kind), payload: Blob(&work.payload), options })
        });
        let tasks: List<_, _> = tasks.collect();
        let mut buffer = Vec::with_capacity(bytes);
        encode_into(&FromClient::Submit(Submit { seq, again, tasks }), &mut buffer);
        buffer.into()
    }

    pub(super) fn on_accepted(&mut self, accepted: Accepted<'_>) {
        // An acknowledgement of an earlier connection's batch: it has been handed in again since.
        let Some(batch) = self.batches.remove(&accepted.seq) else { return };
        let mut refused = accepted.refused.0;
        refused.sort_by_key(|refusal| refusal.index);
        let mut refused = refused.into_iter().peekable();
        let mut told = Told { tokens: Vec::with_capacity(batch.items.len()), ..Told::default() };
        let mut later = Vec::new();
        for (index, key) in batch.items.into_iter().enumerate() {
            match refused.next_if(|refusal| refusal.index as usize == index) {
                Some(refusal) => later.extend(self.on_refused(key, &refusal)),
                None => self.accept(key, accepted.durability, &mut told),
            }
        }
        self.put_back(later);
        if !told.tokens.is_empty() {
            let durability = accepted.durability;
            self.effects.push_back(Effect::Accepted { tokens: told.tokens, durability });
        }
        for entry in told.detached {
            self.fail_all(&entry, &Error::Detached);
        }
    }

    fn accept(&mut self, key: Key, durability: Durability, told: &mut Told) {
        let epoch = self.broker().map(|broker| broker.epoch).filter(|_| durability == Durability::Memory);
        let has_room = |bytes| self.kept_bytes + bytes <= self.config.kept_bytes_max;
        let Some(entry) = self.table.get_mut(key).filter(|entry| entry.state == State::Sent) else { return };
        entry.state = State::Accepted { volatile: epoch };
        if !std::mem::replace(&mut entry.told, true) {
            told.tokens.extend_from_slice(entry.waiters.as_slice());
        }
        let bytes = entry.payload_bytes();
        if std::mem::replace(&mut entry.inside, false) {
            self.window.leave(bytes);
        }
        if entry.is_detached() {
            let entry = self.table.remove(key);
            if let Some(entry) = &entry {
                self.let_go(entry);
            }
            return told.detached.extend(entry);
        }
        // A broker with a journal does not forget.
        let is_kept = self.config.resubmit_lost && epoch.is_some() && (entry.kept || has_room(bytes));
        match is_kept {
            true if !std::mem::replace(&mut entry.kept, true) => self.kept_bytes += bytes,
            true => {}
            false => {
                if std::mem::replace(&mut entry.kept, false) {
                    self.kept_bytes -= bytes;
                }
                entry.work = None;
            }
        }
    }

    /// Returns the task if it is to be handed in later.
    fn on_refused(&mut self, key: Key, refusal: &Refusal<'_>) -> Option<Key> {
        let retry_after = refusal.retry_after_ms.map(|ms| Duration::from_millis(u64::from(ms)));
        match refusal.code {
            // Not the task's fault: it stays inside the window, so that whoever feeds it feels it.
            ErrorCode::Busy | ErrorCode::StorageFull | ErrorCode::Draining if self.config.patient => {
                self.counters.busy += 1;
                self.hold_back(retry_after.unwrap_or(BUSY_PAUSE));
                let entry = self.table.get_mut(key).filter(|entry| entry.state == State::Sent)?;
                entry.state = State::Queued;
                Some(key)
            }
            code => {
                let text = refusal.text.to_string();
                self.fail(key, &Error::Refused { code, text, retry_after });
                None
            }
        }
    }

    /// Puts tasks for which the broker had no room back to where they were in their queues.
    fn put_back(&mut self, keys: Vec<Key>) {
        let is_again = |key: &Key| self.table.get(*key).is_some_and(|entry| entry.again);
        let (again, fresh) = keys.into_iter().partition(is_again);
        self.again.insert(again);
        self.fresh.insert(fresh);
    }

    pub(super) fn hold_back(&mut self, pause: Duration) {
        let until = self.now + pause;
        self.busy_until = Some(self.busy_until.map_or(until, |earlier| earlier.max(until)));
    }

    pub(super) fn on_outcomes(&mut self, frame: &Bytes, outcomes: Outcomes<'_>) {
        self.stream_seen = self.stream_seen.max(outcomes.upto);
        let durability = self.broker().map_or(Durability::Memory, |broker| broker.durability);
        let mut accepted = Vec::new();
        let mut settled = Vec::with_capacity(outcomes.items.len());
        for item in outcomes.items {
            let Some(entry) = self.table.find(item.task).and_then(|key| self.table.remove(key)) else {
                self.counters.outcomes_unclaimed += 1;
                continue;
            };
            self.counters.outcomes += 1;
            self.let_go(&entry);
            let tokens = entry.waiters.as_slice();
            match outcome(frame, &item) {
                Some(outcome) => {
                    if !entry.told && entry.state != State::Watched {
                        accepted.extend_from_slice(tokens);
                    }
                    settled.extend(
                        tokens.iter().map(|token| Settled { token: *token, outcome: outcome.clone() }),
                    );
                }
                None => {
                    let text = format!("outcome number {} is not known to this version", item.outcome);
                    self.fail_all(&entry, &Error::Protocol(text));
                }
            }
        }
        if !accepted.is_empty() {
            self.effects.push_back(Effect::Accepted { tokens: accepted, durability });
        }
        if !settled.is_empty() {
            self.effects.push_back(Effect::Settled(settled));
        }
    }

    pub(super) fn confirm_outcomes(&mut self) {
        if self.stream_seen > self.stream_confirmed {
            self.stream_confirmed = self.stream_seen;
            let ack = FromClient::Ack(Ack { upto: self.stream_seen });
            self.effects.push_back(Effect::Send(encode(&ack)));
        }
    }

    pub(super) fn on_event(&mut self, task: TaskId, event: TaskEvent) {
        if self.table.find(task).is_some() {
            self.effects.push_back(Effect::Event { task, event });
        }
    }

    /// The connection is gone: what has no acknowledgement is handed in again on the next, before what is
    /// new.
    pub(super) fn take_back_batches(&mut self) {
        let mut keys = Vec::new();
        for (_, batch) in std::mem::take(&mut self.batches) {
            #[cfg(feature = "planted")]
            if crate::planted::is(crate::planted::Bug::NotHandedInAgain) {
                continue;
            }
            keys.extend(batch.items);
        }
        self.hand_in_again(keys);
    }

    /// The broker may have had these tasks.
    pub(super) fn hand_in_again(&mut self, mut keys: Vec<Key>) {
        keys.retain(|key| {
            let entry = self.table.get_mut(*key).filter(|entry| entry.state != State::Queued);
            entry.map(|entry| (entry.state, entry.again) = (State::Queued, true)).is_some()
        });
        self.again.insert(keys);
    }

    /// A task will have no outcome here.
    pub(super) fn fail(&mut self, key: Key, error: &Error) {
        if let Some(entry) = self.table.remove(key) {
            self.let_go(&entry);
            self.fail_all(&entry, error);
        }
    }

    fn fail_all(&mut self, entry: &Entry, error: &Error) {
        let failed = |token: &u64| Effect::Failed { token: *token, task: entry.id, error: error.clone() };
        self.effects.extend(entry.waiters.as_slice().iter().map(failed));
    }

    /// Gives back what an entry that was removed had taken.
    fn let_go(&mut self, entry: &Entry) {
        if entry.inside {
            self.window.leave(entry.payload_bytes());
        }
        if entry.kept {
            self.kept_bytes -= entry.payload_bytes();
        }
    }
}
