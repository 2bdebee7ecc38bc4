//! Tasks through the hot parts of a broker, without sockets, threads or clocks: what is left is exactly the
//! work that each part does for a task.
//!
//! - [`SchedulerExchange`]: the scheduler alone, inputs in and effects out.
//! - [`ShellExchange`]: the shell around it, frames in and frames out.
//!
//! Both play the same exchange over and over: a client hands in a batch, two workers get it and report it
//! done, the client hears of it. The same number of tasks takes the same instructions every time, which is
//! what [`count`] measures, whatever else the machine is doing.

pub mod count;
mod frames;
mod scheduler;
mod shell;

use ganger_common::TaskId;

pub use frames::Frames;
pub use scheduler::SchedulerExchange;
pub use shell::ShellExchange;

/// Tasks that a client hands in together: what gathers by itself under load.
pub const BATCH: usize = 256;
/// Bytes of payload of each task.
pub const PAYLOAD: usize = 64;
/// The kind of all of them.
pub const KIND: &str = "noop";
/// Workers that run them.
pub const WORKERS: usize = 2;
/// What each of them says that it runs at a time: enough that a batch never has to wait for credit.
const SLOTS: u32 = BATCH as u32;
/// Microseconds between two turns.
const TURN_US: u64 = 100;

/// Ids of tasks, spread as those of a client are.
#[derive(Debug, Default)]
struct Ids(u64);

impl Ids {
    fn next(&mut self) -> TaskId {
        self.0 += 1;
        // The time of a UUID v7 stands in front and moves slowly; what is behind it is random. The
        // multiplier is that of SplitMix64.
        let mut bytes = [0x70; 16];
        bytes[..6].copy_from_slice(&(1_770_000_000_000 + self.0 / 1_000).to_be_bytes()[2..]);
        bytes[8..].copy_from_slice(&self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
        TaskId::from_bytes(bytes)
    }
}
