//! Bugs on demand, so that the tests can show that they would be found.
//!
//! All of this exists only with the feature `planted`, which no build for use turns on: without it neither
//! this module nor one of its switches is compiled. The switch belongs to the thread, because the simulator
//! runs a seed on one thread from its beginning to its end, and several seeds side by side.

use std::cell::Cell;

/// A bug that a client could have.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Bug {
    /// What was not acknowledged when a connection broke is not handed in again.
    NotHandedInAgain,
    /// What is handed in again has another id.
    AnotherId,
    /// Outcomes are not asked for again on a new connection.
    NotAskedAgain,
    /// What a broker has lost with its memory is not handed in again.
    LostForGood,
    /// Whoever cancels is told that it was done, also when it was refused.
    CancelRefusalUnheeded,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::NotHandedInAgain,
        Self::AnotherId,
        Self::NotAskedAgain,
        Self::LostForGood,
        Self::CancelRefusalUnheeded,
    ];
}

thread_local! {
    static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
}

/// From now on clients of this thread have this bug, or none.
pub fn plant(bug: Option<Bug>) {
    PLANTED.set(bug);
}

/// Whether clients of this thread have this bug.
pub(crate) fn is(bug: Bug) -> bool {
    PLANTED.get() == Some(bug)
}
