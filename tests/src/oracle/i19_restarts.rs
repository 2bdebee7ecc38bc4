//! I19: a running task survives a restart of the broker.
//!
//! Checks that a lease of the last life that a worker brings within the re-attach window, as the first and
//! newest for its task, stays the current one: the task is given to nobody else before this run has ended
//! or its worker is lost, the worker is not told to stop as stale, and a result that it reports is not
//! answered as stale while the task has no outcome. An hour of work must not be lost because somebody
//! restarted the broker.
//!
//! Partial: under memory durability it depends on whether the client hands the task in again within the
//! window, so only journal runs are looked at.

use std::time::Duration;

use ganger_common::message::Durability;
use ganger_common::{AttemptEnd, TaskId, WorkerId};

use super::Violation;
use super::view::{Kept, LifeSpan, Step, Story, View};
use crate::sim::Event;
use crate::sim::log::{Fact, LeaseId};

const NAME: &str = "I19";

/// A lease that is brought this long before the window ends is certainly in time.
const MARGIN: Duration = Duration::from_millis(100);

#[derive(Default)]
struct Survivor {
    accepted: Kept<()>,
    settled: Kept<()>,
    /// Attempts that are over.
    ended: Kept<u32>,
    /// What was given out or adopted in this life.
    given: bool,
    adopted: Option<(LeaseId, WorkerId)>,
}

pub(super) fn check(view: &View<'_>, found: &mut Vec<Violation>) {
    if view.facts.durability == Durability::Journal {
        for (task, story) in view.stories() {
            follow(view, found, task, story);
        }
    }
}

fn follow(view: &View<'_>, found: &mut Vec<Violation>, task: TaskId, story: &Story<'_>) {
    let has_limit = story.spec.is_some_and(|spec| spec.options.run_limit_ms.is_some());
    let mut survivor = Survivor::default();
    let mut life = None;
    for step in view.steps(story) {
        match step {
            Step::Life(span) => {
                survivor.accepted.recover(span.recovered);
                survivor.settled.recover(span.recovered);
                survivor.ended.recover(span.recovered);
                (survivor.given, survivor.adopted) = (false, None);
                life = Some(span);
            }
            Step::Forgotten => survivor = Survivor::default(),
            Step::Line(line, event) => {
                // Cancelled, or settled by another, in the turn in which it came: the records come last in the log.
                let is_settled = |(other, event): (usize, &Event)| {
                    view.at(other) == view.at(line)
                        && matches!(event, Event::Appended { fact: Fact::Settled { .. }, .. })
                };
                if let Some(what) = survivor.objection(event, has_limit)
                    && !view.lines(story).any(is_settled)
                {
                    view.report(found, NAME, task, line, &what);
                }
                survivor.note(view, life.as_ref(), line, event);
            }
        }
    }
}

impl Survivor {
    fn objection(&self, event: &Event, has_limit: bool) -> Option<String> {
        let (adopted, _) = self.adopted?;
        match event {
            Event::LeaseGiven { lease, .. } => {
                Some(format!("{lease:?} is given out; {adopted:?} came back and still runs"))
            }
            // The broker enforces a run limit itself when the worker does not.
            Event::CancelSent { lease, stale: true, .. } if *lease == adopted && !has_limit => {
                Some(format!("{adopted:?} came back, and its worker is told that it is stale"))
            }
            _ => None,
        }
    }

