//! What can go wrong with a journal, each by its name.

use std::io;
use std::path::PathBuf;

use ganger_scheduler::{Lsn, Stored};

use super::format::FormatError;

/// A journal could not do what it was asked.
///
/// Trying again helps where it says so. After any other failure of a write the journal refuses everything:
/// what is on the disk is unknown, and nothing may be promised on top of it.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// There is no room. Nothing was written: the same batch may be handed in again, and will be taken
    /// when there is room.
    #[error("no room in {} to write record {}", dir.display(), lsn.0)]
    Full {
        /// The data directory.
        dir: PathBuf,
        /// The first record of the batch.
        lsn: Lsn,
    },
    /// A write or a sync failed. Not to be tried again in this process.
    #[error("writing record {} failed", lsn.0)]
    Write {
        /// The first record of the batch; the next one to come when it was not a batch that failed.
        lsn: Lsn,
        /// Why.
        #[source]
        source: StoreFailure,
    },
    /// An earlier write failed. Not to be tried again in this process.
    #[error("the journal has failed before and takes nothing more")]
    Failed,
    /// Records were handed in out of order. A fault of the broker.
    #[error("record {} does not follow record {}", found.0, last.0)]
    Order {
        /// The last record that was taken.
        last: Lsn,
        /// What came.
        found: Lsn,
    },
    /// A value was asked for that this journal does not have: not one of its own names. A fault of the broker.
    #[error("there is no value {} of record {} to be read back", stored.index, stored.lsn.0)]
    NoValue {
        /// Its name.
        stored: Stored,
    },
    /// What is in the journal was not read before something was to be added. A fault of the broker.
    #[error("the journal was not read to its end before something was written")]
    Unread,
    /// Another broker, or one of its tools, has the directory. Helps when that one has ended.
    #[error("{} is in use by another process{}", dir.display(), holder(*pid))]
    Locked {
        /// The directory.
        dir: PathBuf,
        /// Who says to have it.
        pid: Option<u32>,
    },
    /// The directory has no journal. Only said to those who want to read one.
    #[error("there is no journal in {}", dir.display())]
    Absent {
        /// The directory.
        dir: PathBuf,
    },
    /// The system refused something that has nothing to do with what the files say.
    #[error("cannot {what} {}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// What is in the directory is not what this journal has written. It stays as it is.
    #[error("{}: {damage}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        damage: Damage,
    },
}

impl JournalError {
    /// Whether nothing was written for want of room, so that the same batch may be handed in again.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Full { .. })
    }
}

/// What is wrong with the files of a journal.
#[derive(Debug, thiserror::Error)]
pub enum Damage {
    /// A file is not there although another one says that it was.
    #[error("the file is missing, although {witness} is there; {RESTORE}")]
    Missing {
        /// The file that says so.
        witness: &'static str,
    },
    /// A file is there that no broker leaves.
    #[error("no broker leaves this file; if a tool of SQLite did, let that tool finish its work")]
    Unexpected,
    /// The file is something else.
    #[error("this is not a journal of Ganger: {reason}")]
    Foreign {
        /// What shows it.
        reason: String,
    },
    /// A newer broker has written it.
    #[error("this is format version {found}, and this broker knows versions up to {known}; use a newer one")]
    Version {
        /// What it says.
        found: u64,
        /// What is known.
        known: u64,
    },
    /// The database is not sound.
    #[error("the database is damaged: {reason}; {RESTORE}")]
    Database {
        /// What SQLite says.
        reason: String,
    },
    /// The files belong to different journals.
    #[error("this belongs to journal {found}, but {witness} to journal {expected}; {RESTORE}")]
    OtherJournal {
        /// Whose it is.
        found: String,
        /// Whose it should be.
        expected: String,
        /// Where that stands.
        witness: &'static str,
    },
    /// Records at the end are gone.
    #[error(
        "records {} to {} are missing: they were acknowledged, and the journal ends at record {}; {RESTORE}, \
         or start with --accept-loss to go on without them",
        from.0, to.0, from.0 - 1
    )]
    Tail {
        /// The first of them.
        from: Lsn,
        /// The last of them.
        to: Lsn,
    },
    /// Records at the beginning or in the middle are gone.
    #[error(
        "records {} to {} are missing; {RESTORE}, or start with --accept-loss to go on with what came before \
         record {}",
        from.0, to.0, from.0
    )]
    Gap {
        /// The first of them.
        from: Lsn,
        /// The last of them.
        to: Lsn,
    },
    /// A batch is not what was written.
    #[error(
        "records {} to {} are damaged: {reason}; {RESTORE}, or start with --accept-loss to go on with what \
         came before record {}",
        first.0, last.0, first.0
    )]
    Batch {
        /// The first record of the batch.
        first: Lsn,
        /// The last.
        last: Lsn,
        /// What is wrong.
        reason: String,
    },
    /// A batch is what was written, and does not hold what a batch holds. Its writer was faulty.
    #[error("records {} to {} cannot be understood: {reason}", first.0, last.0)]
    Unreadable {
        /// The first record of the batch.
        first: Lsn,
        /// The last.
        last: Lsn,
        /// Why.
        #[source]
        reason: FormatError,
    },
    /// A payload or result that is read while the broker runs is not the one that was written.
    #[error("value {index} of record {} cannot be read back: {reason}; {RESTORE}", lsn.0)]
    Value {
        /// The record.
        lsn: Lsn,
        /// Its place there.
        index: u32,
        /// What is wrong.
        reason: &'static str,
    },
    /// The high-water mark cannot be read.
    #[error("both copies of the high-water mark are damaged; {RESTORE}, or start with --accept-loss")]
    Mark,
    /// The high-water mark names a record that the journal has, but another one.
    #[error("record {} is not the one that the high-water mark names; {RESTORE}, or start with --accept-loss", lsn.0)]
    OtherHistory {
        /// The record.
        lsn: Lsn,
    },
    /// The high-water mark is older than the journal's first record.
    #[error(
        "the high-water mark names record {}, but the journal begins at record {}: this is an old copy of the \
         mark; {RESTORE}, or start with --accept-loss", lsn.0, first.0
    )]
    OldMark {
        /// What it names.
        lsn: Lsn,
        /// Where the journal begins.
        first: Lsn,
    },
}

impl Damage {
    /// Whether `--accept-loss` leads on.
    pub fn can_be_accepted(&self) -> bool {
        matches!(
            self,
            Self::Tail { .. }
                | Self::Gap { .. }
                | Self::Batch { .. }
                | Self::Mark
                | Self::OtherHistory { .. }
                | Self::OldMark { .. }
        )
    }
}

/// What helps against most kinds of damage.
const RESTORE: &str = "restore the whole directory from one copy";

/// Why the store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreFailure {
    /// The database said so.
    #[error(transparent)]
    Database(#[from] rusqlite::Error),
    /// The system said so.
    #[error(transparent)]
    Io(#[from] io::Error),
}

fn holder(pid: Option<u32>) -> String {
    pid.map(|pid| format!(" (process {pid})")).unwrap_or_default()
}
