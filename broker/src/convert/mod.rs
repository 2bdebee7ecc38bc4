//! Between what travels and what the scheduler speaks, each match exhaustive, so that a new message
//! cannot be forgotten.

mod batches;
mod incoming;
mod outgoing;
mod refused;
mod undecodable;

use bytes::{Bytes, BytesMut};

pub(crate) use incoming::{Incoming, client, worker};
pub(crate) use outgoing::{encode_client, encode_worker, goodbye};
pub(crate) use refused::{PreRefused, Refused};
pub(crate) use undecodable::undecodable;

/// Below this size a payload is copied out of the message that brought it, which then can go.
const COPY_BELOW: usize = 32 << 10;

/// Small payloads of one message are copied into blocks of at most this size, which they share: one allocation
/// for several of them. It is also the most that a small payload which outlives all others of its message keeps
/// and that no budget counts: ten million such tasks stay within what a queue may take.
const BLOCK: usize = 256;

/// Payloads of one message that may live on.
struct Keeper<'a> {
    frame: &'a Bytes,
    block: BytesMut,
}

impl<'a> Keeper<'a> {
    fn of(frame: &'a Bytes) -> Self {
        Self { frame, block: BytesMut::new() }
    }

    fn keep(&mut self, part: &[u8]) -> Bytes {
        if part.is_empty() || part.len() > BLOCK / 4 {
            return keep(self.frame, part);
        }
        if self.block.capacity() < part.len() {
            // A message that holds little must not cost a whole block: nothing more comes than its rest.
            let rest = (self.frame.as_ptr_range().end as usize).saturating_sub(part.as_ptr() as usize);
            self.block = BytesMut::with_capacity(BLOCK.min(rest));
        }
        self.block.extend_from_slice(part);
        self.block.split().freeze()
    }
}

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
