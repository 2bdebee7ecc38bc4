//! I10: recovery reads back a prefix of the journal that contains everything that was safe.
//!
//! Checks that a new life begins with at least every record that an earlier one was told is safe and with
//! no more than the disk has kept, that records are numbered on from there without a gap, and that a task
//! whose acceptance was read back is known at the end. Under memory durability there is nothing to read.
//!
//! Partial: that recovering twice gives the same, and that a snapshot stands for what it replaced, is for
//! the tests of the scheduler and of the journal on disk; the log has no second recovery.

use ganger_common::message::Durability;

use super::Violation;
use super::view::{Kept, Step, View};
use crate::sim::Event;
use crate::sim::log::Fact;

const NAME: &str = "I10";

pub(super) fn check(view: &View<'_>, found: &mut Vec<Violation>) {
    check_prefix(view, found);
    if view.facts.durability == Durability::Journal && view.facts.retains_all && view.quiet.is_some() {
        check_memory(view, found);
    }
}

fn check_prefix(view: &View<'_>, found: &mut Vec<Violation>) {
    let (mut safe, mut kept, mut last) = (0, None, 0);
    for (line, entry) in view.entries.iter().enumerate() {
        match &entry.event {
            Event::Synced { upto, .. } => safe = *upto,
            Event::DiskKept { upto } => kept = Some(*upto),
            Event::BrokerUp { recovered, durability, .. } => {
                if *durability == Durability::Memory {
                    (safe, kept, last) = (0, None, 0);
                    continue;
                }
                if *recovered < safe {
                    let what = format!("read back up to {recovered}, and {safe} was safe");
                    view.report_line(found, NAME, line, &what);
                }
                if let Some(kept) = kept.take().filter(|kept| recovered > kept) {
                    let what = format!("read back up to {recovered}, and the disk has {kept}");
                    view.report_line(found, NAME, line, &what);
                }
                (safe, last) = (*recovered, *recovered);
            }
            Event::Appended { lsn, .. } => {
                if *lsn != last && *lsn != last + 1 {
                    let what = format!("record {lsn} follows record {last}");
                    view.report_line(found, NAME, line, &what);
                }
                last = *lsn;
            }
            _ => {}
        }
    }
}

/// What a life has read back it remembers to the end.
fn check_memory(view: &View<'_>, found: &mut Vec<Violation>) {
    for (task, story) in view.stories() {
        let mut taken = Kept::default();
        let mut was_recovered = false;
        for step in view.steps(story) {
            match step {
                Step::Life(life) => {
                    taken.recover(life.recovered);
                    was_recovered |= !taken.is_empty();
                }
                Step::Forgotten => (taken, was_recovered) = (Kept::default(), false),
                Step::Line(_, Event::Appended { lsn, fact: Fact::Accepted(..), .. }) => taken.add(*lsn, ()),
                Step::Line(line, Event::Audited { known: false, .. }) if was_recovered => {
                    view.report(found, NAME, task, line, "it was read back, and is not known at the end");
                }
                Step::Line(..) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::oracle::script::*;
    use crate::sim::Event;
    use crate::sim::log::{Fact, Life};

    fn up(script: &mut Script, recovered: u64) {
        let (life, epoch, durability) = (Life(9), ganger_common::Epoch(9), script.facts.durability);
        script.kill().push(Event::BrokerUp { life, epoch, durability, recovered });
    }

    #[test]
    fn a_life_that_begins_with_everything_passes() {
        let mut script = Script::journal();
        script.submit(1).accept(1).run_through(1).restart().submit(2).accept(2).quiet();
        script.passes(super::check);
    }

    #[test]
    fn what_was_safe_is_read_back() {
        let mut script = Script::journal();
        script.submit(1).accept(1).submit(2).accept(2);
        up(&mut script, 1);
        script.fails(super::check, "I10", "was safe");
    }

    #[test]
    fn what_the_disk_does_not_have_is_not_read_back() {
        let mut script = Script::journal();
        script.submit(1).accept(1).append_accepted(2).push(Event::DiskKept { upto: 1 });
        up(&mut script, 2);
        script.fails(super::check, "I10", "the disk has");
    }

    #[test]
    fn records_have_no_gaps() {
        let mut script = Script::journal();
        let life = script.life();
        script.push(Event::Appended { life, lsn: 1, fact: Fact::Other });
        script.push(Event::Appended { life, lsn: 3, fact: Fact::Other });
        script.fails(super::check, "I10", "follows");
    }

    #[test]
    fn what_was_read_back_is_remembered() {
        let mut script = Script::journal();
        script.submit(1).accept(1).restart().audit_unknown(1).end();
        script.fails(super::check, "I10", "not known");
    }
}
