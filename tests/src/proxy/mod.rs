//! A TCP proxy that does to a connection what networks do.
//!
//! It stands between one party and the broker, so that the two can be told apart from everybody else. All
//! of it is set live, for the connections that are there and those that come:
//!
//! - **delay and jitter**: bytes arrive later, in their order;
//! - **rate**: no more bytes a second than this;
//! - **silence**, either way or both: bytes are *held* and arrive when it ends, as after a partition that
//!   TCP outlives, or are *swallowed*; a stream with a hole never goes on, so its connection is cut when the
//!   silence ends. No end of a connection gets through a silence either;
//! - a **trap**: after so many more bytes the connection is cut, or stalls with the rest held, in the middle
//!   of a frame as a rule;
//! - **cut** now, with a reset or in order;
//! - **refuse** new connections.
//!
//! Everything that had an effect is counted in [`Fired`]: a fault that touched no byte tests nothing.
//!
//! - [`settings`]: what can be set, and what was counted.
//! - [`Proxy`]: the hand that moves it.
//! - `flow`: one direction of one connection. `relay`: one connection.

mod flow;
mod hand;
mod relay;
pub mod settings;
#[cfg(test)]
mod tests;

pub use hand::Proxy;
pub use settings::{Cut, Fired, Path, Silence, Trap, Way};
