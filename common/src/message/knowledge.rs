//! Reading and changing the knowledge map, the same for clients and workers.

use serde::{Deserialize, Serialize};

use crate::codec::{Blob, List, Text, array};
use crate::ids::Revision;
use crate::limits;
use crate::view;

/// A topic of the knowledge map.
pub type Topic<'a> = Text<'a, { limits::TOPIC_BYTES_MAX }>;
/// A key within a topic.
pub type Key<'a> = Text<'a, { limits::KEY_BYTES_MAX }>;

/// One request on the knowledge map.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct KnowledgeRequest<'a> {
    /// Chosen by the asking side, echoed in the answer.
    pub req: u64,
    /// What is asked.
    #[serde(borrow)]
    pub op: KnowledgeOp<'a>,
}

/// What may be asked of the knowledge map. On the wire: a map with one entry, operation to arguments.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KnowledgeOp<'a> {
    /// Sets a value; answered by `written`.
    Put {
        /// The topic.
        #[serde(borrow)]
        topic: Topic<'a>,
        /// The key.
        #[serde(borrow)]
        key: Key<'a>,
        /// The value.
        #[serde(borrow)]
        value: Blob<'a>,
        /// Only if the key is at this revision now; 0: only if there is no such key.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expect: Option<Revision>,
    },
    /// Removes a key; answered by `written`.
    Delete {
        /// The topic.
        #[serde(borrow)]
        topic: Topic<'a>,
        /// The key.
        #[serde(borrow)]
        key: Key<'a>,
        /// Only if the key is at this revision now.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expect: Option<Revision>,
    },
    /// Reads one value; answered by `entry`.
    Get {
        /// The topic.
        #[serde(borrow)]
        topic: Topic<'a>,
        /// The key.
        #[serde(borrow)]
        key: Key<'a>,
    },
    /// Reads entries in the order of topic and key; answered by `entries`. Page by page it is a snapshot
    /// to which the changes since the `revision` of its first page must be applied.
    List {
        /// Only topics that begin with this. Default: all.
        #[serde(borrow, default)]
        prefix: Topic<'a>,
        /// Topic and key of the last entry seen. Default: begin at the first.
        #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
        after: Option<(Topic<'a>, Key<'a>)>,
        /// Leave the values out.
        #[serde(default)]
        keys_only: bool,
        /// Most entries. Default, and most: [`limits::PAGE_ROWS_MAX`].
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit: Option<u32>,
    },
    /// Reads changes in the order of their revisions; answered by `changes`, or the error `history_gone`.
    Since {
        /// The last revision that is known.
        revision: Revision,
    },
    /// Which worker has which revision; answered by `status`.
    Status {},
}

/// One answer about the knowledge map.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct KnowledgeReply<'a> {
    /// The request that it answers.
    pub req: u64,
    /// The answer.
    #[serde(borrow)]
    pub answer: KnowledgeAnswer<'a>,
}

/// Answers about the knowledge map. On the wire: a map with one entry, answer to contents.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KnowledgeAnswer<'a> {
    /// The change is on record.
    Written {
        /// Its revision.
        revision: Revision,
    },
    /// One entry.
    Entry(#[serde(borrow)] EntryItem<'a>),
    /// A page of entries.
    Entries {
        /// The newest revision when this page was read.
        revision: Revision,
        /// The entries.
        #[serde(borrow)]
        items: List<EntryItem<'a>, { limits::PAGE_ROWS_MAX }>,
        /// Whether there are more after the last one.
        more: bool,
    },
    /// A run of changes without gaps.
    Changes {
        /// The newest revision.
        revision: Revision,
        /// The changes; the first is the one right after the revision that was asked about.
        #[serde(borrow)]
        items: List<ChangeItem<'a>, { limits::PAGE_ROWS_MAX }>,
    },
    /// Who has what.
    Status(view::KnowledgeStatusView),
}

array! {
    /// One entry of the knowledge map.
    pub struct EntryItem<'a> {
        /// The topic.
        topic: Topic<'a>,
        /// The key.
        key: Key<'a>,
        /// The revision of its last change.
        revision: Revision,
        |
        /// The value, unless it was left out.
        value: Blob<'a>,
    }
}

array! {
    /// One change of the knowledge map.
    pub struct ChangeItem<'a> {
        /// Its revision.
        revision: Revision,
        /// The topic.
        topic: Topic<'a>,
        /// The key.
        key: Key<'a>,
        |
        /// The value; absent when the key was removed.
        value: Blob<'a>,
    }
}

/// Sends a broadcast to whoever listens now.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct PublishRequest<'a> {
    /// Chosen by the asking side, echoed in the answer.
    pub req: u64,
    /// The topic.
    #[serde(borrow)]
    pub topic: Topic<'a>,
    /// The bytes; at most [`limits::BROADCAST_BYTES_MAX`].
    #[serde(borrow)]
    pub body: Blob<'a>,
}
