//! Operator: what somebody pauses is not given out, and what somebody lets go had failed, and is gone.
//!
//! Checks that from the record that pauses a kind until the one that resumes it no task of it is given out, over
//! every restart that has kept the record; that only tasks are let go by name that somebody asked for, and that
//! had failed or were dead by the journal's own records; and that such a task is not found at the end unless it
//! was handed in again. A kind is paused because its tasks do harm, and a task that is let go too early is lost.
//!
//! What leaves at the moment of the record may have been decided before it, in the same turn.
//!
//! Cannot see: whether all that fitted a filter was let go; the exact tests can.

use std::collections::{BTreeMap, BTreeSet};

use ganger_common::{Outcome, TaskId};

use super::Violation;
use super::view::{Kept, Step, Story, View};
use crate::sim::Event;
use crate::sim::log::{At, Fact};

const NAME: &str = "operator";

pub(super) fn check(view: &View<'_>, found: &mut Vec<Violation>) {
    check_pauses(view, found);
    let asked = Asked::of(view);
    for (task, story) in view.stories() {
        check_discarded(view, found, &asked, task, story);
    }
}

fn check_pauses(view: &View<'_>, found: &mut Vec<Violation>) {
    let mut paused: BTreeMap<u8, Kept<At>> = BTreeMap::new();
    for (line, entry) in view.entries.iter().enumerate() {
        match &entry.event {
            Event::BrokerUp { recovered, .. } => {
                paused.values_mut().for_each(|kept| kept.recover(*recovered));
            }
            Event::Appended { lsn, fact: Fact::KindPaused(kind), .. } => {
                paused.entry(*kind).or_default().add(*lsn, entry.at);
            }
            Event::Appended { lsn, fact: Fact::KindResumed(kind), .. } => {
                paused.entry(*kind).or_default().end(*lsn);
            }
            Event::LeaseGiven { lease, kind, .. } => {
                let pause = paused.get(kind).and_then(Kept::last);
                if let Some((lsn, _)) = pause.filter(|(_, since)| **since < entry.at) {
                    let what = format!("given out; its kind {kind} is paused by record {lsn}");
                    view.report(found, NAME, lease.task, line, &what);
                }
            }
            _ => {}
        }
    }
}

/// What somebody ever asked to have let go.
#[derive(Default)]
struct Asked {
    tasks: BTreeSet<TaskId>,
    everything: bool,
}

impl Asked {
    fn of(view: &View<'_>) -> Self {
        let mut asked = Self::default();
        for entry in &view.entries {
            if let Event::DiscardAsked { tasks, .. } = &entry.event {
                asked.everything |= tasks.is_empty();
                asked.tasks.extend(tasks);
            }
        }
        asked
    }
}

