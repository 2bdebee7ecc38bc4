//! What ties each batch to the one before.

use std::fmt;

use ganger_scheduler::Lsn;
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// Names one journal for as long as it lives, so that files of two cannot be mixed unseen.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct JournalId(pub(crate) [u8; 16]);

impl JournalId {
    /// One that no other journal has.
    pub(crate) fn new() -> Self {
        Self(*Uuid::new_v4().as_bytes())
    }
}

impl fmt::Display for JournalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Uuid::from_bytes(self.0).hyphenated().fmt(f)
    }
}

impl fmt::Debug for JournalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JournalId({self})")
    }
}

/// A hash of everything that was ever written up to a batch.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Link(pub(crate) [u8; 32]);

impl Link {
    /// Where a journal's chain begins.
    pub(crate) fn start(journal: JournalId) -> Self {
        let hash = Sha256::new().chain_update(b"ganger journal\0").chain_update(journal.0).finalize();
        Self(hash.into())
    }

    /// The link of the next batch.
    pub(crate) fn next(self, first: Lsn, last: Lsn, wall: u64, body: &[u8]) -> Self {
        let hash = Sha256::new()
            .chain_update(self.0)
            .chain_update(first.0.to_be_bytes())
            .chain_update(last.0.to_be_bytes())
            .chain_update(wall.to_be_bytes())
            .chain_update(body)
            .finalize();
        Self(hash.into())
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Link(")?;
        for byte in &self.0[..4] {
            write!(f, "{byte:02x}")?;
        }
        f.write_str("…)")
    }
}
