//! What the shell refuses without asking the scheduler.

use ganger_common::ErrorCode;
use ganger_scheduler::effect::Refusal;

use crate::keys::QUOTA_RETRY;

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
        // What the shell refuses for now, it refuses for a quota by the second.
        let retry_after = code.is_retryable().then_some(QUOTA_RETRY);
        self.refused.push(Refusal { index: place as u32, code, text, retry_after });
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

    /// Joins them with what was refused of the rest, in a second look.
    pub(crate) fn then(mut self, rest: Self) -> Self {
        if self.is_empty() || rest.is_empty() {
            return if self.is_empty() { rest } else { self };
        }
        let place = |index: u32| self.places.get(index as usize).copied().unwrap_or(index);
        let refused =
            rest.refused.into_iter().map(|refusal| Refusal { index: place(refusal.index), ..refusal });
        let refused: Vec<Refusal> = refused.collect();
        let places = rest.places.into_iter().map(place).collect();
        self.refused.extend(refused);
        Self { refused: self.refused, places }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_two_looks_refuse_stands_at_its_place_in_the_batch_as_it_came() {
        let (mut first, mut second) = (PreRefused::default(), PreRefused::default());
        // Of six, the first look refuses 1 and 4; the second, of the four that are left, their 0 and 2.
        for place in 0..6 {
            match place {
                1 | 4 => first.refuse(place, ErrorCode::BadOption, String::new()),
                _ => first.pass(place),
            }
        }
        for place in 0..4 {
            match place {
                0 | 2 => second.refuse(place, ErrorCode::Busy, String::new()),
                _ => second.pass(place),
            }
        }
        let mut refused = Vec::new();
        let both = first.then(second);
        assert_eq!(both.places, [2, 5], "what goes on");
        both.merge_into(&mut refused);
        let indices: Vec<u32> = refused.iter().map(|refusal| refusal.index).collect();
        assert_eq!(indices, [0, 1, 3, 4]);
        assert!(refused.iter().all(|r| r.retry_after.is_some() == (r.code == ErrorCode::Busy)));
    }
}
