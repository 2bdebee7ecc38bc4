//! I5: fencing, and at most one settlement.
//!
//! Checks that the journal settles a task at most once, unless somebody asked for another try; that nothing
//! is written of an attempt of a settled task; that the end of an attempt is booked only for the worker that
//! had it; and that a failure or time-out is booked only if the broker had heard of it from that worker, for
//! that lease (a time-out also when the task has a run limit, which the broker enforces itself). So a report
//! whose lease is over changes nothing, unless it is a success and the task has no outcome yet.
//!
//! Cannot see: an interruption or loss that was booked for the right lease without cause; the latter is for
//! I13.

use std::collections::BTreeSet;

use ganger_common::{Attempt, AttemptEnd, Outcome, TaskId, WorkerId};

use super::Violation;
use super::view::{Kept, Step, Story, View};
use crate::sim::Event;
use crate::sim::log::{Digest, Fact};

const NAME: &str = "I5";

#[derive(Default)]
struct Fences {
    settled: Kept<()>,
    /// Which worker has had which attempt.
    had: BTreeSet<(Attempt, WorkerId)>,
    /// What was reported of it.
    reported: BTreeSet<(Attempt, WorkerId, u8)>,
    results: BTreeSet<Digest>,
}

pub(super) fn check(view: &View<'_>, found: &mut Vec<Violation>) {
    for (task, story) in view.stories() {
        follow(view, found, task, story);
    }
}

fn follow(view: &View<'_>, found: &mut Vec<Violation>, task: TaskId, story: &Story<'_>) {
    let has_limit = story.spec.is_some_and(|spec| spec.options.run_limit_ms.is_some());
    let (mut fences, mut forgotten) = (Fences::default(), Fences::default());
    for step in view.steps(story) {
        let (line, event) = match step {
            Step::Life(life) => {
                fences.settled.recover(life.recovered);
                // Leases are not written down. To a later life, whoever had an attempt of a task that was let go
                // may bring its end when the id has been taken anew.
                fences.take_up(std::mem::take(&mut forgotten));
                continue;
            }
            Step::Forgotten => {
                forgotten.take_up(std::mem::take(&mut fences));
                continue;
            }
            Step::Line(line, event) => (line, event),
        };
        match event {
            Event::LeaseGiven { lease, incarnation, .. } | Event::LeaseBrought { lease, incarnation, .. } => {
                fences.had.insert((lease.attempt, *incarnation));
            }
            Event::EndReported { lease, incarnation, end, result, .. } => {
                fences.reported.insert((lease.attempt, *incarnation, end.code()));
                if *end == AttemptEnd::Succeeded {
                    fences.results.insert(*result);
                }
            }
            Event::Appended { lsn, fact, .. } => {
                if let Some(what) = fences.objection(fact, has_limit) {
                    view.report(found, NAME, task, line, &what);
                }
                match fact {
                    Fact::Settled { .. } => fences.settled.add(*lsn, ()),
                    Fact::Retried(_) => fences.settled.end(*lsn),
                    _ => {}
                }
            }
            _ => {}
        }
    }
}

impl Fences {
    /// Attempts that others knew of count here, too.
    fn take_up(&mut self, other: Self) {
        self.had.extend(other.had);
        self.reported.extend(other.reported);
        self.results.extend(other.results);
    }

