//! I3: submission is idempotent, across a restart of the broker too.
//!
//! Checks that the journal takes a task at most once for as long as it remembers it: what is handed in
//! again under the same id is the same task. A life begins with what it has read back, so what a disk has
//! lost may be taken again, and so may what a life in memory has lost.
//!
//! Cannot see: whether a resubmission runs again; that is for I4 and I6.

use super::Violation;
use super::view::{Kept, Step, View};
use crate::sim::Event;
use crate::sim::log::Fact;

const NAME: &str = "I3";

pub(super) fn check(view: &View<'_>, found: &mut Vec<Violation>) {
    for (task, story) in view.stories() {
        let mut taken = Kept::default();
        for step in view.steps(story) {
            match step {
                Step::Life(life) => taken.recover(life.recovered),
                Step::Forgotten => taken = Kept::default(),
                Step::Line(line, Event::Appended { lsn, fact: Fact::Accepted(..), .. }) => {
                    if let Some((before, ())) = taken.last() {
                        let what = format!("taken a second time, after record {before}");
                        view.report(found, NAME, task, line, &what);
                    }
                    taken.add(*lsn, ());
                }
                Step::Line(..) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::oracle::script::*;

    #[test]
    fn the_same_task_submitted_twice_and_taken_once_passes() {
        let mut script = Script::journal();
        script.submit(1).submit(1).accept(1).run_through(1).quiet();
        script.passes(super::check);
    }

    #[test]
    fn a_task_that_is_taken_twice_is_a_duplicate() {
        let mut script = Script::journal();
        script.submit(1).accept(1).submit(1).accept(1);
        script.fails(super::check, "I3", "second time");
    }

    #[test]
    fn a_task_that_is_taken_again_after_a_restart_is_a_duplicate() {
        let mut script = Script::journal();
        script.submit(1).accept(1).restart().submit(1).accept(1);
        script.fails(super::check, "I3", "second time");
    }

    #[test]
    fn what_the_disk_lost_may_be_taken_again() {
        let mut script = Script::journal();
        script.submit(1).append_accepted(1).lose_and_restart().submit(1).accept(1);
        script.passes(super::check);
    }
}
