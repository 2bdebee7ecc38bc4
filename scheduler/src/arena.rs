//! Where the tasks are: slots that never move, an index by id, and lists that run through the slots.
//!
//! Slots live in chunks, so that growing copies nothing; the index is split into shards, so that growing
//! it never moves more than a sliver at a time. A task is in at most one list at any moment (the queue of
//! its kind, the hands of a worker, the kept outcomes), which is why one pair of links in the task is
//! enough and leaving a list costs the same wherever the task stands in it.

use std::hash::BuildHasher;
use std::ops::{Index, IndexMut};

use foldhash::fast::FixedState;
use ganger_common::TaskId;
use hashbrown::HashTable;

use crate::task::Task;

/// A slot. Reused after its task is gone: whoever keeps one must be told when that happens.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct TaskKey(u32);

impl TaskKey {
    const NONE: Self = Self(u32::MAX);

    /// Its number among [`Arena::slots`].
    pub(crate) fn slot(self) -> usize {
        self.0 as usize
    }

    fn some(self) -> Option<Self> {
        (self != Self::NONE).then_some(self)
    }
}

/// The links of a task to its neighbours in the list that it is in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Links {
    prev: TaskKey,
    next: TaskKey,
}

impl Default for Links {
    fn default() -> Self {
        Self { prev: TaskKey::NONE, next: TaskKey::NONE }
    }
}

/// A list of tasks. It does not know which tasks it may hold: its owner does.
#[derive(Debug)]
pub(crate) struct List {
    head: TaskKey,
    tail: TaskKey,
    len: u32,
}

impl Default for List {
    fn default() -> Self {
        Self { head: TaskKey::NONE, tail: TaskKey::NONE, len: 0 }
    }
}

