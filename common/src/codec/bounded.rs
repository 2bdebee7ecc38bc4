//! Values that know their limit and check it before they allocate.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};

use crate::code::ErrorCode;
use crate::limits::PAYLOAD_BYTES_MAX;

const BYTES: &str = "bytes";
const BYTES_OF_TEXT: &str = "bytes of text";
const ELEMENTS: &str = "elements";

/// Opaque bytes (MessagePack `bin`), borrowed from the frame and at most [`PAYLOAD_BYTES_MAX`] long.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Blob<'a>(pub &'a [u8]);

impl fmt::Debug for Blob<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Blob({} bytes)", self.0.len())
    }
}

impl Serialize for Blob<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Blob<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct BlobVisitor;
        impl<'de> Visitor<'de> for BlobVisitor {
            type Value = Blob<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("binary data")
            }

            fn visit_borrowed_bytes<E: de::Error>(self, bytes: &'de [u8]) -> Result<Blob<'de>, E> {
                if bytes.len() > PAYLOAD_BYTES_MAX {
                    return Err(over(BYTES, bytes.len(), PAYLOAD_BYTES_MAX));
                }
                Ok(Blob(bytes))
            }
        }
        deserializer.deserialize_bytes(BlobVisitor)
    }
}

/// A text of at most `MAX` bytes, borrowed from the frame.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Text<'a, const MAX: usize>(pub &'a str);

impl<const MAX: usize> Deref for Text<'_, MAX> {
    type Target = str;

    fn deref(&self) -> &str {
        self.0
    }
}

impl<'a, const MAX: usize> From<&'a str> for Text<'a, MAX> {
    /// Cuts a text that is too long at the last character that fits: a long error text must not turn
    /// its report into a message that nobody takes.
    fn from(text: &'a str) -> Self {
        let mut end = text.len().min(MAX);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        Self(&text[..end])
    }
}

impl<const MAX: usize> Serialize for Text<'_, MAX> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0)
    }
}

impl<'de: 'a, 'a, const MAX: usize> Deserialize<'de> for Text<'a, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <&'de str>::deserialize(deserializer)?;
        if text.len() > MAX {
            return Err(over(BYTES_OF_TEXT, text.len(), MAX));
        }
        Ok(Self(text))
    }
}

/// A sequence of at most `MAX` elements.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct List<T, const MAX: usize>(pub Vec<T>);

impl<T, const MAX: usize> Default for List<T, MAX> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T, const MAX: usize> Deref for List<T, MAX> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T, const MAX: usize> From<Vec<T>> for List<T, MAX> {
    fn from(items: Vec<T>) -> Self {
        debug_assert!(items.len() <= MAX, "{} items in a list of at most {MAX}", items.len());
        Self(items)
    }
}

impl<T, const MAX: usize> FromIterator<T> for List<T, MAX> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        Self::from(Vec::from_iter(items))
    }
}

impl<T, const MAX: usize> IntoIterator for List<T, MAX> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<T: Serialize, const MAX: usize> Serialize for List<T, MAX> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for List<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ListVisitor<T, const MAX: usize>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for ListVisitor<T, MAX> {
            type Value = List<T, MAX>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "an array of at most {MAX} elements")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let declared = seq.size_hint().unwrap_or(0);
                if declared > MAX {
                    return Err(over(ELEMENTS, declared, MAX));
                }
                // What is declared is within the limit, but it is still only a claim: a handful of bytes
                // may claim thousands of elements. Growth then pays for what really comes.
                let mut items = Vec::with_capacity(declared.min(1_024));
                while let Some(item) = seq.next_element()? {
                    items.push(item);
                }
                Ok(List(items))
            }
        }
        deserializer.deserialize_seq(ListVisitor(PhantomData))
    }
}

fn over<E: de::Error>(what: &str, found: usize, most: usize) -> E {
    E::custom(format_args!("{found} {what}, at most {most} are allowed"))
}

/// The code for what [`over`] has said: serde hands on nothing but the text. No peer can write one that
/// passes for it, because words of serde's stand before everything that it quotes.
pub(super) fn code_of(reason: &str) -> Option<ErrorCode> {
    let (count, rest) = reason.split_once(' ')?;
    let (what, _) = rest.split_once(',')?;
    match what {
        _ if count.parse::<usize>().is_err() => None,
        BYTES | BYTES_OF_TEXT => Some(ErrorCode::TooLarge),
        ELEMENTS => Some(ErrorCode::TooMany),
        _ => None,
    }
}
