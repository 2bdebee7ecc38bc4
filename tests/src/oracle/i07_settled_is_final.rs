//! I7: settled is final, through any crash.
//!
//! Checks that an outcome which left the broker, or which the journal kept over a restart, is the outcome
//! that everybody is told from then on and that the audit finds, with the same result, unless somebody
//! asked for another try; that nobody hears an outcome that no broker told; and that a settled task is not
//! given out again. Whoever has read an outcome has acted on it.
//!
//! Under memory durability this holds within a life: the next one may have to do the work again.
//!
//! Cannot see: a change of the result where results are let go during the run.

use ganger_common::message::Durability;
use ganger_common::{Attempt, Outcome, TaskId};

use super::Violation;
use super::view::{Kept, Step, Story, View};
use crate::sim::Event;
use crate::sim::log::{At, Digest, Fact, Promise};

const NAME: &str = "I7";

type Final = (Outcome, Digest);

#[derive(Default)]
struct Settled {
    /// What the journal has.
    written: Kept<Final>,
    /// What has been told.
    told: Option<Final>,
    /// Everything that was ever told.
    ever: Vec<Final>,
    /// The attempt that settled it last, and when.
    attempt: Attempt,
    at: At,
    /// Outcomes that somebody asked to try again after. They may still be on their way.
    retried: Vec<(Outcome, Attempt)>,
    /// It was let go, and its id was not taken anew.
    is_gone: bool,
}

pub(super) fn check(view: &View<'_>, found: &mut Vec<Violation>) {
    for (task, story) in view.stories() {
        follow(view, found, task, story);
    }
}

fn follow(view: &View<'_>, found: &mut Vec<Violation>, task: TaskId, story: &Story<'_>) {
    let mut settled = Settled::default();
    for step in view.steps(story) {
        let (line, event) = match step {
            Step::Life(life) => {
                settled.written.recover(life.recovered);
                if view.facts.durability == Durability::Memory {
                    settled.told = None;
                }
                continue;
            }
            Step::Forgotten => {
                (settled.written, settled.told) = (Kept::default(), None);
                settled.is_gone = true;
                continue;
            }
            Step::Line(line, event) => (line, event),
        };
        if let Some(what) = settled.objection(view, event, view.at(line)) {
            view.report(found, NAME, task, line, &what);
        }
        settled.note(event, view.at(line));
    }
}

impl Settled {
    fn objection(&self, view: &View<'_>, event: &Event, now: At) -> Option<String> {
        let differs = |one: Final, other: Final| {
            one.0 != other.0 || (one.0 == Outcome::Succeeded && view.facts.retains_all && one.1 != other.1)
        };
        match event {
            // What was given out and then cancelled within one turn leaves all the same, and the cancellation
            // behind it.
            Event::LeaseGiven { .. } if self.at < now => {
                let (lsn, (outcome, _)) = self.written.last()?;
                Some(format!("given out again; it {outcome} in record {lsn}"))
            }
            Event::PromiseLeft { promise: Promise::Outcome { outcome, result, attempt, .. }, .. } => {
                if self.retried.contains(&(*outcome, *attempt)) {
                    return None;
                }
                let now = (*outcome, *result);
                let before = self.told.filter(|before| differs(*before, now))?;
                Some(format!("{} is told, and {} was told before", now.0, before.0))
            }
            Event::OutcomeHeard { outcome, result, dropped, .. } => {
                let heard = (*outcome, *result);
                let was_told = |told: &Final| told.0 == heard.0 && (*dropped || !differs(*told, heard));
                (!self.ever.iter().any(was_told)).then(|| format!("{outcome} is heard, and was never told"))
            }
            Event::Audited { known: true, outcome, result, .. } => {
                let kept = self.told.or(self.written.last().map(|(_, kept)| *kept))?;
                let Some(outcome) = outcome else {
                    return Some(format!("it {} and has no outcome any more", kept.0));
                };
                let found = (*outcome, result.unwrap_or_default());
                differs(kept, found).then(|| format!("{} at the end, and {} before", found.0, kept.0))
            }
            _ => None,
        }
    }

