//! A client that remembers everything it asked for and everything it was told, for the checker.

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use ganger_client::{Client, ClientConfig, NewTask, TaskHandle, TaskOutcome, as_completed};
use ganger_common::view::{Explanation, KnowledgeStatusView, StatusView, TaskView, WorkerView};
use ganger_common::{Outcome, Revision, TaskId};

use crate::cluster::Cluster;
use crate::diary;
use crate::verdict::{self, Account, Findings, Settled};
use crate::wait::{until, within};

/// The broker answers a question within this.
const ANSWER_DEADLINE: Duration = Duration::from_secs(10);

/// A client and its books.
#[derive(Debug)]
pub struct Customer {
    client: Client,
    account: Account,
}

impl Customer {
    /// Connects to a cluster's broker.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn connect(cluster: &Cluster) -> Self {
        let connecting = Client::connect(ClientConfig::new(cluster.clients()));
        let client = within("the client is connected", ANSWER_DEADLINE, connecting).await;
        Self { client: client.unwrap_or_else(|error| panic!("{error}")), account: Account::default() }
    }

    /// The client itself.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Hands in one task.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn submit(&mut self, task: NewTask) -> TaskHandle {
        self.submit_all([task]).await.remove(0)
    }

    /// Hands in tasks in their order, and waits until all are acknowledged.
    ///
    /// # Panics
    /// When one is refused.
    pub async fn submit_all(&mut self, tasks: impl IntoIterator<Item = NewTask>) -> Vec<TaskHandle> {
        let mut checksums = Vec::new();
        let tasks = tasks.into_iter().inspect(|task| checksums.push(crc32fast::hash(task.payload())));
        let handles = self.client.submit_many(tasks).await.unwrap_or_else(|error| panic!("{error}"));
        let ids = handles.iter().map(TaskHandle::id);
        self.account.submitted.extend(ids.zip(checksums));
        handles
    }

    /// Waits for the outcomes of tasks, and books them.
    ///
    /// # Panics
    /// When they are not there by the deadline, or one will not come.
    pub async fn wait_all(&mut self, handles: Vec<TaskHandle>, deadline: Duration) -> Vec<TaskOutcome> {
        let count = handles.len();
        let mut outcomes = Vec::with_capacity(count);
        let collect = async {
            let mut stream = std::pin::pin!(as_completed(handles));
            while let Some((id, outcome)) = stream.next().await {
                outcomes.push(outcome.unwrap_or_else(|error| panic!("{id}: {error}")));
            }
        };
        if tokio::time::timeout(deadline, collect).await.is_err() {
            panic!("{} of {count} tasks settled within {deadline:?}", outcomes.len());
        }
        for outcome in &outcomes {
            self.account.outcomes.push(Settled {
                task: outcome.id,
                outcome: outcome.outcome,
                attempt: outcome.attempt,
                result: outcome.result.clone(),
            });
        }
        outcomes
    }

    /// Waits for the outcome of one task, and books it.
    ///
    /// # Panics
    /// As [`wait_all`](Self::wait_all).
    pub async fn wait(&mut self, handle: TaskHandle, deadline: Duration) -> TaskOutcome {
        self.wait_all(vec![handle], deadline).await.remove(0)
    }

    /// Hands in tasks, waits for all, and makes sure that every one succeeded.
    ///
    /// # Panics
    /// When one did not, or not by the deadline.
    pub async fn run(
        &mut self,
        tasks: impl IntoIterator<Item = NewTask>,
        deadline: Duration,
    ) -> Vec<TaskOutcome> {
        let handles = within("all tasks are taken", deadline, self.submit_all(tasks)).await;
        let outcomes = self.wait_all(handles, deadline).await;
        assert_all_succeeded(&outcomes);
        outcomes
    }

    /// The broker's figures.
    pub async fn status(&self) -> StatusView {
        answered(self.client.status()).await
    }

    /// One of the broker's counters.
    pub async fn counter(&self, name: &str) -> u64 {
        let counters = self.status().await.counters;
        *counters.get(name).unwrap_or_else(|| panic!("no counter {name} among {:?}", counters.keys()))
    }

    /// Every connected worker.
    pub async fn workers(&self) -> Vec<WorkerView> {
        answered(self.client.workers()).await
    }

    /// Waits until this many workers are ready.
    pub async fn await_workers(&self, count: usize, deadline: Duration) -> Vec<WorkerView> {
        let is_ready = |worker: &WorkerView| worker.state == ganger_common::view::WorkerState::Ready;
        until(&format!("{count} workers are ready"), deadline, async || {
            let workers = self.workers().await;
            (workers.iter().filter(|worker| is_ready(worker)).count() == count).then_some(workers)
        })
        .await
    }

    /// What the broker has on record of a task.
    pub async fn task(&self, id: TaskId) -> TaskView {
        answered(self.client.fetch(id)).await.0
    }

    /// The result that the broker keeps of a task.
    pub async fn result(&self, id: TaskId) -> Option<Bytes> {
        answered(self.client.fetch(id)).await.1
    }

    /// Why a task is where it is.
    pub async fn explain(&self, id: TaskId) -> Explanation {
        answered(self.client.explain(id)).await
    }

    /// Sets a value of the knowledge map.
    pub async fn put(&self, topic: &str, key: &str, value: Vec<u8>) -> Revision {
        answered(self.client.knowledge().put(topic, key, value)).await
    }

    /// Who knows what.
    pub async fn knowledge_status(&self) -> KnowledgeStatusView {
        answered(self.client.knowledge().status()).await
    }

    /// Holds what this client saw against what the workers wrote.
    pub async fn judge(&mut self, diaries: &Path) -> Findings {
        let lines = diary::read_all(diaries);
        let again: HashSet<TaskId> = verdict::ran_again(&lines);
        for task in again.into_iter().filter(|task| self.account.submitted.contains_key(task)) {
            let view = self.task(task).await;
            self.account.histories.insert(task, view);
        }
        verdict::check(&self.account, &lines)
    }
}

/// Makes sure that every task has a result.
///
/// # Panics
/// When one has not.
pub fn assert_all_succeeded(outcomes: &[TaskOutcome]) {
    let others: Vec<_> = outcomes.iter().filter(|outcome| outcome.outcome != Outcome::Succeeded).collect();
    assert!(others.is_empty(), "{} tasks did not succeed, such as {:?}", others.len(), others.first());
}

async fn answered<T>(question: impl Future<Output = ganger_client::Result<T>>) -> T {
    within("the broker answers", ANSWER_DEADLINE, question).await.unwrap_or_else(|error| panic!("{error}"))
}