fn check_discarded(
    view: &View<'_>,
    found: &mut Vec<Violation>,
    asked: &Asked,
    task: TaskId,
    story: &Story<'_>,
) {
    let mut settled: Kept<Outcome> = Kept::default();
    let mut gone: Kept<()> = Kept::default();
    for step in view.steps(story) {
        let (line, event) = match step {
            Step::Life(life) => {
                settled.recover(life.recovered);
                gone.recover(life.recovered);
                continue;
            }
            Step::Forgotten => continue,
            Step::Line(line, event) => (line, event),
        };
        match event {
            Event::Appended { lsn, fact: Fact::Settled { outcome, .. }, .. } => settled.add(*lsn, *outcome),
            Event::Appended { lsn, fact: Fact::Accepted(..), .. } => {
                settled.end(*lsn);
                gone.end(*lsn);
            }
            Event::Appended { lsn, fact: Fact::Retried(_), .. } => settled.end(*lsn),
            Event::Appended { lsn, fact: Fact::Discarded(_), .. } => {
                if !(asked.everything || asked.tasks.contains(&task)) {
                    view.report(found, NAME, task, line, "let go, and nobody asked for that");
                }
                match settled.last() {
                    Some((_, Outcome::Failed | Outcome::Dead)) => {}
                    Some((before, outcome)) => {
                        let what = format!("let go; it {outcome} in record {before}");
                        view.report(found, NAME, task, line, &what);
                    }
                    None => view.report(found, NAME, task, line, "let go without an outcome"),
                }
                settled.end(*lsn);
                gone.add(*lsn, ());
            }
            Event::Audited { known: true, .. } => {
                if let Some((before, ())) = gone.last() {
                    let what = format!("found at the end; it was let go in record {before}");
                    view.report(found, NAME, task, line, &what);
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use ganger_common::Outcome;

    use crate::oracle::script::*;
    use crate::sim::Event;
    use crate::sim::log::{Fact, Promise};

    fn paused() -> Script {
        let mut script = Script::journal();
        script.submit(1).accept(1).append(Fact::KindPaused(0)).sync().promise(Promise::KindPaused(0));
        script
    }

    #[test]
    fn what_is_given_out_after_the_kind_was_resumed_passes() {
        let mut script = paused();
        script.append(Fact::KindResumed(0)).run_through(1).quiet();
        script.passes(super::check);
    }

    #[test]
    fn a_lease_of_a_paused_kind_fails() {
        let mut script = paused();
        script.give(1, 1, 1);
        script.fails(super::check, "operator", "is paused");
    }

    #[test]
    fn a_pause_outlives_the_broker() {
        let mut script = paused();
        script.restart().give(1, 1, 1);
        script.fails(super::check, "operator", "is paused");
    }

    #[test]
    fn a_pause_that_the_disk_lost_never_was() {
        let mut script = Script::journal();
        script.submit(1).accept(1).append(Fact::KindPaused(0)).lose_and_restart().give(1, 1, 1);
        script.passes(super::check);
    }

    #[test]
    fn what_left_in_the_turn_of_the_pause_passes() {
        let mut script = Script::journal();
        script.submit(1).accept(1).append(Fact::KindPaused(0)).at_once().give(1, 1, 1);
        script.passes(super::check);
    }

    fn discarded(outcome: Outcome) -> Script {
        let mut script = Script::journal();
        script.submit(1).accept(1).run(1).append_settled(1, outcome, 1);
        script.push(Event::DiscardAsked { client: CLIENT, ask: 1, tasks: vec![id(1)] });
        script.append(Fact::Discarded(id(1))).sync();
        script
    }

    #[test]
    fn a_failed_task_that_is_let_go_is_gone() {
        let mut script = discarded(Outcome::Failed);
        script.faults_end().audit_unknown(1).end();
        script.passes(super::check);
    }

    #[test]
    fn what_is_let_go_must_have_failed() {
        discarded(Outcome::Succeeded).fails(super::check, "operator", "it succeeded");
        let mut script = Script::journal();
        script.submit(1).accept(1);
        script.push(Event::DiscardAsked { client: CLIENT, ask: 1, tasks: Vec::new() });
        script.append(Fact::Discarded(id(1)));
        script.fails(super::check, "operator", "without an outcome");
    }

    #[test]
    fn what_is_let_go_does_not_come_back_by_itself() {
        let mut script = discarded(Outcome::Failed);
        script.restart().faults_end().audit(1, Some(Outcome::Failed), 1).end();
        script.fails(super::check, "operator", "found at the end");
    }

    #[test]
    fn what_is_let_go_may_be_handed_in_again() {
        let mut script = discarded(Outcome::Dead);
        script.submit(1).accept(1).run_through(1).faults_end().audit(1, Some(Outcome::Succeeded), 1).end();
        script.passes(super::check);
    }

    #[test]
    fn nothing_is_let_go_unasked() {
        let mut script = Script::journal();
        script.submit(1).accept(1).append_settled(1, Outcome::Dead, 1).append(Fact::Discarded(id(1)));
        script.fails(super::check, "operator", "nobody asked");
    }
}
