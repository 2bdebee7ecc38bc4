//! What the journal says, read by somebody who is not the scheduler.

use std::collections::{BTreeMap, BTreeSet};

use ganger_common::{Outcome, TaskId};
use ganger_scheduler::{Lsn, Record};

/// Follows the safe part of the journal.
#[derive(Default)]
pub(super) struct Oracle {
    read: usize,
    pub(super) accepted: BTreeSet<TaskId>,
    pub(super) settled: BTreeMap<TaskId, Outcome>,
    pub(super) paused: BTreeSet<String>,
    /// Outcomes in the order of settling with their numbers, by where they are kept.
    kept: Vec<(u64, TaskId)>,
    dead: Vec<(u64, TaskId)>,
    /// Every entry about a task takes a number.
    number: u64,
}

impl Oracle {
    /// Reads on to where the journal is safe.
    pub(super) fn read(&mut self, journal: &[(Lsn, Record)], safe: usize) {
        for (_, record) in &journal[self.read..safe] {
            self.note(record);
        }
        self.read = safe;
    }

    fn note(&mut self, record: &Record) {
        match record {
            Record::Started { .. }
            | Record::Knowledge(_)
            | Record::WorkerJoined { .. }
            | Record::WorkerLeft { .. }
            | Record::CarryBegun(_)
            | Record::CarriedTasks(_)
            | Record::CarriedTopic(_)
            | Record::CarriedHistory(_)
            | Record::CarryEnded { .. } => {}
            Record::Accepted { tasks, .. } => {
                for task in tasks {
                    self.number += 1;
                    self.accepted.insert(task.id);
                }
            }
            Record::AttemptEnded(ended) => {
                assert!(self.accepted.contains(&ended.task), "I2: {} was accepted", ended.task);
                assert!(!self.settled.contains_key(&ended.task), "I7: {} was settled", ended.task);
            }
            Record::Settled { tasks, .. } => {
                for item in tasks {
                    self.number += 1;
                    assert!(self.accepted.contains(&item.task), "I2: {} was accepted", item.task);
                    let before = self.settled.insert(item.task, item.outcome);
                    assert_eq!(before, None, "I5: {} settles once", item.task);
                    match item.outcome {
                        Outcome::Failed | Outcome::Dead => self.dead.push((self.number, item.task)),
                        _ => self.kept.push((self.number, item.task)),
                    }
                }
            }
            Record::Retried { tasks, .. } => {
                for task in tasks {
                    self.number += 1;
                    if self.settled.remove(task).is_some() {
                        self.dead.retain(|(_, dead)| dead != task);
                    }
                }
            }
            Record::Discarded { tasks } => {
                for task in tasks {
                    let outcome = self.settled.remove(task);
                    assert!(matches!(outcome, Some(Outcome::Failed | Outcome::Dead)), "{task} {outcome:?}");
                    self.dead.retain(|(_, dead)| dead != task);
                    self.accepted.remove(task);
                }
            }
            Record::KindPaused { kind } => assert!(self.paused.insert(kind.to_string()), "paused twice"),
            Record::KindResumed { kind } => assert!(self.paused.remove(&**kind), "it was paused"),
            Record::Forgotten { settled, dead } => {
                let kept = self.kept.extract_if(.., |(number, _)| *number <= *settled);
                let gone: Vec<_> =
                    kept.chain(self.dead.extract_if(.., |(number, _)| *number <= *dead)).collect();
                for (_, task) in gone {
                    self.accepted.remove(&task);
                    self.settled.remove(&task);
                }
            }
        }
    }
}