    fn note(&mut self, view: &View<'_>, life: Option<&LifeSpan>, line: usize, event: &Event) {
        match event {
            Event::Appended { lsn, fact, .. } => match fact {
                Fact::Accepted(..) => self.accepted.add(*lsn, ()),
                Fact::Settled { .. } => {
                    self.settled.add(*lsn, ());
                    self.adopted = None;
                }
                Fact::Retried(_) => self.settled.end(*lsn),
                Fact::AttemptEnded { attempt, .. } => {
                    self.ended.add(*lsn, attempt.0);
                    self.adopted = None;
                }
                _ => {}
            },
            Event::LeaseGiven { .. } => self.given = true,
            Event::LeaseBrought { lease, incarnation, started: true, .. } => {
                let Some(life) = life else { return };
                let window = ganger_common::limits::REATTACH_WINDOW - MARGIN;
                let since = Duration::from_micros(view.at(line).0 - view.at(life.up).0);
                let is_new = self.ended.iter().all(|attempt| *attempt < lease.attempt.0);
                let is_open = !self.accepted.is_empty() && self.settled.is_empty();
                if lease.epoch != life.epoch && since < window && is_new && is_open && !self.given {
                    self.given = true;
                    self.adopted = Some((*lease, *incarnation));
                }
            }
            Event::EndReported { lease, incarnation, end, .. }
                if self.adopted == Some((*lease, *incarnation)) =>
            {
                // What follows is for I5 and I7; a result must settle it.
                self.adopted = self.adopted.filter(|_| *end == AttemptEnd::Succeeded);
            }
            // A late success of an older attempt settles the task, and recalls this one. It has the same number
            // when the task was let go in between.
            Event::EndReported { end: AttemptEnd::Succeeded, .. } => self.adopted = None,
            // A session that comes anew without it has lost it.
            Event::WorkerKilled { .. } => self.adopted = None,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use ganger_common::{AttemptEnd, Outcome};

    use crate::oracle::script::*;
    use crate::sim::Event;
    use crate::sim::log::{LeaseId, WorkerNo};

    fn brought() -> (Script, LeaseId) {
        let mut script = Script::journal();
        script.worker(1, 1).submit(1).accept(1).give(1, 1, 1).begin(1, 1, 1).start_reported(1, 1, 1);
        let lease = script.lease(1, 1);
        script.restart().connect(1).bring(1, lease);
        (script, lease)
    }

    #[test]
    fn a_run_that_goes_on_and_settles_passes() {
        let (mut script, lease) = brought();
        script.wait_ms(9_000).report_lease(1, lease, AttemptEnd::Succeeded).settle(1, Outcome::Succeeded);
        script.passes(super::check);
    }

    #[test]
    fn a_cancellation_in_the_turn_in_which_it_comes_stops_it() {
        let (mut script, lease) = brought();
        let life = script.life();
        script.push(Event::CancelSent { life, worker: WorkerNo(1), lease, stale: true });
        script.at_once().append_settled(1, Outcome::Cancelled, 0);
        script.passes(super::check);
    }

    #[test]
    fn a_late_success_of_another_with_the_same_number_recalls_it() {
        let (mut script, lease) = brought();
        script.report_lease(2, lease, AttemptEnd::Succeeded);
        let life = script.life();
        script.push(Event::CancelSent { life, worker: WorkerNo(1), lease, stale: true });
        script.passes(super::check);
    }

    #[test]
    fn a_task_that_runs_must_not_be_given_to_another() {
        let (mut script, _) = brought();
        script.wait_ms(6_000).give(1, 2, 2);
        script.fails(super::check, "I19", "still runs");
    }

    #[test]
    fn a_run_that_came_back_is_not_stale() {
        let (mut script, lease) = brought();
        let life = script.life();
        let worker = WorkerNo(1);
        script.push(Event::CancelSent { life, worker, lease, stale: true });
        script.fails(super::check, "I19", "is stale");
    }

    #[test]
    fn a_result_of_a_run_that_came_back_counts() {
        let (mut script, lease) = brought();
        script.report_lease(1, lease, AttemptEnd::Succeeded).give(1, 2, 2);
        script.fails(super::check, "I19", "still runs");
    }

    #[test]
    fn a_lost_worker_ends_it() {
        let (mut script, _) = brought();
        script.attempt_ended(1, 1, 1, AttemptEnd::Crashed).give(1, 2, 2);
        script.passes(super::check);
    }
}
