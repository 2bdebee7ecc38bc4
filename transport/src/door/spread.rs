//! What is published, once for all who listen.
//!
//! The library encodes a publication anew for each subscriber, keeps that for whoever does not read, and never
//! gives the room back that the largest took. So to the library the door is its one subscriber, of everything
//! (`source`). What comes is kept here, once however many listen, up to a limit; and everybody reads it from
//! their own place, at their own pace ([`Feed`]). Whoever does not take what it is given until what comes next
//! for it is not kept any more is cut.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;

use super::counters::Breach;
use super::sockets::{Inner, Socket};
use super::wire::Header;

/// What a publication takes beside its bytes.
const COST: usize = 128;
/// Most that a subscriber is given at a time. What it does not take of that is its own and kept for it, so it
/// should be little; and it should be worth a write.
const GIVEN: usize = 32 << 10;

/// The publications of a listener.
#[derive(Debug)]
pub(super) struct Spread {
    log: RwLock<Log>,
    news: Notify,
    most: usize,
    /// Nobody is waited for that takes nothing for so long, so nothing is kept for longer.
    longest: Duration,
}

#[derive(Debug, Default)]
struct Log {
    publications: VecDeque<Publication>,
    /// The number of the first that is kept.
    first: u64,
    /// Kept, with [`COST`].
    kept: usize,
    /// The bytes of all that ever were, and of those that were let go.
    total: u64,
    gone: u64,
    is_closed: bool,
}

/// The whole frames of a message, and where in them its topic is.
#[derive(Debug)]
struct Publication {
    bytes: Bytes,
    topic: Range<usize>,
    at: Instant,
}

impl Spread {
    pub(super) fn new(most: usize, longest: Duration) -> Arc<Self> {
        Arc::new(Self { log: RwLock::default(), news: Notify::new(), most, longest })
    }

    /// Takes publications, each with the place of its topic.
    pub(super) fn push(&self, publications: impl Iterator<Item = (Bytes, Range<usize>)>, at: Instant) {
        let mut log = self.log.write();
        for (bytes, topic) in publications {
            log.total += bytes.len() as u64;
            log.kept += bytes.len() + COST;
            log.publications.push_back(Publication { bytes, topic, at });
        }
        while let Some(oldest) = log.publications.front()
            && (log.kept > self.most || at.saturating_duration_since(oldest.at) > self.longest)
        {
            let bytes = oldest.bytes.len();
            log.publications.pop_front();
            log.kept -= bytes + COST;
            log.gone += bytes as u64;
            log.first += 1;
        }
        drop(log);
        self.news.notify_waiters();
    }

    /// Nothing comes any more.
    pub(super) fn close(&self) {
        self.log.write().is_closed = true;
        self.news.notify_waiters();
    }

    /// Somebody listens from now on.
    pub(super) fn join(self: &Arc<Self>) -> Feed {
        let log = self.log.read();
        let (next, passed) = (log.end(), log.total);
        drop(log);
        let place = Place { topics: Vec::new(), next, given: 0, passed, seen: passed };
        Feed { of: self.clone(), place: Mutex::new(place) }
    }
}

impl Log {
    /// The number of the one that comes next.
    fn end(&self) -> u64 {
        self.first + self.publications.len() as u64
    }

    fn get(&self, number: u64) -> Option<&Publication> {
        self.publications.get(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }
}

/// What one subscriber is told. A relay takes it for the library: it writes subscriptions to it and reads
/// publications from it.
#[derive(Debug)]
pub(super) struct Feed {
    of: Arc<Spread>,
    /// Only the relay looks here, so nobody ever waits for it.
    place: Mutex<Place>,
}

#[derive(Debug)]
struct Place {
    topics: Vec<Box<[u8]>>,
    /// The publication that comes next, and what was given of it.
    next: u64,
    given: usize,
    /// The bytes of all that were before it.
    passed: u64,
    /// What had been published when it was last looked.
    seen: u64,
}

impl Place {
    fn wants(&self, publication: &Publication) -> bool {
        let topic = &publication.bytes[publication.topic.clone()];
        self.topics.iter().any(|beginning| topic.starts_with(beginning))
    }

    fn pass(&mut self, publication: &Publication) {
        self.passed += publication.bytes.len() as u64;
        (self.next, self.given) = (self.next + 1, 0);
    }

    /// Leaves out what is not kept any more: it had no time to look, and will see the gap. In the middle of a
    /// publication that is not possible.
    fn catch_up(&mut self, log: &Log) {
        if self.next < log.first && self.given == 0 {
            (self.next, self.passed) = (log.first, log.gone);
        }
    }

    /// The next publication that it wants.
    fn next<'a>(&mut self, log: &'a Log) -> Option<&'a Publication> {
        loop {
            let publication = log.get(self.next)?;
            if self.given > 0 || self.wants(publication) {
                return Some(publication);
            }
            self.pass(publication);
        }
    }

    fn change(&mut self, body: &[u8]) {
        match body.split_first() {
            Some((1, topic)) => self.topics.push(topic.into()),
            Some((_, topic)) => self.topics.retain(|known| **known != *topic),
            None => {}
        }
    }
}

impl Socket for Feed {
    fn read_now(&self, into: &mut [u8]) -> io::Result<Option<usize>> {
        let room = into.len().min(GIVEN);
        let (mut place, log) = (self.place.lock(), self.of.log.read());
        // Whoever comes here has taken all that it was given.
        place.catch_up(&log);
        let mut count = 0;
        while count < room
            && let Some(publication) = place.next(&log)
        {
            let rest = &publication.bytes[place.given..];
            let taken = rest.len().min(room - count);
            into[count..count + taken].copy_from_slice(&rest[..taken]);
            count += taken;
            place.given += taken;
            if place.given == publication.bytes.len() {
                place.pass(publication);
            }
        }
        Ok((count > 0 || (log.is_closed && place.next >= log.end())).then_some(count))
    }

    /// Takes subscriptions, each of which the door has looked at: whole frames.
    fn write_now(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut place = self.place.lock();
        let mut rest = bytes;
        while let Ok(Some(header)) = Header::read(rest)
            && let Some(body) = rest.get(header.size..header.size + header.body as usize)
        {
            place.change(body);
            rest = &rest[header.size + body.len()..];
        }
        Ok(bytes.len())
    }

    fn write_slices_now(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        slices.iter().map(|slice| self.write_now(slice)).sum()
    }
}

impl Inner for Feed {
    async fn readable(&self) -> io::Result<()> {
        loop {
            // Made before it is looked, so that nothing is missed between the two.
            let news = self.of.news.notified();
            {
                let log = self.of.log.read();
                if log.is_closed || self.place.lock().next < log.end() {
                    return Ok(());
                }
            }
            news.await;
        }
    }

    async fn writable(&self) -> io::Result<()> {
        Ok(())
    }

    fn waiting(&self) -> Result<usize, Breach> {
        let (mut place, log) = (self.place.lock(), self.of.log.read());
        place.seen = log.total;
        place.next(&log);
        if place.next < log.first {
            return Err(Breach::SlowReader);
        }
        let waiting = log.total - place.passed - place.given as u64;
        Ok(usize::try_from(waiting).unwrap_or(usize::MAX))
    }

    async fn pushed(&self) {
        loop {
            let news = self.of.news.notified();
            if self.of.log.read().total != self.place.lock().seen {
                return;
            }
            news.await;
        }
    }
}

#[cfg(test)]
mod tests;
