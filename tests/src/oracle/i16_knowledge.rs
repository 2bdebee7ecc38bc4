//! I16: knowledge revisions never go back at a worker, gaps heal, and all live workers converge.
//!
//! Checks that within a life of the broker's state a worker's revision only rises; that its map at each
//! revision is exactly the map that the journal's changes up to that revision make; that at the end every
//! live worker has the newest revision; that the audit reads that very map; that whoever was told a
//! revision for a change finds that change in the journal under it; and that a task which requires a
//! revision is given only to a worker whose copy had it.
//!
//! Cannot see: a map between two revisions, while a snapshot is read page by page, nor what is equal by
//! checksum.

use std::collections::{BTreeMap, BTreeSet};

use ganger_common::{Epoch, Revision, WorkerId};

use super::Violation;
use super::view::View;
use crate::sim::Event;
use crate::sim::log::{ClientNo, Digest, Fact, map_checksum};

const NAME: &str = "I16";

/// A change as the journal has it.
#[derive(Clone, PartialEq)]
struct Change {
    lsn: u64,
    revision: Revision,
    topic: String,
    key: String,
    value: Option<Digest>,
}

type Asked = (String, String, Option<Digest>);

#[derive(Default)]
struct Truth {
    epoch: Epoch,
    changes: Vec<Change>,
    /// Every change that was ever written.
    ever: Vec<Change>,
    map: BTreeMap<(String, String), (Revision, Digest)>,
    /// The checksum of the map at each revision, in each life.
    expected: BTreeMap<(Epoch, Revision), Digest>,
    replicas: BTreeMap<WorkerId, (Epoch, Revision)>,
    /// The highest that each replica has had in each life.
    reached: BTreeMap<(WorkerId, Epoch), Revision>,
    alive: BTreeSet<WorkerId>,
    asked: BTreeMap<(ClientNo, u64), Asked>,
    audited: bool,
}

pub(super) fn check(view: &View<'_>, found: &mut Vec<Violation>) {
    let mut truth = Truth::default();
    for (line, entry) in view.entries.iter().enumerate() {
        if let Some(what) = truth.objection(view, &entry.event) {
            view.report_line(found, NAME, line, &what);
        }
        truth.note(&entry.event);
    }
    if view.quiet.is_some() {
        let newest = (truth.epoch, truth.newest());
        for worker in truth.alive.iter().filter(|_| newest.1 > Revision(0)) {
            let has = truth.replicas.get(worker).copied().unwrap_or_default();
            if has != newest {
                let (epoch, revision) = newest;
                let what = format!("worker {worker} is at {has:?}, the map at {revision} of life {epoch}");
                view.report_end(found, NAME, &what);
            }
        }
    }
}

impl Truth {
    fn newest(&self) -> Revision {
        self.changes.last().map_or(Revision(0), |change| change.revision)
    }

    fn objection(&self, view: &View<'_>, event: &Event) -> Option<String> {
        match event {
            Event::ReplicaAt { incarnation, epoch, revision, checksum, .. } if *revision > Revision(0) => {
                let before = self.reached.get(&(*incarnation, *epoch)).copied().unwrap_or_default();
                if *revision < before {
                    return Some(format!("the replica goes back from {before} to {revision}"));
                }
                match self.expected.get(&(*epoch, *revision)) {
                    None => Some(format!("a replica is at revision {revision}, which nobody wrote")),
                    Some(right) if right != checksum => Some(format!(
                        "at revision {revision} the replica is {checksum:?}, the map is {right:?}"
                    )),
                    Some(_) => None,
                }
            }
            Event::AuditedMap { revision, checksum } => {
                let right = self.expected.get(&(self.epoch, *revision)).copied();
                let is_right =
                    *revision == self.newest() && (*revision == Revision(0) || right == Some(*checksum));
                (!is_right).then(|| format!("the audit reads revision {revision}, not {}", self.newest()))
            }
            Event::KnowledgeAcknowledged { client, ask, revision } => {
                let (topic, key, value) = self.asked.get(&(*client, *ask))?;
                // It may have been said by an earlier life, and be heard only now.
                let mut ever = self.ever.iter().filter(|change| change.revision == *revision);
                let is_it =
                    |change: &Change| change.topic == *topic && change.key == *key && change.value == *value;
                (!ever.any(is_it)).then(|| format!("revision {revision} is not what was asked for"))
            }
            Event::LeaseGiven { incarnation, lease, .. } => {
                let needed = view.tasks.get(&lease.task)?.spec?.options.knowledge?;
                let has = self.reached.get(&(*incarnation, self.epoch)).copied().unwrap_or_default();
                (has < needed).then(|| {
                    format!("task {} needs revision {needed}, worker {incarnation} has {has}", lease.task)
                })
            }
            _ => None,
        }
    }

