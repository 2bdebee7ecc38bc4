//! Order: what comes back goes to the front of its line, a higher priority goes first, and clients take turns.
//!
//! Checks of the tasks of one kind, that
//! - one that has never been given out is not given out while one of higher priority waits;
//! - nor, among those of one priority and one client, while one that lost its worker or was interrupted waits,
//!   or one that was accepted earlier;
//! - while a client waits, no other client is given a first lease more than once at the same priority.
//!
//! Whoever has waited longest must not be the one who waits again because a machine died, nor because somebody
//! else has a million tasks queued.
//!
//! A task stands in its queue from the moment at which its record is safe, not from that at which it was
//! accepted: what the next life would not know must not run in this one (I8 checks that nothing is given out
//! earlier), so a task that is not safe yet cannot be passed by. Records become safe in their order, so this
//! changes nothing in the order of tasks of one priority. It counts from the moment after that: what leaves
//! at the same moment may have been decided before the records of that moment were written, and have waited
//! for payloads that had to be read back.
//!
//! What leaves the broker at the same moment left together, in whatever order it was written. Tasks that
//! wait for something else (a delay, a back-off, knowledge, the re-attach window) are not compared, nor are
//! those that were put back from the dead set; where they are given out, it was the turn of their client. What
//! comes back is given out next, so that its client has one turn more.
//!
//! Cannot see: the order among several that came back, nor among different kinds; whose turn it was within one
//! moment.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use ganger_common::{Attempt, AttemptEnd, ClientId, TaskId, limits};

use super::Violation;
use super::view::View;
use crate::sim::Event;
use crate::sim::log::Fact;

const NAME: &str = "order";

/// A broker does what is due when it has taken in what had come by then; what is handed in meanwhile is still
/// held by the window that should be over.
const LATE_MAX: u64 = 60_000;

/// First leases of one other client while somebody waits.
const PASSED_MAX: usize = 1;

/// Those that came back, then the oldest.
type Rank = (bool, usize);

/// Where a task waits: kind, highest priority first, client.
type Place = (u8, Reverse<i16>, Option<ClientId>);

/// Tasks of one client that wait, none of them for anything but a worker.
#[derive(Default)]
struct Line {
    tasks: BTreeSet<(Rank, TaskId)>,
    /// When somebody began to wait here.
    since: u64,
    /// First leases of others since then, or since this line was served.
    passed_by: BTreeMap<Option<ClientId>, usize>,
}

/// What left at one moment.
#[derive(Default)]
struct Moment {
    now: u64,
    /// Tasks that were passed over, unless they leave, too: by whom.
    passed: Vec<(TaskId, TaskId, usize)>,
    /// Where leases were given, of which task, and whether it was the first.
    given: Vec<(Place, TaskId, bool, usize)>,
}

#[derive(Default)]
struct Queues {
    lines: BTreeMap<Place, Line>,
    places: BTreeMap<TaskId, (Place, Rank)>,
    /// Accepted tasks whose record is not safe yet, with that record and their lines.
    unsafe_yet: VecDeque<(u64, usize, TaskId)>,
    /// Everything up to this record is safe.
    safe: u64,
    moment: Moment,
    /// Who handed a task in, as the journal has it.
    clients: BTreeMap<TaskId, Option<ClientId>>,
    /// Tasks that are not compared.
    odd: BTreeSet<TaskId>,
    held_until: u64,
    paused: Option<u64>,
}

pub(super) fn check(view: &View<'_>, found: &mut Vec<Violation>) {
    let mut queues = Queues::default();
    for (line, entry) in view.entries.iter().enumerate() {
        if entry.at.0 > queues.moment.now {
            queues.judge(view, found);
            queues.moment.now = entry.at.0;
            queues.enter_safe(view);
        }
        queues.note(view, line, &entry.event);
    }
    queues.judge(view, found);
}

impl Queues {
    fn note(&mut self, view: &View<'_>, line: usize, event: &Event) {
        match event {
            Event::BrokerUp { .. } => {
                let (odd, clients) = (std::mem::take(&mut self.odd), std::mem::take(&mut self.clients));
                *self = Self { odd, clients, ..Self::default() };
                self.moment.now = view.at(line).0;
                self.held_until = self.moment.now + limits::REATTACH_WINDOW.as_micros() as u64 + LATE_MAX;
            }
            Event::BrokerPaused { .. } => self.paused = Some(view.at(line).0),
            Event::BrokerResumed { .. } => self.resume(view.at(line).0),
            Event::Appended { lsn, fact: Fact::Accepted(task, client), .. } => {
                // The last record counts: an earlier one may have been lost with its life.
                self.clients.insert(*task, *client);
                self.unsafe_yet.push_back((*lsn, line, *task));
            }
            Event::Synced { upto, .. } => self.safe = *upto,
            Event::Appended { fact: Fact::AttemptEnded { task, end, .. }, .. } => {
                self.leave(*task);
                let is_back = matches!(end, AttemptEnd::Lost | AttemptEnd::Crashed | AttemptEnd::Interrupted);
                if is_back {
                    self.enter(view, line, *task, false);
                    self.forgive(view, *task);
                }
            }
            Event::EndReported { lease, end: AttemptEnd::Returned, .. } => self.forgive(view, lease.task),
            Event::Appended { fact: Fact::Retried(task), .. } => {
                self.odd.insert(*task);
                self.clients.insert(*task, None);
            }
            Event::Appended { fact: Fact::Settled { task, .. }, .. } => {
                self.leave(*task);
            }
            // Adopted from an earlier life, perhaps.
            Event::LeaseBrought { lease, .. } => {
                self.leave(lease.task);
            }
            Event::LeaseGiven { lease, kind, .. } => {
                self.give(view, line, lease.task, *kind, lease.attempt == Attempt(1));
            }
            _ => {}
        }
    }

