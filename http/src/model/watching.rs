//! What somebody who watches asks for, and hears first.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::feed::Wishes;

/// Which events somebody wants.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct WatchParams {
    /// Types of events, with commas between them; `tasks`, `workers` and `knowledge` are all about those.
    #[param(example = "tasks,worker_lost")]
    pub(crate) types: Option<String>,
    /// Of tasks, only these kinds.
    pub(crate) kinds: Option<String>,
    /// Of knowledge, only these topics.
    pub(crate) topics: Option<String>,
    /// Those after this number, as far as they are kept. `Last-Event-ID` goes before it.
    pub(crate) after: Option<u64>,
}

impl WatchParams {
    pub(crate) fn wishes(&self) -> Wishes {
        let list = |text: &Option<String>| -> Vec<String> {
            let names = text.iter().flat_map(|text| text.split(',')).map(str::trim);
            names.filter(|name| !name.is_empty()).map(str::to_owned).collect()
        };
        Wishes { types: list(&self.types), kinds: list(&self.kinds), topics: list(&self.topics) }
    }
}

/// Where somebody who watches begins.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Watching {
    /// The number of the oldest event that is kept; one more than the newest when none is.
    pub(crate) oldest: u64,
    /// The number of the newest event. What comes later, and is asked for, is told.
    pub(crate) newest: u64,
}
