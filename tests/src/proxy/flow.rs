//! One direction of one connection: a queue of bytes with the time at which each is due.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;

use super::settings::{Armed, Counters, Cut, Orders, Path, Silence, Trap, Way, count};
use crate::dice::Dice;

/// Bytes on their way in one direction; beyond that the sender feels it, as with any network.
const BUFFER_BYTES: usize = 256 << 10;
/// One read. Small enough that jitter tears frames apart.
const READ_BYTES: usize = 16 << 10;
/// A limited rate is dealt out in parts of a second, so that it is one and no series of bursts.
const RATE_PARTS: u64 = 50;

/// How a direction ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum FlowEnd {
    /// Its sender had nothing more to say, and its receiver was told.
    Finished,
    /// Its sender reset the connection.
    Reset,
    /// It is to be cut.
    Cut(Cut),
}

pub(super) struct Flow {
    way: Way,
    orders: watch::Receiver<Orders>,
    counters: Arc<Counters>,
    dice: Dice,
    queue: VecDeque<Chunk>,
    queued: usize,
    /// How the sender ended.
    source_end: Option<FlowEnd>,
    /// The receiver takes nothing any more; the other direction tells its side.
    is_deaf: bool,
    /// Bytes are missing.
    is_torn: bool,
    is_held: bool,
    is_stalled: bool,
    trap: Option<Armed>,
    /// Bytes that may pass before the trap.
    before_trap: u64,
    rate_due: Instant,
    last_due: Instant,
}

struct Chunk {
    bytes: Vec<u8>,
    sent: usize,
    due: Instant,
}

/// What to do next.
enum Step {
    End(FlowEnd),
    /// Tell the receiver that there is nothing more.
    Finish,
    /// Send up to so many bytes of the first chunk, not before a moment.
    Send(Instant, usize),
    /// Forget the first chunk.
    Drop,
    /// Nothing before something changes.
    Wait,
}

impl Flow {
    pub(super) fn new(
        way: Way,
        orders: watch::Receiver<Orders>,
        counters: Arc<Counters>,
        dice: Dice,
    ) -> Self {
        let now = Instant::now();
        Self {
            way,
            orders,
            counters,
            dice,
            queue: VecDeque::new(),
            queued: 0,
            source_end: None,
            is_deaf: false,
            is_torn: false,
            is_held: false,
            is_stalled: false,
            trap: None,
            before_trap: 0,
            rate_due: now,
            last_due: now,
        }
    }

    pub(super) async fn run(mut self, from: &TcpStream, to: &TcpStream) -> FlowEnd {
        loop {
            let orders = *self.orders.borrow_and_update();
            let path = orders.path(self.way);
            self.look_at_trap(orders.trap(self.way));
            let (send, most) = match self.next_step(&path) {
                Step::End(end) => return end,
                Step::Finish => {
                    shut(to);
                    return FlowEnd::Finished;
                }
                Step::Drop => {
                    self.drop_first();
                    continue;
                }
                Step::Send(due, most) => (Some(due), most),
                Step::Wait => (None, 0),
            };
            let reads = self.source_end.is_none() && self.queued < BUFFER_BYTES;
            tokio::select! {
                biased;
                changed = self.orders.changed() => {
                    if changed.is_err() {
                        return FlowEnd::Reset;
                    }
                }
                // Writing first: what is due goes before more is taken.
                ready = writable_at(send, to) => self.write(ready, to, most, &path),
                ready = from.readable(), if reads => self.read(ready, from, &path),
            }
        }
    }

    fn look_at_trap(&mut self, armed: Option<Armed>) {
        if self.trap != armed {
            self.trap = armed;
            self.is_stalled = false;
            self.before_trap = armed.map_or(0, |armed| armed.after);
        }
    }

