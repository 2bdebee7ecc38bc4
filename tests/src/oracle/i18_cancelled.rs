//! I18: an acknowledged cancellation is final.
//!
//! Checks that after a cancellation was acknowledged to its client, or left the broker as a promise, the
//! task has the outcome `cancelled` and no other: in the journal, for whoever hears of it, and in the
//! audit. Under memory durability the next life knows nothing of it, so it binds within one life.
//!
//! Cannot see: a handler that goes on although it was told to stop. Its result must not count, and that is
//! what is checked.

use std::collections::BTreeSet;

use ganger_common::message::Durability;
use ganger_common::{Outcome, TaskId};

use super::Violation;
use super::view::{Step, Story, View};
use crate::sim::Event;
use crate::sim::log::{Fact, Peer, Promise};

const NAME: &str = "I18";

pub(super) fn check(view: &View<'_>, found: &mut Vec<Violation>) {
    for (task, story) in view.stories() {
        follow(view, found, task, story);
    }
}

fn follow(view: &View<'_>, found: &mut Vec<Violation>, task: TaskId, story: &Story<'_>) {
    let mut cancelled = false;
    // Of this task, and not of one of the same id that was let go before: promise and answer may come later
    // than the next task.
    let mut asks = BTreeSet::new();
    let mut is_gone = false;
    // What settled it last, and what somebody asked to try again after: that may still be on its way.
    let (mut last, mut retried) = (None, BTreeSet::new());
    for step in view.steps(story) {
        let (line, event) = match step {
            Step::Life(_) => {
                cancelled &= view.facts.durability == Durability::Journal;
                continue;
            }
            Step::Forgotten => {
                (cancelled, is_gone) = (false, true);
                asks.clear();
                continue;
            }
            Step::Line(line, event) => (line, event),
        };
        if is_gone && matches!(event, Event::Appended { fact: Fact::Accepted(..), .. }) {
            // What was told since was the end of the one that was let go.
            (cancelled, is_gone) = (false, false);
        }
        let other = match event {
            Event::CancelAsked { client, ask, .. } => {
                asks.insert((*client, *ask));
                None
            }
            Event::PromiseLeft { to: Some(Peer::Client(to)), promise: Promise::Cancelled(_), .. } => {
                cancelled |= asks.iter().any(|(client, _)| client == to);
                None
            }
            // The acknowledgement may arrive after the life that gave it has ended.
            Event::CancelAcknowledged { client, ask, .. } if view.facts.durability == Durability::Journal => {
                cancelled |= asks.contains(&(*client, *ask));
                None
            }
            Event::Appended { fact: Fact::Settled { outcome, attempt, .. }, .. } => {
                last = Some((*outcome, *attempt));
                Some(*outcome)
            }
            Event::Appended { fact: Fact::Retried(_), .. } => {
                retried.extend(last);
                None
            }
            Event::OutcomeHeard { outcome, attempt, .. } if retried.contains(&(*outcome, *attempt)) => None,
            Event::OutcomeHeard { outcome, .. } => Some(*outcome),
            Event::Audited { outcome: Some(outcome), .. } => Some(*outcome),
            _ => None,
        };
        if let Some(other) = other.filter(|other| cancelled && *other != Outcome::Cancelled) {
            return view.report(found, NAME, task, line, &format!("{other}, after it was cancelled"));
        }
    }
}

#[cfg(test)]
mod tests {
    use ganger_common::Outcome;

    use crate::oracle::script::*;
    use crate::sim::Event;
    use crate::sim::log::Fact;

    fn cancelled(mut script: Script) -> Script {
        script.submit(1).accept(1).push(Event::CancelAsked { client: CLIENT, ask: 1, task: id(1) });
        script.append_settled(1, Outcome::Cancelled, 0).sync();
        script.promise(crate::sim::log::Promise::Cancelled(id(1)));
        script.push(Event::CancelAcknowledged { client: CLIENT, ask: 1, task: id(1) });
        script
    }

    #[test]
    fn a_cancelled_task_that_stays_cancelled_passes() {
        let mut script = cancelled(Script::journal());
        script.promise_outcome(1, Outcome::Cancelled, 0).hear(1, Outcome::Cancelled, 0, 0).quiet();
        script.passes(super::check);
    }

    #[test]
    fn a_result_after_the_acknowledgement_must_not_count() {
        let mut script = cancelled(Script::journal());
        script.settle(1, Outcome::Succeeded);
        script.fails(super::check, "I18", "after it was cancelled");
    }

    #[test]
    fn an_outcome_from_before_a_retry_may_come_late() {
        let mut script = Script::journal();
        script.submit(1).accept(1).settle(1, Outcome::Failed).append(Fact::Retried(id(1)));
        script.push(Event::CancelAsked { client: CLIENT, ask: 1, task: id(1) });
        script.append_settled(1, Outcome::Cancelled, 2).sync();
        script.promise(crate::sim::log::Promise::Cancelled(id(1))).hear(1, Outcome::Failed, 1, 0);
        script.passes(super::check);
    }

    #[test]
    fn nobody_may_hear_another_outcome() {
        let mut script = cancelled(Script::journal());
        script.restart().hear(1, Outcome::Succeeded, 1, 1);
        script.fails(super::check, "I18", "after it was cancelled");
    }

    #[test]
    fn what_is_told_of_a_task_that_was_let_go_binds_no_other() {
        let mut script = Script::journal();
        script.submit(1).accept(1).push(Event::CancelAsked { client: CLIENT, ask: 1, task: id(1) });
        script.append_settled(1, Outcome::Cancelled, 0).append(Fact::Forgotten(9, 0)).sync();
        script.promise(crate::sim::log::Promise::Cancelled(id(1))).submit(1).accept(1);
        script.push(Event::CancelAcknowledged { client: CLIENT, ask: 1, task: id(1) });
        script.run(1).settle(1, Outcome::Succeeded);
        script.passes(super::check);
    }

    #[test]
    fn a_promise_of_a_task_that_was_let_go_may_leave_after_the_next_was_accepted() {
        let mut script = Script::journal();
        script.submit(1).accept(1).push(Event::CancelAsked { client: CLIENT, ask: 1, task: id(1) });
        script.append_settled(1, Outcome::Cancelled, 0).append(Fact::Forgotten(9, 0)).submit(1).accept(1);
        script.promise(crate::sim::log::Promise::Cancelled(id(1)));
        script.push(Event::CancelAcknowledged { client: CLIENT, ask: 1, task: id(1) });
        script.run(1).settle(1, Outcome::Succeeded);
        script.passes(super::check);
    }

    #[test]
    fn a_promise_binds_although_the_answer_is_lost() {
        let mut script = Script::journal();
        script.submit(1).accept(1).push(Event::CancelAsked { client: CLIENT, ask: 1, task: id(1) });
        script.append_settled(1, Outcome::Cancelled, 0).sync();
        script.promise(crate::sim::log::Promise::Cancelled(id(1))).settle(1, Outcome::Succeeded);
        script.fails(super::check, "I18", "after it was cancelled");
    }

    #[test]
    fn the_next_life_in_memory_knows_nothing_of_it() {
        let mut script = cancelled(Script::memory());
        script.restart().submit(1).accept(1).run(1).settle(1, Outcome::Succeeded);
        script.passes(super::check);
    }
}
