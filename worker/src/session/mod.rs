//! A worker's side of the conversation with the broker, as a value.
//!
//! It owns the state of the connection, the tasks that wait and run, the ends that are not acknowledged
//! and the replica of the knowledge map, and touches nothing else: no socket, no clock, no randomness.
//!
//! # The contract of the shell
//! ```text
//!            ┌──────────────────────────────────────────────────────────────┐
//!            ▼                                                              │
//!   handle(now, input)   one or more inputs that are there already          │
//!   poll_effect()        until it returns None; carry each out in order     │
//!   poll_timeout()       sleep until then, or until there is input,         │
//!                        or until an executor has done something ───────────┘
//!   handle_timeout(now)  when that moment has come; calling it early does nothing
//! ```
//! `now` must not go back. When both are due, take the input in before the time-out: the broker must not
//! be judged silent while its message waits.
//!
//! Executors work on the same value, usually behind a mutex: [`Session::take`] gives the next task,
//! [`Session::finish`] hands in its end. Both may have effects, which the shell polls.
//!
//! # The life of a connection
//! ```text
//!   Waiting ──Connect──► Connecting ──hello──► Greeting ──welcome──► Open
//!      ▲                     │                    │                    │
//!      └──── back-off ───────┴────────────────────┴── lost, or silent ─┘
//! ```

mod config;
mod effect;
mod hold;
mod input;
mod leave;
mod link;
mod progress;
mod reports;
#[cfg(test)]
mod tests;
mod work;

pub use config::*;
pub use effect::{
    Assignment, CancelReason, Effect, End, Ended, Failure, Outgoing, Report, Stop, StopReason, Ticket,
};
pub use input::{Incoming, Input, Item, Opening};

use std::collections::VecDeque;

use crate::random::Random;
use crate::replica::{Knowledge, Replica, ReplicaEffect};
use crate::time::Time;
use hold::Hold;
use leave::Leaving;
use link::Link;
use progress::Progress;
use reports::Reports;

/// A worker's session.
#[derive(Debug)]
pub struct Session {
    config: Config,
    link: Link,
    /// Tries to connect since the broker was last heard to answer.
    tries: u32,
    random: Random,
    hold: Hold,
    reports: Reports,
    progress: Progress,
    replica: Replica,
    leaving: Option<Leaving>,
    effects: VecDeque<Effect>,
    /// Bytes of partial results among the effects.
    partial_bytes: usize,
}

impl Session {
    /// A session that wants to connect at once.
    pub fn new(config: Config, knowledge: Knowledge, now: Time) -> Self {
        Self {
            link: Link::Waiting { at: now },
            tries: 0,
            random: Random(config.seed),
            hold: Hold::new(config.slots.max(1)),
            reports: Reports::default(),
            progress: Progress::default(),
            replica: Replica::new(knowledge, config.seed),
            leaving: None,
            effects: VecDeque::new(),
            partial_bytes: 0,
            config,
        }
    }

    /// Takes in one thing that happened.
    pub fn handle(&mut self, now: Time, input: Input) {
        if matches!(self.link, Link::Ended) {
            return;
        }
        match input {
            Input::Connected => self.on_connected(now),
            Input::Disconnected => self.on_disconnected(now),
            Input::Message(message) => self.on_message(now, message),
            Input::Garbled(error) => self.on_garbled(now, &error),
            Input::Subscribed => self.replica.on_subscribed(now),
            Input::Unsubscribed => self.replica.on_unsubscribed(now),
            Input::Publication(publication) => self.replica.on_publication(now, publication),
            Input::Drain { deadline } => self.drain(now, deadline),
            Input::Stop => self.stop_now(),
        }
        if self.replica.take_overflow() {
            self.on_overflow(now);
        }
        self.leave_if_empty();
    }

    /// Does what is due. Calling it early does nothing.
    pub fn handle_timeout(&mut self, now: Time) {
        if matches!(self.link, Link::Ended) {
            return;
        }
        self.on_link_timeout(now);
        self.on_run_limits(now);
        self.on_leave_timeout(now);
        self.tell_progress(now);
        self.replica.handle_timeout(now);
        self.tell_revision(now);
        self.leave_if_empty();
    }

    /// The next thing to do, if there is one.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        if let Some(effect) = self.effects.pop_front() {
            if self.effects.is_empty() {
                self.partial_bytes = 0;
            }
            return Some(effect);
        }
        if let Some(report) = self.next_report() {
            return Some(Effect::Send(Outgoing::Report(report)));
        }
        // What the replica had to ask is of no use to a session that has ended.
        if matches!(self.link, Link::Ended) {
            return None;
        }
        match self.replica.poll_effect()? {
            ReplicaEffect::Ask(frame) => Some(Effect::Send(Outgoing::Frame(frame))),
            ReplicaEffect::Subscribe { port } => Some(Effect::Subscribe { port }),
            ReplicaEffect::Broadcast { topic, body } => Some(Effect::Broadcast { topic, body }),
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do, if nothing else happens.
    pub fn poll_timeout(&self) -> Option<Time> {
        if matches!(self.link, Link::Ended) {
            return None;
        }
        let times = [
            self.link_timeout(),
            self.hold.next_deadline(),
            self.leaving.as_ref().map(Leaving::timeout),
            self.progress.timeout(),
            self.replica.poll_timeout(),
            self.revision_timeout(),
        ];
        times.into_iter().flatten().min()
    }

    /// Whether [`poll_effect`](Self::poll_effect) would return something, as far as executors have to do
    /// with it. Cheap: an executor asks after every task.
    pub fn has_effects(&self) -> bool {
        !self.effects.is_empty()
            || (matches!(self.link, Link::Open(_)) && (self.reports.is_due() || self.hold.has_starts()))
    }

    /// The kinds that it serves.
    pub fn kinds(&self) -> &std::sync::Arc<Kinds> {
        &self.config.kinds
    }

    fn next_report(&mut self) -> Option<Report> {
        if !matches!(self.link, Link::Open(_)) || !(self.reports.is_due() || self.hold.has_starts()) {
            return None;
        }
        let started = self.hold.take_starts();
        self.reports.cut(started, self.hold.waiting.len() as u32)
    }

    fn send(&mut self, message: &ganger_common::message::FromWorker<'_>) {
        self.effects.push_back(Effect::Send(Outgoing::Frame(ganger_common::encode(message))));
    }
}
