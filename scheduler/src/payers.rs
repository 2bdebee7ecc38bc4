//! On whose account tasks count while they have no outcome: whose share of the queue they take up, and in
//! whose line they wait.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use ganger_common::{Account, ClientId};
use slab::Slab;

/// Somebody who has tasks, for as long as that lasts. Zero is nobody, which lets an optional one take no more
/// room.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct PayerKey(NonZeroU32);

impl PayerKey {
    fn from_index(index: usize) -> Self {
        // There are at most [`PAYERS_MAX`].
        Self(NonZeroU32::MIN.saturating_add(index as u32))
    }

    fn index(self) -> usize {
        self.0.get() as usize - 1
    }
}

/// Who that is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Who {
    /// The client that handed the tasks in.
    Client(ClientId),
    /// The key with which they were handed in, by however many clients, where that is counted.
    Account(Account),
    /// Everybody for whom there was no room in the table.
    Others,
}

/// What somebody has.
#[derive(Debug)]
pub(crate) struct Payer {
    pub(crate) who: Who,
    /// Tasks that are not settled.
    pub(crate) tasks: usize,
    /// The bytes of their payloads.
    pub(crate) bytes: usize,
}

/// How many are told apart. There may be more than there are sessions, because tasks stay when their client
/// goes; whoever comes when the table is full shares a line with others. An entry and its line take some 200
/// bytes.
const PAYERS_MAX: usize = 100_000;

/// All who have tasks.
#[derive(Debug, Default)]
pub(crate) struct Payers {
    payers: Slab<Payer>,
    by_who: BTreeMap<Who, PayerKey>,
}

impl Payers {
    /// What somebody has: tasks and bytes.
    pub(crate) fn holdings(&self, who: Who) -> (usize, usize) {
        let payer = self.by_who.get(&who).and_then(|key| self.get(*key));
        payer.map_or((0, 0), |payer| (payer.tasks, payer.bytes))
    }

    /// A task counts on somebody's account from now on.
    pub(crate) fn book(&mut self, who: Who, bytes: usize) -> PayerKey {
        let key = self.by_who.get(&who).copied().unwrap_or_else(|| self.add(who));
        self.book_more(key, bytes);
        key
    }

    /// The same for somebody who has tasks already.
    pub(crate) fn book_more(&mut self, key: PayerKey, bytes: usize) {
        let payer = &mut self.payers[key.index()];
        (payer.tasks, payer.bytes) = (payer.tasks + 1, payer.bytes + bytes);
    }

    fn add(&mut self, who: Who) -> PayerKey {
        let is_full = self.payers.len() >= PAYERS_MAX && who != Who::Others;
        let who = if is_full { Who::Others } else { who };
        if let Some(others) = self.by_who.get(&who) {
            return *others;
        }
        let key = PayerKey::from_index(self.payers.insert(Payer { who, tasks: 0, bytes: 0 }));
        self.by_who.insert(who, key);
        key
    }

    /// A task does not count any more. Whoever has none is forgotten.
    pub(crate) fn release(&mut self, key: PayerKey, bytes: usize) {
        let payer = &mut self.payers[key.index()];
        (payer.tasks, payer.bytes) = (payer.tasks - 1, payer.bytes - bytes);
        if payer.tasks == 0 {
            let gone = self.payers.remove(key.index());
            self.by_who.remove(&gone.who);
        }
    }

    pub(crate) fn get(&self, key: PayerKey) -> Option<&Payer> {
        self.payers.get(key.index())
    }

    /// The client on whose own account tasks count, for the journal.
    pub(crate) fn client(&self, key: PayerKey) -> Option<ClientId> {
        match self.get(key)?.who {
            Who::Client(client) => Some(client),
            Who::Account(_) | Who::Others => None,
        }
    }

    /// Compares what is counted along the way with a recount of all tasks.
    pub(crate) fn check_counts(&self, recounted: &[(PayerKey, usize, usize)]) {
        assert_eq!(self.payers.len(), recounted.len(), "whoever has no tasks is forgotten");
        assert_eq!(self.by_who.len(), self.payers.len(), "everybody is found");
        for (key, tasks, bytes) in recounted {
            let Some(payer) = self.get(*key) else { panic!("payer {key:?} is not known") };
            assert_eq!((payer.tasks, payer.bytes), (*tasks, *bytes), "the share of {:?}", payer.who);
            assert_eq!(self.by_who.get(&payer.who), Some(key), "everybody is found");
        }
    }
}
