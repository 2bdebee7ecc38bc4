//! Payloads and results: bytes at hand, or the name of bytes that the journal holds.

use bytes::Bytes;

use crate::record::{Lsn, Record};

/// A payload or a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// The bytes themselves.
    Inline(Bytes),
    /// The bytes are in the journal, and are read when they are sent.
    Stored(Stored),
}

/// The name of a value in the journal: the record that holds it, and its place there.
///
/// The places of a record are numbered as [`Record::values`] goes through them. A name is good from the
/// moment when its record is safe until everything before a later record is let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stored {
    /// The record.
    pub lsn: Lsn,
    /// The place in it.
    pub index: u32,
    /// How many bytes it has.
    pub len: u32,
}

impl Data {
    /// How many bytes it has, wherever they are.
    pub fn len(&self) -> usize {
        match self {
            Self::Inline(bytes) => bytes.len(),
            Self::Stored(stored) => stored.len as usize,
        }
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes, if they are at hand.
    pub fn inline(&self) -> Option<&Bytes> {
        match self {
            Self::Inline(bytes) => Some(bytes),
            Self::Stored(_) => None,
        }
    }

    /// The name, if the bytes are in the journal.
    pub fn stored(&self) -> Option<Stored> {
        match self {
            Self::Inline(_) => None,
            Self::Stored(stored) => Some(*stored),
        }
    }

    /// Whether this is not only equal but the same: the same place in memory, or the same name.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Inline(one), Self::Inline(other)) => {
                one.as_ptr() == other.as_ptr() && one.len() == other.len()
            }
            (one, other) => one == other,
        }
    }
}

impl Default for Data {
    fn default() -> Self {
        Self::Inline(Bytes::new())
    }
}

impl From<Bytes> for Data {
    fn from(bytes: Bytes) -> Self {
        Self::Inline(bytes)
    }
}

impl From<Vec<u8>> for Data {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Inline(bytes.into())
    }
}

impl From<&'static [u8]> for Data {
    fn from(bytes: &'static [u8]) -> Self {
        Self::Inline(Bytes::from_static(bytes))
    }
}

impl PartialEq<Bytes> for Data {
    fn eq(&self, other: &Bytes) -> bool {
        self.inline() == Some(other)
    }
}

impl Record {
    /// Its payloads and results, each with its place: the place of a task, or of a settlement, in its record.
    /// A carried task has two, its payload at twice its place and its result after that.
    pub fn values(&self) -> impl Iterator<Item = (u32, &Data)> {
        let (tasks, settled, carried) = match self {
            Self::Accepted { tasks, .. } => (&tasks[..], &[][..], &[][..]),
            Self::Settled { tasks, .. } => (&[][..], &tasks[..], &[][..]),
            Self::CarriedTasks(tasks) => (&[][..], &[][..], &tasks[..]),
            _ => (&[][..], &[][..], &[][..]),
        };
        let tasks = (0..).zip(tasks.iter().map(|task| &task.payload));
        let settled = (0..).zip(settled.iter().map(|settlement| &settlement.result));
        let carried = (0..).zip(carried).flat_map(|(place, carried)| {
            let result = carried.settled.as_ref().map(|settled| (2 * place + 1, &settled.result));
            std::iter::once((2 * place, &carried.task.payload)).chain(result)
        });
        tasks.chain(settled).chain(carried)
    }

    /// The same, to change them.
    pub fn values_mut(&mut self) -> impl Iterator<Item = (u32, &mut Data)> {
        let (tasks, settled, carried) = match self {
            Self::Accepted { tasks, .. } => (&mut tasks[..], &mut [][..], &mut [][..]),
            Self::Settled { tasks, .. } => (&mut [][..], &mut tasks[..], &mut [][..]),
            Self::CarriedTasks(tasks) => (&mut [][..], &mut [][..], &mut tasks[..]),
            _ => (&mut [][..], &mut [][..], &mut [][..]),
        };
        let tasks = (0..).zip(tasks.iter_mut().map(|task| &mut task.payload));
        let settled = (0..).zip(settled.iter_mut().map(|settlement| &mut settlement.result));
        let carried = (0..).zip(carried).flat_map(|(place, carried)| {
            let result = carried.settled.as_mut().map(|settled| (2 * place + 1, &mut settled.result));
            std::iter::once((2 * place, &mut carried.task.payload)).chain(result)
        });
        tasks.chain(settled).chain(carried)
    }
}

const _: () = assert!(size_of::<Data>() == size_of::<Bytes>(), "a name must not make tasks larger");
