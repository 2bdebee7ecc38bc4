//! The deterministic simulator: a broker, its workers and its clients in one thread, under one seed.
//!
//! What is real: the shell of the broker and its scheduler, the sessions of workers and clients, the replicas,
//! every byte of every message. What is made up: time, the network, the disk, handlers, programs, and what
//! befalls them. The same seed is the same story, to the byte.
//!
//! - [`run`], [`Run`]: one seed from its beginning to its verdict.
//! - [`log`], `events`, [`facts`]: what happened, written down by those to whom it happened.
//! - [`profile`], `plan`, `workload`, `faults`, `links`: what a seed means. `random`: chance.
//! - `world`, `queue`: the loop. `audit`: how a run ends.
//! - `broker`, `desk`, `disk`: the broker's process. `worker`, `handler`, `feed`: workers. `client`,
//!   `program`: clients.
//! - `net`, `wire`: connections, and who reads along.
//! - [`figures`], [`runner`]: what many runs add up to.

mod audit;
mod broker;
mod client;
mod desk;
mod disk;
mod events;
pub mod facts;
mod faults;
mod feed;
pub mod figures;
mod handler;
mod links;
pub mod log;
mod net;
mod plan;
#[cfg(feature = "planted")]
pub mod planted;
pub mod profile;
mod program;
mod queue;
mod random;
mod run;
pub mod runner;
#[cfg(test)]
mod tests;
mod trace;
mod wire;
mod worker;
mod workload;
mod world;

pub use facts::Facts;
pub use figures::Figures;
pub use log::{Entry, Event, Log};
pub use profile::Profile;
pub use run::{Run, run};
