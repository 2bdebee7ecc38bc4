//! What is done about what a peer says.

use std::sync::Arc;

use ganger_client::{Client, EventStream, NewTask, TaskHandle};
use ganger_common::message::Durability;
use ganger_common::{TaskId, TaskOptions};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::following::{Places, follow_all, follow_outcomes};
use super::message::{Body, Follow, Request, Verb};
use super::outbox::Outbox;
use crate::api::{new_task, refused_items};
use crate::app::App;
use crate::feed::{Watcher, Wishes};
use crate::gate::answered;
use crate::house::Visitor;
use crate::limits::SOCKET_UNREAD_TIGHT;
use crate::model::{AcceptedItem, Batch, RefusedItem, Task};
use crate::refusal::Refusal;

/// What it takes to do something for a peer.
#[derive(Clone)]
pub(super) struct Talk {
    pub(super) app: Arc<App>,
    pub(super) visitor: Visitor,
    pub(super) client: Client,
    pub(super) outbox: Arc<Outbox>,
    /// Room for tasks that are followed.
    pub(super) followed: Arc<Semaphore>,
}

impl Talk {
    /// Carries out a request to its end. It holds its place among those that wait for the broker until that has
    /// answered.
    pub(super) async fn carry_out(
        &self,
        request: Request,
        place: Option<OwnedSemaphorePermit>,
    ) -> Result<(), Refusal> {
        let req = request.req;
        match request.verb {
            Verb::Submit => {
                let tasks = request.tasks.map(|Batch(tasks)| tasks).unwrap_or_default();
                self.submit(req, tasks, request.follow.unwrap_or_default(), place).await
            }
            Verb::Cancel => self.cancel(req, ids(request.ids)).await,
            Verb::Follow => {
                drop(place);
                self.follow(req, &ids(request.ids)).await
            }
            Verb::Watch => {
                drop(place);
                let (types, kinds, topics) = (request.types, request.kinds, request.topics);
                let wishes = Wishes {
                    types: types.unwrap_or_default(),
                    kinds: kinds.unwrap_or_default(),
                    topics: topics.unwrap_or_default(),
                };
                self.watch(req, wishes, request.after).await
            }
            // It was dealt with when it came.
            Verb::Stop => Ok(()),
        }
    }

    async fn submit(
        &self,
        req: u64,
        tasks: Vec<Task>,
        follow: Follow,
        place: Option<OwnedSemaphorePermit>,
    ) -> Result<(), Refusal> {
        if tasks.is_empty() {
            return Err(Refusal::bad_message("tasks: an array without tasks"));
        }
        let new = |task| new_task(task, |options| listen(options, follow));
        let tasks = tasks.into_iter().map(new).collect::<Result<Vec<NewTask>, Refusal>>()?;
        // Before anything is handed in: what is taken will be followed.
        let mut places = match follow {
            Follow::Nothing => Places::none(),
            Follow::Outcomes | Follow::All => Places::take(&self.app.waits, &self.followed, tasks.len())?,
        };
        let mut handed = Handed::default();
        answered(&self.client, handed.hand_in(&self.client, tasks, follow)).await?;
        let accepted = handed.tell(&self.outbox, req)?;
        drop(place);
        places.keep(accepted);
        match follow {
            Follow::Nothing => {}
            Follow::Outcomes => follow_outcomes(&self.outbox, req, handed.handles, &mut places).await,
            Follow::All => {
                // Or outcomes would be kept for them until the last of all tasks has ended.
                drop(handed.handles);
                follow_all(&self.outbox, req, handed.streams, &mut places).await;
            }
        }
        self.outbox.say(req, &Body::Done { refused: Vec::new() });
        Ok(())
    }

    async fn cancel(&self, req: u64, ids: Vec<TaskId>) -> Result<(), Refusal> {
        let refused = answered(&self.client, self.client.cancel(&ids)).await?;
        self.outbox.say(req, &Body::Done { refused: refused_items(refused, &ids) });
        Ok(())
    }

