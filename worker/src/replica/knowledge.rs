//! The map that every handler reads.

use std::borrow::Borrow;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use bytes::Bytes;
use dashmap::DashMap;
use ganger_common::Revision;
use ganger_common::limits::KNOWLEDGE_ENTRY_BYTES;

/// A view of the worker's copy of the knowledge map. Cheap to clone, and always current: it changes while
/// it is held.
#[derive(Clone, Debug, Default)]
pub struct Knowledge {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    map: DashMap<Name, (Revision, Bytes)>,
    revision: AtomicU64,
    /// What the entries take, counted as the broker counts. Only the one replica changes it.
    bytes: AtomicUsize,
}

impl Knowledge {
    /// An empty copy.
    pub fn new() -> Self {
        Self::default()
    }

    /// The value of a key.
    pub fn get(&self, topic: &str, key: &str) -> Option<Bytes> {
        self.get_with_revision(topic, key).map(|(_, value)| value)
    }

    /// The value of a key and the revision of its last change.
    pub fn get_with_revision(&self, topic: &str, key: &str) -> Option<(Revision, Bytes)> {
        let entry = self.inner.map.get(&(topic, key) as &dyn Pair)?;
        Some(entry.value().clone())
    }

    /// The keys of a topic with their values, in the order of the keys.
    pub fn topic(&self, topic: &str) -> Vec<(String, Bytes)> {
        let entries = self.inner.map.iter().filter(|entry| entry.key().topic == topic);
        let mut entries: Vec<_> =
            entries.map(|entry| (entry.key().key.clone(), entry.value().1.clone())).collect();
        entries.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        entries
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.inner.map.len()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.inner.map.is_empty()
    }

    /// The revision up to which every change is here. Zero while the first snapshot is fetched.
    pub fn revision(&self) -> Revision {
        Revision(self.inner.revision.load(Ordering::Acquire))
    }

    pub(super) fn set_revision(&self, revision: Revision) {
        // After the changes themselves: who reads the revision finds at least what it names.
        self.inner.revision.store(revision.0, Ordering::Release);
    }

    pub(super) fn set(&self, topic: String, key: String, revision: Revision, value: Bytes) {
        self.inner.bytes.fetch_add(entry_bytes(&topic, &key, &value), Ordering::Relaxed);
        let names = entry_bytes(&topic, &key, &[]);
        if let Some((_, old)) = self.inner.map.insert(Name { topic, key }, (revision, value)) {
            self.inner.bytes.fetch_sub(names + old.len(), Ordering::Relaxed);
        }
    }

    pub(super) fn remove(&self, topic: &str, key: &str) {
        if let Some((name, (_, value))) = self.inner.map.remove(&(topic, key) as &dyn Pair) {
            self.inner.bytes.fetch_sub(entry_bytes(&name.topic, &name.key, &value), Ordering::Relaxed);
        }
    }

    pub(super) fn retain(&self, keep: impl Fn(&str, &str) -> bool) {
        self.inner.map.retain(|name, (_, value)| {
            let stays = keep(&name.topic, &name.key);
            if !stays {
                self.inner.bytes.fetch_sub(entry_bytes(&name.topic, &name.key, value), Ordering::Relaxed);
            }
            stays
        });
    }

    /// What the entries take.
    pub(super) fn bytes(&self) -> usize {
        self.inner.bytes.load(Ordering::Relaxed)
    }
}

fn entry_bytes(topic: &str, key: &str, value: &[u8]) -> usize {
    KNOWLEDGE_ENTRY_BYTES + topic.len() + key.len() + value.len()
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Name {
    topic: String,
    key: String,
}

/// A topic and a key, owned or borrowed, so that looking up needs no allocation.
trait Pair {
    fn parts(&self) -> (&str, &str);
}

impl Pair for Name {
    fn parts(&self) -> (&str, &str) {
        (&self.topic, &self.key)
    }
}

impl Pair for (&str, &str) {
    fn parts(&self) -> (&str, &str) {
        *self
    }
}

impl<'a> Borrow<dyn Pair + 'a> for Name {
    fn borrow(&self) -> &(dyn Pair + 'a) {
        self
    }
}

impl Hash for dyn Pair + '_ {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.parts().hash(state);
    }
}

impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.parts().hash(state);
    }
}

impl PartialEq for dyn Pair + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts()
    }
}

impl Eq for dyn Pair + '_ {}
