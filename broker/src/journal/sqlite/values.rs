//! Payloads and results that are read back out of the rows of their records.
//!
//! Where each stands is kept in memory, some sixty bytes for a value of at least
//! [`STORED_BYTES_MIN`](ganger_common::limits::STORED_BYTES_MIN): found when its row was written or read, forgotten when that is
//! trimmed. So a value is read without the rest of its row, and in pieces.

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use ganger_scheduler::{Data, Lsn, Record, Stored};
use rusqlite::Connection;

use crate::journal::error::{Damage, JournalError};
use crate::journal::format::Span;

use super::Ready;
use super::fault::{damaged, opening};

/// Where the values are.
#[derive(Debug, Default)]
pub(crate) struct Values {
    places: BTreeMap<(Lsn, u32), Place>,
}

/// Where one is.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// The first record of its row, which is the row's key.
    row: Lsn,
    start: usize,
    len: u32,
    sum: u32,
}

impl Values {
    /// A value stands in this row.
    pub(crate) fn add(&mut self, row: Lsn, stored: Stored, span: Span) {
        let place = Place { row, start: span.start, len: stored.len, sum: span.sum };
        self.places.insert((stored.lsn, stored.index), place);
    }

    /// Records before this one are let go.
    pub(crate) fn trim(&mut self, before: Lsn) {
        self.places = self.places.split_off(&(before, 0));
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    fn find(&self, stored: Stored) -> Result<Place, JournalError> {
        let found = self.places.get(&(stored.lsn, stored.index)).filter(|place| place.len == stored.len);
        found.copied().ok_or(JournalError::NoValue { stored })
    }

    /// Reads on in a value, out of this database. Says whether that was the end.
    pub(crate) fn read(
        &self,
        db: &Connection,
        path: &Path,
        stored: Stored,
        into: &mut Vec<u8>,
        most: usize,
    ) -> Result<bool, JournalError> {
        let Place { row, start, len, sum } = self.find(stored)?;
        let from = into.len();
        let piece = most.min(len as usize - from);
        let body = db.blob_open("main", "batches", "body", row.0 as i64, true);
        let body = body.map_err(|error| opening(path, error))?;
        let wrong = |reason| damaged(path, Damage::Value { lsn: stored.lsn, index: stored.index, reason });
        if body.len() < start + len as usize {
            return Err(wrong("its row has become shorter"));
        }
        into.resize(from + piece, 0);
        body.read_at_exact(&mut into[from..], start + from).map_err(|error| opening(path, error))?;
        match into.len() == len as usize {
            false => Ok(false),
            true if crc32fast::hash(into) == sum => Ok(true),
            true => Err(wrong("its checksum is not the one that it had when it was written")),
        }
    }
}

impl Ready {
    /// Reads on in a value. Says whether that was the end.
    pub(crate) fn read_value(
        &self,
        stored: Stored,
        into: &mut Vec<u8>,
        most: usize,
    ) -> Result<bool, JournalError> {
        self.values.read(&self.db, &self.directory.database(), stored, into, most)
    }

    /// The record with the bytes of all its values, if it only names some: those are copied, so that what
    /// they are named after may go.
    pub(crate) fn with_values(&self, record: &Record) -> Result<Option<Record>, JournalError> {
        if record.values().all(|(_, data)| data.inline().is_some()) {
            return Ok(None);
        }
        let mut record = record.clone();
        for (_, data) in record.values_mut() {
            let Data::Stored(stored) = *data else { continue };
            let mut value = Vec::with_capacity(stored.len as usize);
            while !self.read_value(stored, &mut value, usize::MAX)? {}
            *data = Data::Inline(Bytes::from(value));
        }
        Ok(Some(record))
    }
}
