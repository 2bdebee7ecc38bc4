//! MessagePack, written into memory: the few kinds of values that records are made of.

use bytes::Bytes;
use ganger_scheduler::Wall;
use rmp::encode;

/// Writes values one after the other.
#[derive(Debug)]
pub(crate) struct Writer<'a> {
    into: &'a mut Vec<u8>,
}

// Writing into memory cannot fail, so what `rmp` answers has nothing to tell.
impl<'a> Writer<'a> {
    pub(crate) fn new(into: &'a mut Vec<u8>) -> Self {
        Self { into }
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

    pub(crate) fn bytes(&mut self, value: &Bytes) {
        self.bin(value);
    }
}
