//! What a worker holds: tasks that wait, and slots with what is in them.

use std::collections::{BTreeSet, VecDeque};

use ganger_common::message::{Held, Lease};

use super::config::KindIndex;
use super::effect::{Assignment, CancelReason, Ticket};
use super::input::Item;
use crate::time::Time;

/// Waiting tasks and slots.
#[derive(Debug)]
pub(super) struct Hold {
    pub(super) waiting: VecDeque<Item>,
    slots: Vec<Option<Entry>>,
    free: Vec<u32>,
    /// Attempts whose start is on record; they run before anything else.
    confirmed: VecDeque<Ticket>,
    /// Ends of run limits.
    deadlines: BTreeSet<(Time, Ticket)>,
    /// Starts that were not reported. Some have ended meanwhile.
    starts: Vec<Ticket>,
    last_serial: u64,
}

/// A slot that is taken.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) ticket: Ticket,
    pub(super) lease: Lease,
    pub(super) state: State,
    pub(super) since: Time,
    pub(super) deadline: Option<Time>,
    pub(super) events: bool,
    pub(super) partials: u64,
}

/// What a slot is taken by.
#[derive(Debug)]
pub(super) enum State {
    /// An attempt whose start was reported and must be confirmed before it runs.
    Unconfirmed(Box<Item>),
    /// An attempt whose start is on record; the next free executor runs it.
    Confirmed(Box<Item>),
    /// A handler.
    Running,
    /// A handler that was told to stop, and whose end is still to be reported.
    Stopping(CancelReason),
    /// A handler whose end was reported before it came.
    Lingering,
}

impl Hold {
    pub(super) fn new(slots: u32) -> Self {
        Self {
            waiting: VecDeque::new(),
            slots: (0..slots).map(|_| None).collect(),
            free: (0..slots).rev().collect(),
            confirmed: VecDeque::new(),
            deadlines: BTreeSet::new(),
            starts: Vec::new(),
            last_serial: 0,
        }
    }

    /// How many tasks an executor would get now.
    pub(super) fn ready(&self) -> usize {
        self.confirmed.len() + self.waiting.len().min(self.free.len())
    }

    /// The kind of the task that an executor would get now. Attempts that were cancelled meanwhile are passed
    /// over.
    pub(super) fn next_kind(&self) -> Option<KindIndex> {
        let confirmed = self.confirmed.iter().find_map(|ticket| {
            let entry = self.slots.get(ticket.slot as usize)?.as_ref();
            match entry.filter(|entry| entry.ticket == *ticket).map(|entry| &entry.state) {
                Some(State::Confirmed(item)) => Some(item.kind),
                _ => None,
            }
        });
        confirmed.or_else(|| self.waiting.front().map(|item| item.kind))
    }

    /// Slots that are taken, whether a handler is in them or not.
    pub(super) fn taken(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len() + self.taken()
    }

    pub(super) fn has_starts(&self) -> bool {
        !self.starts.is_empty()
    }

    /// Gives an executor the next task, in the order of dispatch.
    pub(super) fn take(&mut self, now: Time) -> Option<Assignment> {
        while let Some(ticket) = self.confirmed.pop_front() {
            let Some(entry) = self.get_mut(ticket) else { continue };
            if let State::Confirmed(item) = std::mem::replace(&mut entry.state, State::Running) {
                entry.since = now;
                return Some(self.run(*item, ticket, now));
            }
        }
        loop {
            let slot = *self.free.last()?;
            let item = self.waiting.pop_front()?;
            self.free.pop();
            self.last_serial += 1;
            let ticket = Ticket { slot, serial: self.last_serial };
            self.starts.push(ticket);
            let mut entry = Entry {
                ticket,
                lease: item.lease,
                state: State::Running,
                since: now,
                deadline: None,
                events: item.events,
                partials: 0,
            };
            // It keeps a slot while it waits, so that "started" is true when the broker has it on record.
            if item.confirm {
                entry.state = State::Unconfirmed(Box::new(item));
                self.slots[slot as usize] = Some(entry);
                continue;
            }
            self.slots[slot as usize] = Some(entry);
            return Some(self.run(item, ticket, now));
        }
    }

    fn run(&mut self, item: Item, ticket: Ticket, now: Time) -> Assignment {
        if let Some(limit) = item.run_limit {
            let deadline = now.plus(limit);
            self.deadlines.insert((deadline, ticket));
            if let Some(entry) = self.get_mut(ticket) {
                entry.deadline = Some(deadline);
            }
        }
        let Item { lease, kind, events, trace, payload, .. } = item;
        Assignment { ticket, lease, kind, events, trace, payload }
    }

    pub(super) fn get_mut(&mut self, ticket: Ticket) -> Option<&mut Entry> {
        self.slots.get_mut(ticket.slot as usize)?.as_mut().filter(|entry| entry.ticket == ticket)
    }

    /// Empties a slot.
    pub(super) fn release(&mut self, ticket: Ticket) -> Option<Entry> {
        self.get_mut(ticket)?;
        let entry = self.slots[ticket.slot as usize].take()?;
        self.free.push(ticket.slot);
        if let Some(deadline) = entry.deadline {
            self.deadlines.remove(&(deadline, ticket));
        }
        Some(entry)
    }

    /// The start of these attempts is on record.
    pub(super) fn confirm(&mut self, leases: &[Lease]) {
        for entry in self.slots.iter_mut().flatten() {
            if !matches!(entry.state, State::Unconfirmed(_)) || !leases.contains(&entry.lease) {
                continue;
            }
            if let State::Unconfirmed(item) = std::mem::replace(&mut entry.state, State::Running) {
                entry.state = State::Confirmed(item);
                self.confirmed.push_back(entry.ticket);
            }
        }
    }

    /// Attempts that were reported as started and have not ended; at most as many as there are slots.
    pub(super) fn take_starts(&mut self) -> Vec<Lease> {
        if self.starts.is_empty() {
            return Vec::new();
        }
        let starts = std::mem::take(&mut self.starts);
        let lease = |ticket: Ticket| {
            let entry = self.slots[ticket.slot as usize].as_ref().filter(|entry| entry.ticket == ticket)?;
            (!matches!(entry.state, State::Lingering)).then_some(entry.lease)
        };
        starts.into_iter().filter_map(lease).collect()
    }

    /// Everything that has no end yet, for a hello.
    pub(super) fn holding(&mut self) -> Vec<Held> {
        // A hello tells the same as a report of these starts.
        self.starts.clear();
        let held = |lease: Lease, started| Held {
            task: lease.task,
            epoch: lease.epoch,
            attempt: lease.attempt,
            started,
        };
        let slots = self.slots.iter().flatten().filter(|entry| !matches!(entry.state, State::Lingering));
        let mut entries: Vec<&Entry> = slots.collect();
        entries.sort_by_key(|entry| entry.ticket.serial);
        let started = entries.into_iter().map(|entry| held(entry.lease, true));
        started.chain(self.waiting.iter().map(|item| held(item.lease, false))).collect()
    }

    /// Tickets in the order of their slots, with what is in them.
    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.slots.iter().flatten()
    }

    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// An attempt whose run limit has passed.
    pub(super) fn pop_overdue(&mut self, now: Time) -> Option<Ticket> {
        match self.deadlines.first() {
            Some((deadline, _)) if *deadline <= now => self.deadlines.pop_first().map(|(_, ticket)| ticket),
            _ => None,
        }
    }
}
