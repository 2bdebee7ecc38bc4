//! What a disk may hold after a crash: everything that was synced, and of what was written since, as much
//! or as little as the variant says.

use std::collections::BTreeMap;

use super::support::Files;
use super::vfs::Op;

/// What becomes of writes that were not synced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fate {
    /// All of them are there: the process was killed, the system was not.
    Kept,
    /// None of them is.
    Lost,
    /// They reached the disk in another order: of each file, those in odd places are there.
    Odd,
    /// Those in even places are.
    Even,
    /// The newest is there, and none before it.
    OnlyLast,
    /// All but the oldest are there.
    AllButFirst,
}

pub(crate) const FATES: [Fate; 6] =
    [Fate::Kept, Fate::Lost, Fate::Odd, Fate::Even, Fate::OnlyLast, Fate::AllButFirst];

/// Files as the disk has them, and what was done to them since.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    files: BTreeMap<String, Kept>,
}

#[derive(Clone, Debug, Default)]
struct Kept {
    /// Absent: there is no such file.
    synced: Option<Vec<u8>>,
    pending: Vec<Op>,
}

impl Disk {
    /// A disk on which all of this is safe.
    pub(crate) fn of(files: &Files) -> Self {
        let kept = |bytes: &Vec<u8>| Kept { synced: Some(bytes.clone()), pending: Vec::new() };
        Self { files: files.iter().map(|(name, bytes)| (name.clone(), kept(bytes))).collect() }
    }

    pub(crate) fn apply(&mut self, op: &Op) {
        let (Op::Write { file, .. } | Op::Truncate { file, .. } | Op::Sync { file } | Op::Delete { file }) =
            op;
        let kept = self.files.entry(file.clone()).or_default();
        match op {
            Op::Sync { .. } => {
                kept.synced = kept.content(Fate::Kept);
                kept.pending.clear();
            }
            op => kept.pending.push(op.clone()),
        }
    }

    /// What is found after a crash.
    pub(crate) fn crash(&self, fate: Fate) -> Files {
        let found = self.files.iter().filter_map(|(name, kept)| Some((name.clone(), kept.content(fate)?)));
        found.collect()
    }
}

impl Kept {
    fn content(&self, fate: Fate) -> Option<Vec<u8>> {
        let count = self.pending.len();
        let survives = |place: usize| match fate {
            Fate::Kept => true,
            Fate::Lost => false,
            Fate::Odd => place % 2 == 1,
            Fate::Even => place.is_multiple_of(2),
            Fate::OnlyLast => place + 1 == count,
            Fate::AllButFirst => place > 0,
        };
        let mut content = self.synced.clone();
        for (place, op) in self.pending.iter().enumerate() {
            if survives(place) {
                content = done(content, op);
            }
        }
        content
    }
}

fn done(content: Option<Vec<u8>>, op: &Op) -> Option<Vec<u8>> {
    match op {
        Op::Write { at, bytes, .. } => {
            let mut content = content.unwrap_or_default();
            content.resize(content.len().max(at + bytes.len()), 0);
            content[*at..at + bytes.len()].copy_from_slice(bytes);
            Some(content)
        }
        Op::Truncate { len, .. } => content.map(|mut content| {
            content.resize(*len, 0);
            content
        }),
        Op::Delete { .. } => None,
        Op::Sync { .. } => content,
    }
}

/// A write of which only a part reached the disk.
pub(crate) fn torn(op: &Op) -> Vec<Op> {
    let Op::Write { file, at, bytes } = op else { return Vec::new() };
    let part = |len: usize| Op::Write { file: file.clone(), at: *at, bytes: bytes[..len].to_vec() };
    let lengths = [1, bytes.len() / 2, bytes.len() / 512 * 512, bytes.len().saturating_sub(1)];
    let mut lengths: Vec<usize> = lengths.into_iter().filter(|len| (1..bytes.len()).contains(len)).collect();
    lengths.dedup();
    lengths.into_iter().map(part).collect()
}
