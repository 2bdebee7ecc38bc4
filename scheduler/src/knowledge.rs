//! The knowledge map: topic and key to bytes, with one revision counter.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound::{Excluded, Included, Unbounded};

use bytes::Bytes;
use ganger_common::limits::KNOWLEDGE_ENTRY_BYTES;
use ganger_common::{ErrorCode, Revision};

use crate::effect::Entry;
use crate::record::{CarriedEntry, CarriedTopic, Change};

/// The map and the newest of its changes.
#[derive(Debug, Default)]
pub(crate) struct Knowledge {
    topics: BTreeMap<String, Topic>,
    revision: Revision,
    history: VecDeque<Change>,
    history_bytes: usize,
    entries: usize,
    bytes: usize,
}

#[derive(Debug, Default)]
struct Topic {
    keys: BTreeMap<String, Value>,
    /// The revision of its last change, a removal included.
    last: Revision,
}

#[derive(Debug)]
struct Value {
    revision: Revision,
    bytes: Bytes,
}

/// Where carrying the map goes on.
#[derive(Debug)]
pub(crate) enum MapCursor {
    /// At its beginning.
    Start,
    /// In this topic, after this key.
    In(String, String),
    /// After this topic.
    After(String),
}

/// Different topics. A topic stays when its keys are gone, since its subscribers follow its revisions.
pub(crate) const TOPICS_MAX: usize = 100_000;

/// Bytes of the changes that are kept for `since`. A peer that is further behind reads a snapshot.
const HISTORY_BYTES_MAX: usize = 64 << 20;

impl Knowledge {
    pub(crate) fn revision(&self) -> Revision {
        self.revision
    }

