//! Bytes to records.

use std::collections::HashSet;
use std::str::FromStr;
use std::sync::Arc;

use ganger_common::{
    Account, Attempt, AttemptEnd, ClientId, Epoch, Outcome, Revision, TaskId, TaskOptions, WorkerId,
};
use ganger_scheduler::input::NewTask;
use ganger_scheduler::record::{AttemptEnded, Cause, Change, Record, Settlement};
use ganger_scheduler::{Data, Lsn, Stored};

use super::read::Reader;
use super::write::{Span, Spans};
use super::{FormatError, VERSION, carry, tag};

type Result<T> = std::result::Result<T, FormatError>;

/// Reads bodies. It remembers the names of kinds, so that a million tasks of one kind share one name.
#[derive(Debug)]
pub struct Decoder {
    kinds: HashSet<Arc<str>>,
    /// Payloads and results of so many bytes are named and not copied.
    stored_min: usize,
}

impl Default for Decoder {
    /// Copies all bytes.
    fn default() -> Self {
        Self::naming(usize::MAX)
    }
}

impl Decoder {
    /// Names payloads and results of so many bytes or more.
    pub(crate) fn naming(stored_min: usize) -> Self {
        Self { kinds: HashSet::new(), stored_min }
    }

    /// Reads a body of so many records, and hands them over one by one.
    ///
    /// # Errors
    /// When the bytes are not such records, to the last byte. Those before were handed over.
    pub fn decode(&mut self, body: &[u8], expected: u64, mut each: impl FnMut(Record)) -> Result<()> {
        self.decode_from(Lsn(0), body, expected, |record, _| each(record))
    }

    /// The same, the first record having this number; each comes with where the values stand that it names.
    pub(crate) fn decode_from(
        &mut self,
        first: Lsn,
        body: &[u8],
        expected: u64,
        mut each: impl FnMut(Record, &[(Stored, Span)]),
    ) -> Result<()> {
        let mut from = Reader::noting(body, Spans::from(self.stored_min));
        let found = from.uint("the format version")?;
        if found == 0 || found > VERSION {
            return Err(FormatError::Version { found });
        }
        let mut found = 0;
        while !from.is_at_end() {
            found += 1;
            if found > expected {
                break;
            }
            let mut record = self.record(&mut from)?;
            let named = name(&mut record, Lsn(first.0 + found - 1), &mut from.spans);
            each(record, &named);
        }
        match found == expected {
            true => Ok(()),
            false => Err(FormatError::Count { expected, found }),
        }
    }