    fn note(&mut self, event: &Event, now: At) {
        match event {
            Event::Appended { fact: Fact::Accepted(..), .. } if self.is_gone => {
                // What was told since was the end of the one that was let go.
                (self.told, self.is_gone) = (None, false);
            }
            Event::Appended { lsn, fact: Fact::Settled { outcome, result, attempt, .. }, .. } => {
                self.written.add(*lsn, (*outcome, *result));
                (self.attempt, self.at) = (*attempt, now);
            }
            Event::Appended { lsn, fact: Fact::Retried(_), .. } => {
                self.retried.extend(self.written.last().map(|(_, (outcome, _))| (*outcome, self.attempt)));
                self.written.end(*lsn);
                self.told = None;
            }
            Event::PromiseLeft { promise: Promise::Outcome { outcome, result, attempt, .. }, .. } => {
                if !self.retried.contains(&(*outcome, *attempt)) {
                    self.told = Some((*outcome, *result));
                }
                self.ever.push((*outcome, *result));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use ganger_common::{AttemptEnd, Outcome};

    use crate::oracle::script::*;

    #[test]
    fn one_outcome_told_twice_passes() {
        let mut script = Script::journal();
        script.submit(1).accept(1).run_through(1).promise_outcome(1, Outcome::Succeeded, 1).quiet();
        script.passes(super::check);
    }

    #[test]
    fn an_outcome_does_not_change() {
        let mut script = Script::journal();
        script.submit(1).accept(1).run_through(1).promise_outcome(1, Outcome::Failed, 1);
        script.fails(super::check, "I7", "was told before");
    }

    #[test]
    fn an_outcome_does_not_change_through_a_restart() {
        let mut script = Script::journal();
        script.submit(1).accept(1).run_through(1).restart().audit(1, Some(Outcome::Expired), 1);
        script.fails(super::check, "I7", "at the end");
    }

    #[test]
    fn a_settled_task_does_not_go_back_to_work() {
        let mut script = Script::journal();
        script.submit(1).accept(1).run(1).settle(1, Outcome::Succeeded).give(1, 2, 2);
        script.fails(super::check, "I7", "given out again");
    }

    #[test]
    fn nobody_hears_what_was_not_told() {
        let mut script = Script::journal();
        script.submit(1).accept(1).run(1).hear(1, Outcome::Succeeded, 1, 1);
        script.fails(super::check, "I7", "never told");
    }

    #[test]
    fn what_was_decided_before_a_retry_may_be_told_after_it() {
        let mut script = Script::journal();
        script.submit(1).accept(1).append_settled(1, Outcome::Failed, 1).sync();
        script.append(crate::sim::log::Fact::Retried(id(1))).sync().promise_outcome(1, Outcome::Failed, 1);
        script.give(1, 1, 2).begin(1, 1, 2).finish(1, 1, 2).report(1, 1, 2, AttemptEnd::Succeeded);
        script.append_settled(1, Outcome::Succeeded, 2).sync().promise_outcome(1, Outcome::Succeeded, 2);
        script.passes(super::check);
    }

    #[test]
    fn a_retried_task_may_have_another_outcome() {
        let mut script = Script::journal();
        script.submit(1).accept(1).settle(1, Outcome::Failed);
        script.append(crate::sim::log::Fact::Retried(id(1))).give(1, 1, 2).begin(1, 1, 2).finish(1, 1, 2);
        script.report(1, 1, 2, AttemptEnd::Succeeded).settle(1, Outcome::Succeeded);
        script.passes(super::check);
    }

    #[test]
    fn what_is_told_of_a_task_that_was_let_go_binds_no_other() {
        let mut script = Script::journal();
        script.submit(1).accept(1).append_settled(1, Outcome::Failed, 1);
        script.append(crate::sim::log::Fact::Forgotten(0, 9)).sync();
        script.promise_outcome(1, Outcome::Failed, 1).submit(1).accept(1);
        script.run(1).settle(1, Outcome::Succeeded).promise_outcome(1, Outcome::Succeeded, 1);
        script.passes(super::check);
    }

    #[test]
    fn a_life_in_memory_may_settle_again() {
        let mut script = Script::memory();
        script.submit(1).accept(1).settle(1, Outcome::Failed).restart();
        script.submit(1).accept(1).run(1).settle(1, Outcome::Succeeded);
        script.passes(super::check);
    }
}
