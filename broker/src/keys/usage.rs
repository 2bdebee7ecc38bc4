//! What each principal has with the broker. Only those with a quota are counted.

use std::collections::HashMap;

use ganger_common::{Account, TaskId};
use ganger_scheduler::Record;
use ganger_scheduler::Time;
use ganger_scheduler::input::NewTask;
use ganger_transport::door::PublicKey;

use super::rights::Quota;

/// What one principal has.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Has {
    tasks: usize,
    bytes: usize,
    /// How many more it may hand in now, and as of when.
    /// Absent: as many as there may be at once.
    tokens: Option<f64>,
    at: Time,
}

/// What all have.
#[derive(Debug, Default)]
pub(super) struct Usage {
    of: HashMap<PublicKey, Has>,
    /// Handed in, and neither taken nor refused by the scheduler yet.
    asked: HashMap<TaskId, (PublicKey, usize)>,
    /// Taken, and without an outcome.
    held: HashMap<TaskId, (PublicKey, usize)>,
}

impl Usage {
    /// Whether one more task fits the quota of its principal. Returns whether it is counted as long as it has
    /// no outcome.
    pub(super) fn ask(
        &mut self,
        key: PublicKey,
        quota: &Quota,
        task: &NewTask,
        now: Time,
    ) -> Result<bool, &'static str> {
        // The same task again takes no more room.
        if self.held.contains_key(&task.id) || self.asked.contains_key(&task.id) {
            return Ok(true);
        }
        let has = self.of.entry(key).or_default();
        let bytes = task.payload.len();
        if quota.tasks.is_some_and(|most| has.tasks >= most) {
            return Err("the quota of queued tasks of this key is used up");
        }
        // A single task larger than all of the quota would wait for ever; it fits when there is nothing else.
        if quota.bytes.is_some_and(|most| has.bytes > 0 && has.bytes.saturating_add(bytes) > most) {
            return Err("the quota of queued bytes of this key is used up");
        }
        if let Some(rate) = quota.rate.map(f64::from) {
            let passed = now.since(has.at).as_secs_f64();
            let tokens = has.tokens.map_or(rate, |tokens| (tokens + passed * rate).min(rate));
            (has.tokens, has.at) = (Some(tokens), now);
            if tokens < 1.0 {
                return Err("the quota of submissions a second of this key is used up");
            }
            has.tokens = Some(tokens - 1.0);
        }
        let is_counted = quota.tasks.is_some() || quota.bytes.is_some();
        if is_counted {
            has.tasks += 1;
            has.bytes += bytes;
            self.asked.insert(task.id, (key, bytes));
        }
        Ok(is_counted)
    }

    /// Counts a task that somebody has with the broker already: from its last life, or because what had an
    /// outcome is tried once more.
    pub(super) fn take(&mut self, task: TaskId, account: Account, bytes: usize) {
        let key = PublicKey::from_bytes(account.0);
        if self.held.insert(task, (key, bytes)).is_none() {
            let has = self.of.entry(key).or_default();
            has.tasks += 1;
            has.bytes += bytes;
        }
    }

    /// Follows what the scheduler decided.
    pub(super) fn on_record(&mut self, record: &Record) {
        match record {
            Record::Accepted { tasks, .. } if !self.asked.is_empty() => {
                for task in tasks {
                    if let Some(of) = self.asked.remove(&task.id) {
                        self.held.insert(task.id, of);
                    }
                }
            }
            Record::Settled { tasks, .. } if !self.held.is_empty() => {
                for settlement in tasks {
                    if let Some(of) = self.held.remove(&settlement.task) {
                        self.give_back(of);
                    }
                }
            }
            _ => {}
        }
    }

    /// Everything that was handed in has been decided: what was not taken counts no more.
    pub(super) fn decided(&mut self) {
        if !self.asked.is_empty() {
            let refused: Vec<_> = self.asked.drain().map(|(_, of)| of).collect();
            refused.into_iter().for_each(|of| self.give_back(of));
        }
    }

    fn give_back(&mut self, (key, bytes): (PublicKey, usize)) {
        if let Some(has) = self.of.get_mut(&key) {
            has.tasks -= 1;
            has.bytes -= bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use ganger_common::Outcome;
    use ganger_scheduler::Wall;
    use ganger_scheduler::record::{Cause, Settlement};
    use ganger_transport::door::SecretKey;
    use uuid::Uuid;

    use super::*;

    fn task(bytes: usize) -> NewTask {
        let payload = Bytes::from(vec![0; bytes]);
        NewTask { id: TaskId(Uuid::now_v7()), kind: "k".into(), payload: payload.into(), options: None }
    }

    fn accepted(tasks: &[&NewTask]) -> Record {
        Record::Accepted {
            at: Wall::default(),
            client: None,
            tasks: tasks.iter().map(|task| (*task).clone()).collect(),
        }
    }

    fn settled(task: &NewTask) -> Record {
        let settlement = Settlement {
            task: task.id,
            outcome: Outcome::Succeeded,
            attempt: ganger_common::Attempt(1),
            worker: None,
            cause: Cause::Result,
            result: Bytes::new().into(),
            ended: None,
        };
        Record::Settled { at: Wall::default(), tasks: vec![settlement] }
    }

    #[test]
    fn a_quota_of_tasks_is_given_back_by_outcomes_and_refusals() {
        let (mut usage, key) = (Usage::default(), SecretKey::generate().public());
        let quota = Quota { tasks: Some(2), ..Quota::default() };
        let tasks = [task(1), task(1), task(1)];
        let now = Time::default();
        assert!(
            usage.ask(key, &quota, &tasks[0], now).is_ok() && usage.ask(key, &quota, &tasks[1], now).is_ok()
        );
        assert!(usage.ask(key, &quota, &tasks[2], now).is_err());
        assert!(usage.ask(key, &quota, &tasks[0], now).is_ok(), "the same again");
        // The scheduler took one of the two.
        usage.on_record(&accepted(&[&tasks[0]]));
        usage.decided();
        assert!(
            usage.ask(key, &quota, &tasks[2], now).is_ok() && usage.ask(key, &quota, &tasks[1], now).is_err()
        );
        usage.on_record(&accepted(&[&tasks[2]]));
        usage.decided();
        usage.on_record(&settled(&tasks[0]));
        assert!(usage.ask(key, &quota, &tasks[1], now).is_ok());
        let other = SecretKey::generate().public();
        assert!(usage.ask(other, &quota, &task(1), now).is_ok(), "everybody has their own");
    }

    #[test]
    fn what_somebody_has_already_counts_until_it_has_an_outcome() {
        let (mut usage, key) = (Usage::default(), SecretKey::generate().public());
        let quota = Quota { tasks: Some(2), ..Quota::default() };
        let (old, new, now) = (task(1), task(1), Time::default());
        usage.take(old.id, Account(*key.as_bytes()), 1);
        usage.take(old.id, Account(*key.as_bytes()), 1);
        assert_eq!(usage.ask(key, &quota, &old, now), Ok(true), "the same again");
        assert_eq!(usage.ask(key, &quota, &new, now), Ok(true));
        assert!(usage.ask(key, &quota, &task(1), now).is_err());
        usage.on_record(&settled(&old));
        assert_eq!(usage.ask(key, &quota, &task(1), now), Ok(true));
    }

    #[test]
    fn bytes_and_rate_are_held_to() {
        let (mut usage, key) = (Usage::default(), SecretKey::generate().public());
        let quota = Quota { bytes: Some(100), ..Quota::default() };
        let now = Time::default();
        assert!(usage.ask(key, &quota, &task(1_000), now).is_ok(), "a large one fits alone");
        assert!(usage.ask(key, &quota, &task(1), now).is_err());
        let (key, quota) = (SecretKey::generate().public(), Quota { rate: Some(2), ..Quota::default() });
        let mut ask = |at| usage.ask(key, &quota, &task(0), now.plus(Duration::from_millis(at))).is_ok();
        assert_eq!(
            [ask(0), ask(0), ask(0), ask(499), ask(500), ask(501)],
            [true, true, false, false, true, false]
        );
    }
}
