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

/// Below this size a payload is copied out of the message that brought it, which then can go. Above it
/// the payload shares the message's bytes: copying would cost more than keeping the rest.
const COPY_BELOW: usize = 32 << 10;

fn keep(frame: &Bytes, part: &[u8]) -> Bytes {
    match part.len() < COPY_BELOW {
        true => Bytes::copy_from_slice(part),
        false => frame.slice_ref(part),
    }
}

#[cfg(test)]
mod tests;
