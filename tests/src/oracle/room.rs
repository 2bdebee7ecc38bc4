//! Room: nothing new is taken while the disk has hardly any.
//!
//! Checks that a broker that knows of a disk without room takes no task, puts none back from the dead set
//! and writes no knowledge until there is room again, so that what is left is there for what runs. What
//! takes knowledge away is allowed: it makes room.
//!
//! Cannot see: that new work is taken again when there is room. Clients try until it is, so that is for I12.

use super::Violation;
use super::view::View;
use crate::sim::Event;
use crate::sim::log::Fact;

const NAME: &str = "room";

pub(super) fn check(view: &View<'_>, found: &mut Vec<Violation>) {
    let mut is_short = false;
    for (line, entry) in view.entries.iter().enumerate() {
        match &entry.event {
            Event::DiskShort { .. } => is_short = true,
            Event::DiskRoom | Event::BrokerUp { .. } => is_short = false,
            Event::Appended {
                fact: Fact::Accepted(..) | Fact::Retried(_) | Fact::Knowledge { value: Some(_), .. },
                ..
            } if is_short => {
                return view.report_line(found, NAME, line, "taken, and the disk had no room");
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::oracle::script::*;
    use crate::sim::Event;

    fn short() -> Script {
        let mut script = Script::journal();
        let life = script.life();
        script.submit(1).accept(1).push(Event::DiskShort { life });
        script
    }

    #[test]
    fn what_was_taken_before_may_finish() {
        let mut script = short();
        script.run_through(1).submit(2).push(Event::DiskRoom).accept(2).run_through(2).quiet();
        script.passes(super::check);
    }

    #[test]
    fn nothing_new_is_taken_without_room() {
        let mut script = short();
        script.submit(2).append_accepted(2);
        script.fails(super::check, "room", "had no room");
    }
}
