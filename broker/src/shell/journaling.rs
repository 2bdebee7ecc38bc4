//! How the journal gets on, and what follows from it.

use ganger_common::message::Durability;
use ganger_scheduler::{Input, Lsn};
use ganger_transport::{Publisher, Server};

use super::Shell;
use crate::error::BrokerError;
use crate::journal::Journal;

/// A journal shorter than this is not worth carrying the state for.
const CARRY_BYTES_MIN: u64 = 16 << 20;
/// The state is carried when the journal has grown to so many times of what is alive. With what is written
/// while it is carried, the directory stays below three times.
const CARRY_TIMES: f64 = 1.6;
/// The same, measured by what the journal held right after the state was carried last: entries of which much
/// is remembered take more than the rough figure says.
const CARRY_TIMES_LAST: f64 = 1.3;
/// Bytes that may wait to be written before the broker stops to hear clients and to give out tasks: about a
/// tenth of a second of a good disk, and three batches: one is written, one waits, one gathers.
const BEHIND_BYTES: usize = 24 << 20;

/// What is known of the journal.
#[derive(Debug, Default)]
pub(crate) struct Journaling {
    is_full: bool,
    is_behind: bool,
    /// The state is being carried.
    is_carrying: bool,
    /// What the journal held when that began.
    begun_bytes: u64,
    /// What was written while the state was carried last.
    carried_bytes: u64,
}

impl Journaling {
    /// What was carried has taken the place of what was before.
    pub(super) fn trimmed(&mut self) {
        self.is_carrying = false;
    }
}

impl<S: Server, P: Publisher, J: Journal> Shell<S, P, J> {
    /// Whether so much waits to be written that clients have to wait.
    pub fn is_behind(&self) -> bool {
        self.journaling.is_behind
    }

    /// The journal has come further, or has failed.
    pub(crate) fn on_journal(&mut self) -> Result<(), BrokerError> {
        let upto = self.journal.append(&mut Vec::new())?;
        self.news.safe(upto);
        self.spans.safe(upto);
        self.scheduler.handle(self.clock.now(), Input::Journaled { upto });
        Ok(())
    }

    /// Tells the scheduler how the journal keeps up, and has the state carried when it has grown long. Returns
    /// whether there was something to tell: what had to wait for the journal may be given out at once.
    pub(crate) fn watch_journal(&mut self) -> bool {
        if self.scheduler.config().durability == Durability::Memory {
            return false;
        }
        let (usage, waiting) = (self.journal.usage(), self.journal.waiting_bytes());
        let is_full = usage.is_short_of_room;
        let is_behind = waiting > if self.journaling.is_behind { BEHIND_BYTES / 2 } else { BEHIND_BYTES };
        let mut told = false;
        if (is_full, is_behind) != (self.journaling.is_full, self.journaling.is_behind) {
            told = true;
            if is_full && !self.journaling.is_full {
                tracing::warn!("the disk of the data directory is nearly full: nothing new is taken");
            }
            self.counters.journal_behind += u64::from(is_behind && !self.journaling.is_behind);
            (self.journaling.is_full, self.journaling.is_behind) = (is_full, is_behind);
            self.scheduler.handle(self.clock.now(), Input::Storage { full: is_full, behind: is_behind });
        }
        let live = self.scheduler.live_bytes() as f64 * CARRY_TIMES;
        let last = self.journaling.carried_bytes as f64 * CARRY_TIMES_LAST;
        if !self.journaling.is_carrying && usage.log_bytes > CARRY_BYTES_MIN + live.max(last) as u64 {
            tracing::debug!(
                bytes = usage.log_bytes,
                live,
                "the journal has grown long: its state is carried on"
            );
            (self.journaling.is_carrying, self.journaling.begun_bytes) = (true, usage.log_bytes);
            self.scheduler.handle(self.clock.now(), Input::Carry);
            told = true;
        }
        told
    }

    /// Everything alive has been carried past this record.
    pub(crate) fn on_carried(&mut self, from: Lsn) -> Result<(), BrokerError> {
        let bytes = self.journal.usage().log_bytes;
        self.journaling.carried_bytes = bytes.saturating_sub(self.journaling.begun_bytes);
        self.counters.journal_carried += 1;
        self.trim_unnamed(from)
    }
}

/// The journal's figures, as a status reply shows them.
pub(super) fn figures<J: Journal>(journal: &J) -> [(String, u64); 6] {
    let usage = journal.usage();
    [
        ("journal_records".to_owned(), usage.records),
        ("journal_syncs".to_owned(), usage.batches),
        ("journal_bytes".to_owned(), usage.log_bytes),
        ("journal_waiting_bytes".to_owned(), journal.waiting_bytes() as u64),
        ("journal_values".to_owned(), usage.values),
        ("journal_full".to_owned(), u64::from(usage.is_short_of_room)),
    ]
}
