//! MessagePack, written into memory: the few kinds of values that records are made of.

use bytes::Bytes;
use ganger_scheduler::{Data, Wall};
use rmp::encode;

/// Writes values one after the other.
#[derive(Debug)]
pub(crate) struct Writer<'a> {
    into: &'a mut Vec<u8>,
    spans: Spans,
}

/// Where payloads and results of a size stand among the bytes, in the order of
/// [`Record::values`](ganger_scheduler::Record::values).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spans {
    /// The size.
    pub(crate) min: usize,
    pub(crate) found: Vec<Span>,
}

/// Where a value stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: usize,
    /// The checksum of the value, so that what is read later can be told from what was written.
    pub(crate) sum: u32,
}

impl Spans {
    /// Notes where values of so many bytes or more stand.
    pub(crate) fn from(min: usize) -> Self {
        Self { min, found: Vec::new() }
    }

    /// A value has just ended there.
    pub(crate) fn note(&mut self, end: usize, value: &[u8]) -> bool {
        let is_large = value.len() >= self.min;
        if is_large {
            self.found.push(Span { start: end - value.len(), sum: crc32fast::hash(value) });
        }
        is_large
    }
}

// Writing into memory cannot fail, so what `rmp` answers has nothing to tell.
impl<'a> Writer<'a> {
    pub(crate) fn new(into: &'a mut Vec<u8>) -> Self {
        Self::noting(into, Spans::from(usize::MAX))
    }

    /// Writes, and notes where large values stand.
    pub(crate) fn noting(into: &'a mut Vec<u8>, spans: Spans) -> Self {
        Self { into, spans }
    }

    /// Where they stand.
    pub(crate) fn into_spans(self) -> Spans {
        self.spans
    }

    /// A list of this many values follows.
    pub(crate) fn array(&mut self, len: usize) {
        let _ = encode::write_array_len(self.into, len as u32);
    }

    pub(crate) fn uint(&mut self, value: u64) {
        let _ = encode::write_uint(self.into, value);
    }

    pub(crate) fn int(&mut self, value: i64) {
        let _ = encode::write_sint(self.into, value);
    }

    pub(crate) fn flag(&mut self, value: bool) {
        let _ = encode::write_bool(self.into, value);
    }

    pub(crate) fn nil(&mut self) {
        let _ = encode::write_nil(self.into);
    }

    pub(crate) fn bin(&mut self, value: &[u8]) {
        let _ = encode::write_bin(self.into, value);
    }

    pub(crate) fn text(&mut self, value: &str) {
        let _ = encode::write_str(self.into, value);
    }

    pub(crate) fn wall(&mut self, value: Wall) {
        self.uint(value.0);
    }

    /// A value that may be absent, which is nil.
    pub(crate) fn option<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        match value {
            Some(value) => write(self, value),
            None => self.nil(),
        }
    }

    pub(crate) fn list<'t, T>(&mut self, values: &'t [T], mut write: impl FnMut(&mut Self, &'t T)) {
        self.array(values.len());
        for value in values {
            write(self, value);
        }
    }

    /// A payload or a result, which must be at hand: whoever writes a record that only names one fetches it
    /// first.
    pub(crate) fn data(&mut self, value: &Data) {
        let Some(bytes) = value.inline() else {
            unreachable!("a value was to be written that is only named: {value:?}");
        };
        self.bytes(bytes);
        self.spans.note(self.into.len(), bytes);
    }

    pub(crate) fn bytes(&mut self, value: &Bytes) {
        self.bin(value);
    }
}
