//! From a data directory to a scheduler and a journal that goes on.

use std::time::{Duration, Instant};

use ganger_common::Epoch;
use ganger_scheduler::{Birth, Now, Recovery, RecoveryError, Scheduler};

use crate::config::Config;
use crate::error::BrokerError;
use crate::journal::{Journal, JournalOptions, SqliteJournal};

/// How often a long recovery says how far it is.
const SAY_EVERY: Duration = Duration::from_secs(2);

/// A state that was read and has not begun its next life.
pub(crate) struct Recovered {
    recovery: Recovery,
    pub(crate) journal: SqliteJournal,
    /// The next life is called this at the least.
    epoch: Epoch,
}

/// Reads the journal of a data directory, and makes one where there is none.
///
/// # Errors
/// When somebody else has it, or it is not as a broker has left it and that was not accepted.
pub(crate) fn recover(
    config: &Config,
    settings: ganger_scheduler::Config,
    now: Now,
) -> Result<Recovered, BrokerError> {
    let options = JournalOptions { accept_loss: config.accept_loss, ..JournalOptions::new(&config.data) };
    let mut journal = SqliteJournal::open(&options)?;
    let newborn = settings.epoch;
    let mut recovery = Recovery::new(settings, now);
    let mut wrong: Option<RecoveryError> = None;
    let begin = Instant::now();
    let (mut records, mut said) = (0_u64, begin);
    let found = journal.read(&mut |lsn, record| {
        records += 1;
        wrong = wrong.or(recovery.apply(lsn, record).err());
        if records.is_multiple_of(1_024) && said.elapsed() >= SAY_EVERY {
            said = Instant::now();
            tracing::info!(records, "reading the journal");
        }
    })?;
    if let Some(error) = wrong.or(recovery.check().err()) {
        let missing = BrokerError::Recovery { dir: config.data.clone(), source: error };
        if !config.accept_loss {
            return Err(missing);
        }
        tracing::error!(error = %missing, "going on without what is missing, as was asked for");
    }
    if let Some((from, to)) = found.lost {
        tracing::error!(from = from.0, to = to.0, "these records are lost, as was accepted");
    }
    if records > 0 {
        let ms = begin.elapsed().as_millis() as u64;
        tracing::info!(dir = %config.data.display(), records, ms, "the journal was read");
    }
    // A new journal begins with a number that no life before it can have had: a worker may still hold leases
    // of a broker whose directory is gone.
    let epoch = if records > 0 { found.epoch.next() } else { newborn.max(found.epoch.next()) };
    Ok(Recovered { recovery, journal, epoch })
}

impl Recovered {
    /// Begins the next life.
    pub(crate) fn begin(self, now: Now, knowledge_port: u16) -> (Scheduler, SqliteJournal) {
        let scheduler = self.recovery.finish(now, Birth { epoch: self.epoch, knowledge_port });
        let status = scheduler.status();
        if status.delayed + status.queued + status.retained + status.dead_set + status.knowledge_entries > 0 {
            tracing::info!(
                epoch = status.epoch.0,
                unsettled = status.queued + status.delayed,
                retained = status.retained,
                dead_set = status.dead_set,
                knowledge = status.knowledge_entries,
                "the state of the last life is back"
            );
        }
        (scheduler, self.journal)
    }
}
