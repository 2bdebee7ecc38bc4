//! What ends a broker, or keeps it from starting.

use ganger_scheduler::RecoveryError;
use ganger_transport::BindError;

use crate::journal::JournalError;

/// Why a broker did not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// A setting is not allowed. Another value helps.
    #[error("{0}")]
    Config(String),
    /// A socket could not listen. Another endpoint, or ending the process that has this one, helps.
    #[error("{source}; choose another endpoint with {flag}")]
    Bind {
        /// The flag that sets the endpoint.
        flag: &'static str,
        /// Why.
        #[source]
        source: BindError,
    },
    /// The journal failed. No promise was made since; the broker must not go on.
    #[error("the journal failed")]
    Journal(#[from] JournalError),
    /// The journal does not lead to a state. Restoring the data directory helps, or accepting the loss.
    #[error(
        "the journal in {} is not complete: {source}; restore the whole directory from one copy, or start with \
         --accept-loss to go on with what is there", dir.display()
    )]
    Recovery {
        /// The data directory.
        dir: std::path::PathBuf,
        /// What is missing.
        #[source]
        source: RecoveryError,
    },
    /// A socket ended by itself: its thread is gone. Starting anew helps.
    #[error("a socket of the broker ended")]
    SocketEnded,
    /// The system refused something that a broker needs.
    #[error("{what}")]
    Io {
        /// What was being done.
        what: &'static str,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// An error with what led to it, where it does not say so itself, for whoever reads one line on a terminal.
pub fn in_one_line(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let reason = cause.to_string();
        if !text.contains(&reason) {
            text = format!("{text}: {reason}");
        }
        source = cause.source();
    }
    text.replace('\n', " ")
}
