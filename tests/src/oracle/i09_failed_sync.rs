//! I9: after a failed write or sync no promise leaves, and the process stops with a clear error.
//!
//! Checks that nothing that binds leaves a broker after its disk has failed, and that this broker's life
//! then ends, by itself as one whose journal failed, or because something killed it first. After a failed
//! sync nobody knows what of the unsynced is safe, and a second sync that succeeds proves nothing.
//!
//! Cannot see: whether the error is clear to people, nor what a real file system does; that is for the
//! journal's own tests.

use super::Violation;
use super::view::View;
use crate::sim::Event;
use crate::sim::log::{BrokerEnd, Life};

const NAME: &str = "I9";

pub(super) fn check(view: &View<'_>, found: &mut Vec<Violation>) {
    let mut failed: Option<Life> = None;
    for (line, entry) in view.entries.iter().enumerate() {
        match &entry.event {
            Event::SyncFailed { life } => failed = Some(*life),
            Event::PromiseLeft { life, promise, .. } if failed == Some(*life) => {
                let what = format!("{promise:?} left after the disk had failed");
                view.report_line(found, NAME, line, &what);
            }
            Event::BrokerKilled { life } if failed == Some(*life) => failed = None,
            Event::BrokerEnded { life, why } if failed == Some(*life) => {
                if *why != BrokerEnd::JournalFailed {
                    view.report_line(
                        found,
                        NAME,
                        line,
                        "a broker whose disk failed ended for another reason",
                    );
                }
                failed = None;
            }
            _ => {}
        }
    }
    if failed.is_some() && view.quiet.is_some() {
        view.report_end(found, NAME, "a broker went on after its disk had failed");
    }
}

#[cfg(test)]
mod tests {
    use crate::oracle::script::*;
    use crate::sim::Event;
    use crate::sim::log::{BrokerEnd, Promise};

    fn failing() -> Script {
        let mut script = Script::journal();
        let life = script.life();
        script.submit(1).append_accepted(1).push(Event::SyncFailed { life });
        script
    }

    #[test]
    fn a_broker_that_stops_passes() {
        let mut script = failing();
        let life = script.life();
        script.push(Event::BrokerEnded { life, why: BrokerEnd::JournalFailed }).quiet();
        script.passes(super::check);
    }

    #[test]
    fn no_promise_leaves_after_a_failure() {
        let mut script = failing();
        script.sync().promise(Promise::Accepted(id(1)));
        script.fails(super::check, "I9", "left after");
    }

    #[test]
    fn a_broker_does_not_go_on() {
        let mut script = failing();
        script.quiet();
        script.fails(super::check, "I9", "went on");
    }
}
