//! Order: what comes back goes to the front of its queue, and a higher priority goes first.
//!
//! Checks that a task which lost its worker, or was interrupted, is given out before any task of the same
//! kind and priority that has never been given out; and that of such fresh tasks of one kind the one of
//! higher priority, or of equal priority and accepted earlier, is given out first. Whoever has waited
//! longest must not be the one who waits again because a machine died.
//!
//! A task stands in its queue from the moment at which its record is safe, not from that at which it was
//! accepted: what the next life would not know must not run in this one (I8 checks that nothing is given out
//! earlier), so a task that is not safe yet cannot be passed by. Records become safe in their order, so this
//! changes nothing in the order of tasks of one priority.
//!
//! What leaves the broker at the same moment left together, in whatever order it was written. Tasks that
//! wait for something else (a delay, a back-off, knowledge, the re-attach window) are not compared, nor are
//! those that were put back from the dead set.
//!
//! Cannot see: the order among several that came back, nor among different kinds.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use ganger_common::{AttemptEnd, TaskId, limits};

use super::Violation;
use super::view::View;
use crate::sim::Event;
use crate::sim::log::Fact;

const NAME: &str = "order";

/// Highest priority first, then those that came back, then the oldest.
type Rank = (std::cmp::Reverse<i16>, bool, usize);

#[derive(Default)]
struct Queues {
    ready: BTreeMap<u8, BTreeSet<(Rank, TaskId)>>,
    places: BTreeMap<TaskId, (u8, Rank)>,
    /// Accepted tasks whose record is not safe yet, with that record and their lines.
    unsafe_yet: VecDeque<(u64, usize, TaskId)>,
    /// Tasks that were passed over at a moment, unless they leave at that moment, too: by whom.
    passed: Vec<(TaskId, TaskId, usize)>,
    /// Tasks that are not compared.
    odd: BTreeSet<TaskId>,
    held_until: u64,
    paused: Option<u64>,
}

pub(super) fn check(view: &View<'_>, found: &mut Vec<Violation>) {
    let mut queues = Queues::default();
    let mut last = 0;
    for (line, entry) in view.entries.iter().enumerate() {
        if entry.at.0 > last {
            last = entry.at.0;
            queues.judge(view, found);
        }
        queues.note(view, line, &entry.event);
    }
    queues.judge(view, found);
}

impl Queues {
    fn note(&mut self, view: &View<'_>, line: usize, event: &Event) {
        match event {
            Event::BrokerUp { .. } => {
                *self = Self { odd: std::mem::take(&mut self.odd), ..Self::default() };
                self.held_until = view.at(line).0 + limits::REATTACH_WINDOW.as_micros() as u64;
            }
            Event::BrokerPaused { .. } => self.paused = Some(view.at(line).0),
            Event::BrokerResumed { .. } => {
                // The window is longer by the time in which the broker stood still; and what is handed in
                // before the broker has seen that the window is over is held by it still.
                let now = view.at(line).0;
                let Some(since) = self.paused.take().filter(|since| *since < self.held_until) else { return };
                self.held_until = (self.held_until + (now - since)).max(now + 1_000_000);
            }
            Event::Appended { lsn, fact: Fact::Accepted(task), .. } => {
                self.unsafe_yet.push_back((*lsn, line, *task));
            }
            Event::Synced { upto, .. } => {
                while let Some((_, line, task)) = self.unsafe_yet.pop_front_if(|(lsn, ..)| *lsn <= *upto) {
                    self.enter(view, line, task, true);
                }
            }
            Event::Appended { fact: Fact::AttemptEnded { task, end, .. }, .. } => {
                self.leave(*task);
                let is_back = matches!(end, AttemptEnd::Lost | AttemptEnd::Crashed | AttemptEnd::Interrupted);
                if is_back {
                    self.enter(view, line, *task, false);
                }
            }
            Event::Appended { fact: Fact::Retried(task), .. } => {
                self.odd.insert(*task);
            }
            Event::Appended { fact: Fact::Settled { task, .. }, .. } => {
                self.leave(*task);
            }
            // Adopted from an earlier life, perhaps.
            Event::LeaseBrought { lease, .. } => {
                self.leave(lease.task);
            }
            Event::LeaseGiven { lease, kind, .. } => self.give(line, lease.task, *kind),
            _ => {}
        }
    }

