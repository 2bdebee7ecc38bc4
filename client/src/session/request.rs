//! Questions and answers, as values that own what they hold.

use std::time::Duration;

use bytes::Bytes;
use ganger_common::limits::{self, BATCH_ITEMS_MAX, BROADCAST_BYTES_MAX, PAYLOAD_BYTES_MAX};
use ganger_common::view::{
    Among, Explanation, KnowledgeStatusView, StateFilter, StatusView, TaskView, WorkerView,
};
use ganger_common::{ErrorCode, Revision, TaskId};

use crate::error::{Error, Result};

/// A question to the broker.
#[derive(Clone, PartialEq, Debug)]
pub enum Request {
    /// Cancel tasks; answered by [`Answer::Verdicts`].
    Cancel(Vec<TaskId>),
    /// Put failed or dead tasks back into their queues; answered by [`Answer::Verdicts`].
    Retry(Vec<TaskId>),
    /// Let failed or dead tasks go, for good; answered by [`Answer::Discarded`].
    Discard(Vec<TaskId>),
    /// Let all tasks of the dead set go that fit, a part at a time; answered by [`Answer::Discarded`].
    DiscardAll(DiscardQuery),
    /// Give out no more tasks of a kind; answered by [`Answer::Done`].
    Pause {
        /// Its name.
        kind: String,
    },
    /// Give out the tasks of a paused kind again; answered by [`Answer::Done`].
    Resume {
        /// Its name.
        kind: String,
    },
    /// One task with its result; answered by [`Answer::Task`].
    Fetch(TaskId),
    /// The payload of one task; answered by [`Answer::Payload`].
    Payload(TaskId),
    /// Why a task is where it is; answered by [`Answer::Explanation`].
    Explain(TaskId),
    /// A page of tasks; answered by [`Answer::Tasks`].
    List(TaskQuery),
    /// A page of workers; answered by [`Answer::Workers`].
    Workers {
        /// Where the page begins: `next` of the one before.
        after: Option<String>,
    },
    /// The broker's figures; answered by [`Answer::Status`].
    Status,
    /// Drain workers, or the broker; answered by [`Answer::Verdicts`].
    Drain {
        /// Workers by id or name; none: all of them, unless `broker`.
        workers: Vec<String>,
        /// The broker itself.
        broker: bool,
        /// How long what runs may go on.
        deadline: Option<Duration>,
    },
    /// Knowledge; answered by [`Answer::Knowledge`].
    Knowledge(Ask),
    /// A broadcast to whoever listens now; answered by [`Answer::Done`].
    Publish {
        /// The topic.
        topic: String,
        /// The bytes.
        body: Bytes,
    },
}

/// Which tasks a listing shows.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TaskQuery {
    /// Only tasks in this state.
    pub state: Option<StateFilter>,
    /// Only tasks of this kind.
    pub kind: Option<String>,
    /// Where the page begins: `next` of the one before.
    pub after: Option<String>,
    /// Most rows.
    pub limit: Option<u32>,
}

/// Which tasks of the dead set are let go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DiscardQuery {
    /// Which part of it.
    pub among: Among,
    /// Only tasks of this kind.
    pub kind: Option<String>,
    /// Where to go on: `next` of the answer before.
    pub after: Option<String>,
}

/// A question about knowledge.
#[derive(Clone, PartialEq, Debug)]
pub enum Ask {
    /// Set a value.
    Put {
        /// The topic.
        topic: String,
        /// The key.
        key: String,
        /// The value.
        value: Bytes,
        /// Only if the key is at this revision now; 0: only if there is no such key.
        expect: Option<Revision>,
    },
    /// Remove a key.
    Delete {
        /// The topic.
        topic: String,
        /// The key.
        key: String,
        /// Only if the key is at this revision now.
        expect: Option<Revision>,
    },
    /// Read one value.
    Get {
        /// The topic.
        topic: String,
        /// The key.
        key: String,
    },
    /// Read a page of entries, in the order of topic and key.
    List {
        /// Only topics that begin with this.
        prefix: String,
        /// Topic and key of the last entry seen.
        after: Option<(String, String)>,
        /// Leave the values out.
        keys_only: bool,
    },
    /// Read the changes after a revision.
    Since(Revision),
    /// Which worker has which revision.
    Status,
}

/// What the broker answers.
#[derive(Clone, PartialEq, Debug)]
pub enum Answer {
    /// The items that were refused; all others were carried out.
    Verdicts(Vec<Refused>),
    /// Tasks were let go.
    Discarded {
        /// How many.
        count: u64,
        /// Which of the named ones were not.
        refused: Vec<Refused>,
        /// Where to go on; none when all that could fit were looked at.
        next: Option<String>,
    },
    /// One task.
    Task {
        /// The task.
        task: Box<TaskView>,
        /// Its result, when it succeeded and the result is kept.
        result: Option<Bytes>,
    },
    /// The payload of a task.
    Payload(Bytes),
    /// A page of tasks.
    Tasks {
        /// The tasks.
        rows: Vec<TaskView>,
        /// Where the next page begins.
        next: Option<String>,
    },
    /// Why a task is where it is.
    Explanation(Box<Explanation>),
    /// A page of workers.
    Workers {
        /// The workers.
        rows: Vec<WorkerView>,
        /// Where the next page begins.
        next: Option<String>,
    },
    /// The broker's figures.
    Status(Box<StatusView>),
    /// About knowledge.
    Knowledge(Reply),
    /// It was carried out.
    Done,
}

