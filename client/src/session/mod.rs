//! A client's session with a broker: a value that talks.
//!
//! It owns what was handed in, what is awaited and what was asked, and keeps all of that across any number
//! of connections; it touches no socket and no clock. What it guarantees to whoever waits:
//! - Every task gets exactly one last word: an outcome, or why there will be none.
//! - What was not acknowledged when a connection broke is handed in again with the same id, which the
//!   broker takes for the same task.
//! - What was acknowledged is asked for again. If the broker held it in memory and has lost it, it is
//!   handed in again as long as its payload is kept.
//! - A broker without room is a pause, not an error. The window stays full meanwhile, and its feeder waits.
//!
//! # The contract of the shell
//! ```text
//!            ┌──────────────────────────────────────────────────────────────┐
//!            ▼                                                              │
//!   handle(now, input)   one or more inputs that are there already          │
//!   poll_effect()        until it returns None; carry each out in order     │
//!   poll_timeout()       sleep until then, or until there is input ─────────┘
//!   handle_timeout(now)  when that moment has come; calling it early does nothing
//! ```
//! `now` must not go back. Inputs about connections concern the one that [`Effect::Connect`] asked for
//! last. When both are due, take the input in before the time-out: a broker must not be judged silent while
//! its message waits at the door.

mod ask;
mod config;
mod event;
mod line;
mod link;
mod machine;
mod random;
pub mod request;
mod submit;
mod table;
mod talk;
mod watch;
pub(crate) mod window;
mod wire;

#[cfg(test)]
mod tests;

pub use config::{KEPT_BYTES_MAX, REQUESTS_MAX, SessionConfig, WINDOW_BYTES, WINDOW_TASKS};
pub use event::{Broker, Effect, Input, Settled, Submission, TaskEvent, Token};
pub use machine::{Session, SessionCounters, WakeReason};
