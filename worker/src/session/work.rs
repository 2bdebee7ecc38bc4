//! Tasks: handed in by the broker, claimed and finished by executors, recalled, cancelled, timed out.

use std::collections::BTreeSet;

use bytes::Bytes;
use ganger_common::limits::{BATCH_ITEMS_MAX, HELD_LEASES_MAX, PAYLOAD_BYTES_MAX, TEXT_BYTES_MAX};
use ganger_common::message::Lease;
use ganger_common::{AttemptEnd, ErrorCode};

use super::Session;
use super::config::KindIndex;
use super::effect::{Assignment, CancelReason, Effect, End, Ended, Failure, Ticket};
use super::hold::{Entry, State};
use super::input::Item;
use super::link::Link;
use crate::time::Time;

type LeaseKey = (ganger_common::TaskId, ganger_common::Epoch, ganger_common::Attempt);

fn key(lease: &Lease) -> LeaseKey {
    (lease.task, lease.epoch, lease.attempt)
}

impl Session {
    /// Gives an executor its next task, which has thereby started. None: there is nothing to do, or so
    /// much waits to be acknowledged that nothing more should be begun.
    pub fn take(&mut self, now: Time) -> Option<Assignment> {
        if self.reports.is_full() || matches!(self.link, Link::Ended) {
            return None;
        }
        self.hold.take(now)
    }

    /// The kind of the task that the next executor would get.
    pub fn next_kind(&self) -> Option<KindIndex> {
        self.hold.next_kind()
    }

    /// How many executors would get a task now.
    pub fn ready(&self) -> usize {
        if self.reports.is_full() || matches!(self.link, Link::Ended) {
            return 0;
        }
        self.hold.ready()
    }

    /// Takes in the end of an attempt.
    pub fn finish(&mut self, now: Time, ticket: Ticket, end: End) {
        let Some(entry) = self.hold.release(ticket) else { return };
        self.progress.forget(ticket);
        let run_us = run_us(&entry, now);
        let ended = match (entry.state, end) {
            (State::Running, end) | (State::Stopping(CancelReason::Stale), end @ End::Succeeded(_)) => {
                // The work is done. If nobody else has settled the task yet, it counts.
                self.ended(entry.lease, run_us, end)
            }
            (State::Stopping(_), _) => bare(entry.lease, AttemptEnd::Cancelled, run_us),
            (State::Lingering | State::Unconfirmed(_) | State::Confirmed(_), _) => {
                return self.leave_if_empty();
            }
        };
        self.reports.push(ended);
        self.leave_if_empty();
    }

    fn ended(&self, lease: Lease, run_us: u64, end: End) -> Ended {
        match end {
            End::Succeeded(result) => match self.fits(&result) {
                Ok(()) => Ended { result, ..bare(lease, AttemptEnd::Succeeded, run_us) },
                Err(failure) => failed(lease, run_us, failure),
            },
            End::Failed(failure) => failed(lease, run_us, failure),
        }
    }

    /// A larger result would be refused, and the whole report with it.
    fn fits(&self, result: &Bytes) -> Result<(), Failure> {
        let most = match &self.link {
            Link::Open(open) => PAYLOAD_BYTES_MAX.min(open.opening.payload_bytes_max as usize),
            _ => PAYLOAD_BYTES_MAX,
        };
        if result.len() <= most {
            return Ok(());
        }
        let text = format!("the result has {} bytes, at most {most} are allowed", result.len());
        Err(Failure { text, is_final: true, retry_after_ms: None })
    }

    pub(super) fn on_tasks(&mut self, now: Time, items: Vec<Item>, unserved: Vec<(Lease, String)>) {
        let room = match self.leaving {
            Some(_) => 0,
            None => HELD_LEASES_MAX.saturating_sub(self.hold.len()),
        };
        // What is handed back is kept until it is acknowledged, which must have an end as well. The next
        // hello tells that these did not arrive.
        if self.reports.is_full() && (items.len() > room || !unserved.is_empty()) {
            return self.disconnect(now, "the broker gives out tasks and acknowledges nothing");
        }
        for (lease, kind) in unserved {
            let text = format!("this worker does not serve the kind {kind:?}");
            self.reports.push(failed(lease, 0, Failure { text, is_final: true, retry_after_ms: None }));
        }
        let mut items = items.into_iter();
        self.hold.waiting.extend(items.by_ref().take(room));
        for item in items {
            self.report_unstarted(item.lease, AttemptEnd::Returned);
        }
    }

    pub(super) fn report_unstarted(&mut self, lease: Lease, end: AttemptEnd) {
        self.reports.push(bare(lease, end, 0));
    }

