//! The log, sorted by what the checks ask about: tasks, lives of the broker.

use std::collections::{BTreeMap, VecDeque};

use ganger_common::message::Durability;
use ganger_common::{Epoch, Outcome, TaskId, TaskOptions};

use super::Violation;
use crate::sim::log::{At, Digest, Entry, Fact, Promise};
use crate::sim::{Event, Facts, Log};

/// No check reports more than this of one run: the first violation explains the others.
const REPORTED_MAX: usize = 5;
/// A violation quotes at most so many lines of the log.
const QUOTED_MAX: usize = 24;

/// One run, sorted.
pub(super) struct View<'a> {
    pub(super) entries: Vec<&'a Entry>,
    pub(super) facts: &'a Facts,
    pub(super) tasks: BTreeMap<TaskId, Story<'a>>,
    pub(super) lives: Vec<LifeSpan>,
    /// Which tasks were let go, where.
    forgotten: BTreeMap<TaskId, Vec<usize>>,
    /// Where the faults ended, if they did.
    pub(super) faults_ended: Option<usize>,
    /// The last line of a run that ended well.
    pub(super) quiet: Option<usize>,
}

/// Everything that the log says of one task.
#[derive(Default)]
pub(super) struct Story<'a> {
    /// The places of the entries, oldest first.
    pub(super) lines: Vec<usize>,
    /// What was handed in under this id, and where it was first.
    pub(super) spec: Option<Spec<'a>>,
}

/// What a task is.
#[derive(Clone, Copy)]
pub(super) struct Spec<'a> {
    pub(super) line: usize,
    pub(super) kind: u8,
    pub(super) payload: Digest,
    pub(super) options: &'a TaskOptions,
}

/// One process of the broker.
#[derive(Clone, Copy, Debug)]
pub(super) struct LifeSpan {
    pub(super) life: crate::sim::log::Life,
    pub(super) epoch: Epoch,
    pub(super) up: usize,
    /// Where it ended, if it did.
    pub(super) down: Option<usize>,
    /// The last record that it began with.
    pub(super) recovered: u64,
}

impl<'a> View<'a> {
    pub(super) fn of(log: &'a Log, facts: &'a Facts) -> Self {
        let mut view = Self {
            entries: in_order(log),
            facts,
            tasks: BTreeMap::new(),
            lives: Vec::new(),
            forgotten: BTreeMap::new(),
            faults_ended: None,
            quiet: None,
        };
        for line in 0..view.entries.len() {
            let entry: &'a Entry = view.entries[line];
            view.sort_in(line, &entry.event);
        }
        view.forgotten = forgotten(&view.entries);
        view
    }

    fn sort_in(&mut self, line: usize, event: &'a Event) {
        if let Some(task) = task_of(event) {
            let story = self.tasks.entry(task).or_default();
            story.lines.push(line);
            if let (None, Event::Submitted { kind, payload, options, .. }) = (story.spec, event) {
                story.spec = Some(Spec { line, kind: *kind, payload: *payload, options });
            }
        }
        match event {
            Event::BrokerUp { life, epoch, recovered, .. } => {
                let (life, epoch, recovered) = (*life, *epoch, *recovered);
                self.lives.push(LifeSpan { life, epoch, up: line, down: None, recovered });
            }
            Event::BrokerKilled { .. } | Event::BrokerEnded { .. } => {
                if let Some(last) = self.lives.last_mut() {
                    last.down = Some(line);
                }
            }
            Event::FaultsEnded => self.faults_ended = Some(line),
            Event::Quiet => self.quiet = Some(line),
            _ => {}
        }
    }

    /// The broker's process at a place of the log: the one that began last.
    pub(super) fn life_at(&self, line: usize) -> Option<&LifeSpan> {
        let after = self.lives.partition_point(|life| life.up <= line);
        self.lives[..after].last()
    }

    /// The tasks with their entries.
    pub(super) fn stories(&self) -> impl Iterator<Item = (TaskId, &Story<'a>)> {
        self.tasks.iter().map(|(task, story)| (*task, story))
    }

