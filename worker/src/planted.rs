//! Bugs on demand, so that the tests can show that they would be found.
//!
//! All of this exists only with the feature `planted`, which no build for use turns on: without it neither
//! this module nor one of its switches is compiled. The switch belongs to the thread, because the simulator
//! runs a seed on one thread from its beginning to its end, and several seeds side by side.

use std::cell::Cell;

/// A bug that a worker could have.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Bug {
    /// What is recalled is dropped and not handed back.
    RecallForgets,
    /// A change is applied though the one before it was lost.
    GapUnseen,
    /// A snapshot does not remove what it does not contain.
    SnapshotKeepsTheGone,
    /// Ends that were sent and not acknowledged are not sent again on the next connection.
    EndsForgotten,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 4] =
        [Self::RecallForgets, Self::GapUnseen, Self::SnapshotKeepsTheGone, Self::EndsForgotten];
}

thread_local! {
    static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
}

/// From now on workers of this thread have this bug, or none.
pub fn plant(bug: Option<Bug>) {
    PLANTED.set(bug);
}

/// Whether workers of this thread have this bug.
pub(crate) fn is(bug: Bug) -> bool {
    PLANTED.get() == Some(bug)
}
