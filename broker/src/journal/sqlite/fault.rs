//! What SQLite says, in the words of the journal.

use std::io;
use std::path::Path;

use rusqlite::{Error, ErrorCode};

use crate::journal::error::{Damage, JournalError};

/// An error while a journal is opened or read: the file is damaged, unless something else is the matter.
pub(crate) fn opening(path: &Path, error: Error) -> JournalError {
    let failed = |what, error: Error| JournalError::Io {
        what,
        path: path.to_owned(),
        source: io::Error::other(error),
    };
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            let dir = path.parent().unwrap_or(path).to_owned();
            JournalError::Locked { dir, pid: None }
        }
        Some(
            ErrorCode::SystemIoFailure
            | ErrorCode::CannotOpen
            | ErrorCode::ReadOnly
            | ErrorCode::PermissionDenied
            | ErrorCode::OutOfMemory
            | ErrorCode::DiskFull,
        ) => failed("read", error),
        _ => damaged(path, Damage::Database { reason: error.to_string() }),
    }
}

/// Whether a write failed for want of room, and for nothing else.
pub(crate) fn is_full(error: &Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DiskFull)
}

pub(crate) fn damaged(path: &Path, damage: Damage) -> JournalError {
    JournalError::Damaged { path: path.to_owned(), damage }
}