    /// What speaks against writing this down.
    fn objection(&self, fact: &Fact, has_limit: bool) -> Option<String> {
        let before = self.settled.last().map(|(lsn, ())| lsn);
        match fact {
            Fact::Settled { .. } if before.is_some() => {
                Some(format!("settled a second time, after record {}", before.unwrap_or_default()))
            }
            Fact::Settled { outcome: Outcome::Succeeded, result, .. } if !self.results.contains(result) => {
                Some("settled with a result that no worker reported".to_owned())
            }
            Fact::AttemptEnded { .. } if before.is_some() => {
                Some("the end of an attempt is booked after the task was settled".to_owned())
            }
            Fact::AttemptEnded { attempt, worker, end, .. } => {
                if !self.had.contains(&(*attempt, *worker)) {
                    return Some(format!("attempt {attempt} is booked for {worker}, which never had it"));
                }
                let must_be_reported =
                    *end == AttemptEnd::Failed || (*end == AttemptEnd::TimedOut && !has_limit);
                let was_reported = self.reported.contains(&(*attempt, *worker, end.code()));
                (must_be_reported && !was_reported)
                    .then(|| format!("attempt {attempt} {end}, says the journal; its worker never said so"))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use ganger_common::{AttemptEnd, Outcome};

    use crate::oracle::script::*;
    use crate::sim::log::Fact;

    #[test]
    fn a_forgetting_that_the_disk_lost_never_happened() {
        let mut script = Script::journal();
        script.submit(1).accept(1).give(1, 1, 1).report(1, 1, 1, AttemptEnd::Failed);
        script.append_settled(1, Outcome::Failed, 1).append(Fact::Forgotten(0, 9)).lose_and_restart();
        script.report(1, 1, 1, AttemptEnd::Failed).attempt_ended(1, 1, 1, AttemptEnd::Failed);
        script.passes(super::check);
    }

    #[test]
    fn a_later_life_cannot_tell_the_leases_of_what_an_earlier_one_let_go() {
        for mut script in [Script::memory(), Script::journal()] {
            script.submit(1).accept(1).give(1, 1, 1).report(1, 1, 1, AttemptEnd::Failed);
            script.append_settled(1, Outcome::Failed, 1).append(Fact::Forgotten(0, 9)).sync().restart();
            script.accept(1).report(1, 1, 1, AttemptEnd::Failed).attempt_ended(1, 1, 1, AttemptEnd::Failed);
            script.passes(super::check);
        }
    }

    #[test]
    fn what_was_let_go_is_another_task_to_the_life_that_did_it() {
        let mut script = Script::memory();
        script.submit(1).accept(1).give(1, 1, 1).report(1, 1, 1, AttemptEnd::Failed);
        script.append_settled(1, Outcome::Failed, 1).append(Fact::Forgotten(0, 9));
        script.accept(1).report(1, 1, 1, AttemptEnd::Failed).attempt_ended(1, 1, 1, AttemptEnd::Failed);
        script.fails(super::check, "I5", "never had it");
    }

    #[test]
    fn a_failure_of_the_current_lease_passes() {
        let mut script = Script::journal();
        script.submit(1).accept(1).give(1, 1, 1).report(1, 1, 1, AttemptEnd::Failed);
        script.attempt_ended(1, 1, 1, AttemptEnd::Failed).give(1, 2, 2);
        script.report(1, 2, 2, AttemptEnd::Succeeded).append_settled(1, Outcome::Succeeded, 2);
        script.passes(super::check);
    }

    #[test]
    fn a_late_failure_must_not_count_for_the_new_lease() {
        let mut script = Script::journal();
        script.submit(1).accept(1).give(1, 1, 1).attempt_ended(1, 1, 1, AttemptEnd::Lost).give(1, 2, 2);
        script.report(1, 1, 1, AttemptEnd::Failed).attempt_ended(1, 2, 2, AttemptEnd::Failed);
        script.fails(super::check, "I5", "never said so");
    }

    #[test]
    fn a_task_settles_once() {
        let mut script = Script::journal();
        script.submit(1).accept(1).run(1).settle(1, Outcome::Succeeded).settle(1, Outcome::Succeeded);
        script.fails(super::check, "I5", "second time");
    }

    #[test]
    fn nothing_is_booked_after_the_settlement() {
        let mut script = Script::journal();
        script.submit(1).accept(1).run(1).settle(1, Outcome::Succeeded);
        script.attempt_ended(1, 1, 1, AttemptEnd::Lost);
        script.fails(super::check, "I5", "after the task was settled");
    }

    #[test]
    fn an_attempt_is_booked_for_whoever_had_it() {
        let mut script = Script::journal();
        script.submit(1).accept(1).give(1, 1, 1).attempt_ended(1, 2, 1, AttemptEnd::Lost);
        script.fails(super::check, "I5", "never had it");
    }

    #[test]
    fn a_result_is_one_that_was_reported() {
        let mut script = Script::journal();
        script.submit(1).accept(1).give(1, 1, 1).settle(1, Outcome::Succeeded);
        script.fails(super::check, "I5", "no worker reported");
    }

    #[test]
    fn a_settlement_that_the_disk_lost_may_be_written_again() {
        let mut script = Script::journal();
        script.submit(1).accept(1).run(1).append_settled(1, Outcome::Succeeded, 1).lose_and_restart();
        script.report(1, 1, 1, AttemptEnd::Succeeded).settle(1, Outcome::Succeeded);
        script.passes(super::check);
    }
}
