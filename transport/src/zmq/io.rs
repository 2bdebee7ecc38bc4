//! The thread on which sockets live.

use std::future::Future;
use std::io;
use std::sync::Arc;

use tokio::runtime::{Builder, Handle};
use tokio::sync::Notify;

/// A thread with a runtime of its own. It ends when this value is dropped.
#[derive(Debug)]
pub(super) struct IoThread {
    runtime: Handle,
    stop: Arc<Notify>,
}

impl IoThread {
    pub(super) fn start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let stop = Arc::new(Notify::new());
        let stopped = stop.clone();
        std::thread::Builder::new()
            .name("ganger-io".to_owned())
            .spawn(move || runtime.block_on(stopped.notified()))?;
        Ok(Self { runtime: handle, stop })
    }

    /// Runs a task on the thread.
    pub(super) fn spawn<F>(&self, task: F) -> tokio::task::JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.runtime.spawn(task)
    }
}

impl Drop for IoThread {
    fn drop(&mut self) {
        self.stop.notify_one();
    }
}
