//! Tasks that wait to be handed in, in the order in which they came.

use std::collections::VecDeque;

use super::table::Key;

/// A queue of tasks. What was taken out comes back to its old place.
#[derive(Debug, Default)]
pub(super) struct Line(VecDeque<Key>);

impl Line {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn pop(&mut self) -> Option<Key> {
        self.0.pop_front()
    }

    /// Puts back what [`pop`](Self::pop) has given just now.
    pub(super) fn unpop(&mut self, key: Key) {
        self.0.push_front(key);
    }

    /// Puts a task where it belongs, which nearly always is behind all others.
    pub(super) fn push(&mut self, key: Key) {
        match self.0.back() {
            Some(last) if last.order > key.order => self.insert(vec![key]),
            _ => self.0.push_back(key),
        }
    }

    /// Puts tasks where they belong. Those that a broker refused were at the front not long ago, those that it
    /// has forgotten come in their order and belong to the back: only what stands between them and the nearer
    /// end is moved, and not the millions on the other side.
    pub(super) fn insert(&mut self, mut keys: Vec<Key>) {
        keys.sort_unstable_by_key(|key| key.order);
        let (Some(first), Some(last)) = (keys.first(), keys.last()) else { return };
        let from = self.0.partition_point(|key| key.order < first.order);
        let to = self.0.partition_point(|key| key.order < last.order);
        if to <= self.0.len() - from {
            keys.extend(self.0.drain(..to));
            keys.sort_unstable_by_key(|key| key.order);
            keys.into_iter().rev().for_each(|key| self.0.push_front(key));
        } else {
            keys.extend(self.0.drain(from..));
            keys.sort_unstable_by_key(|key| key.order);
            self.0.extend(keys);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn orders(line: &Line) -> Vec<u64> {
        line.0.iter().map(|key| key.order).collect()
    }

    fn line(orders: impl IntoIterator<Item = u64>) -> Line {
        Line(orders.into_iter().map(Key::numbered).collect())
    }

    #[test]
    fn what_was_refused_comes_back_before_what_was_never_sent_and_after_what_is_older() {
        let mut line = line([2, 7, 8, 9]);
        line.insert([3, 1, 4].map(Key::numbered).into());
        assert_eq!(orders(&line), [1, 2, 3, 4, 7, 8, 9]);
        line.insert([6, 12, 10].map(Key::numbered).into());
        assert_eq!(orders(&line), [1, 2, 3, 4, 6, 7, 8, 9, 10, 12]);
        line.push(Key::numbered(13));
        line.push(Key::numbered(5));
        assert_eq!(orders(&line), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 13]);
    }

    proptest! {
        #[test]
        fn whatever_is_inserted_the_line_holds_all_of_it_in_order(
            parts in prop::collection::vec(prop::collection::btree_set(0_u64..200, 0..40), 0..6),
        ) {
            let mut seen = std::collections::BTreeSet::new();
            let mut line = Line::default();
            for part in parts {
                let new: Vec<u64> = part.into_iter().filter(|order| seen.insert(*order)).collect();
                line.insert(new.into_iter().rev().map(Key::numbered).collect());
                prop_assert_eq!(orders(&line), seen.iter().copied().collect::<Vec<_>>());
            }
        }
    }
}
