//! The Ganger broker: the shell around the scheduler.
//!
//! Everything that decides lives in `ganger-scheduler`; here is what touches the world. Entry points:
//! [`Broker::start`] for a broker on a thread of its own, [`server::run`] for its loop over any transport.
//!
//! - [`args`], `values`, `settings`: what the operator may set, and where. [`config`]: what it means.
//! - [`server`]: the one loop. `shell`: what it turns round: events in, effects out.
//! - `convert`: messages to inputs, effects to messages. `kinds`: names that many tasks share.
//! - `outbox`, `asks`: what each peer has not read, and what waits for it. `counters`: what was counted.
//! - [`journal`]: where records go. `writer`: the thread on which they do. `publisher`: what goes out on PUB.
//! - [`entrance`]: what stands before the sockets. `gateway`: the side door for HTTP. `keys`: who may do what.
//! - `recovery`: from a data directory to a state. `running`: a broker on a thread of its own. `seat`: which
//!   thread its loop is on. [`memory`]: what the allocator does with large blocks.

pub mod args;
mod asks;
mod clock;
pub mod config;
mod convert;
mod counters;
pub mod entrance;
pub mod error;
mod gateway;
pub mod journal;
mod keys;
mod kinds;
pub mod memory;
mod outbox;
mod publisher;
mod recovery;
mod running;
mod seat;
pub mod server;
mod settings;
mod shell;
mod values;
mod writer;

pub use config::Config;
pub use entrance::Entrance;
pub use error::BrokerError;
pub use ganger_http::Tls;
pub use keys::{KeyFileError, KeyRing};
pub use running::{Broker, Endpoints, RunningBroker};
pub use values::{HttpAt, LogFormat};

/// The shell without the loop around it, for whoever brings a clock and sockets of its own, such as a
/// simulator.
#[doc(hidden)]
pub mod sans_io {
    pub use crate::clock::Clock;
    pub use crate::server::Sockets;
    pub use crate::shell::{Shell, Side};
}
