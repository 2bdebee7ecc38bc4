//! The journal on disk: one row of a SQLite database a batch.
//!
//! - `open`: what can be said of a directory before its batches are read. `reading`: the batches.
//! - `schema`: tables and header. `tending`: what is done beside writing. `extent`: how much there is.
//! - `values`: payloads and results that are read back. `survey`: a journal that no broker has. `fault`: what SQLite says.

mod extent;
mod fault;
mod open;
mod reading;
mod schema;
mod survey;
mod tending;
mod values;

#[cfg(test)]
mod tests;

use std::fs::File;
use std::time::Instant;

use ganger_common::Epoch;
use ganger_scheduler::{Lsn, Record, Stored};
use rusqlite::Connection;

pub use open::JournalOptions;
pub use survey::{LargeValues, Survey, survey};

use super::chain::Link;
use super::directory::{Directory, io_error};
use super::error::{JournalError, StoreFailure};
use super::format::{self, Span, Spans};
use super::mark::{Mark, MarkFile};
use super::space::Room;
use super::{Journal, Recovered, Usage};

use extent::Extent;
use fault::{damaged, is_full};
pub(crate) use open::wall_now;
use open::{Head, Opened};
use reading::Break;
use values::Values;

/// A body is closed once it has grown to this. A batch that is larger becomes several rows of one
/// transaction, so that recovery never holds much more than this of what it reads.
const BODY_BYTES_TARGET: usize = 4 << 20;

/// A journal in a directory.
#[derive(Debug)]
pub struct SqliteJournal {
    options: JournalOptions,
    state: State,
}

/// How far a journal has come.
#[derive(Debug)]
enum State {
    /// Opened; its batches were not looked at.
    Unread(Box<Opened>),
    /// All of it is sound; goes on.
    Ready(Box<Ready>),
    /// It has failed, or it is in the middle of something that may fail.
    Failed,
}

/// A journal that takes records.
#[derive(Debug)]
struct Ready {
    // Fields are dropped in this order: the lock goes last.
    db: Connection,
    mark: MarkFile,
    /// As it stands in the database.
    head: Head,
    /// What may go of the oldest; the head follows.
    trimmed: Lsn,
    last: Lsn,
    link: Link,
    epoch: Epoch,
    extent: Extent,
    values: Values,
    /// Payloads and results of so many bytes or more are among them.
    stored_min: usize,
    /// Some of what was let go may still be there.
    is_trimming: bool,
    /// There may be too many free pages.
    is_roomy: bool,
    /// Bytes of the log that SQLite keeps beside the database, about; and what they may become.
    wal_bytes: u64,
    wal_bytes_max: u64,
    /// Bytes that were written since the last piece of other work.
    untended_bytes: u64,
    mark_synced: Instant,
    room: Room,
    batches: u64,
    records: u64,
    /// Bodies, kept to use their memory again.
    body: Vec<u8>,
    directory: Directory,
}

impl SqliteJournal {
    /// Opens the journal in a directory, and makes one where there is none.
    ///
    /// # Errors
    /// When somebody else has the directory, or it is not as a broker has left it: see [`Damage`](super::Damage).
    pub fn open(options: &JournalOptions) -> Result<Self, JournalError> {
        let opened = Opened::open_or_create(options)?;
        Ok(Self { options: options.clone(), state: State::Unread(Box::new(opened)) })
    }

    fn ready(&mut self) -> Result<&mut Ready, JournalError> {
        match &mut self.state {
            State::Ready(ready) => Ok(ready),
            State::Unread(_) => Err(JournalError::Unread),
            State::Failed => Err(JournalError::Failed),
        }
    }

    /// Passes a result on; after a failure nothing more is taken, unless nothing was written.
    fn settle<T>(&mut self, result: Result<T, JournalError>) -> Result<T, JournalError> {
        if result.as_ref().is_err_and(|error| !error.is_full()) {
            self.state = State::Failed;
        }
        result
    }
}

impl Journal for SqliteJournal {
    fn read(&mut self, each: &mut dyn FnMut(Lsn, Record)) -> Result<Recovered, JournalError> {
        let opened = match std::mem::replace(&mut self.state, State::Failed) {
            State::Unread(opened) => opened,
            State::Ready(_) | State::Failed => return Err(JournalError::Failed),
        };
        let (mut found, mut lost) = (Kept::default(), opened.lost);
        let (end, epoch) = opened.records(each, self.options.stored_min, &mut found, |_| {})?;
        let end = match end {
            Ok(end) => end,
            Err(Break { damage, end }) if self.options.accept_loss => {
                lost = Some((Lsn(end.last.0 + 1), opened.give_up_after(&damage, end.last)?));
                end
            }
            Err(Break { damage, .. }) => return Err(damaged(&opened.directory.database(), damage)),
        };
        let mark = Mark { journal: opened.head.id, lsn: end.last, epoch, link: end.link };
        let ready = Ready::begin(*opened, mark, found, &self.options)?;
        self.state = State::Ready(Box::new(ready));
        Ok(Recovered { last: end.last, epoch, lost })
    }

