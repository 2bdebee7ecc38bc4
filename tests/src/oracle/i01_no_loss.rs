//! I1: every acknowledged task reaches exactly one outcome.
//!
//! Checks that whoever was told that a task is taken, and lived to wait, heard its outcome; that nobody who
//! was told so is told later that the broker has forgotten it; and that a client which asks at the end
//! finds every task whose acceptance left the broker, with an outcome. For an acknowledgement binds
//! whatever became of the client. It is what all of this is for.
//!
//! What somebody had let go from the dead set need not be found; that it had its outcome by then is for
//! `operator`.
//!
//! Under memory durability a promise binds within the broker's life, so the audit only counts what the last
//! life promised; but the client library hands in again what a life has lost, so those who wait must hear
//! all the same.
//!
//! Cannot see: a task that was lost and whose every client died before it knew, under memory durability.

use std::collections::BTreeMap;

use ganger_common::ErrorCode;
use ganger_common::message::Durability;

use super::Violation;
use super::view::{Story, View};
use crate::sim::Event;
use crate::sim::log::Promise;

const NAME: &str = "I1";

pub(super) fn check(view: &View<'_>, found: &mut Vec<Violation>) {
    for (task, story) in view.stories() {
        check_waiters(view, found, task, story);
        if view.quiet.is_some() && view.facts.retains_all {
            check_audit(view, found, task, story);
        }
    }
}

fn check_waiters(
    view: &View<'_>,
    found: &mut Vec<Violation>,
    task: ganger_common::TaskId,
    story: &Story<'_>,
) {
    let detached = story.spec.is_some_and(|spec| spec.options.detached);
    let mut waits = BTreeMap::new();
    for (line, event) in view.lines(story) {
        match event {
            Event::Acknowledged { client, .. } if !detached => {
                waits.insert(*client, line);
            }
            Event::OutcomeHeard { client, .. } | Event::WaitAbandoned { client, .. } => {
                waits.remove(client);
            }
            Event::WaitFailed { client, code, .. } => {
                let was_promised = waits.remove(client).is_some();
                let is_kept = view.facts.retains_all && !view.was_discarded(story, line);
                let may_be_forgotten = !is_kept && matches!(code, None | Some(ErrorCode::UnknownTask));
                if was_promised && !may_be_forgotten {
                    view.report(found, NAME, task, line, "acknowledged, and then there was no outcome");
                }
            }
            _ => {}
        }
    }
    if let (Some(end), Some((client, _))) = (view.quiet, waits.first_key_value()) {
        view.report(found, NAME, task, end, &format!("{client:?} was promised an outcome and heard none"));
    }
}

fn check_audit(view: &View<'_>, found: &mut Vec<Violation>, task: ganger_common::TaskId, story: &Story<'_>) {
    let last = view.lives.last().map(|life| life.life);
    let binds = |event: &Event| match event {
        Event::PromiseLeft { life, promise: Promise::Accepted(_), .. } => {
            view.facts.durability == Durability::Journal || Some(*life) == last
        }
        _ => false,
    };
    if !view.lines(story).any(|(_, event)| binds(event)) {
        return;
    }
    let audits: Vec<_> = view
        .lines(story)
        .filter_map(|(line, event)| match event {
            Event::Audited { known, outcome, .. } => Some((line, *known, *outcome)),
            _ => None,
        })
        .collect();
    match audits.last() {
        Some((_, true, Some(_))) => {}
        // Somebody had it let go, and it was not handed in since.
        Some((_, false, _)) if view.ends_discarded(story) => {}
        Some((line, false, _)) => view.report(found, NAME, task, *line, "accepted, and the broker lost it"),
        Some((line, true, None)) => view.report(found, NAME, task, *line, "accepted, and never settled"),
        None => view.report_end(found, NAME, &format!("task {task} was accepted and not audited")),
    }
}

#[cfg(test)]
mod tests {
    use ganger_common::Outcome;

    use crate::oracle::script::*;

    #[test]
    fn an_acknowledged_task_with_its_outcome_passes() {
        let mut script = Script::journal();
        script.submit(1).accept(1).run_through(1).quiet();
        script.passes(super::check);
    }

    #[test]
    fn an_acknowledged_task_that_the_audit_does_not_find_is_a_loss() {
        let mut script = Script::journal();
        script.submit(1).accept(1).faults_end().abandon(1).audit_unknown(1).end();
        script.fails(super::check, "I1", "lost it");
    }

    #[test]
    fn an_acknowledged_task_that_never_settles_is_a_loss() {
        let mut script = Script::journal();
        script.submit(1).accept(1).faults_end().abandon(1).audit(1, None, 0).end();
        script.fails(super::check, "I1", "never settled");
    }

    #[test]
    fn a_client_that_waits_for_ever_was_lied_to() {
        let mut script = Script::journal();
        script.submit(1).accept(1).run(1).settle(1, Outcome::Succeeded).faults_end();
        script.audit(1, Some(Outcome::Succeeded), 1).end();
        script.fails(super::check, "I1", "heard none");
    }

    #[test]
    fn an_acknowledged_task_must_not_be_forgotten() {
        let mut script = Script::journal();
        script.submit(1).accept(1).wait_fails(1).faults_end().end();
        script.fails(super::check, "I1", "no outcome");
    }

    #[test]
    fn what_a_life_in_memory_promised_binds_no_other() {
        let mut script = Script::memory();
        script.submit(1).accept(1).abandon(1).restart().faults_end().audit_unknown(1).end();
        script.passes(super::check);
    }
}