    /// The entries of one task, with their places.
    pub(super) fn lines<'v>(&'v self, story: &'v Story<'a>) -> impl Iterator<Item = (usize, &'a Event)> + 'v {
        story.lines.iter().map(|line| {
            let entry: &'a Entry = self.entries[*line];
            (*line, &entry.event)
        })
    }

    pub(super) fn at(&self, line: usize) -> At {
        self.entries[line].at
    }

    /// Whether the broker let a task go between two places of the log.
    pub(super) fn is_forgotten(&self, task: TaskId, between: std::ops::Range<usize>) -> bool {
        self.forgotten.get(&task).is_some_and(|places| places.iter().any(|place| between.contains(place)))
    }

    /// Whether somebody had a task let go before a place of the log.
    pub(super) fn was_discarded(&self, story: &Story<'_>, before: usize) -> bool {
        let is_it = |event: &Event| matches!(event, Event::Appended { fact: Fact::Discarded(_), .. });
        story.lines.iter().take_while(|line| **line < before).any(|line| is_it(&self.entries[*line].event))
    }

    /// Whether the last thing that the journal has of a task is that somebody had it let go.
    pub(super) fn ends_discarded(&self, story: &Story<'a>) -> bool {
        let mut gone = Kept::default();
        for step in self.steps(story) {
            match step {
                Step::Life(life) => gone.recover(life.recovered),
                Step::Line(_, Event::Appended { lsn, fact: Fact::Accepted(..), .. }) => gone.end(*lsn),
                Step::Line(_, Event::Appended { lsn, fact: Fact::Discarded(_), .. }) => gone.add(*lsn, ()),
                Step::Forgotten | Step::Line(..) => {}
            }
        }
        !gone.is_empty()
    }

    /// When the log ends.
    pub(super) fn end(&self) -> At {
        self.entries.last().map_or(At(0), |entry| entry.at)
    }

    /// Reports that a task breaks a rule at a place of the log, with what the log says of the task up to
    /// there.
    pub(super) fn report(
        &self,
        found: &mut Vec<Violation>,
        invariant: &'static str,
        task: TaskId,
        line: usize,
        what: &str,
    ) {
        let lines = self.tasks.get(&task).map_or(&[][..], |story| &story.lines);
        let until = lines.partition_point(|place| *place <= line);
        let text = format!("task {task}: {what}{}", self.quote(&lines[..until], line));
        self.push(found, Violation { invariant, at: self.at(line), text });
    }

    /// Reports something that is not about one task.
    pub(super) fn report_line(
        &self,
        found: &mut Vec<Violation>,
        invariant: &'static str,
        line: usize,
        what: &str,
    ) {
        let text = format!("{what}{}", self.quote(&[], line));
        self.push(found, Violation { invariant, at: self.at(line), text });
    }

    /// Reports something that the end of the log shows.
    pub(super) fn report_end(&self, found: &mut Vec<Violation>, invariant: &'static str, what: &str) {
        self.push(found, Violation { invariant, at: self.end(), text: what.to_owned() });
    }

    fn push(&self, found: &mut Vec<Violation>, violation: Violation) {
        let same = found.iter().filter(|other| other.invariant == violation.invariant).count();
        if same < REPORTED_MAX {
            found.push(violation);
        }
    }

    fn quote(&self, lines: &[usize], last: usize) -> String {
        let skipped = lines.len().saturating_sub(QUOTED_MAX);
        let mut text = match skipped {
            0 => String::new(),
            count => format!("\n    … {count} lines before"),
        };
        let last = (lines.last() != Some(&last)).then_some(last);
        for line in lines[skipped..].iter().copied().chain(last) {
            if let Some(entry) = self.entries.get(line) {
                text += &format!("\n    {line}: {entry}");
            }
        }
        text
    }
}

/// The entries in the order in which the scheduler decided. What leaves in one turn of the broker is sent
/// before the records of that turn are written, all at one moment; but each lease follows from the records.
fn in_order(log: &Log) -> Vec<&Entry> {
    let mut entries = Vec::with_capacity(log.len());
    for moment in log.entries().chunk_by(|one, other| one.at == other.at) {
        let is_lease = |entry: &&Entry| matches!(entry.event, Event::LeaseGiven { .. });
        let last_record = moment.iter().rposition(|entry| matches!(entry.event, Event::Appended { .. }));
        let (turn, rest) = moment.split_at(last_record.map_or(0, |last| last + 1));
        entries.extend(turn.iter().filter(|entry| !is_lease(entry)));
        entries.extend(turn.iter().filter(is_lease));
        entries.extend(rest);
    }
    entries
}