    /// Hands back what came last: it would have to wait longest.
    pub(super) fn on_recall(&mut self, recall: u64, count: u32) {
        for _ in 0..BATCH_ITEMS_MAX.min(count as usize) {
            let Some(item) = self.hold.waiting.pop_back() else { break };
            #[cfg(feature = "planted")]
            if crate::planted::is(crate::planted::Bug::RecallForgets) {
                continue;
            }
            self.report_unstarted(item.lease, AttemptEnd::Returned);
        }
        self.reports.answer_recall(recall);
    }

    pub(super) fn on_cancel(&mut self, leases: &[Lease], code: Option<ErrorCode>) {
        let why = match code {
            Some(_) => CancelReason::Stale,
            None => CancelReason::Cancelled,
        };
        let wanted: BTreeSet<LeaseKey> = leases.iter().map(key).collect();
        let is_wanted = |lease: &Lease| wanted.contains(&key(lease));
        if self.hold.waiting.iter().any(|item| is_wanted(&item.lease)) {
            let waiting = std::mem::take(&mut self.hold.waiting);
            let (dropped, kept): (Vec<_>, Vec<_>) =
                waiting.into_iter().partition(|item| is_wanted(&item.lease));
            self.hold.waiting = kept.into();
            for item in dropped {
                self.report_unstarted(item.lease, AttemptEnd::Cancelled);
            }
        }
        let tickets: Vec<Ticket> =
            self.hold.entries().filter(|entry| is_wanted(&entry.lease)).map(|entry| entry.ticket).collect();
        for ticket in tickets {
            self.cancel_slot(ticket, why);
        }
    }

    fn cancel_slot(&mut self, ticket: Ticket, why: CancelReason) {
        let Some(entry) = self.hold.get_mut(ticket) else { return };
        match entry.state {
            State::Running => {
                entry.state = State::Stopping(why);
                self.effects.push_back(Effect::Cancel { ticket, why });
            }
            // A cancellation outweighs a lost lease: no result is wanted any more.
            State::Stopping(_) if why == CancelReason::Cancelled => entry.state = State::Stopping(why),
            State::Stopping(_) | State::Lingering => {}
            State::Unconfirmed(_) | State::Confirmed(_) => {
                let lease = entry.lease;
                self.hold.release(ticket);
                self.report_unstarted(lease, AttemptEnd::Cancelled);
            }
        }
        self.progress.forget(ticket);
    }

    pub(super) fn on_run_limits(&mut self, now: Time) {
        while let Some(ticket) = self.hold.pop_overdue(now) {
            self.end_early(now, ticket, AttemptEnd::TimedOut, CancelReason::TimedOut);
        }
    }

    /// Reports the end of a handler that may take its time to notice. Its slot is free only then.
    pub(super) fn end_early(&mut self, now: Time, ticket: Ticket, end: AttemptEnd, why: CancelReason) {
        let Some(entry) = self.hold.get_mut(ticket) else { return };
        let was_stopping = matches!(entry.state, State::Stopping(_));
        let ended = match (&entry.state, end) {
            // It was told to stop before, for a reason that is more than a run limit.
            (State::Stopping(_), AttemptEnd::TimedOut) => return,
            (State::Stopping(_), _) => bare(entry.lease, AttemptEnd::Cancelled, run_us(entry, now)),
            (State::Running, AttemptEnd::TimedOut) => {
                let limit = entry.deadline.map_or(std::time::Duration::ZERO, |at| at.since(entry.since));
                let text = format!("it ran for longer than its limit of {limit:?}");
                let failure = Failure { text, ..Failure::default() };
                let ended = bare(entry.lease, end, run_us(entry, now));
                Ended { failure: Some(Box::new(failure)), ..ended }
            }
            (State::Running, _) => bare(entry.lease, end, run_us(entry, now)),
            _ => return,
        };
        entry.state = State::Lingering;
        self.progress.forget(ticket);
        self.reports.push(ended);
        if !was_stopping {
            self.effects.push_back(Effect::Cancel { ticket, why });
        }
    }
}

fn run_us(entry: &Entry, now: Time) -> u64 {
    now.since(entry.since).as_micros() as u64
}

fn bare(lease: Lease, end: AttemptEnd, run_us: u64) -> Ended {
    Ended { lease, end, run_us, result: Bytes::new(), failure: None }
}

fn failed(lease: Lease, run_us: u64, mut failure: Failure) -> Ended {
    // Many long texts would make the buffer of ends larger than its bound says.
    if failure.text.len() > TEXT_BYTES_MAX {
        let cut: ganger_common::message::ErrorText<'_> = failure.text.as_str().into();
        failure.text = cut.0.to_owned();
    }
    Ended { failure: Some(Box::new(failure)), ..bare(lease, AttemptEnd::Failed, run_us) }
}