    fn record(&mut self, from: &mut Reader<'_>) -> Result<Record> {
        let fields = from.array("a record")?;
        let kind = from.uint("a record's type")?;
        let is_whole = |expected: usize, from: &Reader<'_>| match fields == expected {
            true => Ok(()),
            false => Err(from.expected(0, "a record with the fields of its type")),
        };
        match kind {
            tag::STARTED => {
                is_whole(2, from)?;
                Ok(Record::Started { epoch: Epoch(from.uint("an epoch")?) })
            }
            tag::ACCEPTED => {
                if fields != 4 {
                    is_whole(3, from)?;
                }
                let at = from.wall("when tasks were accepted")?;
                let mut kind = None;
                let tasks = from.list("accepted tasks", |from| self.new_task(from, &mut kind))?;
                let client = (fields == 4).then(|| client_id(from)).transpose()?;
                Ok(Record::Accepted { at, client, tasks })
            }
            tag::ATTEMPT_ENDED => {
                is_whole(2, from)?;
                Ok(Record::AttemptEnded(attempt_ended(from)?))
            }
            tag::SETTLED => {
                is_whole(3, from)?;
                let at = from.wall("when tasks were settled")?;
                Ok(Record::Settled { at, tasks: from.list("settled tasks", settlement)? })
            }
            tag::RETRIED => {
                is_whole(3, from)?;
                let at = from.wall("when tasks were retried")?;
                Ok(Record::Retried { at, tasks: from.list("retried tasks", task_id)? })
            }
            tag::FORGOTTEN => {
                is_whole(3, from)?;
                let settled = from.uint("the last outcome that was forgotten")?;
                Ok(Record::Forgotten { settled, dead: from.uint("the last of the dead that was forgotten")? })
            }
            tag::DISCARDED => {
                is_whole(2, from)?;
                Ok(Record::Discarded { tasks: from.list("discarded tasks", task_id)? })
            }
            tag::KIND_PAUSED => {
                is_whole(2, from)?;
                Ok(Record::KindPaused { kind: self.kind(from.text("a paused kind")?) })
            }
            tag::KIND_RESUMED => {
                is_whole(2, from)?;
                Ok(Record::KindResumed { kind: self.kind(from.text("a resumed kind")?) })
            }
            tag::KNOWLEDGE => {
                is_whole(2, from)?;
                Ok(Record::Knowledge(change(from)?))
            }
            tag::WORKER_JOINED => {
                is_whole(2, from)?;
                Ok(Record::WorkerJoined { worker: worker_id(from)? })
            }
            tag::WORKER_LEFT => {
                is_whole(2, from)?;
                Ok(Record::WorkerLeft { worker: worker_id(from)? })
            }
            tag::CARRY_BEGUN => {
                is_whole(2, from)?;
                Ok(Record::CarryBegun(carry::read_head(self, from)?))
            }
            tag::CARRIED_TASKS => {
                is_whole(2, from)?;
                let mut before = (None, None);
                let tasks = from.list("carried tasks", |from| carry::read_task(self, from, &mut before))?;
                Ok(Record::CarriedTasks(tasks))
            }
            tag::CARRIED_TOPIC => {
                is_whole(2, from)?;
                Ok(Record::CarriedTopic(carry::read_topic(from)?))
            }
            tag::CARRIED_HISTORY => {
                is_whole(2, from)?;
                Ok(Record::CarriedHistory(from.list("earlier changes", change)?))
            }
            tag::CARRY_ENDED => {
                is_whole(2, from)?;
                Ok(Record::CarryEnded { from: Lsn(from.uint("where it began")?) })
            }
            _ => Err(from.expected(1, "a known type of record")),
        }
    }

    pub(crate) fn new_task(&mut self, from: &mut Reader<'_>, kind: &mut Option<Arc<str>>) -> Result<NewTask> {
        from.fields(4, "an accepted task")?;
        let id = task_id(from)?;
        if let Some(name) = from.option(|from| from.text("a kind"))? {
            *kind = Some(self.kind(name));
        }
        let kind = kind.clone().ok_or_else(|| from.expected(1, "the kind of the first task"))?;
        let payload = from.data("a payload")?;
        let options = from.option(options)?.map(Box::new);
        Ok(NewTask { id, kind, payload, options })
    }

    pub(crate) fn kind(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.kinds.get(name) {
            return known.clone();
        }
        let new: Arc<str> = name.into();
        self.kinds.insert(new.clone());
        new
    }
}

fn account(from: &mut Reader<'_>) -> Result<Account> {
    let bytes = from.bin("an account")?;
    bytes.try_into().map(Account).map_err(|_| from.expected(0, "an account of 32 bytes"))
}

/// Gives the values of a record that were not copied the names that they have.
fn name(record: &mut Record, lsn: Lsn, spans: &mut Spans) -> Vec<(Stored, Span)> {
    if spans.found.is_empty() {
        return Vec::new();
    }
    let values = record.values_mut().filter_map(|(index, data)| match data {
        Data::Stored(stored) => Some((index, stored)),
        Data::Inline(_) => None,
    });
    let named = values.zip(spans.found.drain(..)).map(|((index, stored), span)| {
        (stored.lsn, stored.index) = (lsn, index);
        (*stored, span)
    });
    named.collect()
}

