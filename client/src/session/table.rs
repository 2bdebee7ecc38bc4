//! The tasks that somebody waits for.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use foldhash::fast::FixedState;
use ganger_common::{Epoch, TaskId, TaskOptions};
use slab::Slab;

use super::event::Token;

/// One task.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) id: TaskId,
    /// The order in which tasks came. Unique, so that a key tells a task from another that took its place.
    pub(super) order: u64,
    pub(super) waiters: Waiters,
    /// What to hand in. Absent for a task that is only watched, and for one whose payload was let go.
    pub(super) work: Option<Work>,
    pub(super) state: State,
    /// It takes room in the window.
    pub(super) inside: bool,
    /// It was handed in before, and the broker may know it.
    pub(super) again: bool,
    /// Those who wait know that it was acknowledged.
    pub(super) told: bool,
    /// Its payload counts among what is kept to hand it in again.
    pub(super) kept: bool,
    /// Progress and partial results are wanted.
    pub(super) events: bool,
}

impl Entry {
    /// Somebody wants progress and partial results. A task that is handed in from now on says so itself.
    pub(super) fn want_events(&mut self) {
        self.events = true;
        if let Some(work) = &mut self.work {
            work.options.get_or_insert_default().events = true;
        }
    }

    pub(super) fn payload_bytes(&self) -> usize {
        self.work.as_ref().map_or(0, |work| work.payload.len())
    }

    pub(super) fn is_detached(&self) -> bool {
        let options = self.work.as_ref().and_then(|work| work.options.as_ref());
        options.is_some_and(|options| options.detached)
    }
}

/// What a task consists of.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) kind: Arc<str>,
    pub(super) payload: Bytes,
    pub(super) options: Option<Box<TaskOptions>>,
}

/// Where a task is, as far as this client knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum State {
    /// It waits to be handed in.
    Queued,
    /// It is on its way.
    Sent,
    /// The broker has it.
    Accepted {
        /// The life of the broker that forgets it with its process; absent when it is on record.
        volatile: Option<Epoch>,
    },
    /// Somebody else handed it in.
    Watched,
}

impl State {
    /// Whether an outcome is to be asked for after the connection was lost.
    pub(super) fn is_awaited(self) -> bool {
        matches!(self, Self::Accepted { .. } | Self::Watched)
    }
}

/// Those who wait for one task: nearly always one.
#[derive(Debug)]
pub(super) enum Waiters {
    One(Token),
    Many(Vec<Token>),
}

impl Waiters {
    pub(super) fn add(&mut self, token: Token) {
        match self {
            Self::One(first) => *self = Self::Many(vec![*first, token]),
            Self::Many(tokens) => tokens.push(token),
        }
    }

    pub(super) fn as_slice(&self) -> &[Token] {
        match self {
            Self::One(token) => std::slice::from_ref(token),
            Self::Many(tokens) => tokens,
        }
    }
}

/// Names an entry as long as it is there, and nothing afterwards.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Key {
    index: usize,
    pub(super) order: u64,
}

#[cfg(test)]
impl Key {
    /// A key that names nothing.
    pub(super) fn numbered(order: u64) -> Self {
        Self { index: 0, order }
    }
}

/// All of them, by key and by id.
#[derive(Debug, Default)]
pub(super) struct Table {
    entries: Slab<Entry>,
    /// Never walked, so its order reaches nothing; the ids are this client's own, so a fixed hash is safe.
    by_id: HashMap<TaskId, usize, FixedState>,
    next_order: u64,
}

impl Table {
    pub(super) fn add(&mut self, id: TaskId, token: Token, work: Option<Work>, state: State) -> Key {
        let order = self.next_order;
        self.next_order += 1;
        let events =
            work.as_ref().and_then(|work| work.options.as_ref()).is_some_and(|options| options.events);
        let index = self.entries.insert(Entry {
            id,
            order,
            waiters: Waiters::One(token),
            work,
            state,
            inside: false,
            again: false,
            told: false,
            kept: false,
            events,
        });
        self.by_id.insert(id, index);
        Key { index, order }
    }

    pub(super) fn find(&self, id: TaskId) -> Option<Key> {
        let index = *self.by_id.get(&id)?;
        self.entries.get(index).map(|entry| Key { index, order: entry.order })
    }

    pub(super) fn get(&self, key: Key) -> Option<&Entry> {
        self.entries.get(key.index).filter(|entry| entry.order == key.order)
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut Entry> {
        self.entries.get_mut(key.index).filter(|entry| entry.order == key.order)
    }

    pub(super) fn remove(&mut self, key: Key) -> Option<Entry> {
        self.get(key)?;
        let entry = self.entries.try_remove(key.index)?;
        self.by_id.remove(&entry.id);
        Some(entry)
    }

    /// Every key, in the order in which the tasks came.
    pub(super) fn keys(&self) -> Vec<Key> {
        let key = |(index, entry): (usize, &Entry)| Key { index, order: entry.order };
        let mut keys: Vec<Key> = self.entries.iter().map(key).collect();
        keys.sort_unstable_by_key(|key| key.order);
        keys
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}
