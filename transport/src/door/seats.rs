//! Where a relay works: on the thread of the library's socket, or on one of the door's own.
//!
//! At home, between the peer's bytes and the library, and between the library and the peer, no thread is
//! woken: two wake-ups less for every message, which is most of what a lone one costs. But that thread has more
//! to do. So guests are at home as long as it has time for them. When it has not, whoever moves anything
//! leaves for the staff, whose threads share the work; and comes back when there has been time for a while
//! and the guest has become quiet. Strangers never get there: a handshake is the staff's from beginning to
//! end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::runtime::Handle;

use super::staff::Staff;
use crate::strain::{PRESSED_AT, REST, Strain, WATCH, worked};

/// A guest is quiet that moves no more than this in [`WATCH`].
const QUIET_BYTES: u64 = 128 << 10;

/// Where somebody works.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Seat {
    /// On the thread of the library's socket.
    Home,
    /// On a thread of the door.
    Staff,
}

/// The seats of a listener.
#[derive(Debug)]
pub(super) struct Seats {
    home: Handle,
    staff: Arc<Staff>,
    strain: Mutex<Home>,
}

impl Seats {
    pub(super) fn new(home: Handle, staff: Arc<Staff>) -> Self {
        let strain = Mutex::new(Home::new(Instant::now(), worked(&home)));
        Self { home, staff, strain }
    }

    /// The runtime of a seat.
    pub(super) fn runtime(&self, seat: Seat) -> &Handle {
        match seat {
            Seat::Home => &self.home,
            Seat::Staff => self.staff.runtime(),
        }
    }

    /// Makes the thread at home one that always, or never, has time.
    #[cfg(test)]
    pub(super) fn decide(&self, is_pressed: bool) {
        let mut home = self.strain.lock();
        home.strain = Strain::new(Instant::now() + Duration::from_secs(86_400), Duration::ZERO);
        (home.is_pressed, home.pressed) = (is_pressed, None);
    }

    fn pressure(&self, now: Instant) -> Pressure {
        self.strain.lock().look(now, || worked(&self.home))
    }
}

/// Whether the thread at home has time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Pressure {
    None,
    /// There was none a short time ago.
    Lately,
    Now,
}

/// How hard the thread at home works.
#[derive(Debug)]
struct Home {
    strain: Strain,
    is_pressed: bool,
    /// When it was last.
    pressed: Option<Instant>,
}

impl Home {
    fn new(now: Instant, worked: Duration) -> Self {
        Self { strain: Strain::new(now, worked), is_pressed: false, pressed: None }
    }

    fn look(&mut self, now: Instant, worked: impl FnOnce() -> Duration) -> Pressure {
        if let Some(hundredths) = self.strain.look(now, worked) {
            self.is_pressed = hundredths > PRESSED_AT;
            if self.is_pressed {
                self.pressed = Some(now);
            }
        }
        match self.pressed {
            _ if self.is_pressed => Pressure::Now,
            Some(at) if now.saturating_duration_since(at) < REST => Pressure::Lately,
            _ => Pressure::None,
        }
    }
}

/// A guest's own part in it.
#[derive(Debug)]
pub(super) struct Pace {
    seats: Arc<Seats>,
    seat: Seat,
    since: Instant,
    moved: u64,
}

impl Pace {
    pub(super) fn new(seats: Arc<Seats>, seat: Seat) -> Self {
        Self { seats, seat, since: Instant::now(), moved: 0 }
    }

    pub(super) fn sit_down(&mut self, seat: Seat) {
        (self.seat, self.since, self.moved) = (seat, Instant::now(), 0);
    }

    /// Books what has moved. Says where to go, if this is not the place.
    pub(super) fn book(&mut self, moved: u64) -> Option<Seat> {
        let now = Instant::now();
        let pressure = self.seats.pressure(now);
        self.book_at(now, moved, pressure)
    }

    fn book_at(&mut self, now: Instant, moved: u64, pressure: Pressure) -> Option<Seat> {
        self.moved += moved;
        let passed = now.saturating_duration_since(self.since);
        match self.seat {
            Seat::Home => (pressure == Pressure::Now).then_some(Seat::Staff),
            Seat::Staff if passed < WATCH => None,
            Seat::Staff => {
                let is_quiet =
                    u128::from(self.moved) * WATCH.as_nanos() <= u128::from(QUIET_BYTES) * passed.as_nanos();
                (self.since, self.moved) = (now, 0);
                (is_quiet && pressure == Pressure::None).then_some(Seat::Home)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_thread_is_pressed_that_works_for_most_of_a_watch_and_has_rest_for_a_while_after() {
        let begin = Instant::now();
        let mut home = Home::new(begin, 7 * MS);
        let too_much = WATCH * PRESSED_AT / 100 + MS;
        assert_eq!(home.look(begin + WATCH - MS, || unreachable!()), Pressure::None);
        assert_eq!(home.look(begin + WATCH, || 7 * MS + too_much - MS), Pressure::None);
        assert_eq!(home.look(begin + 2 * WATCH, || 6 * MS + 2 * too_much), Pressure::Now);
        // It counts until it was watched again.
        assert_eq!(home.look(begin + 3 * WATCH - MS, || unreachable!()), Pressure::Now);
        assert_eq!(home.look(begin + 3 * WATCH, || 7 * MS + 2 * too_much), Pressure::Lately);
        assert_eq!(home.look(begin + 2 * WATCH + REST, || 7 * MS + 2 * too_much), Pressure::None);
    }

    fn pace(seat: Seat) -> (tokio::runtime::Runtime, Pace) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let staff = Staff::start(1).unwrap();
        let seats = Arc::new(Seats::new(runtime.handle().clone(), staff));
        (runtime, Pace::new(seats, seat))
    }

    #[test]
    fn who_moves_anything_leaves_a_home_that_is_pressed_and_none_other() {
        let (_runtime, mut pace) = pace(Seat::Home);
        let now = pace.since;
        assert_eq!(pace.book_at(now, u64::MAX / 2, Pressure::None), None);
        assert_eq!(pace.book_at(now, 1, Pressure::Lately), None);
        assert_eq!(pace.book_at(now, 1, Pressure::Now), Some(Seat::Staff));
    }

    #[test]
    fn who_has_become_quiet_comes_home_when_there_has_been_time_for_a_while() {
        let (_runtime, mut pace) = pace(Seat::Staff);
        let begin = pace.since;
        assert_eq!(pace.book_at(begin + WATCH - MS, 1, Pressure::None), None, "it is not known yet");
        assert_eq!(pace.book_at(begin + WATCH, QUIET_BYTES, Pressure::None), None, "it is not quiet");
        assert_eq!(pace.book_at(begin + 2 * WATCH, QUIET_BYTES, Pressure::Lately), None, "nobody does yet");
        assert_eq!(pace.book_at(begin + 3 * WATCH, QUIET_BYTES, Pressure::None), Some(Seat::Home));
        pace.sit_down(Seat::Staff);
        let begin = pace.since;
        // One large message after a long silence is quiet as well.
        assert_eq!(pace.book_at(begin + 10 * WATCH, 10 * QUIET_BYTES, Pressure::None), Some(Seat::Home));
    }
}
