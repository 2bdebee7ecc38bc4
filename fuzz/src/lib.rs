//! Hostile peers: what the fuzz targets run.
//!
//! Each target is a function of bytes: the fuzzer looks for bytes that make it panic, hang or grow. A rule
//! that does not hold panics as well, so that the fuzzer keeps the bytes that broke it. On a
//! stable compiler the same functions run over the seeds as a test.
//!
//! - [`codec`]: bytes as messages of every direction.
//! - [`broker`]: several peers that say anything to the broker's real shell and scheduler.
//! - [`door`]: strangers, from their first byte on.
//! - [`client_session`], [`worker_session`]: a broker that says anything to a client, to a worker.
//! - [`choices`], [`hostile`]: how bytes become decisions and messages. [`golden`]: the worked examples of
//!   `docs/protocol.md`. [`seeds`]: where the fuzzer begins. [`memory`]: what a piece of code allocates.

pub mod broker;
pub mod choices;
pub mod client_session;
pub mod codec;
pub mod door;
pub mod golden;
pub mod hostile;
#[path = "../../common/tests/support/memory.rs"] // The tests of the codec count in the same way.
pub mod memory;
pub mod seeds;
pub mod worker_session;

/// A target by its name.
pub type Target = (&'static str, fn(&[u8]));

/// Every target, by the name of its program and of its folder of seeds.
pub const TARGETS: [Target; 5] = [
    ("codec", codec::run),
    ("broker", broker::run),
    ("door", door::run),
    ("client_session", client_session::run),
    ("worker_session", worker_session::run),
];