/// The task that an entry is about, if it is about one.
fn task_of(event: &Event) -> Option<TaskId> {
    match event {
        Event::Submitted { task, .. }
        | Event::Acknowledged { task, .. }
        | Event::Refused { task, .. }
        | Event::Unknown { task, .. }
        | Event::OutcomeHeard { task, .. }
        | Event::WaitFailed { task, .. }
        | Event::WaitAbandoned { task, .. }
        | Event::WatchAsked { task, .. }
        | Event::CancelAsked { task, .. }
        | Event::CancelAcknowledged { task, .. }
        | Event::CancelRefused { task, .. }
        | Event::CancelUnknown { task, .. }
        | Event::RetryAsked { task, .. }
        | Event::RetryAcknowledged { task, .. }
        | Event::RetryRefused { task, .. }
        | Event::RetryUnknown { task, .. }
        | Event::Audited { task, .. } => Some(*task),
        Event::RunStarted { lease, .. }
        | Event::RunTold { lease, .. }
        | Event::RunEnded { lease, .. }
        | Event::LeaseGiven { lease, .. }
        | Event::LeaseBrought { lease, .. }
        | Event::StartReported { lease, .. }
        | Event::EndReported { lease, .. }
        | Event::EndStale { lease, .. }
        | Event::CancelSent { lease, .. } => Some(lease.task),
        Event::PromiseLeft { promise, .. } => match promise {
            Promise::Accepted(task) | Promise::Cancelled(task) | Promise::Retried(task) => Some(*task),
            Promise::Outcome { task, .. } | Promise::Discarded(task) => Some(*task),
            Promise::EndAcknowledged(lease) => Some(lease.task),
            Promise::KnowledgeWritten(_)
            | Promise::RevisionNamed(_)
            | Promise::KindPaused(_)
            | Promise::KindResumed(_) => None,
        },
        Event::Appended { fact, .. } => match fact {
            Fact::Accepted(task, _) | Fact::Retried(task) | Fact::Discarded(task) => Some(*task),
            Fact::AttemptEnded { task, .. } | Fact::Settled { task, .. } => Some(*task),
            Fact::Started
            | Fact::Forgotten(..)
            | Fact::KindPaused(_)
            | Fact::KindResumed(_)
            | Fact::Knowledge { .. }
            | Fact::Other => None,
        },
        _ => None,
    }
}

/// Follows which facts of one task the journal still has: a new life finds only what was kept.
pub(super) struct Kept<T> {
    /// Nothing before an absent one counts any more, unless that one is lost.
    facts: Vec<(u64, Option<T>)>,
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self { facts: Vec::new() }
    }
}

impl<T> Kept<T> {
    pub(super) fn add(&mut self, lsn: u64, fact: T) {
        self.facts.push((lsn, Some(fact)));
    }

    /// This record ends what those before it say.
    pub(super) fn end(&mut self, lsn: u64) {
        self.facts.push((lsn, None));
    }

    /// A new life has read back everything up to here.
    pub(super) fn recover(&mut self, recovered: u64) {
        self.facts.retain(|(lsn, _)| *lsn <= recovered);
    }

    /// The newest, with its record.
    pub(super) fn last(&self) -> Option<(u64, &T)> {
        self.facts.last().and_then(|(lsn, fact)| Some((*lsn, fact.as_ref()?)))
    }

    /// Those that count, the newest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.facts.iter().rev().map_while(|(_, fact)| fact.as_ref())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.last().is_none()
    }
}

/// Hands a story's entries out together with what the log says only of all tasks, in their order.
pub(super) enum Step<'a> {
    /// A new life of the broker began.
    Life(LifeSpan),
    /// The broker let the task go: the same id from now on is another task. What was decided before may
    /// still be told until the id is taken anew.
    Forgotten,
    /// An entry of the task.
    Line(usize, &'a Event),
}

