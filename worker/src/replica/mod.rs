//! The worker's copy of the knowledge map.
//!
//! Changes come over the knowledge socket, which may lose them; their revisions show what is missing, and
//! the connection with the broker brings it:
//! ```text
//!   Detached ──welcome──► Following ──gap, or a newer revision heard of──► Asked(since)
//!                            ▲                                                │   │
//!                            └───────────── changes, in order ────────────────┘   │ history_gone,
//!                            ▲                                                    │ another epoch
//!                            └─ since(first page) ◄── page, page, page ◄── Snapshot ◄┘
//! ```
//! The revision never goes back while the broker's state is the same. When the broker has begun a new
//! life, nobody can know whether its map is the continuation of the old one, so a snapshot is fetched.
//!
//! A broker bounds its map. One that does not keep to that bound is not followed: see
//! [`REPLICA_BYTES_MAX`].

mod feed;
mod knowledge;
mod publication;
mod sync;
#[cfg(test)]
mod tests;

pub use knowledge::Knowledge;
pub use publication::Publication;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use ganger_common::limits::KNOWLEDGE_BYTES_MAX;
use ganger_common::{Epoch, Revision};

use crate::random::Random;
use crate::time::Time;
use feed::Feed;
use sync::Stage;

/// Changes that came before the ones they follow, kept until these come. More are dropped and asked for.
const EARLY_MAX: usize = 1_024;

/// Most that a replica holds. Twice what a broker's map may hold: until a snapshot is complete, the entries
/// of the last life stand beside those of the new one. A broker that sends more is broken or hostile; its
/// map is dropped, and so is its connection.
pub const REPLICA_BYTES_MAX: usize = 2 * KNOWLEDGE_BYTES_MAX;

/// One change of the map, or one entry of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// Its revision.
    pub revision: Revision,
    /// The topic.
    pub topic: String,
    /// The key.
    pub key: String,
    /// The new value; absent when the key was removed.
    pub value: Option<Bytes>,
}

/// An answer of the broker, as far as a replica has to do with it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// A run of changes without gaps.
    Changes {
        /// The newest revision.
        newest: Revision,
        /// The changes.
        changes: Vec<Change>,
    },
    /// A page of the map.
    Entries {
        /// The newest revision when the page was read.
        newest: Revision,
        /// The entries.
        entries: Vec<Change>,
        /// Whether there are more pages.
        more: bool,
    },
    /// Something that a replica never asks for.
    Other,
}

/// What a replica wants done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ReplicaEffect {
    /// Send this to the broker.
    Ask(Bytes),
    /// Subscribe to the knowledge socket, in place of any older subscription.
    Subscribe {
        /// Its port.
        port: u16,
    },
    /// A broadcast came.
    Broadcast {
        /// Its topic.
        topic: String,
        /// Its bytes.
        body: Bytes,
    },
}

/// A replica: the machine beside the map.
#[derive(Debug)]
pub struct Replica {
    knowledge: Knowledge,
    epoch: Option<Epoch>,
    applied: Revision,
    /// The newest revision that was heard of.
    newest: Revision,
    early: BTreeMap<Revision, Change>,
    stage: Stage,
    /// The map is that of another life of the broker until a snapshot has been read to its end, whatever
    /// becomes of the connection meanwhile.
    owes_snapshot: bool,
    /// There was more than a replica holds, which nobody has asked about yet.
    has_overflowed: bool,
    last_req: u64,
    feed: Feed,
    random: Random,
    effects: VecDeque<ReplicaEffect>,
}

impl Replica {
    /// A replica that keeps its copy in `knowledge`.
    pub fn new(knowledge: Knowledge, seed: u64) -> Self {
        Self {
            knowledge,
            epoch: None,
            applied: Revision(0),
            newest: Revision(0),
            early: BTreeMap::new(),
            stage: Stage::Detached,
            owes_snapshot: false,
            has_overflowed: false,
            last_req: 0,
            feed: Feed::default(),
            random: Random(!seed),
            effects: VecDeque::new(),
        }
    }

