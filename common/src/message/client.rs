//! What clients and the broker say about tasks.

use serde::{Deserialize, Serialize};

use super::shared::{Durability, ErrorText, Kind, Name, TaskIds};
use crate::code::ErrorCode;
use crate::codec::{Blob, List, array};
use crate::ids::{Attempt, ClientId, SessionToken, TaskId};
use crate::limits;
use crate::options::TaskOptions;
use crate::version::Version;
use crate::view;

/// Opens a client's session.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ClientHello<'a> {
    /// The protocol that the client speaks.
    pub protocol: Version,
    /// This incarnation of the client.
    pub client: ClientId,
    /// The secret that lets the same client, and nobody else, come back on another connection.
    pub token: SessionToken,
    /// A label for people.
    #[serde(borrow, default)]
    pub name: Name<'a>,
}

/// Says that a client lives.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ClientHeartbeat {
    /// The newest mark that the broker sent, 0 before the first.
    #[serde(default)]
    pub mark: u64,
}

array! {
    /// A task as it is handed in.
    pub struct NewTask<'a> {
        /// Chosen by the client; the same id again is the same task.
        id: TaskId,
        /// Which handler runs it.
        kind: Kind<'a>,
        /// Opaque to the broker.
        payload: Blob<'a>,
        |
        /// What the submitter asks for.
        options: TaskOptions,
    }
}

/// Hands in a batch.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Submit<'a> {
    /// Chosen by the client, echoed in `accepted`.
    pub seq: u64,
    /// These tasks were handed in before and the broker may have forgotten them with its last life: a
    /// worker may still run one. A broker that has just started waits a little for that worker.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub again: bool,
    /// The tasks, in the order in which they queue.
    #[serde(borrow)]
    pub tasks: List<NewTask<'a>, { limits::BATCH_ITEMS_MAX }>,
}

array! {
    /// One task of a batch that was not taken.
    pub struct Refusal<'a> {
        /// Its place in the batch, from 0.
        index: u32,
        /// Why.
        code: ErrorCode,
        /// What to tell a person.
        text: ErrorText<'a>,
        |
        /// When to try again.
        retry_after_ms: u32,
    }
}

/// The verdict on a batch: every task that is not named here was taken.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Accepted<'a> {
    /// The number of the `submit`.
    pub seq: u64,
    /// How far the promise reaches.
    pub durability: Durability,
    /// What was not taken.
    #[serde(borrow, default)]
    pub refused: List<Refusal<'a>, { limits::BATCH_ITEMS_MAX }>,
}

/// Asks for outcomes of tasks, those that have one already included.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Watch {
    /// Chosen by the client, echoed in the answer.
    pub req: u64,
    /// Which tasks.
    pub tasks: TaskIds,
    /// Progress and partial results, too.
    #[serde(default)]
    pub events: bool,
}

/// Confirms outcomes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Ack {
    /// Everything up to this number of the stream has been taken.
    pub upto: u64,
}

/// What there is to tell about an outcome beside the outcome.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct OutcomeDetail<'a> {
    /// The error of the last attempt.
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorText<'a>>,
    /// The result existed and was dropped to stay within the byte budget.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub result_dropped: bool,
}

array! {
    /// The one final outcome of one task.
    pub struct OutcomeItem<'a> {
        /// The task.
        task: TaskId,
        /// The outcome by its code; see [`Outcome::from_code`](crate::Outcome::from_code).
        outcome: u8,
        /// The attempt that settled it; 0 when none ran.
        attempt: Attempt,
        /// The result; empty when there is none.
        result: Blob<'a>,
        |
        /// More, when there is more.
        detail: OutcomeDetail<'a>,
    }
}

/// Outcomes, numbered through in each session.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Outcomes<'a> {
    /// The number of the last item; confirm with `ack`.
    pub upto: u64,
    /// The outcomes, in the order in which the tasks settled.
    #[serde(borrow)]
    pub items: List<OutcomeItem<'a>, { limits::BATCH_ITEMS_MAX }>,
}

