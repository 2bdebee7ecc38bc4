//! What comes over the knowledge socket, read and checked.

use bytes::Bytes;
use ganger_common::message::publish::{
    BEAT, BROADCAST_PREFIX, BeatHeader, ChangeOp, DeltaHeader, KNOWLEDGE_PREFIX, PULSE, decode_header,
};
use ganger_common::{Epoch, Revision, limits};

use super::Change;

/// Something that was published.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Publication {
    /// A change of the map.
    Change {
        /// The life of the broker's state.
        epoch: Epoch,
        /// The change.
        change: Change,
    },
    /// A change whose value must be fetched: it is too large to be published, or it was damaged.
    Missing {
        /// The life of the broker's state.
        epoch: Epoch,
        /// Its revision.
        revision: Revision,
    },
    /// A sign of life.
    Beat {
        /// The life of the broker's state.
        epoch: Epoch,
        /// The newest revision.
        revision: Revision,
    },
    /// A message to whoever listens.
    Broadcast {
        /// The life of the broker's state.
        epoch: Epoch,
        /// Its topic.
        topic: String,
        /// Its bytes.
        body: Bytes,
    },
}

impl Publication {
    /// Reads the three parts of a publication. None: they are none of this protocol, which a subscriber
    /// does no better to know than to lose; the revisions show what is missing.
    pub fn read([topic, header, body]: &[Bytes; 3]) -> Option<Self> {
        let topic = std::str::from_utf8(topic).ok()?;
        if topic == BEAT || topic == PULSE {
            let beat: BeatHeader = decode_header(header).ok()?;
            return Some(Self::Beat { epoch: beat.epoch, revision: beat.revision });
        }
        if let Some(topic) = topic.strip_prefix(BROADCAST_PREFIX) {
            let beat: BeatHeader = decode_header(header).ok()?;
            let is_ours = topic.len() <= limits::TOPIC_BYTES_MAX && body.len() <= limits::BROADCAST_BYTES_MAX;
            return is_ours.then(|| Self::Broadcast {
                epoch: beat.epoch,
                topic: topic.to_owned(),
                body: body.clone(),
            });
        }
        let topic = topic.strip_prefix(KNOWLEDGE_PREFIX)?;
        if topic.len() > limits::TOPIC_BYTES_MAX {
            return None;
        }
        let delta: DeltaHeader<'_> = decode_header(header).ok()?;
        let missing = Self::Missing { epoch: delta.epoch, revision: delta.revision };
        let value = match delta.op {
            ChangeOp::Fetch => return Some(missing),
            // What comes too early is kept, so that it must be small.
            _ if body.len() > limits::PUBLISH_INLINE_BYTES_MAX => return Some(missing),
            _ if crc32fast::hash(body) != delta.checksum => return Some(missing),
            // A copy: the map outlives the buffer of the connection, which a share would keep alive.
            ChangeOp::Put => Some(Bytes::copy_from_slice(body)),
            ChangeOp::Delete => None,
        };
        let change =
            Change { revision: delta.revision, topic: topic.to_owned(), key: delta.key.0.to_owned(), value };
        Some(Self::Change { epoch: delta.epoch, change })
    }
}
