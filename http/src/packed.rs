//! Any value of a body as the MessagePack that a handler gets.
//!
//! It is written while it is read. A tree of values in between would be thirty times as large as the body that
//! it came from, and whoever sends 24 MiB of short numbers must not cost that.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use ganger_client::json::BYTES_KEY;
use rmp::encode;
use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// A value, packed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Packed(pub(crate) Bytes);

impl<'de> Deserialize<'de> for Packed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut out = Vec::new();
        Packing { out: &mut out, note: &mut Note::default() }.deserialize(deserializer)?;
        Ok(Self(out.into()))
    }
}

/// A value that is there is one, null as well.
pub(crate) fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Packed>, D::Error> {
    Packed::deserialize(deserializer).map(Some)
}

/// What the value just packed was, as far as `$bytes` needs to know.
#[derive(Default)]
struct Note {
    /// It was a text; where its letters begin.
    text_from: Option<usize>,
}

/// Packs one value.
struct Packing<'a> {
    out: &'a mut Vec<u8>,
    note: &'a mut Note,
}

/// Writing into memory does not fail.
fn written<T, E, F: Error>(result: Result<T, E>) -> Result<T, F> {
    result.map_err(|_| F::custom("cannot be written as MessagePack"))
}

impl<'de> DeserializeSeed<'de> for Packing<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        self.note.text_from = None;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Packing<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        written(encode::write_bool(self.out, value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        written(encode::write_sint(self.out, value).map(drop))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        written(encode::write_uint(self.out, value).map(drop))
    }

    fn visit_f32<E: Error>(self, value: f32) -> Result<(), E> {
        written(encode::write_f32(self.out, value))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        written(encode::write_f64(self.out, value))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        written(encode::write_str(self.out, text))?;
        self.note.text_from = Some(self.out.len() - text.len());
        Ok(())
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<(), E> {
        written(encode::write_bin(self.out, bytes))
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        written(encode::write_nil(self.out))
    }

    fn visit_none<E: Error>(self) -> Result<(), E> {
        self.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, _: D) -> Result<(), D::Error> {
        Err(D::Error::custom("extension types of MessagePack are not taken here; send them as payload_bytes"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let (from, mut count) = (self.out.len(), 0);
        while seq.next_element_seed(Packing { out: self.out, note: self.note })?.is_some() {
            count += 1;
        }
        put_header(self.out, from, |header| encode::write_array_len(header, count).map(drop))?;
        self.note.text_from = None;
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let (from, mut count, mut is_bytes) = (self.out.len(), 0, false);
        let Self { out, note } = self;
        loop {
            let key_from = out.len();
            if map.next_key_seed(Packing { out, note })?.is_none() {
                break;
            }
            count += 1;
            let key = note.text_from.filter(|text| *text > key_from);
            is_bytes = count == 1 && key.is_some_and(|text| &out[text..] == BYTES_KEY.as_bytes());
            map.next_value_seed(Packing { out, note })?;
        }
        if is_bytes {
            return put_bytes(out, from, note.text_from);
        }
        note.text_from = None;
        put_header(out, from, |header| encode::write_map_len(header, count).map(drop))
    }
}

/// How many there are is known at the end, and stands at the beginning. What is moved for that is moved once
/// for each level of nesting.
fn put_header<E: Error, W>(
    out: &mut Vec<u8>,
    from: usize,
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), W>,
) -> Result<(), E> {
    let mut header = Vec::with_capacity(5);
    written(write(&mut header))?;
    out.splice(from..from, header);
    Ok(())
}

/// An object that stands for bytes becomes bytes.
fn put_bytes<E: Error>(out: &mut Vec<u8>, from: usize, text_from: Option<usize>) -> Result<(), E> {
    let wrong = || E::custom(format!("{BYTES_KEY} needs an even number of hexadecimal digits"));
    let digits = &out[text_from.ok_or_else(wrong)?..];
    if !digits.len().is_multiple_of(2) {
        return Err(wrong());
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let bytes = digits.chunks_exact(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?));
    let bytes = bytes.collect::<Option<Vec<u8>>>().ok_or_else(wrong)?;
    out.truncate(from);
    written(encode::write_bin(out, &bytes))
}

/// Bytes that come as text, in base64.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Base64(pub(crate) Bytes);

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        let bytes = STANDARD.decode(text.as_bytes());
        bytes.map(|bytes| Self(bytes.into())).map_err(|_| D::Error::custom("this is no base64"))
    }
}

/// Bytes that come as they are, which only MessagePack can.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Raw(pub(crate) Bytes);

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Take;
        impl Visitor<'_> for Take {
            type Value = Raw;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes, as MessagePack has them")
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Raw, E> {
                Ok(Raw(Bytes::copy_from_slice(bytes)))
            }
        }
        // Not `deserialize_bytes`, for which JSON takes texts.
        deserializer.deserialize_any(Take)
    }
}

#[cfg(test)]
mod tests {
    use ganger_client::json;
    use serde_json::Value;

    use super::*;

    fn packed(text: &str) -> Result<Vec<u8>, String> {
        serde_json::from_str::<Packed>(text)
            .map(|packed| packed.0.to_vec())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_packed_while_it_is_read_is_what_the_client_library_packs() {
        for text in [
            "null",
            "[]",
            "{}",
            "-1",
            "18446744073709551615",
            "1.5",
            "\"ä\"",
            r#"{"a":[1,{"b":null,"c":[]}],"d":""}"#,
            r#"{"$bytes":"00ff"}"#,
            r#"{"x":{"$bytes":""},"$bytes":"not alone"}"#,
            r#"{"$bytes":"not alone","y":1}"#,
            r#"[["$bytes","00"],{"data":{"$bytes":"AbCd"}}]"#,
        ] {
            let value: Value = serde_json::from_str(text).unwrap();
            let (ours, theirs) = (packed(text).unwrap(), json::to_msgpack(&value).unwrap());
            // The library sorts the keys of objects; here they stay as they came.
            assert_eq!(json::from_msgpack(&ours), json::from_msgpack(&theirs), "{text}");
            assert_eq!(ours.len(), theirs.len(), "{text}");
        }
        let long = format!("[{}1]", "1,".repeat(70_000));
        let value: Value = serde_json::from_str(&long).unwrap();
        assert_eq!(packed(&long).unwrap(), json::to_msgpack(&value).unwrap());
    }

    #[test]
    fn messagepack_goes_through_as_it_is() {
        let value = serde_json::json!({"a": [1, -2, 1.5, null, true], "b": {"$bytes": "00ff"}});
        let bytes = json::to_msgpack(&value).unwrap();
        assert_eq!(rmp_serde::from_slice::<Packed>(&bytes).unwrap().0, bytes);
    }

    #[test]
    fn what_stands_for_bytes_and_has_none_is_refused() {
        for text in [r#"{"$bytes":"0"}"#, r#"{"$bytes":"zz"}"#, r#"{"$bytes":5}"#, r#"{"$bytes":["00"]}"#] {
            assert!(packed(text).unwrap_err().contains("hexadecimal"), "{text}");
        }
    }

    #[test]
    fn endless_nesting_is_refused() {
        assert!(packed(&"[".repeat(1_000_000)).is_err());
    }
}