/// How far a running task is.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct TaskProgress<'a> {
    /// The task.
    pub task: TaskId,
    /// The attempt that says so.
    pub attempt: Attempt,
    /// From 0 to 1; absent when the handler cannot know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fraction: Option<f32>,
    /// What to tell a person.
    #[serde(borrow, default)]
    pub text: ErrorText<'a>,
}

/// A part of a result, while the task still runs.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct TaskPartial<'a> {
    /// The task.
    pub task: TaskId,
    /// The attempt that says so: a newer attempt begins anew.
    pub attempt: Attempt,
    /// The number of this part within its attempt, from 0; a gap shows parts that were dropped.
    pub index: u64,
    /// The bytes.
    #[serde(borrow)]
    pub data: Blob<'a>,
}

/// A request about some tasks.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct TaskList {
    /// Chosen by the client, echoed in the answer.
    pub req: u64,
    /// Which tasks.
    pub tasks: TaskIds,
}

/// A request about one task.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct OneTask {
    /// Chosen by the client, echoed in the answer.
    pub req: u64,
    /// Which task.
    pub task: TaskId,
}

array! {
    /// What became of one item of a request.
    pub struct Verdict<'a> {
        /// Its place in the request, from 0.
        index: u32,
        /// Why it was refused.
        code: ErrorCode,
        /// What to tell a person.
        text: ErrorText<'a>,
    }
}

/// The refusals among the items of a request: every item that is not named here was carried out.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Verdicts<'a> {
    /// The request that it answers.
    pub req: u64,
    /// What was refused.
    #[serde(borrow, default)]
    pub refused: List<Verdict<'a>, { limits::BATCH_ITEMS_MAX }>,
}

/// Lets tasks of the dead set go: those that are named, or all that fit. Nothing named is not everything.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Discard<'a> {
    /// Chosen by the client, echoed in the answer.
    pub req: u64,
    /// Which tasks; none: those that fit `among`.
    #[serde(default)]
    pub tasks: TaskIds,
    /// All with this outcome, as many as are let go at a time; only without `tasks`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub among: Option<view::Among>,
    /// With `among`: only tasks of this kind. Default: any.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind<'a>>,
    /// With `among`: `next` of the answer before. Default: from the oldest on.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Name<'a>>,
}

/// What was let go.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Discarded<'a> {
    /// The request that it answers.
    pub req: u64,
    /// How many tasks.
    pub count: u64,
    /// Which of the named ones were not, and why.
    #[serde(borrow, default)]
    pub refused: List<Verdict<'a>, { limits::BATCH_ITEMS_MAX }>,
    /// Not all that could fit were looked at: ask again with `after` set to this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A request about one kind.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct OneKind<'a> {
    /// Chosen by the client, echoed in the answer.
    pub req: u64,
    /// Its name; not empty. There need not be a task of it.
    #[serde(borrow)]
    pub kind: Kind<'a>,
}

/// Lists tasks, oldest first.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ListTasks<'a> {
    /// Chosen by the client, echoed in the answer.
    pub req: u64,
    /// Only tasks in this state. Default: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<view::StateFilter>,
    /// Only tasks of this kind. Default: any.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind<'a>>,
    /// Where the page begins: `next` of the one before. Default: at the beginning.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Name<'a>>,
    /// Most rows, up to [`limits::PAGE_ROWS_MAX`]. Default: that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// One task and what is kept of its result.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct TaskReply<'a> {
    /// The request that it answers.
    pub req: u64,
    /// The task.
    pub task: view::TaskView,
    /// The result, when it succeeded and the result is still kept.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Blob<'a>>,
}

/// The payload of one task.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct PayloadReply<'a> {
    /// The request that it answers.
    pub req: u64,
    /// The bytes.
    #[serde(borrow)]
    pub payload: Blob<'a>,
}

/// Drains some workers, or the broker.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Drain<'a> {
    /// Chosen by the client, echoed in the answer.
    pub req: u64,
    /// Workers by id or name. Empty with `broker` false: every worker.
    #[serde(borrow, default)]
    pub workers: List<Name<'a>, { limits::BATCH_ITEMS_MAX }>,
    /// Drain the broker: take nothing new, let the workers finish, then end.
    #[serde(default)]
    pub broker: bool,
    /// How long what runs may go on. Default 30 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_ms: Option<u64>,
}
