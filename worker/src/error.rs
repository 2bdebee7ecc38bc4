//! What can go wrong, by who is told:
//!
//! - [`WorkerError`]: whoever builds or runs a worker.
//! - [`HandlerError`]: what a handler returns; it becomes the failure of one attempt.

use std::fmt;
use std::time::Duration;

use ganger_common::ErrorCode;
use ganger_common::limits::{KIND_BYTES_MAX, NAME_BYTES_MAX, WORKER_KINDS_MAX, WORKER_SLOTS_MAX};

/// Why a worker could not be built, or stopped for good.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The text is no endpoint. Another text helps.
    #[error(transparent)]
    Endpoint(#[from] ganger_transport::EndpointError),
    /// There is no handler: the worker would never get a task.
    #[error("a worker needs at least one handler")]
    NoHandlers,
    /// More kinds than a worker may announce.
    #[error("{kinds} kinds are too many: at most {WORKER_KINDS_MAX} are allowed")]
    TooManyKinds {
        /// How many there are.
        kinds: usize,
    },
    /// The name of a kind is empty or too long.
    #[error("kind {kind:?}: its name must have 1 to {KIND_BYTES_MAX} bytes")]
    Kind {
        /// The name.
        kind: String,
    },
    /// Two handlers for one kind.
    #[error("kind {kind:?} has two handlers")]
    Twice {
        /// The kind.
        kind: String,
    },
    /// Too few or too many slots.
    #[error("{slots} slots: allowed is 1 to {WORKER_SLOTS_MAX}")]
    Slots {
        /// How many were asked for.
        slots: u32,
    },
    /// The label is too long.
    #[error("the name has {bytes} bytes, at most {NAME_BYTES_MAX} are allowed")]
    Name {
        /// How long it is.
        bytes: usize,
    },
    /// The system gave no thread. Trying again may help.
    #[error("cannot start a thread")]
    Thread(#[source] std::io::Error),
    /// The thread that holds the connection is gone; a defect of this program.
    #[error("the thread of the connection ended unexpectedly")]
    ThreadGone,
    /// The broker does not want this worker. Trying again the same way does not help.
    #[error("the broker refused this worker: {text} ({code})")]
    Refused {
        /// The broker's code.
        code: ErrorCode,
        /// The broker's text.
        text: String,
    },
}

/// Why a handler failed. Made from any text or error; the task is tried again after a back-off unless
/// said otherwise.
///
/// ```
/// use ganger_worker::HandlerError;
/// use std::time::Duration;
///
/// let later = HandlerError::from("the printer is busy").retry_after(Duration::from_secs(5));
/// let never = HandlerError::from("no such paper size").fatal();
/// # let _ = (later, never);
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct HandlerError {
    pub(crate) text: String,
    pub(crate) is_final: bool,
    pub(crate) retry_after: Option<Duration>,
}

impl HandlerError {
    /// An error with this text.
    pub fn new(text: impl fmt::Display) -> Self {
        Self { text: text.to_string(), is_final: false, retry_after: None }
    }

    /// Trying again is pointless: the task fails now.
    #[must_use]
    pub fn fatal(mut self) -> Self {
        self.is_final = true;
        self
    }

    /// Try again after this, instead of the usual back-off.
    #[must_use]
    pub fn retry_after(mut self, pause: Duration) -> Self {
        self.retry_after = Some(pause);
        self
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HandlerError({:?})", self.text)
    }
}

impl fmt::Display for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Texts, errors with all their causes, and whatever else can become a boxed error: `?` works in handlers.
/// `HandlerError` is no [`std::error::Error`] itself, for this to be possible.
impl<E: Into<Box<dyn std::error::Error + Send + Sync>>> From<E> for HandlerError {
    fn from(error: E) -> Self {
        let error = error.into();
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        Self { text, is_final: false, retry_after: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_becomes_a_handler_error_with_its_causes() {
        fn fails() -> anyhow::Result<()> {
            let cause = "x".parse::<u8>().map_err(anyhow::Error::from);
            cause.map(drop).map_err(|error| error.context("bad number"))
        }
        fn handler() -> Result<(), HandlerError> {
            Ok(fails()?)
        }
        assert_eq!(handler(), Err(HandlerError::new("bad number: invalid digit found in string")));
        assert_eq!(HandlerError::from("text"), HandlerError::from("text".to_owned()));
    }
}
