//! MessagePack, read from memory: the counterpart of [`write`](super::write), strict.

use bytes::Bytes;
use ganger_scheduler::{Data, Lsn, Stored, Wall};
use rmp::Marker;

use super::FormatError;
use super::write::Spans;

/// Reads values one after the other.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    all: &'a [u8],
    at: usize,
    /// Payloads and results that are large are named instead of copied.
    pub(crate) spans: Spans,
}

type Result<T> = std::result::Result<T, FormatError>;

impl<'a> Reader<'a> {
    /// Reads, and notes where large values stand instead of copying them.
    pub(crate) fn noting(all: &'a [u8], spans: Spans) -> Self {
        Self { all, at: 0, spans }
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.at == self.all.len()
    }

    /// Something else was expected where the last value began, `back` bytes ago.
    pub(crate) fn expected(&self, back: usize, what: &'static str) -> FormatError {
        FormatError::Expected { at: self.at - back, what }
    }

    fn take(&mut self, len: usize, what: &'static str) -> Result<&'a [u8]> {
        let end = self.at.checked_add(len).filter(|end| *end <= self.all.len());
        let end = end.ok_or(FormatError::Short { what })?;
        let taken = &self.all[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn marker(&mut self, what: &'static str) -> Result<Marker> {
        Ok(Marker::from_u8(self.take(1, what)?[0]))
    }

    /// An unsigned number of this many bytes, most significant first.
    fn big_endian(&mut self, len: usize, what: &'static str) -> Result<u64> {
        Ok(self.take(len, what)?.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }

    pub(crate) fn uint(&mut self, what: &'static str) -> Result<u64> {
        match self.marker(what)? {
            Marker::FixPos(value) => Ok(u64::from(value)),
            Marker::U8 => self.big_endian(1, what),
            Marker::U16 => self.big_endian(2, what),
            Marker::U32 => self.big_endian(4, what),
            Marker::U64 => self.big_endian(8, what),
            _ => Err(self.expected(1, what)),
        }
    }

    pub(crate) fn uint32(&mut self, what: &'static str) -> Result<u32> {
        let value = self.uint(what)?;
        u32::try_from(value).map_err(|_| self.expected(0, what))
    }

    pub(crate) fn int(&mut self, what: &'static str) -> Result<i64> {
        match self.marker(what)? {
            Marker::FixPos(value) => Ok(i64::from(value)),
            Marker::FixNeg(value) => Ok(i64::from(value)),
            Marker::U8 => Ok(self.big_endian(1, what)? as i64),
            Marker::U16 => Ok(self.big_endian(2, what)? as i64),
            Marker::U32 => Ok(self.big_endian(4, what)? as i64),
            Marker::I8 => Ok(i64::from(self.big_endian(1, what)? as u8 as i8)),
            Marker::I16 => Ok(i64::from(self.big_endian(2, what)? as u16 as i16)),
            Marker::I32 => Ok(i64::from(self.big_endian(4, what)? as u32 as i32)),
            Marker::I64 => Ok(self.big_endian(8, what)? as i64),
            _ => Err(self.expected(1, what)),
        }
    }

    pub(crate) fn flag(&mut self, what: &'static str) -> Result<bool> {
        match self.marker(what)? {
            Marker::True => Ok(true),
            Marker::False => Ok(false),
            _ => Err(self.expected(1, what)),
        }
    }

    pub(crate) fn bin(&mut self, what: &'static str) -> Result<&'a [u8]> {
        let len = match self.marker(what)? {
            Marker::Bin8 => self.big_endian(1, what)?,
            Marker::Bin16 => self.big_endian(2, what)?,
            Marker::Bin32 => self.big_endian(4, what)?,
            _ => return Err(self.expected(1, what)),
        };
        self.take(len as usize, what)
    }

    /// Bytes of their own: a slice of the body would keep the whole body for a part of it that may be all
    /// that is still wanted.
    pub(crate) fn bytes(&mut self, what: &'static str) -> Result<Bytes> {
        self.bin(what).map(Bytes::copy_from_slice)
    }

    /// A payload or a result. One that is large is named after its place among those that were noted: the
    /// record that it is in is not known here.
    pub(crate) fn data(&mut self, what: &'static str) -> Result<Data> {
        let value = self.bin(what)?;
        if !self.spans.note(self.at, value) {
            return Ok(Data::Inline(Bytes::copy_from_slice(value)));
        }
        let (index, len) = (self.spans.found.len() as u32 - 1, value.len() as u32);
        Ok(Data::Stored(Stored { lsn: Lsn(0), index, len }))
    }

    pub(crate) fn id(&mut self, what: &'static str) -> Result<[u8; 16]> {
        let bytes = self.bin(what)?;
        bytes.try_into().map_err(|_| self.expected(bytes.len(), what))
    }

    pub(crate) fn text(&mut self, what: &'static str) -> Result<&'a str> {
        let len = match self.marker(what)? {
            Marker::FixStr(len) => u64::from(len),
            Marker::Str8 => self.big_endian(1, what)?,
            Marker::Str16 => self.big_endian(2, what)?,
            Marker::Str32 => self.big_endian(4, what)?,
            _ => return Err(self.expected(1, what)),
        };
        let bytes = self.take(len as usize, what)?;
        std::str::from_utf8(bytes).map_err(|_| self.expected(bytes.len(), what))
    }

    pub(crate) fn wall(&mut self, what: &'static str) -> Result<Wall> {
        self.uint(what).map(Wall)
    }

    /// A list; how many values it has. No more than there are bytes left, since each takes at least one.
    pub(crate) fn array(&mut self, what: &'static str) -> Result<usize> {
        let len = match self.marker(what)? {
            Marker::FixArray(len) => usize::from(len),
            Marker::Array16 => self.big_endian(2, what)? as usize,
            Marker::Array32 => self.big_endian(4, what)? as usize,
            _ => return Err(self.expected(1, what)),
        };
        match len <= self.all.len() - self.at {
            true => Ok(len),
            false => Err(FormatError::Short { what }),
        }
    }

    /// A list of exactly so many values.
    pub(crate) fn fields(&mut self, len: usize, what: &'static str) -> Result<()> {
        match self.array(what)? == len {
            true => Ok(()),
            false => Err(self.expected(0, what)),
        }
    }

    pub(crate) fn list<T>(
        &mut self,
        what: &'static str,
        mut read: impl FnMut(&mut Self) -> Result<T>,
    ) -> Result<Vec<T>> {
        let len = self.array(what)?;
        // The bytes may be hostile: what was counted is believed only as far as it has come.
        let mut values = Vec::with_capacity(len.min(4096));
        for _ in 0..len {
            values.push(read(self)?);
        }
        values.shrink_to_fit();
        Ok(values)
    }

    /// A value that may be nil.
    pub(crate) fn option<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T>) -> Result<Option<T>> {
        if self.all.get(self.at) == Some(&Marker::Null.to_u8()) {
            self.at += 1;
            return Ok(None);
        }
        read(self).map(Some)
    }
}
