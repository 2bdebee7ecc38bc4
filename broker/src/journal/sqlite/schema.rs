//! The database as it must be: its header, its tables, and how it is made.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use crate::journal::directory::{Directory, io_error};
use crate::journal::error::{Damage, JournalError};

use super::fault::{damaged, opening};
use super::open::Head;

/// "GNGR": marks a file of SQLite as a journal of ours.
const APPLICATION_ID: u32 = 0x474e_4752;
/// The version of the tables. That of the records in them stands in each body.
const USER_VERSION: u32 = 1;
/// Small batches rewrite one page each, large ones spread over many, each with an overhead.
/// Measured at 1, 100 and 1,000 records a batch: 4 KiB is best or second best at all three.
pub(crate) const PAGE_BYTES: u64 = 4096;

/// The batches. The first record's number is the key, so that they lie in the file as they were written.
const BATCHES: &str = "CREATE TABLE batches (\
    first INTEGER PRIMARY KEY, last INTEGER NOT NULL, wall INTEGER NOT NULL, \
    body BLOB NOT NULL, link BLOB NOT NULL) STRICT";
/// One row: whose journal this is, and where it begins.
const JOURNAL: &str = "CREATE TABLE journal (\
    only INTEGER PRIMARY KEY CHECK (only = 0), id BLOB NOT NULL, created INTEGER NOT NULL, \
    first INTEGER NOT NULL, link BLOB NOT NULL, trimmed INTEGER NOT NULL, epoch INTEGER NOT NULL, \
    sum BLOB NOT NULL) STRICT";

/// Makes an empty journal. It gets its name only when it is complete, so that whatever has that name is
/// one.
pub(crate) fn create(directory: &Directory, head: &Head) -> Result<(), JournalError> {
    directory.remove_unfinished()?;
    let new = directory.new_database();
    make_private(&new).map_err(io_error("make", &new))?;
    fill(&new, head).map_err(|error| opening(&new, error))?;
    let path = directory.database();
    let synced = File::open(&new).and_then(|file| file.sync_all());
    synced.map_err(io_error("sync", &new))?;
    std::fs::rename(&new, &path).map_err(io_error("name", &path))?;
    directory.sync()
}

/// What it makes beside this file, SQLite makes as private as this file is.
fn make_private(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map(drop)
}

fn fill(path: &Path, head: &Head) -> rusqlite::Result<()> {
    let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    db.pragma_update(None, "page_size", PAGE_BYTES as i64)?;
    db.pragma_update(None, "auto_vacuum", "incremental")?;
    db.pragma_update_and_check(None, "locking_mode", "exclusive", |_| Ok(()))?;
    db.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
    db.pragma_update(None, "synchronous", "full")?;
    db.execute_batch(&format!("BEGIN; {BATCHES}; {JOURNAL};"))?;
    write_head(&db, head)?;
    db.pragma_update(None, "application_id", APPLICATION_ID)?;
    db.pragma_update(None, "user_version", USER_VERSION)?;
    db.execute_batch("COMMIT")?;
    db.close().map_err(|(_, error)| error)
}

/// Writes what the database says of the journal as a whole.
pub(crate) fn write_head(db: &Connection, head: &Head) -> rusqlite::Result<()> {
    let sql = "INSERT OR REPLACE INTO journal VALUES (0, ?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    let (first, trimmed) = (head.first.0 as i64, head.trimmed.0 as i64);
    let row =
        (&head.id.0, head.created as i64, first, &head.link.0, trimmed, head.epoch.0 as i64, head.sum());
    db.prepare_cached(sql)?.execute(row).map(drop)
}

/// Looks at the first bytes of the file before SQLite does: some of them would make it set the write-ahead
/// log aside, or take the file for one of another kind, without a word.
pub(crate) fn check_header(path: &Path, has_log: bool) -> Result<(), JournalError> {
    let mut header = [0; HEADER_BYTES];
    let read = File::open(path).and_then(|mut file| {
        let len = file.metadata()?.len();
        file.read_exact(&mut header).map(|()| len)
    });
    let len = match read {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            let reason = format!("it is shorter than the {HEADER_BYTES} bytes of a header");
            return Err(damaged(path, Damage::Database { reason }));
        }
        other => other.map_err(io_error("read", path))?,
    };
    let number = |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let foreign = |reason: &str| Err(damaged(path, Damage::Foreign { reason: reason.to_owned() }));
    if !header.starts_with(b"SQLite format 3\0") {
        return foreign("it is not a database of SQLite");
    }
    if number(68) != APPLICATION_ID {
        return foreign("it is the database of another program");
    }
    if number(60) != USER_VERSION {
        let damage = Damage::Version { found: u64::from(number(60)), known: u64::from(USER_VERSION) };
        return Err(damaged(path, damage));
    }
    let fixed = FIXED.iter().find(|(at, bytes, _)| header[*at..*at + bytes.len()] != **bytes);
    if let Some((at, _, what)) = fixed {
        let reason = format!("byte {at} of the header, {what}, is not what this broker writes");
        return Err(damaged(path, Damage::Database { reason }));
    }
    match len % PAGE_BYTES {
        0 => Ok(()),
        // A crash while the log was moved into it: the log has that page whole.
        _ if has_log => Ok(()),
        rest => {
            let reason = format!("it ends {rest} bytes into a page");
            Err(damaged(path, Damage::Database { reason }))
        }
    }
}

const HEADER_BYTES: usize = 100;

/// What never changes in the header of our databases.
const FIXED: &[(usize, &[u8], &str)] = &[
    (16, &(PAGE_BYTES as u16).to_be_bytes(), "the page size"),
    (18, &[2, 2], "the mode, which is write-ahead logging"),
    (20, &[0, 64, 32, 32], "the payload fractions"),
    (44, &[0, 0, 0, 4], "the schema format"),
    (56, &[0, 0, 0, 1], "the text encoding"),
    (64, &[0, 0, 0, 1], "the vacuum mode"),
    (72, &[0; 20], "what is reserved"),
];

/// Refuses tables that are not the ones that [`create`] makes.
pub(crate) fn check_tables(db: &Connection) -> Result<(), String> {
    let found = (|| {
        let mut statement =
            db.prepare("SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY name")?;
        let rows = statement.query_map((), |row| {
            let texts: [String; 4] = [row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?];
            Ok(texts.join("|"))
        })?;
        rows.collect::<rusqlite::Result<Vec<String>>>()
    })();
    let found = found.map_err(|error| error.to_string())?;
    let expected = [format!("table|batches|batches|{BATCHES}"), format!("table|journal|journal|{JOURNAL}")];
    match found == expected {
        true => Ok(()),
        false => Err("its tables are not those of a journal".to_owned()),
    }
}
