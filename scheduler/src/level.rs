//! Who goes first among tasks of one kind and one priority.
//!
//! Each payer has a line, first come first served, and the lines take turns, task by task: whoever comes
//! waits for at most one task of everybody else, however many they have queued. The turn goes round a ring
//! of lines, so that it costs the same whatever the number of tasks.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use crate::arena::{Arena, List, TaskKey};
use crate::payers::PayerKey;

/// Whose line it is; `None` for tasks of which nobody knows any more who handed them in.
pub(crate) type Seat = Option<PayerKey>;

/// Tasks of one kind and one priority; at least one, except while it is taken apart.
#[derive(Debug, Default)]
pub(crate) struct Level {
    /// None of them empty.
    lines: BTreeMap<Seat, Line>,
    /// Whose turn it is.
    turn: Seat,
    /// When it was served, or became one: among kinds, whoever has waited for longest goes first.
    pub(crate) since: u64,
}

#[derive(Debug, Default)]
struct Line {
    tasks: List,
    /// Whose turn was before this one's, and whose comes after.
    before: Seat,
    after: Seat,
}

impl Level {
    pub(crate) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.lists().map(List::len).sum()
    }

    /// One list for each line.
    pub(crate) fn lists(&self) -> impl Iterator<Item = &List> {
        self.lines.values().map(|line| &line.tasks)
    }

    /// Adds a task at the end of its line, or at the front when it was there before: then it is also its turn
    /// at once, unless more of its line wait for theirs.
    pub(crate) fn push(&mut self, arena: &mut Arena, key: TaskKey, front: bool) {
        let seat = arena[key].payer;
        let line = match self.lines.entry(seat) {
            Entry::Occupied(line) => line.into_mut(),
            Entry::Vacant(_) => self.seat(seat, front),
        };
        match front {
            true => arena.push_front(&mut line.tasks, key),
            false => arena.push_back(&mut line.tasks, key),
        }
    }

    /// Opens a line: its turn comes after all others', or now.
    fn seat(&mut self, seat: Seat, now: bool) -> &mut Line {
        let is_first = self.lines.is_empty();
        let after = if is_first { seat } else { self.turn };
        let before =
            self.lines.get_mut(&after).map_or(seat, |line| std::mem::replace(&mut line.before, seat));
        if let Some(line) = self.lines.get_mut(&before) {
            line.after = seat;
        }
        if is_first || now {
            self.turn = seat;
        }
        self.lines.entry(seat).or_insert(Line { tasks: List::default(), before, after })
    }

    /// Takes out the first task of the line whose turn it is.
    pub(crate) fn pop(&mut self, arena: &mut Arena) -> Option<TaskKey> {
        let line = self.lines.get_mut(&self.turn)?;
        let key = line.tasks.head()?;
        arena.unlink(&mut line.tasks, key);
        match line.tasks.is_empty() {
            true => self.unseat(self.turn),
            #[cfg(feature = "planted")]
            false if crate::planted::is(crate::planted::Bug::TurnsForgotten) => {}
            false => self.turn = line.after,
        }
        Some(key)
    }

    /// Takes a task out, wherever it stands.
    pub(crate) fn remove(&mut self, arena: &mut Arena, key: TaskKey) {
        let seat = arena[key].payer;
        let Some(line) = self.lines.get_mut(&seat) else { return };
        arena.unlink(&mut line.tasks, key);
        if line.tasks.is_empty() {
            self.unseat(seat);
        }
    }

    /// Closes an empty line. If it was its turn, it is that of the next.
    fn unseat(&mut self, seat: Seat) {
        let Some(Line { before, after, .. }) = self.lines.remove(&seat) else { return };
        if let Some(line) = self.lines.get_mut(&before) {
            line.after = after;
        }
        if let Some(line) = self.lines.get_mut(&after) {
            line.before = before;
        }
        if self.turn == seat {
            self.turn = after;
        }
    }

    /// Puts each line into the order of its tasks' age, and the turns into that of their first tasks: what was
    /// read from a journal goes on in one way, whatever part of the journal it was read from. Returns the
    /// number of the oldest task.
    pub(crate) fn sort(&mut self, arena: &mut Arena) -> u64 {
        let mut seats: Vec<(u64, Seat)> = Vec::with_capacity(self.lines.len());
        for (seat, line) in &mut self.lines {
            arena.sort(&mut line.tasks);
            seats.push((line.tasks.head().map_or(0, |head| arena[head].seq), *seat));
        }
        seats.sort_unstable();
        let Some((oldest, first)) = seats.first().copied() else { return 0 };
        for (number, (_, seat)) in seats.iter().enumerate() {
            let neighbour = |step: usize| seats[(number + step) % seats.len()].1;
            if let Some(line) = self.lines.get_mut(seat) {
                (line.before, line.after) = (neighbour(seats.len() - 1), neighbour(1));
            }
        }
        self.turn = first;
        oldest
    }

    /// Puts newer tasks behind these, line by line.
    pub(crate) fn append(&mut self, arena: &mut Arena, mut newer: Self) {
        while let Some(Line { tasks, .. }) = newer.lines.get_mut(&newer.turn) {
            let (seat, tasks) = (newer.turn, std::mem::take(tasks));
            newer.unseat(seat);
            let line = match self.lines.contains_key(&seat) {
                true => self.lines.entry(seat).or_default(),
                false => self.seat(seat, false),
            };
            arena.append(&mut line.tasks, tasks);
        }
    }

    /// Checks that the ring leads through all lines, once each.
    pub(crate) fn check(&self) {
        assert!(!self.is_empty(), "empty levels are removed");
        let mut seat = self.turn;
        for (number, _) in self.lines.iter().enumerate() {
            let Some(line) = self.lines.get(&seat) else { panic!("it is nobody's turn") };
            assert!(!line.tasks.is_empty(), "empty lines are closed");
            assert_eq!(self.lines.get(&line.after).map(|next| next.before), Some(seat), "the ring is whole");
            seat = line.after;
            assert_eq!(seat == self.turn, number + 1 == self.lines.len(), "the ring leads through all lines");
        }
    }
}
