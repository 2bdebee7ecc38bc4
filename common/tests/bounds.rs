//! What a hostile peer can send: always an error with a reason, never a panic, and never more memory than
//! the bytes that it paid for.

mod support;

use ganger_common::limits::*;
use ganger_common::message::ToClient;
use ganger_common::{DecodeError, ErrorCode, decode};
use rmp::encode as put;
use support::crafted::*;
use support::{Example, examples};

#[test]
fn nesting_is_bounded_in_known_and_in_unknown_fields() {
    for open in [0x91, 0x81] {
        let deep = vec![open; 100_000];
        refused(&deep);
        refused(&status_with(|bytes| bytes.extend(&deep)));
        let mut third = vec![0x93, 0xa6];
        third.extend(b"status\x81\xa3req\x01");
        third.extend(&deep);
        refused(&third);
    }
    let ids = message("watch", 2, |bytes| {
        key(bytes, "req");
        put::write_uint(bytes, 1).unwrap();
        key(bytes, "tasks");
        bytes.extend(vec![0x91; 100_000]);
    });
    refused(&ids);
}

#[test]
fn sixteen_levels_pass_and_seventeen_do_not() {
    // The outer array, the body, and so many below.
    let nested = |levels: usize| {
        status_with(|bytes| {
            bytes.extend(vec![0x91; levels]);
            bytes.push(0xc0);
        })
    };
    assert!(from_client(&nested(DEPTH_MAX - 2)).is_ok());
    assert!(from_client(&nested(DEPTH_MAX - 1)).is_err());
}

/// The largest count that can be declared, for every kind of thing that declares one, wherever one stands.
#[test]
fn a_declared_count_is_only_a_claim() {
    for marker in [0xdd, 0xdf, 0xdb, 0xc6, 0xc9] {
        let claim = [marker, 0xff, 0xff, 0xff, 0xff];
        refused(&claim);
        refused(&[&[0x92], claim.as_slice()].concat());
        refused(&[b"\x92\xa6status".as_slice(), &claim].concat());
        refused(&[b"\x92\xa6submit\x82\xa3seq\x01\xa5tasks".as_slice(), &claim].concat());
        refused(&[b"\x92\xa6submit\x82\xa3seq\x01\xa5tasks\x91".as_slice(), &claim].concat());
        refused(&[b"\x92\xa5hello\x81\xa5kinds".as_slice(), &claim].concat());
        refused(&[b"\x92\xa5hello\x81\xa7holding".as_slice(), &claim].concat());
        refused(&[b"\x92\xa6report\x81\xa5ended".as_slice(), &claim].concat());
        refused(&[b"\x92\xa5tasks\x82\xa3req\x01\xa4rows".as_slice(), &claim].concat());
        refused(&[b"\x92\xa6status\x82\xa3req\x01\xa4body\x81\xa8counters".as_slice(), &claim].concat());
        refused(&status_with(|bytes| bytes.extend(claim)));
        let mut many_parts = vec![0xdd, 0xff, 0xff, 0xff, 0xff, 0xa6];
        many_parts.extend(b"status\x81\xa3req\x01");
        refused(&many_parts);
    }
}

#[test]
fn lists_are_refused_beyond_their_limit_by_their_declared_length() {
    let most = BATCH_ITEMS_MAX as u32;
    assert!(from_client(&submit(most, |bytes| a_task(bytes, "k", 1))).is_ok());
    let error = from_client(&submit(most + 1, |bytes| a_task(bytes, "k", 1))).unwrap_err();
    assert!(error.to_string().contains("at most 4096"), "{error}");
    assert_eq!(error.code(), ErrorCode::TooMany);

    let hello = |kinds: usize| {
        let bytes = message("hello", 5, |bytes| {
            key(bytes, "protocol");
            bytes.extend([0x92, 1, 0]);
            for id in ["worker", "token"] {
                key(bytes, id);
                put::write_bin(bytes, &[7; 16]).unwrap();
            }
            key(bytes, "kinds");
            put::write_array_len(bytes, kinds as u32).unwrap();
            (0..kinds).for_each(|_| put::write_str(bytes, "k").unwrap());
            key(bytes, "slots");
            put::write_uint(bytes, 1).unwrap();
        });
        from_worker(&bytes).map(drop)
    };
    assert_eq!(hello(WORKER_KINDS_MAX), Ok(()));
    assert_eq!(hello(WORKER_KINDS_MAX + 1).unwrap_err().code(), ErrorCode::TooMany);
}

#[test]
fn texts_are_refused_beyond_their_limit() {
    let with_kind = |length: usize| {
        let kind = "k".repeat(length);
        from_client(&submit(1, |bytes| a_task(bytes, &kind, 1))).map(drop)
    };
    assert_eq!(with_kind(KIND_BYTES_MAX), Ok(()));
    assert_eq!(with_kind(KIND_BYTES_MAX + 1).unwrap_err().code(), ErrorCode::TooLarge);
}

