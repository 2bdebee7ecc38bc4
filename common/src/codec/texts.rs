//! A look over a frame before it is decoded: no text in it may be longer than any text of ours.
//!
//! Whoever decodes a text where it expects something else quotes it in its error, escaped. That would let
//! one message cost many times its size, so the lengths are checked first.

use crate::limits::ANY_TEXT_BYTES_MAX;

/// Whether a text of the frame is too long.
///
/// The tokens of MessagePack stand one after the other, whatever they are nested in, so one walk without
/// a stack sees them all. It ends at damage, which is left for the decoder to report.
pub(super) fn has_too_long(frame: &[u8]) -> bool {
    // Shorter frames have no room for one.
    if frame.len() <= ANY_TEXT_BYTES_MAX {
        return false;
    }
    let mut at = 0;
    while let Some(token) = Token::read(frame, at) {
        if token.is_text && token.data > ANY_TEXT_BYTES_MAX {
            return true;
        }
        at = at.saturating_add(token.head + token.data);
    }
    false
}

/// One token: its head, and the data that follows it. The children of arrays and maps are tokens of their
/// own.
struct Token {
    head: usize,
    data: usize,
    is_text: bool,
}

impl Token {
    fn read(frame: &[u8], at: usize) -> Option<Self> {
        let first = *frame.get(at)?;
        let number = |width: usize| {
            let bytes = frame.get(at + 1..at + 1 + width)?;
            Some(bytes.iter().fold(0, |number, byte| number << 8 | usize::from(*byte)))
        };
        let (head, data) = match first {
            0xa0..=0xbf => (1, usize::from(first & 0x1f)),
            0xc4 | 0xd9 => (2, number(1)?),
            0xc5 | 0xda => (3, number(2)?),
            0xc6 | 0xdb => (5, number(4)?),
            // Extensions have a byte for their type.
            0xc7 => (3, number(1)?),
            0xc8 => (4, number(2)?),
            0xc9 => (6, number(4)?),
            0xd4..=0xd8 => (2, 1 << (first - 0xd4)),
            0xcc | 0xd0 => (2, 0),
            0xcd | 0xd1 | 0xdc | 0xde => (3, 0),
            0xca | 0xce | 0xd2 | 0xdd | 0xdf => (5, 0),
            0xcb | 0xcf | 0xd3 => (9, 0),
            _ => (1, 0),
        };
        Some(Self { head, data, is_text: first == 0xdb })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(length: usize) -> Vec<u8> {
        let mut bytes = vec![0xdb];
        bytes.extend((length as u32).to_be_bytes());
        bytes.resize(5 + length, b'x');
        bytes
    }

    #[test]
    fn a_text_at_the_limit_passes_and_one_beyond_is_found() {
        assert!(!has_too_long(&text(ANY_TEXT_BYTES_MAX)));
        assert!(has_too_long(&text(ANY_TEXT_BYTES_MAX + 1)));
    }

    #[test]
    fn the_same_bytes_inside_of_binary_data_are_no_text() {
        let inner = text(ANY_TEXT_BYTES_MAX + 1);
        let mut bytes = vec![0xc6];
        bytes.extend((inner.len() as u32).to_be_bytes());
        bytes.extend(inner);
        assert!(!has_too_long(&bytes));
    }

    /// One token of every kind before the text: a wrong length of any would lose the way.
    #[test]
    fn a_text_is_found_behind_every_other_token() {
        let mut bytes = Vec::new();
        let mut one = |head: &[u8], data: usize| {
            bytes.extend(head);
            bytes.resize(bytes.len() + data, 0xc1);
        };
        for first in (0x00..=0x9f).chain(0xc0..=0xc3).chain(0xe0..=0xff) {
            one(&[first], 0);
        }
        for length in 0..32 {
            one(&[0xa0 | length], usize::from(length));
        }
        for (first, width, kind) in [
            (0xc4, 1, 0),
            (0xc5, 2, 0),
            (0xc6, 4, 0),
            (0xc7, 1, 1),
            (0xc8, 2, 1),
            (0xc9, 4, 1),
            (0xd9, 1, 0),
            (0xda, 2, 0),
            (0xdb, 4, 0),
        ] {
            let mut head = vec![first];
            head.resize(width, 0);
            head.push(200);
            one(&head, 200 + kind);
        }
        for (first, data) in [(0xd4, 2), (0xd5, 3), (0xd6, 5), (0xd7, 9), (0xd8, 17)] {
            one(&[first], data);
        }
        let numbers = [
            (0xca, 4),
            (0xcb, 8),
            (0xcc, 1),
            (0xcd, 2),
            (0xce, 4),
            (0xcf, 8),
            (0xd0, 1),
            (0xd1, 2),
            (0xd2, 4),
            (0xd3, 8),
        ];
        let containers = [(0xdc, 2), (0xdd, 4), (0xde, 2), (0xdf, 4)];
        for (first, data) in numbers.into_iter().chain(containers) {
            one(&[first], data);
        }
        assert!(!has_too_long(&bytes));
        bytes.extend(text(ANY_TEXT_BYTES_MAX + 1));
        assert!(has_too_long(&bytes));
    }
}
