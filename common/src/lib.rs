//! What a Ganger broker, its workers and its clients must agree on, and nothing else.
//!
//! No socket, no clock, no file: a fuzzer, a simulator or a binding for another language can load this
//! crate alone. The specification is `docs/protocol.md`; a test holds the two together.
//!
//! - [`ids`], [`limits`], [`code`], [`options`], [`outcome`], [`trace`], [`version`]: the words.
//! - [`message`]: what may be said, in each direction; [`view`]: what listings show.
//! - [`codec`]: bytes to messages and back, bounded before anything is allocated.

pub mod code;
pub mod codec;
pub mod ids;
pub mod limits;
pub mod message;
pub mod options;
pub mod outcome;
pub mod trace;
pub mod version;
pub mod view;

pub use code::ErrorCode;
pub use codec::{DecodeError, decode, encode, encode_into};
pub use ids::{Attempt, ClientId, ConnId, Epoch, Revision, SessionToken, TaskId, WorkerId};
pub use options::{Account, TaskOptions};
pub use outcome::{AttemptEnd, Outcome};
pub use trace::{SpanId, Trace, TraceContext, TraceError, TraceId, TraceState};
