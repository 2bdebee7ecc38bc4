//! Carries bytes between a peer and the library, both ways, until one of them ends.
//!
//! One task a connection. It reads only as far as the other side takes, so a peer whose messages nobody
//! wants yet is not read, and no other peer notices; and it holds no buffer of its own unless somebody does
//! not keep up.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::counters::Breach;
use super::limits::DoorLimits;

/// Turns in which something moved before others get theirs.
const TURNS: usize = 8;

/// A reader is not stalled as long as it takes this much in [`DoorLimits::reader_stall`].
const STALL_BYTES: u64 = 64 << 10;

/// What a large message may take, whatever its size; and what it must come at, when nobody waits for the
/// budget and when somebody does.
const LARGE_PATIENCE: Duration = Duration::from_secs(5);
const LARGE_RATE: u64 = 64 << 10;
const LARGE_PATIENCE_CROWDED: Duration = Duration::from_secs(1);
const LARGE_RATE_CROWDED: u64 = 4 << 20;
/// How often that is looked at.
const LARGE_LOOK: Duration = Duration::from_millis(250);

/// How long a peer that was told goodbye may take to close.
const LINGER: Duration = Duration::from_millis(500);

/// The two ends of a relay.
#[derive(Debug)]
pub(super) struct Sides {
    pub(super) outer: TcpStream,
    pub(super) inner: UnixStream,
}

/// Why a relay ended.
#[derive(Debug)]
pub(super) enum Ending {
    /// One side closed, and the other has everything.
    Closed,
    /// The peer broke a rule.
    Breach(Breach),
}

impl From<Breach> for Ending {
    fn from(breach: Breach) -> Self {
        Self::Breach(breach)
    }
}

impl From<io::Error> for Ending {
    fn from(_: io::Error) -> Self {
        Self::Closed
    }
}

/// What moves the bytes of one connection. Nothing here waits.
pub(super) trait Carrier {
    /// Moves what the peer sent towards the library. Returns the bytes that moved.
    fn inward(&mut self, sides: &Sides) -> Result<u64, Ending>;
    /// Moves what the library sent towards the peer. Returns the bytes that the peer took.
    fn outward(&mut self, sides: &Sides) -> Result<Moved, Ending>;
    /// What waits for the library.
    fn inward_waiting(&self) -> usize;
    /// What waits for the peer.
    fn outward_waiting(&self) -> usize;
    /// Whether it would read from the peer now.
    fn reads_outer(&self) -> bool;
    /// Whether it would read from the library now.
    fn reads_inner(&self) -> bool;
    /// Whether the peer, and the library, have said everything.
    fn ended(&self) -> (bool, bool);
    /// What must be granted before it goes on reading from the peer.
    fn wants(&self) -> Option<u64>;
    /// Grants it.
    fn grant(&mut self);
    /// Whether what was granted is not needed any more. Says so once.
    fn settled(&mut self) -> bool;
}

/// What moved outward.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Moved {
    /// From the library.
    pub(super) read: u64,
    /// To the peer.
    pub(super) written: u64,
}

/// Memory for large messages, shared by all connections of a listener.
#[derive(Debug)]
pub(super) struct Budget {
    room: Arc<Semaphore>,
    kib: u32,
    waiting: AtomicUsize,
}

impl Budget {
    pub(super) fn new(limits: &DoorLimits) -> Self {
        let kib =
            u32::try_from(limits.message_bytes_budget.max(limits.message_bytes) >> 10).unwrap_or(u32::MAX);
        let kib = kib.clamp(1, (Semaphore::MAX_PERMITS >> 1).try_into().unwrap_or(u32::MAX));
        Self { room: Arc::new(Semaphore::new(kib as usize)), kib, waiting: AtomicUsize::new(0) }
    }

    async fn take(self: Arc<Self>, bytes: u64) -> Option<OwnedSemaphorePermit> {
        let kib = u32::try_from(bytes.div_ceil(1 << 10)).unwrap_or(u32::MAX).min(self.kib);
        if let Ok(permit) = self.room.clone().try_acquire_many_owned(kib) {
            return Some(permit);
        }
        let _waits = Waits::new(&self.waiting);
        // Never closed, so there is no error.
        self.room.clone().acquire_many_owned(kib).await.ok()
    }

    fn is_crowded(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }
}

struct Waits<'a>(&'a AtomicUsize);

impl<'a> Waits<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How long whom is waited for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// For a peer that takes nothing.
    pub(super) stall: Duration,
    /// For a peer for which this much waits, to take half of it.
    pub(super) behind: Option<(usize, Duration)>,
}

type Take = Pin<Box<dyn Future<Output = Option<OwnedSemaphorePermit>> + Send>>;

