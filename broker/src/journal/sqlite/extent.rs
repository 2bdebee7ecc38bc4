//! How many bytes lie before a record, without asking the database.

use std::collections::VecDeque;

use ganger_scheduler::Lsn;

/// Encoded bytes of a journal by record, one entry a megabyte or so.
#[derive(Debug, Default)]
pub(crate) struct Extent {
    /// Everything that was ever counted.
    total: u64,
    /// Up to which record there were how many bytes, oldest first.
    steps: VecDeque<(Lsn, u64)>,
    /// How many of them were let go.
    trimmed: u64,
}

/// Entries are this far apart: so fine is what [`Extent::bytes`] says.
const STEP_BYTES: u64 = 1 << 20;

impl Extent {
    /// A batch that ends with this record.
    pub(crate) fn add(&mut self, last: Lsn, bytes: u64) {
        let before = self.steps.back().map_or(self.trimmed, |(_, total)| *total);
        self.total += bytes;
        if self.total - before >= STEP_BYTES {
            self.steps.push_back((last, self.total));
        }
    }

    /// Everything before this record is let go.
    pub(crate) fn trim(&mut self, before: Lsn) {
        while let Some((last, total)) = self.steps.front()
            && *last < before
        {
            self.trimmed = *total;
            self.steps.pop_front();
        }
    }

    /// Bytes that were not let go.
    pub(crate) fn bytes(&self) -> u64 {
        self.total - self.trimmed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_let_go_does_not_count() {
        let mut extent = Extent::default();
        for lsn in 1..=1000 {
            extent.add(Lsn(lsn), 100_000);
        }
        assert_eq!(extent.bytes(), 100_000_000);
        extent.trim(Lsn(501));
        let off = extent.bytes().abs_diff(50_000_000);
        assert!(off <= 2 * STEP_BYTES, "{off} bytes off");
        extent.trim(Lsn(1001));
        assert!(extent.bytes() <= 2 * STEP_BYTES);
    }
}
