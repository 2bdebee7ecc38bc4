//! Parts that several directions share.

use serde::{Deserialize, Serialize};

use crate::code::ErrorCode;
use crate::codec::{List, Text, array};
use crate::ids::{Attempt, Epoch, Revision, TaskId};
use crate::limits;
use crate::version::Version;

/// A human-readable name: of a worker, a client, a host.
pub type Name<'a> = Text<'a, { limits::NAME_BYTES_MAX }>;
/// The name of a kind of tasks.
pub type Kind<'a> = Text<'a, { limits::KIND_BYTES_MAX }>;
/// An error text for people.
pub type ErrorText<'a> = Text<'a, { limits::TEXT_BYTES_MAX }>;
/// Tasks by id.
pub type TaskIds = List<TaskId, { limits::BATCH_ITEMS_MAX }>;

/// How far an acknowledgement reaches.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub enum Durability {
    /// Held in the broker's memory: lost with its process.
    Memory,
    /// Synced to the broker's journal: survives its process and its power.
    Journal,
}

impl Durability {
    /// The word for it on the wire and in flags.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Journal => "journal",
        }
    }
}

/// Opens a session for the peer; the broker's answer to a `hello`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Welcome<'a> {
    /// The protocol that the broker speaks.
    pub protocol: Version,
    /// The broker's program and version, for logs.
    #[serde(borrow)]
    pub broker: Name<'a>,
    /// The life of the broker's state; it is part of every lease.
    pub epoch: Epoch,
    /// Send a heartbeat this often.
    pub heartbeat_ms: u32,
    /// Either side may give the other up after this many heartbeats of silence.
    pub liveness: u32,
    /// How long a broken connection may take to come back before leases move.
    pub grace_ms: u32,
    /// How far an `accepted` reaches.
    pub durability: Durability,
    /// Largest message that the broker takes, in bytes.
    pub message_bytes_max: u64,
    /// Largest payload that the broker takes, in bytes.
    pub payload_bytes_max: u64,
    /// Most items in one batch.
    pub batch_items_max: u32,
    /// The newest knowledge revision.
    pub revision: Revision,
    /// Port of the PUB socket, on the host that the peer reached the broker at. Zero: ask the operator.
    pub knowledge_port: u16,
}

array! {
    /// The right of one worker incarnation to settle one attempt. The worker is known from the session.
    pub struct Lease {
        /// The task.
        task: TaskId,
        /// The life of the broker that granted it.
        epoch: Epoch,
        /// The try.
        attempt: Attempt,
    }
}

impl Copy for Lease {}
impl Eq for Lease {}

/// Some leases.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Leases {
    /// Which.
    pub leases: List<Lease, { limits::BATCH_ITEMS_MAX }>,
}

/// The broker's answer to a heartbeat.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BrokerHeartbeat {
    /// Echo the newest mark in the next heartbeat: it proves what the peer has read.
    pub mark: u64,
    /// The newest knowledge revision, so that a gap shows even when nothing is published.
    pub revision: Revision,
}

/// A request that consists of its number alone, or the answer that it was carried out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Request {
    /// Chosen by the asking side, echoed in the answer.
    pub req: u64,
}

/// A refusal.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ErrorReply<'a> {
    /// The request that it answers; absent when the message could not be read that far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub req: Option<u64>,
    /// What kind of refusal.
    pub code: ErrorCode,
    /// What to tell a person.
    #[serde(borrow)]
    pub text: ErrorText<'a>,
    /// When trying again makes sense.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u32>,
}

/// The end of a session, from either side.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Goodbye<'a> {
    /// Why the broker closes; absent when all is well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<ErrorCode>,
    /// What to tell a person.
    #[serde(borrow, default)]
    pub text: ErrorText<'a>,
}

/// One page of rows.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Rows<T> {
    /// The request that it answers.
    pub req: u64,
    /// The rows, at most [`limits::PAGE_ROWS_MAX`].
    #[serde(bound(deserialize = "T: Deserialize<'de>"))]
    pub rows: List<T, { limits::PAGE_ROWS_MAX }>,
    /// Ask again with `after` set to this for the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// One thing that was asked for.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Body<T> {
    /// The request that it answers.
    pub req: u64,
    /// The thing.
    #[serde(bound(deserialize = "T: Deserialize<'de>"))]
    pub body: T,
}

/// Asks for a page.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Page<'a> {
    /// Chosen by the asking side, echoed in the answer.
    pub req: u64,
    /// Where the page begins: `next` of the one before. Default: at the beginning.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Name<'a>>,
    /// Most rows, up to [`limits::PAGE_ROWS_MAX`]. Default: that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}
