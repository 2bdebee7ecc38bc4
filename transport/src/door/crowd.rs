//! Who is at the door: how many, from where, how fast. A value without a clock; time comes in.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::counters::Breach;
use super::limits::DoorLimits;

/// Addresses that are remembered only for the rate of their connections. When there are more, those that
/// were quiet for longest are forgotten first; a forgotten address begins with a full burst.
const ADDRESSES_MAX: usize = 65_536;

/// How often addresses are forgotten that have nothing at the door.
const SWEEP_EVERY: Duration = Duration::from_secs(10);

/// Everybody at one listener.
#[derive(Debug)]
pub(super) struct Crowd {
    limits: DoorLimits,
    connections_max: usize,
    admitted: usize,
    /// Whose handshake is not finished, oldest first: what tells each that another needs its place. Those that
    /// are gone leave when they come to the front.
    waiting: VecDeque<Arc<Notify>>,
    waiting_count: usize,
    addresses: HashMap<IpAddr, Address>,
    swept: Instant,
}

#[derive(Debug)]
struct Address {
    admitted: usize,
    waiting: VecDeque<Arc<Notify>>,
    waiting_count: usize,
    /// What may come at once, and when that was.
    tokens: f64,
    at: Instant,
}

impl Crowd {
    pub(super) fn new(limits: DoorLimits, connections_max: usize, now: Instant) -> Self {
        Self {
            limits,
            connections_max,
            admitted: 0,
            waiting: VecDeque::new(),
            waiting_count: 0,
            addresses: HashMap::new(),
            swept: now,
        }
    }

    /// Somebody comes. Returns what will tell it that its place is needed.
    pub(super) fn arrive(&mut self, from: IpAddr, now: Instant) -> Result<Arc<Notify>, Breach> {
        self.sweep(now);
        let (rate, burst) = (f64::from(self.limits.rate), f64::from(self.limits.burst));
        if self.addresses.len() >= ADDRESSES_MAX && !self.addresses.contains_key(&from) {
            return Err(Breach::Rate);
        }
        let address = self.addresses.entry(from).or_insert_with(|| Address::new(burst, now));
        let passed = now.saturating_duration_since(address.at).as_secs_f64();
        (address.tokens, address.at) = ((address.tokens + passed * rate).min(burst), now);
        if address.tokens < 1.0 {
            return Err(Breach::Rate);
        }
        address.tokens -= 1.0;
        let place = Arc::new(Notify::new());
        address.waiting.push_back(place.clone());
        address.waiting_count += 1;
        self.waiting.push_back(place.clone());
        self.waiting_count += 1;
        if address.waiting_count > self.limits.handshakes_per_address
            && let Some(oldest) = first_there(&mut address.waiting)
        {
            oldest.notify_one();
        }
        if self.waiting_count > self.limits.handshakes {
            while self.waiting.front().is_some_and(|place| is_gone(place, 2)) {
                self.waiting.pop_front();
            }
            if let Some(oldest) = self.waiting.pop_front() {
                oldest.notify_one();
            }
        }
        // Those in the middle that are gone must not add up.
        if self.waiting.len() > 2 * self.limits.handshakes + 64 {
            self.waiting.retain(|place| !is_gone(place, 2));
        }
        Ok(place)
    }

    /// Its handshake is finished, or it is gone. Called once for each that came.
    pub(super) fn leave_the_queue(&mut self, from: IpAddr) {
        self.waiting_count -= 1;
        if let Some(address) = self.addresses.get_mut(&from) {
            address.waiting_count -= 1;
            if address.waiting.len() > 2 * address.waiting_count + 64 {
                address.waiting.retain(|place| !is_gone(place, 2));
            }
        }
    }

    /// Somebody who finished its handshake wants in.
    pub(super) fn admit(&mut self, from: IpAddr) -> Result<(), Breach> {
        if self.admitted >= self.connections_max {
            return Err(Breach::TooMany);
        }
        let per_address = self.limits.connections_per_address;
        let address = self.addresses.get_mut(&from).filter(|address| address.admitted < per_address);
        let Some(address) = address else { return Err(Breach::TooManyFromAddress) };
        address.admitted += 1;
        self.admitted += 1;
        Ok(())
    }

    /// Somebody who was in has left.
    pub(super) fn leave(&mut self, from: IpAddr) {
        self.admitted -= 1;
        if let Some(address) = self.addresses.get_mut(&from) {
            address.admitted -= 1;
        }
    }

    fn sweep(&mut self, now: Instant) {
        if now.saturating_duration_since(self.swept) < SWEEP_EVERY {
            return;
        }
        self.swept = now;
        // Long enough for its burst to be whole again.
        let whole =
            Duration::from_secs_f64(f64::from(self.limits.burst) / f64::from(self.limits.rate.max(1)));
        self.addresses.retain(|_, address| {
            address.admitted + address.waiting_count > 0 || now.saturating_duration_since(address.at) < whole
        });
    }
}

