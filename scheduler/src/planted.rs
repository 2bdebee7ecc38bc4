//! Bugs on demand, so that the tests can show that they would be found.
//!
//! All of this exists only with the feature `planted`, which no build for use turns on: without it neither
//! this module nor one of its switches is compiled. The switch belongs to the thread, because the simulator
//! runs a seed on one thread from its beginning to its end, and several seeds side by side.

use std::cell::Cell;

/// A bug that a scheduler could have.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Bug {
    /// What must wait for the journal does not.
    PromiseBeforeSync,
    /// A knowledge revision is published before the journal has it.
    RevisionBeforeSync,
    /// Any report for a task without an outcome counts, whatever its lease.
    NoFencing,
    /// A result for a task that has its outcome is written down once more.
    SettledTwice,
    /// Tasks of lost workers go to the back of their queue.
    BackOfTheQueue,
    /// Nobody is forgiven the time in which the broker itself was not there.
    StallsNotForgiven,
    /// The grace of a worker is measured by the wall clock.
    GraceByTheWall,
    /// A task that is handed in again is given out again, though a worker has it.
    ResubmissionDuplicates,
    /// The place of a lease that was taken back is never free again.
    CreditLeaks,
    /// A running task is not cancelled, whatever the client was told.
    CancelForgotten,
    /// Workers that die under a task are not counted.
    CrashesNotCounted,
    /// An outcome whose task is no longer kept is not told to those who wait for it.
    ForgottenUntold,
    /// A new life of the broker grants its leases in the name of the last one.
    EpochReused,
    /// A task is given to workers that do not have the knowledge that it requires.
    GateOpen,
    /// What was on the way to a worker when its connection broke is never given up.
    LostDispatchKept,
    /// A task that runs may still expire.
    RunningExpires,
    /// What a full queue refuses is acknowledged.
    BusyIsSilent,
    /// The queue has no end.
    QueueUnbounded,
    /// Outcomes beyond the window of a client never go out.
    WindowStaysShut,
    /// Nobody takes back what waits at a busy worker.
    NobodyRecalls,
    /// What workers of the broker's last life still run is not theirs any more.
    NothingAdopted,
    /// Recovery leaves out the last record.
    LastRecordSkipped,
    /// A task that is handed in again is written down as if it were new.
    AcceptedTwice,
    /// After a recovery the numbers of records go on from one too many.
    NumberSkipped,
    /// Without room on the disk, new tasks are taken all the same.
    FullUnheeded,
    /// A client whose turn it is goes on until it has nothing left.
    TurnsForgotten,
    /// Tasks of a paused kind that wait for knowledge are given out all the same.
    PauseLeaks,
    /// What is paused is not carried with the state.
    PauseForgotten,
    /// A task that is let go is in the journal for ever.
    DiscardUnwritten,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 29] = [
        Self::PromiseBeforeSync,
        Self::RevisionBeforeSync,
        Self::NoFencing,
        Self::SettledTwice,
        Self::BackOfTheQueue,
        Self::StallsNotForgiven,
        Self::GraceByTheWall,
        Self::ResubmissionDuplicates,
        Self::CreditLeaks,
        Self::CancelForgotten,
        Self::CrashesNotCounted,
        Self::ForgottenUntold,
        Self::EpochReused,
        Self::GateOpen,
        Self::LostDispatchKept,
        Self::RunningExpires,
        Self::BusyIsSilent,
        Self::QueueUnbounded,
        Self::WindowStaysShut,
        Self::NobodyRecalls,
        Self::NothingAdopted,
        Self::LastRecordSkipped,
        Self::AcceptedTwice,
        Self::NumberSkipped,
        Self::FullUnheeded,
        Self::TurnsForgotten,
        Self::PauseLeaks,
        Self::PauseForgotten,
        Self::DiscardUnwritten,
    ];
}

thread_local! {
    static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
}

/// From now on schedulers of this thread have this bug, or none.
pub fn plant(bug: Option<Bug>) {
    PLANTED.set(bug);
}

/// Whether schedulers of this thread have this bug.
pub(crate) fn is(bug: Bug) -> bool {
    PLANTED.get() == Some(bug)
}

/// The records that a scheduler of this thread reads back.
pub(crate) fn cut<T>(mut records: Vec<T>) -> Vec<T> {
    if is(Bug::LastRecordSkipped) {
        records.pop();
    }
    records
}