/// One connection.
pub(super) struct Relay<C> {
    sides: Sides,
    carrier: C,
    budget: Arc<Budget>,
    patience: Patience,
    take: Option<Take>,
    permit: Option<OwnedSemaphorePermit>,
    large: Large,
    reader: Reader,
}

/// A large message on its way in.
#[derive(Debug, Default)]
struct Large {
    waited: Duration,
    bytes: u64,
}

impl Large {
    fn patience(&self, is_crowded: bool) -> Duration {
        let (patience, rate) = match is_crowded {
            true => (LARGE_PATIENCE_CROWDED, LARGE_RATE_CROWDED),
            false => (LARGE_PATIENCE, LARGE_RATE),
        };
        patience + Duration::from_millis(self.bytes * 1_000 / rate)
    }
}

/// How the peer takes what it is sent.
#[derive(Debug, Default)]
struct Reader {
    stalls_at: Option<Instant>,
    taken: u64,
    falls_behind_at: Option<Instant>,
}

impl Reader {
    fn look(&mut self, patience: &Patience, waiting: usize, written: u64) -> Result<(), Breach> {
        if waiting == 0 {
            *self = Self::default();
            return Ok(());
        }
        let now = Instant::now();
        self.taken += written;
        if self.stalls_at.is_none() || self.taken >= STALL_BYTES {
            (self.stalls_at, self.taken) = (Some(now + patience.stall), 0);
        }
        if let Some((most, lag)) = patience.behind {
            if waiting >= most {
                self.falls_behind_at.get_or_insert(now + lag);
            } else if waiting < most / 2 {
                self.falls_behind_at = None;
            }
        }
        let is_over = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        match is_over(self.stalls_at) || is_over(self.falls_behind_at) {
            true => Err(Breach::SlowReader),
            false => Ok(()),
        }
    }

    fn due(&self) -> Option<Instant> {
        self.stalls_at.into_iter().chain(self.falls_behind_at).min()
    }
}

impl<C: Carrier> Relay<C> {
    pub(super) fn new(sides: Sides, carrier: C, budget: Arc<Budget>, patience: Patience) -> Self {
        let (large, reader) = (Large::default(), Reader::default());
        Self { sides, carrier, budget, patience, take: None, permit: None, large, reader }
    }

    /// Until one side ends and the other has what it said, or a rule is broken.
    pub(super) async fn run(mut self) -> Ending {
        let ending = match self.carry().await {
            Err(ending) => ending,
            Ok(()) => Ending::Closed,
        };
        if matches!(ending, Ending::Closed) && self.carrier.ended().1 {
            self.farewell().await;
        }
        ending
    }

    async fn carry(&mut self) -> Result<(), Ending> {
        let mut turns = 0;
        loop {
            let inward = self.carrier.inward(&self.sides)?;
            let outward = self.carrier.outward(&self.sides)?;
            self.reader.look(&self.patience, self.carrier.outward_waiting(), outward.written)?;
            self.large.bytes += inward;
            if self.carrier.settled() {
                (self.permit, self.large) = (None, Large::default());
            }
            match self.carrier.ended() {
                (true, _) if self.carrier.inward_waiting() == 0 => return Ok(()),
                (_, true) if self.carrier.outward_waiting() == 0 => return Ok(()),
                _ => {}
            }
            if inward + outward.read + outward.written > 0 {
                turns += 1;
                if turns % TURNS == 0 {
                    tokio::task::yield_now().await;
                }
                continue;
            }
            turns = 0;
            self.wait().await?;
        }
    }

    /// Sleeps until something may move.
    async fn wait(&mut self) -> Result<(), Ending> {
        if let Some(bytes) = self.carrier.wants()
            && self.take.is_none()
        {
            self.take = Some(Box::pin(self.budget.clone().take(bytes)));
        }
        let (reads_outer, reads_inner) = (self.carrier.reads_outer(), self.carrier.reads_inner());
        let (inward, outward) = (self.carrier.inward_waiting() > 0, self.carrier.outward_waiting() > 0);
        let is_large = self.permit.is_some() && reads_outer;
        let due = self.reader.due().into_iter().chain(is_large.then(|| Instant::now() + LARGE_LOOK)).min();
        let timer = async {
            match due {
                Some(due) => tokio::time::sleep_until(due.into()).await,
                None => std::future::pending().await,
            }
        };
        let granted = async {
            match &mut self.take {
                Some(take) => take.await,
                None => std::future::pending().await,
            }
        };
        let began = is_large.then(Instant::now);
        let mut permit = None;
        tokio::select! {
            ready = self.sides.outer.readable(), if reads_outer => ready?,
            ready = self.sides.inner.readable(), if reads_inner => ready?,
            ready = self.sides.inner.writable(), if inward => ready?,
            ready = self.sides.outer.writable(), if outward => ready?,
            granted = granted => permit = granted,
            () = timer => {}
        }
        if let Some(permit) = permit {
            (self.take, self.permit, self.large) = (None, Some(permit), Large::default());
            self.carrier.grant();
        }
        if let Some(began) = began {
            self.large.waited += began.elapsed();
            if self.large.waited > self.large.patience(self.budget.is_crowded()) {
                return Err(Breach::SlowSender.into());
            }
        }
        Ok(())
    }

