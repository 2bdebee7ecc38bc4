//! Counting words: the map and the reduce of the usual example.

use std::collections::BTreeMap;

use serde::de::{Deserialize, Deserializer, SeqAccess, Visitor};

use super::scalar::Scalar;
use crate::error::HandlerError;

type Counts = BTreeMap<String, u64>;

/// Counts the words of a text: runs of letters and digits, in lower case.
pub(super) fn count(payload: &[u8]) -> Result<Vec<u8>, HandlerError> {
    let text = match Scalar::read(payload) {
        Scalar::Bytes(bytes) => String::from_utf8_lossy(bytes),
        Scalar::Number(_) => String::from_utf8_lossy(payload),
    };
    let mut counts = Counts::new();
    for word in text.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty()) {
        let word = word.to_lowercase();
        *counts.entry(word).or_default() += 1;
    }
    Ok(rmp_serde::to_vec(&counts)?)
}

/// Adds up an array of counts.
pub(super) fn merge(payload: &[u8]) -> Result<Vec<u8>, HandlerError> {
    let Merged(counts) = rmp_serde::from_slice(payload).map_err(|error| {
        HandlerError::new(format_args!("takes an array of maps of word to count: {error}")).fatal()
    })?;
    Ok(rmp_serde::to_vec(&counts)?)
}

/// Adds up while it reads, so that only one of the maps is there at a time.
struct Merged(Counts);

impl<'de> Deserialize<'de> for Merged {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MergedVisitor;
        impl<'de> Visitor<'de> for MergedVisitor {
            type Value = Merged;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an array of maps of word to count")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Merged, A::Error> {
                let mut counts = Counts::new();
                while let Some(part) = parts.next_element::<Counts>()? {
                    for (word, count) in part {
                        let sum = counts.entry(word).or_default();
                        *sum = sum.saturating_add(count);
                    }
                }
                Ok(Merged(counts))
            }
        }
        deserializer.deserialize_seq(MergedVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(bytes: &[u8]) -> Vec<(String, u64)> {
        rmp_serde::from_slice::<Counts>(bytes).unwrap().into_iter().collect()
    }

    #[test]
    fn words_are_counted_in_lower_case() {
        let expected = [("42".to_owned(), 1), ("straße".to_owned(), 1), ("the".to_owned(), 2)];
        let text = "The, the 42 (Straße)";
        assert_eq!(counts(&count(text.as_bytes()).unwrap()), expected);
        assert_eq!(counts(&count(&rmp_serde::to_vec(text).unwrap()).unwrap()), expected);
    }

    #[test]
    fn merged_counts_are_sums() {
        let parts = [count(b"a b a").unwrap(), count(b"b c").unwrap()];
        let array = [vec![0x92], parts.concat()].concat();
        let sums = [("a".to_owned(), 2), ("b".to_owned(), 2), ("c".to_owned(), 1)];
        assert_eq!(counts(&merge(&array).unwrap()), sums);
        assert!(merge(b"no array").unwrap_err().is_final);
    }
}
