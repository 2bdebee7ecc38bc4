//! Opening a directory: everything that can be said about it before its batches are read.
//!
//! Nothing is written to the database before all of them were read and found sound, so that what is
//! refused stays as it was found.

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use ganger_common::Epoch;
use ganger_common::limits::STORED_BYTES_MIN;
use ganger_scheduler::Lsn;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension};
use sha2::{Digest, Sha256};

use crate::journal::chain::{JournalId, Link};
use crate::journal::directory::{DATABASE, Directory, MARK, WAL, io_error};
use crate::journal::error::{Damage, JournalError};
use crate::journal::mark::{self, Found, Mark, MarkFile};

use super::fault::{damaged, opening};
use super::schema;

/// How a journal is to be opened.
#[derive(Clone, Debug)]
pub struct JournalOptions {
    /// Where it is; made when it is not there.
    pub dir: PathBuf,
    /// Go on without acknowledged records that are gone. What is there is copied aside first.
    pub accept_loss: bool,
    /// Room that must be left on the disk: below it, room counts as short.
    pub reserve_bytes: u64,
    /// Payloads and results of so many bytes or more are handed over by name, and can be read back.
    pub stored_min: usize,
    /// How large SQLite's log may become before it is moved into the database. What is moved at a time is
    /// what a batch may have to wait for; a smaller log is moved more often.
    pub wal_bytes: u64,
}

impl JournalOptions {
    /// Room that is left on the disk unless the operator says otherwise.
    pub const RESERVE_BYTES: u64 = 64 << 20;
    /// How large SQLite's log may become, unless somebody says otherwise: moved in some 5 ms.
    pub const WAL_BYTES: u64 = 4 << 20;

    /// The journal in this directory, with the usual settings.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        let (reserve_bytes, wal_bytes) = (Self::RESERVE_BYTES, Self::WAL_BYTES);
        Self { dir: dir.into(), accept_loss: false, reserve_bytes, stored_min: STORED_BYTES_MIN, wal_bytes }
    }
}

/// A directory that holds up so far.
#[derive(Debug)]
pub(crate) struct Opened {
    // Fields are dropped in this order: the lock goes last.
    pub(crate) db: Untouched,
    pub(crate) head: Head,
    /// The mark that was found; absent when it was missing or damaged, and that was accepted.
    pub(crate) mark: Option<(Mark, mark::Place)>,
    /// Records that are gone, and that was accepted.
    pub(crate) lost: Option<(Lsn, Lsn)>,
    pub(crate) directory: Directory,
}

/// What the database says of the journal as a whole.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    pub(crate) id: JournalId,
    /// Where the journal begins.
    pub(crate) first: Lsn,
    /// The link of the batch before that.
    pub(crate) link: Link,
    /// Records before this one were let go, whether their batches are gone already or not.
    pub(crate) trimmed: Lsn,
    /// The highest epoch that was begun when something was trimmed last.
    pub(crate) epoch: Epoch,
    pub(crate) created: u64,
}

impl Head {
    fn new(created: u64) -> Self {
        let id = JournalId::new();
        let (first, trimmed, epoch) = (Lsn(1), Lsn(1), Epoch(0));
        Self { id, first, link: Link::start(id), trimmed, epoch, created }
    }

    /// What stands in no row of the chain has a hash of its own, or one bit of it could hide every record.
    pub(crate) fn sum(&self) -> [u8; 32] {
        let numbers = [self.created, self.first.0, self.trimmed.0, self.epoch.0];
        let hash = Sha256::new().chain_update(self.id.0).chain_update(self.link.0);
        numbers
            .into_iter()
            .fold(hash, |hash, number| hash.chain_update(number.to_be_bytes()))
            .finalize()
            .into()
    }
}

impl Opened {
    /// Takes a directory, and makes a journal in it when it has none.
    pub(crate) fn open_or_create(options: &JournalOptions) -> Result<Self, JournalError> {
        let directory = Directory::take(&options.dir)?;
        if is_new(&directory)? {
            let head = Head::new(wall_now());
            schema::create(&directory, &head)?;
            let mark = Mark { journal: head.id, lsn: Lsn(0), epoch: head.epoch, link: head.link };
            MarkFile::create(&directory.mark(), mark).map_err(io_error("make", &directory.mark()))?;
            directory.sync()?;
        }
        Self::open(directory, options.accept_loss)
    }