/// One item of a request that was refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refused {
    /// Its place in the request.
    pub index: usize,
    /// Why, for programs.
    pub code: ErrorCode,
    /// Why, for people.
    pub text: String,
}

/// What the broker answers about knowledge.
#[derive(Clone, PartialEq, Debug)]
pub enum Reply {
    /// The change is on record.
    Written(Revision),
    /// One entry.
    Entry(Entry),
    /// A page of entries.
    Entries {
        /// The newest revision when the page was read.
        revision: Revision,
        /// The entries.
        items: Vec<Entry>,
        /// Whether there are more after the last.
        more: bool,
    },
    /// Changes without gaps.
    Changes {
        /// The newest revision.
        revision: Revision,
        /// The changes.
        items: Vec<Change>,
    },
    /// Who has what.
    Status(Box<KnowledgeStatusView>),
}

/// One entry of the knowledge map.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The topic.
    pub topic: String,
    /// The key.
    pub key: String,
    /// The revision of its last change.
    pub revision: Revision,
    /// The value, unless it was left out.
    pub value: Option<Bytes>,
}

/// One change of the knowledge map.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// Its revision.
    pub revision: Revision,
    /// The topic.
    pub topic: String,
    /// The key.
    pub key: String,
    /// The new value; absent when the key was removed.
    pub value: Option<Bytes>,
}

impl Request {
    /// Whether asking twice is the same as asking once. What is, is asked again by itself after a lost
    /// connection; what is not, is reported as interrupted.
    pub fn is_idempotent(&self) -> bool {
        match self {
            Self::Fetch(_)
            | Self::Payload(_)
            | Self::Explain(_)
            | Self::List(_)
            | Self::Workers { .. }
            | Self::Status => true,
            Self::Knowledge(ask) => !matches!(ask, Ask::Put { .. } | Ask::Delete { .. }),
            // What came between the first time and the second may have been meant to stay.
            Self::Pause { .. } | Self::Resume { .. } => false,
            Self::Cancel(_)
            | Self::Retry(_)
            | Self::Discard(_)
            | Self::DiscardAll(_)
            | Self::Drain { .. }
            | Self::Publish { .. } => false,
        }
    }

    /// Refuses what would not fit its message: a text that is too long is cut on the wire, and a cut key is
    /// another key.
    pub(super) fn check(&self) -> Result<()> {
        match self {
            Self::Cancel(tasks) | Self::Retry(tasks) | Self::Discard(tasks) => {
                at_most("tasks", tasks.len(), BATCH_ITEMS_MAX)
            }
            Self::DiscardAll(query) => {
                check_kind(query.kind.as_deref().unwrap_or_default())?;
                check_mark(query.after.as_deref())
            }
            Self::Pause { kind } | Self::Resume { kind } => check_kind(kind),
            Self::List(query) => {
                check_kind(query.kind.as_deref().unwrap_or_default())?;
                check_mark(query.after.as_deref())
            }
            Self::Drain { workers, .. } => {
                at_most("workers", workers.len(), BATCH_ITEMS_MAX)?;
                let longest = workers.iter().map(String::len).max().unwrap_or(0);
                at_most("bytes of a worker's name", longest, limits::NAME_BYTES_MAX)
            }
            Self::Publish { topic, body } => {
                at_most("bytes of a topic", topic.len(), limits::TOPIC_BYTES_MAX)?;
                at_most("bytes of a broadcast", body.len(), BROADCAST_BYTES_MAX)
            }
            Self::Knowledge(ask) => ask.check(),
            Self::Workers { after } => check_mark(after.as_deref()),
            Self::Fetch(_) | Self::Payload(_) | Self::Explain(_) | Self::Status => Ok(()),
        }
    }
}

impl Ask {
    fn check(&self) -> Result<()> {
        let names = |topic: &str, key: &str| {
            at_most("bytes of a topic", topic.len(), limits::TOPIC_BYTES_MAX)?;
            at_most("bytes of a key", key.len(), limits::KEY_BYTES_MAX)
        };
        match self {
            Self::Put { topic, key, value, .. } => {
                names(topic, key)?;
                at_most("bytes of a value", value.len(), PAYLOAD_BYTES_MAX)
            }
            Self::Delete { topic, key, .. } | Self::Get { topic, key } => names(topic, key),
            Self::List { prefix, after, .. } => {
                let (topic, key) = after.as_ref().map_or(("", ""), |(topic, key)| (topic, key));
                names(prefix, "")?;
                names(topic, key)
            }
            Self::Since(_) | Self::Status => Ok(()),
        }
    }
}

fn check_kind(kind: &str) -> Result<()> {
    at_most("bytes of a kind", kind.len(), limits::KIND_BYTES_MAX)
}

fn check_mark(after: Option<&str>) -> Result<()> {
    at_most("bytes of a page mark", after.map_or(0, str::len), limits::NAME_BYTES_MAX)
}

fn at_most(what: &str, found: usize, most: usize) -> Result<()> {
    match found <= most {
        true => Ok(()),
        false => {
            Err(Error::refused(ErrorCode::TooLarge, format!("{found} {what}, at most {most} are allowed")))
        }
    }
}
