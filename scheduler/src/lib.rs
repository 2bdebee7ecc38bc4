//! The leader's brain: a scheduler that is a value.
//!
//! It owns tasks, workers, clients, queues, deadlines and knowledge, and touches nothing else: no socket,
//! no file, no clock, no randomness. What happens comes in as [`Input`], what is to be done goes out as
//! [`Effect`], and time comes in with every call.
//!
//! # The contract of the shell
//! ```text
//!            ┌──────────────────────────────────────────────────────────────┐
//!            ▼                                                              │
//!   handle(now, input)   one or more inputs that are there already          │
//!   poll_effect()        until it returns None; carry each out in order;    │
//!                        gather the Appends, write and sync them once,      │
//!                        then handle(now, Journaled { upto }) and poll again│
//!   poll_timeout()       sleep until then, or until there is input ─────────┘
//!   handle_timeout(now)  when that moment has come; calling it early does nothing
//! ```
//! No task is given out before the journal has the record with which this life began.
//! `now` must not go back. When both are due, take the input in before the time-out: a peer must not be
//! judged silent while its message waits at the door.

pub mod config;
pub mod data;
pub mod effect;
pub mod input;
#[cfg(feature = "planted")]
pub mod planted;
pub mod record;
pub mod recovery;
pub mod time;

mod apply;
mod arena;
mod carry;
mod client;
mod client_session;
mod counters;
mod discard;
mod dispatch;
mod draining;
mod durations;
mod explain;
mod fresh;
mod invariants;
mod knowledge;
mod knowledge_requests;
mod level;
mod listing;
mod look;
mod orphans;
mod outcomes;
mod output;
mod pack;
mod pausing;
mod payers;
mod queue;
mod random;
mod reattach;
mod report;
mod retention;
mod scheduler;
mod submit;
mod task;
mod timers;
mod values;
mod watch;
mod worker;
mod worker_session;

pub use config::Config;
pub use counters::Counters;
pub use data::{Data, Stored};
pub use effect::{ClientReply, Effect, Publication, WorkerCommand};
pub use input::{ClientRequest, Input, WorkerRequest};
pub use look::Traced;
pub use record::{Lsn, Record};
pub use recovery::{Birth, Recovery, RecoveryError};
pub use scheduler::Scheduler;
pub use time::{Now, Time, Wall};
pub use watch::Watch;
