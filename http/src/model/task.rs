//! Handing in, and what comes of it.

use ganger_common::limits::{BATCH_ITEMS_MAX, DELAY_MAX};
use ganger_common::message::Durability;
use ganger_common::trace::claimed;
use ganger_common::view::TaskState;
use ganger_common::{Attempt, Outcome, Revision, TaskId, TaskOptions, TraceContext, TraceState};
use serde::de::{Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::{RefusedItem, Shown};
use crate::packed::{Base64, Packed, Raw, given};
use crate::params::Span;

/// A task to hand in.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Task {
    /// Its name: the same id again is the same task. Default: a new one.
    pub(crate) id: Option<TaskId>,
    /// Which handler runs it.
    #[schema(min_length = 1, max_length = 128)]
    pub(crate) kind: String,
    /// Any value; the handler gets it as MessagePack.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Value)]
    pub(crate) payload: Option<Packed>,
    /// Instead of a value: bytes, in base64.
    #[schema(value_type = Option<String>, content_encoding = "base64")]
    pub(crate) payload_base64: Option<Base64>,
    /// Instead of a value: bytes. In MessagePack only.
    #[schema(value_type = Option<String>, content_encoding = "binary")]
    pub(crate) payload_bytes: Option<Raw>,
    /// What is asked for with it.
    #[serde(default)]
    pub(crate) options: Options,
}

/// Options of a task; see the specification, "Task options".
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Options {
    /// Higher first, among tasks of the same kind.
    #[serde(default)]
    #[schema(minimum = -32768, maximum = 32767)]
    priority: i16,
    /// Not dispatched before this has passed.
    #[serde(default)]
    #[schema(maximum = 315360000000_u64)]
    delay_ms: u64,
    /// If it has not started by then, it expires.
    #[schema(minimum = 1, maximum = 315360000000_u64)]
    ttl_ms: Option<u64>,
    /// Longest run of one attempt.
    #[schema(minimum = 1, maximum = 315360000000_u64)]
    run_limit_ms: Option<u64>,
    /// Tries that may fail or time out, the first included.
    #[schema(minimum = 1, maximum = 1000000)]
    max_attempts: Option<u32>,
    /// Workers that may die under it.
    #[schema(minimum = 1, maximum = 1000000)]
    crash_limit: Option<u32>,
    /// First pause after a failure.
    #[schema(maximum = 315360000000_u64)]
    backoff_ms: Option<u64>,
    /// Only on a worker that has applied this knowledge revision.
    #[schema(value_type = Option<u64>, format = "uint64", maximum = 18446744073709551615_u64)]
    knowledge: Option<Revision>,
    /// Its worker tells how far it is, for whoever follows it.
    #[serde(default)]
    events: bool,
    /// The span that it comes from, as a W3C `traceparent`. Default: that of the request's headers.
    #[serde(default, deserialize_with = "claimed")]
    #[schema(value_type = Option<String>, pattern = "^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$")]
    trace: Option<TraceContext>,
    /// What goes with it, as a W3C `tracestate`.
    #[serde(default, deserialize_with = "claimed")]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 512)]
    trace_state: Option<TraceState>,
}

impl From<Options> for TaskOptions {
    fn from(options: Options) -> Self {
        Self {
            priority: options.priority,
            delay_ms: options.delay_ms,
            ttl_ms: options.ttl_ms,
            run_limit_ms: options.run_limit_ms,
            max_attempts: options.max_attempts,
            crash_limit: options.crash_limit,
            backoff_ms: options.backoff_ms,
            knowledge: options.knowledge,
            events: options.events,
            trace: options.trace,
            trace_state: options.trace_state,
            // The outcome is kept, and asked for by whoever wants it: a submitter over HTTP has no stream.
            detached: true,
            ..Self::default()
        }
    }
}

// What is described stands in numbers.
const _: () = assert!(DELAY_MAX.as_millis() == 315_360_000_000);

/// One task, or several.
#[derive(Deserialize, ToSchema)]
#[serde(untagged)]
#[allow(dead_code)] // Only described: which of both a body is, its first byte tells.
pub(crate) enum OneOrMany {
    /// One.
    One(Box<Task>),
    /// Several, at most 4,096.
    Many(Vec<Task>),
}

/// An array with no more elements than one message of the wire may have.
#[derive(Debug)]
pub(crate) struct Batch<T>(pub(crate) Vec<T>);