    fn append(&mut self, batch: &mut Vec<(Lsn, Record)>) -> Result<Lsn, JournalError> {
        let ready = self.ready()?;
        let result = ready.append(batch);
        self.settle(result)
    }

    fn trim(&mut self, before: Lsn) -> Result<(), JournalError> {
        let ready = self.ready()?;
        ready.trim(before);
        Ok(())
    }

    fn tend(&mut self) -> Result<bool, JournalError> {
        if matches!(self.state, State::Unread(_)) {
            return Ok(false);
        }
        let ready = self.ready()?;
        let result = ready.tend();
        self.settle(result)
    }

    fn read_value(&mut self, stored: Stored, into: &mut Vec<u8>, most: usize) -> Result<bool, JournalError> {
        let result = self.ready()?.read_value(stored, into, most);
        self.settle(result)
    }

    fn usage(&self) -> Usage {
        match &self.state {
            State::Ready(ready) => ready.usage(),
            State::Unread(_) | State::Failed => Usage::default(),
        }
    }

    fn close(self) -> Result<(), JournalError> {
        match self.state {
            State::Ready(ready) => ready.close(),
            State::Unread(_) => Ok(()),
            State::Failed => Err(JournalError::Failed),
        }
    }
}

impl Ready {
    /// From here on the journal is written to.
    fn begin(
        opened: Opened,
        mark: Mark,
        found: Kept,
        options: &JournalOptions,
    ) -> Result<Self, JournalError> {
        let Kept { extent, values } = found;
        let Opened { db, head, mark: before, directory, .. } = opened;
        let path = directory.mark();
        let mut file = match before {
            Some((before, place)) if before.lsn <= mark.lsn => {
                MarkFile::open(&path, before, place).map_err(io_error("open", &path))?
            }
            _ => {
                let file = MarkFile::create(&path, mark).map_err(io_error("make", &path))?;
                directory.sync()?;
                file
            }
        };
        // Killed before it had synced what it had written, a broker leaves it where a power cut would still
        // undo it. The mark must not name it before that is over.
        let wal = directory.wal();
        if wal.exists() {
            let synced = File::open(&wal).and_then(|wal| wal.sync_all());
            synced.map_err(io_error("sync", &wal))?;
        }
        file.write(&mark).and_then(|()| file.sync(mark)).map_err(io_error("write", &path))?;
        let db = db.release().map_err(|error| fault::opening(&directory.database(), error))?;
        let wal_bytes = std::fs::metadata(directory.wal()).map_or(0, |data| data.len());
        let mut ready = Self {
            db,
            mark: file,
            head,
            trimmed: head.trimmed,
            last: mark.lsn,
            link: mark.link,
            epoch: mark.epoch,
            extent,
            values,
            stored_min: options.stored_min,
            is_trimming: head.trimmed > head.first,
            is_roomy: true,
            wal_bytes,
            wal_bytes_max: options.wal_bytes,
            untended_bytes: 0,
            mark_synced: Instant::now(),
            room: Room::new(options.reserve_bytes),
            batches: 0,
            records: 0,
            body: Vec::new(),
            directory,
        };
        ready.look_at_room();
        Ok(ready)
    }

