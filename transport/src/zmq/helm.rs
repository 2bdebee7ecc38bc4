//! Who drives the runtime of an I/O thread while its thread does something else for a moment.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};
use tokio::runtime::Runtime;
use tokio::sync::Notify;

/// A job may keep the runtime waiting for so long; then another thread drives it. Jobs are expected to take
/// microseconds, so this is only ever reached by one that blocks. Heartbeats are a hundred times as far apart.
const PATIENCE: Duration = Duration::from_millis(5);
/// Looks without a job in between after which the watcher sleeps until there is one: a second. While jobs
/// come it is awake, so that beginning one wakes nobody.
const LOOKS: u32 = 200;

/// Something to be done on the thread, outside of its runtime. It is told whether it may take its time: if
/// not, it must not block and has to go elsewhere. What it returns is done next, inside, where waking a task
/// costs no system call.
pub(super) type Job = Box<dyn FnOnce(bool) -> Then + Send>;
type Then = Box<dyn FnOnce() + Send>;

/// The runtime goes from hand to hand: whoever has it drives it.
#[derive(Debug, Default)]
pub(super) struct Helm {
    state: Mutex<State>,
    /// Wakes the watcher.
    bell: Condvar,
    stop: Notify,
    called: Notify,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    /// The runtime while a job runs, and since when.
    left: Option<(Runtime, Instant)>,
    watcher: Watcher,
    was_hired: bool,
    /// How many jobs were begun.
    begun: u64,
    ended: bool,
}

/// The thread that takes over when a job blocks. The one that is relieved is the next watcher, once its job
/// lets it go.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
enum Watcher {
    #[default]
    Absent,
    Awake,
    Asleep,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("watcher", &self.watcher).finish_non_exhaustive()
    }
}

impl Helm {
    /// Drives the runtime until it is to stop, and returns it to be ended. None: another thread drove it at
    /// the end.
    pub(super) fn drive(&self, mut runtime: Runtime) -> Option<Runtime> {
        let mut then = None;
        while let Some(job) = runtime.block_on(self.next(then.take())) {
            if !self.is_watched() {
                then = Some(job(false));
                continue;
            }
            self.leave(runtime);
            let done = job(true);
            runtime = match self.take_back() {
                Some(runtime) => {
                    then = Some(done);
                    runtime
                }
                // Whoever was relieved is the next to watch.
                None => {
                    done();
                    self.watch()?
                }
            };
        }
        self.state.lock().ended = true;
        self.bell.notify_one();
        Some(runtime)
    }

    /// Gets a watcher if there was none ever. Returns whether a job would be watched now.
    pub(super) fn hire(self: &Arc<Self>, name: &str, end: impl FnOnce(Runtime) + Send + 'static) -> bool {
        let mut state = self.state.lock();
        if !state.was_hired {
            state.was_hired = true;
            let helm = self.clone();
            let watch = move || helm.watch().and_then(|runtime| helm.drive(runtime)).map(end);
            state.watcher = match std::thread::Builder::new().name(name.to_owned()).spawn(watch) {
                Ok(_) => Watcher::Awake,
                Err(_) => Watcher::Absent,
            };
        }
        state.watcher != Watcher::Absent
    }

    /// The next job. None: it is to stop.
    async fn next(&self, then: Option<Then>) -> Option<Job> {
        if let Some(then) = then {
            then();
        }
        loop {
            if let Some(job) = self.state.lock().jobs.pop_front() {
                return Some(job);
            }
            tokio::select! {
                biased;
                () = self.stop.notified() => return None,
                () = self.called.notified() => {}
            }
        }
    }

    pub(super) fn stop(&self) {
        self.stop.notify_one();
    }

    pub(super) fn call(&self, job: Job) {
        self.state.lock().jobs.push_back(job);
        self.called.notify_one();
    }

    fn leave(&self, runtime: Runtime) {
        let mut state = self.state.lock();
        state.left = Some((runtime, Instant::now()));
        state.begun += 1;
        let sleeps = state.watcher == Watcher::Asleep;
        drop(state);
        if sleeps {
            self.bell.notify_one();
        }
    }

