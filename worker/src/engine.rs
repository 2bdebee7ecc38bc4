//! The threads of workers: one for connections, some for handlers.

use std::future::Future;
use std::sync::Arc;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::error::WorkerError;

/// Threads that one or many workers of a process run on. Connections and heartbeats have a thread that no
/// handler ever runs on, so a handler that blocks cannot make its worker look dead.
#[derive(Debug)]
pub struct Engine {
    connections: Handle,
    stop: Arc<Notify>,
    handlers: Option<Runtime>,
}

impl Engine {
    /// Starts the threads: `handler_threads` of them run asynchronous handlers.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(handler_threads: usize) -> Result<Self, WorkerError> {
        let handlers = Builder::new_multi_thread()
            .worker_threads(handler_threads.max(1))
            .thread_name("ganger-executor")
            .enable_all()
            .build()
            .map_err(WorkerError::Thread)?;
        let runtime = Builder::new_current_thread().enable_all().build().map_err(WorkerError::Thread)?;
        let connections = runtime.handle().clone();
        let stop = Arc::new(Notify::new());
        let stopped = stop.clone();
        std::thread::Builder::new()
            .name("ganger-worker".to_owned())
            .spawn(move || runtime.block_on(stopped.notified()))
            .map_err(WorkerError::Thread)?;
        Ok(Self { connections, stop, handlers: Some(handlers) })
    }

    /// As many threads for handlers as there are processors.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn for_this_machine() -> Result<Self, WorkerError> {
        Self::start(std::thread::available_parallelism().map_or(1, usize::from))
    }

    pub(crate) fn spawn_connection<F>(&self, task: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.connections.spawn(task)
    }

    pub(crate) fn spawn_handlers<F>(&self, task: F) -> Option<JoinHandle<F::Output>>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.handlers.as_ref().map(|runtime| runtime.spawn(task))
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.stop.notify_one();
        if let Some(handlers) = self.handlers.take() {
            // Waiting for a handler that never ends would be for ever.
            handlers.shutdown_background();
        }
    }
}