fn options(from: &mut Reader<'_>) -> Result<TaskOptions> {
    let what = "the options of a task";
    let fields = from.array(what)?;
    if !matches!(fields, 10 | 11 | 13) {
        return Err(from.expected(0, what));
    }
    let priority = from.int("a priority")?;
    let mut options = TaskOptions {
        priority: i16::try_from(priority).map_err(|_| from.expected(0, "a priority"))?,
        delay_ms: from.uint("a delay")?,
        ttl_ms: from.option(|from| from.uint("a time to live"))?,
        run_limit_ms: from.option(|from| from.uint("a run limit"))?,
        max_attempts: from.option(|from| from.uint32("a number of attempts"))?,
        crash_limit: from.option(|from| from.uint32("a crash limit"))?,
        backoff_ms: from.option(|from| from.uint("a back-off"))?,
        knowledge: from.option(|from| from.uint("a revision"))?.map(Revision),
        detached: from.flag("whether it is detached")?,
        events: from.flag("whether events are wanted")?,
        ..TaskOptions::default()
    };
    if fields > 10 {
        options.account = from.option(account)?;
    }
    if fields == 13 {
        options.trace = Some(parsed(from, "a traceparent")?);
        options.trace_state = from.option(|from| parsed(from, "a tracestate"))?;
    }
    Ok(options)
}

/// A text that stands for a value.
fn parsed<T: FromStr>(from: &mut Reader<'_>, what: &'static str) -> Result<T> {
    let text = from.text(what)?;
    text.parse().map_err(|_| from.expected(text.len(), what))
}

pub(crate) fn attempt_ended(from: &mut Reader<'_>) -> Result<AttemptEnded> {
    from.fields(9, "the end of an attempt")?;
    Ok(AttemptEnded {
        task: task_id(from)?,
        attempt: attempt(from)?,
        worker: worker_id(from)?,
        worker_name: from.text("a worker's name")?.to_owned(),
        end: code(from, "how an attempt ended", AttemptEnd::from_code)?,
        at: from.wall("when an attempt ended")?,
        run_us: from.uint("how long it ran")?,
        error: from.option(|from| from.text("an error"))?.map(str::to_owned),
        retry_at: from.option(|from| from.wall("when to try again"))?,
    })
}

fn settlement(from: &mut Reader<'_>) -> Result<Settlement> {
    from.fields(7, "a settlement")?;
    Ok(Settlement {
        task: task_id(from)?,
        outcome: code(from, "an outcome", Outcome::from_code)?,
        attempt: attempt(from)?,
        worker: from.option(worker_id)?,
        cause: code(from, "a cause", cause)?,
        result: from.data("a result")?,
        ended: from.option(attempt_ended)?.map(Box::new),
    })
}

fn change(from: &mut Reader<'_>) -> Result<Change> {
    from.fields(4, "a change of knowledge")?;
    Ok(Change {
        revision: Revision(from.uint("a revision")?),
        topic: from.text("a topic")?.to_owned(),
        key: from.text("a key")?.to_owned(),
        value: from.option(|from| from.bytes("a value"))?,
    })
}

fn task_id(from: &mut Reader<'_>) -> Result<TaskId> {
    from.id("the id of a task").map(TaskId::from_bytes)
}

pub(crate) fn client_id(from: &mut Reader<'_>) -> Result<ClientId> {
    from.id("the id of a client").map(ClientId::from_bytes)
}

pub(crate) fn worker_id(from: &mut Reader<'_>) -> Result<WorkerId> {
    from.id("the id of a worker").map(WorkerId::from_bytes)
}

pub(crate) fn attempt(from: &mut Reader<'_>) -> Result<Attempt> {
    from.uint32("the number of an attempt").map(Attempt)
}

/// One of a few words that stand as numbers.
pub(crate) fn code<T>(
    from: &mut Reader<'_>,
    what: &'static str,
    find: impl Fn(u8) -> Option<T>,
) -> Result<T> {
    let code = from.uint(what)?;
    u8::try_from(code).ok().and_then(find).ok_or_else(|| from.expected(1, what))
}

pub(crate) fn cause(code: u8) -> Option<Cause> {
    let causes = [
        Cause::Result,
        Cause::Final,
        Cause::Failures,
        Cause::Timeouts,
        Cause::Crashes,
        Cause::Cancelled,
        Cause::Expired,
    ];
    causes.get(usize::from(code)).copied()
}
