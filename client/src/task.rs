//! Tasks and outcomes as programs see them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ganger_common::limits::{KIND_BYTES_MAX, PAYLOAD_BYTES_MAX};
use ganger_common::{Attempt, ErrorCode, Outcome, Revision, TaskId, TaskOptions, TraceContext, TraceState};

use crate::error::{Error, Result};

/// A task to submit.
///
/// ```
/// use std::time::Duration;
/// use ganger_client::NewTask;
///
/// let task = NewTask::new("resize", &b"cat.png"[..]).priority(5).run_limit(Duration::from_secs(30));
/// assert_eq!(task.kind(), "resize");
/// ```
#[derive(Clone, PartialEq, Debug)]
pub struct NewTask {
    pub(crate) id: Option<TaskId>,
    pub(crate) kind: Arc<str>,
    pub(crate) payload: Bytes,
    pub(crate) options: Option<Box<TaskOptions>>,
}

impl NewTask {
    /// A task of a kind with a payload that only its handler understands.
    ///
    /// A kind that is used for many tasks is best kept as an `Arc<str>`, which is shared, not copied.
    pub fn new(kind: impl Into<Arc<str>>, payload: impl Into<Bytes>) -> Self {
        Self { id: None, kind: kind.into(), payload: payload.into(), options: None }
    }

    /// Its name. The same id again is the same task; without one it gets a fresh one.
    #[must_use]
    pub fn id(mut self, id: TaskId) -> Self {
        self.id = Some(id);
        self
    }

    /// Higher runs first among tasks of the same kind.
    #[must_use]
    pub fn priority(mut self, priority: i16) -> Self {
        self.opts().priority = priority;
        self
    }

    /// Not before this has passed.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.opts().delay_ms = millis(delay);
        self
    }

    /// If it has not started by then, it expires.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.opts().ttl_ms = Some(millis(ttl));
        self
    }

    /// Longest run of one attempt.
    #[must_use]
    pub fn run_limit(mut self, limit: Duration) -> Self {
        self.opts().run_limit_ms = Some(millis(limit));
        self
    }

    /// Tries that may fail or time out, the first included.
    #[must_use]
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.opts().max_attempts = Some(attempts);
        self
    }

    /// Only on a worker that has applied this knowledge revision.
    #[must_use]
    pub fn knowledge(mut self, revision: Revision) -> Self {
        self.opts().knowledge = Some(revision);
        self
    }

    /// It belongs to a trace: whatever its handler calls can be told to come from this span.
    #[must_use]
    pub fn trace(mut self, context: TraceContext) -> Self {
        self.opts().trace = Some(context);
        self
    }

    /// What the tracing system says beside [`trace`](Self::trace).
    #[must_use]
    pub fn trace_state(mut self, state: TraceState) -> Self {
        self.opts().trace_state = Some(state);
        self
    }

    /// Do not send the outcome; it can be fetched while it is kept.
    #[must_use]
    pub fn detached(mut self) -> Self {
        self.opts().detached = true;
        self
    }

    /// All options at once.
    #[must_use]
    pub fn options(mut self, options: TaskOptions) -> Self {
        self.options = (!options.is_default()).then(|| Box::new(options));
        self
    }

    /// Which handler runs it.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The bytes for the handler.
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// Whether its outcome is not sent.
    pub fn is_detached(&self) -> bool {
        self.options.as_ref().is_some_and(|options| options.detached)
    }

    fn opts(&mut self) -> &mut TaskOptions {
        self.options.get_or_insert_default()
    }

    /// Refuses what the broker would refuse, before it takes room in a batch.
    pub(crate) fn check(&self) -> Result<()> {
        let (kind, bytes) = (self.kind.len(), self.payload.len());
        if kind == 0 || kind > KIND_BYTES_MAX {
            let text = format!("a kind has 1 to {KIND_BYTES_MAX} bytes, this one has {kind}");
            return Err(Error::refused(ErrorCode::BadOption, text));
        }
        if bytes > PAYLOAD_BYTES_MAX {
            let text = format!("a payload of {bytes} bytes is over the limit of {PAYLOAD_BYTES_MAX}");
            return Err(Error::refused(ErrorCode::TooLarge, text));
        }
        match &self.options {
            Some(options) => options.check().map_err(|(code, text)| Error::refused(code, text)),
            None => Ok(()),
        }
    }
}

fn millis(time: Duration) -> u64 {
    time.as_millis().min(u128::from(u64::MAX)) as u64
}

/// The one final outcome of a task, with what there is to it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TaskOutcome {
    /// The task.
    pub id: TaskId,
    /// How it ended.
    pub outcome: Outcome,
    /// The attempt that settled it; 0 when none ran.
    pub attempt: Attempt,
    /// The result; empty when there is none.
    pub result: Bytes,
    /// What went wrong, when something did.
    pub error: Option<String>,
    /// There was a result, and the broker dropped it to stay within its budget.
    pub result_dropped: bool,
}

impl TaskOutcome {
    /// Whether a handler returned a result.
    pub fn is_success(&self) -> bool {
        self.outcome == Outcome::Succeeded
    }
}
