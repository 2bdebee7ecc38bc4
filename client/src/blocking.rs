//! The client for programs without a runtime.

use std::time::Duration;

use ganger_common::TaskId;
use ganger_common::message::Durability;

use crate::client::ClientConfig;
use crate::error::{Error, Result};
use crate::task::{NewTask, TaskOutcome};

/// A client whose calls block the calling thread.
///
/// Must not be used within an asynchronous runtime: there, blocking a thread blocks others.
#[derive(Debug)]
pub struct Client {
    inner: crate::Client,
    runtime: tokio::runtime::Runtime,
}

impl Client {
    /// Connects to a broker over ZeroMQ and waits for its welcome.
    ///
    /// # Errors
    /// The same as for [`crate::Client::connect`].
    pub fn connect(config: ClientConfig) -> Result<Self> {
        let runtime = runtime(&config)?;
        let inner = runtime.block_on(crate::Client::connect(config))?;
        Ok(Self { inner, runtime })
    }

    /// Uses an asynchronous client.
    ///
    /// # Errors
    /// When the system has no room for a runtime.
    pub fn over(inner: crate::Client) -> Result<Self> {
        let runtime = runtime(inner.config())?;
        Ok(Self { inner, runtime })
    }

    /// Submits a task and waits until the broker has taken it.
    ///
    /// # Errors
    /// The same as for [`crate::Client::submit`].
    pub fn submit(&self, task: NewTask) -> Result<TaskHandle<'_>> {
        let inner = self.runtime.block_on(self.inner.submit(task))?;
        Ok(TaskHandle { client: self, inner })
    }

    /// Submits tasks, and returns their outcomes in the order of the tasks.
    ///
    /// # Errors
    /// The first task that the broker refuses, or that will have no outcome.
    pub fn run_all(&self, tasks: impl IntoIterator<Item = NewTask>) -> Result<Vec<TaskOutcome>> {
        self.block_on(async {
            let mut outcomes = Vec::new();
            for mut handle in self.inner.submit_many(tasks).await? {
                outcomes.push(handle.outcome().await?);
            }
            Ok(outcomes)
        })
    }

    /// Runs any call of the asynchronous client to its end.
    pub fn block_on<T>(&self, call: impl Future<Output = T>) -> T {
        self.runtime.block_on(call)
    }

    /// The asynchronous client behind this one, for [`block_on`](Self::block_on).
    pub fn inner(&self) -> &crate::Client {
        &self.inner
    }

    /// Says goodbye, and waits until that has left.
    pub fn close(self) {
        self.runtime.block_on(self.inner.close());
    }
}

fn runtime(config: &ClientConfig) -> Result<tokio::runtime::Runtime> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Error::Unreachable {
        endpoint: config.endpoint.to_string(),
        reason: format!("cannot start a runtime: {error}"),
    })
}

/// Waits for one task. Dropping it does not cancel the task.
#[derive(Debug)]
pub struct TaskHandle<'a> {
    client: &'a Client,
    inner: crate::TaskHandle,
}

impl TaskHandle<'_> {
    /// The task.
    pub fn id(&self) -> TaskId {
        self.inner.id()
    }

    /// How far the broker's promise to run the task reaches.
    ///
    /// # Errors
    /// The same as for [`crate::TaskHandle::accepted`].
    pub fn accepted(&mut self) -> Result<Durability> {
        self.client.block_on(self.inner.accepted())
    }

    /// Waits for the outcome.
    ///
    /// # Errors
    /// The same as for [`crate::TaskHandle::outcome`].
    pub fn outcome(&mut self) -> Result<TaskOutcome> {
        self.client.block_on(self.inner.outcome())
    }

    /// Waits for the outcome, but not for longer than this.
    ///
    /// # Errors
    /// [`Error::TimedOut`]; and the same as for [`outcome`](Self::outcome).
    pub fn outcome_within(&mut self, time: Duration) -> Result<TaskOutcome> {
        let outcome = async { tokio::time::timeout(time, self.inner.outcome()).await };
        self.client.runtime.block_on(outcome).unwrap_or(Err(Error::TimedOut { after: time }))
    }
}
