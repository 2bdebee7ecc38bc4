//! JSON outside, MessagePack inside.
//!
//! People and scripts write JSON; payloads and results of tasks are MessagePack, so that a handler needs
//! one decoder. What JSON cannot say:
//! - Bytes (MessagePack `bin`) are shown as `{"$bytes": "68690a"}`, in hexadecimal, and read from that.
//! - A result that is no MessagePack at all is shown as text when it is UTF-8, and as `$bytes` otherwise.
//!
//! Keys of maps become texts; numbers that JSON has no way to write (NaN and the infinities) become null.

use std::fmt::Write as _;

use ganger_common::limits::DEPTH_MAX;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use serde_json::{Map, Number, Value, json};

/// The key of an object that stands for bytes.
pub const BYTES_KEY: &str = "$bytes";

/// Deepest nesting that is read. Deeper is somebody's mistake, and would cost stack.
const NESTING_MAX: usize = DEPTH_MAX * 8;

/// Why a JSON value cannot be sent. Another value helps.
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    /// `$bytes` without a string of hexadecimal digits.
    #[error("{BYTES_KEY} needs an even number of hexadecimal digits")]
    Bytes,
    /// It does not fit MessagePack.
    #[error("cannot be written as MessagePack: {0}")]
    Encode(#[from] rmp_serde::encode::Error),
}

/// Writes a JSON value as MessagePack.
///
/// # Errors
/// When a `$bytes` object is malformed.
pub fn to_msgpack(value: &Value) -> Result<Vec<u8>, JsonError> {
    check(value)?;
    Ok(rmp_serde::to_vec_named(&Packed(value))?)
}

/// Reads MessagePack as a JSON value, if it is exactly one value.
pub fn from_msgpack(bytes: &[u8]) -> Option<Value> {
    let mut reader = rmp_serde::Deserializer::from_read_ref(bytes);
    reader.set_max_depth(NESTING_MAX);
    let Unpacked(value) = Unpacked::deserialize(&mut reader).ok()?;
    // The reader does not tell how much it took, but there must be nothing after it.
    match serde::de::IgnoredAny::deserialize(&mut reader) {
        Err(rmp_serde::decode::Error::InvalidMarkerRead(_)) => Some(value),
        _ => None,
    }
}

/// Shows any bytes as JSON: MessagePack as what it says, text as text, anything else as `$bytes`; nothing
/// as null.
///
/// A text that happens to be one valid MessagePack value is taken for that only if it is longer than one
/// byte or no printable character: `"A"` is also the number 65, and people mean the letter.
pub fn show(bytes: &[u8]) -> Value {
    if bytes.is_empty() {
        return Value::Null;
    }
    let is_one_letter = bytes.len() == 1 && (0x20..0x7f).contains(&bytes[0]);
    match (from_msgpack(bytes).filter(|_| !is_one_letter), std::str::from_utf8(bytes)) {
        (Some(value), _) => value,
        (None, Ok(text)) => Value::String(text.to_owned()),
        (None, Err(_)) => json!({ BYTES_KEY: hex(bytes) }),
    }
}

/// Bytes in hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    digits.chunks_exact(2).map(byte).collect()
}

/// The hexadecimal text of an object that stands for bytes.
fn bytes_of(object: &Map<String, Value>) -> Option<&Value> {
    object.get(BYTES_KEY).filter(|_| object.len() == 1)
}

fn check(value: &Value) -> Result<(), JsonError> {
    match value {
        Value::Array(items) => items.iter().try_for_each(check),
        Value::Object(object) => match bytes_of(object) {
            Some(text) => text.as_str().and_then(unhex).map(drop).ok_or(JsonError::Bytes),
            None => object.values().try_for_each(check),
        },
        _ => Ok(()),
    }
}

/// A JSON value on its way out.
struct Packed<'a>(&'a Value);

impl Serialize for Packed<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Array(items) => {
                let mut seq = serializer.serialize_seq(Some(items.len()))?;
                for item in items {
                    seq.serialize_element(&Packed(item))?;
                }
                seq.end()
            }
            Value::Object(object) => {
                if let Some(bytes) = bytes_of(object).and_then(Value::as_str).and_then(unhex) {
                    return serializer.serialize_bytes(&bytes);
                }
                let mut map = serializer.serialize_map(Some(object.len()))?;
                for (key, value) in object {
                    map.serialize_entry(key, &Packed(value))?;
                }
                map.end()
            }
            plain => plain.serialize(serializer),
        }
    }
}

/// A JSON value on its way in.
struct Unpacked(Value);

impl<'de> Deserialize<'de> for Unpacked {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UnpackedVisitor).map(Self)
    }
}

struct UnpackedVisitor;

impl<'de> Visitor<'de> for UnpackedVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a value that JSON can show")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.to_owned()))
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Value, E> {
        Ok(json!({ BYTES_KEY: hex(bytes) }))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        // An extension type: a number and bytes.
        Vec::<Unpacked>::deserialize(deserializer).map(|items| items.into_iter().map(|item| item.0).collect())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(Unpacked(item)) = seq.next_element()? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some((Unpacked(key), Unpacked(value))) = map.next_entry()? {
            let key = match key {
                Value::String(text) => text,
                other => other.to_string(),
            };
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_survives_the_way_there_and_back() {
        for text in [
            "null",
            "true",
            "-1",
            "18446744073709551615",
            "-9223372036854775808",
            "1.5",
            "\"ä\"",
            "[]",
            "{}",
            r#"{"a":[1,{"b":null}],"c":"","$bytes":"not alone so not bytes"}"#,
            r#"{"data":{"$bytes":"00ff"}}"#,
        ] {
            let value: Value = serde_json::from_str(text).unwrap();
            assert_eq!(from_msgpack(&to_msgpack(&value).unwrap()), Some(value), "{text}");
        }
    }

    #[test]
    fn bytes_travel_as_bytes() {
        let packed = to_msgpack(&json!({ "$bytes": "68690a" })).unwrap();
        assert_eq!(packed, [0xc4, 3, b'h', b'i', b'\n']);
    }

    #[test]
    fn malformed_bytes_are_refused() {
        for text in ["0", "zz", "é0"] {
            assert!(to_msgpack(&json!([{ "$bytes": text }])).is_err(), "{text}");
        }
        assert!(to_msgpack(&json!({ "$bytes": 5 })).is_err());
    }

    #[test]
    fn what_is_no_messagepack_is_shown_as_text_or_hexadecimal() {
        assert_eq!(show(b""), Value::Null);
        assert_eq!(show(b"hello world"), json!("hello world"));
        assert_eq!(show(b"A"), json!("A"));
        assert_eq!(show(&[0xc1, 0xff]), json!({ "$bytes": "c1ff" }));
        assert_eq!(show(&to_msgpack(&json!({ "n": 1 })).unwrap()), json!({ "n": 1 }));
    }

    #[test]
    fn what_json_cannot_write_becomes_null() {
        let nan = rmp_serde::to_vec(&f64::NAN).unwrap();
        assert_eq!(from_msgpack(&nan), Some(Value::Null));
    }

    #[test]
    fn endless_nesting_is_refused() {
        assert_eq!(from_msgpack(&vec![0x91; 100_000]), None);
    }
}
