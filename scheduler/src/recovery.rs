//! From a journal to a scheduler.

use std::fmt;
use std::time::Duration;

use ganger_common::message::Durability;
use ganger_common::{Epoch, TaskId};

use crate::apply::moment;
use crate::arena::TaskKey;
use crate::config::Config;
use crate::counters::Counters;
use crate::record::{Lsn, Record};
use crate::scheduler::Scheduler;
use crate::task::{State, Task};
use crate::time::Now;
use crate::timers::Timer;

/// Reads a journal, record by record.
#[derive(Debug)]
pub struct Recovery {
    scheduler: Scheduler,
    last: Option<Lsn>,
    beginning: Beginning,
}

/// What is known of a new life only when it begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Birth {
    /// Its number at the least.
    pub epoch: Epoch,
    /// The port that peers are told to subscribe at.
    pub knowledge_port: u16,
}

/// Where the reading began.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Beginning {
    /// Nothing was read.
    Nowhere,
    /// With the first record of all.
    First,
    /// After it, and nothing was found yet that the state could be built on.
    Later(Lsn),
    /// With the state being carried; whether all of it was found.
    Carried { from: Lsn, is_whole: bool },
}

/// Why records do not lead to a state. Reading them again does not help: something of the journal is
/// missing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RecoveryError {
    /// Records are missing in the middle.
    Gap {
        /// The last record before.
        last: Lsn,
        /// What came.
        found: Lsn,
    },
    /// Records are missing at the beginning.
    NoBeginning {
        /// The first record.
        first: Lsn,
    },
    /// The beginning was let go, and what should stand for it is not all there.
    NotWhole {
        /// Where it began.
        from: Lsn,
    },
}

impl fmt::Display for RecoveryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gap { last: Lsn(last), found: Lsn(found) } => {
                write!(f, "record {found} follows record {last}: what was between them is missing")
            }
            Self::NoBeginning { first: Lsn(first) } => {
                write!(f, "the journal begins at record {first}, and nothing in it says what was before")
            }
            Self::NotWhole { from: Lsn(from) } => {
                write!(
                    f,
                    "the state that was carried from record {from} on is not complete: its end is missing"
                )
            }
        }
    }
}

impl std::error::Error for RecoveryError {}

/// What is noted while a journal is read whose records are not in the order of the state: outcomes that
/// were let go, by number, and may be met again before they are dropped.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    pub(crate) settled: u64,
    pub(crate) dead: u64,
    /// What was let go when the lists were last put in order.
    swept: u64,
}

/// Putting the kept outcomes in order costs as much as there are, so it is done once this part of them may
/// have gone.
const SWEEP_PART: u64 = 8;

impl Recovery {
    /// Begins to read. What the records say of the wall clock is set against `now`.
    pub fn new(config: Config, now: Now) -> Self {
        let mut scheduler = Scheduler::bare(Config { epoch: Epoch(0), ..config }, now);
        scheduler.reading = Some(Reading::default());
        Self { scheduler, last: None, beginning: Beginning::Nowhere }
    }

    /// Takes in the next record.
    ///
    /// # Errors
    /// When records are missing before it. Nothing is taken in then.
    pub fn apply(&mut self, lsn: Lsn, record: Record) -> Result<(), RecoveryError> {
        if let Some(last) = self.last
            && lsn.0 != last.0 + 1
        {
            return Err(RecoveryError::Gap { last, found: lsn });
        }
        self.last = Some(lsn);
        match (self.beginning, &record) {
            (Beginning::Nowhere, _) if lsn == Lsn(1) => self.beginning = Beginning::First,
            (Beginning::Nowhere | Beginning::Later(_), Record::CarryBegun(_)) => {
                self.beginning = Beginning::Carried { from: lsn, is_whole: false };
            }
            // A broker that ends while it carries the state leaves a part that nobody goes on with. When
            // what stood before that part was let go, it was for the sake of this one: begin here.
            (Beginning::Carried { is_whole: false, .. }, Record::CarryBegun(_)) => {
                self.begin_anew();
                self.beginning = Beginning::Carried { from: lsn, is_whole: false };
            }
            (Beginning::Nowhere, _) => self.beginning = Beginning::Later(lsn),
            (Beginning::Carried { from, .. }, Record::CarryEnded { from: ended }) if from == *ended => {
                self.beginning = Beginning::Carried { from, is_whole: true };
            }
            _ => {}
        }
        // What stands before the state begins to be carried was only not let go yet.
        if !matches!(self.beginning, Beginning::Later(_)) {
            self.scheduler.apply(record);
        }
        Ok(())
    }

    fn begin_anew(&mut self) {
        let (config, now) = (self.scheduler.config.clone(), self.scheduler.now);
        self.scheduler = Self::new(config, now).scheduler;
    }

    /// Whether what was read leads to a state from which nothing is missing.
    ///
    /// # Errors
    /// When it does not. An operator who accepts the loss may [`finish`](Self::finish) all the same.
    pub fn check(&self) -> Result<(), RecoveryError> {
        match self.beginning {
            Beginning::Later(first) => Err(RecoveryError::NoBeginning { first }),
            Beginning::Carried { from, is_whole: false } => Err(RecoveryError::NotWhole { from }),
            _ => Ok(()),
        }
    }

