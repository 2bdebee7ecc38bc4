//! What a user was promised, shown on real processes.
//!
//! Every scenario runs small for each commit and in full with `GANGER_SCALE=full`, one by name:
//!
//! ```console
//! GANGER_SCALE=full cargo test --release -p ganger-tests --test acceptance NAME -- --nocapture
//! ```
//!
//! Each prints its figures.

mod bad_input;
mod balance;
mod chaos;
mod churn;
mod command_line;
mod disk_full;
mod explain;
mod fleet;
mod frames;
mod harness;
mod knowledge;
mod large_values;
mod loss;
mod payloads;
mod program;
mod python;
mod restart;
mod slow_peers;
mod space;
mod submission;
