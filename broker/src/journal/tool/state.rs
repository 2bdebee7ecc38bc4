//! From the records to the state, the way a broker goes.

use std::path::Path;

use ganger_scheduler::{Birth, Config, Effect, Input, Lsn, Now, Record, Recovery, Scheduler, Wall};

use crate::journal::sqlite::wall_now;

use super::{ToolError, survey};
use crate::journal::{LargeValues, Survey};

/// Reads a journal, handing over each record on the way, into the state that a broker would go on from.
pub(super) fn recover(
    dir: &Path,
    each: &mut dyn FnMut(Lsn, &Record),
) -> Result<(Survey, LargeValues, Recovery), ToolError> {
    let mut recovery = Recovery::new(Config::default(), now());
    let mut wrong = None;
    let (survey, values) = survey(dir, &mut |lsn, record| {
        each(lsn, &record);
        wrong = wrong.or(recovery.apply(lsn, record).err());
    })?;
    match wrong {
        Some(error) => return Err(error.into()),
        None => recovery.check()?,
    }
    Ok((survey, values, recovery))
}

/// Begins the next life of a state, in memory only.
pub(super) fn begin(survey: &Survey, recovery: Recovery) -> Scheduler {
    recovery.finish(now(), Birth { epoch: survey.epoch.next(), knowledge_port: 0 })
}

/// Lets a scheduler carry its state, and hands over what it would write down.
pub(super) fn carry(
    scheduler: &mut Scheduler,
    each: &mut dyn FnMut(Record) -> Result<(), ToolError>,
) -> Result<(), ToolError> {
    let mut upto = None;
    let mut is_over = false;
    scheduler.handle(now(), Input::Carry);
    while !is_over {
        while let Some(effect) = scheduler.poll_effect() {
            if let Effect::Append { lsn, record } = effect {
                upto = Some(lsn);
                is_over |= matches!(record, Record::CarryEnded { .. });
                each(record)?;
            }
        }
        // Without a record to be safe, nothing would ever follow.
        let Some(upto) = upto.take() else { break };
        scheduler.handle(now(), Input::Journaled { upto });
    }
    Ok(())
}

fn now() -> Now {
    Now { wall: Wall(wall_now()), ..Now::default() }
}
