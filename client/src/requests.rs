//! Questions to the broker, and orders about tasks and workers.

use std::time::Duration;

use bytes::Bytes;
use ganger_common::view::{Among, Explanation, StatusView, TaskView, WorkerView};
use ganger_common::{ErrorCode, TaskId};
use tokio::sync::oneshot;

use crate::client::{Client, IDS_MAX};
use crate::error::{Error, Result};
use crate::session::request::{Answer, DiscardQuery, Refused, Request, TaskQuery};

/// One page of a listing.
#[derive(Clone, PartialEq, Debug)]
pub struct Page<T> {
    /// The rows.
    pub rows: Vec<T>,
    /// Where the next page begins; none after the last.
    pub next: Option<String>,
}

impl Client {
    /// Cancels tasks. Returns those that could not be cancelled, by their place in `tasks`; for all others
    /// no result will be accepted any more.
    ///
    /// # Errors
    /// When there is no answer; see [`Error::Interrupted`].
    pub async fn cancel(&self, tasks: &[TaskId]) -> Result<Vec<Refused>> {
        self.on_tasks(tasks, Request::Cancel).await
    }

    /// Puts failed or dead tasks back into their queues. Returns those that could not be, by their place.
    ///
    /// # Errors
    /// When there is no answer; see [`Error::Interrupted`].
    pub async fn retry(&self, tasks: &[TaskId]) -> Result<Vec<Refused>> {
        self.on_tasks(tasks, Request::Retry).await
    }

    /// Lets failed or dead tasks go, payload and all: nobody remembers them afterwards. Returns those that could
    /// not be let go, by their place.
    ///
    /// # Errors
    /// When there is no answer; see [`Error::Interrupted`].
    pub async fn discard(&self, tasks: &[TaskId]) -> Result<Vec<Refused>> {
        let mut refused = Vec::new();
        for (page, tasks) in tasks.chunks(IDS_MAX).enumerate() {
            match self.ask(Request::Discard(tasks.to_vec())).await? {
                Answer::Discarded { refused: some, .. } => refused.extend(on_page(page, some)),
                other => return Err(unexpected(&other)),
            }
        }
        Ok(refused)
    }

    /// Lets all tasks of the dead set go that fit, as many as the broker lets go at a time. Returns how many that
    /// were, and where to go on.
    ///
    /// # Errors
    /// When there is no answer; see [`Error::Interrupted`].
    pub async fn discard_some(&self, query: DiscardQuery) -> Result<(u64, Option<String>)> {
        match self.ask(Request::DiscardAll(query)).await? {
            Answer::Discarded { count, next, .. } => Ok((count, next)),
            other => Err(unexpected(&other)),
        }
    }

    /// Lets all tasks of the dead set go that fit. Returns how many that were.
    ///
    /// # Errors
    /// When there is no answer; see [`Error::Interrupted`]. Some may have been let go by then.
    pub async fn discard_all(&self, among: Among, kind: Option<&str>) -> Result<u64> {
        let mut query = DiscardQuery { among, kind: kind.map(str::to_owned), after: None };
        let mut all = 0;
        loop {
            let (count, next) = self.discard_some(query.clone()).await?;
            all += count;
            query.after = next;
            if query.after.is_none() {
                return Ok(all);
            }
        }
    }

    /// Pauses a kind: its tasks are taken and wait, nothing of it is given out until it is resumed. What workers
    /// have of it already goes on.
    ///
    /// # Errors
    /// `too_many` when too many kinds are paused, or no answer; see [`Error::Interrupted`].
    pub async fn pause(&self, kind: &str) -> Result<()> {
        self.done(Request::Pause { kind: kind.to_owned() }).await
    }

    /// Resumes a paused kind.
    ///
    /// # Errors
    /// When there is no answer; see [`Error::Interrupted`].
    pub async fn resume(&self, kind: &str) -> Result<()> {
        self.done(Request::Resume { kind: kind.to_owned() }).await
    }

    /// Reads one task with its result.
    ///
    /// # Errors
    /// `unknown_task`, or no answer.
    pub async fn fetch(&self, task: TaskId) -> Result<(TaskView, Option<Bytes>)> {
        match self.ask(Request::Fetch(task)).await? {
            Answer::Task { task, result } => Ok((*task, result)),
            other => Err(unexpected(&other)),
        }
    }

    /// The payload of a task that may still run: one without an outcome, or one of the dead set.
    ///
    /// # Errors
    /// `unknown_task`; `not_found` when the payload was let go with the outcome; or no answer.
    pub async fn payload(&self, task: TaskId) -> Result<Bytes> {
        match self.ask(Request::Payload(task)).await? {
            Answer::Payload(payload) => Ok(payload),
            other => Err(unexpected(&other)),
        }
    }

