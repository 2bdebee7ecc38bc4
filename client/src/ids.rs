//! Names for tasks.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use ganger_common::TaskId;
use uuid::{Builder, Uuid};

/// Makes UUIDs of version 7 without asking the system for chance each time: at a million tasks a second
/// that would cost more than handing them in.
///
/// Behind the milliseconds stand 26 bits of a counter, so that ids of one source rise and never repeat,
/// and 48 bits of chance, so that no two sources meet.
#[derive(Debug)]
pub(crate) struct IdSource {
    chance: [u8; 6],
    count: AtomicU64,
}

impl IdSource {
    pub(crate) fn new() -> Self {
        let random = Uuid::new_v4().into_bytes();
        let mut chance = [0; 6];
        chance.copy_from_slice(&random[..6]);
        Self { chance, count: AtomicU64::new(0) }
    }

    pub(crate) fn next(&self) -> TaskId {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        let millis = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
        let mut bytes = [0; 10];
        // Version and variant take the upper four bits of the first byte and the upper two of the third.
        bytes[0] = (count >> 22) as u8 & 0x0f;
        bytes[1] = (count >> 14) as u8;
        bytes[2] = (count >> 8) as u8 & 0x3f;
        bytes[3] = count as u8;
        bytes[4..].copy_from_slice(&self.chance);
        TaskId(Builder::from_unix_timestamp_millis(millis, &bytes).into_uuid())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn ids_of_one_source_are_version_7_and_never_repeat() {
        let source = IdSource::new();
        let ids: Vec<TaskId> = (0..100_000).map(|_| source.next()).collect();
        assert!(ids.iter().all(|id| id.0.get_version_num() == 7));
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len());
    }
}