impl List {
    pub(crate) fn len(&self) -> usize {
        self.len as usize
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn head(&self) -> Option<TaskKey> {
        self.head.some()
    }

    pub(crate) fn tail(&self) -> Option<TaskKey> {
        self.tail.some()
    }
}

#[derive(Debug)]
enum Slot {
    Used(Task),
    Free { next: TaskKey },
}

const CHUNK: usize = 4_096;
const SHARDS: usize = 256;

/// How many of the first tasks of a list are looked at before the index is asked. Ends come nearly in the
/// order in which the tasks were given, with as many out of order as a worker has processors.
const NEAR: usize = 4;

/// All tasks that are remembered.
#[derive(Debug)]
pub(crate) struct Arena {
    chunks: Vec<Vec<Slot>>,
    free: TaskKey,
    shards: Vec<HashTable<Place>>,
    hasher: FixedState,
}

/// Where the index says that a task is. A part of the hash stands beside it: neither growing the index nor
/// passing over another task then has to fetch a slot from far away in memory.
#[derive(Clone, Copy, Debug)]
struct Place {
    hash: u32,
    key: TaskKey,
}

impl Arena {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            chunks: Vec::new(),
            free: TaskKey::NONE,
            shards: (0..SHARDS).map(|_| HashTable::new()).collect(),
            hasher: FixedState::with_seed(seed),
        }
    }

    pub(crate) fn find(&self, id: TaskId) -> Option<TaskKey> {
        let hash = self.hash(id);
        let (shard, spread) = spread(hash);
        let is_it = |place: &Place| place.hash == hash && self[place.key].id == id;
        self.shards[shard].find(spread, is_it).map(|place| place.key)
    }

    /// The same, by whoever remembers the slot that the task was in: nearly always it still is.
    pub(crate) fn find_at(&self, key: TaskKey, id: TaskId) -> Option<TaskKey> {
        match self.get(key) {
            Some(task) if task.id == id => Some(key),
            _ => self.find(id),
        }
    }

    /// A task that is probably among the first of one of these lists, and in the arena anyhow.
    pub(crate) fn find_near(&self, lists: [&List; 2], id: TaskId) -> Option<TaskKey> {
        for list in lists {
            let mut next = list.head;
            for _ in 0..NEAR {
                let Some(key) = next.some() else { break };
                let task = &self[key];
                if task.id == id {
                    return Some(key);
                }
                next = task.links.next;
            }
        }
        self.find(id)
    }

    /// The part of the hash that is kept.
    fn hash(&self, id: TaskId) -> u32 {
        (self.hasher.hash_one(id) >> 32) as u32
    }

    /// Stores a task whose id is not known yet.
    pub(crate) fn insert(&mut self, task: Task) -> TaskKey {
        let hash = self.hash(task.id);
        let key = self.take_slot(task);
        let (shard, place) = (spread(hash).0, Place { hash, key });
        self.shards[shard].insert_unique(spread(hash).1, place, |place| spread(place.hash).1);
        key
    }

    /// Forgets a task that is in no list.
    pub(crate) fn remove(&mut self, key: TaskKey) -> Task {
        let (shard, spread) = spread(self.hash(self[key].id));
        if let Ok(entry) = self.shards[shard].find_entry(spread, |other| other.key == key) {
            entry.remove();
        }
        let slot = &mut self.chunks[key.0 as usize / CHUNK][key.0 as usize % CHUNK];
        match std::mem::replace(slot, Slot::Free { next: self.free }) {
            Slot::Used(task) => {
                self.free = key;
                task
            }
            Slot::Free { .. } => unreachable!("the index above has already found a task in this slot"),
        }
    }

    fn take_slot(&mut self, task: Task) -> TaskKey {
        if let Some(key) = self.free.some() {
            let slot = &mut self.chunks[key.0 as usize / CHUNK][key.0 as usize % CHUNK];
            if let Slot::Free { next } = *slot {
                self.free = next;
            }
            *slot = Slot::Used(task);
            return key;
        }
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK) {
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        let last = self.chunks.len() - 1;
        self.chunks[last].push(Slot::Used(task));
        TaskKey((last * CHUNK + self.chunks[last].len() - 1) as u32)
    }

    /// Every task, in the order of the slots.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (TaskKey, &Task)> {
        self.chunks.iter().enumerate().flat_map(|(chunk, slots)| {
            slots.iter().enumerate().filter_map(move |(index, slot)| match slot {
                Slot::Used(task) => Some((TaskKey((chunk * CHUNK + index) as u32), task)),
                Slot::Free { .. } => None,
            })
        })
    }

    /// The task in a slot, if there is one.
    pub(crate) fn get(&self, key: TaskKey) -> Option<&Task> {
        match self.chunks.get(key.0 as usize / CHUNK)?.get(key.0 as usize % CHUNK)? {
            Slot::Used(task) => Some(task),
            Slot::Free { .. } => None,
        }
    }

    /// Slots that were ever used: the range of [`at`](Self::at).
    pub(crate) fn slots(&self) -> usize {
        self.chunks.last().map_or(0, |last| (self.chunks.len() - 1) * CHUNK + last.len())
    }

    /// The task in a slot, if there is one.
    pub(crate) fn at(&self, slot: usize) -> Option<TaskKey> {
        match self.chunks.get(slot / CHUNK)?.get(slot % CHUNK)? {
            Slot::Used(_) => Some(TaskKey(slot as u32)),
            Slot::Free { .. } => None,
        }
    }

    pub(crate) fn push_back(&mut self, list: &mut List, key: TaskKey) {
        self[key].links = Links { prev: list.tail, next: TaskKey::NONE };
        match list.tail.some() {
            Some(tail) => self[tail].links.next = key,
            None => list.head = key,
        }
        list.tail = key;
        list.len += 1;
    }

    pub(crate) fn push_front(&mut self, list: &mut List, key: TaskKey) {
        self[key].links = Links { prev: TaskKey::NONE, next: list.head };
        match list.head.some() {
            Some(head) => self[head].links.prev = key,
            None => list.tail = key,
        }
        list.head = key;
        list.len += 1;
    }

    /// Takes a task out of the list that it is in.
    pub(crate) fn unlink(&mut self, list: &mut List, key: TaskKey) {
        let Links { prev, next } = std::mem::take(&mut self[key].links);
        match prev.some() {
            Some(prev) => self[prev].links.next = next,
            None => list.head = next,
        }
        match next.some() {
            Some(next) => self[next].links.prev = prev,
            None => list.tail = prev,
        }
        list.len -= 1;
    }

    /// Puts a list into the order of its tasks' numbers.
    pub(crate) fn sort(&mut self, list: &mut List) {
        let number = |key: &TaskKey| self[*key].seq;
        if self.walk(list).is_sorted_by_key(|key| number(&key)) {
            return;
        }
        let mut keys: Vec<(u64, TaskKey)> = self.walk(list).map(|key| (number(&key), key)).collect();
        keys.sort_unstable();
        *list = List::default();
        keys.into_iter().for_each(|(_, key)| self.push_back(list, key));
    }

    /// Puts another list behind this one.
    pub(crate) fn append(&mut self, list: &mut List, other: List) {
        let (Some(tail), Some(head)) = (list.tail(), other.head()) else {
            if list.is_empty() {
                *list = other;
            }
            return;
        };
        self[tail].links.next = head;
        self[head].links.prev = tail;
        list.tail = other.tail;
        list.len += other.len;
    }

    /// The tasks of a list from the front.
    pub(crate) fn walk<'a>(&'a self, list: &List) -> impl Iterator<Item = TaskKey> + 'a {
        std::iter::successors(list.head(), |key| self[*key].links.next.some())
    }

    /// A task and those that stand behind it in its list.
    pub(crate) fn walk_from(&self, first: Option<TaskKey>) -> impl Iterator<Item = TaskKey> + '_ {
        std::iter::successors(first, |key| self[*key].links.next.some())
    }

    /// The tasks of a list from the back.
    pub(crate) fn walk_back<'a>(&'a self, list: &List) -> impl Iterator<Item = TaskKey> + 'a {
        std::iter::successors(list.tail(), |key| self[*key].links.prev.some())
    }
}

impl Index<TaskKey> for Arena {
    type Output = Task;

    fn index(&self, key: TaskKey) -> &Task {
        used(&self.chunks, key)
    }
}

impl IndexMut<TaskKey> for Arena {
    fn index_mut(&mut self, key: TaskKey) -> &mut Task {
        match &mut self.chunks[key.0 as usize / CHUNK][key.0 as usize % CHUNK] {
            Slot::Used(task) => task,
            Slot::Free { .. } => unreachable!("a key outlived its task"),
        }
    }
}

fn used(chunks: &[Vec<Slot>], key: TaskKey) -> &Task {
    match &chunks[key.0 as usize / CHUNK][key.0 as usize % CHUNK] {
        Slot::Used(task) => task,
        Slot::Free { .. } => unreachable!("a key outlived its task"),
    }
}

/// The shard of a hash, and the hash for the table within it: that uses the low bits and the top seven, the
/// shard those between.
fn spread(hash: u32) -> (usize, u64) {
    let spread = u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((spread >> 40) as usize % SHARDS, spread)
}
