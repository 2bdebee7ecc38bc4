//! The oracle: whether everything that was promised in a run was kept.
//!
//! It reads the log of a simulated run ([`Log`]) and its settings ([`Facts`]), and nothing else: what
//! clients asked and were told, what handlers ran, what passed over the wire, what the disk kept, and what
//! a client that outlived all faults read at the end. It never asks the broker's counters or the
//! scheduler's own invariants: those may be wrong in the same way as what they count.
//!
//! Whoever asks gets one of three answers, [`Answer`]: a submission was acknowledged, refused, or nobody
//! knows. What nobody knows may have happened or not, for ever; only the other two bind.
//!
//! One file for each invariant of the design, named by its number; each begins with what it checks, why,
//! and what it cannot see. Beside them stand five rules that have no number there: `order` (what comes
//! back goes to the front), `credit` (no free slot beside work that waits), `reasons` (no outcome
//! without its reason, no budget overrun), `room` (nothing new without room on the disk), and `operator` (what
//! is paused is not given out, what is discarded had failed and is gone).
//!
//! Not here: damage to the data directory (I11) and the space that it takes (I17) belong to the journal on
//! disk, which the simulator replaces; the journal's own tests hold them. Rights (I20) are judged at the door
//! and before the scheduler, neither of which is simulated: the tests under `tests/tests/security` hold them.

mod credit;
mod i01_no_loss;
mod i02_no_phantom;
mod i03_idempotent;
mod i04_attempts;
mod i05_fencing;
mod i06_extra_runs;
mod i07_settled_is_final;
mod i08_promises;
mod i09_failed_sync;
mod i10_recovery;
mod i12_settles;
mod i13_stalls;
mod i15_bounds;
mod i16_knowledge;
mod i18_cancelled;
mod i19_restarts;
mod operator;
mod order;
mod reach;
mod reasons;
mod room;
#[cfg(test)]
mod script;
mod view;

use std::fmt;

use crate::sim::log::At;
use crate::sim::{Facts, Log};
use view::View;

/// What a program knows of its submission.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Answer {
    /// The task is taken. This binds the broker.
    Acknowledged,
    /// The task is not taken.
    Refused,
    /// Either may be true, for ever: the program died, or the run ended, before an answer came.
    Unknown,
}

/// Something that must hold and did not.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// The invariant of the design by its number, or the name of a rule of this module.
    pub invariant: &'static str,
    /// When it showed.
    pub at: At,
    /// What happened, with the lines of the log that matter.
    pub text: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}: {}", self.invariant, self.at, self.text)
    }
}

/// Every check, by the name under which it reports.
const CHECKS: &[fn(&View<'_>, &mut Vec<Violation>)] = &[
    i01_no_loss::check,
    i02_no_phantom::check,
    i03_idempotent::check,
    i04_attempts::check,
    i05_fencing::check,
    i06_extra_runs::check,
    i07_settled_is_final::check,
    i08_promises::check,
    i09_failed_sync::check,
    i10_recovery::check,
    i12_settles::check,
    i13_stalls::check,
    i15_bounds::check,
    i16_knowledge::check,
    i18_cancelled::check,
    i19_restarts::check,
    operator::check,
    order::check,
    credit::check,
    reasons::check,
    room::check,
];

/// Holds a run against everything that must be true of it. Empty: nothing was found.
pub fn check(log: &Log, facts: &Facts) -> Vec<Violation> {
    let view = View::of(log, facts);
    let mut found = Vec::new();
    for check in CHECKS {
        check(&view, &mut found);
    }
    found.sort_by_key(|violation| violation.at);
    found
}
