//! Reading every batch, oldest first, and finding out whether each is what was written.

use ganger_common::Epoch;
use ganger_scheduler::{Lsn, Record};
use rusqlite::{Connection, Row};

use crate::journal::chain::Link;
use crate::journal::error::{Damage, JournalError};
use crate::journal::format::{Decoder, FormatError, VERSION};

use super::Kept;
use super::fault::{damaged, opening};
use super::open::{Opened, wall_now};

/// A batch as it stands in its row, bytes still unread.
#[derive(Debug)]
pub(crate) struct Batch<'a> {
    pub(crate) first: Lsn,
    pub(crate) last: Lsn,
    pub(crate) wall: u64,
    pub(crate) body: &'a [u8],
    link: Link,
}

/// How far the batches are sound.
#[derive(Clone, Copy, Debug)]
pub(crate) struct End {
    pub(crate) last: Lsn,
    pub(crate) link: Link,
}

impl Opened {
    /// Gives up everything after a record, and keeps a copy of what was found. Returns the last record that
    /// is given up.
    pub(crate) fn give_up_after(&self, damage: &Damage, last: Lsn) -> Result<Lsn, JournalError> {
        let path = self.directory.database();
        tracing::warn!("{}: {damage}: accepted", path.display());
        let copy = self.directory.keep_copy(wall_now())?;
        tracing::warn!("what was found is kept in {}", copy.display());
        let given_up = self.last()?.max(self.mark.map_or(Lsn(0), |(mark, _)| mark.lsn));
        let deleted = self.db.execute("DELETE FROM batches WHERE first > ?1", [last.0 as i64]);
        deleted.map_err(|error| opening(&path, error))?;
        Ok(given_up)
    }
}

/// What is wrong with a batch, and where what is sound ends.
#[derive(Debug)]
pub(crate) struct Break {
    pub(crate) damage: Damage,
    pub(crate) end: End,
}

impl Opened {
    /// Hands over every batch that is sound, up to the first that is not.
    pub(crate) fn batches(
        &self,
        mut each: impl FnMut(&Batch<'_>) -> Result<(), JournalError>,
    ) -> Result<Result<End, Break>, JournalError> {
        let path = self.directory.database();
        let failed = |error| opening(&path, error);
        let mut end = End { last: Lsn(self.head.first.0.saturating_sub(1)), link: self.head.link };
        let mut statement = select(&self.db).map_err(failed)?;
        let mut rows = statement.query(()).map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            let batch = batch(row).map_err(failed)?;
            match follow(end, &batch) {
                Ok(next) => end = next,
                Err(damage) => return Ok(Err(Break { damage, end })),
            }
            each(&batch)?;
        }
        Ok(Ok(end))
    }

    /// Hands over every record that was not trimmed. Says where the journal ends and which epoch was the
    /// highest.
    pub(crate) fn records(
        &self,
        each: &mut dyn FnMut(Lsn, Record),
        stored_min: usize,
        kept: &mut Kept,
        mut seen: impl FnMut(&Batch<'_>),
    ) -> Result<(Result<End, Break>, Epoch), JournalError> {
        let mut decoder = Decoder::naming(stored_min);
        let mut epoch = self.head.epoch.max(self.mark.map_or(Epoch(0), |(mark, _)| mark.epoch));
        let end = self.batches(|batch| {
            seen(batch);
            if batch.last < self.head.trimmed {
                return Ok(());
            }
            kept.extent.add(batch.last, batch.body.len() as u64);
            let count = batch.last.0 - batch.first.0 + 1;
            let mut lsn = batch.first;
            let decoded = decoder.decode_from(batch.first, batch.body, count, |record, values| {
                if let Record::Started { epoch: begun } = &record {
                    epoch = epoch.max(*begun);
                }
                if lsn >= self.head.trimmed {
                    values.iter().for_each(|(stored, span)| kept.values.add(batch.first, *stored, *span));
                    each(lsn, record);
                }
                lsn.0 += 1;
            });
            decoded.map_err(|error| damaged(&self.directory.database(), undecodable(batch, &error)))
        })?;
        Ok((end, epoch))
    }
}

fn select(db: &Connection) -> rusqlite::Result<rusqlite::Statement<'_>> {
    db.prepare("SELECT first, last, wall, body, link FROM batches ORDER BY first")
}

fn batch<'a>(row: &'a Row<'_>) -> rusqlite::Result<Batch<'a>> {
    Ok(Batch {
        first: Lsn(row.get::<_, i64>(0)? as u64),
        last: Lsn(row.get::<_, i64>(1)? as u64),
        wall: row.get::<_, i64>(2)? as u64,
        body: row.get_ref(3)?.as_blob()?,
        link: Link(row.get(4)?),
    })
}

/// Whether a batch goes on where the one before it ended.
fn follow(end: End, batch: &Batch<'_>) -> Result<End, Damage> {
    let &Batch { first, last, wall, body, link } = batch;
    if first.0 > end.last.0 + 1 {
        return Err(Damage::Gap { from: Lsn(end.last.0 + 1), to: Lsn(first.0 - 1) });
    }
    let broken = |reason: &str| Damage::Batch { first, last, reason: reason.to_owned() };
    if first.0 <= end.last.0 || last < first {
        return Err(broken("their numbers do not follow those before"));
    }
    match end.link.next(first, last, wall, body) == link {
        true => Ok(End { last, link }),
        false => Err(broken("their hash is not the one that was written with them")),
    }
}

/// The hash is right and the content is not: whoever wrote this is newer, or wrong. Giving it up is not
/// offered, since nothing was lost.
fn undecodable(batch: &Batch<'_>, error: &FormatError) -> Damage {
    match error {
        FormatError::Version { found } => Damage::Version { found: *found, known: VERSION },
        error => Damage::Unreadable { first: batch.first, last: batch.last, reason: error.clone() },
    }
}
