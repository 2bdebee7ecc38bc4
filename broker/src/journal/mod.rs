//! Where records go before promises leave.
//!
//! The trait has as few verbs as the broker needs, so that a store of any kind can stand behind it:
//! append a batch, read from a number on, write a snapshot, trim, close.

mod memory;

use ganger_scheduler::{Lsn, Record};

pub use memory::MemoryJournal;

/// A journal could not do what it was asked. After the first failure it refuses everything: what was
/// written is unknown, and nothing may be promised on top of it.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// A write or a sync failed.
    #[error("writing record {} failed", lsn.0)]
    Write {
        /// The first record of the batch.
        lsn: Lsn,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Records were handed in out of order. A fault of the broker.
    #[error("record {} does not follow record {}", found.0, last.0)]
    Order {
        /// The last record that was taken.
        last: Lsn,
        /// What came.
        found: Lsn,
    },
}

/// A place for records.
pub trait Journal: Send + 'static {
    /// Writes a batch and makes it as safe as this journal can; returns the last number in it. The
    /// numbers go on from the last batch without a gap.
    ///
    /// # Errors
    /// When the batch is not safe. The journal is unusable from then on.
    fn append(&mut self, batch: &mut Vec<(Lsn, Record)>) -> Result<Lsn, JournalError>;

    /// The records from a number on, oldest first, for recovery.
    ///
    /// # Errors
    /// When they cannot be read.
    fn read_from(&mut self, from: Lsn) -> Result<Vec<(Lsn, Record)>, JournalError>;

    /// Records that together lead to the state at `upto`, from now on instead of everything before.
    ///
    /// # Errors
    /// When they are not safe.
    fn snapshot(&mut self, upto: Lsn, state: Vec<Record>) -> Result<(), JournalError>;

    /// Lets go of everything before a number that a snapshot covers.
    ///
    /// # Errors
    /// When the store fails.
    fn trim(&mut self, before: Lsn) -> Result<(), JournalError>;

    /// Ends; everything that was appended is safe.
    ///
    /// # Errors
    /// When it is not.
    fn close(self) -> Result<(), JournalError>;
}
