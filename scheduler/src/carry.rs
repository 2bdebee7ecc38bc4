//! How the state is written down once more, so that the beginning of the journal can go.
//!
//! A snapshot that is taken at one moment stops everything for as long as it takes. Here the state is
//! carried instead: a few entries at a turn are appended as they are just then, between all the other
//! records. Whoever reads the journal from [`CarryBegun`](Record::CarryBegun) on meets each task that was
//! alive then either as a carried one, or as one that was accepted since. Records about a task that has not
//! been met yet change nothing: what they did shows in the carried task that comes later, or the task is
//! gone. So the reader knows of each task that it has met exactly what the scheduler knew at that point.

use ganger_common::{Attempt, Revision};

use crate::apply::Billed;
use crate::arena::TaskKey;
use crate::data::Data;
use crate::effect::Effect;
use crate::input::NewTask;
use crate::knowledge::MapCursor;
use crate::record::{AttemptEnded, CarriedOutcome, CarriedTask, CarryHead, Lsn, Record};
use crate::scheduler::Scheduler;
use crate::task::{DelayReason, Extra, State, Task};
use crate::time::Time;
use crate::timers::Timer;

/// Payload, result and value bytes after which a part ends. With the entries that one record may hold it
/// keeps what a turn copies, and what the journal then writes, to a fraction of a millisecond.
const PART_BYTES: usize = 1 << 20;

/// Slots that are looked at in one turn: where most are free, there is little to copy and much to skip.
const PART_SLOTS: usize = 16_384;

/// A state that is being carried.
#[derive(Debug)]
pub(crate) struct Carry {
    /// The record with which it began.
    from: Lsn,
    /// The last record of the last part. The next part waits for it: the store sets the pace.
    part: Lsn,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// Slots from here up to where they ended at the beginning. What was put into a slot since is in the
    /// journal already, and carrying it does no harm.
    Tasks {
        next: usize,
        end: usize,
    },
    Topics(MapCursor),
    /// Changes from this revision back.
    History(Revision),
}

impl Scheduler {
    pub(crate) fn begin_carry(&mut self) {
        if self.carry.is_some() {
            return;
        }
        let from = self.append(Record::CarryBegun(self.carry_head()));
        let stage = Stage::Tasks { next: 0, end: self.arena.slots() };
        self.carry = Some(Carry { from, part: from, stage });
    }

    fn carry_head(&self) -> CarryHead {
        #[cfg(feature = "planted")]
        if crate::planted::is(crate::planted::Bug::PauseForgotten) {
            return CarryHead { paused: Vec::new(), ..self.whole_head() };
        }
        self.whole_head()
    }

    fn whole_head(&self) -> CarryHead {
        CarryHead {
            epoch: self.config.epoch,
            seq: self.next_seq,
            revision: self.knowledge.revision(),
            workers: self.holders.iter().copied().collect(),
            paused: self.queues.paused().cloned().collect(),
        }
    }

    /// Carries the next part, once the last one is safe.
    pub(crate) fn carry_on(&mut self) {
        if self.carry.as_ref().is_none_or(|carry| carry.part > self.out.safe()) {
            return;
        }
        let Some(Carry { from, mut stage, .. }) = self.carry.take() else { return };
        let before = self.out.appended();
        while let Some(next) = self.carry_part(stage) {
            stage = next;
            // Of what there is none of, nothing is appended, and nothing would lead to the next turn.
            if self.out.appended() > before {
                self.carry = Some(Carry { from, part: self.out.appended(), stage });
                return;
            }
        }
        self.append(Record::CarryEnded { from });
        self.out.promise(Effect::Carried { from });
    }