    /// Why a task is where it is.
    ///
    /// # Errors
    /// `unknown_task`, or no answer.
    pub async fn explain(&self, task: TaskId) -> Result<Explanation> {
        match self.ask(Request::Explain(task)).await? {
            Answer::Explanation(explanation) => Ok(*explanation),
            other => Err(unexpected(&other)),
        }
    }

    /// One page of tasks, oldest first.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn list(&self, query: TaskQuery) -> Result<Page<TaskView>> {
        match self.ask(Request::List(query)).await? {
            Answer::Tasks { rows, next } => Ok(Page { rows, next }),
            other => Err(unexpected(&other)),
        }
    }

    /// All workers.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn workers(&self) -> Result<Vec<WorkerView>> {
        let mut workers = Vec::new();
        let mut after = None;
        loop {
            match self.ask(Request::Workers { after }).await? {
                Answer::Workers { rows, next } => {
                    workers.extend(rows);
                    after = next;
                }
                other => return Err(unexpected(&other)),
            }
            if after.is_none() {
                return Ok(workers);
            }
        }
    }

    /// The broker's figures.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn status(&self) -> Result<StatusView> {
        match self.ask(Request::Status).await? {
            Answer::Status(status) => Ok(*status),
            other => Err(unexpected(&other)),
        }
    }

    /// Drains workers, by id or name; none: all of them. Returns those that are not known, by their place.
    ///
    /// # Errors
    /// When there is no answer; see [`Error::Interrupted`].
    pub async fn drain(&self, workers: Vec<String>, deadline: Option<Duration>) -> Result<Vec<Refused>> {
        self.verdicts(Request::Drain { workers, broker: false, deadline }).await
    }

    /// Drains the broker: it takes nothing new, lets the workers finish, and ends.
    ///
    /// # Errors
    /// When there is no answer; see [`Error::Interrupted`].
    pub async fn drain_broker(&self, deadline: Option<Duration>) -> Result<()> {
        let refused = self.verdicts(Request::Drain { workers: Vec::new(), broker: true, deadline }).await?;
        match refused.into_iter().next() {
            None => Ok(()),
            Some(refused) => Err(Error::refused(refused.code, refused.text)),
        }
    }

    /// Sends a broadcast to whoever listens now.
    ///
    /// # Errors
    /// When it is too large, or there is no answer; see [`Error::Interrupted`].
    pub async fn publish(&self, topic: &str, body: impl Into<Bytes>) -> Result<()> {
        self.done(Request::Publish { topic: topic.to_owned(), body: body.into() }).await
    }

    /// Asks anything.
    ///
    /// # Errors
    /// What the broker refuses, [`Error::Interrupted`] when the connection broke and the question must not
    /// be asked twice, or the end of the client.
    pub async fn ask(&self, request: Request) -> Result<Answer> {
        let desk = self.desk();
        let room = desk.question_room.acquire().await.map_err(|_| desk.end_reason())?;
        let (sender, receiver) = oneshot::channel();
        let question = Question { client: self, token: desk.ask(request, sender)? };
        let answer = receiver.await.unwrap_or(Err(Error::Closed));
        drop(question);
        drop(room);
        answer
    }

    async fn on_tasks(
        &self,
        tasks: &[TaskId],
        request: impl Fn(Vec<TaskId>) -> Request,
    ) -> Result<Vec<Refused>> {
        let mut refused = Vec::new();
        for (page, tasks) in tasks.chunks(IDS_MAX).enumerate() {
            let some = self.verdicts(request(tasks.to_vec())).await?;
            refused.extend(on_page(page, some));
        }
        Ok(refused)
    }

    async fn done(&self, request: Request) -> Result<()> {
        match self.ask(request).await? {
            Answer::Done => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    async fn verdicts(&self, request: Request) -> Result<Vec<Refused>> {
        match self.ask(request).await? {
            Answer::Verdicts(refused) => Ok(refused),
            other => Err(unexpected(&other)),
        }
    }
}

/// Refusals of one page of a request, by their places in the whole of it.
fn on_page(page: usize, refused: Vec<Refused>) -> impl Iterator<Item = Refused> {
    refused.into_iter().map(move |refused| Refused { index: refused.index + page * IDS_MAX, ..refused })
}

/// A question whose asker may stop waiting.
struct Question<'a> {
    client: &'a Client,
    token: u64,
}

impl Drop for Question<'_> {
    fn drop(&mut self) {
        self.client.desk().questions.remove(&self.token);
    }
}

pub(crate) fn unexpected(answer: &Answer) -> Error {
    let name = format!("{answer:?}");
    let name = name.split([' ', '(', '{']).next().unwrap_or_default();
    Error::Protocol(format!("the answer to another question came: {name}"))
}

impl Refused {
    /// The same as an error.
    pub fn error(&self) -> Error {
        Error::refused(self.code, self.text.clone())
    }

    /// Whether there is no such task.
    pub fn is_unknown(&self) -> bool {
        self.code == ErrorCode::UnknownTask
    }
}
