mod incoming;
mod outgoing;

use ganger_common::message::Lease;
use ganger_common::{Attempt, Epoch, TaskId};

fn id(number: u8) -> TaskId {
    TaskId::from_bytes([number; 16])
}

fn lease(number: u8) -> Lease {
    Lease { task: id(number), epoch: Epoch(3), attempt: Attempt(1) }
}
