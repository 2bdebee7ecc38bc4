//! What is done beside writing: in the pauses when there are some, and every few megabytes when there
//! are none.

use std::time::{Duration, Instant};

use ganger_scheduler::Lsn;

use crate::journal::chain::Link;
use crate::journal::error::JournalError;
use crate::journal::mark::Mark;
use crate::journal::space::free_bytes;

use super::Ready;
use super::fault::is_full;
use super::open::Head;
use super::schema::{PAGE_BYTES, write_head};

/// Under load, one piece of work is done each time that so much was written.
const TEND_EVERY_BYTES: u64 = 2 << 20;
/// Under load the high-water mark is synced so often: what a power cut may hide from it.
const MARK_SYNC_EVERY: Duration = Duration::from_millis(250);
/// Batches that are deleted at a time, by their bytes and by their number.
const TRIM_BYTES: u64 = 16 << 20;
const TRIM_ROWS: i64 = 8192;
/// The database may hold free pages up to twice what is in use and this, before they are given back: they
/// are what the next batches are written to, and giving them back means moving others.
const FREE_BYTES_KEPT: u64 = 16 << 20;
/// Pages that are given back at a time.
const VACUUM_PAGES: u64 = 1024;

impl Ready {
    /// Everything before a record may go.
    pub(crate) fn trim(&mut self, before: Lsn) {
        if before > self.trimmed {
            // What stands at the end always stays: it says where the journal goes on.
            self.trimmed = before.min(self.last);
            self.extent.trim(self.trimmed);
            self.values.trim(self.trimmed);
            self.is_trimming = true;
        }
    }

    /// Does one piece of work. Says whether there is more.
    pub(crate) fn tend(&mut self) -> Result<bool, JournalError> {
        if self.mark.is_behind {
            self.sync_mark()?;
        }
        self.look_at_room();
        self.step()
    }

    pub(crate) fn tend_what_is_urgent(&mut self) -> Result<(), JournalError> {
        if self.mark.is_behind && self.mark_synced.elapsed() >= MARK_SYNC_EVERY {
            self.sync_mark()?;
            self.look_at_room();
        }
        while self.untended_bytes >= TEND_EVERY_BYTES {
            self.untended_bytes -= TEND_EVERY_BYTES;
            if !self.step()? {
                self.untended_bytes = 0;
            }
        }
        Ok(())
    }

    fn step(&mut self) -> Result<bool, JournalError> {
        let done = if self.wal_bytes >= self.wal_bytes_max {
            self.checkpoint().map(|()| true)
        } else if self.is_trimming {
            self.trim_some().map(|()| true)
        } else {
            self.give_back_some()
        };
        match done {
            Err(error) if is_full(&error) && self.db.is_autocommit() => {
                self.room.ran_out();
                Ok(false)
            }
            Err(error) => Err(self.failed(error)),
            Ok(did) => Ok(did && (self.wal_bytes >= self.wal_bytes_max || self.is_trimming || self.is_roomy)),
        }
    }

    /// Moves what is in SQLite's log into the database, so that the log begins anew.
    fn checkpoint(&mut self) -> rusqlite::Result<()> {
        self.db.query_row("PRAGMA wal_checkpoint(PASSIVE)", (), |_| Ok(()))?;
        self.wal_bytes = 0;
        Ok(())
    }

    /// Deletes some of the batches that were let go, oldest first.
    fn trim_some(&mut self) -> rusqlite::Result<()> {
        // The mark on the disk must always name a record that can be looked up, or its successor.
        let before = self.trimmed.min(Lsn(self.mark.synced.lsn.0 + 1));
        let transaction = self.db.unchecked_transaction()?;
        let mut cut = None;
        {
            let sql = "SELECT first, last, length(body), link FROM batches ORDER BY first LIMIT ?1";
            let mut oldest = transaction.prepare_cached(sql)?;
            let mut rows = oldest.query([TRIM_ROWS])?;
            let mut bytes = 0;
            while let Some(row) = rows.next()?
                && bytes < TRIM_BYTES
                && (row.get::<_, i64>(1)? as u64) < before.0
            {
                bytes += row.get::<_, i64>(2)? as u64;
                cut = Some((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, [u8; 32]>(3)?));
            }
        }
        let Some((first, last, link)) = cut else {
            transaction.commit()?;
            // What is left waits for the mark, which is synced before the next piece of work.
            self.is_trimming = before < self.trimmed;
            return Ok(());
        };
        transaction.execute("DELETE FROM batches WHERE first <= ?1", [first])?;
        let first = Lsn(last as u64 + 1);
        let head = Head { first, link: Link(link), trimmed: self.trimmed, epoch: self.epoch, ..self.head };
        write_head(&transaction, &head)?;
        transaction.commit()?;
        self.head = head;
        // Deleting writes little: the lists of free pages.
        self.wal_bytes += TRIM_BYTES / 64;
        self.is_roomy = true;
        Ok(())
    }

    /// Gives free pages back to the file system, if there are too many. Says whether it did.
    fn give_back_some(&mut self) -> rusqlite::Result<bool> {
        if !self.is_roomy {
            return Ok(false);
        }
        let pages = |name| self.db.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        let (all, free) = (pages("page_count")? as u64, pages("freelist_count")? as u64);
        let kept = 2 * (all - free) + FREE_BYTES_KEPT / PAGE_BYTES;
        if free <= kept {
            self.is_roomy = false;
            return Ok(false);
        }
        let count = (free - kept).min(VACUUM_PAGES);
        let mut vacuum = self.db.prepare_cached(&format!("PRAGMA incremental_vacuum({count})"))?;
        let mut steps = vacuum.raw_query();
        while steps.next()?.is_some() {}
        self.wal_bytes += 2 * count * PAGE_BYTES;
        Ok(true)
    }

    pub(crate) fn write_mark(&mut self) -> Result<(), JournalError> {
        let mark = self.current_mark();
        self.mark.write(&mark).map_err(|error| self.failed(error))
    }

    pub(crate) fn sync_mark(&mut self) -> Result<(), JournalError> {
        let mark = self.current_mark();
        self.mark_synced = Instant::now();
        self.mark.sync(mark).map_err(|error| self.failed(error))
    }

    fn current_mark(&self) -> Mark {
        Mark { journal: self.head.id, lsn: self.last, epoch: self.epoch, link: self.link }
    }

    pub(crate) fn look_at_room(&mut self) {
        // Not to know is no reason to stop: a write that fails will tell.
        let Ok(free) = free_bytes(self.directory.path()) else { return };
        let inside = || self.db.pragma_query_value(None, "freelist_count", |row| row.get::<_, i64>(0));
        let inside = inside().map_or(0, |pages| pages as u64 * PAGE_BYTES);
        self.room.observe(free.saturating_add(inside));
    }
}
