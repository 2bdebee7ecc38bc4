//! The Ganger broker: the shell around the scheduler.
//!
//! Everything that decides lives in `ganger-scheduler`; here is what touches the world. Entry points:
//! [`Broker::start`] for a broker on a thread of its own, [`server::run`] for its loop over any transport.
//!
//! - `args`, [`config`]: what the operator typed, and what it means.
//! - [`server`]: the one loop. `convert`: messages to inputs, effects to messages.
//! - `outbox`: what each peer has not read. `publisher`: what goes out on PUB.
//! - [`journal`]: where records go.

pub mod args;
pub mod config;
mod convert;
pub mod error;
pub mod journal;
mod kinds;
mod outbox;
mod publisher;
mod running;
pub mod server;

pub use config::Config;
pub use error::BrokerError;
pub use running::{Broker, Endpoints, RunningBroker};
