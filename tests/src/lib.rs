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
//! - [`proxy`], [`dice`]: a network that misbehaves, and chance under a seed.
//! - [`blackbox`]: the whole system as processes, with faults, judged by a log of its own.
//! - [`web`], [`ws`]: a client that says to an HTTP server exactly what a test wants said, also by WebSocket.
//! - [`browser`]: a headless Chromium.
//! - [`scale`]: how large a scenario runs, and which run alone.
//! - [`sim`]: the whole system in one thread, under a seed and with faults.
//! - [`exchange`]: tasks through the hot parts without sockets, and the instructions that they take.
//! - [`oracle`]: whether a run of it kept everything that was promised.
//!
//! A step of the harness that fails ends the test on the spot, with a panic that says what was being done:
//! a test that goes on without what it set up would judge something else.

pub mod binaries;
pub mod blackbox;
pub mod browser;
pub mod cluster;
pub mod customer;
pub mod diary;
pub mod dice;
pub mod exchange;
mod nursery;
pub mod oracle;
#[cfg(feature = "planted")]
pub mod planted;
pub mod process;
pub mod procfs;
pub mod proxy;
pub mod python;
pub mod raw;
pub mod scale;
pub mod sim;
pub mod verdict;
pub mod wait;
pub mod web;
pub mod work;
pub mod ws;