impl<'a> View<'a> {
    pub(super) fn steps<'v>(&'v self, story: &'v Story<'a>) -> impl Iterator<Item = Step<'a>> + 'v {
        let mut lives = self.lives.iter().copied().peekable();
        let mut lines = story.lines.iter().copied().peekable();
        let task = lines.peek().and_then(|line| task_of(&self.entries[*line].event));
        let gone = task.and_then(|task| self.forgotten.get(&task)).map_or(&[][..], Vec::as_slice);
        let mut gone = gone.iter().copied().peekable();
        std::iter::from_fn(move || {
            let line = lines.peek().copied();
            let next = line.unwrap_or(usize::MAX);
            if let Some(life) = lives.next_if(|life| life.up < next.min(*gone.peek().unwrap_or(&usize::MAX)))
            {
                return Some(Step::Life(life));
            }
            if gone.next_if(|gone| *gone < next).is_some() {
                return Some(Step::Forgotten);
            }
            let line = lines.next()?;
            let entry: &'a Entry = self.entries[line];
            Some(Step::Line(line, &entry.event))
        })
    }
}

/// Which tasks were let go, where: the records only say up to which number of the outcomes.
fn forgotten(entries: &[&Entry]) -> BTreeMap<TaskId, Vec<usize>> {
    let mut retention = Retention::default();
    let mut gone: BTreeMap<TaskId, Vec<usize>> = BTreeMap::new();
    let mut records: Vec<(u64, &Fact)> = Vec::new();
    // What this life let go and has not taken anew, with the record and its place.
    let mut fresh: Vec<(TaskId, u64, usize)> = Vec::new();
    for (line, entry) in entries.iter().enumerate() {
        match &entry.event {
            Event::BrokerUp { recovered, durability, .. } => {
                for (task, lsn, place) in fresh.drain(..) {
                    // The disk has lost the record, and so it never happened.
                    if lsn > *recovered && *durability == Durability::Journal {
                        gone.entry(task).or_default().retain(|line| *line != place);
                    }
                }
                records.retain(|(lsn, _)| lsn <= recovered);
                retention = Retention::default();
                for (_, fact) in &records {
                    retention.note(fact);
                }
            }
            Event::Appended { lsn, fact, .. } => {
                records.push((*lsn, fact));
                if let Fact::Accepted(task, _) = fact {
                    fresh.retain(|(gone, ..)| gone != task);
                }
                for task in retention.note(fact) {
                    gone.entry(task).or_default().push(line);
                    fresh.push((task, *lsn, line));
                }
            }
            _ => {}
        }
    }
    gone
}

/// Settled tasks with their numbers, in the order in which they are let go.
#[derive(Default)]
struct Retention {
    kept: VecDeque<(u64, TaskId)>,
    dead: VecDeque<(u64, TaskId)>,
    /// The last number that was taken.
    number: u64,
}

impl Retention {
    /// Follows a record. Returns what it lets go.
    fn note(&mut self, fact: &Fact) -> Vec<TaskId> {
        self.number +=
            u64::from(matches!(fact, Fact::Accepted(..) | Fact::Settled { .. } | Fact::Retried(_)));
        match fact {
            Fact::Settled { task, outcome: Outcome::Failed | Outcome::Dead, .. } => {
                self.dead.push_back((self.number, *task));
            }
            Fact::Settled { task, .. } => self.kept.push_back((self.number, *task)),
            Fact::Retried(task) => self.dead.retain(|(_, dead)| dead != task),
            Fact::Discarded(task) => {
                self.dead.retain(|(_, dead)| dead != task);
                return vec![*task];
            }
            Fact::Forgotten(kept, dead) => {
                let kept = self.kept.partition_point(|(number, _)| number <= kept);
                let dead = self.dead.partition_point(|(number, _)| number <= dead);
                let gone = self.kept.drain(..kept).chain(self.dead.drain(..dead));
                return gone.map(|(_, task)| task).collect();
            }
            _ => {}
        }
        Vec::new()
    }
}
