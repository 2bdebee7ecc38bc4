//! When a worker could not be heard: the cause that every loss must have.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ganger_common::WorkerId;

use super::view::View;
use crate::sim::Event;
use crate::sim::log::{At, Peer, WorkerNo};

/// Two troubles that are no further apart than this may be one to the broker: a worker that recovers says
/// so with its next heartbeat, after a second at the latest, and that takes a while to arrive.
const TOGETHER: u64 = 1_600_000;
/// What a broker that stands still is not forgiven: it notices a stall only beyond half a heartbeat, and
/// counts it from its next tick, a quarter of a heartbeat later.
const UNFORGIVEN: u64 = 800_000;

/// From, and until.
type Span = (u64, u64);

/// The troubles of every worker and the stalls of the broker.
pub(super) struct Reach {
    troubles: BTreeMap<WorkerId, Vec<Span>>,
    stalls: Vec<Span>,
    jumps: Vec<u64>,
}

/// How long the broker could not hear a worker, and what else happened meanwhile.
pub(super) struct Unheard {
    pub(super) span: Duration,
    pub(super) stalled: bool,
    pub(super) jumped: bool,
}

impl Reach {
    pub(super) fn of(view: &View<'_>) -> Self {
        let mut gathering = Gathering::default();
        for entry in &view.entries {
            gathering.note(entry.at.0, &entry.event);
        }
        gathering.finish()
    }

    /// How long the broker has not been able to hear this worker at a moment, its own stalls subtracted.
    pub(super) fn unheard(&self, worker: WorkerId, at: At) -> Unheard {
        let empty = Vec::new();
        let troubles = self.troubles.get(&worker).unwrap_or(&empty);
        let mut since = at.0;
        let goes_on =
            |since: u64, (from, until): &Span| *from < since && until.saturating_add(TOGETHER) >= since;
        // What the worker said while the broker stood still may have been lost with its connection.
        let stood = |since: u64, (from, until): &Span| *from < since && since <= *until;
        let earlier = |since: u64| {
            let trouble = troubles.iter().find(|trouble| goes_on(since, trouble));
            let stall = || self.stalls.iter().find(|stall| since < at.0 && stood(since, stall));
            trouble.or_else(stall).map(|(from, _)| *from)
        };
        while let Some(from) = earlier(since) {
            since = from;
        }
        let overlaps = |(from, until): &Span| (*until).min(at.0).saturating_sub((*from).max(since));
        let forgiven: u64 = self.stalls.iter().map(|stall| overlaps(stall).saturating_sub(UNFORGIVEN)).sum();
        Unheard {
            span: Duration::from_micros((at.0 - since).saturating_sub(forgiven)),
            stalled: forgiven > 0,
            jumped: self.jumps.iter().any(|jump| (since..=at.0).contains(jump)),
        }
    }
}

/// What is going on while the log is read.
#[derive(Default)]
struct Gathering {
    /// Who is at a place.
    there: BTreeMap<WorkerNo, WorkerId>,
    /// Since when a place has no session, is muted, or stands still.
    away: BTreeMap<WorkerNo, u64>,
    /// Places that have a connection: a welcome that was still on one that is cut opens no session.
    connected: BTreeSet<WorkerNo>,
    muted: BTreeMap<WorkerNo, u64>,
    paused: BTreeMap<WorkerNo, u64>,
    troubles: BTreeMap<WorkerId, Vec<Span>>,
    stalled: Option<u64>,
    stalls: Vec<Span>,
    jumps: Vec<u64>,
}

impl Gathering {
    fn note(&mut self, at: u64, event: &Event) {
        match event {
            Event::WorkerUp { worker, incarnation, .. } => {
                self.there.insert(*worker, *incarnation);
                self.away.insert(*worker, at);
                self.paused.remove(worker);
            }
            Event::WorkerKilled { worker, incarnation, .. } | Event::WorkerLeft { worker, incarnation } => {
                self.close_all(*worker, at);
                self.trouble(*incarnation, (at, u64::MAX));
            }
            Event::WorkerPaused { worker, .. } => {
                self.paused.entry(*worker).or_insert(at);
            }
            Event::WorkerResumed { worker, .. } => {
                let since = self.paused.remove(worker);
                self.close(*worker, since, at);
            }
            Event::Cut { peer: Peer::Worker(worker), .. } => {
                self.away.entry(*worker).or_insert(at);
                self.connected.remove(worker);
            }
            Event::Connected { peer: Peer::Worker(worker), .. } => {
                self.connected.insert(*worker);
            }
            Event::Joined { peer: Peer::Worker(worker), .. } if self.connected.contains(worker) => {
                let since = self.away.remove(worker);
                self.close(*worker, since, at);
            }
            Event::LinkMuted { peer: Peer::Worker(worker), .. } => {
                self.muted.entry(*worker).or_insert(at);
            }
            Event::LinkHealed { peer: Peer::Worker(worker) } => {
                let since = self.muted.remove(worker);
                self.close(*worker, since, at);
            }
            Event::BrokerPaused { .. } => self.stalled = Some(at),
            Event::BrokerResumed { .. } | Event::BrokerKilled { .. } => {
                self.stalls.extend(self.stalled.take().map(|since| (since, at)));
            }
            Event::WallJumped { .. } => self.jumps.push(at),
            _ => {}
        }
    }

    fn close_all(&mut self, worker: WorkerNo, at: u64) {
        for since in
            [self.away.remove(&worker), self.muted.get(&worker).copied(), self.paused.remove(&worker)]
        {
            self.close(worker, since, at);
        }
    }

    fn close(&mut self, worker: WorkerNo, since: Option<u64>, at: u64) {
        if let (Some(since), Some(who)) = (since, self.there.get(&worker).copied()) {
            self.trouble(who, (since, at));
        }
    }

    fn trouble(&mut self, who: WorkerId, span: Span) {
        self.troubles.entry(who).or_default().push(span);
    }

    fn finish(mut self) -> Reach {
        for worker in self.there.keys().copied().collect::<Vec<_>>() {
            self.muted
                .contains_key(&worker)
                .then(|| self.close(worker, self.muted.get(&worker).copied(), u64::MAX));
            self.close_all(worker, u64::MAX);
        }
        self.troubles.values_mut().for_each(|spans| spans.sort_unstable());
        Reach { troubles: self.troubles, stalls: self.stalls, jumps: self.jumps }
    }
}
