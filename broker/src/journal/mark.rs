//! The high-water mark: how far the journal was safe when somebody last looked.
//!
//! A journal whose end was cut off is a journal, only a shorter one. So a small file beside it names the
//! last record that was safe. What it names was synced before, so the mark is never ahead of a sound
//! journal.
//!
//! The file is two slots. Between two syncs only one of them is written, the one that is not the newest on
//! the disk, so that a write which a power cut tears leaves the other.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use ganger_common::Epoch;
use ganger_scheduler::Lsn;
use sha2::{Digest, Sha256};

use super::chain::{JournalId, Link};

/// What a mark says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mark {
    /// Of which journal.
    pub journal: JournalId,
    /// The last record that is safe; 0 before there is any.
    pub lsn: Lsn,
    /// The highest epoch up to it.
    pub epoch: Epoch,
    /// The link of the batch that ends with it.
    pub link: Link,
}

/// What was found where the mark should be.
#[derive(Debug)]
pub(crate) enum Found {
    /// No file.
    Nothing,
    /// A file of which no slot is sound.
    Damaged,
    /// A sound slot of a later format.
    Newer(u64),
    /// A mark, and where the next one goes.
    Mark(Mark, Place),
}

/// Which slot is written next, and with which number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    slot: u64,
    sequence: u64,
}

/// The open file.
#[derive(Debug)]
pub(crate) struct MarkFile {
    file: File,
    place: Place,
    /// What a power cut leaves.
    pub(crate) synced: Mark,
    /// Something newer was written and not synced.
    pub(crate) is_behind: bool,
}

const MAGIC: &[u8; 8] = b"GANGERHW";
const VERSION: u64 = 1;
/// Slots stand this far apart, so that no device tears both with one write.
const SLOT_STRIDE: u64 = 4096;
const SLOT_BYTES: usize = 120;
/// What the checksum covers.
const SUMMED_BYTES: usize = 88;

impl MarkFile {
    /// Makes the file anew, in place of whatever is there.
    pub(crate) fn create(path: &Path, mark: Mark) -> io::Result<Self> {
        let new = path.with_extension("new");
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.set_len(2 * SLOT_STRIDE)?;
        file.write_all_at(&encode(&mark, 1), 0)?;
        file.sync_all()?;
        std::fs::rename(&new, path)?;
        Ok(Self { file, place: Place { slot: 1, sequence: 2 }, synced: mark, is_behind: false })
    }

    /// Opens the file in which `mark` was found.
    pub(crate) fn open(path: &Path, mark: Mark, place: Place) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        Ok(Self { file, place, synced: mark, is_behind: false })
    }

    /// Names a record that is safe. Survives the process at once, and a power cut after the next
    /// [`sync`](Self::sync).
    pub(crate) fn write(&mut self, mark: &Mark) -> io::Result<()> {
        self.file.write_all_at(&encode(mark, self.place.sequence), self.place.slot * SLOT_STRIDE)?;
        self.is_behind = true;
        Ok(())
    }

    /// Makes what was written last, which is `mark`, safe.
    pub(crate) fn sync(&mut self, mark: Mark) -> io::Result<()> {
        self.file.sync_data()?;
        self.place = Place { slot: 1 - self.place.slot, sequence: self.place.sequence + 1 };
        self.synced = mark;
        self.is_behind = false;
        Ok(())
    }
}

/// Reads the mark in a file.
pub(crate) fn find(path: &Path) -> io::Result<Found> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) => return Err(error),
    };
    let slot = |slot: u64| {
        let at = (slot * SLOT_STRIDE) as usize;
        let bytes = bytes.get(at..at + SLOT_BYTES)?;
        decode(bytes).map(|read| (slot, read))
    };
    let slots = [slot(0), slot(1)];
    let newest = slots.into_iter().flatten().max_by_key(|(_, read)| read.sequence);
    Ok(match newest {
        None => Found::Damaged,
        Some((_, read)) if read.version != VERSION => Found::Newer(read.version),
        Some((slot, read)) => Found::Mark(read.mark, Place { slot: 1 - slot, sequence: read.sequence + 1 }),
    })
}

struct Read {
    version: u64,
    sequence: u64,
    mark: Mark,
}

