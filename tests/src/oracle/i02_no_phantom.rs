//! I2: what ran was submitted, byte for byte.
//!
//! Checks that every task that the broker accepts, gives out or settles, and every task that a handler
//! runs, was handed in before under this id, of this kind and with this payload; that no handler runs a
//! lease that was never given out; and that every result that a client hears or the audit finds is one that
//! a handler of this very task returned. A broker that invents or mixes up work does harm that nobody
//! notices for long.
//!
//! Cannot see: what differs and has the same checksum.

use std::collections::BTreeSet;

use ganger_common::Outcome;

use super::Violation;
use super::view::{Story, View};
use crate::sim::Event;
use crate::sim::log::{Digest, Fact, RunEnd};

const NAME: &str = "I2";

pub(super) fn check(view: &View<'_>, found: &mut Vec<Violation>) {
    for (task, story) in view.stories() {
        check_origin(view, found, task, story);
        check_results(view, found, task, story);
    }
}

fn check_origin(view: &View<'_>, found: &mut Vec<Violation>, task: ganger_common::TaskId, story: &Story<'_>) {
    let mut given = BTreeSet::new();
    for (line, event) in view.lines(story) {
        let (is_work, content) = match event {
            Event::LeaseGiven { lease, incarnation, kind, payload, .. } => {
                given.insert((*incarnation, *lease));
                (true, Some((*kind, *payload)))
            }
            Event::RunStarted { lease, incarnation, kind, payload, .. } => {
                // Whoever is given a task and begins it at one moment may stand in the log before its lease.
                let at_once = |(other, event): (usize, &Event)| {
                    view.at(other) == view.at(line)
                        && matches!(event, Event::LeaseGiven { incarnation: who, lease: what, .. }
                            if (who, what) == (incarnation, lease))
                };
                if !given.contains(&(*incarnation, *lease)) && !view.lines(story).any(at_once) {
                    view.report(found, NAME, task, line, "a handler runs what it was never given");
                }
                (true, Some((*kind, *payload)))
            }
            Event::Appended { fact: Fact::Accepted(..) | Fact::Settled { .. }, .. } => (true, None),
            _ => (false, None),
        };
        let spec = story.spec.filter(|spec| spec.line < line);
        match (is_work, spec, content) {
            (true, None, _) => return view.report(found, NAME, task, line, "nobody submitted it"),
            (true, Some(spec), Some(content)) if content != (spec.kind, spec.payload) => {
                return view.report(found, NAME, task, line, "its kind or payload is not what was submitted");
            }
            _ => {}
        }
    }
}

fn check_results(
    view: &View<'_>,
    found: &mut Vec<Violation>,
    task: ganger_common::TaskId,
    story: &Story<'_>,
) {
    let mut returned: BTreeSet<Digest> = BTreeSet::new();
    let may_be_dropped = !view.facts.retains_all;
    for (line, event) in view.lines(story) {
        let told = match event {
            Event::RunEnded { how: RunEnd::Succeeded(result), .. } => {
                returned.insert(*result);
                None
            }
            Event::OutcomeHeard { outcome: Outcome::Succeeded, result, dropped, .. } => {
                (!(*dropped && may_be_dropped)).then_some(*result)
            }
            Event::Audited { outcome: Some(Outcome::Succeeded), result, .. } => {
                (result.is_some() || !may_be_dropped).then_some(result.unwrap_or_default())
            }
            _ => None,
        };
        if let Some(result) = told.filter(|result| !returned.contains(result)) {
            let what = format!("no handler returned the result {result:?}");
            return view.report(found, NAME, task, line, &what);
        }
    }
}

#[cfg(test)]
mod tests {
    use ganger_common::Outcome;

    use crate::oracle::script::*;

    #[test]
    fn a_task_that_was_submitted_and_ran_passes() {
        let mut script = Script::journal();
        script.submit(1).accept(1).run_through(1).quiet();
        script.passes(super::check);
    }

    #[test]
    fn a_task_that_nobody_submitted_is_a_phantom() {
        let mut script = Script::journal();
        script.append_accepted(7);
        script.fails(super::check, "I2", "nobody submitted");
    }

    #[test]
    fn another_payload_is_another_task() {
        let mut script = Script::journal();
        script.submit(1).accept(1).give_payload(1, 1, 1, 99);
        script.fails(super::check, "I2", "not what was submitted");
    }

    #[test]
    fn a_lease_that_was_never_given_must_not_run() {
        let mut script = Script::journal();
        script.submit(1).accept(1).begin(1, 1, 1);
        script.fails(super::check, "I2", "never given");
    }

    #[test]
    fn a_result_that_nobody_returned_is_a_phantom() {
        let mut script = Script::journal();
        script.submit(1).accept(1).give(1, 1, 1).hear(1, Outcome::Succeeded, 1, 55);
        script.fails(super::check, "I2", "no handler returned");
    }
}
