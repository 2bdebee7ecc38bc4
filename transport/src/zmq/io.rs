//! The thread on which sockets live.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::{Builder, Handle, Runtime, RuntimeFlavor};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::helm::Helm;

/// How often a socket that is being closed is asked whether it has written everything. The library tells
/// nobody, and this only delays the end of a process.
const LINGER_POLL: Duration = Duration::from_millis(1);

/// A thread with a runtime of its own. It ends when this value is dropped, after what its sockets were told
/// to let out.
///
/// What runs on the thread of its sockets hands messages over without waking anybody, which is most of what
/// a lone message costs. Nothing that runs there may block.
#[derive(Debug)]
pub struct IoThread {
    runtime: Handle,
    control: Arc<Control>,
    ended: Option<oneshot::Receiver<()>>,
}

#[derive(Debug, Default)]
struct Control {
    helm: Arc<Helm>,
    linger_until: Mutex<Option<Instant>>,
    ending: Mutex<Option<oneshot::Sender<()>>>,
}

impl Control {
    fn end(&self, runtime: Runtime) {
        let until = *self.linger_until.lock();
        if let Some(until) = until {
            runtime.block_on(finished(0, until));
        }
        // Not a plain drop: that would wait for a name lookup, which cannot be interrupted.
        runtime.shutdown_background();
        // Nobody listens when the thread was left to itself.
        self.ending.lock().take().map(|ending| ending.send(()));
    }
}

impl IoThread {
    pub(super) fn start() -> io::Result<Self> {
        Self::start_as(THREAD_NAME)
    }

    /// The thread of the caller, whose runtime drives what is given to it: what goes from one task of it to
    /// another wakes no thread. Who lends it sees to its end ([`let_out`]). A runtime of several threads
    /// cannot be lent, because the library stops for good on one; the caller gets another thread then.
    pub(super) fn of_the_caller() -> io::Result<Self> {
        match Handle::try_current() {
            Ok(runtime) if runtime.runtime_flavor() == RuntimeFlavor::CurrentThread => {
                Ok(Self { runtime, control: Arc::default(), ended: None })
            }
            _ => Self::start(),
        }
    }

    /// Whether the caller has lent it.
    pub(super) fn is_lent(&self) -> bool {
        self.ended.is_none()
    }

    pub(crate) fn handle(&self) -> &Handle {
        &self.runtime
    }

    /// Starts a thread of this name.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start_as(name: &str) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let control = Arc::new(Control::default());
        let (ending, ended) = oneshot::channel();
        *control.ending.lock() = Some(ending);
        let told = control.clone();
        let drive = move || told.helm.drive(runtime).into_iter().for_each(|runtime| told.end(runtime));
        std::thread::Builder::new().name(name.to_owned()).spawn(drive)?;
        Ok(Self { runtime: handle, control, ended: Some(ended) })
    }

    /// Runs a task on the thread.
    pub fn spawn<F>(&self, task: F) -> tokio::task::JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.runtime.spawn(task)
    }

    /// Whether [`call`](Self::call) would run a job here and now. The first time, this starts the thread that
    /// takes over when a job blocks.
    pub fn has_time(&self) -> bool {
        let control = self.control.clone();
        self.control.helm.hire(WATCHER_NAME, move |runtime| control.end(runtime))
    }

    /// Runs a job on the thread, between two tasks of its runtime, and then what it returns, which is the
    /// place to wake tasks. Should the job keep the thread, another one drives the runtime after a few
    /// milliseconds, and sockets and timers go on. A job that is told `false` must not block: then nobody
    /// would take over.
    pub fn call<T: FnOnce() + Send + 'static>(&self, job: impl FnOnce(bool) -> T + Send + 'static) {
        self.control.helm.call(Box::new(|has_time| Box::new(job(has_time))));
    }

    /// Lets closed sockets write what they have until then, should the thread be stopped before.
    pub(super) fn linger_until(&self, until: Instant) {
        let mut current = self.control.linger_until.lock();
        *current = Some(current.map_or(until, |current| current.max(until)));
    }

    /// Stops the thread and waits for its end, after which all of its sockets are closed.
    pub(super) async fn end(mut self) {
        let ended = self.ended.take();
        drop(self);
        if let Some(ended) = ended {
            // An error means that the thread ended by a panic, which is an end too.
            let _ = ended.await;
        }
    }
}

impl Drop for IoThread {
    fn drop(&mut self) {
        self.control.helm.stop();
    }
}

/// Waits, on the thread itself, until no more than `left` tasks are alive, or for so long. A closed socket
/// writes what it has in tasks of its own and ends them when it is done.
pub(super) async fn finished(left: usize, until: Instant) {
    while Handle::current().metrics().num_alive_tasks() > left && Instant::now() < until {
        tokio::time::sleep(LINGER_POLL).await;
    }
}

/// Waits until the sockets that lived on the caller's thread have written what they were told to let out, or for
/// so long.
pub async fn let_out(within: Duration) {
    finished(0, Instant::now() + within).await;
}

/// Fits the 15 bytes that the system keeps of a name.
const THREAD_NAME: &str = "ganger-zmq-io";
const WATCHER_NAME: &str = "ganger-watcher";
