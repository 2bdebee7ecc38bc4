//! Many tasks through one pair of ends: for programs that submit by the thousand.
//!
//! What a [`PipeSender`] hands in comes out of its [`PipeReceiver`], in the order in which it ends. Both
//! ends work in bulk. How many tasks may be between them is bounded, outcomes that were not taken yet
//! included, so a program that does not take its outcomes stops submitting instead of growing.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use ganger_common::TaskId;
use tokio::sync::Semaphore;

use crate::desk::Desk;
use crate::error::{Error, Result};
use crate::places::lane_token;
use crate::session::Submission;
use crate::task::{NewTask, TaskOutcome};

/// How a pipe is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PipeConfig {
    /// Most tasks handed in whose end was not taken out.
    pub in_flight: usize,
    /// Tell of acknowledgements, too.
    pub accepted: bool,
}

impl Default for PipeConfig {
    fn default() -> Self {
        Self { in_flight: 65_536, accepted: false }
    }
}

/// Something that comes out of a pipe. Tasks are told apart by their tag: the number in which they were
/// handed in, from 0.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PipeItem {
    /// A task was acknowledged.
    Accepted {
        /// Which.
        tag: u32,
    },
    /// A task has its outcome.
    Settled {
        /// Which.
        tag: u32,
        /// The outcome.
        outcome: TaskOutcome,
    },
    /// A task will have no outcome.
    Failed {
        /// Which.
        tag: u32,
        /// Its id.
        id: TaskId,
        /// Why.
        error: Error,
    },
}

/// The middle of a pipe; lives on the desk.
#[derive(Debug)]
pub(crate) struct Lane {
    wants_accepted: bool,
    ready: Vec<PipeItem>,
    waker: Option<Waker>,
    pub(crate) outstanding: usize,
    has_sender: bool,
    has_receiver: bool,
}

impl Lane {
    pub(crate) fn accepted(&mut self, tag: u32) -> Option<Waker> {
        if !self.wants_accepted || !self.has_receiver {
            return None;
        }
        self.ready.push(PipeItem::Accepted { tag });
        self.waker.take()
    }

    pub(crate) fn ended(
        &mut self,
        tag: u32,
        end: std::result::Result<TaskOutcome, (TaskId, Error)>,
    ) -> Option<Waker> {
        self.outstanding = self.outstanding.saturating_sub(1);
        if self.has_receiver {
            self.ready.push(match end {
                Ok(outcome) => PipeItem::Settled { tag, outcome },
                Err((id, error)) => PipeItem::Failed { tag, id, error },
            });
        }
        self.waker.take()
    }

    /// Whether nobody is left who could care.
    pub(crate) fn is_abandoned(&self) -> bool {
        !self.has_sender && !self.has_receiver && self.outstanding == 0
    }
}

/// Makes a pipe.
pub(crate) fn pipe(desk: &Arc<Desk>, config: PipeConfig) -> (PipeSender, PipeReceiver) {
    let lane = desk.add_lane(Lane {
        wants_accepted: config.accepted,
        ready: Vec::new(),
        waker: None,
        outstanding: 0,
        has_sender: true,
        has_receiver: true,
    });
    let room = Arc::new(Semaphore::new(config.in_flight.clamp(1, Semaphore::MAX_PERMITS)));
    let sender = PipeSender {
        desk: desk.clone(),
        lane,
        next_tag: 0,
        room: room.clone(),
        in_flight: config.in_flight.max(1),
    };
    (sender, PipeReceiver { desk: desk.clone(), lane, room })
}

/// Where tasks go in.
#[derive(Debug)]
pub struct PipeSender {
    desk: Arc<Desk>,
    lane: usize,
    next_tag: u32,
    room: Arc<Semaphore>,
    in_flight: usize,
}

/// Tasks that enter the window together. Enough to make locks and wake-ups cheap, few enough that a small
/// window is not waited for as a whole.
const CHUNK: usize = 256;

impl PipeSender {
    /// Hands in one task, as soon as pipe and window have room, and returns its tag.
    ///
    /// # Errors
    /// When the client is over. What the broker refuses comes out at the other end.
    ///
    /// # Cancel safety
    /// The task was not handed in when the future is dropped.
    pub async fn send(&mut self, task: NewTask) -> Result<u32> {
        let units = self.desk.units(task.payload.len());
        let room = self.room.acquire().await.map_err(|_| Error::Closed)?;
        self.desk.enter(1, units).await?;
        room.forget();
        self.put(std::iter::once(task), 1)
    }