    /// A scheduler with the state that the records left behind.
    ///
    /// It begins a new life: leases of the last one are adopted when their workers come back with them,
    /// and until the re-attach window ends no recovered task is given to anybody else. The life is called
    /// `birth.epoch`, or one more than the last one, whichever is higher.
    pub fn finish(self, now: Now, birth: Birth) -> Scheduler {
        let mut scheduler = self.scheduler;
        (scheduler.now, scheduler.started) = (now, now);
        scheduler.config.knowledge_port = birth.knowledge_port;
        scheduler.finish_reading();
        scheduler.recovered = self.last.is_some();
        // Leases of this life must differ from those of every life before, whatever the caller says.
        let newest = scheduler.config.epoch;
        scheduler.config.epoch = birth.epoch.max(newest.next());
        #[cfg(feature = "planted")]
        if crate::planted::is(crate::planted::Bug::EpochReused) {
            scheduler.config.epoch = newest;
        }
        scheduler.out.resume(self.last.unwrap_or_default(), scheduler.knowledge.revision());
        scheduler.counters = Counters::default();
        scheduler.awaited = scheduler.holders.clone();
        scheduler.begin();
        scheduler.hold_recovered();
        scheduler.end_reattach_early();
        scheduler
    }
}

impl Scheduler {
    /// A scheduler with the state that these records left behind: [`Recovery`] for records that are at hand.
    ///
    /// # Errors
    /// When records are missing.
    pub fn recover<'a>(
        config: Config,
        now: Now,
        records: impl IntoIterator<Item = (Lsn, &'a Record)>,
    ) -> Result<Self, RecoveryError> {
        #[cfg(feature = "planted")]
        let records = crate::planted::cut(records.into_iter().collect());
        let birth = Birth { epoch: config.epoch, knowledge_port: config.knowledge_port };
        let mut recovery = Recovery::new(config, now);
        for (lsn, record) in records {
            recovery.apply(lsn, record.clone())?;
        }
        recovery.check()?;
        Ok(recovery.finish(now, birth))
    }

    /// Finds a task, unless it was let go and is only still here because a journal is being read.
    pub(crate) fn find_remembered(&mut self, id: TaskId) -> Option<TaskKey> {
        let key = self.arena.find(id)?;
        let Some(reading) = &self.reading else { return Some(key) };
        let task = &self.arena[key];
        let is_dead = task.outcome().map(Task::is_retryable_outcome);
        match is_dead {
            Some(true) if task.seq <= reading.dead => self.retention.exhume(&mut self.arena, key),
            Some(false) if task.seq <= reading.settled => self.retention.take_kept(&mut self.arena, key),
            _ => return Some(key),
        }
        self.arena.remove(key);
        None
    }

    /// Puts the lists of outcomes in order when many of them may have been let go.
    pub(crate) fn sweep(&mut self) {
        let Some(reading) = &mut self.reading else { return };
        let len = (self.retention.kept_len() + self.retention.dead_len()) as u64;
        let upto = reading.settled.max(reading.dead);
        if upto - reading.swept >= len / SWEEP_PART {
            reading.swept = upto;
            self.retention.sort(&mut self.arena);
        }
    }

    fn finish_reading(&mut self) {
        let Some(reading) = self.reading.take() else { return };
        self.retention.sort(&mut self.arena);
        self.let_go(reading.settled, reading.dead);
        let now = self.now;
        self.retention.age_all(&self.arena, |task| match task.state {
            State::Settled { at, .. } => moment(now, at, Duration::ZERO),
            _ => now.time,
        });
        self.timers.set(&mut self.slots.retention, Timer::Retention, None);
        self.arm_retention();
    }

    /// After recovery: nothing that could be running is given out, or expires, before its last worker had
    /// its chance. What is not due yet cannot be running.
    fn hold_recovered(&mut self) {
        let Some(until) = self.slots.reattach else { return };
        for slot in 0..self.arena.slots() {
            let Some(key) = self.arena.at(slot) else { continue };
            if let State::Delayed { due, .. } = self.arena[key].state
                && due <= self.now.time
            {
                self.detach(key);
                self.queues.push(&mut self.arena, key, false);
            }
            match self.arena[key].state {
                State::Ready => {}
                State::Gated { .. } => {
                    self.detach(key);
                    self.hold(key, until);
                }
                _ => continue,
            }
            if let Some(extra) = &mut self.arena[key].extra
                && let Some(expires) = extra.expires
            {
                self.timers.set(&mut extra.expires, Timer::TaskExpires(key), Some(expires.max(until)));
            }
        }
        self.queues.hold(&mut self.arena, self.next_seq);
    }

    /// Everybody who may have had leases of the last life is back and has said what became of them: there
    /// is nothing left to wait for.
    pub(crate) fn end_reattach_early(&mut self) {
        let is_over = self.config.durability == Durability::Journal
            && self.recovered
            && self.awaited.is_empty()
            && self.orphans.is_empty();
        if is_over && self.slots.reattach.is_some() {
            self.timers.set(&mut self.slots.reattach, Timer::ReattachEnds, None);
            self.end_reattach();
        }
    }
}
