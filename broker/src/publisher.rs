//! What goes out on PUB.

use bytes::Bytes;
use ganger_common::Epoch;
use ganger_common::limits::PUBLISH_INLINE_BYTES_MAX;
use ganger_common::message::publish::{
    BEAT, BROADCAST_PREFIX, BeatHeader, ChangeOp, DeltaHeader, KNOWLEDGE_PREFIX, PULSE, encode_header,
};
use ganger_scheduler::Publication;

/// The three parts of a publication.
pub(crate) fn parts(epoch: Epoch, publication: &Publication) -> [Bytes; 3] {
    match publication {
        Publication::Delta { change, previous } => {
            let (op, body) = match &change.value {
                None => (ChangeOp::Delete, Bytes::new()),
                Some(value) if value.len() > PUBLISH_INLINE_BYTES_MAX => (ChangeOp::Fetch, Bytes::new()),
                Some(value) => (ChangeOp::Put, value.clone()),
            };
            let header = DeltaHeader {
                epoch,
                revision: change.revision,
                previous: *previous,
                op,
                key: change.key.as_str().into(),
                checksum: crc32fast::hash(&body),
            };
            let topic = format!("{KNOWLEDGE_PREFIX}{}", change.topic);
            [topic.into(), encode_header(&header).into(), body]
        }
        Publication::Broadcast { number, revision, topic, body } => {
            let header = BeatHeader { epoch, revision: *revision, number: *number };
            let topic = format!("{BROADCAST_PREFIX}{topic}");
            [topic.into(), encode_header(&header).into(), body.clone()]
        }
        Publication::Beat { number, revision } => {
            let header = BeatHeader { epoch, revision: *revision, number: *number };
            [Bytes::from_static(BEAT.as_bytes()), encode_header(&header).into(), Bytes::new()]
        }
    }
}

/// The pulse that goes out with a beat.
pub(crate) fn pulse([_, header, body]: &[Bytes; 3]) -> [Bytes; 3] {
    [Bytes::from_static(PULSE.as_bytes()), header.clone(), body.clone()]
}