    /// Hands in tasks as pipe and window have room for them, and returns the tag of the first; the others
    /// follow it one by one.
    ///
    /// # Errors
    /// When the client is over. What the broker refuses comes out at the other end.
    ///
    /// # Cancel safety
    /// Some of the tasks may have been handed in when the future is dropped.
    pub async fn send_many(&mut self, tasks: Vec<NewTask>) -> Result<u32> {
        self.send_many_noting(tasks, |_| {}).await
    }

    /// The same, and each time some of the tasks are about to enter, `entering` is told how many: for those
    /// who measure from there.
    ///
    /// # Errors
    /// The same as for [`send_many`](Self::send_many).
    ///
    /// # Cancel safety
    /// The same as for [`send_many`](Self::send_many).
    pub async fn send_many_noting(
        &mut self,
        tasks: Vec<NewTask>,
        mut entering: impl FnMut(usize),
    ) -> Result<u32> {
        let first = self.next_tag;
        let mut tasks = tasks.into_iter();
        while !tasks.as_slice().is_empty() {
            let (count, units) = self.chunk(tasks.as_slice());
            let room = self.room.acquire_many(count as u32).await.map_err(|_| Error::Closed)?;
            self.desk.enter(count, units).await?;
            room.forget();
            entering(count);
            self.put(tasks.by_ref().take(count), count)?;
        }
        Ok(first)
    }

    /// How many of these tasks enter the window together, and what they take of it.
    fn chunk(&self, tasks: &[NewTask]) -> (usize, usize) {
        let most = CHUNK.min(self.in_flight.div_ceil(4)).min(self.desk.window_tasks().div_ceil(4));
        let units_most = self.desk.units_max() / 4;
        let (mut count, mut units) = (0, 0);
        for task in tasks.iter().take(most) {
            let more = self.desk.units(task.payload.len());
            if count > 0 && units + more > units_most {
                break;
            }
            count += 1;
            units += more;
        }
        (count, units)
    }

    fn put(&mut self, tasks: impl Iterator<Item = NewTask>, count: usize) -> Result<u32> {
        let (desk, lane, first) = (&self.desk, self.lane, self.next_tag);
        let mut tag = first;
        let submissions = tasks.map(|task| {
            let token = lane_token(lane, tag);
            tag = tag.wrapping_add(1);
            Submission { token, id: task.id.unwrap_or_else(|| desk.ids.next()), task }
        });
        desk.submit_lane(lane, count, submissions)?;
        self.next_tag = tag;
        Ok(first)
    }
}

impl Drop for PipeSender {
    fn drop(&mut self) {
        let waker = self.desk.with_lane(self.lane, |lane| {
            lane.has_sender = false;
            lane.waker.take()
        });
        waker.flatten().into_iter().for_each(Waker::wake);
    }
}

/// Where outcomes come out.
#[derive(Debug)]
pub struct PipeReceiver {
    desk: Arc<Desk>,
    lane: usize,
    room: Arc<Semaphore>,
}

impl PipeReceiver {
    /// Waits until something is there, and moves all of it into `into`. Returns how many; 0: the sender is
    /// gone and everything has come out.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn recv_many(&mut self, into: &mut Vec<PipeItem>) -> usize {
        std::future::poll_fn(|context| self.poll_recv_many(context, into)).await
    }

    /// What is there already, without waiting.
    pub fn try_recv_many(&mut self, into: &mut Vec<PipeItem>) -> usize {
        match self.poll_recv_many(&mut Context::from_waker(Waker::noop()), into) {
            Poll::Ready(count) => count,
            Poll::Pending => 0,
        }
    }

    fn poll_recv_many(&mut self, context: &mut Context<'_>, into: &mut Vec<PipeItem>) -> Poll<usize> {
        let start = into.len();
        let taken = self.desk.with_lane(self.lane, |lane| {
            if lane.ready.is_empty() && (lane.has_sender || lane.outstanding > 0) {
                lane.waker = Some(context.waker().clone());
                return None;
            }
            into.append(&mut lane.ready);
            Some(())
        });
        if let Some(None) = taken {
            return Poll::Pending;
        }
        let came = &into[start..];
        let ended = came.iter().filter(|item| !matches!(item, PipeItem::Accepted { .. })).count();
        self.room.add_permits(ended);
        Poll::Ready(came.len())
    }
}

impl Drop for PipeReceiver {
    fn drop(&mut self) {
        // A sender that waits for room would wait for ever.
        self.room.close();
        self.desk.with_lane(self.lane, |lane| {
            lane.has_receiver = false;
            lane.ready = Vec::new();
        });
    }
}
