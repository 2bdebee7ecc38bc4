//! How tasks and attempts end.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The one final outcome of a task.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// A handler returned a result.
    Succeeded,
    /// A handler said that trying again is pointless, or every allowed attempt failed or timed out.
    Failed,
    /// Somebody cancelled it before it had another outcome.
    Cancelled,
    /// Its time to live ended before it started.
    Expired,
    /// It took too many workers down with it.
    Dead,
}

impl Outcome {
    /// Every outcome, by its code on the wire.
    pub const ALL: [Self; 5] = [Self::Succeeded, Self::Failed, Self::Cancelled, Self::Expired, Self::Dead];

    /// The number that stands for it in batches.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The outcome behind a number, if it is one of this version.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }

    /// The word for it in listings and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
            Self::Dead => "dead",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How one attempt ended. Each has a budget of its own; see "Retries" in the specification.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum AttemptEnd {
    /// The handler returned a result.
    Succeeded,
    /// The handler returned an error or panicked.
    Failed,
    /// The handler stopped because the task was cancelled.
    Cancelled,
    /// The run limit passed.
    TimedOut,
    /// It had started and was stopped for a drain or shutdown. Costs nothing.
    Interrupted,
    /// It had not started and was handed back. Costs nothing.
    Returned,
    /// The worker died, or was declared dead, while it ran. Counts against the crash limit.
    Crashed,
    /// The worker died, or was declared dead, before it reported a start. Costs nothing.
    Lost,
}

impl AttemptEnd {
    /// Every end, by its code on the wire. The last two are the broker's own verdicts: no worker reports
    /// them.
    pub const ALL: [Self; 8] = [
        Self::Succeeded,
        Self::Failed,
        Self::Cancelled,
        Self::TimedOut,
        Self::Interrupted,
        Self::Returned,
        Self::Crashed,
        Self::Lost,
    ];

    /// The number that stands for it in reports.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The end behind a number, if it is one of this version.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }

    /// The word for it in listings and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::TimedOut => "timed_out",
            Self::Interrupted => "interrupted",
            Self::Returned => "returned",
            Self::Crashed => "crashed",
            Self::Lost => "lost",
        }
    }
}

impl fmt::Display for AttemptEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
