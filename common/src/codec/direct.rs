//! The four messages that carry tasks, read and written without a general decoder between.
//!
//! Nearly all bytes that a broker sees are tasks, ends and outcomes, in the one shape in which our own
//! encoder writes them. [`Direct::read`] knows that shape and nothing else. Whatever differs from it (keys
//! in another order, a field of a newer peer, damage, a value over its limit) is no answer, and the general
//! decoder has the whole message: it alone knows what to allow and what to say. So nothing can be accepted
//! here that it would refuse, and what is accepted means the same; the tests compare the two.

use serde::Serialize;
use uuid::Uuid;

use super::{Blob, List, Text};
use crate::ids::{Attempt, Epoch, TaskId};
use crate::limits::PAYLOAD_BYTES_MAX;
use crate::message::{
    AttemptReport, Dispatch, DispatchItem, Lease, NewTask, OutcomeItem, Outcomes, Report, Submit,
};

/// A value that is read and written directly.
pub(crate) trait Direct<'a>: Sized {
    /// Reads the value in the shape in which [`write`](Self::write) writes it. `None`: ask the general
    /// decoder.
    fn read(from: &mut Reader<'a>) -> Option<Self>;

    /// Appends the bytes that the general encoder would.
    fn write(&self, into: &mut Vec<u8>);
}

/// Reads a body that ends where the bytes end.
pub(crate) fn read<'a, T: Direct<'a>>(body: &'a [u8]) -> Option<T> {
    let mut reader = Reader { rest: body };
    let value = T::read(&mut reader)?;
    reader.rest.is_empty().then_some(value)
}

/// The bytes that were not read yet.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    #[inline]
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    #[inline]
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }

    #[inline]
    fn big_endian<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(*taken)
    }

    #[inline]
    fn number(&mut self) -> Option<u64> {
        Some(match self.byte()? {
            small @ 0x00..=0x7f => small.into(),
            0xcc => self.byte()?.into(),
            0xcd => u16::from_be_bytes(self.big_endian()?).into(),
            0xce => u32::from_be_bytes(self.big_endian()?).into(),
            0xcf => u64::from_be_bytes(self.big_endian()?),
            _ => return None,
        })
    }

    #[inline]
    fn binary(&mut self) -> Option<&'a [u8]> {
        let count = match self.byte()? {
            0xc4 => self.byte()?.into(),
            0xc5 => u16::from_be_bytes(self.big_endian()?).into(),
            0xc6 => u32::from_be_bytes(self.big_endian()?) as usize,
            _ => return None,
        };
        self.take(count)
    }

    #[inline]
    fn text(&mut self) -> Option<&'a str> {
        let count = match self.byte()? {
            short @ 0xa0..=0xbf => usize::from(short & 0x1f),
            0xd9 => self.byte()?.into(),
            0xda => u16::from_be_bytes(self.big_endian()?).into(),
            _ => return None,
        };
        std::str::from_utf8(self.take(count)?).ok()
    }

    #[inline]
    fn array(&mut self) -> Option<usize> {
        Some(match self.byte()? {
            few @ 0x90..=0x9f => usize::from(few & 0x0f),
            0xdc => u16::from_be_bytes(self.big_endian()?).into(),
            _ => return None,
        })
    }

    /// The number of fields of a message.
    fn map(&mut self) -> Option<u8> {
        let first = self.byte()?;
        (first & 0xf0 == 0x80).then_some(first & 0x0f)
    }

    /// Steps over the name of the next field, if it is this one.
    fn field(&mut self, name: &str) -> Option<()> {
        (self.text()? == name).then_some(())
    }
}

/// Appends the name of a field, which is shorter than 32 bytes.
fn put_field(name: &str, into: &mut Vec<u8>) {
    into.push(0xa0 | name.len() as u8);
    into.extend_from_slice(name.as_bytes());
}

fn put_map(fields: u8, into: &mut Vec<u8>) {
    into.push(0x80 | fields);
}

#[inline]
fn put_number(number: u64, into: &mut Vec<u8>) {
    match number {
        0..0x80 => into.push(number as u8),
        0x80..0x100 => into.extend_from_slice(&[0xcc, number as u8]),
        0x100..0x1_0000 => put_headed(0xcd, (number as u16).to_be_bytes(), into),
        0x1_0000..0x1_0000_0000 => put_headed(0xce, (number as u32).to_be_bytes(), into),
        _ => put_headed(0xcf, number.to_be_bytes(), into),
    }
}

