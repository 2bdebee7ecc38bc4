//! Where records go before promises leave.
//!
//! The trait has as few verbs as the broker needs, so that a store of any kind can stand behind it. There
//! is none for snapshots: the state is *carried* on in ordinary records, and what came before is trimmed
//! once everything that is alive was carried. `docs/journal-format.md` is the format on disk, with the
//! rule for every kind of damage.
//!
//! - [`memory`](MemoryJournal): as safe as the process.
//! - [`sqlite`](SqliteJournal): as safe as the disk.
//! - [`mod@format`]: records as bytes. `chain`: what ties batches together. `mark`: how far it was safe.
//! - [`tool`]: looks into a journal that no broker has.
//! - `directory`: files, and who has them. `space`: how much room there is. `error`: what can go wrong.

pub mod format;
pub mod tool;

mod chain;
mod directory;
mod error;
mod mark;
mod memory;
mod space;
mod sqlite;

use bytes::Bytes;
use ganger_common::Epoch;
use ganger_scheduler::{Lsn, Record, Stored};

pub use chain::{JournalId, Link};
pub use error::{Damage, JournalError, StoreFailure};
pub use mark::Mark;
pub use memory::MemoryJournal;
pub use sqlite::{JournalOptions, LargeValues, SqliteJournal, Survey, survey};

/// A place for records.
pub trait Journal: Send + 'static {
    /// Hands over everything that the journal has, oldest first, and says what that was. Comes before
    /// anything else, once.
    ///
    /// # Errors
    /// When something is not what was written. What was handed over until then is worth nothing.
    fn read(&mut self, each: &mut dyn FnMut(Lsn, Record)) -> Result<Recovered, JournalError>;

    /// Takes a batch, empties it, and makes it as safe as this journal can. Returns the last number that is
    /// safe: that of the batch, unless the journal goes on writing while others go on working. The numbers
    /// go on from the last batch without a gap. A batch of nothing only asks how far everything is safe.
    ///
    /// # Errors
    /// [`JournalError::is_full`]: nothing was written, the batch is as it was, and may be handed in again.
    /// After any other error the journal is unusable.
    fn append(&mut self, batch: &mut Vec<(Lsn, Record)>) -> Result<Lsn, JournalError>;

    /// Lets go of everything before a number. Whatever of it was alive has been carried on in records
    /// since, and those are safe. Only takes note of it: [`tend`](Self::tend) does the work.
    ///
    /// # Errors
    /// When the journal has failed.
    fn trim(&mut self, before: Lsn) -> Result<(), JournalError>;

    /// Does one bounded piece of work that could wait until nothing else was to be done. Says whether
    /// there is more. [`append`](Self::append) does what can wait no longer.
    ///
    /// # Errors
    /// When the journal has failed.
    fn tend(&mut self) -> Result<bool, JournalError>;

    /// Reads on in a value that a safe record holds: adds to what is there of it already, at most so many
    /// bytes. Says whether that was the end; what is then there is what was written.
    ///
    /// # Errors
    /// When it is not, or this journal has no such value. The journal is unusable after that.
    fn read_value(&mut self, stored: Stored, into: &mut Vec<u8>, most: usize) -> Result<bool, JournalError> {
        let _ = (into, most);
        Err(JournalError::NoValue { stored })
    }

    /// Takes orders for values, and hands over those that have come, in the order in which they were asked
    /// for: all of them, unless the journal goes on reading while others go on working. With no orders it only
    /// asks what has come.
    ///
    /// # Errors
    /// As for [`read_value`](Self::read_value).
    fn fetch(&mut self, wanted: &mut Vec<Stored>, came: &mut Vec<Bytes>) -> Result<(), JournalError> {
        for stored in wanted.drain(..) {
            let mut value = Vec::with_capacity(stored.len as usize);
            while !self.read_value(stored, &mut value, usize::MAX)? {}
            came.push(value.into());
        }
        Ok(())
    }

    /// How things stand.
    fn usage(&self) -> Usage;

    /// Bytes that were handed over and are not safe yet, about.
    fn waiting_bytes(&self) -> usize {
        0
    }

    /// Ends; everything that was appended is safe.
    ///
    /// # Errors
    /// When it is not.
    fn close(self) -> Result<(), JournalError>;
}

/// What was in a journal.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Recovered {
    /// The number that the next record gets, less one.
    pub last: Lsn,
    /// The highest epoch that was ever begun, as far as anything in the directory tells.
    pub epoch: Epoch,
    /// Records that were acknowledged and are gone, with the operator's consent: from and to.
    pub lost: Option<(Lsn, Lsn)>,
}

/// How a journal is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Usage {
    /// The first record that is still there; one more than the last when there is none.
    pub first: Lsn,
    /// The last record.
    pub last: Lsn,
    /// Encoded bytes of the records that are there, those that only wait to be trimmed left out.
    pub log_bytes: u64,
    /// Values that can be read back.
    pub values: u64,
    /// Room is short: nothing new should be taken on, so that what there is can be finished.
    pub is_short_of_room: bool,
    /// Batches since the start, each one sync.
    pub batches: u64,
    /// Records in them.
    pub records: u64,
}