    fn next_step(&mut self, path: &Path) -> Step {
        match path.silence {
            Silence::Held => {
                if !self.queue.is_empty() && !std::mem::replace(&mut self.is_held, true) {
                    count(&self.counters.held, 1);
                }
                return Step::Wait;
            }
            Silence::Swallowed if self.queue.is_empty() => return Step::Wait,
            Silence::Swallowed => {
                self.is_torn = true;
                count(
                    &self.counters.swallowed,
                    self.queue.iter().map(|chunk| chunk.bytes.len() - chunk.sent).sum(),
                );
                return Step::Drop;
            }
            Silence::None if self.is_torn => return Step::End(FlowEnd::Cut(Cut::Rst)),
            Silence::None => self.is_held = false,
        }
        if let (Some(Trap::Cut(cut)), 0) = (self.trap.map(|armed| armed.trap), self.before_trap) {
            return Step::End(FlowEnd::Cut(cut));
        }
        let Some(chunk) = self.queue.front() else {
            return match self.source_end {
                Some(FlowEnd::Finished) => Step::Finish,
                Some(end) => Step::End(end),
                None => Step::Wait,
            };
        };
        if self.is_deaf {
            return Step::Drop;
        }
        let mut most = chunk.bytes.len() - chunk.sent;
        if self.trap.is_some() {
            if self.before_trap == 0 {
                if !std::mem::replace(&mut self.is_stalled, true) {
                    count(&self.counters.stalled, 1);
                }
                return Step::Wait;
            }
            most = most.min(self.before_trap as usize);
        }
        let mut due = chunk.due;
        if let Some(rate) = path.rate {
            most = most.min((rate / RATE_PARTS).max(1) as usize);
            if self.rate_due > due {
                due = self.rate_due;
            }
        }
        Step::Send(due, most)
    }

    fn drop_first(&mut self) {
        if let Some(chunk) = self.queue.pop_front() {
            self.queued -= chunk.bytes.len();
        }
    }

    fn write(&mut self, ready: io::Result<()>, to: &TcpStream, most: usize, path: &Path) {
        let Some(chunk) = self.queue.front_mut() else { return };
        let written = ready.and_then(|()| to.try_write(&chunk.bytes[chunk.sent..chunk.sent + most]));
        match written {
            Ok(written) => {
                chunk.sent += written;
                count(&self.counters.passed, written);
                self.before_trap = self.before_trap.saturating_sub(written as u64);
                if let Some(rate) = path.rate {
                    if self.rate_due > chunk.due {
                        count(&self.counters.throttled, 1);
                    }
                    let takes = Duration::from_secs_f64(written as f64 / rate.max(1) as f64);
                    self.rate_due = self.rate_due.max(Instant::now()) + takes;
                }
                if chunk.sent == chunk.bytes.len() {
                    self.drop_first();
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => self.is_deaf = true,
        }
    }

    fn read(&mut self, ready: io::Result<()>, from: &TcpStream, path: &Path) {
        let mut bytes = vec![0; READ_BYTES];
        match ready.and_then(|()| from.try_read(&mut bytes)) {
            Ok(0) => self.source_end = Some(FlowEnd::Finished),
            Ok(read) => {
                bytes.truncate(read);
                let late = path.delay + self.dice.span(Duration::ZERO, path.jitter);
                if !late.is_zero() {
                    count(&self.counters.delayed, read);
                }
                self.last_due = self.last_due.max(Instant::now() + late);
                self.queued += read;
                self.queue.push_back(Chunk { bytes, sent: 0, due: self.last_due });
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => self.source_end = Some(FlowEnd::Reset),
        }
    }
}

/// Waits for the moment at which something is due, and then until the receiver has room; for ever when
/// nothing is.
async fn writable_at(due: Option<Instant>, to: &TcpStream) -> io::Result<()> {
    let Some(due) = due else { return std::future::pending().await };
    // The clock is asked only for what is late: a timer's resolution of a millisecond would be a delay.
    if due > Instant::now() {
        tokio::time::sleep_until(due).await;
    }
    to.writable().await
}

/// Ends the stream towards a receiver.
fn shut(to: &TcpStream) {
    // One that is gone already needs to be told nothing.
    let _ = socket2::SockRef::from(to).shutdown(std::net::Shutdown::Write);
}