    /// The library has closed the connection, and the peer has everything. What the peer still says is thrown
    /// away: closing with something unread would reset the connection, and with it what the peer has not
    /// read.
    async fn farewell(&mut self) {
        use tokio::io::AsyncWriteExt;
        let outer = &mut self.sides.outer;
        if outer.shutdown().await.is_err() {
            return;
        }
        let until_closed = async {
            let mut void = [0; 4 << 10];
            loop {
                if outer.readable().await.is_err() {
                    return;
                }
                match outer.try_read(&mut void) {
                    Ok(0) => return,
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(_) => return,
                }
            }
        };
        let _ = tokio::time::timeout(LINGER, until_closed).await;
    }
}

/// Bytes that somebody did not take yet.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    bytes: Vec<u8>,
    at: usize,
}

/// A backlog that is empty keeps no more memory than this.
const BACKLOG_KEEP: usize = 4 << 10;

impl Backlog {
    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.at
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        if self.at > 0 && self.at >= self.bytes.len() / 2 {
            self.bytes.drain(..self.at);
            self.at = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Writes what is there, and then this, as far as it is taken; the rest stays. Returns what was written.
    pub(super) fn write(
        &mut self,
        then: &[u8],
        mut write: impl FnMut(&[u8]) -> io::Result<usize>,
    ) -> io::Result<u64> {
        let mut written = 0;
        while self.len() > 0 {
            match write(&self.bytes[self.at..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    self.at += count;
                    written += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.push(then);
                    return Ok(written);
                }
                Err(error) => return Err(error),
            }
        }
        self.at = 0;
        self.bytes.clear();
        self.bytes.shrink_to(BACKLOG_KEEP);
        let mut rest = then;
        while !rest.is_empty() {
            match write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    rest = &rest[count..];
                    written += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.push(rest);
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backlog_keeps_order_and_gives_its_memory_back() {
        let mut backlog = Backlog::default();
        let mut taken = Vec::new();
        let mut sent = Vec::new();
        for round in 0..1_000_u32 {
            let bytes = vec![round as u8; 300];
            sent.extend_from_slice(&bytes);
            let mut room = 250;
            backlog
                .write(&bytes, |bytes| match room {
                    0 => Err(io::ErrorKind::WouldBlock.into()),
                    _ => {
                        let count = bytes.len().min(room);
                        room -= count;
                        taken.extend_from_slice(&bytes[..count]);
                        Ok(count)
                    }
                })
                .unwrap();
            assert_eq!(backlog.len(), sent.len() - taken.len());
        }
        backlog
            .write(b"", |bytes| {
                taken.extend_from_slice(bytes);
                Ok(bytes.len())
            })
            .unwrap();
        assert!(taken == sent && backlog.bytes.capacity() <= BACKLOG_KEEP);
    }

    #[test]
    fn a_reader_is_given_up_when_it_stalls_or_stays_behind() {
        let patience = |stall, lag| Patience {
            stall: Duration::from_millis(stall),
            behind: Some((1_000, Duration::from_millis(lag))),
        };
        let mut reader = Reader::default();
        assert_eq!(reader.look(&patience(0, 99_999), 10, 0), Err(Breach::SlowReader));
        let mut reader = Reader::default();
        assert_eq!(reader.look(&patience(99_999, 0), 999, 0), Ok(()));
        assert_eq!(reader.look(&patience(99_999, 0), 1_000, 0), Err(Breach::SlowReader));
        let mut reader = Reader::default();
        assert_eq!(reader.look(&patience(99_999, 99_999), 1_000, 0), Ok(()));
        assert!(reader.falls_behind_at.is_some());
        assert_eq!(reader.look(&patience(99_999, 99_999), 499, 0), Ok(()));
        assert!(reader.falls_behind_at.is_none() && reader.stalls_at.is_some());
        assert_eq!(reader.look(&patience(99_999, 99_999), 0, 0), Ok(()));
        assert!(reader.due().is_none());
    }
}
