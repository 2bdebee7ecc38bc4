//! What can go wrong for a client, by who can do something about it.
//!
//! - [`Error::Refused`]: the broker said no to one task or one request, with a code.
//! - [`Error::Unreachable`], [`Error::Interrupted`], [`Error::Forgotten`], [`Error::Full`],
//!   [`Error::TimedOut`]: the same thing can be tried again.
//! - [`Error::Ended`], [`Error::Closed`]: this client is over; only a new one helps.
//! - [`Error::Detached`], [`Error::Protocol`]: a mistake, on this side or on the other.

use std::time::Duration;

use ganger_common::ErrorCode;

/// Why a submission, a request or a session failed.
///
/// It can be cloned, because the end of a session reaches everybody who waits for something.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Error {
    /// The broker refused this one thing. Whether trying again helps depends on the code.
    #[error("{code}: {text}")]
    Refused {
        /// Why, for programs.
        code: ErrorCode,
        /// Why, for people.
        text: String,
        /// When trying again makes sense.
        retry_after: Option<Duration>,
    },
    /// No broker answered in the time that was given. Trying again helps once one runs there.
    #[error("no broker answers at {endpoint}: {reason}")]
    Unreachable {
        /// Where.
        endpoint: String,
        /// The last thing that went wrong.
        reason: String,
    },
    /// The connection broke after a request was sent and before its answer came: it may have been carried
    /// out or not. Trying again helps.
    #[error("the connection to the broker was lost before the answer came")]
    Interrupted,
    /// The broker has lost a task that it had taken, and its payload is no longer here to hand it in once
    /// more. Submitting it again helps.
    #[error("the broker no longer knows the task, and its payload was not kept")]
    Forgotten,
    /// Too much is under way in this client. Trying again later helps.
    #[error("{what} are under way already, at most {most}")]
    Full {
        /// Of what.
        what: &'static str,
        /// The limit.
        most: usize,
    },
    /// The answer did not come in the time that was given. Trying again may help.
    #[error("no answer within {}", humantime::format_duration(*after))]
    TimedOut {
        /// That time.
        after: Duration,
    },
    /// The broker ended the session for good. Only another client, with other rights or of another version,
    /// helps.
    #[error("the broker ended the session: {code}: {text}")]
    Ended {
        /// Why, for programs.
        code: ErrorCode,
        /// Why, for people.
        text: String,
    },
    /// This client was closed.
    #[error("the client is closed")]
    Closed,
    /// The task was submitted as detached: its outcome is not sent, only kept. Fetching it helps.
    #[error("the outcome of a detached task is not sent; fetch it")]
    Detached,
    /// The broker answered with something that is no answer to the question.
    #[error("unexpected answer: {0}")]
    Protocol(String),
}

/// What most calls of this library return.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// The code of a refusal, if the broker said no.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Refused { code, .. } | Self::Ended { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// Whether the same call can succeed later without being changed.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Refused { code, .. } => code.is_retryable(),
            Self::Unreachable { .. }
            | Self::Interrupted
            | Self::Forgotten
            | Self::Full { .. }
            | Self::TimedOut { .. } => true,
            Self::Ended { .. } | Self::Closed | Self::Detached | Self::Protocol(_) => false,
        }
    }

    /// A refusal by this side, before anything was sent.
    pub(crate) fn refused(code: ErrorCode, text: impl Into<String>) -> Self {
        Self::Refused { code, text: text.into(), retry_after: None }
    }
}
