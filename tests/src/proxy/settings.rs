//! What a proxy can be told, and what it counts.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A direction through the proxy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// From whoever connected to the endpoint behind the proxy.
    Up,
    /// From the endpoint to whoever connected.
    Down,
}

impl Way {
    /// Both of them.
    pub const BOTH: [Self; 2] = [Self::Up, Self::Down];
}

/// What happens to the bytes of one direction.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Path {
    /// Every byte takes this long.
    pub delay: Duration,
    /// And up to this much longer; a later byte never arrives before an earlier one.
    pub jitter: Duration,
    /// Bytes a second, if there is a limit.
    pub rate: Option<u64>,
    /// Whether nothing arrives.
    pub silence: Silence,
}

/// Whether nothing arrives, and what becomes of the bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Silence {
    /// Bytes arrive.
    #[default]
    None,
    /// They arrive when the silence ends.
    Held,
    /// They never do; the connection is reset when the silence ends, if any were swallowed.
    Swallowed,
}

/// How a connection ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cut {
    /// At once, with a reset to both sides; what was on its way is lost.
    Rst,
    /// Both sides see the end of the stream; what was on its way is lost.
    Fin,
}

/// What waits for a connection after so many more bytes in one direction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trap {
    /// It is cut.
    Cut(Cut),
    /// The rest is held until the trap is taken away.
    Stall,
}

/// How often a proxy did something to somebody.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Fired {
    /// Connections that were made.
    pub connections: u64,
    /// Connections that were refused.
    pub refused: u64,
    /// Connections that were cut on demand, by a trap, or for a hole in the stream.
    pub cut: u64,
    /// Times that a direction of a connection ran into a trap that stalls.
    pub stalled: u64,
    /// Times that a silence held bytes back.
    pub held: u64,
    /// Bytes that were swallowed.
    pub swallowed: u64,
    /// Bytes that came late on purpose.
    pub delayed: u64,
    /// Times that a direction waited because of its rate.
    pub throttled: u64,
    /// Bytes that got through.
    pub passed: u64,
}

impl Fired {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            connections: self.connections + other.connections,
            refused: self.refused + other.refused,
            cut: self.cut + other.cut,
            stalled: self.stalled + other.stalled,
            held: self.held + other.held,
            swallowed: self.swallowed + other.swallowed,
            delayed: self.delayed + other.delayed,
            throttled: self.throttled + other.throttled,
            passed: self.passed + other.passed,
        }
    }
}

/// The counters behind [`Fired`].
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) connections: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) cut: AtomicU64,
    pub(super) stalled: AtomicU64,
    pub(super) held: AtomicU64,
    pub(super) swallowed: AtomicU64,
    pub(super) delayed: AtomicU64,
    pub(super) throttled: AtomicU64,
    pub(super) passed: AtomicU64,
}

impl Counters {
    pub(super) fn read(&self) -> Fired {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Fired {
            connections: read(&self.connections),
            refused: read(&self.refused),
            cut: read(&self.cut),
            stalled: read(&self.stalled),
            held: read(&self.held),
            swallowed: read(&self.swallowed),
            delayed: read(&self.delayed),
            throttled: read(&self.throttled),
            passed: read(&self.passed),
        }
    }
}

/// Counts.
pub(super) fn count(counter: &AtomicU64, by: usize) {
    counter.fetch_add(by as u64, Ordering::Relaxed);
}

/// All orders to the connections of a proxy, as one value that they watch.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Orders {
    pub(super) up: Path,
    pub(super) down: Path,
    pub(super) up_trap: Option<Armed>,
    pub(super) down_trap: Option<Armed>,
    pub(super) refuses: bool,
    /// Rises with every cut of all connections.
    pub(super) cuts: u64,
    pub(super) cut: Option<Cut>,
}

/// A trap, and where it waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Armed {
    pub(super) trap: Trap,
    /// Bytes that may still pass on each connection from the moment that it learns of the trap.
    pub(super) after: u64,
    /// Tells traps apart that are otherwise alike.
    pub(super) number: u64,
}

impl Orders {
    pub(super) fn path(&self, way: Way) -> Path {
        match way {
            Way::Up => self.up,
            Way::Down => self.down,
        }
    }

    pub(super) fn path_mut(&mut self, way: Way) -> &mut Path {
        match way {
            Way::Up => &mut self.up,
            Way::Down => &mut self.down,
        }
    }

    pub(super) fn trap(&self, way: Way) -> Option<Armed> {
        match way {
            Way::Up => self.up_trap,
            Way::Down => self.down_trap,
        }
    }

    pub(super) fn trap_mut(&mut self, way: Way) -> &mut Option<Armed> {
        match way {
            Way::Up => &mut self.up_trap,
            Way::Down => &mut self.down_trap,
        }
    }
}
