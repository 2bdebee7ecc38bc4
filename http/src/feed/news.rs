//! What can be told.

use std::sync::Arc;

use ganger_common::{Attempt, AttemptEnd, Outcome, Revision, TaskId, WorkerId};
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use super::counts::Summary;
use crate::limits::EVENT_TEXT_MAX;

/// One thing that happened.
#[derive(Clone, PartialEq, Debug, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum News {
    /// A task was taken.
    TaskAccepted {
        /// Which.
        id: TaskId,
        /// Its kind.
        #[serde(serialize_with = "text")]
        #[schema(value_type = String)]
        kind: Arc<str>,
    },
    /// A task was given to a worker.
    TaskAssigned {
        /// Which.
        id: TaskId,
        /// Its kind.
        #[serde(serialize_with = "text")]
        #[schema(value_type = String)]
        kind: Arc<str>,
        /// The attempt.
        attempt: Attempt,
        /// To whom.
        #[serde(skip_serializing_if = "Option::is_none")]
        worker: Option<WorkerId>,
    },
    /// An attempt ended, and the task has no outcome yet.
    TaskAttemptEnded {
        /// Which.
        id: TaskId,
        /// Its kind.
        #[serde(serialize_with = "text")]
        #[schema(value_type = String)]
        kind: Arc<str>,
        /// The attempt.
        attempt: Attempt,
        /// How it ended.
        end: AttemptEnd,
        /// Who had it.
        worker: WorkerId,
        /// What went wrong, at least the beginning of it.
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<String>,
        /// When the next one may start, in milliseconds since 1970, if not at once.
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_at_ms: Option<u64>,
    },
    /// A task has its outcome.
    TaskSettled {
        /// Which.
        id: TaskId,
        /// Its kind.
        #[serde(serialize_with = "text")]
        #[schema(value_type = String)]
        kind: Arc<str>,
        /// How it ended.
        outcome: Outcome,
        /// The attempt that settled it; 0 when none ran.
        attempt: Attempt,
    },
    /// A task of the dead set was put back.
    TaskRetried {
        /// Which.
        id: TaskId,
        /// Its kind.
        #[serde(serialize_with = "text")]
        #[schema(value_type = String)]
        kind: Arc<str>,
    },
    /// Tasks with an outcome were let go.
    TasksDiscarded {
        /// How many.
        count: u64,
    },
    /// Nothing of a kind is given out from here on.
    KindPaused {
        /// Which.
        #[serde(serialize_with = "text")]
        #[schema(value_type = String)]
        kind: Arc<str>,
    },
    /// A paused kind is given out again.
    KindResumed {
        /// Which.
        #[serde(serialize_with = "text")]
        #[schema(value_type = String)]
        kind: Arc<str>,
    },
    /// A worker is new.
    WorkerJoined {
        /// Which.
        worker: WorkerId,
        /// Its label.
        name: String,
        /// Where it runs.
        host: String,
        /// Tasks that it runs at a time.
        slots: u32,
    },
    /// A worker is back on another connection.
    WorkerResumed {
        /// Which.
        worker: WorkerId,
        /// Its label.
        name: String,
    },
    /// A worker's connection is gone. It is lost if it does not come back in time.
    WorkerAway {
        /// Which.
        worker: WorkerId,
        /// Its label.
        name: String,
    },
    /// A worker takes nothing new.
    WorkerDraining {
        /// Which.
        worker: WorkerId,
        /// Its label.
        name: String,
    },
    /// A worker said goodbye.
    WorkerLeft {
        /// Which.
        worker: WorkerId,
        /// Its label.
        name: String,
    },
    /// A worker is given up.
    WorkerLost {
        /// Which.
        worker: WorkerId,
        /// Its label.
        name: String,
        /// Its connection was there, and nothing came over it.
        silent: bool,
    },
    /// The knowledge map has changed.
    KnowledgeChanged {
        /// The topic.
        topic: String,
        /// The key.
        key: String,
        /// The revision of the change.
        revision: Revision,
        /// The key is gone.
        removed: bool,
        /// How large the value is.
        bytes: u64,
    },
    /// What was only counted, because there was more than is told one by one.
    Summary(Summary),
}