    fn enter(&mut self, view: &View<'_>, line: usize, task: TaskId, is_fresh: bool) {
        let Some(spec) = view.tasks.get(&task).and_then(|story| story.spec) else { return };
        let options = spec.options;
        let waits = options.knowledge.is_some() || (is_fresh && options.delay_ms > 0);
        if waits || self.odd.contains(&task) || view.at(line).0 < self.held_until {
            return;
        }
        let rank = (std::cmp::Reverse(options.priority), is_fresh, line);
        self.places.insert(task, (spec.kind, rank));
        self.ready.entry(spec.kind).or_default().insert((rank, task));
    }

    fn leave(&mut self, task: TaskId) -> Option<Rank> {
        self.passed.retain(|(other, _, _)| *other != task);
        self.unsafe_yet.retain(|(_, _, other)| *other != task);
        let (kind, rank) = self.places.remove(&task)?;
        self.ready.get_mut(&kind)?.remove(&(rank, task));
        Some(rank)
    }

    fn give(&mut self, line: usize, task: TaskId, kind: u8) {
        // Only a fresh task can pass one by; one that came back may stand anywhere at the front.
        let Some(rank) = self.leave(task).filter(|(_, is_fresh, _)| *is_fresh) else { return };
        let Some((first, waiting)) = self.ready.get(&kind).and_then(BTreeSet::first) else { return };
        if *first < rank {
            self.passed.push((*waiting, task, line));
        }
    }

    /// Time goes on: what has been passed by and did not leave at the same moment has been passed by.
    fn judge(&mut self, view: &View<'_>, found: &mut Vec<Violation>) {
        for (waiting, other, line) in std::mem::take(&mut self.passed) {
            let is_back = self.places.get(&waiting).is_some_and(|(_, (_, is_fresh, _))| !is_fresh);
            let why = if is_back { "it came back and" } else { "it" };
            view.report(found, NAME, waiting, line, &format!("{why} waits while task {other} goes first"));
        }
    }
}

#[cfg(test)]
mod tests {
    use ganger_common::AttemptEnd;

    use crate::oracle::script::*;

    fn begun() -> Script {
        let mut script = Script::journal();
        script.wait_ms(6_000).submit(1).submit(2).submit(3).append_accepted(1).sync();
        script
    }

    #[test]
    fn first_come_first_served_passes() {
        let mut script = begun();
        script.append_accepted(2).sync().append_accepted(3).sync().give(1, 1, 1).give(2, 2, 1).give(3, 1, 1);
        script.passes(super::check);
    }

    #[test]
    fn a_task_that_lost_its_worker_goes_first() {
        let mut script = begun();
        script.append_accepted(2).sync().append_accepted(3).sync().give(1, 1, 1).give(2, 2, 1);
        script.attempt_ended(1, 1, 1, AttemptEnd::Lost).give(3, 2, 1).give(1, 2, 2);
        script.fails(super::check, "order", "came back");
    }

    #[test]
    fn a_task_that_lost_its_worker_and_goes_first_passes() {
        let mut script = begun();
        script.append_accepted(2).sync().append_accepted(3).sync().give(1, 1, 1).give(2, 2, 1);
        script.attempt_ended(1, 1, 1, AttemptEnd::Lost).give(1, 2, 2).give(3, 2, 1);
        script.passes(super::check);
    }

    #[test]
    fn the_older_goes_first() {
        let mut script = begun();
        script.append_accepted(2).sync().give(2, 1, 1);
        script.fails(super::check, "order", "goes first");
    }

    #[test]
    fn the_higher_priority_goes_first() {
        let mut script = begun();
        script.options(|options| options.priority = 5).submit(4).append_accepted(4).sync().give(1, 1, 1);
        script.fails(super::check, "order", "goes first");
    }

    #[test]
    fn what_waits_for_something_else_is_not_passed_by() {
        let mut script = begun();
        script.options(|options| (options.priority, options.delay_ms) = (5, 1_000)).submit(4);
        script.append_accepted(4).sync().give(1, 1, 1);
        script.passes(super::check);
    }
}
