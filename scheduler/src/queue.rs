//! Ready tasks by kind, and which workers may have them.
//!
//! Workers that serve the same kinds form a class, so that a worker that opens or closes touches one set,
//! however many kinds it serves. A kind whose tasks could be given out now stands in `ready`, ordered by
//! the priority of its first task and by how long it has not been served: kinds take turns, too. One that
//! finds no open worker leaves it, and comes back when a worker of one of its classes opens.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ganger_common::Revision;
use slab::Slab;

use crate::arena::{Arena, TaskKey};
use crate::level::Level;
use crate::pack::Pace;
use crate::task::{State, Task};
use crate::worker::WorkerKey;

/// A kind, for as long as the scheduler lives.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct KindKey(pub(crate) u32);

/// A set of workers that serve the same kinds, for as long as it has members.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct ClassKey(usize);

/// Rank of a kind among the ready ones: the priority of its first task, then the moment from which on it has
/// waited for its turn.
pub(crate) type Rank = (Reverse<i16>, u64, KindKey);

/// Rank of a worker among the open ones of its class: how full it is, then how long ago it was served.
pub(crate) type Load = (u32, u64, WorkerKey);

/// One kind.
#[derive(Debug)]
pub(crate) struct Kind {
    pub(crate) name: Arc<str>,
    pub(crate) levels: BTreeMap<Reverse<i16>, Level>,
    /// The same for tasks that are not given out before the re-attach window ends.
    pub(crate) held: BTreeMap<Reverse<i16>, Level>,
    /// Ready tasks, the gated ones included.
    pub(crate) ready: usize,
    /// Ready tasks that wait for a worker that knows enough.
    pub(crate) gated: BTreeSet<(Revision, u64, TaskKey)>,
    pub(crate) leased: usize,
    /// How long its tasks run.
    pub(crate) pace: Pace,
    pub(crate) classes: Vec<ClassKey>,
    /// Nothing of it is given out.
    pub(crate) is_paused: bool,
    rank: Option<Rank>,
}

impl Kind {
    /// Whether there is anything to give out.
    pub(crate) fn has_work(&self) -> bool {
        self.ready > 0 && !self.is_paused
    }
}

/// One class of workers.
#[derive(Debug)]
pub(crate) struct Class {
    /// Sorted.
    pub(crate) kinds: Arc<[KindKey]>,
    pub(crate) members: BTreeSet<WorkerKey>,
    pub(crate) open: BTreeSet<Load>,
}

/// All queues.
#[derive(Debug, Default)]
pub(crate) struct Queues {
    kinds: Vec<Kind>,
    by_name: BTreeMap<Arc<str>, KindKey>,
    /// Names of the kinds that are paused, whether there has been a task of them or not.
    paused: BTreeSet<Arc<str>>,
    classes: Slab<Class>,
    by_kinds: BTreeMap<Arc<[KindKey]>, ClassKey>,
    ready: BTreeSet<Rank>,
    /// Kinds with gated tasks.
    pub(crate) gated: BTreeSet<KindKey>,
    /// Ready tasks of all kinds.
    pub(crate) len: usize,
    /// Tasks that are held.
    pub(crate) held_len: usize,
    /// Ready tasks numbered up to here are held: a worker of the broker's last life may have them.
    held_upto: u64,
    /// Numbers turns: each is later than all before.
    turns: u64,
}

impl Queues {
    pub(crate) fn find(&self, name: &str) -> Option<KindKey> {
        self.by_name.get(name).copied()
    }

    /// The kind of that name, made on first use.
    pub(crate) fn intern(&mut self, name: &Arc<str>) -> KindKey {
        if let Some(key) = self.find(name) {
            return key;
        }
        let key = KindKey(self.kinds.len() as u32);
        self.kinds.push(Kind {
            name: name.clone(),
            levels: BTreeMap::new(),
            held: BTreeMap::new(),
            ready: 0,
            gated: BTreeSet::new(),
            leased: 0,
            pace: Pace::default(),
            classes: Vec::new(),
            is_paused: self.paused.contains(name),
            rank: None,
        });
        self.by_name.insert(name.clone(), key);
        key
    }

    pub(crate) fn kinds_len(&self) -> usize {
        self.kinds.len()
    }

    pub(crate) fn kind(&self, key: KindKey) -> &Kind {
        &self.kinds[key.0 as usize]
    }

    pub(crate) fn kind_mut(&mut self, key: KindKey) -> &mut Kind {
        &mut self.kinds[key.0 as usize]
    }

    /// Kinds in the order of their names.
    pub(crate) fn kinds_by_name(&self) -> impl Iterator<Item = (KindKey, &Kind)> {
        self.by_name.values().map(|key| (*key, self.kind(*key)))
    }

    pub(crate) fn class(&self, key: ClassKey) -> &Class {
        &self.classes[key.0]
    }

