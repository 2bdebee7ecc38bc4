//! I6: a task does not run more often than there are recorded causes.
//!
//! Checks that between the moments at which two leases of a task were given out that both ran, something
//! happened that asks for another run: the end of an attempt is on record, its worker reported an end
//! without a result or left, somebody asked for another try, or the broker began a new life; and that no
//! worker runs one lease twice. At least once is the promise; more than once is allowed, without a cause it
//! is a defect that costs whoever pays for the work.
//!
//! Cannot see: whether the cause itself was justified. For losses that is I13.

use std::collections::BTreeSet;

use ganger_common::{AttemptEnd, TaskId, WorkerId};

use super::Violation;
use super::view::{Story, View};
use crate::sim::Event;
use crate::sim::log::{Fact, LeaseId};

const NAME: &str = "I6";

#[derive(Clone, Copy)]
struct Run {
    given: usize,
    incarnation: WorkerId,
    lease: LeaseId,
}

pub(super) fn check(view: &View<'_>, found: &mut Vec<Violation>) {
    for (task, story) in view.stories() {
        let mut runs = runs(view, found, task, story);
        runs.sort_by_key(|run| run.given);
        for pair in runs.windows(2) {
            let is_another = view.is_forgotten(task, pair[0].given..pair[1].given);
            if !is_another && !has_cause(view, story, pair[0], pair[1]) {
                let what = format!("{:?} ran after {:?} without a cause", pair[1].lease, pair[0].lease);
                view.report(found, NAME, task, pair[1].given, &what);
            }
        }
    }
}

/// Every lease that ran, with the place where it was given out.
fn runs(view: &View<'_>, found: &mut Vec<Violation>, task: TaskId, story: &Story<'_>) -> Vec<Run> {
    let mut given = Vec::new();
    let mut started = Vec::new();
    let mut ran = BTreeSet::new();
    for (line, event) in view.lines(story) {
        match event {
            Event::LeaseGiven { incarnation, lease, .. } => given.push((line, *incarnation, *lease)),
            Event::RunStarted { incarnation, lease, .. } => {
                if !ran.insert((*incarnation, *lease)) && !view.is_forgotten(task, 0..line) {
                    view.report(found, NAME, task, line, &format!("{lease:?} runs twice at one worker"));
                }
                started.push((line, *incarnation, *lease));
            }
            _ => {}
        }
    }
    started.into_iter().rev().map(|run| placed(&mut given, run)).collect()
}

/// Where the lease of a run was given out: the latest place before it that no later run has taken.
///
/// An id that was let go and taken anew has leases of the same number, which run in their order, or are
/// lost on their way.
fn placed(given: &mut Vec<(usize, WorkerId, LeaseId)>, run: (usize, WorkerId, LeaseId)) -> Run {
    let (line, incarnation, lease) = run;
    let is_its =
        |place: &(usize, WorkerId, LeaseId)| place.0 < line && (place.1, place.2) == (incarnation, lease);
    let place = given.iter().rposition(is_its).map(|at| given.remove(at).0);
    Run { given: place.unwrap_or(line), incarnation, lease }
}

fn has_cause(view: &View<'_>, story: &Story<'_>, first: Run, second: Run) -> bool {
    let between = first.given..second.given;
    let by_task =
        view.lines(story).filter(|(line, _)| between.contains(line)).any(|(_, event)| match event {
            Event::Appended { fact: Fact::AttemptEnded { .. } | Fact::Retried(_), .. } => true,
            Event::EndReported { lease, end, .. } => *lease == first.lease && *end != AttemptEnd::Succeeded,
            _ => false,
        });
    let by_broker = || view.lives.iter().any(|life| between.contains(&life.up));
    by_task || by_broker() || left(view, first.incarnation, between.end)
}

fn left(view: &View<'_>, worker: WorkerId, before: usize) -> bool {
    view.entries[..before].iter().any(|entry| match &entry.event {
        Event::WorkerLeft { incarnation, .. } => *incarnation == worker,
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use ganger_common::{AttemptEnd, Outcome};

    use crate::oracle::script::*;

    #[test]
    fn another_run_after_a_recorded_loss_passes() {
        let mut script = Script::journal();
        script.submit(1).accept(1).give(1, 1, 1).begin(1, 1, 1).attempt_ended(1, 1, 1, AttemptEnd::Crashed);
        script.give(1, 2, 2).begin(1, 2, 2).finish(1, 2, 2).settle(1, Outcome::Succeeded);
        script.passes(super::check);
    }

    #[test]
    fn another_run_after_a_restart_passes() {
        let mut script = Script::memory();
        script.submit(1).accept(1).give(1, 1, 1).begin(1, 1, 1).restart();
        script.submit(1).accept(1).give(1, 2, 1).begin(1, 2, 1);
        script.passes(super::check);
    }

    #[test]
    fn two_tasks_of_one_id_may_have_leases_of_one_number() {
        let mut script = Script::journal();
        script.submit(1).accept(1).give(1, 1, 1).append_settled(1, Outcome::Cancelled, 1);
        script.append(crate::sim::log::Fact::Forgotten(9, 0)).accept(1).give(1, 1, 1);
        script.begin(1, 1, 1).finish(1, 1, 1).begin(1, 1, 1);
        script.passes(super::check);
    }

    #[test]
    fn a_lease_that_was_lost_on_its_way_is_not_that_of_a_later_task_of_the_same_id() {
        let mut script = Script::journal();
        let forgotten = || crate::sim::log::Fact::Forgotten(9, 0);
        script.submit(1).accept(1).give(1, 1, 1).begin(1, 1, 1).append_settled(1, Outcome::Succeeded, 1);
        script.append(forgotten()).accept(1).give(1, 1, 1).give(1, 2, 1).begin(1, 2, 1);
        script.append_settled(1, Outcome::Succeeded, 2).append(forgotten());
        script.accept(1).give(1, 1, 1).begin(1, 1, 1);
        script.passes(super::check);
    }

    #[test]
    fn another_run_without_a_cause_is_extra() {
        let mut script = Script::journal();
        script.submit(1).accept(1).give(1, 1, 1).begin(1, 1, 1).give(1, 2, 2).begin(1, 2, 2);
        script.fails(super::check, "I6", "without a cause");
    }

    #[test]
    fn a_success_is_no_cause_for_another_run() {
        let mut script = Script::journal();
        script.submit(1).accept(1).run(1).give(1, 2, 2).begin(1, 2, 2);
        script.fails(super::check, "I6", "without a cause");
    }

    #[test]
    fn a_worker_runs_a_lease_once() {
        let mut script = Script::journal();
        script.submit(1).accept(1).give(1, 1, 1).begin(1, 1, 1).begin(1, 1, 1);
        script.fails(super::check, "I6", "runs twice");
    }
}
