//! I15: memory and queues are bounded.
//!
//! Checks that the tasks without an outcome, counted from the journal's own records, never exceed what the
//! queue may hold, and that every sample of what the broker holds is within its bound. What is put back
//! from the dead set is let in over the limits and so is not counted against them.
//!
//! Cannot see: memory that no sample counts, and whether the refusal that overload is answered with is
//! `busy`: the client library turns it into a pause.

use std::collections::BTreeMap;

use ganger_common::TaskId;

use super::Violation;
use super::view::View;
use crate::sim::Event;
use crate::sim::log::{Fact, Sample};

const NAME: &str = "I15";

#[derive(Default)]
struct Held {
    /// Tasks without an outcome, with the record that took them.
    open: BTreeMap<TaskId, u64>,
    /// Settled ones, with the record that took and the one that settled them.
    settled: BTreeMap<TaskId, (u64, u64)>,
    retried: u64,
}

pub(super) fn check(view: &View<'_>, found: &mut Vec<Violation>) {
    let mut held = Held::default();
    for (line, entry) in view.entries.iter().enumerate() {
        match &entry.event {
            Event::BrokerUp { recovered, .. } => held.recover(*recovered),
            Event::Appended { lsn, fact, .. } => {
                held.note(*lsn, fact);
                let most = view.facts.queue_tasks_max + held.retried;
                if held.open.len() as u64 > most {
                    let what = format!("{} tasks without an outcome, at most {most}", held.open.len());
                    return view.report_line(found, NAME, line, &what);
                }
            }
            Event::Sample(sample) => {
                if let Some(what) = held.objection(view, sample) {
                    return view.report_line(found, NAME, line, &what);
                }
            }
            _ => {}
        }
    }
}

impl Held {
    fn recover(&mut self, recovered: u64) {
        for (task, (taken, settled)) in std::mem::take(&mut self.settled) {
            match settled <= recovered {
                true => self.settled.insert(task, (taken, settled)).map(|_| ()),
                false => self.open.insert(task, taken).map(|_| ()),
            };
        }
        self.open.retain(|_, taken| *taken <= recovered);
    }

    fn note(&mut self, lsn: u64, fact: &Fact) {
        match fact {
            Fact::Accepted(task, _) => {
                self.open.insert(*task, lsn);
            }
            Fact::Settled { task, .. } => {
                if let Some(taken) = self.open.remove(task) {
                    self.settled.insert(*task, (taken, lsn));
                }
            }
            Fact::Retried(task) => {
                self.retried += 1;
                if let Some((taken, _)) = self.settled.remove(task) {
                    self.open.insert(*task, taken);
                }
            }
            _ => {}
        }
    }

    fn objection(&self, view: &View<'_>, sample: &Sample) -> Option<String> {
        let facts = view.facts;
        let retried_bytes = self.retried * facts.payload_max;
        let bounds = [
            ("unsettled tasks", sample.unsettled, facts.queue_tasks_max + self.retried),
            ("payload bytes", sample.payload_bytes, facts.queue_bytes_max + retried_bytes),
            ("bytes for one connection", sample.outbox_bytes_max, facts.outbox_bytes_max),
        ];
        let (what, is, most) = bounds.into_iter().find(|(_, is, most)| is > most)?;
        Some(format!("{is} {what}, at most {most}"))
    }
}

#[cfg(test)]
mod tests {
    use crate::oracle::script::*;
    use crate::sim::Event;
    use crate::sim::log::Sample;

    #[test]
    fn a_full_queue_passes() {
        let mut script = Script::journal();
        (0..100).for_each(|n| {
            script.submit(n).append_accepted(n);
        });
        script.push(Event::Sample(Sample { unsettled: 100, ..Sample::default() }));
        script.passes(super::check);
    }

    #[test]
    fn one_task_more_than_fits_fails() {
        let mut script = Script::journal();
        (0..101).for_each(|n| {
            script.submit(n).append_accepted(n);
        });
        script.fails(super::check, "I15", "101 tasks");
    }

    #[test]
    fn what_is_settled_takes_no_room() {
        let mut script = Script::journal();
        (0..101).for_each(|n| {
            script.submit(n).append_accepted(n).append_settled(n, ganger_common::Outcome::Cancelled, 0);
        });
        script.passes(super::check);
    }

    #[test]
    fn a_sample_over_its_bound_fails() {
        let mut script = Script::journal();
        script.push(Event::Sample(Sample { outbox_bytes_max: 100_001, ..Sample::default() }));
        script.fails(super::check, "I15", "bytes for one connection");
    }
}
