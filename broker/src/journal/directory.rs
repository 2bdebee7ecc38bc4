//! The data directory: its files, and who has it.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::error::{Damage, JournalError};

/// The database.
pub(crate) const DATABASE: &str = "journal.db";
/// What SQLite has not moved into the database yet.
pub(crate) const WAL: &str = "journal.db-wal";
/// What SQLite would write beside a database of another mode. No broker leaves one.
const ROLLBACK: &str = "journal.db-journal";
/// A database while it is made.
const NEW_DATABASE: &str = "journal.db.new";
/// The high-water mark.
pub(crate) const MARK: &str = "high-water";
/// Who has the directory holds a lock on this file; its content is for people.
const LOCK: &str = "lock";

/// How long to try. A process that was killed has its files until the system has cleared it away, and so has
/// a program that it had just started.
const LOCK_PATIENCE: Duration = Duration::from_millis(400);

/// A directory that nobody else has while this lives.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    /// The system lets go of the lock when the file is closed, however the process ends.
    _lock: File,
}

impl Directory {
    /// Takes the directory, which is made if it is not there.
    pub(crate) fn take(path: &Path) -> Result<Self, JournalError> {
        // Tasks may hold anything: the files are the owner's alone.
        let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
        made.map_err(io_error("make the directory", path))?;
        Self::lock(path)
    }

    /// Takes a directory that has a journal.
    pub(crate) fn take_present(path: &Path) -> Result<Self, JournalError> {
        let has = |name: &str| path.join(name).exists();
        match has(DATABASE) || has(MARK) || has(WAL) {
            true => Self::lock(path),
            false => Err(JournalError::Absent { dir: path.to_owned() }),
        }
    }

    fn lock(path: &Path) -> Result<Self, JournalError> {
        let file = path.join(LOCK);
        let opened =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&file);
        let mut lock = opened.map_err(io_error("open", &file))?;
        let until = Instant::now() + LOCK_PATIENCE;
        let mut taken = lock.try_lock();
        while matches!(taken, Err(TryLockError::WouldBlock)) && Instant::now() < until {
            std::thread::sleep(LOCK_PATIENCE / 20);
            taken = lock.try_lock();
        }
        match taken {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                let _ = (&mut lock).take(32).read_to_string(&mut text);
                return Err(JournalError::Locked { dir: path.to_owned(), pid: text.trim().parse().ok() });
            }
            Err(TryLockError::Error(error)) => return Err(io_error("lock", &file)(error)),
        }
        // Only for the message that somebody else gets: nothing depends on it.
        let _ = lock.set_len(0).and_then(|()| lock.rewind());
        let _ = lock.write_all(format!("{}\n", std::process::id()).as_bytes());
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.path.join(DATABASE)
    }

    pub(crate) fn new_database(&self) -> PathBuf {
        self.path.join(NEW_DATABASE)
    }

    pub(crate) fn wal(&self) -> PathBuf {
        self.path.join(WAL)
    }

    pub(crate) fn mark(&self) -> PathBuf {
        self.path.join(MARK)
    }

    /// Refuses a file that SQLite would take for the rest of an unfinished transaction, and so change the
    /// database by it.
    pub(crate) fn refuse_rollback_file(&self) -> Result<(), JournalError> {
        let path = self.path.join(ROLLBACK);
        match path.exists() {
            true => Err(JournalError::Damaged { path, damage: Damage::Unexpected }),
            false => Ok(()),
        }
    }

    /// Removes what is left of a database that was never finished.
    pub(crate) fn remove_unfinished(&self) -> Result<(), JournalError> {
        for suffix in ["", "-wal", "-shm", "-journal"] {
            let path = self.path.join(format!("{NEW_DATABASE}{suffix}"));
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(io_error("remove", &path)(error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Makes names that were given or taken away in the directory safe.
    pub(crate) fn sync(&self) -> Result<(), JournalError> {
        let synced = File::open(&self.path).and_then(|directory| directory.sync_all());
        synced.map_err(io_error("sync", &self.path))
    }

    /// Keeps a copy of the files as they are, beside them, before something is given up. Returns where.
    pub(crate) fn keep_copy(&self, wall: u64) -> Result<PathBuf, JournalError> {
        let copy = self.path.join(format!("before-accept-loss-{wall}"));
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&copy);
        made.map_err(io_error("make the directory", &copy))?;
        for name in [DATABASE, WAL, MARK] {
            let from = self.path.join(name);
            if from.exists() {
                std::fs::copy(&from, copy.join(name)).map_err(io_error("copy", &from))?;
            }
        }
        Ok(copy)
    }
}

/// Makes an error of what the system said.
pub(crate) fn io_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> JournalError {
    let path = path.to_owned();
    move |source| JournalError::Io { what, path, source }
}