    /// Opens the journal in a directory that has one.
    pub(crate) fn open(directory: Directory, accept_loss: bool) -> Result<Self, JournalError> {
        check_files(&directory)?;
        let path = directory.database();
        let has_log = directory.wal().metadata().is_ok_and(|wal| wal.len() > 0);
        schema::check_header(&path, has_log)?;
        let db = Untouched::connect(&directory).map_err(|error| opening(&path, error))?;
        check_soundness(&db, &path)?;
        let found = head(&db).map_err(|error| opening(&path, error))?;
        let (head, sum) = found.ok_or_else(|| foreign(&path, "it does not say whose journal it is"))?;
        if head.sum() != sum {
            let reason = "what it says of itself does not have the hash that was written with it".to_owned();
            return Err(damaged(&path, Damage::Database { reason }));
        }
        let mut opened = Self { db, head, mark: None, lost: None, directory };
        match opened.check_mark() {
            Err(JournalError::Damaged { path, damage }) if accept_loss && damage.can_be_accepted() => {
                tracing::warn!("{}: {damage}: accepted", path.display());
                if let Damage::Tail { from, to } = damage {
                    opened.lost = Some((from, to));
                }
                let copy = opened.directory.keep_copy(wall_now())?;
                tracing::warn!("what was found is kept in {}", copy.display());
            }
            other => other?,
        }
        Ok(opened)
    }

    /// Compares the end of the journal with the high-water mark.
    fn check_mark(&mut self) -> Result<(), JournalError> {
        let path = self.directory.mark();
        let (mark, place) = match mark::find(&path).map_err(io_error("read", &path))? {
            Found::Mark(mark, place) => (mark, place),
            Found::Newer(found) => return Err(damaged(&path, Damage::Version { found, known: 1 })),
            Found::Damaged => return Err(damaged(&path, Damage::Mark)),
            // A crash while the journal was made: there cannot have been anything in it.
            Found::Nothing if self.last()? == Lsn(0) => return Ok(()),
            Found::Nothing => return Err(damaged(&path, Damage::Missing { witness: DATABASE })),
        };
        if mark.journal != self.head.id {
            let damage = Damage::OtherJournal {
                found: mark.journal.to_string(),
                expected: self.head.id.to_string(),
                witness: DATABASE,
            };
            return Err(damaged(&path, damage));
        }
        self.mark = Some((mark, place));
        let last = self.last()?;
        let database = self.directory.database();
        if mark.lsn > last {
            return Err(damaged(&database, Damage::Tail { from: Lsn(last.0 + 1), to: mark.lsn }));
        }
        if mark.lsn.0 + 1 < self.head.first.0 {
            let damage = Damage::OldMark { lsn: mark.lsn, first: self.head.first };
            return Err(damaged(&path, damage));
        }
        let link = match mark.lsn.0 + 1 == self.head.first.0 {
            true => Some(self.head.link),
            false => self.link_at(mark.lsn)?,
        };
        match link == Some(mark.link) {
            true => Ok(()),
            false => Err(damaged(&database, Damage::OtherHistory { lsn: mark.lsn })),
        }
    }

    /// The last record.
    pub(crate) fn last(&self) -> Result<Lsn, JournalError> {
        let sql = "SELECT last FROM batches ORDER BY first DESC LIMIT 1";
        let found = self.db.query_row(sql, (), |row| row.get::<_, i64>(0)).optional();
        let found = found.map_err(|error| opening(&self.directory.database(), error))?;
        Ok(found.map_or(Lsn(self.head.first.0.saturating_sub(1)), |last| Lsn(last as u64)))
    }

    /// The link of the batch that ends with this record.
    fn link_at(&self, last: Lsn) -> Result<Option<Link>, JournalError> {
        let sql = "SELECT link FROM batches WHERE first <= ?1 AND last = ?1 ORDER BY first DESC LIMIT 1";
        let found = self.db.query_row(sql, [last.0 as i64], |row| row.get(0)).optional();
        Ok(found.map_err(|error| opening(&self.directory.database(), error))?.map(Link))
    }
}

/// Whether a directory has nothing of a journal.
fn is_new(directory: &Directory) -> Result<bool, JournalError> {
    let database = directory.database();
    let is_there = |path: &Path| path.try_exists().map_err(io_error("look for", path));
    Ok(!is_there(&database)? && !is_there(&directory.mark())? && !is_there(&directory.wal())?)
}