/// How an array that is too long says so, in an error that has no other place for a code.
pub(crate) const TOO_MANY: &str = "at most 4096 elements are allowed";

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Batch<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Take<T>(std::marker::PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Take<T> {
            type Value = Batch<T>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an array")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Batch<T>, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    if items.len() == BATCH_ITEMS_MAX {
                        return Err(serde::de::Error::custom(TOO_MANY));
                    }
                    items.push(item);
                }
                Ok(Batch(items))
            }
        }
        deserializer.deserialize_seq(Take(std::marker::PhantomData))
    }
}

/// How a task ended.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Ended {
    /// How.
    pub(crate) outcome: Outcome,
    /// The attempt that settled it; 0 when none ran.
    pub(crate) attempt: Attempt,
    /// What went wrong, when something did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
    /// The result.
    #[serde(flatten)]
    pub(crate) result: Shown,
}

/// The same of a task that may have no outcome yet: then none of this is there. Only described.
#[derive(Debug, Serialize, ToSchema)]
#[allow(dead_code)]
pub(crate) struct EndedIfAny {
    /// How.
    outcome: Option<Outcome>,
    /// The attempt that settled it; 0 when none ran.
    attempt: Option<Attempt>,
    /// What went wrong, when something did.
    error: Option<String>,
    /// The result.
    #[serde(flatten)]
    result: Shown,
}

/// An event of a stream. Only described.
#[derive(Debug, Serialize, ToSchema)]
#[allow(dead_code)]
pub(crate) struct StreamEvent {
    /// `progress`, `partial`, `missed`, `ended` or `error`.
    event: String,
    /// What there is to tell, as JSON in one line.
    data: String,
}

/// What became of one task, or of several.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum Handed {
    /// Of one.
    One(Accepted),
    /// Of several.
    Many(AcceptedBatch),
}

/// A task that the broker has taken.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Accepted {
    /// Its id.
    pub(crate) id: TaskId,
    /// How far that promise reaches.
    pub(crate) durability: Durability,
    /// Its outcome, if that was waited for and came.
    #[serde(flatten)]
    #[schema(value_type = EndedIfAny)]
    pub(crate) ended: Option<Ended>,
}

/// What became of several tasks.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AcceptedBatch {
    /// How far the promise reaches.
    pub(crate) durability: Durability,
    /// How many were taken.
    pub(crate) accepted: usize,
    /// Those.
    pub(crate) tasks: Vec<AcceptedItem>,
    /// Those that were not.
    pub(crate) refused: Vec<RefusedItem>,
}

/// A task of several that the broker has taken.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AcceptedItem {
    /// Its place in the request.
    pub(crate) index: usize,
    /// Its id.
    pub(crate) id: TaskId,
    /// Its outcome, if that was waited for and came.
    #[serde(flatten)]
    #[schema(value_type = EndedIfAny)]
    pub(crate) ended: Option<Ended>,
}

/// The payload of a task.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TaskPayload {
    /// The task.
    pub(crate) id: TaskId,
    /// How many bytes it has.
    pub(crate) bytes: u64,
    /// What it says, where that is one value; else its text, or its bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) payload: Option<Value>,
    /// It is too large to be shown here.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) left_out: bool,
}

/// What is known of a task's result.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TaskResult {
    /// The task.
    pub(crate) id: TaskId,
    /// Where it is.
    pub(crate) state: TaskState,
    /// Its outcome, once it has one.
    #[serde(flatten)]
    #[schema(value_type = EndedIfAny)]
    pub(crate) ended: Option<Ended>,
}

/// How long to wait.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct WaitParams {
    /// Wait so long for outcomes, such as `10s`; 60 s at most.
    #[param(value_type = Option<String>)]
    pub(crate) wait: Option<Span>,
}

/// How far a task is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Progress {
    /// The attempt that says so.
    pub(crate) attempt: Attempt,
    /// From 0 to 1; absent when the handler cannot know.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) fraction: Option<f32>,
    /// What to tell a person.
    pub(crate) text: String,
}

/// A part of a task's result.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Partial {
    /// The attempt that says so: a newer one begins anew.
    pub(crate) attempt: Attempt,
    /// The number of the part within its attempt; a gap shows parts that were dropped.
    pub(crate) index: u64,
    /// The part, shown as results are.
    #[serde(flatten)]
    pub(crate) data: Shown,
}

/// Events that were not read in time.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Missed {
    /// How many.
    pub(crate) count: u64,
}
