//! What the shell refuses without asking the scheduler.

use ganger_common::ErrorCode;
use ganger_scheduler::effect::Refusal;

/// Why a message goes no further.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) req: Option<u64>,
    pub(crate) code: ErrorCode,
    pub(crate) text: String,
    /// Whether the connection ends with it.
    pub(crate) is_final: bool,
}

impl Refused {
    pub(crate) fn new(req: Option<u64>, code: ErrorCode, text: impl Into<String>) -> Self {
        Self { req, code, text: text.into(), is_final: false }
    }
}

/// Items of a batch that the shell refuses, kept until the scheduler answers the rest of the batch.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct PreRefused {
    refused: Vec<Refusal>,
    /// Where the items that went on stood in the batch as it came.
    places: Vec<u32>,
}

impl PreRefused {
    /// The item at this place is refused.
    pub(crate) fn refuse(&mut self, place: usize, code: ErrorCode, text: String) {
        // Most batches are good as a whole: their places are only written down from the first refusal on.
        if self.refused.is_empty() {
            self.places = (0..place as u32).collect();
        }
        self.refused.push(Refusal { index: place as u32, code, text, retry_after: None });
    }

    /// The item at this place goes on.
    pub(crate) fn pass(&mut self, place: usize) {
        if !self.refused.is_empty() {
            self.places.push(place as u32);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.refused.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.refused.is_empty()
    }

    /// Joins them with what the scheduler refused, all by their places in the batch as it came.
    pub(crate) fn merge_into(self, refused: &mut Vec<Refusal>) {
        for refusal in refused.iter_mut() {
            if let Some(place) = self.places.get(refusal.index as usize) {
                refusal.index = *place;
            }
        }
        refused.extend(self.refused);
        refused.sort_by_key(|refusal| refusal.index);
    }
}
