//! I12: after the faults end, everything settles within a bound.
//!
//! Checks that a run in which the faults ended comes to rest (the log ends with `Quiet`) and that all
//! outcomes were there within the bound of the run; and that every program that lives at the end has an
//! answer to each of its submissions, watches and requests. Safety alone is easy: a system that does
//! nothing has it.
//!
//! Cannot see: how long a single task took; only credit and order look at that.

use std::collections::BTreeMap;

use super::Violation;
use super::view::View;
use crate::sim::Event;
use crate::sim::log::ClientNo;

const NAME: &str = "I12";

pub(super) fn check(view: &View<'_>, found: &mut Vec<Violation>) {
    let Some(ended) = view.faults_ended else {
        return view.report_end(found, NAME, "the faults never ended");
    };
    check_bound(view, found, ended);
    if view.quiet.is_some() {
        check_answers(view, found);
    }
}

fn check_bound(view: &View<'_>, found: &mut Vec<Violation>, ended: usize) {
    let bound = view.facts.settle_within.as_micros() as u64;
    let settled = view.entries[ended..].iter().find(|entry| entry.event == Event::Settled);
    let late = settled.map(|entry| entry.at.0 - view.at(ended).0).filter(|took| *took > bound);
    match (settled, late) {
        (None, _) => {
            let what = "not everything has settled when the log ends";
            view.report_end(found, NAME, &format!("{what}{}", unsettled(view)));
        }
        (_, Some(took)) => {
            view.report_end(found, NAME, &format!("it took {took} µs to settle, the bound is {bound}"));
        }
        _ if view.quiet.is_none() => view.report_end(found, NAME, "the audit did not come to its end"),
        _ => {}
    }
}

/// Tasks whose story has no settlement, to begin looking at.
fn unsettled(view: &View<'_>) -> String {
    let is_settled =
        |event: &Event| matches!(event, Event::Appended { fact: crate::sim::log::Fact::Settled { .. }, .. });
    let open = view.stories().filter(|(_, story)| {
        let last = view.lines(story).filter(|(_, event)| is_settled(event)).last();
        last.is_none()
    });
    open.take(3).map(|(task, _)| format!(" {task}")).collect()
}

/// Whoever lives until the end has heard something.
fn check_answers(view: &View<'_>, found: &mut Vec<Violation>) {
    let mut asked: BTreeMap<(ClientNo, u64), usize> = BTreeMap::new();
    for (line, entry) in view.entries.iter().enumerate() {
        match &entry.event {
            Event::CancelAsked { client, ask, .. }
            | Event::RetryAsked { client, ask, .. }
            | Event::DiscardAsked { client, ask, .. }
            | Event::KindAsked { client, ask, .. }
            | Event::KnowledgeAsked { client, ask, .. } => {
                asked.insert((*client, *ask), line);
            }
            Event::CancelAcknowledged { client, ask, .. }
            | Event::CancelRefused { client, ask, .. }
            | Event::CancelUnknown { client, ask, .. }
            | Event::RetryAcknowledged { client, ask, .. }
            | Event::RetryRefused { client, ask, .. }
            | Event::RetryUnknown { client, ask, .. }
            | Event::DiscardAnswered { client, ask, .. }
            | Event::DiscardUnknown { client, ask }
            | Event::KindAnswered { client, ask, .. }
            | Event::KindUnknown { client, ask }
            | Event::KnowledgeAcknowledged { client, ask, .. }
            | Event::KnowledgeRefused { client, ask, .. }
            | Event::KnowledgeUnknown { client, ask } => {
                asked.remove(&(*client, *ask));
            }
            _ => {}
        }
    }
    if let Some(((client, ask), line)) = asked.first_key_value() {
        view.report_line(found, NAME, *line, &format!("{client:?} has no answer to its request {ask}"));
    }
    for (task, story) in view.stories() {
        let mut waits = BTreeMap::new();
        for (line, event) in view.lines(story) {
            match event {
                Event::Submitted { client, .. } | Event::WatchAsked { client, .. } => {
                    waits.insert(*client, line);
                }
                Event::Acknowledged { client, .. }
                | Event::Refused { client, .. }
                | Event::Unknown { client, .. }
                | Event::OutcomeHeard { client, .. }
                | Event::WaitFailed { client, .. }
                | Event::WaitAbandoned { client, .. } => {
                    waits.remove(client);
                }
                _ => {}
            }
        }
        if let Some((client, line)) = waits.first_key_value() {
            view.report(found, NAME, task, *line, &format!("{client:?} has no answer"));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::oracle::script::*;
    use crate::sim::Event;

    #[test]
    fn a_run_that_comes_to_rest_passes() {
        let mut script = Script::journal();
        script.submit(1).accept(1).run_through(1).quiet();
        script.passes(super::check);
    }

    #[test]
    fn a_run_that_does_not_come_to_rest_fails() {
        let mut script = Script::journal();
        script.submit(1).accept(1).faults_end();
        script.fails(super::check, "I12", "not everything has settled");
    }

    #[test]
    fn a_run_that_takes_too_long_fails() {
        let mut script = Script::journal();
        script.faults_end().wait_ms(61_000).push(Event::Settled).end();
        script.fails(super::check, "I12", "the bound is");
    }

    #[test]
    fn a_submission_without_an_answer_fails() {
        let mut script = Script::journal();
        script.submit(1).quiet();
        script.fails(super::check, "I12", "has no answer");
    }

    #[test]
    fn a_request_without_an_answer_fails() {
        let mut script = Script::journal();
        script.submit(1).accept(1).run_through(1);
        script.push(Event::CancelAsked { client: CLIENT, ask: 4, task: id(1) }).quiet();
        script.fails(super::check, "I12", "request 4");
    }
}