#[inline]
fn put_headed<const N: usize>(marker: u8, bytes: [u8; N], into: &mut Vec<u8>) {
    into.push(marker);
    into.extend_from_slice(&bytes);
}

#[inline]
fn put_length(count: usize, markers: [u8; 3], into: &mut Vec<u8>) {
    let [byte, word, long] = markers;
    match count {
        0..0x100 => into.extend_from_slice(&[byte, count as u8]),
        0x100..0x1_0000 => put_headed(word, (count as u16).to_be_bytes(), into),
        // Nothing that is sent is longer: messages have a limit far below.
        _ => put_headed(long, (count as u32).to_be_bytes(), into),
    }
}

impl Direct<'_> for TaskId {
    #[inline]
    fn read(from: &mut Reader<'_>) -> Option<Self> {
        Some(Self(Uuid::from_bytes(from.binary()?.try_into().ok()?)))
    }

    #[inline]
    fn write(&self, into: &mut Vec<u8>) {
        into.extend_from_slice(&[0xc4, 16]);
        into.extend_from_slice(self.as_bytes());
    }
}

macro_rules! numbers {
    ($($name:ty: $inner:ty, $make:expr, $get:expr;)+) => {$(
        impl Direct<'_> for $name {
            #[inline]
            fn read(from: &mut Reader<'_>) -> Option<Self> {
                <$inner>::try_from(from.number()?).ok().map($make)
            }

            #[inline]
            fn write(&self, into: &mut Vec<u8>) {
                put_number(u64::from($get(self)), into);
            }
        }
    )+};
}
numbers! {
    u8: u8, |number| number, |number: &u8| *number;
    u32: u32, |number| number, |number: &u32| *number;
    u64: u64, |number| number, |number: &u64| *number;
    Attempt: u32, Attempt, |attempt: &Attempt| attempt.0;
    Epoch: u64, Epoch, |epoch: &Epoch| epoch.0;
}

impl<'a> Direct<'a> for Blob<'a> {
    #[inline]
    fn read(from: &mut Reader<'a>) -> Option<Self> {
        from.binary().filter(|bytes| bytes.len() <= PAYLOAD_BYTES_MAX).map(Self)
    }

    #[inline]
    fn write(&self, into: &mut Vec<u8>) {
        put_length(self.0.len(), [0xc4, 0xc5, 0xc6], into);
        into.extend_from_slice(self.0);
    }
}

impl<'a, const MAX: usize> Direct<'a> for Text<'a, MAX> {
    #[inline]
    fn read(from: &mut Reader<'a>) -> Option<Self> {
        from.text().filter(|text| text.len() <= MAX).map(Self)
    }

    #[inline]
    fn write(&self, into: &mut Vec<u8>) {
        match self.0.len() {
            short @ 0..32 => into.push(0xa0 | short as u8),
            long => put_length(long, [0xd9, 0xda, 0xdb], into),
        }
        into.extend_from_slice(self.0.as_bytes());
    }
}

/// No element of these lists takes fewer bytes: each has an id.
const ELEMENT_BYTES_MIN: usize = 16;

impl<'a, T: Direct<'a>, const MAX: usize> Direct<'a> for List<T, MAX> {
    fn read(from: &mut Reader<'a>) -> Option<Self> {
        let count = from.array().filter(|count| *count <= MAX)?;
        // What is declared is a claim; how many bytes are there is not.
        let mut items = Vec::with_capacity(count.min(from.rest.len() / ELEMENT_BYTES_MIN));
        for _ in 0..count {
            items.push(T::read(from)?);
        }
        Some(Self(items))
    }

    fn write(&self, into: &mut Vec<u8>) {
        match self.0.len() {
            few @ 0..16 => into.push(0x90 | few as u8),
            many @ 16..0x1_0000 => put_headed(0xdc, (many as u16).to_be_bytes(), into),
            many => put_headed(0xdd, (many as u32).to_be_bytes(), into),
        }
        self.0.iter().for_each(|item| item.write(into));
    }
}

