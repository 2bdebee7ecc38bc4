//! Whatever can be said arrives as it was said; whatever else arrives does no harm.

mod support;

use ganger_common::codec::Message;
use ganger_common::message::publish::{BeatHeader, DeltaHeader, decode_header, encode_header};
use ganger_common::message::{FromClient, FromWorker, ToClient, ToWorker};
use ganger_common::{decode, encode};
use proptest::prelude::*;
use support::crafted::decode_all;
use support::entropy::{Entropy, words};

/// Damages bytes here and there.
fn damaged(mut bytes: Vec<u8>, damage: &[(usize, u8)]) -> Vec<u8> {
    for (at, value) in damage {
        let length = bytes.len();
        if length > 0 {
            bytes[at % length] = *value;
        }
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn what_a_client_says_arrives(words in words()) {
        let message = Entropy::new(&words).client_says();
        let bytes = encode(&message);
        prop_assert_eq!(decode(&bytes), Ok(message));
    }

    #[test]
    fn what_a_client_is_told_arrives(words in words()) {
        let message = Entropy::new(&words).client_hears();
        let bytes = encode(&message);
        prop_assert_eq!(decode(&bytes), Ok(message));
    }

    #[test]
    fn what_a_worker_says_arrives(words in words()) {
        let message = Entropy::new(&words).worker_says();
        let bytes = encode(&message);
        prop_assert_eq!(decode(&bytes), Ok(message));
    }

    #[test]
    fn what_a_worker_is_told_arrives(words in words()) {
        let message = Entropy::new(&words).worker_hears();
        let bytes = encode(&message);
        prop_assert_eq!(decode(&bytes), Ok(message));
    }

    #[test]
    fn what_is_published_arrives(words in words()) {
        let mut entropy = Entropy::new(&words);
        let change = entropy.change_header();
        let bytes = encode_header(&change);
        prop_assert_eq!(decode_header::<DeltaHeader<'_>>(&bytes).unwrap(), change);
        let beat = entropy.beat_header();
        prop_assert_eq!(decode_header::<BeatHeader>(&encode_header(&beat)).unwrap(), beat);
    }

    #[test]
    fn damaged_messages_do_no_harm(
        words in words(),
        damage in prop::collection::vec(any::<(usize, u8)>(), 1..6),
    ) {
        let mut entropy = Entropy::new(&words);
        let messages = [
            encode(&entropy.client_says()),
            encode(&entropy.client_hears()),
            encode(&entropy.worker_says()),
            encode(&entropy.worker_hears()),
        ];
        for bytes in messages {
            let _ = decode_all(&damaged(bytes.to_vec(), &damage));
        }
    }

    /// Random bytes behind a good beginning get further than random bytes alone.
    #[test]
    fn noise_does_no_harm(noise in prop::collection::vec(any::<u8>(), 0..400), kind in 0..40_usize) {
        let _ = decode_all(&noise);
        let kinds = [FromClient::KINDS, ToClient::KINDS, FromWorker::KINDS, ToWorker::KINDS].concat();
        let kind = kinds[kind % kinds.len()];
        let mut bytes = vec![0x92, 0xa0 | kind.len() as u8];
        bytes.extend(kind.as_bytes());
        bytes.extend(noise);
        let _ = decode_all(&bytes);
    }
}

/// The types on the wire are those of the declarations.
#[test]
fn every_message_says_its_type_on_the_wire() {
    for example in support::examples() {
        let kind = match &example.said {
            support::Said::FromClient(message) => message.kind(),
            support::Said::ToClient(message) => message.kind(),
            support::Said::FromWorker(message) => message.kind(),
            support::Said::ToWorker(message) => message.kind(),
            support::Said::Change(_) | support::Said::Beat(_) => continue,
        };
        assert_eq!(&example.said.encode()[2..2 + kind.len()], kind.as_bytes());
    }
}