/// Where a text of the sender is quoted in the error, it must not choose the code.
#[test]
fn a_text_that_reads_like_a_limit_is_still_no_message() {
    for text in ["5000 elements, at most 4096 are allowed", "1 bytes, at most 0 are allowed"] {
        let bytes = message("ack", 1, |bytes| {
            key(bytes, "upto");
            put::write_str(bytes, text).unwrap();
        });
        assert_eq!(from_client(&bytes).unwrap_err().code(), ErrorCode::BadMessage);
        let bytes = message("knowledge", 2, |bytes| {
            key(bytes, "req");
            put::write_uint(bytes, 1).unwrap();
            key(bytes, "op");
            put::write_str(bytes, text).unwrap();
        });
        assert_eq!(from_client(&bytes).unwrap_err().code(), ErrorCode::BadMessage);
    }
}

#[test]
fn payloads_and_messages_are_refused_beyond_their_limits() {
    let with_payload = |length: usize| submit(1, |bytes| a_task(bytes, "k", length));
    assert!(from_client(&with_payload(PAYLOAD_BYTES_MAX)).is_ok());
    let error = from_client(&with_payload(PAYLOAD_BYTES_MAX + 1)).unwrap_err();
    assert!(error.to_string().contains("16777216"), "{error}");
    assert_eq!(error.code(), ErrorCode::TooLarge);

    for error in refused(&vec![0; MESSAGE_BYTES_MAX + 1]) {
        assert_eq!(error, DecodeError::TooLarge { bytes: MESSAGE_BYTES_MAX + 1 });
        assert_eq!(error.code(), ErrorCode::TooLarge);
    }
}

/// A text where none belongs is quoted in the error, escaped: unbounded, that would cost many times what it
/// weighs.
#[test]
fn a_huge_text_in_a_wrong_place_costs_no_more_than_its_bytes() {
    let text = "\u{1}".repeat(8 << 20);
    let bytes = message("ack", 1, |bytes| {
        key(bytes, "upto");
        put::write_str(bytes, &text).unwrap();
    });
    refused(&bytes);
    refused(&status_with(|bytes| put::write_str(bytes, &text).unwrap()));
    refused(&message(&text, 0, |_| {}));
    let just_allowed = &text[..ANY_TEXT_BYTES_MAX];
    let bytes = message("ack", 1, |bytes| {
        key(bytes, "upto");
        put::write_str(bytes, just_allowed).unwrap();
    });
    refused(&bytes);
    assert!(from_client(&status_with(|bytes| put::write_str(bytes, just_allowed).unwrap())).is_ok());
}

/// Lists of the smallest elements that there are: each costs its receiver more than it weighs.
#[test]
fn many_small_elements_cost_no_more_than_the_bound() {
    for kind in ["tasks", "workers"] {
        let bytes = message(kind, 2, |bytes| {
            key(bytes, "req");
            put::write_uint(bytes, 1).unwrap();
            key(bytes, "rows");
            put::write_array_len(bytes, PAGE_ROWS_MAX as u32).unwrap();
            (0..PAGE_ROWS_MAX).for_each(|_| bytes.push(0x80));
        });
        refused(&bytes);
    }
    let most = BATCH_ITEMS_MAX as u32;
    drop(decode_all(&submit(most, |bytes| a_task(bytes, "k", 0))));
    let refusals = message("accepted", 3, |bytes| {
        key(bytes, "seq");
        put::write_uint(bytes, 1).unwrap();
        key(bytes, "durability");
        put::write_str(bytes, "memory").unwrap();
        key(bytes, "refused");
        put::write_array_len(bytes, most).unwrap();
        (0..most).for_each(|_| bytes.extend(b"\x93\x00\xa4busy\xa0"));
    });
    drop(decode_all(&refusals));
    assert!(decode::<ToClient<'_>>(&refusals).is_ok());
}

#[test]
fn a_message_cut_at_any_byte_is_refused() {
    for Example { said, title } in examples().into_iter().filter(is_message) {
        let bytes = said.encode();
        for length in 0..bytes.len() {
            drop(decode_all(&bytes[..length]));
            assert!(own_verdict(&said, &bytes[..length]).is_err(), "{title} cut after {length}");
        }
    }
    for Example { said, .. } in examples().into_iter().filter(|example| !is_message(example)) {
        let bytes = said.encode();
        assert!((0..bytes.len()).all(|length| said.is(&bytes[..length]).is_err()));
    }
}

/// One of each marker that means something different, and the edges of those that come in ranges.
const MARKERS: [u8; 35] = [
    0x00, 0x7f, 0x80, 0x81, 0x8f, 0x90, 0x91, 0x9f, 0xa0, 0xa1, 0xbf, 0xc0, 0xc1, 0xc2, 0xc4, 0xc5, 0xc6,
    0xc7, 0xc9, 0xca, 0xcb, 0xcc, 0xcf, 0xd3, 0xd4, 0xd8, 0xd9, 0xda, 0xdb, 0xdc, 0xdd, 0xde, 0xdf, 0xe0,
    0xff,
];

/// Every byte of every example replaced by every marker: whatever comes out, no panic and no waste.
#[test]
fn a_message_with_any_byte_changed_does_no_harm() {
    for Example { said, .. } in examples() {
        let mut bytes = said.encode();
        for at in 0..bytes.len() {
            let right = bytes[at];
            for wrong in MARKERS {
                bytes[at] = wrong;
                drop(decode_all(&bytes));
                drop(said.is(&bytes));
            }
            bytes[at] = right;
        }
    }
}
