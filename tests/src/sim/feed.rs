//! Subscriptions: what is published reaches each worker, late, in its order, or not at all.

use std::collections::VecDeque;

use bytes::Bytes;
use ganger_worker::replica::Publication;
use ganger_worker::session::Input;

use super::log::{Peer, WorkerNo};
use super::queue::Happening;
use super::world::World;

/// A worker's subscription.
#[derive(Debug, Default)]
pub(super) struct Feed {
    /// Counts tries, so that what belongs to an older one is void.
    pub(super) attempt: u32,
    pub(super) is_open: bool,
    /// Nothing arrives and nobody says so.
    pub(super) is_dead: bool,
    pub(super) last: u64,
    pub(super) items: VecDeque<(u64, [Bytes; 3])>,
}

impl World {
    pub(super) fn subscribe(&mut self, no: WorkerNo) {
        let takes = self.rng.between(200, 20_000);
        let feed = &mut self.worker_mut(no).feed;
        let attempt = feed.attempt + 1;
        *feed = Feed { attempt, ..Feed::default() };
        self.queue.push(self.now + takes, Happening::Subscribe { worker: no, attempt });
    }

    pub(super) fn on_subscribe(&mut self, no: WorkerNo, attempt: u32) {
        if self.worker(no).feed.attempt != attempt || !self.worker(no).is_up() {
            return;
        }
        let is_reached = self.broker.is_up() && !self.broker.is_paused() && !self.is_parted(Peer::Worker(no));
        self.worker_mut(no).feed.is_open = is_reached;
        self.tell_worker(no, if is_reached { Input::Subscribed } else { Input::Unsubscribed });
    }

    /// What the broker published goes to every worker that subscribes.
    pub(super) fn publish(&mut self, parts: &[Bytes; 3]) {
        for place in 0..self.workers.len() {
            let no = WorkerNo(place as u16);
            let loss = if self.loss_until > self.now { 60 } else { self.plan.pub_loss };
            let is_lost = loss > 0 && self.rng.percent(loss);
            let (first, last) = self.plan.latency;
            let takes = self.rng.between(first, last);
            let at = self.now + takes;
            let is_parted = self.is_parted(Peer::Worker(no));
            let feed = &mut self.worker_mut(no).feed;
            if !feed.is_open || feed.is_dead || is_lost || is_parted {
                self.figures.publications_lost += u64::from(is_lost);
                continue;
            }
            let at = at.max(feed.last);
            feed.last = at;
            feed.items.push_back((at, parts.clone()));
            let attempt = feed.attempt;
            self.queue.push(at, Happening::Publication { worker: no, attempt });
        }
    }

    pub(super) fn on_publication(&mut self, no: WorkerNo, attempt: u32) {
        let it = self.worker_mut(no);
        if it.feed.attempt != attempt {
            return;
        }
        let Some((_, parts)) = it.feed.items.pop_front() else { return };
        match Publication::read(&parts) {
            Some(publication) => self.tell_worker(no, Input::Publication(publication)),
            None => self.defect("a publication cannot be read"),
        }
    }

    /// The subscription of a worker breaks; `tells`: it hears of it.
    pub(super) fn break_subscription(&mut self, no: WorkerNo, tells: bool) {
        let feed = &mut self.worker_mut(no).feed;
        if !feed.is_open {
            return;
        }
        if !tells {
            feed.is_dead = true;
            return;
        }
        *feed = Feed { attempt: feed.attempt + 1, ..Feed::default() };
        self.tell_worker(no, Input::Unsubscribed);
    }

    pub(super) fn break_subscriptions(&mut self) {
        for place in 0..self.workers.len() {
            let tells = self.rng.percent(80);
            self.break_subscription(WorkerNo(place as u16), tells);
        }
    }
}