    fn take_back(&self) -> Option<Runtime> {
        self.state.lock().left.take().map(|(runtime, _)| runtime)
    }

    fn is_watched(&self) -> bool {
        self.state.lock().watcher != Watcher::Absent
    }

    /// Watches until the runtime is left alone for too long, and returns it. None: it has ended.
    fn watch(&self) -> Option<Runtime> {
        let mut state = self.state.lock();
        let (mut seen, mut looks) = (state.begun, 0);
        while !state.ended {
            state.watcher = Watcher::Awake;
            if looks < LOOKS {
                self.bell.wait_for(&mut state, PATIENCE);
            } else {
                state.watcher = Watcher::Asleep;
                self.bell.wait(&mut state);
                state.watcher = Watcher::Awake;
            }
            looks = if seen == state.begun { looks.saturating_add(1) } else { 0 };
            seen = state.begun;
            if let Some(runtime) = overdue(&mut state) {
                state.watcher = Watcher::Absent;
                return Some(runtime);
            }
        }
        None
    }
}

fn overdue(state: &mut MutexGuard<'_, State>) -> Option<Runtime> {
    state.left.take_if(|(_, since)| since.elapsed() >= PATIENCE).map(|(runtime, _)| runtime)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::super::io::IoThread;
    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    async fn until(mut is_so: impl FnMut() -> bool) {
        let become_so = async {
            while !is_so() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(LIMIT, become_so).await.expect("what should have come");
    }

    /// Has the thread hang until the sender is dropped. Returns when it does.
    async fn hang(thread: &IoThread) -> mpsc::Sender<()> {
        let (release, released) = mpsc::channel();
        let (told, hears) = tokio::sync::oneshot::channel();
        thread.call(move |has_time| {
            assert!(told.send(has_time).is_ok());
            let _ = released.recv();
            || ()
        });
        assert_eq!(hears.await, Ok(true));
        release
    }

    #[tokio::test]
    async fn jobs_run_on_the_thread_one_after_the_other() {
        let thread = IoThread::start_as("jobs").unwrap();
        let (told, mut hears) = tokio::sync::mpsc::unbounded_channel();
        for round in 0..100 {
            // Nobody watches at first.
            let is_watched = round >= 50 && thread.has_time();
            let told = told.clone();
            thread.call(move |has_time| {
                let name = std::thread::current().name().map(str::to_owned);
                move || told.send((round, has_time, name)).unwrap()
            });
            // A thread that was not let on for long may have been relieved.
            let (number, has_time, name) = hears.recv().await.unwrap();
            assert!(number == round && (has_time == is_watched || !is_watched));
            assert!(matches!(name.as_deref(), Some("jobs" | "ganger-watcher")));
        }
    }

    #[tokio::test]
    async fn a_thread_that_hangs_is_relieved_as_often_as_it_takes() {
        let thread = IoThread::start_as("hangs").unwrap();
        for _ in 0..3 {
            until(|| thread.has_time()).await;
            let release = hang(&thread).await;
            let alarm = thread.spawn(async {
                let never = std::future::pending::<()>();
                tokio::time::timeout(Duration::from_millis(1), never).await.is_err()
            });
            assert!(tokio::time::timeout(LIMIT, alarm).await.expect("somebody drives").unwrap());
            // Until it is back nobody watches the other, and jobs must not block.
            let (told, hears) = tokio::sync::oneshot::channel();
            thread.call(move |has_time| move || told.send(has_time).unwrap());
            assert_eq!((thread.has_time(), hears.await), (false, Ok(false)));
            drop(release);
        }
        until(|| thread.has_time()).await;
        thread.end().await;
    }

    #[tokio::test]
    async fn the_end_does_not_wait_for_a_thread_that_hangs() {
        let thread = IoThread::start_as("ends").unwrap();
        assert!(thread.has_time());
        let release = hang(&thread).await;
        tokio::time::timeout(LIMIT, thread.end()).await.expect("an end");
        drop(release);
    }
}
