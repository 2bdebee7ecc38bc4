//! The parts of `cargo demo`.
//!
//! - [`story`]: what happens, in order.
//! - [`gang`]: the broker and the workers; [`process`]: processes that never outlive their parent;
//!   [`roles`]: what each process does.
//! - [`progress`]: what is shown meanwhile; [`report`]: what is shown at the end.

pub mod gang;
pub mod process;
pub mod progress;
pub mod report;
pub mod roles;
pub mod story;
