//! What a submitter may ask for with a task.

use serde::{Deserialize, Serialize};

use crate::code::ErrorCode;
use crate::ids::Revision;
use crate::limits;
use crate::trace::{Trace, TraceContext, TraceState, claimed};

/// On whose account a task counts: the public key with which it was handed in.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Account(pub [u8; 32]);

/// Options of one task. Everything absent takes the default that the field names.
///
/// Times are milliseconds counted from the moment the broker takes the task, so that no two clocks need
/// to agree.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct TaskOptions {
    /// Higher first, strictly, among tasks of the same kind. Default 0.
    #[serde(skip_serializing_if = "is_default")]
    pub priority: i16,
    /// Not dispatched before this has passed. Default 0.
    #[serde(skip_serializing_if = "is_default")]
    pub delay_ms: u64,
    /// If it has not started by then, it settles as `expired`. Counted from the submission. Default: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl_ms: Option<u64>,
    /// Longest run of one attempt. Default: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_limit_ms: Option<u64>,
    /// Tries that may fail or time out, the first included. Default [`limits::ATTEMPTS_MAX`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<u32>,
    /// Workers that may die under it before it is `dead`. Default [`limits::CRASH_LIMIT`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crash_limit: Option<u32>,
    /// First pause after a failure. Default [`limits::BACKOFF_BASE`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backoff_ms: Option<u64>,
    /// Only dispatched to a worker that has applied this knowledge revision. Default: any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub knowledge: Option<Revision>,
    /// Do not send the outcome to the submitter; it can still be fetched. Default false.
    #[serde(skip_serializing_if = "is_default")]
    pub detached: bool,
    /// Send progress and partial results to the submitter. Default false.
    #[serde(skip_serializing_if = "is_default")]
    pub events: bool,
    /// The span of the submitter. Default: none.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "claimed")]
    pub trace: Option<TraceContext>,
    /// What goes with the span. Default: nothing.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "claimed")]
    pub trace_state: Option<TraceState>,
    /// On whose account it counts, where somebody's tasks are counted. The broker sets it from what the
    /// connection has proven, and keeps it with the task; it never goes over a wire, so nobody can claim it.
    #[serde(skip)]
    pub account: Option<Account>,
}

impl TaskOptions {
    /// Whether nothing is asked for, so that the options need not be sent or stored.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Checks every value against its range.
    ///
    /// # Errors
    /// `bad_option` with a text that names the option and what is allowed.
    pub fn check(&self) -> Result<(), (ErrorCode, String)> {
        let longest = limits::DELAY_MAX.as_millis() as u64;
        let times = [
            ("delay_ms", Some(self.delay_ms), 0),
            ("ttl_ms", self.ttl_ms, 1),
            ("run_limit_ms", self.run_limit_ms, 1),
            ("backoff_ms", self.backoff_ms, 0),
        ];
        for (name, value, least) in times {
            if value.is_some_and(|value| value < least || value > longest) {
                return Err(bad(name, least, longest));
            }
        }
        for (name, value) in [("max_attempts", self.max_attempts), ("crash_limit", self.crash_limit)] {
            if value.is_some_and(|value| value == 0 || value > 1_000_000) {
                return Err(bad(name, 1, 1_000_000));
            }
        }
        if self.trace.is_some_and(|trace| trace.is_malformed()) {
            return Err(bad_trace("trace", "allowed is a W3C traceparent of version 00"));
        }
        match &self.trace_state {
            Some(state) if state.is_malformed() => {
                Err(bad_trace("trace_state", "allowed are 1 to 512 printable characters"))
            }
            Some(_) if self.trace.is_none() => {
                Err(bad_trace("trace_state", "there is no trace that it is of"))
            }
            _ => Ok(()),
        }
    }

    /// The trace that it belongs to, for whoever runs it.
    pub fn traced(&self) -> Option<Trace> {
        self.trace.map(|context| Trace { context, state: self.trace_state.clone() })
    }
}

fn bad_trace(name: &str, why: &str) -> (ErrorCode, String) {
    (ErrorCode::BadOption, format!("option {name}: {why}"))
}

fn bad(name: &str, least: u64, most: u64) -> (ErrorCode, String) {
    (ErrorCode::BadOption, format!("option {name}: allowed is {least} to {most}"))
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
