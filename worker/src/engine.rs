//! The threads of workers: one for connections, some for handlers.

use std::future::Future;
use std::io;
use std::sync::Arc;

use ganger_transport::{Connector, IoThread};
use parking_lot::Mutex;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinHandle;

use crate::error::WorkerError;

/// Threads that one or many workers of a process run on. Connections and heartbeats have a thread that no
/// handler can keep, so a handler that blocks cannot make its worker look dead. It is the thread of the
/// worker's sockets; workers without sockets share one.
#[derive(Debug)]
pub struct Engine {
    /// For workers without sockets; starts with the first of them.
    connections: Mutex<Option<Arc<IoThread>>>,
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
        Ok(Self { connections: Mutex::default(), handlers: Some(handlers) })
    }

    /// As many threads for handlers as there are processors.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn for_this_machine() -> Result<Self, WorkerError> {
        Self::start(std::thread::available_parallelism().map_or(1, usize::from))
    }

    /// Where the session of a worker with this connector runs: on the thread of its sockets, so that no
    /// thread is woken between the two.
    pub(crate) fn thread_of<C: Connector>(&self, connector: &C) -> Result<Arc<IoThread>, WorkerError> {
        match connector.thread().map_err(WorkerError::Thread)? {
            Some(thread) => Ok(thread),
            None => self.connections().map_err(WorkerError::Thread),
        }
    }

    fn connections(&self) -> io::Result<Arc<IoThread>> {
        let mut connections = self.connections.lock();
        if let Some(thread) = &*connections {
            return Ok(thread.clone());
        }
        let started = Arc::new(IoThread::start_as("ganger-worker")?);
        *connections = Some(started.clone());
        Ok(started)
    }

    /// Where handlers run; there until the engine is dropped.
    pub(crate) fn handlers(&self) -> Option<&Handle> {
        self.handlers.as_ref().map(Runtime::handle)
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
        if let Some(handlers) = self.handlers.take() {
            // Waiting for a handler that never ends would be for ever.
            handlers.shutdown_background();
        }
    }
}
