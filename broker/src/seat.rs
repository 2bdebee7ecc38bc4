//! Which thread the loop is on.
//!
//! At home, on the thread of the sockets, a message costs the loop no wake-up, in or out; that is most of what
//! a task costs that comes alone. Under load there is nothing to wake, and two threads do more than one. So
//! the loop is at home as long as that thread has time, and goes out to one of its own when it has not.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use ganger_transport::strain::{PRESSED_AT, REST, Strain, worked};
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// The loop comes home when both threads together have worked for no more than so many hundredths of the
/// time: less than would make it leave again at once.
const HOME_AT: u32 = 60;

/// The thread to which the loop goes. Fits the 15 bytes that the system keeps of a name.
const THREAD_NAME: &str = "ganger-loop";

/// Where a loop is, and whether it should be there. Without anywhere to go it stays.
#[derive(Debug, Default)]
pub(crate) struct Seat {
    places: Option<Places>,
}

#[derive(Debug)]
struct Places {
    home: Handle,
    out: Handle,
    leaves: Arc<AtomicBool>,
    choice: Choice,
}

/// Decides, by what the threads have worked.
#[derive(Debug)]
struct Choice {
    is_out: bool,
    since: Instant,
    strain: Strain,
}

impl Choice {
    fn new(now: Instant, worked: Duration) -> Self {
        Self { is_out: false, since: now, strain: Strain::new(now, worked) }
    }

    /// Whether to change places. `home` and `out` is how long their threads have worked.
    fn change(&mut self, now: Instant, home: impl Fn() -> Duration, out: impl Fn() -> Duration) -> bool {
        let all = |is_out| home() + if is_out { out() } else { Duration::ZERO };
        let Some(hundredths) = self.strain.look(now, || all(self.is_out)) else { return false };
        let changes = match self.is_out {
            false => hundredths > PRESSED_AT,
            true => hundredths <= HOME_AT && now.saturating_duration_since(self.since) >= REST,
        };
        if changes {
            self.is_out = !self.is_out;
            self.since = now;
            self.strain = Strain::new(now, all(self.is_out));
        }
        changes
    }
}

impl Seat {
    /// Changes places when it is time to. To be awaited where nothing is held that belongs to a thread.
    pub(crate) async fn change(&mut self) {
        let Some(places) = &mut self.places else { return };
        let (home, out) = (&places.home, &places.out);
        if places.choice.change(Instant::now(), || worked(home), || worked(out)) {
            places.leaves.store(true, Ordering::Relaxed);
            Handover(false).await;
        }
    }
}

/// Gives way once, without asking to be woken: whoever carries the loop to the other thread wakes it there.
struct Handover(bool);

impl Future for Handover {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        match std::mem::replace(&mut self.0, true) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }
}

/// Runs a loop, beginning on the thread that calls this, whose runtime is of one thread, until it ends.
///
/// # Errors
/// When the system has no thread for it.
pub(crate) async fn run<T, F>(course: impl FnOnce(Seat) -> F) -> io::Result<T>
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    let (home, runtime) = (Handle::current(), Builder::new_current_thread().enable_all().build()?);
    let out = runtime.handle().clone();
    // Dropped at the end of this function, however it ends.
    let (_end, ended) = oneshot::channel::<()>();
    std::thread::Builder::new().name(THREAD_NAME.to_owned()).spawn(move || {
        let _ = runtime.block_on(ended);
    })?;
    let leaves = Arc::new(AtomicBool::new(false));
    let choice = Choice::new(Instant::now(), worked(&home));
    let places = Places { home: home.clone(), out: out.clone(), leaves: leaves.clone(), choice };
    let mut course: Pin<Box<F>> = Box::pin(course(Seat { places: Some(places) }));
    let (mut place, mut other) = (&home, &out);
    loop {
        // A task among those of the sockets: waking the outermost future of a runtime goes through the
        // system, even on its own thread.
        let leg = Leg { course: Some(course), leaves: leaves.clone() };
        course = match place.spawn(leg).await {
            Ok(Ok(result)) => return Ok(result),
            Ok(Err(course)) => course,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(error) => return Err(io::Error::other(error)),
            },
        };
        std::mem::swap(&mut place, &mut other);
    }
}

/// A loop on one thread, until it ends or leaves.
struct Leg<F> {
    course: Option<Pin<Box<F>>>,
    leaves: Arc<AtomicBool>,
}

impl<F: Future> Future for Leg<F> {
    type Output = Result<F::Output, Pin<Box<F>>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(course) = &mut self.course else { return Poll::Pending };
        match course.as_mut().poll(context) {
            Poll::Ready(result) => Poll::Ready(Ok(result)),
            Poll::Pending if self.leaves.swap(false, Ordering::Relaxed) => match self.course.take() {
                Some(course) => Poll::Ready(Err(course)),
                None => Poll::Pending,
            },
            Poll::Pending => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use ganger_transport::strain::WATCH;

    use super::*;

    #[test]
    fn the_loop_leaves_a_pressed_home_and_returns_when_there_is_time_for_both() {
        let (begin, zero) = (Instant::now(), || Duration::ZERO);
        let part = |hundredths: u32| WATCH * hundredths / 100;
        let mut choice = Choice::new(begin, zero());
        let mut now = begin + WATCH;
        assert!(!choice.change(now, || part(PRESSED_AT), zero), "it can still be borne");
        now += WATCH;
        assert!(choice.change(now, || part(2 * PRESSED_AT + 1), || part(1_000)));
        // Out there it is idle, but it would be as before at home.
        now += WATCH;
        assert!(!choice.change(now, || part(2 * PRESSED_AT + 1), || part(1_000)), "it has just come");
        now += REST;
        let idle = part(2 * PRESSED_AT + 1);
        let load = (REST * (HOME_AT + 1) / 100) / 2;
        assert!(!choice.change(now, || idle + load, || part(1_000) + load), "both together are too much");
        now += WATCH;
        assert!(choice.change(now, || idle + load + part(HOME_AT), || part(1_000) + load));
        now += WATCH;
        assert!(!choice.change(now, || idle + load + part(HOME_AT), zero), "at home only home counts");
    }

    #[test]
    fn a_loop_goes_on_where_it_was_and_takes_what_it_has_along() {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let threads = runtime.block_on(run(async |mut seat: Seat| {
            let mut threads = Vec::new();
            for _ in 0..4 {
                threads.push(std::thread::current().id());
                let places = seat.places.as_mut().unwrap();
                places.leaves.store(true, Ordering::Relaxed);
                Handover(false).await;
            }
            threads
        }));
        let threads = threads.unwrap();
        assert!(threads[0] == threads[2] && threads[1] == threads[3] && threads[0] != threads[1]);
        assert_eq!(threads[0], std::thread::current().id());
    }

    #[test]
    fn a_panic_of_the_loop_is_a_panic_of_its_owner() {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let running = || runtime.block_on(run(async |_: Seat| panic!("the loop fell")));
        let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(running));
        let panic = panic.map(|result: io::Result<()>| result.unwrap()).unwrap_err();
        assert_eq!(panic.downcast_ref(), Some(&"the loop fell"));
    }
}
