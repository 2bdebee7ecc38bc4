//! Tasks, workers, kinds and the dead set.

use ganger_common::TaskId;
use ganger_common::view::{Among, KindView, StateFilter, TaskView, WorkerView};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{Batch, RefusedItem};
use crate::params::Span;

/// Which tasks a listing shows.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct TaskParams {
    /// Only tasks in this state.
    pub(crate) state: Option<StateFilter>,
    /// Only tasks of this kind.
    pub(crate) kind: Option<String>,
    /// Where the page begins: `next` of the one before.
    pub(crate) after: Option<String>,
    /// Most rows, up to 1,000.
    #[param(value_type = Option<u64>, maximum = 4294967295_u64)]
    pub(crate) limit: Option<u32>,
}

/// Which part of the dead set.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct DeadParams {
    /// Only those that are `dead`, or only those that `failed`. Default: both.
    pub(crate) outcome: Option<DeadFilter>,
    /// Only tasks of this kind.
    pub(crate) kind: Option<String>,
    /// Where the page begins: `next` of the one before.
    pub(crate) after: Option<String>,
    /// Most rows, up to 1,000.
    #[param(value_type = Option<u64>, maximum = 4294967295_u64)]
    pub(crate) limit: Option<u32>,
}

/// The outcomes with which tasks are in the dead set.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum DeadFilter {
    /// Too many workers died under it.
    Dead,
    /// Every allowed attempt failed, or one said that trying again is pointless.
    Failed,
}

impl DeadFilter {
    /// In the order in which they are listed.
    pub(crate) const ALL: [Self; 2] = [Self::Dead, Self::Failed];

    pub(crate) fn state(self) -> StateFilter {
        match self {
            Self::Dead => StateFilter::Dead,
            Self::Failed => StateFilter::Failed,
        }
    }

    pub(crate) fn among(self) -> Among {
        match self {
            Self::Dead => Among::Dead,
            Self::Failed => Among::Failed,
        }
    }
}

/// Which tasks of the dead set are put back.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Revive {
    /// These; then no filter may stand beside them.
    #[schema(value_type = Option<Vec<TaskId>>, max_items = 4096)]
    pub(crate) ids: Option<Batch<TaskId>>,
    /// Those of this kind.
    pub(crate) kind: Option<String>,
    /// Those with this outcome.
    pub(crate) outcome: Option<DeadFilter>,
}

/// What was put back.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Revived {
    /// How many.
    pub(crate) retried: usize,
    /// Those that could not be.
    pub(crate) refused: Vec<RefusedItem>,
    /// There are more that fit the filter: ask again.
    pub(crate) more: bool,
}

/// Which tasks of the dead set are let go.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Discard {
    /// These; then no filter may stand beside them.
    #[schema(value_type = Option<Vec<TaskId>>, max_items = 4096)]
    pub(crate) ids: Option<Batch<TaskId>>,
    /// Those of this kind.
    pub(crate) kind: Option<String>,
    /// Those with this outcome.
    pub(crate) outcome: Option<DeadFilter>,
    /// Everything, where no filter says less.
    #[serde(default)]
    pub(crate) all: bool,
}

/// What was let go.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Discarded {
    /// How many.
    pub(crate) discarded: u64,
    /// Those that could not be.
    pub(crate) refused: Vec<RefusedItem>,
    /// There may be more that fit the filter: ask again.
    pub(crate) more: bool,
}

/// A page of tasks.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TaskRows {
    /// The tasks, without their histories.
    pub(crate) rows: Vec<TaskView>,
    /// Where the next page begins; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<String>,
}

/// A page of workers.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WorkerRows {
    /// The workers.
    pub(crate) rows: Vec<WorkerView>,
    /// Where the next page begins; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<String>,
}

/// Where a page begins.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageParams {
    /// `next` of the page before.
    pub(crate) after: Option<String>,
}

/// How long what runs may go on.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct DrainParams {
    /// Such as `30s`, which is the default.
    #[param(value_type = Option<String>)]
    pub(crate) deadline: Option<Span>,
}

/// The queues.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct KindRows {
    /// By name, 1,000 at most: those that are paused, and the first of the others.
    pub(crate) rows: Vec<KindView>,
}
