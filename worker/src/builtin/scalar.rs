//! Payloads that are one MessagePack string, binary or number, or just bytes.

use serde::Deserialize;
use serde::de::{IgnoredAny, Visitor};

/// The contents of a payload.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Scalar<'a> {
    /// Of a string or a binary, or the whole payload if it is neither.
    Bytes(&'a [u8]),
    /// Of a number.
    Number(f64),
}

impl<'a> Scalar<'a> {
    pub(super) fn read(payload: &'a [u8]) -> Self {
        // A lone byte below 128 is a MessagePack number, even if somebody meant it as a digit.
        whole(payload).unwrap_or(Self::Bytes(payload))
    }
}

/// A payload that is exactly one MessagePack map of the given shape.
pub(super) fn map<'a, T: Deserialize<'a>>(payload: &'a [u8]) -> Option<T> {
    // A struct may also be written as an array, and some short texts look like a short array.
    let is_map = matches!(payload.first(), Some(0x80..=0x8f | 0xde | 0xdf));
    if is_map { whole(payload) } else { None }
}

/// Deeper payloads are none that a built-in kind could use.
const DEPTH_MAX: usize = 8;

/// A value that takes up all bytes.
fn whole<'a, T: Deserialize<'a>>(payload: &'a [u8]) -> Option<T> {
    let mut reader = rmp_serde::Deserializer::from_read_ref(payload);
    reader.set_max_depth(DEPTH_MAX);
    let value = T::deserialize(&mut reader).ok()?;
    // The reader does not tell how much is left, but it finds no further value at the end.
    match IgnoredAny::deserialize(&mut reader) {
        Err(rmp_serde::decode::Error::InvalidMarkerRead(_)) => Some(value),
        _ => None,
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Scalar<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ScalarVisitor;
        impl<'de> Visitor<'de> for ScalarVisitor {
            type Value = Scalar<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a string, binary or number")
            }

            fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
                Ok(Scalar::Number(number as f64))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
                Ok(Scalar::Number(number as f64))
            }

            fn visit_f64<E>(self, number: f64) -> Result<Self::Value, E> {
                Ok(Scalar::Number(number))
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Scalar::Bytes(text.as_bytes()))
            }

            fn visit_borrowed_bytes<E>(self, bytes: &'de [u8]) -> Result<Self::Value, E> {
                Ok(Scalar::Bytes(bytes))
            }
        }
        deserializer.deserialize_any(ScalarVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_value_that_takes_up_all_bytes_is_read_as_one() {
        assert_eq!(Scalar::read(b"hello"), Scalar::Bytes(b"hello"));
        assert_eq!(Scalar::read(b"\xa5hello"), Scalar::Bytes(b"hello"));
        assert_eq!(Scalar::read(b"\xa5hello!"), Scalar::Bytes(b"\xa5hello!"));
        assert_eq!(Scalar::read(b"\xa5hell"), Scalar::Bytes(b"\xa5hell"));
        assert_eq!(Scalar::read(b"\xc4\x02hi"), Scalar::Bytes(b"hi"));
        assert_eq!(Scalar::read(b"\xcd\x01\x00"), Scalar::Number(256.0));
        assert_eq!(Scalar::read(b"\xff"), Scalar::Number(-1.0));
        assert_eq!(Scalar::read(b""), Scalar::Bytes(b""));
        assert_eq!(Scalar::read(b"\xc0"), Scalar::Bytes(b"\xc0"));
        assert_eq!(Scalar::read(&[0x91; 100_000]), Scalar::Bytes(&[0x91; 100_000]));
    }
}
