//! `inspect`: what a journal is made of.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use ganger_scheduler::Record;
use serde_json::{Map, Value, json};

use super::{ToolError, state};

pub(super) fn inspect(dir: &Path, json: bool, out: &mut impl Write) -> Result<(), ToolError> {
    let mut counts = BTreeMap::new();
    let (survey, _, recovery) = state::recover(dir, &mut |_, record| {
        *counts.entry(kind_of(record)).or_insert(0_u64) += 1;
    })?;
    let status = state::begin(&survey, recovery).status();
    let size = |name: &str| dir.join(name).metadata().map_or(0, |file| file.len());
    let records = (survey.last.0 + 1).saturating_sub(survey.first.0);
    let written = |pick: fn((u64, u64)) -> u64| survey.written.map_or(Value::Null, |at| moment(pick(at)));
    let mark = survey.mark.map_or(Value::Null, |mark| json!(mark.lsn.0));
    let parts: Vec<(&str, Value)> = vec![
        ("journal", json!(survey.id.to_string())),
        ("created", moment(survey.created)),
        ("first_record", json!(survey.first.0)),
        ("last_record", json!(survey.last.0)),
        ("records", json!(records)),
        ("batches", json!(survey.batches)),
        ("oldest_batch", written(|(oldest, _)| oldest)),
        ("newest_batch", written(|(_, newest)| newest)),
        ("record_bytes", json!(survey.bytes)),
        ("database_bytes", json!(size("journal.db"))),
        ("log_bytes", json!(size("journal.db-wal"))),
        ("high_water_record", mark),
        ("epoch", json!(survey.epoch.0)),
        ("tasks_unsettled", json!(status.queued + status.delayed)),
        ("tasks_settled_kept", json!(status.retained)),
        ("tasks_dead_set", json!(status.dead_set)),
        ("payload_bytes", json!(status.payload_bytes)),
        ("result_bytes_kept", json!(status.retained_bytes)),
        ("knowledge_revision", json!(status.revision.0)),
        ("knowledge_entries", json!(status.knowledge_entries)),
    ];
    if json {
        let mut all: Map<String, Value> =
            parts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        all.insert("records_by_type".to_owned(), json!(counts));
        writeln!(out, "{}", Value::Object(all))?;
        return Ok(());
    }
    for (name, value) in parts {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let text = if value.is_null() { "none".to_owned() } else { text };
        writeln!(out, "{:20} {text}", name.replace('_', " "))?;
    }
    for (kind, count) in counts {
        writeln!(out, "  {kind:18} {count}")?;
    }
    Ok(())
}

fn moment(ms: u64) -> Value {
    // Later than any time that can be shown, the number is all there is to say.
    let at = UNIX_EPOCH.checked_add(Duration::from_millis(ms)).filter(|_| ms < MOMENT_MS_MAX);
    at.map_or(json!(ms), |at| json!(humantime::format_rfc3339_millis(at).to_string()))
}

/// The year 9999.
const MOMENT_MS_MAX: u64 = 253_370_764_800_000;

fn kind_of(record: &Record) -> &'static str {
    match record {
        Record::Started { .. } => "started",
        Record::Accepted { .. } => "accepted",
        Record::AttemptEnded(_) => "attempt_ended",
        Record::Settled { .. } => "settled",
        Record::Retried { .. } => "retried",
        Record::Discarded { .. } => "discarded",
        Record::KindPaused { .. } => "kind_paused",
        Record::KindResumed { .. } => "kind_resumed",
        Record::Forgotten { .. } => "forgotten",
        Record::Knowledge(_) => "knowledge",
        Record::WorkerJoined { .. } => "worker_joined",
        Record::WorkerLeft { .. } => "worker_left",
        Record::CarryBegun(_) => "carry_begun",
        Record::CarriedTasks(_) => "carried_tasks",
        Record::CarriedTopic(_) => "carried_topic",
        Record::CarriedHistory(_) => "carried_history",
        Record::CarryEnded { .. } => "carry_ended",
    }
}