    fn note(&mut self, event: &Event) {
        match event {
            Event::BrokerUp { epoch, recovered, .. } => self.begin(*epoch, *recovered),
            Event::Appended { lsn, fact: Fact::Knowledge { revision, topic, key, value }, .. } => {
                let (topic, key) = (topic.clone(), key.clone());
                let change = Change { lsn: *lsn, revision: *revision, topic, key, value: *value };
                self.ever.push(change.clone());
                self.apply(change);
            }
            Event::WorkerUp { incarnation, .. } => {
                self.alive.insert(*incarnation);
            }
            Event::WorkerKilled { incarnation, .. } | Event::WorkerLeft { incarnation, .. } => {
                self.alive.remove(incarnation);
            }
            Event::ReplicaAt { incarnation, epoch, revision, .. } => {
                self.replicas.insert(*incarnation, (*epoch, *revision));
                let reached = self.reached.entry((*incarnation, *epoch)).or_default();
                *reached = (*reached).max(*revision);
            }
            Event::KnowledgeAsked { client, ask, topic, key, value, .. } => {
                self.asked.insert((*client, *ask), (topic.clone(), key.clone(), *value));
            }
            Event::AuditedMap { .. } => self.audited = true,
            _ => {}
        }
    }

    /// A new life begins with the changes that were kept.
    fn begin(&mut self, epoch: Epoch, recovered: u64) {
        self.epoch = epoch;
        self.map.clear();
        for change in std::mem::take(&mut self.changes).into_iter().filter(|change| change.lsn <= recovered) {
            self.apply(change);
        }
    }

    fn apply(&mut self, change: Change) {
        let place = (change.topic.clone(), change.key.clone());
        match change.value {
            Some(value) => self.map.insert(place, (change.revision, value)),
            None => self.map.remove(&place),
        };
        let entries = self
            .map
            .iter()
            .map(|((topic, key), (revision, value))| (topic.as_str(), key.as_str(), *revision, *value));
        self.expected.insert((self.epoch, change.revision), map_checksum(entries));
        self.changes.push(change);
    }
}

#[cfg(test)]
mod tests {
    use ganger_common::{Epoch, Revision};

    use crate::oracle::script::*;
    use crate::sim::Event;
    use crate::sim::log::{Digest, Fact, WorkerNo, map_checksum};

    fn put(script: &mut Script, revision: u64, key: &str, value: u32) {
        let (topic, key, value) = ("topic".to_owned(), key.to_owned(), Some(Digest(value)));
        script.append(Fact::Knowledge { revision: Revision(revision), topic, key, value }).sync();
    }

    fn map(entries: &[(&'static str, u64, u32)]) -> Digest {
        map_checksum(entries.iter().map(|(key, at, value)| ("topic", *key, Revision(*at), Digest(*value))))
    }

    fn replica(script: &mut Script, revision: u64, checksum: Digest) {
        let (worker, incarnation, epoch) = (WorkerNo(1), incarnation(1), Epoch(script.life().0.into()));
        script.push(Event::ReplicaAt { worker, incarnation, epoch, revision: Revision(revision), checksum });
    }

    fn two_changes() -> Script {
        let mut script = Script::journal();
        script.worker(1, 1);
        put(&mut script, 1, "a", 10);
        put(&mut script, 2, "b", 20);
        script
    }

    #[test]
    fn a_replica_that_follows_passes() {
        let mut script = two_changes();
        replica(&mut script, 1, map(&[("a", 1, 10)]));
        replica(&mut script, 2, map(&[("a", 1, 10), ("b", 2, 20)]));
        script.quiet();
        script.passes(super::check);
    }

    #[test]
    fn a_gap_that_nobody_saw_is_found() {
        let mut script = two_changes();
        replica(&mut script, 2, map(&[("b", 2, 20)]));
        script.fails(super::check, "I16", "the map is");
    }

    #[test]
    fn a_revision_does_not_go_back() {
        let mut script = two_changes();
        replica(&mut script, 2, map(&[("a", 1, 10), ("b", 2, 20)]));
        replica(&mut script, 1, map(&[("a", 1, 10)]));
        script.fails(super::check, "I16", "goes back");
    }

    #[test]
    fn a_revision_that_a_restart_lost_was_never_there() {
        let mut script = two_changes();
        script.lose_and_restart();
        replica(&mut script, 3, Digest(1));
        script.fails(super::check, "I16", "nobody wrote");
    }

    #[test]
    fn everybody_has_the_newest_at_the_end() {
        let mut script = two_changes();
        replica(&mut script, 1, map(&[("a", 1, 10)]));
        script.quiet();
        script.fails(super::check, "I16", "worker");
    }

    #[test]
    fn the_audit_reads_the_whole_map() {
        let mut script = two_changes();
        script.push(Event::AuditedMap { revision: Revision(1), checksum: map(&[("a", 1, 10)]) });
        script.fails(super::check, "I16", "the audit reads");
    }

    #[test]
    fn an_acknowledged_change_is_the_one_that_was_asked_for() {
        let mut script = two_changes();
        script.push(Event::KnowledgeAsked {
            client: CLIENT,
            ask: 1,
            topic: "topic".into(),
            key: "b".into(),
            value: Some(Digest(77)),
            expect: None,
        });
        script.push(Event::KnowledgeAcknowledged { client: CLIENT, ask: 1, revision: Revision(2) });
        script.fails(super::check, "I16", "asked for");
    }

    #[test]
    fn a_task_waits_for_a_worker_that_knows_enough() {
        let mut script = two_changes();
        replica(&mut script, 1, map(&[("a", 1, 10)]));
        script.options(|options| options.knowledge = Some(Revision(2))).submit(1).accept(1).give(1, 1, 1);
        script.fails(super::check, "I16", "needs revision");
    }
}
