//! Ends from the moment they happen until the broker has them on record.

use std::collections::VecDeque;
use std::sync::Arc;

use ganger_common::limits::{BATCH_BYTES_TARGET, BATCH_ITEMS_MAX};
use ganger_common::message::Lease;

use super::config::{UNACKED_BYTES_MAX, UNACKED_ENDS_MAX};
use super::effect::{Ended, Report};

/// Ends that were not sent, and ends that were and are not acknowledged.
#[derive(Debug)]
pub(super) struct Reports {
    pending: VecDeque<Ended>,
    unacked: VecDeque<(u64, Arc<Vec<Ended>>)>,
    /// Of all that are kept.
    count: usize,
    bytes: usize,
    last_seq: u64,
    recall: Option<u64>,
    batch_items_max: usize,
}

impl Default for Reports {
    fn default() -> Self {
        Self {
            pending: VecDeque::new(),
            unacked: VecDeque::new(),
            count: 0,
            bytes: 0,
            last_seq: 0,
            recall: None,
            batch_items_max: BATCH_ITEMS_MAX,
        }
    }
}

impl Reports {
    pub(super) fn push(&mut self, ended: Ended) {
        self.count += 1;
        self.bytes += ended.bytes();
        self.pending.push_back(ended);
    }

    /// The next report is the answer to this recall.
    pub(super) fn answer_recall(&mut self, recall: u64) {
        self.recall = Some(recall);
    }

    /// How many ends are kept.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    pub(super) fn is_full(&self) -> bool {
        self.count >= UNACKED_ENDS_MAX || self.bytes >= UNACKED_BYTES_MAX
    }

    pub(super) fn is_due(&self) -> bool {
        !self.pending.is_empty() || self.recall.is_some()
    }

    /// The next batch, as large as a message may be. `started` goes with it.
    pub(super) fn cut(&mut self, started: Vec<Lease>, waiting: u32) -> Option<Report> {
        if started.is_empty() && !self.is_due() {
            return None;
        }
        let ended = Arc::new(self.take_batch());
        // The answer to a recall is complete only with the last of what is handed back.
        let recall = if self.pending.is_empty() { self.recall.take() } else { None };
        if ended.is_empty() {
            return Some(Report { seq: 0, started, ended, waiting, recall });
        }
        self.last_seq += 1;
        self.unacked.push_back((self.last_seq, ended.clone()));
        Some(Report { seq: self.last_seq, started, ended, waiting, recall })
    }

    fn take_batch(&mut self) -> Vec<Ended> {
        let mut bytes = 0;
        let mut count = 0;
        for ended in self.pending.iter().take(self.batch_items_max) {
            if count > 0 && bytes + ended.bytes() > BATCH_BYTES_TARGET {
                break;
            }
            bytes += ended.bytes();
            count += 1;
        }
        match count == self.pending.len() {
            true => std::mem::take(&mut self.pending).into(),
            false => self.pending.drain(..count).collect(),
        }
    }

    pub(super) fn acknowledge(&mut self, upto: u64) {
        while let Some((_, batch)) = self.unacked.pop_front_if(|(seq, _)| *seq <= upto) {
            self.count -= batch.len();
            self.bytes -= batch.iter().map(Ended::bytes).sum::<usize>();
        }
    }

    /// The connection is new: everything that is kept must be said again, the oldest first, and the
    /// broker has forgotten its recall.
    pub(super) fn rewind(&mut self, batch_items_max: usize) {
        self.recall = None;
        self.batch_items_max = batch_items_max.min(BATCH_ITEMS_MAX);
        for (_, batch) in std::mem::take(&mut self.unacked).into_iter().rev() {
            #[cfg(feature = "planted")]
            if crate::planted::is(crate::planted::Bug::EndsForgotten) {
                continue;
            }
            let batch = Arc::unwrap_or_clone(batch);
            batch.into_iter().rev().for_each(|ended| self.pending.push_front(ended));
        }
    }
}
