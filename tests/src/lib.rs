//! What the end-to-end tests of Ganger stand on.
//!
//! A test here starts real programs on free ports of this machine, does something to them that happens to
//! programs, and holds what the clients saw against what the workers wrote down themselves.
//!
//! - [`binaries`], [`process`]: the programs, started so that none is left behind.
//! - [`cluster`]: a broker and its workers, as an operator would start them.
//! - [`raw`]: a peer that says exactly what a test wants said.
//! - [`customer`], [`work`]: a client that keeps books, and the tasks that it hands in.
//! - [`procfs`]: what the kernel tells about them.
//! - [`python`]: peers on libzmq.
//! - [`wait`]: conditions with deadlines instead of sleeps.
//! - [`diary`], [`verdict`]: the workers' own account, and the checker.
//! - [`scale`]: how large a scenario runs, and which run alone.

pub mod binaries;
pub mod cluster;
pub mod customer;
pub mod diary;
mod nursery;
pub mod process;
pub mod procfs;
pub mod python;
pub mod raw;
pub mod scale;
pub mod verdict;
pub mod wait;
pub mod work;