fn text<S: Serializer>(text: &Arc<str>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(text)
}

/// What news are about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)] // The words say it.
pub enum Group {
    Tasks,
    Workers,
    Knowledge,
}

/// Every type of event, with what it is about. A summary is about everything.
pub(super) const TYPES: [(&str, Option<Group>); 16] = [
    ("task_accepted", Some(Group::Tasks)),
    ("task_assigned", Some(Group::Tasks)),
    ("task_attempt_ended", Some(Group::Tasks)),
    ("task_settled", Some(Group::Tasks)),
    ("task_retried", Some(Group::Tasks)),
    ("tasks_discarded", Some(Group::Tasks)),
    ("kind_paused", Some(Group::Tasks)),
    ("kind_resumed", Some(Group::Tasks)),
    ("worker_joined", Some(Group::Workers)),
    ("worker_resumed", Some(Group::Workers)),
    ("worker_away", Some(Group::Workers)),
    ("worker_draining", Some(Group::Workers)),
    ("worker_left", Some(Group::Workers)),
    ("worker_lost", Some(Group::Workers)),
    ("knowledge_changed", Some(Group::Knowledge)),
    ("summary", None),
];

impl News {
    /// Its place in [`TYPES`].
    pub(super) fn type_number(&self) -> usize {
        match self {
            Self::TaskAccepted { .. } => 0,
            Self::TaskAssigned { .. } => 1,
            Self::TaskAttemptEnded { .. } => 2,
            Self::TaskSettled { .. } => 3,
            Self::TaskRetried { .. } => 4,
            Self::TasksDiscarded { .. } => 5,
            Self::KindPaused { .. } => 6,
            Self::KindResumed { .. } => 7,
            Self::WorkerJoined { .. } => 8,
            Self::WorkerResumed { .. } => 9,
            Self::WorkerAway { .. } => 10,
            Self::WorkerDraining { .. } => 11,
            Self::WorkerLeft { .. } => 12,
            Self::WorkerLost { .. } => 13,
            Self::KnowledgeChanged { .. } => 14,
            Self::Summary(_) => 15,
        }
    }

    pub(crate) fn type_name(&self) -> &'static str {
        TYPES[self.type_number()].0
    }

    /// The kind that it is about, or that of its task.
    pub(super) fn kind(&self) -> Option<&str> {
        match self {
            Self::TaskAccepted { kind, .. }
            | Self::TaskAssigned { kind, .. }
            | Self::TaskAttemptEnded { kind, .. }
            | Self::TaskSettled { kind, .. }
            | Self::TaskRetried { kind, .. }
            | Self::KindPaused { kind }
            | Self::KindResumed { kind } => Some(kind),
            _ => None,
        }
    }

    /// The topic of the knowledge that it is about.
    pub(super) fn topic(&self) -> Option<&str> {
        match self {
            Self::KnowledgeChanged { topic, .. } => Some(topic),
            _ => None,
        }
    }
}

/// Something that happened, with its number.
#[derive(Clone, PartialEq, Debug, Serialize, ToSchema)]
pub(crate) struct Event {
    /// One more than that of the event before it, or many more, where nobody watched meanwhile.
    pub(crate) number: u64,
    /// When, in milliseconds since 1970.
    pub(crate) at_ms: u64,
    #[serde(flatten)]
    pub(crate) news: News,
}

/// The beginning of a text, as much of it as an event holds.
pub fn cut(text: &str) -> String {
    let end = text.floor_char_boundary(EVENT_TEXT_MAX);
    match end < text.len() {
        true => format!("{}…", &text[..end]),
        false => text.to_owned(),
    }
}
