//! What a broken, an older or a newer peer can send: what is wrong is refused with a reason, what is only
//! unknown is ignored.

mod support;

use ganger_common::message::{FromClient, FromWorker, ToClient};
use ganger_common::view::{Reason, ReasonCode};
use ganger_common::{DecodeError, ErrorCode, decode};
use rmp::encode as put;
use support::crafted::*;
use support::{Example, examples};

#[test]
fn what_is_no_message_is_refused() {
    let nothing: &[u8] = b"";
    for bytes in
        [nothing, b"hello", b"\xc1", b"\x00", b"\x90", b"\x91\xa6status", b"\x92\x01\x80", b"{\"a\":1}"]
    {
        for error in refused(bytes) {
            assert_eq!(error.code(), ErrorCode::BadMessage, "{bytes:?}: {error}");
        }
    }
}

#[test]
fn an_unknown_type_is_named_in_the_error() {
    for error in refused(&message("sing", 0, |_| {})) {
        assert_eq!(error, DecodeError::UnknownType("sing".to_owned()));
        assert_eq!(error.code(), ErrorCode::UnknownMessage);
    }
    let long = refused(&message(&"x".repeat(60_000), 0, |_| {}));
    assert_eq!(long[0], DecodeError::UnknownType("x".repeat(32)), "but not at any length");
}

#[test]
fn a_body_of_the_wrong_shape_is_refused() {
    let bodies: [fn(&mut Vec<u8>); 5] = [
        |bytes| put::write_nil(bytes).unwrap(),
        |bytes| bytes.push(7),
        |bytes| put::write_str(bytes, "body").unwrap(),
        |bytes| bytes.push(0x90),
        |bytes| bytes.push(0x80),
    ];
    for body in bodies {
        let mut bytes = vec![0x92, 0xa6];
        bytes.extend(b"submit");
        body(&mut bytes);
        assert!(matches!(from_client(&bytes), Err(DecodeError::Body { kind: "submit", .. })));
    }
}

#[test]
fn a_field_of_the_wrong_type_is_refused() {
    let fields: [fn(&mut Vec<u8>); 7] = [
        |bytes| put::write_nil(bytes).unwrap(),
        |bytes| put::write_str(bytes, "12").unwrap(),
        |bytes| put::write_bin(bytes, b"12").unwrap(),
        |bytes| put::write_f64(bytes, 1.5).unwrap(),
        |bytes| bytes.push(0xff),
        |bytes| bytes.push(0x90),
        |bytes| bytes.extend([0xd4, 0x05, 0x00]),
    ];
    for field in fields {
        let bytes = message("ack", 1, |bytes| {
            key(bytes, "upto");
            field(bytes);
        });
        assert!(matches!(from_client(&bytes), Err(DecodeError::Body { kind: "ack", .. })), "{bytes:?}");
    }
}

#[test]
fn a_missing_field_is_named() {
    let error = from_client(&message("ack", 0, |_| {})).unwrap_err();
    assert!(error.to_string().contains("upto"), "{error}");
}

#[test]
fn unknown_fields_are_ignored_whatever_they_hold() {
    let values: [fn(&mut Vec<u8>); 6] = [
        |bytes| put::write_nil(bytes).unwrap(),
        |bytes| put::write_bin(bytes, &[0xff; 300]).unwrap(),
        |bytes| put::write_f64(bytes, f64::NAN).unwrap(),
        |bytes| bytes.extend([0x82, 0x01, 0x92, 0xc0, 0xc3, 0xa1, b'k', 0x80]),
        |bytes| bytes.extend([0xd4, 0x05, 0x00]),
        |bytes| bytes.extend([0xc7, 0x03, 0x05, 1, 2, 3]),
    ];
    for value in values {
        let bytes = status_with(value);
        assert!(matches!(from_client(&bytes), Ok(FromClient::Status(_))), "{:?}", from_client(&bytes));
    }
}

#[test]
fn unknown_elements_at_the_end_of_an_array_are_ignored() {
    let task = submit(1, |bytes| {
        put::write_array_len(bytes, 6).unwrap();
        put::write_bin(bytes, &[7; 16]).unwrap();
        put::write_str(bytes, "k").unwrap();
        put::write_bin(bytes, b"p").unwrap();
        put::write_nil(bytes).unwrap();
        put::write_str(bytes, "from the future").unwrap();
        put::write_map_len(bytes, 0).unwrap();
    });
    match from_client(&task) {
        Ok(FromClient::Submit(submit)) => assert_eq!(submit.tasks[0].options, None),
        other => panic!("{other:?}"),
    }
    let mut outer = vec![0x94, 0xa6];
    outer.extend(b"status\x81\xa3req\x01\xc0\x92\x01\x02");
    assert!(matches!(from_client(&outer), Ok(FromClient::Status(_))));
}

