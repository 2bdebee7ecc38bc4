//! How a worker leaves: it takes nothing more, finishes or hands back what it holds, says goodbye.

use std::time::Duration;

use ganger_common::message::{FromWorker, Goodbye, WorkerDrain};
use ganger_common::{AttemptEnd, limits};

use super::Session;
use super::config::LAST_ACKS_WITHIN;
use super::effect::{CancelReason, Effect, Stop, StopReason, Ticket};
use super::hold::State;
use super::link::Link;
use crate::time::Time;

/// How far leaving has come.
#[derive(Debug)]
pub(super) enum Leaving {
    /// What runs may go on until then.
    Draining { deadline: Time },
    /// What still ran was interrupted; the last reports may be acknowledged until then.
    Interrupted { give_up: Time, any: bool },
}

impl Leaving {
    pub(super) fn timeout(&self) -> Time {
        match self {
            Self::Draining { deadline } => *deadline,
            Self::Interrupted { give_up, .. } => *give_up,
        }
    }
}

impl Session {
    /// Takes nothing more from now on. A second drain can only bring the deadline nearer.
    pub(super) fn drain(&mut self, now: Time, within: Option<Duration>) {
        let within = within.unwrap_or(self.config.drain_deadline).min(limits::DELAY_MAX);
        let deadline = now.plus(within);
        match &mut self.leaving {
            Some(Leaving::Draining { deadline: until }) => *until = deadline.min(*until),
            Some(Leaving::Interrupted { .. }) => return,
            None => self.leaving = Some(Leaving::Draining { deadline }),
        }
        for item in std::mem::take(&mut self.hold.waiting) {
            self.report_unstarted(item.lease, AttemptEnd::Returned);
        }
        for ticket in self.tickets(|state| matches!(state, State::Unconfirmed(_) | State::Confirmed(_))) {
            if let Some(entry) = self.hold.release(ticket) {
                self.report_unstarted(entry.lease, AttemptEnd::Returned);
            }
        }
        if matches!(self.link, Link::Open(_)) {
            let deadline_ms = Some(within.as_millis() as u64);
            self.send(&FromWorker::Drain(WorkerDrain { deadline_ms }));
        }
    }

    pub(super) fn on_leave_timeout(&mut self, now: Time) {
        match self.leaving {
            Some(Leaving::Draining { deadline }) if deadline <= now => {
                let running = self.tickets(|state| matches!(state, State::Running | State::Stopping(_)));
                for ticket in &running {
                    self.end_early(now, *ticket, AttemptEnd::Interrupted, CancelReason::Leaving);
                }
                let give_up = now.plus(LAST_ACKS_WITHIN);
                self.leaving = Some(Leaving::Interrupted { give_up, any: !running.is_empty() });
            }
            Some(Leaving::Interrupted { give_up, any }) if give_up <= now => self.end(drained(any)),
            _ => {}
        }
    }

    /// Leaves once everything has ended and the broker knows.
    pub(super) fn leave_if_empty(&mut self) {
        let Some(leaving) = &self.leaving else { return };
        let any = matches!(leaving, Leaving::Interrupted { any: true, .. });
        let runs = self.hold.entries().any(|entry| !matches!(entry.state, State::Lingering));
        if !runs && self.hold.waiting.is_empty() && self.reports.len() == 0 {
            self.end(drained(any));
        }
    }

    /// Leaves at once. Whatever the broker is not told now goes back with the goodbye.
    pub(super) fn stop_now(&mut self) {
        self.end(StopReason::Stopped);
    }

    pub(super) fn end(&mut self, reason: StopReason) {
        if matches!(self.link, Link::Ended) {
            return;
        }
        let running = self.tickets(|state| matches!(state, State::Running | State::Stopping(_)));
        let lingering = self.tickets(|state| matches!(state, State::Lingering)).len();
        for ticket in &running {
            self.effects.push_back(Effect::Cancel { ticket: *ticket, why: CancelReason::Leaving });
        }
        while let Some(report) = self.next_report() {
            self.effects.push_back(Effect::Send(super::Outgoing::Report(report)));
        }
        if matches!(self.link, Link::Open(_)) {
            self.send(&FromWorker::Goodbye(Goodbye { code: None, text: "".into() }));
        }
        self.link = Link::Ended;
        self.effects.push_back(Effect::Stopped(Stop {
            reason,
            unfinished: running.len() + lingering,
            unreported: self.reports.len(),
        }));
    }

    fn tickets(&self, wanted: impl Fn(&State) -> bool) -> Vec<Ticket> {
        self.hold.entries().filter(|entry| wanted(&entry.state)).map(|entry| entry.ticket).collect()
    }
}

fn drained(any_interrupted: bool) -> StopReason {
    match any_interrupted {
        true => StopReason::DrainDeadline,
        false => StopReason::Drained,
    }
}
