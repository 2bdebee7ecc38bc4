//! How much room there is on the disk.

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Bytes that this user may still write to the file system of `path`.
#[allow(unsafe_code)] // The standard library does not ask this question.
pub(crate) fn free_bytes(path: &Path) -> io::Result<u64> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: all fields are numbers, for which zero is a value.
    let mut found: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: the path ends in NUL, and the struct is ours to write to.
    match unsafe { libc::statvfs(path.as_ptr(), &raw mut found) } {
        0 => Ok((found.f_bavail as u64).saturating_mul(found.f_frsize as u64)),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Knows whether room is short, and does not change its mind with every batch.
#[derive(Debug)]
pub(crate) struct Room {
    reserve: u64,
    is_short: bool,
}

impl Room {
    pub(crate) fn new(reserve: u64) -> Self {
        Self { reserve, is_short: false }
    }

    pub(crate) fn is_short(&self) -> bool {
        self.is_short
    }

    /// Takes in how much there is.
    pub(crate) fn observe(&mut self, free: u64) {
        // A quarter more than the reserve must be there before it counts as enough again.
        let enough = if self.is_short { self.reserve + self.reserve / 4 } else { self.reserve };
        self.is_short = free < enough;
    }

    /// A write has just failed for want of room, whatever the file system says.
    pub(crate) fn ran_out(&mut self) {
        self.is_short = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_where_this_runs() {
        assert!(free_bytes(&std::env::temp_dir()).unwrap() > 0);
        assert!(free_bytes(Path::new("/nowhere/at/all")).is_err());
    }

    #[test]
    fn room_that_was_short_is_enough_only_with_something_to_spare() {
        let mut room = Room::new(100);
        let mut seen = Vec::new();
        for free in [150, 100, 99, 110, 124, 125, 100, 99] {
            room.observe(free);
            seen.push(room.is_short());
        }
        assert_eq!(seen, [false, false, true, true, true, false, false, true]);
    }
}
