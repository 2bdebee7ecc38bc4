//! What a broker of these tests says first.

use ganger_common::message::{Durability, Welcome};
use ganger_common::version::PROTOCOL;
use ganger_common::{Epoch, Revision};

/// In memory, and patient: nobody is given up because a test is slow.
pub(crate) fn welcome() -> Welcome<'static> {
    Welcome {
        protocol: PROTOCOL,
        broker: "a broker".into(),
        epoch: Epoch(1),
        heartbeat_ms: 1_000,
        liveness: 30,
        grace_ms: 2_000,
        durability: Durability::Memory,
        message_bytes_max: 64 << 20,
        payload_bytes_max: 16 << 20,
        batch_items_max: 4_096,
        revision: Revision(0),
        knowledge_port: 0,
    }
}
