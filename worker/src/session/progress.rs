//! What running attempts tell before they end: how far they are, and parts of their results.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use ganger_common::codec::Blob;
use ganger_common::limits::PAYLOAD_BYTES_MAX;
use ganger_common::message::{AttemptPartial, AttemptProgress, FromWorker};

use super::Session;
use super::config::{PARTIAL_BYTES_MAX, PROGRESS_INTERVAL};
use super::effect::Ticket;
use super::hold::State;
use super::link::Link;
use crate::time::Time;

/// The newest word of each attempt, told now and then however often a handler says it.
#[derive(Debug, Default)]
pub(super) struct Progress {
    told: BTreeMap<Ticket, Time>,
    latest: BTreeMap<Ticket, (Option<f32>, String)>,
    due: BTreeSet<(Time, Ticket)>,
}

impl Progress {
    pub(super) fn timeout(&self) -> Option<Time> {
        self.due.first().map(|(due, _)| *due)
    }

    pub(super) fn forget(&mut self, ticket: Ticket) {
        if self.told.is_empty() && self.latest.is_empty() {
            return;
        }
        self.told.remove(&ticket);
        if self.latest.remove(&ticket).is_some() {
            self.due.retain(|(_, other)| *other != ticket);
        }
    }

    pub(super) fn clear(&mut self) {
        self.latest.clear();
        self.due.clear();
    }

    fn note(&mut self, now: Time, ticket: Ticket, fraction: Option<f32>, text: String) {
        if self.latest.insert(ticket, (fraction, text)).is_none() {
            let due = self.told.get(&ticket).map_or(now, |told| told.plus(PROGRESS_INTERVAL));
            self.due.insert((due, ticket));
        }
    }

    fn pop(&mut self, now: Time) -> Option<(Ticket, Option<f32>, String)> {
        if self.timeout()? > now {
            return None;
        }
        let (_, ticket) = self.due.pop_first()?;
        let (fraction, text) = self.latest.remove(&ticket)?;
        self.told.insert(ticket, now);
        Some((ticket, fraction, text))
    }
}

impl Session {
    /// Notes how far an attempt is. Only the newest word is told, a few times a second, if anybody asked.
    pub fn progress(&mut self, now: Time, ticket: Ticket, fraction: Option<f32>, text: String) {
        if self.may_tell(ticket) {
            let fraction = fraction.filter(|fraction| fraction.is_finite()).map(|part| part.clamp(0.0, 1.0));
            self.progress.note(now, ticket, fraction, text);
            self.tell_progress(now);
        }
    }

    /// Sends a part of a result. Returns whether it was taken: not when nobody asked for parts, the broker
    /// is away, it is too large, or too many wait to be sent.
    pub fn partial(&mut self, ticket: Ticket, data: &Bytes) -> bool {
        if !self.may_tell(ticket)
            || data.len() > PAYLOAD_BYTES_MAX
            || self.partial_bytes.saturating_add(data.len()) > PARTIAL_BYTES_MAX
        {
            return false;
        }
        let Some(entry) = self.hold.get_mut(ticket) else { return false };
        let (lease, index) = (entry.lease, entry.partials);
        entry.partials += 1;
        self.partial_bytes += data.len() + std::mem::size_of::<AttemptPartial<'_>>();
        self.send(&FromWorker::Partial(AttemptPartial { lease, index, data: Blob(data) }));
        true
    }

    fn may_tell(&mut self, ticket: Ticket) -> bool {
        matches!(self.link, Link::Open(_))
            && self
                .hold
                .get_mut(ticket)
                .is_some_and(|entry| entry.events && matches!(entry.state, State::Running))
    }

    pub(super) fn tell_progress(&mut self, now: Time) {
        while let Some((ticket, fraction, text)) = self.progress.pop(now) {
            let Some(entry) = self.hold.get_mut(ticket) else { continue };
            let lease = entry.lease;
            let text = text.as_str().into();
            self.send(&FromWorker::Progress(AttemptProgress { lease, fraction, text }));
        }
    }
}