    fn resume(&mut self, now: u64) {
        // What it heard while it stood still it learns now, in whatever order.
        self.lines.values_mut().for_each(|line| {
            line.since = now;
            line.passed_by.clear();
        });
        // The window is longer by the time in which the broker stood still; and what is handed in
        // before the broker has seen that the window is over is held by it still.
        let Some(since) = self.paused.take().filter(|since| *since < self.held_until) else { return };
        self.held_until = (self.held_until + (now - since)).max(now + 1_000_000);
    }

    /// What has become safe waits from now on.
    fn enter_safe(&mut self, view: &View<'_>) {
        while let Some((_, line, task)) = self.unsafe_yet.pop_front_if(|(lsn, ..)| *lsn <= self.safe) {
            self.enter(view, line, task, true);
        }
    }

    fn enter(&mut self, view: &View<'_>, line: usize, task: TaskId, is_fresh: bool) {
        let Some(spec) = view.tasks.get(&task).and_then(|story| story.spec) else { return };
        let options = spec.options;
        let waits = options.knowledge.is_some() || (is_fresh && options.delay_ms > 0);
        if waits || self.odd.contains(&task) || view.at(line).0 < self.held_until {
            return;
        }
        let place = self.place(task, spec.kind, options.priority);
        let rank = (is_fresh, line);
        self.places.insert(task, (place, rank));
        // What is fresh was safe before this moment.
        let opened = Line { since: self.moment.now - u64::from(is_fresh), ..Line::default() };
        self.lines.entry(place).or_insert(opened).tasks.insert((rank, task));
    }

    /// A task that comes back makes it the turn of its client, and so it stays if the task is cancelled before
    /// it is given out again.
    fn forgive(&mut self, view: &View<'_>, task: TaskId) {
        let Some(spec) = view.tasks.get(&task).and_then(|story| story.spec) else { return };
        let (kind, priority, client) = self.place(task, spec.kind, spec.options.priority);
        let others = self.lines.range_mut((kind, priority, None)..);
        let others = others.take_while(|((of, at, _), _)| (*of, *at) == (kind, priority));
        for (_, waiting) in others {
            waiting.passed_by.remove(&client);
        }
    }

    fn place(&self, task: TaskId, kind: u8, priority: i16) -> Place {
        (kind, Reverse(priority), self.clients.get(&task).copied().flatten())
    }

    fn leave(&mut self, task: TaskId) -> Option<(Place, Rank)> {
        self.moment.passed.retain(|(other, _, _)| *other != task);
        self.unsafe_yet.retain(|(_, _, other)| *other != task);
        let (place, rank) = self.places.remove(&task)?;
        let line = self.lines.get_mut(&place)?;
        line.tasks.remove(&(rank, task));
        if line.tasks.is_empty() {
            self.lines.remove(&place);
        }
        Some((place, rank))
    }

    fn give(&mut self, view: &View<'_>, line: usize, task: TaskId, kind: u8, is_first: bool) {
        if let Some(spec) = view.tasks.get(&task).and_then(|story| story.spec) {
            // What waits for knowledge stands beside the lines.
            let is_first = is_first && spec.options.knowledge.is_none();
            self.moment.given.push((self.place(task, kind, spec.options.priority), task, is_first, line));
        }
        // Only a fresh task can pass one by; one that came back may stand anywhere at the front.
        let Some((place, rank)) = self.leave(task).filter(|(_, (is_fresh, _))| *is_fresh) else { return };
        let (_, priority, _) = place;
        let first = |line: &Line| line.tasks.first().copied();
        let mut above = self.lines.range((kind, Reverse(i16::MAX), None)..(kind, priority, None));
        let higher = above.find_map(|(_, line)| first(line));
        let older = self.lines.get(&place).and_then(first).filter(|(other, _)| *other < rank);
        if let Some((_, waiting)) = higher.or(older) {
            self.moment.passed.push((waiting, task, line));
        }
    }

    /// Time goes on: what has been passed by and did not leave at the same moment has been passed by.
    fn judge(&mut self, view: &View<'_>, found: &mut Vec<Violation>) {
        let Moment { now, passed, given } = std::mem::take(&mut self.moment);
        for (waiting, other, line) in passed {
            let is_back = self.places.get(&waiting).is_some_and(|(_, (is_fresh, _))| !is_fresh);
            let why = if is_back { "it came back and" } else { "it" };
            view.report(found, NAME, waiting, line, &format!("{why} waits while task {other} goes first"));
        }
        for (served, ..) in &given {
            if let Some(line) = self.lines.get_mut(served) {
                line.passed_by.clear();
            }
        }
        for (served, task, _, line) in given.iter().filter(|(_, _, is_first, _)| *is_first) {
            let (kind, priority, client) = *served;
            let others = self.lines.range_mut((kind, priority, None)..);
            let others = others.take_while(|((of, at, _), _)| (*of, *at) == (kind, priority));
            for (place, waiting) in others {
                if waiting.since >= now || given.iter().any(|(served, ..)| served == place) {
                    continue;
                }
                let times = waiting.passed_by.entry(client).or_default();
                *times += 1;
                if *times > PASSED_MAX
                    && let Some((_, first)) = waiting.tasks.first()
                {
                    let text =
                        format!("its client waits while another one has a second turn with task {task}");
                    view.report(found, NAME, *first, *line, &text);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