    async fn follow(&self, req: u64, ids: &[TaskId]) -> Result<(), Refusal> {
        let mut places = Places::take(&self.app.waits, &self.followed, ids.len())?;
        let streams = ids.iter().map(|id| Ok((*id, self.client.events(*id)?)));
        let streams = streams.collect::<ganger_client::Result<Vec<_>>>()?;
        follow_all(&self.outbox, req, streams, &mut places).await;
        self.outbox.say(req, &Body::Done { refused: Vec::new() });
        Ok(())
    }

    /// Tells what happens, until somebody stops it. Where the peer does not read, nothing is taken from the ring,
    /// which goes on.
    async fn watch(&self, req: u64, wishes: Wishes, after: Option<u64>) -> Result<(), Refusal> {
        let mut watcher = Watcher::begin(&self.app, self.visitor, wishes, after)?;
        let (oldest, newest) = watcher.kept();
        self.outbox.say(req, &Body::Watching { oldest, newest });
        loop {
            self.outbox.room(SOCKET_UNREAD_TIGHT).await;
            let told = watcher.next().await?;
            self.outbox.say(req, &Body::told(told));
        }
    }
}

fn ids(ids: Option<Batch<TaskId>>) -> Vec<TaskId> {
    ids.map(|Batch(ids)| ids).unwrap_or_default()
}

/// Over a WebSocket somebody has a stream of outcomes, so no task is detached whose outcome is wanted.
fn listen(options: &mut TaskOptions, follow: Follow) {
    options.detached = follow == Follow::Nothing;
    options.events |= follow == Follow::All;
}

/// What was handed in together.
#[derive(Default)]
struct Handed {
    handles: Vec<TaskHandle>,
    /// What they say, where somebody wants to hear it.
    streams: Vec<(TaskId, EventStream)>,
    verdicts: Vec<Result<Durability, Refusal>>,
}

impl Handed {
    /// Hands tasks in, all before the first is waited for, so that they travel together. Whoever wants to hear
    /// what they say listens before the broker has them.
    async fn hand_in(
        &mut self,
        client: &Client,
        tasks: Vec<NewTask>,
        follow: Follow,
    ) -> ganger_client::Result<()> {
        for task in tasks {
            let handle = client.send(task).await?;
            if follow == Follow::All {
                self.streams.push((handle.id(), client.events(handle.id())?));
            }
            self.handles.push(handle);
        }
        for handle in &mut self.handles {
            self.verdicts.push(handle.accepted().await.map_err(Refusal::from));
        }
        Ok(())
    }

    /// Tells what was taken and what was not, and forgets what was not. When nothing was, that is an error.
    fn tell(&mut self, outbox: &Outbox, req: u64) -> Result<usize, Refusal> {
        let verdicts = std::mem::take(&mut self.verdicts);
        let durability = verdicts.iter().find_map(|verdict| verdict.as_ref().ok().copied());
        let taken: Vec<bool> = verdicts.iter().map(Result::is_ok).collect();
        let (mut tasks, mut refused) = (Vec::new(), Vec::new());
        let ids: Vec<TaskId> = self.handles.iter().map(TaskHandle::id).collect();
        for (index, (id, verdict)) in ids.into_iter().zip(verdicts).enumerate() {
            match verdict {
                Ok(_) => tasks.push(AcceptedItem { index, id, ended: None }),
                Err(refusal) if durability.is_none() && index == 0 => return Err(refusal),
                Err(refusal) => refused.push(RefusedItem { index, id, problem: refusal.problem() }),
            }
        }
        let mut is_taken = taken.iter();
        self.handles.retain(|_| is_taken.next().copied().unwrap_or(false));
        let mut is_taken = taken.iter();
        self.streams.retain(|_| is_taken.next().copied().unwrap_or(false));
        let Some(durability) = durability else { return Err(Refusal::unreachable("no verdict came")) };
        let accepted = tasks.len();
        outbox.say(req, &Body::Accepted { durability, accepted, tasks, refused });
        Ok(accepted)
    }
}
