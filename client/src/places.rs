//! The places where callers wait: a slot for one task, a lane for all tasks of a pipe.

use std::task::{Poll, Waker};

use ganger_common::TaskId;
use ganger_common::message::Durability;
use slab::Slab;

use crate::error::{Error, Result};
use crate::pipe::Lane;
use crate::session::Token;
use crate::task::TaskOutcome;

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Places {
    slots: Slab<Slot>,
    lanes: Slab<Lane>,
}

/// A place where one caller waits for one task.
#[derive(Debug, Default)]
struct Slot {
    accepted: Option<Durability>,
    end: Option<Result<TaskOutcome>>,
    waker: Option<Waker>,
    /// The handle was dropped: nobody will look.
    is_left: bool,
}

/// Tokens with this bit name a lane, and an item in it; the others name a slot.
const LANE: Token = 1 << 63;

pub(crate) fn lane_token(lane: usize, tag: u32) -> Token {
    LANE | (lane as Token) << 32 | Token::from(tag)
}

fn lane_of(token: Token) -> Option<(usize, u32)> {
    (token & LANE != 0).then_some((((token & !LANE) >> 32) as usize, token as u32))
}

impl Places {
    pub(crate) fn add_slot(&mut self) -> usize {
        self.slots.insert(Slot::default())
    }

    pub(crate) fn add_lane(&mut self, lane: Lane) -> usize {
        self.lanes.insert(lane)
    }

    /// So many tasks of a lane are on their way.
    pub(crate) fn expect(&mut self, lane: usize, count: usize) {
        if let Some(lane) = self.lanes.get_mut(lane) {
            lane.outstanding += count;
        }
    }

    pub(crate) fn accepted(&mut self, token: Token, durability: Durability, wakers: &mut Vec<Waker>) {
        match lane_of(token) {
            Some((lane, tag)) => {
                if let Some(lane) = self.lanes.get_mut(lane) {
                    wakers.extend(lane.accepted(tag));
                }
            }
            None => {
                if let Some(slot) = self.slots.get_mut(token as usize) {
                    slot.accepted = Some(durability);
                    wakers.extend(slot.waker.take());
                }
            }
        }
    }

    /// The last word on a token.
    pub(crate) fn ended(
        &mut self,
        token: Token,
        end: std::result::Result<TaskOutcome, (TaskId, Error)>,
        wakers: &mut Vec<Waker>,
    ) {
        if let Some((index, tag)) = lane_of(token) {
            wakers.extend(self.with_lane(index, |lane| lane.ended(tag, end)).flatten());
            return;
        }
        let index = token as usize;
        let Some(slot) = self.slots.get_mut(index) else { return };
        if slot.is_left {
            self.slots.try_remove(index);
            return;
        }
        slot.end = Some(end.map_err(|(_, error)| error));
        wakers.extend(slot.waker.take());
    }

    pub(crate) fn poll_accepted(&mut self, slot: usize, waker: &Waker) -> Poll<Result<Durability>> {
        let Some(slot) = self.slots.get_mut(slot) else { return Poll::Ready(Err(Error::Closed)) };
        match (slot.accepted, &slot.end) {
            (Some(durability), _) => Poll::Ready(Ok(durability)),
            (None, Some(Err(error))) => Poll::Ready(Err(error.clone())),
            // Settled without an acknowledgement: a task that was only watched.
            (None, Some(Ok(_))) => Poll::Ready(Ok(Durability::Memory)),
            (None, None) => {
                slot.waker = Some(waker.clone());
                Poll::Pending
            }
        }
    }

    pub(crate) fn poll_end(&mut self, slot: usize, waker: &Waker) -> Poll<Result<TaskOutcome>> {
        let Some(slot) = self.slots.get_mut(slot) else { return Poll::Ready(Err(Error::Closed)) };
        match &slot.end {
            Some(end) => Poll::Ready(end.clone()),
            None => {
                slot.waker = Some(waker.clone());
                Poll::Pending
            }
        }
    }

    /// Nobody will look at this slot any more.
    pub(crate) fn leave_slot(&mut self, index: usize, is_over: bool) {
        let Some(slot) = self.slots.get_mut(index) else { return };
        slot.is_left = true;
        slot.waker = None;
        // The session may still speak of it; then whoever hears that clears it away.
        if slot.end.is_some() || is_over {
            self.slots.try_remove(index);
        }
    }

    /// Looks at a lane, and clears it away if that was the last that anybody wanted of it.
    pub(crate) fn with_lane<T>(&mut self, index: usize, look: impl FnOnce(&mut Lane) -> T) -> Option<T> {
        let result = self.lanes.get_mut(index).map(look);
        if self.lanes.get(index).is_some_and(Lane::is_abandoned) {
            self.lanes.try_remove(index);
        }
        result
    }
}