#[test]
fn a_code_that_is_not_known_is_still_a_code() {
    let mut bytes = message("error", 2, |bytes| {
        key(bytes, "code");
        put::write_str(bytes, "too_purple").unwrap();
        key(bytes, "text");
        put::write_str(bytes, "paint it").unwrap();
    });
    let Ok(ToClient::Error(error)) = decode(&bytes) else { panic!("it can be read") };
    assert_eq!((error.code, error.code.is_retryable()), (ErrorCode::Unknown, false));

    bytes.clear();
    bytes.extend(b"\x82\xa4code\xaatoo_purple\xa4text\xa2no");
    let reason: Reason = rmp_serde::from_slice(&bytes).unwrap();
    assert_eq!(reason.code, ReasonCode::Unknown);
}

#[test]
fn an_array_that_is_too_short_is_refused() {
    let bytes = submit(1, |bytes| {
        put::write_array_len(bytes, 2).unwrap();
        put::write_bin(bytes, &[7; 16]).unwrap();
        put::write_str(bytes, "k").unwrap();
    });
    let error = from_client(&bytes).unwrap_err();
    assert!(error.to_string().contains("payload"), "{error}");
}

#[test]
fn bytes_after_the_message_are_refused() {
    for Example { said, title } in examples().into_iter().filter(is_message) {
        for extra in [0x00, 0xc0, 0xc1, 0xdb, 0x91] {
            let mut bytes = said.encode();
            bytes.push(extra);
            let own = own_verdict(&said, &bytes);
            assert_eq!(own, Err(DecodeError::Trailing), "{title} and {extra:#x}");
        }
    }
}

#[test]
fn a_key_that_comes_twice_is_refused() {
    let bytes = message("ack", 2, |bytes| {
        for _ in 0..2 {
            key(bytes, "upto");
            put::write_uint(bytes, 1).unwrap();
        }
    });
    let error = from_client(&bytes).unwrap_err();
    assert!(error.to_string().contains("duplicate"), "{error}");
}

#[test]
fn a_text_that_is_no_utf8_is_refused() {
    let bytes = submit(1, |bytes| {
        put::write_array_len(bytes, 3).unwrap();
        put::write_bin(bytes, &[7; 16]).unwrap();
        bytes.extend([0xa2, 0xff, 0xfe]);
        put::write_bin(bytes, b"p").unwrap();
    });
    assert!(from_client(&bytes).is_err());
    assert!(from_client(b"\x92\xa2\xff\xfe\x80").is_err(), "nor is it a type");
}

#[test]
fn a_payload_must_be_binary() {
    for payload in [b"\xa4text".as_slice(), b"\x92\x01\x02", b"\xc0"] {
        let bytes = submit(1, |bytes| {
            put::write_array_len(bytes, 3).unwrap();
            put::write_bin(bytes, &[7; 16]).unwrap();
            put::write_str(bytes, "k").unwrap();
            bytes.extend(payload);
        });
        assert!(from_client(&bytes).is_err(), "{payload:?}");
    }
}

#[test]
fn an_id_must_have_sixteen_bytes() {
    for length in [0, 15, 17] {
        let bytes = message("fetch", 2, |bytes| {
            key(bytes, "req");
            put::write_uint(bytes, 1).unwrap();
            key(bytes, "task");
            put::write_bin(bytes, &vec![7; length]).unwrap();
        });
        assert!(from_client(&bytes).is_err(), "{length} bytes");
    }
}

#[test]
fn an_operation_that_is_not_known_or_not_alone_is_refused() {
    for op in
        [b"\x80".as_slice(), b"\x81\xa3eat\x80", b"\xa6status", b"\xa3get", b"\x82\xa6status\x80\xa3get\x80"]
    {
        let bytes = message("knowledge", 2, |bytes| {
            key(bytes, "req");
            put::write_uint(bytes, 1).unwrap();
            key(bytes, "op");
            bytes.extend(op);
        });
        assert!(from_client(&bytes).is_err(), "{op:?}");
    }
}

/// A fraction is passed on as it came; whoever acts on it sees that it is no number.
#[test]
fn a_fraction_that_is_no_number_does_no_harm() {
    for bits in [f32::NAN, f32::INFINITY, -0.0] {
        let bytes = message("progress", 2, |bytes| {
            key(bytes, "lease");
            put::write_array_len(bytes, 3).unwrap();
            put::write_bin(bytes, &[7; 16]).unwrap();
            put::write_uint(bytes, 1).unwrap();
            put::write_uint(bytes, 1).unwrap();
            key(bytes, "fraction");
            put::write_f32(bytes, bits).unwrap();
        });
        let Ok(FromWorker::Progress(progress)) = from_worker(&bytes) else { panic!("it can be read") };
        assert_eq!(progress.fraction.map(f32::to_bits), Some(bits.to_bits()));
    }
}

#[test]
fn a_fraction_of_double_width_is_taken() {
    let bytes = message("progress", 2, |bytes| {
        key(bytes, "lease");
        put::write_array_len(bytes, 3).unwrap();
        put::write_bin(bytes, &[7; 16]).unwrap();
        put::write_uint(bytes, 1).unwrap();
        put::write_uint(bytes, 1).unwrap();
        key(bytes, "fraction");
        put::write_f64(bytes, 0.25).unwrap();
    });
    let Ok(FromWorker::Progress(progress)) = from_worker(&bytes) else { panic!("it can be read") };
    assert_eq!(progress.fraction, Some(0.25));
}
