//! `export`: the tasks of a journal, one JSON object a line.

use std::fmt::Write as _;
use std::io::Write;
use std::path::Path;

use ganger_scheduler::record::{AttemptEnded, CarriedOutcome, CarriedTask, Cause};
use ganger_scheduler::{Data, Record};
use serde_json::{Value, json};

use super::{ToolError, state};
use crate::journal::LargeValues;

pub(super) fn export(dir: &Path, payloads: bool, out: &mut impl Write) -> Result<(), ToolError> {
    let (survey, values, recovery) = state::recover(dir, &mut |_, _| {})?;
    let mut scheduler = state::begin(&survey, recovery);
    state::carry(&mut scheduler, &mut |record| {
        if let Record::CarriedTasks(tasks) = record {
            for task in tasks {
                let mut line = line(&task);
                if payloads {
                    line["payload"] = hex(&task.task.payload, &values)?;
                    if let Some(settled) = &task.settled {
                        line["result"] = hex(&settled.result, &values)?;
                    }
                }
                writeln!(out, "{line}")?;
            }
        }
        Ok(())
    })
}

fn line(carried: &CarriedTask) -> Value {
    let CarriedTask { task, submitted, attempt, failures, timeouts, crashes, history, settled, .. } = carried;
    let mut line = json!({
        "id": task.id.to_string(),
        "kind": &*task.kind,
        "state": if settled.is_some() { "settled" } else { "unsettled" },
        "submitted_ms": submitted.0,
        "attempt": attempt.0,
        "failures": failures,
        "timeouts": timeouts,
        "crashes": crashes,
        "payload_bytes": task.payload.len(),
    });
    if let Some(options) = &task.options {
        line["options"] = serde_json::to_value(options).unwrap_or_default();
    }
    if !history.is_empty() {
        line["history"] = history.iter().map(attempt_line).collect();
    }
    if let Some(settled) = settled {
        let CarriedOutcome { outcome, cause, at, worker, result } = &**settled;
        line["outcome"] = json!(outcome.as_str());
        line["cause"] = json!(cause_word(*cause));
        line["settled_ms"] = json!(at.0);
        line["worker"] = json!(worker.map(|worker| worker.to_string()));
        line["result_bytes"] = json!(result.len());
    }
    line
}

fn attempt_line(ended: &AttemptEnded) -> Value {
    json!({
        "attempt": ended.attempt.0,
        "worker": ended.worker.to_string(),
        "worker_name": ended.worker_name,
        "end": ended.end.as_str(),
        "at_ms": ended.at.0,
        "run_us": ended.run_us,
        "error": ended.error,
    })
}

fn cause_word(cause: Cause) -> &'static str {
    match cause {
        Cause::Result => "result",
        Cause::Final => "final",
        Cause::Failures => "failures",
        Cause::Timeouts => "timeouts",
        Cause::Crashes => "crashes",
        Cause::Cancelled => "cancelled",
        Cause::Expired => "expired",
    }
}

/// Large values are read one at a time, when they are printed.
fn hex(data: &Data, values: &LargeValues) -> Result<Value, ToolError> {
    let bytes = match data {
        Data::Inline(bytes) => bytes.clone(),
        Data::Stored(stored) => values.read(*stored)?,
    };
    let mut digits = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        let _ = write!(digits, "{byte:02x}"); // Writing into a text cannot fail.
    }
    Ok(Value::String(digits))
}
