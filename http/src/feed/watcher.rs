//! One who reads what happens.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::timeout;

use super::{Event, Feed, Filter, Missed, Seat, Sight, Wishes};
use crate::app::App;
use crate::house::{House, Visitor};
use crate::limits::{FEED_TAKE, RIGHTS_FOR};
use crate::metrics::Counted;
use crate::refusal::Refusal;

/// Reads the ring from a place of its own, at the pace of whoever it reads for. Nothing waits for that but the
/// few events that it took last.
pub(crate) struct Watcher {
    feed: Feed,
    house: Arc<dyn House>,
    visitor: Visitor,
    newest: watch::Receiver<u64>,
    filter: Filter,
    sight: Sight,
    /// When the rights were looked at.
    looked: Instant,
    /// The number of the last event that was read.
    after: u64,
    taken: VecDeque<Told>,
    _seat: Seat,
    _place: OwnedSemaphorePermit,
    _counted: Counted,
}

/// What a watcher is told.
#[derive(Debug)]
pub(crate) enum Told {
    Event(Event),
    Missed(Missed),
}

impl Watcher {
    /// Begins to watch: after an event, or, without one, with what happens from now on.
    pub(crate) fn begin(
        app: &App,
        visitor: Visitor,
        wishes: Wishes,
        after: Option<u64>,
    ) -> Result<Self, Refusal> {
        let busy = |_| Refusal::busy("too many watch already");
        let place = app.watchers.clone().try_acquire_owned().map_err(busy)?;
        let house = app.house.clone();
        let sight = house.sight(&visitor).ok_or_else(gone)?;
        let filter = Filter::new(wishes, &sight)?;
        let feed = house.feed().clone();
        let seat = feed.sit_down();
        let (_, newest) = feed.kept();
        Ok(Self {
            newest: feed.newest(),
            feed,
            house,
            visitor,
            filter,
            sight,
            looked: Instant::now(),
            after: after.unwrap_or(newest),
            taken: VecDeque::new(),
            _seat: seat,
            _place: place,
            _counted: app.metrics.watcher(),
        })
    }

    /// The numbers of the oldest event that is kept, and of the newest.
    pub(crate) fn kept(&self) -> (u64, u64) {
        self.feed.kept()
    }

    /// What comes next. An error is the end: the rights to watch are gone.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub(crate) async fn next(&mut self) -> Result<Told, Refusal> {
        loop {
            self.look_at_rights()?;
            if let Some(told) = self.taken.pop_front() {
                return Ok(told);
            }
            if !self.take() {
                // Rights are looked at again where nothing happens, too.
                if let Ok(Err(_)) = timeout(RIGHTS_FOR, self.newest.changed()).await {
                    return Err(Refusal::unreachable("the gateway ends"));
                }
            }
        }
    }

    /// Takes what is there. Returns whether there may be more.
    fn take(&mut self) -> bool {
        self.newest.mark_unchanged();
        let read = self.feed.read(self.after, FEED_TAKE);
        self.after = read.last;
        self.taken.extend(read.missed.map(Told::Missed));
        let shown = read.events.iter().filter_map(|event| self.filter.show(event, &self.sight));
        self.taken.extend(shown.map(|event| Told::Event(event.into_owned())));
        !read.events.is_empty() || read.missed.is_some()
    }

    fn look_at_rights(&mut self) -> Result<(), Refusal> {
        if self.looked.elapsed() >= RIGHTS_FOR {
            self.looked = Instant::now();
            let sight = self.house.sight(&self.visitor).ok_or_else(gone)?;
            if sight != self.sight {
                // What was taken by the rights of before is not shown by those of now.
                self.taken.retain(|told| match told {
                    Told::Event(event) => self.filter.show(event, &sight).is_some(),
                    Told::Missed(_) => true,
                });
                self.sight = sight;
            }
        }
        Ok(())
    }
}

fn gone() -> Refusal {
    Refusal::unauthenticated("nobody knows this token any more")
}