impl Address {
    fn new(burst: f64, now: Instant) -> Self {
        Self { admitted: 0, waiting: VecDeque::new(), waiting_count: 0, tokens: burst, at: now }
    }
}

/// The first of those that are still there. The one who waits holds one, the two queues one each.
fn first_there(places: &mut VecDeque<Arc<Notify>>) -> Option<Arc<Notify>> {
    loop {
        let place = places.pop_front()?;
        if !is_gone(&place, 2) {
            return Some(place);
        }
    }
}

/// Whether nobody but (at most) so many queues knows of it.
fn is_gone(place: &Arc<Notify>, queues: usize) -> bool {
    Arc::strong_count(place) <= queues
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const THERE: IpAddr = IpAddr::V6(std::net::Ipv6Addr::LOCALHOST);

    fn crowd(limits: DoorLimits) -> (Crowd, Instant) {
        let now = Instant::now();
        (Crowd::new(limits, 3, now), now)
    }

    fn is_told(place: &Notify) -> bool {
        place.notified().now_or_never().is_some()
    }

    #[test]
    fn connections_come_as_fast_as_they_may() {
        let (mut crowd, now) = crowd(DoorLimits { rate: 10, burst: 3, ..DoorLimits::default() });
        let mut come = |from, at| crowd.arrive(from, now + Duration::from_millis(at)).is_ok();
        assert_eq!([come(HERE, 0), come(HERE, 0), come(HERE, 0), come(HERE, 0)], [true, true, true, false]);
        assert!(come(THERE, 0), "everybody has its own");
        assert_eq!([come(HERE, 50), come(HERE, 100), come(HERE, 101)], [false, true, false]);
        assert_eq!([come(HERE, 60_000), come(HERE, 60_000), come(HERE, 60_000)], [true; 3]);
        assert!(!come(HERE, 60_000));
    }

    #[test]
    fn the_oldest_that_hangs_makes_room_for_the_newest() {
        let limits = DoorLimits { handshakes_per_address: 2, handshakes: 3, ..DoorLimits::default() };
        let (mut crowd, now) = crowd(limits);
        let first = crowd.arrive(HERE, now).unwrap();
        let second = crowd.arrive(HERE, now).unwrap();
        assert!(!is_told(&first));
        let third = crowd.arrive(HERE, now).unwrap();
        assert!(is_told(&first) && !is_told(&second) && !is_told(&third));
        drop(first);
        crowd.leave_the_queue(HERE);
        // The total: whoever is oldest, from wherever.
        let elsewhere = crowd.arrive(THERE, now).unwrap();
        assert!(!is_told(&second));
        let more = crowd.arrive(THERE, now).unwrap();
        assert!(is_told(&second) && !is_told(&third) && !is_told(&elsewhere) && !is_told(&more));
    }

    #[test]
    fn those_that_finish_leave_their_place() {
        let limits = DoorLimits { handshakes_per_address: 2, burst: 100_000, ..DoorLimits::default() };
        let (mut crowd, now) = crowd(limits);
        let hanging = crowd.arrive(HERE, now).unwrap();
        for _ in 0..10_000 {
            let place = crowd.arrive(HERE, now).unwrap();
            drop(place);
            crowd.leave_the_queue(HERE);
        }
        assert!(!is_told(&hanging));
        assert!(crowd.waiting.len() < 10_000 && crowd.addresses[&HERE].waiting.len() < 200);
    }

    #[test]
    fn there_are_only_so_many() {
        let (mut crowd, now) = crowd(DoorLimits { connections_per_address: 2, ..DoorLimits::default() });
        for from in [HERE, THERE] {
            drop(crowd.arrive(from, now));
        }
        assert_eq!((crowd.admit(HERE), crowd.admit(HERE)), (Ok(()), Ok(())));
        assert_eq!(crowd.admit(HERE), Err(Breach::TooManyFromAddress));
        assert_eq!((crowd.admit(THERE), crowd.admit(THERE)), (Ok(()), Err(Breach::TooMany)));
        crowd.leave(HERE);
        assert_eq!(crowd.admit(HERE), Ok(()));
    }

    #[test]
    fn addresses_with_nothing_at_the_door_are_forgotten() {
        let (mut crowd, now) = crowd(DoorLimits::default());
        drop(crowd.arrive(HERE, now).unwrap());
        crowd.leave_the_queue(HERE);
        drop(crowd.arrive(THERE, now + Duration::from_secs(60)));
        assert!(!crowd.addresses.contains_key(&HERE));
    }
}
