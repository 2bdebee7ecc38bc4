//! Error codes: every refusal on the wire carries one, so that programs can choose without reading text.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal, retry: $retry:literal;)+) => {
        /// Why something was refused.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
        pub enum ErrorCode {
            $($(#[$doc])* #[serde(rename = $text)] $name,)+
            /// A code that this build does not know; a newer peer sent it.
            #[serde(other, rename = "unknown")]
            Unknown,
        }

        impl ErrorCode {
            /// Every code of this version, in the order of the specification.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// The code as it stands on the wire.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)+
                    Self::Unknown => "unknown",
                }
            }

            /// Whether the same request can succeed later without being changed.
            pub const fn is_retryable(self) -> bool {
                match self {
                    $(Self::$name => $retry,)+
                    Self::Unknown => false,
                }
            }
        }
    };
}

codes! {
    /// The bytes are no message of this protocol; the text says where and why.
    BadMessage = "bad_message", retry: false;
    /// The message type is not known in this version.
    UnknownMessage = "unknown_message", retry: false;
    /// The peer speaks another major version; the text names both.
    UnsupportedVersion = "unsupported_version", retry: false;
    /// Anything but a hello came first on this connection.
    HelloFirst = "hello_first", retry: true;
    /// The session id is in use and the token is not its token.
    SessionTaken = "session_taken", retry: false;
    /// The broker has no room for one more session.
    TooManySessions = "too_many_sessions", retry: true;
    /// A payload, value or message is over its limit.
    TooLarge = "too_large", retry: false;
    /// A batch or list is over its limit.
    TooMany = "too_many", retry: false;
    /// An option has a value that is not allowed; the text names option and range.
    BadOption = "bad_option", retry: false;
    /// No room now: try again after the delay that comes with it. Nothing was dropped.
    Busy = "busy", retry: true;
    /// The journal has no room; what runs may finish.
    StorageFull = "storage_full", retry: true;
    /// The broker is going down and takes nothing new.
    Draining = "draining", retry: true;
    /// No such task is remembered.
    UnknownTask = "unknown_task", retry: false;
    /// The task has its outcome already, and outcomes are final.
    AlreadySettled = "already_settled", retry: false;
    /// Only a task that failed or is dead, and that is still kept, can be retried or discarded.
    NotRetryable = "not_retryable", retry: false;
    /// The lease is not the current one of that task, or not yours: the report changed nothing.
    Stale = "stale", retry: false;
    /// No worker with that id or name is connected.
    UnknownWorker = "unknown_worker", retry: false;
    /// No such topic and key.
    NotFound = "not_found", retry: false;
    /// The expected revision is not the current one; the text names the current one.
    Conflict = "conflict", retry: false;
    /// The changes since that revision are no longer kept: fetch a snapshot.
    HistoryGone = "history_gone", retry: false;
    /// The peer does not read what it is sent and was cut off.
    SlowReader = "slow_reader", retry: true;
    /// The peer was silent for longer than heartbeat × liveness.
    Silent = "silent", retry: true;
    /// The key behind this connection does not give that right.
    Denied = "denied", retry: false;
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for ErrorCode {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self::ALL.iter().copied().find(|code| code.as_str() == text).unwrap_or(Self::Unknown))
    }
}
