//! The newest events, and their numbers.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;
use utoipa::ToSchema;

use super::counts::Summary;
use super::{Counts, Event, News};
use crate::limits::{FEED_EVENTS_MAX, FEED_SUMMARY};

/// The newest events. Numbers grow by one from each to the next; where the ring begins anew, by more.
#[derive(Debug, Default)]
pub(super) struct Ring {
    events: VecDeque<Arc<Event>>,
    /// The number of the first event since the ring began.
    begun: u64,
    /// The number of the next event.
    next: u64,
    counts: Counts,
    /// Since when something is counted.
    counting: Option<Instant>,
}

/// Events that somebody did not get.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, ToSchema)]
pub(crate) struct Missed {
    /// How many, of whatever type; absent where nobody counted: nobody watched for a while, or the broker was
    /// started anew.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) count: Option<u64>,
    /// The number of the oldest event that is still there, with which it goes on.
    pub(crate) oldest: u64,
}

/// What somebody reads.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) missed: Option<Missed>,
    pub(super) events: Vec<Arc<Event>>,
    /// The number of the last of them, or of what was missed.
    pub(super) last: u64,
}

impl Ring {
    /// Begins anew, with a number that is used for nothing else.
    pub(super) fn begin(&mut self, number: u64) {
        // Past the last one, too: what happened since then nobody has numbered, and that shows as a gap.
        let number = number.max(self.next + 1);
        *self = Self { begun: number, next: number, ..Self::default() };
    }

    /// Lets everything go but the numbers.
    pub(super) fn end(&mut self) {
        *self = Self { begun: self.next, next: self.next, ..Self::default() };
    }

    pub(super) fn push(&mut self, news: News, at_ms: u64) {
        if self.events.len() == FEED_EVENTS_MAX {
            self.events.pop_front();
        }
        self.events.push_back(Arc::new(Event { number: self.next, at_ms, news }));
        self.next += 1;
    }

    pub(super) fn count(&mut self, counts: &Counts, now: Instant) {
        if !counts.is_empty() {
            self.counts.add(counts);
            self.counting.get_or_insert(now);
        }
    }

    /// Tells what was counted, when that was long enough.
    pub(super) fn sum_up(&mut self, now: Instant, at_ms: u64) {
        let Some(since) = self.counting.filter(|since| now.duration_since(*since) >= FEED_SUMMARY) else {
            return;
        };
        let counts = std::mem::take(&mut self.counts);
        self.counting = None;
        self.push(News::Summary(Summary::of(counts, now.duration_since(since))), at_ms);
    }

    /// The numbers of the oldest event that is kept, and of the newest. While there is none, the newest is one
    /// less than the oldest.
    pub(super) fn kept(&self) -> (u64, u64) {
        (self.next - self.events.len() as u64, self.next.saturating_sub(1))
    }

    /// What came after a number.
    pub(super) fn read(&self, after: u64, most: usize) -> Read {
        let (oldest, newest) = self.kept();
        let missed = if after.saturating_add(1) >= oldest && after <= newest {
            None
        } else {
            // A number from before the beginning is of a time in which nobody counted, and one that is still to
            // come of a clock that went back.
            let is_counted = after.saturating_add(1) >= self.begun && after < oldest;
            Some(Missed { count: is_counted.then(|| oldest - after - 1), oldest })
        };
        let after = if missed.is_some() { oldest.saturating_sub(1) } else { after };
        let skip = (after + 1).saturating_sub(oldest) as usize;
        let events: Vec<_> = self.events.iter().skip(skip).take(most).cloned().collect();
        let last = events.last().map_or(after, |event| event.number);
        Read { missed, events, last }
    }
}
