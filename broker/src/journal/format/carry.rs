//! The records in which the state is carried on, so that what came before them may go.

use std::sync::Arc;

use ganger_common::{ClientId, Epoch, Outcome, Revision};
use ganger_scheduler::record::{CarriedEntry, CarriedOutcome, CarriedTask, CarriedTopic, CarryHead};

use super::FormatError;
use super::decode::{self, Decoder};
use super::encode;
use super::read::Reader;
use super::write::Writer;

type Result<T> = std::result::Result<T, FormatError>;

pub(crate) fn write_head(to: &mut Writer<'_>, head: &CarryHead) {
    let CarryHead { epoch, seq, revision, workers, paused } = head;
    to.array(if paused.is_empty() { 4 } else { 5 });
    to.uint(epoch.0);
    to.uint(*seq);
    to.uint(revision.0);
    to.list(workers, |to, worker| encode::worker_id(to, *worker));
    if !paused.is_empty() {
        to.list(paused, |to, kind| to.text(kind));
    }
}

pub(crate) fn read_head(decoder: &mut Decoder, from: &mut Reader<'_>) -> Result<CarryHead> {
    let what = "the head of what is carried";
    let fields = from.array(what)?;
    if !matches!(fields, 4 | 5) {
        return Err(from.expected(0, what));
    }
    Ok(CarryHead {
        epoch: Epoch(from.uint("an epoch")?),
        seq: from.uint("the last number of a task")?,
        revision: Revision(from.uint("a revision")?),
        workers: from.list("workers", decode::worker_id)?,
        paused: match fields {
            5 => from.list("paused kinds", |from| Ok(decoder.kind(from.text("a paused kind")?)))?,
            _ => Vec::new(),
        },
    })
}

/// What the task before said that need not be said again.
#[derive(Default)]
pub(crate) struct Before<'a> {
    kind: Option<&'a Arc<str>>,
    client: Option<ClientId>,
}

/// Nearly every task that waits has done nothing yet, so what it would say of its attempts is nil.
pub(crate) fn write_task<'a>(to: &mut Writer<'_>, task: &'a CarriedTask, before: &mut Before<'a>) {
    let CarriedTask {
        task: new,
        submitted,
        client,
        seq,
        attempt,
        failures,
        timeouts,
        crashes,
        began,
        confirm,
        history,
        settled,
    } = task;
    to.array(if client.is_some() { 6 } else { 5 });
    encode::new_task(to, new, &mut before.kind);
    to.wall(*submitted);
    to.uint(*seq);
    let is_fresh = attempt.0 == 0
        && (*failures, *timeouts, *crashes) == (0, 0, 0)
        && !(*began || *confirm)
        && history.is_empty();
    if is_fresh {
        to.nil();
    } else {
        to.array(7);
        for count in [attempt.0, *failures, *timeouts, *crashes] {
            to.uint(u64::from(count));
        }
        to.flag(*began);
        to.flag(*confirm);
        to.list(history, encode::attempt_ended);
    }
    to.option(settled.as_deref(), write_outcome);
    if let Some(client) = client {
        match before.client.replace(*client) {
            Some(before) if before == *client => to.nil(),
            _ => encode::client_id(to, *client),
        }
    }
}

pub(crate) fn read_task(
    decoder: &mut Decoder,
    from: &mut Reader<'_>,
    (kind, client): &mut (Option<Arc<str>>, Option<ClientId>),
) -> Result<CarriedTask> {
    let fields = from.array("a carried task")?;
    if !matches!(fields, 5 | 6) {
        return Err(from.expected(0, "a carried task"));
    }
    let task = decoder.new_task(from, kind)?;
    let (submitted, seq) = (from.wall("when it was handed in")?, from.uint("its place")?);
    let mut carried = CarriedTask {
        task,
        submitted,
        client: None,
        seq,
        attempt: Default::default(),
        failures: 0,
        timeouts: 0,
        crashes: 0,
        began: false,
        confirm: false,
        history: Vec::new(),
        settled: None,
    };
    from.option(|from| {
        from.fields(7, "the attempts of a carried task")?;
        carried.attempt = decode::attempt(from)?;
        carried.failures = from.uint32("how many failed")?;
        carried.timeouts = from.uint32("how many timed out")?;
        carried.crashes = from.uint32("how many crashed")?;
        carried.began = from.flag("whether one began")?;
        carried.confirm = from.flag("whether the next is to confirm")?;
        carried.history = from.list("ends of attempts", decode::attempt_ended)?;
        Ok(())
    })?;
    carried.settled = from.option(read_outcome)?.map(Box::new);
    if fields == 6 {
        *client = from.option(decode::client_id)?.or(*client);
        carried.client = Some(client.ok_or_else(|| from.expected(1, "the client of the first task"))?);
    }
    Ok(carried)
}

fn write_outcome(to: &mut Writer<'_>, settled: &CarriedOutcome) {
    let CarriedOutcome { outcome, cause, at, worker, result } = settled;
    to.array(5);
    to.uint(u64::from(outcome.code()));
    to.uint(encode::cause_code(*cause));
    to.wall(*at);
    to.option(*worker, encode::worker_id);
    to.data(result);
}

fn read_outcome(from: &mut Reader<'_>) -> Result<CarriedOutcome> {
    from.fields(5, "a carried outcome")?;
    Ok(CarriedOutcome {
        outcome: decode::code(from, "an outcome", Outcome::from_code)?,
        cause: decode::code(from, "a cause", decode::cause)?,
        at: from.wall("when it was settled")?,
        worker: from.option(decode::worker_id)?,
        result: from.data("a result")?,
    })
}

pub(crate) fn write_topic(to: &mut Writer<'_>, topic: &CarriedTopic) {
    let CarriedTopic { topic, last, entries } = topic;
    to.array(3);
    to.text(topic);
    to.uint(last.0);
    to.list(entries, |to, entry| {
        let CarriedEntry { key, revision, value } = entry;
        to.array(3);
        to.text(key);
        to.uint(revision.0);
        to.bytes(value);
    });
}

pub(crate) fn read_topic(from: &mut Reader<'_>) -> Result<CarriedTopic> {
    from.fields(3, "a carried topic")?;
    Ok(CarriedTopic {
        topic: from.text("a topic")?.to_owned(),
        last: Revision(from.uint("a revision")?),
        entries: from.list("entries", |from| {
            from.fields(3, "an entry")?;
            Ok(CarriedEntry {
                key: from.text("a key")?.to_owned(),
                revision: Revision(from.uint("a revision")?),
                value: from.bytes("a value")?,
            })
        })?,
    })
}
