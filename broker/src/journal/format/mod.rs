//! Records as bytes: the body of a row, by `docs/journal-format.md`.
//!
//! A body is the version of the format and the records after it, each a MessagePack array that begins with
//! the number of its type. Nothing in it is optional by being left out, nothing unknown is skipped: a body
//! that is not understood to its last byte is an error, because what is skipped would be lost.
//!
//! - `encode`, `decode`: the records of what happens. `carry`: those in which the state is carried on.
//! - `write`, `read`: MessagePack.

mod carry;
mod decode;
mod encode;
mod read;
mod write;

#[cfg(test)]
mod tests;

pub use decode::Decoder;
pub(crate) use encode::encode_noting;
pub use encode::{begin, encode};
pub(crate) use write::{Span, Spans};

/// The version of the format that this broker writes. It reads every version up to this one.
pub const VERSION: u64 = 1;

/// Bytes are not the records that they should be. Reading them again gives the same.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// The bytes end too early.
    #[error("the bytes end in the middle of {what}")]
    Short {
        /// What was being read.
        what: &'static str,
    },
    /// Something else was expected.
    #[error("at byte {at}: {what} was expected")]
    Expected {
        /// Where.
        at: usize,
        /// What.
        what: &'static str,
    },
    /// A newer broker has written this.
    #[error("format version {found} is not known")]
    Version {
        /// What it says.
        found: u64,
    },
    /// There are fewer or more records than the row says.
    #[error("{found} records where there should be {expected}")]
    Count {
        /// What the row says.
        expected: u64,
        /// What is there; at least, if there are too many.
        found: u64,
    },
}

/// The numbers of the record types.
pub(crate) mod tag {
    pub(crate) const STARTED: u64 = 0;
    pub(crate) const ACCEPTED: u64 = 1;
    pub(crate) const ATTEMPT_ENDED: u64 = 2;
    pub(crate) const SETTLED: u64 = 3;
    pub(crate) const RETRIED: u64 = 4;
    pub(crate) const FORGOTTEN: u64 = 5;
    pub(crate) const KNOWLEDGE: u64 = 6;
    pub(crate) const WORKER_JOINED: u64 = 7;
    pub(crate) const WORKER_LEFT: u64 = 8;
    pub(crate) const CARRY_BEGUN: u64 = 9;
    pub(crate) const CARRIED_TASKS: u64 = 10;
    pub(crate) const CARRIED_TOPIC: u64 = 11;
    pub(crate) const CARRIED_HISTORY: u64 = 12;
    pub(crate) const CARRY_ENDED: u64 = 13;
    pub(crate) const DISCARDED: u64 = 14;
    pub(crate) const KIND_PAUSED: u64 = 15;
    pub(crate) const KIND_RESUMED: u64 = 16;
}
