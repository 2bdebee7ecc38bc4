//! The shapes of bodies and of queries. What listings show has its shape in `ganger_common::view`.
//!
//! - `task`: handing in, and what comes of it.
//! - `listing`: tasks, workers, kinds and the dead set.
//! - `knowledge`: entries and broadcasts.
//! - `watching`: what somebody who watches asks for.

mod knowledge;
mod listing;
mod task;
mod watching;

pub(crate) use knowledge::{Broadcast, EntryParams, EntryRow, EntryRows, ExpectParams, Written};
pub(crate) use listing::{
    DeadFilter, DeadParams, Discard, Discarded, DrainParams, KindRows, PageParams, Revive, Revived,
    TaskParams, TaskRows, WorkerRows,
};
pub(crate) use task::{
    Accepted, AcceptedBatch, AcceptedItem, Batch, Ended, Handed, Missed, OneOrMany, Partial, Progress,
    StreamEvent, TOO_MANY, Task, TaskPayload, TaskResult, WaitParams,
};

pub(crate) use watching::{WatchParams, Watching};

use ganger_common::TaskId;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

/// Why something was not done.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, ToSchema)]
pub(crate) struct Problem {
    /// For programs.
    #[schema(example = "busy")]
    pub(crate) code: String,
    /// For people.
    pub(crate) message: String,
    /// When trying again makes sense.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) retry_after_ms: Option<u64>,
}

/// A result or a value, as far as it is shown.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct Shown {
    /// What it says, where that is one value; else its text, or its bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) result: Option<Value>,
    /// It is too large to be shown here.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) left_out: bool,
    /// The broker let it go to stay within its budget.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) dropped: bool,
}

/// One of several that was refused.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RefusedItem {
    /// Its place in the request.
    pub(crate) index: usize,
    /// Its id.
    pub(crate) id: TaskId,
    /// Why.
    #[serde(flatten)]
    pub(crate) problem: Problem,
}

/// How the gateway or the broker is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Condition {
    /// `ok`.
    pub(crate) status: &'static str,
}