    /// The revision up to which every change is in the map.
    pub fn revision(&self) -> Revision {
        self.applied
    }

    /// The broker has said welcome. `port`: of the knowledge socket, if it is known.
    pub fn on_attached(
        &mut self,
        now: Time,
        epoch: Epoch,
        newest: Revision,
        port: Option<u16>,
        silence_max: Duration,
    ) {
        self.newest = newest;
        self.feed.on_attached(now, port, silence_max);
        if self.epoch == Some(epoch) && !self.owes_snapshot {
            self.newest = newest.max(self.applied);
            self.stage = Stage::Following { check_at: None };
            return self.catch_up(now);
        }
        let is_first = self.epoch.replace(epoch).is_none();
        self.early.clear();
        self.set_applied(Revision(0));
        match is_first && newest == Revision(0) {
            true => self.stage = Stage::Following { check_at: None },
            false => {
                self.owes_snapshot = true;
                self.begin_snapshot(now);
            }
        }
    }

    /// The connection is gone, and with it whatever was asked.
    pub fn on_detached(&mut self) {
        self.stage = Stage::Detached;
        self.feed.on_detached();
        self.effects.retain(|effect| matches!(effect, ReplicaEffect::Broadcast { .. }));
    }

    /// Takes in what was published.
    pub fn on_publication(&mut self, now: Time, publication: Publication) {
        self.feed.on_publication(now);
        match publication {
            Publication::Beat { epoch, revision } if self.epoch == Some(epoch) => {
                self.on_newest(now, revision);
            }
            Publication::Broadcast { epoch: _, topic, body } => {
                self.effects.push_back(ReplicaEffect::Broadcast { topic, body });
            }
            Publication::Missing { epoch, revision } if self.epoch == Some(epoch) => {
                self.newest = self.newest.max(revision);
                self.catch_up(now);
            }
            Publication::Change { epoch, change } if self.epoch == Some(epoch) => {
                self.on_change(now, change);
            }
            // Of another life of the broker: the connection will tell about that one.
            Publication::Beat { .. } | Publication::Missing { .. } | Publication::Change { .. } => {}
        }
        self.check_room();
    }

    /// The subscription that was asked for stands.
    pub fn on_subscribed(&mut self, now: Time) {
        self.feed.on_subscribed(now);
        // What was published before the subscription took effect was missed.
        self.check_soon(now);
    }

    /// The subscription is gone, or did not come about.
    pub fn on_unsubscribed(&mut self, now: Time) {
        self.feed.on_unsubscribed(now, &mut self.random);
    }

    /// Whether the broker has sent more than [`REPLICA_BYTES_MAX`] since this was asked last. What had come
    /// is dropped, and nothing more is taken in until the next welcome, which begins with a snapshot.
    pub fn take_overflow(&mut self) -> bool {
        std::mem::take(&mut self.has_overflowed)
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Time) {
        if let Some(port) = self.feed.handle_timeout(now, &mut self.random) {
            self.effects.push_back(ReplicaEffect::Subscribe { port });
        }
        self.on_sync_timeout(now);
    }

    /// The next thing to do, if there is one.
    pub fn poll_effect(&mut self) -> Option<ReplicaEffect> {
        self.effects.pop_front()
    }

    /// When there is something to do, if nothing else happens.
    pub fn poll_timeout(&self) -> Option<Time> {
        [self.feed.timeout(), self.sync_timeout()].into_iter().flatten().min()
    }

    fn check_room(&mut self) {
        if self.knowledge.bytes() <= REPLICA_BYTES_MAX {
            return;
        }
        self.has_overflowed = true;
        self.stage = Stage::Detached;
        // Without an epoch no publication counts, and the next welcome is like the first.
        self.epoch = None;
        self.owes_snapshot = false;
        self.early.clear();
        // First the revision: who reads it finds at least what it names.
        self.set_applied(Revision(0));
        self.knowledge.retain(|_, _| false);
    }

    fn set_applied(&mut self, revision: Revision) {
        self.applied = revision;
        self.knowledge.set_revision(revision);
    }
}