/// Refuses files without the others that belong to them.
fn check_files(directory: &Directory) -> Result<(), JournalError> {
    directory.refuse_rollback_file()?;
    let database = directory.database();
    if !database.exists() {
        let witness = if directory.mark().exists() { MARK } else { WAL };
        return Err(damaged(&database, Damage::Missing { witness }));
    }
    Ok(())
}

/// A connection that leaves the files as they were when it is given up.
#[derive(Debug)]
pub(crate) struct Untouched {
    db: Option<Connection>,
    /// SQLite opens a log for every database of this mode, and makes it when there is none.
    made_wal: Option<PathBuf>,
}

impl Untouched {
    fn connect(directory: &Directory) -> rusqlite::Result<Self> {
        let wal = directory.wal();
        let mut untouched = Self { db: None, made_wal: (!wal.exists()).then_some(wal) };
        untouched.db = Some(connect(&directory.database())?);
        Ok(untouched)
    }

    /// From here on it may write.
    pub(crate) fn release(mut self) -> rusqlite::Result<Connection> {
        self.made_wal = None;
        // It is there until this, which takes the connection with everything else.
        let db = self.db.take().ok_or(rusqlite::Error::InvalidQuery)?;
        db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
        Ok(db)
    }
}

impl Deref for Untouched {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        // It is there from `connect` until `release` or `drop`, and both take all of this with it.
        self.db.as_ref().expect("the connection is there")
    }
}

impl Drop for Untouched {
    fn drop(&mut self) {
        self.db = None;
        if let Some(wal) = &self.made_wal
            && wal.metadata().is_ok_and(|wal| wal.len() == 0)
        {
            // Best effort: an empty log does no harm.
            let _ = std::fs::remove_file(wal);
        }
    }
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags)?;
    // Until everything was read: what is refused must stay as it is.
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    // Before anything is read, or SQLite shares an index of the log with other processes.
    db.pragma_update_and_check(None, "locking_mode", "exclusive", |_| Ok(()))?;
    db.pragma_update(None, "synchronous", "full")?;
    // The journal chooses the moments itself.
    db.pragma_update_and_check(None, "wal_autocheckpoint", 0, |_| Ok(()))?;
    db.pragma_update(None, "cell_size_check", true)?;
    db.pragma_update(None, "cache_size", -CACHE_KIB)?;
    Ok(db)
}

/// Pages that SQLite keeps in memory, in KiB. The journal reads nothing twice.
const CACHE_KIB: i64 = 4096;

/// Lets SQLite look at every page: a list of free pages, say, that is damaged does no harm today and
/// overwrites batches tomorrow.
fn check_soundness(db: &Connection, path: &Path) -> Result<(), JournalError> {
    let mode: String = db
        .pragma_query_value(None, "journal_mode", |row| row.get(0))
        .map_err(|error| opening(path, error))?;
    if mode != "wal" {
        return Err(foreign(path, "it is not in the mode of write-ahead logging"));
    }
    schema::check_tables(db).map_err(|reason| foreign(path, &reason))?;
    let found: String =
        db.query_row("PRAGMA quick_check(1)", (), |row| row.get(0)).map_err(|error| opening(path, error))?;
    match found == "ok" {
        true => Ok(()),
        false => Err(damaged(path, Damage::Database { reason: found.replace('\n', " ") })),
    }
}

/// What the database says of itself, and the hash that stands beside it.
fn head(db: &Connection) -> rusqlite::Result<Option<(Head, [u8; 32])>> {
    let sql = "SELECT id, first, link, trimmed, epoch, created, sum FROM journal WHERE only = 0";
    db.query_row(sql, (), |row| {
        let head = Head {
            id: JournalId(row.get(0)?),
            first: Lsn(row.get::<_, i64>(1)? as u64),
            link: Link(row.get(2)?),
            trimmed: Lsn(row.get::<_, i64>(3)? as u64),
            epoch: Epoch(row.get::<_, i64>(4)? as u64),
            created: row.get::<_, i64>(5)? as u64,
        };
        Ok((head, row.get(6)?))
    })
    .optional()
}

fn foreign(path: &Path, reason: &str) -> JournalError {
    damaged(path, Damage::Foreign { reason: reason.to_owned() })
}

/// The wall clock, in milliseconds since 1970.
pub(crate) fn wall_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
