//! Bytes as messages of every direction and as headers of publications.
//!
//! - No bytes make the decoder panic, or take more memory than they pay for.
//! - What decodes is encoded, decoded and encoded again: the same message, and the same bytes the second
//!   time, so that there is one way in which our side says it.

use bytes::Bytes;
use ganger_common::message::publish::{BeatHeader, DeltaHeader, decode_header, encode_header};
use ganger_common::message::{FromClient, FromWorker, ToClient, ToWorker};
use ganger_common::{decode, encode};
use ganger_worker::replica::Publication;

use crate::memory::peak_of;

/// What decoding may take beyond ten times the bytes: lists with room for what they declare.
const SLACK: usize = 1 << 20;

/// Reads an input in one way, and says what was read again. A macro, because a message borrows from its
/// bytes, and no one type stands for messages of any lifetime.
macro_rules! check {
    ($message:ty, $input:ident, $decode:path, $encode:path) => {
        let (decoded, peak) = peak_of(|| $decode($input));
        let most = $input.len() * 10 + SLACK;
        assert!(peak <= most, "reading {} bytes took {peak}, at most {most} are allowed", $input.len());
        let decoded: Result<$message, _> = decoded;
        match decoded {
            Ok(message) => {
                let bytes = $encode(&message);
                let again: $message = $decode(&bytes).expect("what we say can be read");
                // A fraction that is no number is not even equal to itself; its bytes are.
                #[allow(clippy::eq_op)]
                let is_equal = message == again || message != message;
                assert!(is_equal, "{message:?} was read again as {again:?}");
                assert_eq!(bytes, $encode(&again), "the same message has the same bytes");
            }
            Err(error) => assert!(!error.to_string().is_empty(), "a refusal says why"),
        }
    };
}

/// Runs one input.
pub fn run(input: &[u8]) {
    check!(FromClient<'_>, input, decode, encode);
    check!(ToClient<'_>, input, decode, encode);
    check!(FromWorker<'_>, input, decode, encode);
    check!(ToWorker<'_>, input, decode, encode);
    check!(DeltaHeader<'_>, input, decode_header, encode_header);
    check!(BeatHeader, input, decode_header, encode_header);
    for topic in ["beat", "b/topic", "k/topic"] {
        let header = Bytes::copy_from_slice(input);
        let _ = Publication::read(&[Bytes::from_static(topic.as_bytes()), header, Bytes::new()]);
    }
    let topic = Bytes::copy_from_slice(input);
    let _ = Publication::read(&[topic, Bytes::new(), Bytes::new()]);
}