fn encode(mark: &Mark, sequence: u64) -> [u8; SLOT_BYTES] {
    let mut slot = [0; SLOT_BYTES];
    slot[..8].copy_from_slice(MAGIC);
    slot[8..16].copy_from_slice(&VERSION.to_be_bytes());
    slot[16..32].copy_from_slice(&mark.journal.0);
    slot[32..40].copy_from_slice(&sequence.to_be_bytes());
    slot[40..48].copy_from_slice(&mark.lsn.0.to_be_bytes());
    slot[48..56].copy_from_slice(&mark.epoch.0.to_be_bytes());
    slot[56..88].copy_from_slice(&mark.link.0);
    let sum = Sha256::digest(&slot[..SUMMED_BYTES]);
    slot[SUMMED_BYTES..].copy_from_slice(&sum);
    slot
}

fn decode(slot: &[u8]) -> Option<Read> {
    let (said, sum) = slot.split_at_checked(SUMMED_BYTES)?;
    if &said[..8] != MAGIC || Sha256::digest(said).as_slice() != sum {
        return None;
    }
    let number = |at: usize| said[at..at + 8].iter().fold(0, |value, byte| value << 8 | u64::from(*byte));
    Some(Read {
        version: number(8),
        sequence: number(32),
        mark: Mark {
            journal: JournalId(said[16..32].try_into().ok()?),
            lsn: Lsn(number(40)),
            epoch: Epoch(number(48)),
            link: Link(said[56..88].try_into().ok()?),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(lsn: u64) -> Mark {
        let journal = JournalId([7; 16]);
        Mark { journal, lsn: Lsn(lsn), epoch: Epoch(3), link: Link([9; 32]) }
    }

    fn found(path: &Path) -> Option<u64> {
        match find(path).unwrap() {
            Found::Mark(mark, _) => Some(mark.lsn.0),
            _ => None,
        }
    }

    #[test]
    fn the_newest_mark_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("high-water");
        assert!(matches!(find(&path).unwrap(), Found::Nothing));
        let mut file = MarkFile::create(&path, mark(0)).unwrap();
        assert_eq!(found(&path), Some(0));
        for lsn in 1..6 {
            file.write(&mark(lsn)).unwrap();
            assert_eq!(found(&path), Some(lsn));
            if lsn % 2 == 0 {
                file.sync(mark(lsn)).unwrap();
            }
        }
        let Found::Mark(last, place) = find(&path).unwrap() else { panic!("the mark is lost") };
        let mut file = MarkFile::open(&path, last, place).unwrap();
        file.write(&mark(6)).unwrap();
        assert_eq!(found(&path), Some(6));
    }

    #[test]
    fn a_torn_write_leaves_the_mark_that_was_synced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("high-water");
        let mut file = MarkFile::create(&path, mark(1)).unwrap();
        for lsn in 2..8 {
            file.write(&mark(lsn)).unwrap();
            let whole = std::fs::read(&path).unwrap();
            for torn in 0..SLOT_BYTES {
                let mut bytes = whole.clone();
                let slot = (file.place.slot * SLOT_STRIDE) as usize;
                bytes[slot + torn] ^= 0x10;
                std::fs::write(&path, &bytes).unwrap();
                assert_eq!(found(&path), Some(lsn - 1), "byte {torn} of mark {lsn}");
            }
            std::fs::write(&path, &whole).unwrap();
            file = match find(&path).unwrap() {
                Found::Mark(last, _) => MarkFile { synced: last, ..file },
                other => panic!("{other:?}"),
            };
            file.sync(mark(lsn)).unwrap();
        }
    }

    #[test]
    fn a_mark_that_is_damaged_twice_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("high-water");
        std::fs::write(&path, vec![0; 8192]).unwrap();
        assert!(matches!(find(&path).unwrap(), Found::Damaged));
        std::fs::write(&path, b"").unwrap();
        assert!(matches!(find(&path).unwrap(), Found::Damaged));
    }

    #[test]
    fn a_mark_of_a_newer_broker_is_said_to_be_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("high-water");
        let mut slot = encode(&mark(4), 1);
        slot[15] = 2;
        let sum = Sha256::digest(&slot[..SUMMED_BYTES]);
        slot[SUMMED_BYTES..].copy_from_slice(&sum);
        std::fs::write(&path, slot).unwrap();
        assert!(matches!(find(&path).unwrap(), Found::Newer(2)));
    }
}
