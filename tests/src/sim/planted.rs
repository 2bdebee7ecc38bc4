//! Bugs on demand in the journal that the simulator brings along: what a store could do wrong that the
//! scheduler above it relies on.
//!
//! Only with the feature `planted`. The switch belongs to the thread, as that of the crates under test.

use std::cell::Cell;

/// A bug that a journal could have.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Bug {
    /// A sync that failed is tried once more, and what succeeds then is believed.
    FailedSyncForgiven,
    /// The last record that was safe does not survive its process.
    SyncedLost,
    /// Nobody is told that there is room again.
    RoomUntold,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::FailedSyncForgiven, Self::SyncedLost, Self::RoomUntold];
}

thread_local! {
    static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
}

/// From now on journals of this thread have this bug, or none.
pub fn plant(bug: Option<Bug>) {
    PLANTED.set(bug);
}

/// Whether journals of this thread have this bug.
pub(crate) fn is(bug: Bug) -> bool {
    PLANTED.get() == Some(bug)
}
