//! Between what travels and what the scheduler speaks, each match exhaustive, so that a new message
//! cannot be forgotten.

mod batches;
mod incoming;
mod outgoing;
mod refused;
mod undecodable;

use bytes::Bytes;

pub(crate) use incoming::{Incoming, client, worker};
pub(crate) use outgoing::{encode_client, encode_worker, goodbye};
pub(crate) use refused::{PreRefused, Refused};
pub(crate) use undecodable::undecodable;

/// Below this size a payload is copied out of the message that brought it, which then can go.
const COPY_BELOW: usize = 32 << 10;

/// A payload that may live on. A large one that makes up a good part of its message shares the message's
/// bytes; any other is copied, or it would keep in memory what nobody counts.
fn keep(frame: &Bytes, part: &[u8]) -> Bytes {
    match part.len() >= COPY_BELOW && part.len() >= frame.len() / 4 {
        true => frame.slice_ref(part),
        false => Bytes::copy_from_slice(part),
    }
}

#[cfg(test)]
mod tests;
