//! Carries bytes between a peer and the library, both ways, until one of them ends.
//!
//! One task a connection. It reads only as far as the other side takes, so a peer whose messages nobody
//! wants yet is not read, and no other peer notices; and it holds no buffer of its own unless somebody does
//! not keep up.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::{TcpStream, UnixStream};
use tokio::sync::OwnedSemaphorePermit;

use super::budget::{Budget, Large};
use super::counters::Breach;
use super::patience::{Part, Patience, Reader};
use super::seats::{Pace, Seat};
use super::sockets::{Inner, Socket};

/// Turns in which something moved before others get theirs.
const TURNS: usize = 8;

/// How often it is looked at whether a large message still comes.
const LARGE_LOOK: Duration = Duration::from_millis(250);

/// How long a peer that was told goodbye may take to close.
const LINGER: Duration = Duration::from_millis(500);

/// The two ends of a relay.
#[derive(Debug)]
pub(super) struct Sides<O = TcpStream, I = UnixStream> {
    pub(super) outer: O,
    pub(super) inner: I,
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
    fn inward<O: Socket, I: Socket>(&mut self, sides: &Sides<O, I>) -> Result<u64, Ending>;
    /// Moves what the library sent towards the peer. Returns the bytes that the peer took.
    fn outward<O: Socket, I: Socket>(&mut self, sides: &Sides<O, I>) -> Result<Moved, Ending>;
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

type Take = Pin<Box<dyn Future<Output = Option<OwnedSemaphorePermit>> + Send>>;

/// Sockets that belong to no thread.
pub(super) type Loose = Sides<std::net::TcpStream, std::os::unix::net::UnixStream>;

/// One connection.
pub(super) struct Relay<C, S = Sides> {
    sides: S,
    carrier: C,
    /// Nobody who has only one place keeps one.
    pace: Option<Pace>,
    budget: Arc<Budget>,
    patience: Patience,
    take: Option<Take>,
    permit: Option<OwnedSemaphorePermit>,
    large: Large,
    reader: Reader,
    part: Option<Part>,
}

/// How a relay left a thread.
pub(super) enum Left<C> {
    /// For good.
    Ended(Ending),
    /// To go on in another seat.
    For(Seat, Box<Relay<C, Loose>>),
}

impl<C, S> Relay<C, S> {
    /// The same with other sockets.
    fn with<T>(self, change: impl FnOnce(S) -> io::Result<T>) -> io::Result<Relay<C, T>> {
        let Self { sides, carrier, pace, budget, patience, take, permit, large, reader, part } = self;
        let sides = change(sides)?;
        Ok(Relay { sides, carrier, pace, budget, patience, take, permit, large, reader, part })
    }
}

impl<C: Carrier> Relay<C, Loose> {
    /// Goes on in a seat: on the thread that calls this.
    pub(super) async fn go_on(mut self: Box<Self>, seat: Seat) -> Left<C> {
        if let Some(pace) = &mut self.pace {
            pace.sit_down(seat);
        }
        let bound = |sides: Loose| {
            let (outer, inner) = (TcpStream::from_std(sides.outer)?, UnixStream::from_std(sides.inner)?);
            Ok(Sides { outer, inner })
        };
        match self.with(bound) {
            Ok(relay) => relay.run_or_leave().await,
            Err(error) => Left::Ended(error.into()),
        }
    }
}

impl<C: Carrier> Relay<C> {
    /// Lets it go to where it costs least; it belongs to no thread until then.
    pub(super) fn roaming(mut self, pace: Pace) -> io::Result<Box<Relay<C, Loose>>> {
        self.pace = Some(pace);
        self.loose()
    }

    fn loose(self) -> io::Result<Box<Relay<C, Loose>>> {
        let loose =
            |sides: Sides| Ok(Sides { outer: sides.outer.into_std()?, inner: sides.inner.into_std()? });
        self.with(loose).map(Box::new)
    }

    /// Until one side ends and the other has what it said, a rule is broken, or it should be somewhere else.
    async fn run_or_leave(mut self) -> Left<C> {
        let carried = match self.carry().await {
            Ok(Some(seat)) => {
                return match self.loose() {
                    Ok(relay) => Left::For(seat, relay),
                    Err(error) => Left::Ended(error.into()),
                };
            }
            Ok(None) => Ok(()),
            Err(ending) => Err(ending),
        };
        Left::Ended(self.end(carried).await)
    }
}

impl<C: Carrier, I: Inner> Relay<C, Sides<TcpStream, I>> {
    pub(super) fn new(
        sides: Sides<TcpStream, I>,
        carrier: C,
        budget: Arc<Budget>,
        patience: Patience,
    ) -> Self {
        let (large, reader) = (Large::default(), Reader::default());
        let part = patience.crush.clone().map(Part::new);
        let (pace, take, permit) = (None, None, None);
        Self { sides, carrier, pace, budget, patience, take, permit, large, reader, part }
    }

    /// Until one side ends and the other has what it said, or a rule is broken.
    pub(super) async fn run(mut self) -> Ending {
        let carried = self.carry().await.map(drop);
        self.end(carried).await
    }

    async fn end(&mut self, carried: Result<(), Ending>) -> Ending {
        let ending = carried.err().unwrap_or(Ending::Closed);
        if matches!(ending, Ending::Closed) && self.carrier.ended().1 {
            self.farewell().await;
        }
        ending
    }

    /// Until one side ends (`None`), or it should be somewhere else.
    async fn carry(&mut self) -> Result<Option<Seat>, Ending> {
        let mut turns = 0;
        loop {
            let inward = self.carrier.inward(&self.sides)?;
            let outward = self.carrier.outward(&self.sides)?;
            let waiting = self.carrier.outward_waiting();
            if self.part.as_mut().is_some_and(|part| part.book(waiting)) {
                return Err(Breach::SlowReader.into());
            }
            let behind = waiting.saturating_add(self.sides.inner.waiting()?);
            self.reader.look(&self.patience, behind, outward.written)?;
            self.large.bytes += inward;
            if self.carrier.settled() {
                (self.permit, self.large) = (None, Large::default());
            }
            match self.carrier.ended() {
                (true, _) if self.carrier.inward_waiting() == 0 => return Ok(None),
                (_, true) if self.carrier.outward_waiting() == 0 => return Ok(None),
                _ => {}
            }
            let moved = inward + outward.read + outward.written;
            if moved > 0 {
                if let Some(seat) = self.pace.as_mut().and_then(|pace| pace.book(moved)) {
                    return Ok(Some(seat));
                }
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

    /// Sleeps until something may move. `poll_…_ready`, and not `readable` and `writable`: a socket has one
    /// place for who waits to read, and this is all who do, so nobody has to queue and to leave the queue again.
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
            ready = poll_fn(|context| self.sides.outer.poll_read_ready(context)), if reads_outer => ready?,
            ready = self.sides.inner.readable(), if reads_inner => ready?,
            ready = self.sides.inner.writable(), if inward => ready?,
            ready = poll_fn(|context| self.sides.outer.poll_write_ready(context)), if outward => ready?,
            granted = granted => permit = granted,
            () = timer => {}
            () = self.sides.inner.pushed() => {}
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
            // Not a piece of the future, which is there for as long as the connection.
            let mut void = vec![0; 4 << 10];
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