    pub(crate) fn class_serves(&self, class: ClassKey, kind: KindKey) -> bool {
        self.class(class).kinds.binary_search(&kind).is_ok()
    }

    pub(crate) fn classes(&self) -> impl Iterator<Item = (ClassKey, &Class)> {
        self.classes.iter().map(|(index, class)| (ClassKey(index), class))
    }

    /// The workers of a kind.
    pub(crate) fn servers(&self, kind: KindKey) -> impl Iterator<Item = WorkerKey> + '_ {
        self.kind(kind).classes.iter().flat_map(|class| self.class(*class).members.iter().copied())
    }

    pub(crate) fn is_served(&self, kind: KindKey) -> bool {
        self.servers(kind).next().is_some()
    }

    /// Adds a worker to the class that serves exactly these kinds.
    pub(crate) fn enlist(&mut self, worker: WorkerKey, mut kinds: Vec<KindKey>) -> ClassKey {
        kinds.sort_unstable();
        kinds.dedup();
        let kinds: Arc<[KindKey]> = kinds.into();
        let key = match self.by_kinds.get(&kinds) {
            Some(key) => *key,
            None => self.add_class(kinds),
        };
        self.classes[key.0].members.insert(worker);
        key
    }

    fn add_class(&mut self, kinds: Arc<[KindKey]>) -> ClassKey {
        let class = Class { kinds: kinds.clone(), members: BTreeSet::new(), open: BTreeSet::new() };
        let key = ClassKey(self.classes.insert(class));
        for kind in kinds.iter() {
            self.kinds[kind.0 as usize].classes.push(key);
        }
        self.by_kinds.insert(kinds, key);
        key
    }

    /// Takes a worker that is not open out of its class. A class that nobody is in goes with it: workers
    /// may announce more sets of kinds than anybody wants to search through.
    pub(crate) fn discharge(&mut self, worker: WorkerKey, class: ClassKey) {
        self.classes[class.0].members.remove(&worker);
        if !self.classes[class.0].members.is_empty() {
            return;
        }
        let gone = self.classes.remove(class.0);
        self.by_kinds.remove(&gone.kinds);
        for kind in gone.kinds.iter() {
            self.kinds[kind.0 as usize].classes.retain(|other| *other != class);
        }
    }

    /// Moves a worker to its new place among the open workers of its class, or takes it out.
    pub(crate) fn set_open(&mut self, class: ClassKey, old: Option<Load>, new: Option<Load>) {
        let entry = &mut self.classes[class.0];
        if let Some(old) = old {
            entry.open.remove(&old);
        }
        let Some(new) = new else { return };
        let was_shut = entry.open.is_empty();
        entry.open.insert(new);
        if was_shut && old.is_none() {
            for kind in entry.kinds.clone().iter() {
                self.rerank(*kind);
            }
        }
    }

    /// The open worker of a kind that has the least to do.
    pub(crate) fn least_loaded(&self, kind: KindKey) -> Option<Load> {
        self.kind(kind).classes.iter().filter_map(|class| self.class(*class).open.first().copied()).min()
    }

    /// Open workers of a kind.
    pub(crate) fn open_len(&self, kind: KindKey) -> usize {
        self.kind(kind).classes.iter().map(|class| self.class(*class).open.len()).sum()
    }

    /// The kind whose turn it is.
    pub(crate) fn first_ready(&self) -> Option<Rank> {
        self.ready.first().copied()
    }

    pub(crate) fn second_ready(&self) -> Option<Rank> {
        self.ready.iter().nth(1).copied()
    }

    /// No worker is open for this kind: leave it out until one opens.
    pub(crate) fn unrank(&mut self, kind: KindKey) {
        if let Some(rank) = self.kinds[kind.0 as usize].rank.take() {
            self.ready.remove(&rank);
        }
    }

    /// Puts a kind where its first task belongs.
    pub(crate) fn rerank(&mut self, key: KindKey) {
        let kind = &mut self.kinds[key.0 as usize];
        let first = kind.levels.first_key_value().filter(|_| !kind.is_paused);
        let rank = first.map(|(priority, level)| (*priority, level.since, key));
        if kind.rank == rank {
            return;
        }
        if let Some(old) = std::mem::replace(&mut kind.rank, rank) {
            self.ready.remove(&old);
        }
        if let Some(rank) = rank {
            self.ready.insert(rank);
        }
    }

    /// Nothing of a kind is given out from now on.
    pub(crate) fn pause(&mut self, name: Arc<str>) {
        if let Some(key) = self.find(&name) {
            self.kind_mut(key).is_paused = true;
            self.rerank(key);
        }
        self.paused.insert(name);
    }

    /// A kind is given out again, in the order in which its tasks came.
    pub(crate) fn resume(&mut self, name: &str) {
        self.paused.remove(name);
        if let Some(key) = self.find(name) {
            self.kind_mut(key).is_paused = false;
            self.rerank(key);
        }
    }

    /// The kinds that are paused, by name.
    pub(crate) fn paused(&self) -> impl ExactSizeIterator<Item = &Arc<str>> {
        self.paused.iter()
    }

    pub(crate) fn is_paused(&self, name: &str) -> bool {
        self.paused.contains(name)
    }

    /// Queues a task: at the back of its line, or at the front when it was there before.
    pub(crate) fn push(&mut self, arena: &mut Arena, key: TaskKey, front: bool) {
        let task = &mut arena[key];
        let (kind_key, seq) = (task.kind, task.seq);
        let gate = task.needs_revision();
        let priority = Reverse(task.priority);
        let kind = &mut self.kinds[kind_key.0 as usize];
        if gate.is_none() && seq <= self.held_upto {
            task.state = State::Ready;
            self.held_len += 1;
            return kind.held.entry(priority).or_default().push(arena, key, front);
        }
        kind.ready += 1;
        self.len += 1;
        if let Some(revision) = gate {
            task.state = State::Gated { revision };
            kind.gated.insert((revision, seq, key));
            self.gated.insert(kind_key);
            return;
        }
        task.state = State::Ready;
        let level = kind.levels.entry(priority).or_default();
        let is_new = level.is_empty();
        level.push(arena, key, front);
        if is_new {
            self.turns += 1;
            level.since = self.turns;
            self.rerank(kind_key);
        }
    }

    /// Takes a ready task out, wherever it stands.
    pub(crate) fn remove(&mut self, arena: &mut Arena, key: TaskKey) {
        let task = &arena[key];
        let (kind_key, seq, priority) = (task.kind, task.seq, Reverse(task.priority));
        let is_held = self.is_held(task);
        let kind = &mut self.kinds[kind_key.0 as usize];
        if is_held {
            self.held_len -= 1;
            if let Some(level) = kind.held.get_mut(&priority) {
                level.remove(arena, key);
                if level.is_empty() {
                    kind.held.remove(&priority);
                }
            }
            return;
        }
        if let State::Gated { revision } = task.state {
            kind.gated.remove(&(revision, seq, key));
            if kind.gated.is_empty() {
                self.gated.remove(&kind_key);
            }
        } else if let Some(level) = kind.levels.get_mut(&priority) {
            level.remove(arena, key);
            if level.is_empty() {
                kind.levels.remove(&priority);
            }
        }
        kind.ready -= 1;
        self.len -= 1;
        if kind.rank.is_some() {
            self.rerank(kind_key);
        }
    }

    /// Takes the first task out of the line whose turn it is. The kind has had its turn, but is not moved
    /// behind the others yet: call [`rerank`](Self::rerank) after the last.
    pub(crate) fn pop(&mut self, arena: &mut Arena, key: KindKey) -> Option<TaskKey> {
        let kind = &mut self.kinds[key.0 as usize];
        let mut level = kind.levels.first_entry()?;
        let task = level.get_mut().pop(arena)?;
        self.turns += 1;
        level.get_mut().since = self.turns;
        if level.get().is_empty() {
            level.remove();
        }
        kind.ready -= 1;
        self.len -= 1;
        Some(task)
    }

    /// Whether a task waits for the re-attach window to end.
    pub(crate) fn is_held(&self, task: &Task) -> bool {
        task.state == State::Ready && self.holds(task)
    }

    /// Whether a task will wait for that once it is ready, unless it needs knowledge.
    pub(crate) fn holds(&self, task: &Task) -> bool {
        task.seq <= self.held_upto
    }

    /// After a recovery: puts the ready tasks into the order of their age, and holds those numbered up to
    /// here. However many there are, they are set aside and let go line by line.
    pub(crate) fn hold(&mut self, arena: &mut Arena, upto: u64) {
        self.held_upto = upto;
        for index in 0..self.kinds.len() {
            self.unrank(KindKey(index as u32));
            let kind = &mut self.kinds[index];
            kind.held = std::mem::take(&mut kind.levels);
            for level in kind.held.values_mut() {
                // Tasks are numbered from 1, and turns go on from the last task.
                level.since = level.sort(arena);
                let len = level.len();
                kind.ready -= len;
                self.len -= len;
                self.held_len += len;
            }
        }
        self.turns = self.turns.max(upto);
    }

    /// Lets go of what was held: it is older than all that came since.
    pub(crate) fn release(&mut self, arena: &mut Arena) {
        self.held_upto = 0;
        self.held_len = 0;
        for index in 0..self.kinds.len() {
            let kind = &mut self.kinds[index];
            for (priority, mut level) in std::mem::take(&mut kind.held) {
                let len = level.len();
                kind.ready += len;
                self.len += len;
                if let Some(newer) = kind.levels.remove(&priority) {
                    level.append(arena, newer);
                }
                kind.levels.insert(priority, level);
            }
            self.rerank(KindKey(index as u32));
        }
    }

    pub(crate) fn is_ranked(&self, kind: KindKey) -> bool {
        self.kind(kind).rank.is_some()
    }
}