    /// Appends one part; returns where the next one begins, `None` when everything has been carried.
    fn carry_part(&mut self, stage: Stage) -> Option<Stage> {
        Some(match stage {
            Stage::Tasks { next, end } => match self.carry_tasks(next, end) {
                next if next < end => Stage::Tasks { next, end },
                _ => Stage::Topics(MapCursor::Start),
            },
            Stage::Topics(cursor) => match self.carry_topics(cursor) {
                Some(cursor) => Stage::Topics(cursor),
                None => Stage::History(self.knowledge.revision()),
            },
            Stage::History(from) => {
                let limit = self.config.carry_tasks_max;
                let changes = self.knowledge.carry_history(from, limit, PART_BYTES);
                let oldest = changes.last()?.revision;
                self.append(Record::CarriedHistory(changes));
                Stage::History(Revision(oldest.0 - 1))
            }
        })
    }

    fn carry_tasks(&mut self, from: usize, end: usize) -> usize {
        let mut tasks = Vec::new();
        let mut bytes = 0;
        let mut next = from;
        while next < end.min(from + PART_SLOTS)
            && tasks.len() < self.config.carry_tasks_max
            && bytes < PART_BYTES
        {
            if let Some(key) = self.arena.at(next) {
                let task = self.carried(key);
                bytes += self.arena[key].data.len() + told_bytes(&task.history);
                tasks.push(task);
            }
            next += 1;
        }
        self.append(Record::CarriedTasks(tasks));
        next
    }

    fn carry_topics(&mut self, mut cursor: MapCursor) -> Option<MapCursor> {
        let (mut left, mut bytes_left) = (self.config.carry_tasks_max, PART_BYTES);
        while left > 0 && bytes_left > 0 {
            let (topic, next) = self.knowledge.carry(&cursor, left, bytes_left)?;
            let bytes: usize = topic.entries.iter().map(|entry| entry.key.len() + entry.value.len()).sum();
            left = left.saturating_sub(topic.entries.len() + 1);
            bytes_left = bytes_left.saturating_sub(bytes);
            self.append(Record::CarriedTopic(topic));
            cursor = next;
        }
        Some(cursor)
    }

    /// The records by which all of the state would be carried at this moment, in one order whatever happened
    /// before: what a recovery has to bring back. Slow: for tests, tools and the simulator.
    pub fn remembered(&self) -> Vec<Record> {
        let mut tasks: Vec<CarriedTask> = self.arena.iter().map(|(key, _)| self.carried(key)).collect();
        tasks.sort_unstable_by_key(|task| task.seq);
        let mut records = vec![Record::CarryBegun(self.carry_head()), Record::CarriedTasks(tasks)];
        let mut cursor = MapCursor::Start;
        while let Some((topic, next)) = self.knowledge.carry(&cursor, usize::MAX, usize::MAX) {
            records.push(Record::CarriedTopic(topic));
            cursor = next;
        }
        let history = self.knowledge.carry_history(self.knowledge.revision(), usize::MAX, usize::MAX);
        records.push(Record::CarriedHistory(history));
        records
    }

    /// What the journal is to know of a task: not who has it, nor what only this life knows.
    fn carried(&self, key: TaskKey) -> CarriedTask {
        let task = &self.arena[key];
        let settled = match task.state {
            State::Settled { outcome, cause, at, worker } => {
                let result = match Task::is_retryable_outcome(outcome) {
                    true => Data::default(),
                    false => task.data.clone(),
                };
                Some(Box::new(CarriedOutcome { outcome, cause, at, worker, result }))
            }
            _ => None,
        };
        let has_payload = settled.as_ref().is_none_or(|settled| Task::is_retryable_outcome(settled.outcome));
        let extra = task.extra.as_deref();
        let options = extra.map(|extra| &extra.options).filter(|options| **options != Default::default());
        let history = extra.map(|extra| extra.history.clone()).unwrap_or_default();
        // Attempts that have not ended, or were handed back, were never written down; a lease of this life
        // that comes back in the next one must find a lower number than its own.
        let booked = history.last().map_or(Attempt(0), |ended| ended.attempt);
        CarriedTask {
            task: NewTask {
                id: task.id,
                kind: self.queues.kind(task.kind).name.clone(),
                payload: if has_payload { task.data.clone() } else { Data::default() },
                options: options.cloned().map(Box::new),
            },
            submitted: task.submitted,
            client: task.payer.and_then(|payer| self.payers.client(payer)),
            seq: task.seq,
            attempt: if settled.is_some() { task.attempt } else { booked },
            failures: extra.map_or(0, |extra| extra.failures),
            timeouts: extra.map_or(0, |extra| extra.timeouts),
            crashes: extra.map_or(0, |extra| extra.crashes),
            began: extra.is_some_and(|extra| extra.began),
            confirm: extra.is_some_and(|extra| extra.confirm),
            history,
            settled,
        }
    }