    pub(crate) fn entries(&self) -> usize {
        self.entries
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The map and its history.
    pub(crate) fn stored_bytes(&self) -> usize {
        self.bytes + self.history_bytes
    }

    /// The oldest revision that [`since`](Self::since) can be asked about.
    pub(crate) fn history_from(&self) -> Revision {
        self.history.front().map_or(self.revision, |change| Revision(change.revision.0 - 1))
    }

    /// Whether a change would be allowed now.
    pub(crate) fn check(
        &self,
        topic: &str,
        key: &str,
        value: Option<&Bytes>,
        expect: Option<Revision>,
        bytes_max: usize,
    ) -> Result<(), (ErrorCode, String)> {
        let current = self.topics.get(topic).and_then(|topic| topic.keys.get(key));
        if let Some(expected) = expect {
            let found = current.map_or(Revision(0), |value| value.revision);
            if found != expected {
                return Err((
                    ErrorCode::Conflict,
                    format!("{topic}/{key} is at revision {found}, not {expected}"),
                ));
            }
        }
        let Some(value) = value else {
            return match current {
                Some(_) => Ok(()),
                None => Err((ErrorCode::NotFound, format!("there is no {topic}/{key}"))),
            };
        };
        let freed = current.map_or(0, |old| entry_bytes(topic, key, &old.bytes));
        if self.bytes - freed + entry_bytes(topic, key, value) > bytes_max {
            return Err((ErrorCode::Busy, format!("the knowledge map is full at {bytes_max} bytes")));
        }
        if !self.topics.contains_key(topic) && self.topics.len() >= TOPICS_MAX {
            return Err((ErrorCode::Busy, format!("there are {TOPICS_MAX} topics already")));
        }
        Ok(())
    }

    /// Applies the next change; returns the revision of the change before it in the same topic.
    pub(crate) fn apply(&mut self, change: &Change, history_max: usize) -> Revision {
        debug_assert_eq!(change.revision, self.revision.next(), "revisions have no gaps");
        self.revision = change.revision;
        if !self.topics.contains_key(&change.topic) {
            self.topics.insert(change.topic.clone(), Topic::default());
        }
        // It was put there just now if it was missing.
        let Some(topic) = self.topics.get_mut(&change.topic) else { return Revision(0) };
        let previous = std::mem::replace(&mut topic.last, change.revision);
        let old = match &change.value {
            Some(bytes) => {
                self.entries += 1;
                self.bytes += entry_bytes(&change.topic, &change.key, bytes);
                topic
                    .keys
                    .insert(change.key.clone(), Value { revision: change.revision, bytes: bytes.clone() })
            }
            None => topic.keys.remove(&change.key),
        };
        if let Some(old) = old {
            self.entries -= 1;
            self.bytes -= entry_bytes(&change.topic, &change.key, &old.bytes);
        }
        self.history_bytes += change_bytes(change);
        self.history.push_back(change.clone());
        while self.history.len() > history_max || self.history_bytes > HISTORY_BYTES_MAX {
            let Some(oldest) = self.history.pop_front() else { break };
            self.history_bytes -= change_bytes(&oldest);
        }
        previous
    }

    pub(crate) fn get(&self, topic: &str, key: &str) -> Option<Entry> {
        let value = self.topics.get(topic)?.keys.get(key)?;
        Some(Entry {
            topic: topic.to_owned(),
            key: key.to_owned(),
            revision: value.revision,
            value: Some(value.bytes.clone()),
        })
    }

    /// Entries in the order of topic and key, and whether more follow. Stops at `limit` entries or when
    /// the page holds `bytes_target` bytes.
    pub(crate) fn list(
        &self,
        prefix: &str,
        after: Option<&(String, String)>,
        keys_only: bool,
        limit: usize,
        bytes_target: usize,
    ) -> (Vec<Entry>, bool) {
        let first = after.map_or(prefix, |(topic, _)| topic.as_str().max(prefix));
        let mut page = Vec::new();
        let mut bytes = 0;
        for (name, topic) in self.topics.range::<str, _>((Included(first), Unbounded)) {
            if !name.starts_with(prefix) {
                break;
            }
            let from = match after {
                Some((last_topic, last_key)) if last_topic == name => Excluded(last_key.as_str()),
                _ => Unbounded,
            };
            for (key, value) in topic.keys.range::<str, _>((from, Unbounded)) {
                if page.len() == limit || bytes >= bytes_target {
                    return (page, true);
                }
                bytes += entry_bytes(name, key, &value.bytes);
                page.push(Entry {
                    topic: name.clone(),
                    key: key.clone(),
                    revision: value.revision,
                    value: (!keys_only).then(|| value.bytes.clone()),
                });
            }
        }
        (page, false)
    }

    /// The changes after a revision, or `None` when they are no longer kept. A revision that is still to
    /// come belongs to another life of the map, so there is no way forward from it either.
    pub(crate) fn since(&self, revision: Revision, limit: usize, bytes_target: usize) -> Option<Vec<Change>> {
        if revision < self.history_from() || revision > self.revision {
            return None;
        }
        let skip = (revision.0 - self.history_from().0) as usize;
        let mut bytes = 0;
        let fits = |change: &&Change| {
            let fits = bytes < bytes_target;
            bytes += change_bytes(change);
            fits
        };
        Some(self.history.range(skip..).take(limit).take_while(fits).cloned().collect())
    }

    /// Begins in the middle: what was before this revision comes later, as it is then.
    pub(crate) fn catch_up(&mut self, revision: Revision) {
        self.revision = self.revision.max(revision);
    }

    /// Takes in a part of the map as it was at this point of the journal. What is here already is as new.
    pub(crate) fn apply_carried(&mut self, carried: CarriedTopic) {
        let CarriedTopic { topic: name, last, entries } = carried;
        let topic = self.topics.entry(name.clone()).or_default();
        topic.last = topic.last.max(last);
        for CarriedEntry { key, revision, value } in entries {
            if topic.keys.contains_key(&key) {
                continue;
            }
            self.entries += 1;
            self.bytes += entry_bytes(&name, &key, &value);
            topic.keys.insert(key, Value { revision, bytes: value });
        }
    }

    /// Takes in earlier changes, the newest first, as far as they join on to what is here.
    pub(crate) fn apply_history(&mut self, changes: Vec<Change>, history_max: usize) {
        for change in changes {
            let bytes = self.history_bytes + change_bytes(&change);
            let has_room = self.history.len() < history_max && bytes <= HISTORY_BYTES_MAX;
            if change.revision == self.history_from() && has_room {
                self.history_bytes = bytes;
                self.history.push_front(change);
            }
        }
    }

    /// The next part of the map, of one topic, and where the part after it begins.
    pub(crate) fn carry(
        &self,
        at: &MapCursor,
        limit: usize,
        bytes_max: usize,
    ) -> Option<(CarriedTopic, MapCursor)> {
        let (name, topic, from) = match at {
            MapCursor::Start => self.topics.first_key_value().map(|(name, topic)| (name, topic, None))?,
            MapCursor::In(name, key) => self.topics.get(name).map(|topic| (name, topic, Some(key)))?,
            MapCursor::After(name) => {
                let mut later = self.topics.range::<str, _>((Excluded(name.as_str()), Unbounded));
                later.next().map(|(name, topic)| (name, topic, None))?
            }
        };
        let start = from.map_or(Unbounded, |key| Excluded(key.as_str()));
        let mut carried = CarriedTopic { topic: name.clone(), last: topic.last, entries: Vec::new() };
        let mut bytes = 0;
        for (key, value) in topic.keys.range::<str, _>((start, Unbounded)) {
            if carried.entries.len() >= limit || bytes >= bytes_max {
                let last = carried.entries.last().map_or_else(String::new, |entry| entry.key.clone());
                return Some((carried, MapCursor::In(name.clone(), last)));
            }
            bytes += entry_bytes(name, key, &value.bytes);
            carried.entries.push(CarriedEntry {
                key: key.clone(),
                revision: value.revision,
                value: value.bytes.clone(),
            });
        }
        Some((carried, MapCursor::After(name.clone())))
    }

    /// Changes that are kept, from this revision back, the newest first.
    pub(crate) fn carry_history(&self, from: Revision, limit: usize, bytes_max: usize) -> Vec<Change> {
        let count = from.0.saturating_sub(self.history_from().0) as usize;
        let mut bytes = 0;
        let fits = |change: &&Change| {
            let fits = bytes < bytes_max;
            bytes += change_bytes(change);
            fits
        };
        let newest_first = self.history.range(..count.min(self.history.len())).rev();
        newest_first.take(limit).take_while(fits).cloned().collect()
    }

    /// Recounts everything that is counted along the way.
    pub(crate) fn check_counts(&self) {
        let (mut entries, mut bytes) = (0, 0);
        for (name, topic) in &self.topics {
            for (key, value) in &topic.keys {
                entries += 1;
                bytes += entry_bytes(name, key, &value.bytes);
                assert!(value.revision <= self.revision, "no entry is ahead");
            }
        }
        assert_eq!(self.entries, entries, "knowledge entries");
        assert_eq!(self.bytes, bytes, "knowledge bytes");
        assert_eq!(self.history_bytes, self.history.iter().map(change_bytes).sum::<usize>(), "history bytes");
    }
}

fn entry_bytes(topic: &str, key: &str, value: &Bytes) -> usize {
    KNOWLEDGE_ENTRY_BYTES + topic.len() + key.len() + value.len()
}

fn change_bytes(change: &Change) -> usize {
    KNOWLEDGE_ENTRY_BYTES
        + change.topic.len()
        + change.key.len()
        + change.value.as_ref().map_or(0, Bytes::len)
}
