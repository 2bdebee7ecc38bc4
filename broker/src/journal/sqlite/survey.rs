//! Reading a journal that no broker has, without changing it.

use std::path::Path;

use bytes::Bytes;
use ganger_common::Epoch;
use ganger_common::limits::STORED_BYTES_MIN;
use ganger_scheduler::{Lsn, Record, Stored};

use crate::journal::chain::JournalId;
use crate::journal::directory::Directory;
use crate::journal::error::JournalError;
use crate::journal::mark::Mark;

use super::Kept;
use super::fault::damaged;
use super::open::Opened;
use super::values::Values;

/// What a sound journal is made of.
#[derive(Clone, Debug)]
pub struct Survey {
    /// Its name.
    pub id: JournalId,
    /// When it was made, in milliseconds since 1970.
    pub created: u64,
    /// The first record that was not let go.
    pub first: Lsn,
    /// The last record.
    pub last: Lsn,
    /// The highest epoch.
    pub epoch: Epoch,
    /// The high-water mark; absent when there never was a record.
    pub mark: Option<Mark>,
    /// Rows, those included that were let go and are still there.
    pub batches: u64,
    /// Bytes of their bodies.
    pub bytes: u64,
    /// When the oldest and the newest of them were written, in milliseconds since 1970.
    pub written: Option<(u64, u64)>,
}

/// The large values of a journal that was read. The directory is taken for as long as this is kept.
#[derive(Debug)]
pub struct LargeValues {
    opened: Opened,
    places: Values,
}

impl LargeValues {
    /// Reads one.
    ///
    /// # Errors
    /// When there is none of that name, or it cannot be read or is damaged.
    pub fn read(&self, stored: Stored) -> Result<Bytes, JournalError> {
        let mut value = Vec::with_capacity(stored.len as usize);
        let path = self.opened.directory.database();
        while !self.places.read(&self.opened.db, &path, stored, &mut value, usize::MAX)? {}
        Ok(Bytes::from(value))
    }
}

/// Makes every check that a broker makes, and hands over every record that it would get, large values by
/// name, so that a journal of any size can be looked at.
///
/// # Errors
/// When somebody has the directory, it has no journal, or a broker would refuse it.
pub fn survey(dir: &Path, each: &mut dyn FnMut(Lsn, Record)) -> Result<(Survey, LargeValues), JournalError> {
    let opened = Opened::open(Directory::take_present(dir)?, false)?;
    let mut survey = Survey {
        id: opened.head.id,
        created: opened.head.created,
        first: opened.head.first.max(opened.head.trimmed),
        last: Lsn(0),
        epoch: Epoch(0),
        mark: opened.mark.map(|(mark, _)| mark),
        batches: 0,
        bytes: 0,
        written: None,
    };
    let mut kept = Kept::default();
    let (end, epoch) = opened.records(each, STORED_BYTES_MIN, &mut kept, |batch| {
        survey.batches += 1;
        survey.bytes += batch.body.len() as u64;
        let oldest = survey.written.map_or(batch.wall, |(oldest, _)| oldest);
        survey.written = Some((oldest, batch.wall));
    })?;
    match end {
        Ok(end) => {
            let values = LargeValues { opened, places: kept.values };
            Ok((Survey { last: end.last, epoch, ..survey }, values))
        }
        Err(broken) => Err(damaged(&opened.directory.database(), broken.damage)),
    }
}