    /// Takes in a task that was carried. One that is known is known as it is here.
    pub(crate) fn apply_carried(&mut self, carried: CarriedTask) {
        if self.find_remembered(carried.task.id).is_some() {
            return;
        }
        let kind = self.queues.intern(&carried.task.kind);
        let CarriedTask { task: new, submitted, client, seq, attempt, .. } = carried;
        let options = new.options.map(|options| *options).unwrap_or_default();
        let (priority, delay, ttl) = (options.priority, options.delay_ms, options.ttl_ms);
        let has_extra = options != Default::default() || !carried.history.is_empty();
        let due = match carried.history.last() {
            Some(ended) => self.due_after(ended).map(|due| (due, DelayReason::Backoff)),
            None => self.asked_delay(submitted, delay),
        };
        let began = carried.began;
        let extra = has_extra.then(|| {
            Box::new(Extra {
                options,
                failures: carried.failures,
                timeouts: carried.timeouts,
                crashes: carried.crashes,
                began,
                confirm: carried.confirm,
                history: carried.history,
                ..Extra::default()
            })
        });
        let bytes = new.payload.len();
        let payer = match carried.settled {
            Some(_) => None,
            None => self.bill(&mut client.map(Billed::To), extra.as_deref().map(|it| &it.options), bytes),
        };
        let key = self.arena.insert(Task {
            id: new.id,
            kind,
            priority,
            attempt,
            links: Default::default(),
            seq,
            submitted,
            owner: None,
            payer,
            data: new.payload,
            extra,
            state: State::Ready,
        });
        if let Some(settled) = carried.settled {
            return self.install_settled(key, *settled);
        }
        self.unsettled += 1;
        self.payload_bytes += bytes;
        match due {
            Some((due, why)) => self.delay(key, due, why),
            None => self.queues.push(&mut self.arena, key, false),
        }
        if let Some(ttl) = ttl.filter(|_| !began) {
            let expires = self.time_after(submitted, std::time::Duration::from_millis(ttl));
            if let Some(extra) = &mut self.arena[key].extra {
                self.timers.set(&mut extra.expires, Timer::TaskExpires(key), Some(expires));
            }
        }
    }

    fn asked_delay(&self, submitted: crate::time::Wall, delay_ms: u64) -> Option<(Time, DelayReason)> {
        let due = self.time_after(submitted, std::time::Duration::from_millis(delay_ms));
        (delay_ms > 0 && due > self.now.time).then_some((due, DelayReason::Asked))
    }

    fn install_settled(&mut self, key: TaskKey, settled: CarriedOutcome) {
        let CarriedOutcome { outcome, cause, at, worker, result } = settled;
        let task = &mut self.arena[key];
        task.state = State::Settled { outcome, cause, at, worker };
        if Task::is_retryable_outcome(outcome) {
            self.retention.bury(&mut self.arena, key);
        } else {
            task.data = result;
            self.retention.keep(&mut self.arena, key, self.now.time);
        }
    }
}

/// What the texts of a history take: they are copied, and thirty of them may be longer than any payload.
fn told_bytes(history: &[AttemptEnded]) -> usize {
    let one = |ended: &AttemptEnded| ended.worker_name.len() + ended.error.as_ref().map_or(0, String::len);
    history.iter().map(one).sum()
}