    fn append(&mut self, batch: &mut Vec<(Lsn, Record)>) -> Result<Lsn, JournalError> {
        let Some((first, _)) = batch.first() else { return Ok(self.last) };
        let expected = self.last.0 + 1..;
        let order = batch.iter().zip(expected).find(|((lsn, _), expected)| lsn.0 != *expected);
        if let Some(((found, _), expected)) = order {
            return Err(JournalError::Order { last: Lsn(expected - 1), found: *found });
        }
        let first = *first;
        // Before this batch and not after the last one, whose promises would wait for it.
        self.tend_what_is_urgent()?;
        let written = match self.write(batch) {
            Ok(written) => written,
            Err(Unwritten::Database(error)) if is_full(&error) && self.db.is_autocommit() => {
                self.room.ran_out();
                return Err(JournalError::Full { dir: self.directory.path().to_owned(), lsn: first });
            }
            Err(Unwritten::Database(error)) => {
                return Err(JournalError::Write { lsn: first, source: error.into() });
            }
            Err(Unwritten::Value(error)) => return Err(error),
        };
        for (row, stored, span) in written.values {
            self.values.add(row, stored, span);
        }
        self.last = written.last;
        self.link = written.link;
        self.extent.add(written.last, written.bytes);
        self.wal_bytes += written.bytes + written.rows * WAL_BYTES_A_ROW;
        self.untended_bytes += written.bytes;
        self.batches += 1;
        self.records += batch.len() as u64;
        for (_, record) in batch.drain(..) {
            if let Record::Started { epoch } = record {
                self.epoch = self.epoch.max(epoch);
            }
        }
        self.write_mark()?;
        Ok(self.last)
    }

    /// Writes a batch as one transaction, which SQLite syncs before it returns.
    fn write(&mut self, batch: &[(Lsn, Record)]) -> Result<Written, Unwritten> {
        let transaction = self.db.unchecked_transaction()?;
        let wall = wall_now();
        let mut written = Written { last: self.last, link: self.link, bytes: 0, rows: 0, values: Vec::new() };
        let mut body = std::mem::take(&mut self.body);
        let mut records = batch.iter().peekable();
        while let Some((first, _)) = records.peek() {
            body.clear();
            format::begin(&mut body);
            while body.len() < BODY_BYTES_TARGET
                && let Some((lsn, record)) = records.next()
            {
                let whole = self.with_values(record).map_err(Unwritten::Value)?;
                let spans = Spans::from(self.stored_min);
                let spans = format::encode_noting(whole.as_ref().unwrap_or(record), &mut body, spans);
                written.note(*first, *lsn, record, spans);
                written.last = *lsn;
            }
            written.link = written.link.next(*first, written.last, wall, &body);
            let mut insert = transaction.prepare_cached("INSERT INTO batches VALUES (?1, ?2, ?3, ?4, ?5)")?;
            let row = (first.0 as i64, written.last.0 as i64, wall as i64, &body[..], &written.link.0);
            insert.execute(row)?;
            written.bytes += body.len() as u64;
            written.rows += 1;
        }
        transaction.commit()?;
        // If one record was huge, the next ones will not be.
        self.body = if body.capacity() > 2 * BODY_BYTES_TARGET { Vec::new() } else { body };
        Ok(written)
    }

    fn usage(&self) -> Usage {
        Usage {
            first: self.head.first.max(self.trimmed),
            last: self.last,
            log_bytes: self.extent.bytes(),
            values: self.values.len() as u64,
            is_short_of_room: self.room.is_short(),
            batches: self.batches,
            records: self.records,
        }
    }

    fn failed(&self, source: impl Into<StoreFailure>) -> JournalError {
        JournalError::Write { lsn: Lsn(self.last.0 + 1), source: source.into() }
    }

    fn close(mut self) -> Result<(), JournalError> {
        if self.mark.is_behind {
            self.sync_mark()?;
        }
        let lsn = Lsn(self.last.0 + 1);
        self.db.close().map_err(|(_, error)| JournalError::Write { lsn, source: error.into() })
    }
}

/// What a row takes in SQLite's log beside its body: the page that it stands on, the pages that lead
/// there, and what its last page is short of.
const WAL_BYTES_A_ROW: u64 = 4 * schema::PAGE_BYTES;

/// What a transaction has written.
#[derive(Debug)]
struct Written {
    last: Lsn,
    link: Link,
    bytes: u64,
    rows: u64,
    /// Large values and their rows.
    values: Vec<(Lsn, Stored, Span)>,
}

impl Written {
    /// A record has gone into a row.
    fn note(&mut self, row: Lsn, lsn: Lsn, record: &Record, spans: Spans) {
        if spans.found.is_empty() {
            return;
        }
        let large = record.values().filter(|(_, data)| data.len() >= spans.min);
        let named = large.map(|(index, data)| Stored { lsn, index, len: data.len() as u32 });
        self.values.extend(named.zip(spans.found).map(|(stored, span)| (row, stored, span)));
    }
}

/// Why a batch was not written.
enum Unwritten {
    /// The database did not take it.
    Database(rusqlite::Error),
    /// A value that it names could not be read.
    Value(JournalError),
}

impl From<rusqlite::Error> for Unwritten {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error)
    }
}

/// What is remembered of the batches that are there.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    pub(crate) extent: Extent,
    pub(crate) values: Values,
}