/// Structs that travel as arrays. What stands after the bar is left to the general decoder: few have it.
macro_rules! arrays {
    ($($name:ident $(<$lt:lifetime>)? { $($field:ident)+ $(| $opt:ident)? })+) => {$(
        impl<'a> Direct<'a> for $name $(<$lt>)? {
            #[inline]
            fn read(from: &mut Reader<'a>) -> Option<Self> {
                const FIELDS: usize = 0 $(+ { let _ = stringify!($field); 1 })+;
                if from.array()? != FIELDS {
                    return None;
                }
                Some(Self { $($field: Direct::read(from)?,)+ $($opt: None,)? })
            }

            #[inline]
            fn write(&self, into: &mut Vec<u8>) {
                const FIELDS: u8 = 0 $(+ { let _ = stringify!($field); 1 })+;
                let count = FIELDS $(+ u8::from(self.$opt.is_some()))?;
                into.push(0x90 | count);
                $(self.$field.write(into);)+
                $(self.$opt.as_ref().into_iter().for_each(|value| put_general(value, into));)?
            }
        }
    )+};
}
arrays! {
    Lease { task epoch attempt }
    NewTask<'a> { id kind payload | options }
    DispatchItem<'a> { task attempt kind payload | detail }
    AttemptReport<'a> { task epoch attempt end run_us result | detail }
    OutcomeItem<'a> { task outcome attempt result | detail }
}

fn put_general<T: Serialize>(value: &T, into: &mut Vec<u8>) {
    // Writing to a Vec cannot fail, and nothing of ours is without a length.
    let mut encoder = rmp_serde::Serializer::new(into).with_struct_map();
    value.serialize(&mut encoder).expect("values of known length encode into memory");
}

impl<'a> Direct<'a> for Submit<'a> {
    fn read(from: &mut Reader<'a>) -> Option<Self> {
        if from.map()? != 2 {
            return None; // `again` is there, which is rare.
        }
        from.field("seq")?;
        let seq = from.number()?;
        from.field("tasks")?;
        Some(Self { seq, again: false, tasks: Direct::read(from)? })
    }

    fn write(&self, into: &mut Vec<u8>) {
        put_map(2 + u8::from(self.again), into);
        put_field("seq", into);
        put_number(self.seq, into);
        if self.again {
            put_field("again", into);
            into.push(0xc3);
        }
        put_field("tasks", into);
        self.tasks.write(into);
    }
}

impl<'a> Direct<'a> for Dispatch<'a> {
    fn read(from: &mut Reader<'a>) -> Option<Self> {
        if from.map()? != 2 {
            return None;
        }
        from.field("epoch")?;
        let epoch = Epoch::read(from)?;
        from.field("tasks")?;
        Some(Self { epoch, tasks: Direct::read(from)? })
    }

    fn write(&self, into: &mut Vec<u8>) {
        put_map(2, into);
        put_field("epoch", into);
        self.epoch.write(into);
        put_field("tasks", into);
        self.tasks.write(into);
    }
}

impl<'a> Direct<'a> for Report<'a> {
    fn read(from: &mut Reader<'a>) -> Option<Self> {
        if from.map()? != 4 {
            return None; // It answers a recall, which is rare.
        }
        from.field("seq")?;
        let seq = from.number()?;
        from.field("started")?;
        let started = Direct::read(from)?;
        from.field("ended")?;
        let ended = Direct::read(from)?;
        from.field("waiting")?;
        let waiting = Direct::read(from)?;
        Some(Self { seq, started, ended, waiting, recall: None })
    }

    fn write(&self, into: &mut Vec<u8>) {
        put_map(4 + u8::from(self.recall.is_some()), into);
        put_field("seq", into);
        put_number(self.seq, into);
        put_field("started", into);
        self.started.write(into);
        put_field("ended", into);
        self.ended.write(into);
        put_field("waiting", into);
        self.waiting.write(into);
        if let Some(recall) = self.recall {
            put_field("recall", into);
            put_number(recall, into);
        }
    }
}

impl<'a> Direct<'a> for Outcomes<'a> {
    fn read(from: &mut Reader<'a>) -> Option<Self> {
        if from.map()? != 2 {
            return None;
        }
        from.field("upto")?;
        let upto = from.number()?;
        from.field("items")?;
        Some(Self { upto, items: Direct::read(from)? })
    }

    fn write(&self, into: &mut Vec<u8>) {
        put_map(2, into);
        put_field("upto", into);
        put_number(self.upto, into);
        put_field("items", into);
        self.items.write(into);
    }
}

#[cfg(test)]
#[path = "direct_tests.rs"]
mod tests;
