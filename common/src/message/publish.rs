//! What goes out on PUB: three parts, `[topic, header, body]`.
//!
//! The topic part is one of
//! - `k/<topic>`: a change of the knowledge map in that topic,
//! - `b/<topic>`: a broadcast,
//! - `beat`: a sign of life with the newest revision, once a heartbeat,
//! - `pulse`: the same every few heartbeats, for whoever hears of revisions elsewhere.
//!
//! PUB may drop; the header lets a subscriber see that it did.

use serde::{Deserialize, Serialize};

use crate::codec::array;
use crate::ids::{Epoch, Revision};
use crate::limits::{BROADCAST_BYTES_MAX, DEPTH_MAX, PUBLISH_INLINE_BYTES_MAX};

use super::Key;

/// Topic part of every change of the knowledge map begins with this.
pub const KNOWLEDGE_PREFIX: &str = "k/";
/// Topic part of every broadcast begins with this.
pub const BROADCAST_PREFIX: &str = "b/";
/// Topic part of the sign of life.
pub const BEAT: &str = "beat";
/// Topic part of the sign of life for those who have a connection with the broker beside: its heartbeats tell
/// them the newest revision, so all that they need to know is whether anything comes here.
pub const PULSE: &str = "pulse";

/// What a change did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeOp {
    /// The body is the new value.
    Put,
    /// The key was removed; the body is empty.
    Delete,
    /// There is a new value, too large to publish: fetch it with `since`. The body is empty.
    Fetch,
}

array! {
    /// Header of a change of the knowledge map.
    pub struct DeltaHeader<'a> {
        /// The life of the broker's state.
        epoch: Epoch,
        /// The revision of this change. The one before it is always one less: a subscriber of all topics
        /// sees a gap by that.
        revision: Revision,
        /// The revision of the change before this one in the same topic, 0 for the first: a subscriber of
        /// one topic sees a gap by that.
        previous: Revision,
        /// What it did.
        op: ChangeOp,
        /// The key.
        key: Key<'a>,
        /// CRC-32 (IEEE) of the body.
        checksum: u32,
    }
}

array! {
    /// Header of a broadcast and of the sign of life.
    pub struct BeatHeader {
        /// The life of the broker's state.
        epoch: Epoch,
        /// The newest knowledge revision.
        revision: Revision,
        /// Counts broadcasts and beats through, so that a listener can tell that it missed some.
        number: u64,
    }
}

const _: () = assert!(PUBLISH_INLINE_BYTES_MAX <= BROADCAST_BYTES_MAX);

/// Decodes a header.
///
/// # Errors
/// What is wrong with it.
pub fn decode_header<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, rmp_serde::decode::Error> {
    let mut body = rmp_serde::Deserializer::from_read_ref(bytes);
    body.set_max_depth(DEPTH_MAX);
    T::deserialize(&mut body)
}

/// Encodes a header.
pub fn encode_header<T: Serialize>(header: &T) -> Vec<u8> {
    // Headers are arrays of numbers and short texts, which always encode into memory.
    rmp_serde::to_vec(header).expect("a header of known length encodes into memory")
}
