//! Looks once in a while whether everything that must be zero is.

use std::time::Duration;

use ganger_scheduler::{Lsn, Now, Scheduler, Time, Watch};
use ganger_transport::{Publisher, Server};

use super::Shell;
use crate::journal::Journal;

/// Between two looks. Each costs some nanoseconds for every worker, client and kind.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Records that wait for so long, while none becomes safe, wait for a journal that stands still.
const JOURNAL_PATIENCE: Duration = Duration::from_secs(10);

/// What was seen last.
#[derive(Debug, Default)]
pub(crate) struct Lookout {
    looked: Time,
    /// To be asked when the turn is over, and everything that follows from it is done.
    is_due: bool,
    watch: Watch,
    /// The last record that was safe, and since when it is the last while others wait.
    journal: Option<(Lsn, Time)>,
    /// Records that wait for a journal that stands still.
    journal_stalled: u64,
}

impl Lookout {
    /// Time passes.
    pub(super) fn pass(&mut self, now: Now) {
        self.is_due |= now.time.since(self.looked) >= LOOK_EVERY;
    }

    fn look(&mut self, now: Time, scheduler: &Scheduler) {
        (self.looked, self.is_due) = (now, false);
        let before = std::mem::replace(&mut self.watch, scheduler.watchdogs());
        if self.watch != before {
            self.tell();
        }
        let (safe, appended) = scheduler.written();
        self.journal = match self.journal {
            _ if safe == appended => None,
            Some((last, since)) if last == safe => Some((last, since)),
            _ => Some((safe, now)),
        };
        let stalled = self.journal.is_some_and(|(_, since)| now.since(since) >= JOURNAL_PATIENCE);
        let waiting = if stalled { appended.0 - safe.0 } else { 0 };
        if waiting > 0 && self.journal_stalled == 0 {
            tracing::warn!(
                records = waiting,
                "the journal stands still: what waits for it is not acknowledged"
            );
        }
        self.journal_stalled = waiting;
    }

    fn tell(&self) {
        match self.watch.is_quiet() {
            true => tracing::info!("all that must be zero is zero again"),
            false => {
                tracing::warn!(watch = ?self.watch, "something that must be zero is not: please report it");
            }
        }
    }

    /// What was seen, as a status reply shows it.
    pub(super) fn figures(&self) -> impl Iterator<Item = (String, u64)> {
        let journal = [("journal_stalled", self.journal_stalled)];
        self.watch
            .by_name()
            .into_iter()
            .chain(journal)
            .map(|(name, count)| (format!("watchdog_{name}"), count))
    }
}

impl<S: Server, P: Publisher, J: Journal> Shell<S, P, J> {
    /// Looks, if it is time to.
    pub(super) fn look_out(&mut self) {
        if self.lookout.is_due {
            self.lookout.look(self.clock.now().time, &self.scheduler);
        }
    }
}

#[cfg(test)]
mod tests {
    use ganger_scheduler::{Config, Effect, Input};

    use super::*;

    fn at(seconds: u64) -> Time {
        Time::default().plus(Duration::from_secs(seconds))
    }

    fn seen(lookout: &Lookout) -> u64 {
        let figures: std::collections::BTreeMap<_, _> = lookout.figures().collect();
        figures["watchdog_journal_stalled"]
    }

    #[test]
    fn a_journal_that_stands_still_is_told_and_one_that_is_slow_is_not() {
        // Its first record is appended, and never safe.
        let mut scheduler = Scheduler::new(Config::default(), Now::default());
        let Some(Effect::Append { lsn, .. }) = scheduler.poll_effect() else { panic!("no record") };
        let mut lookout = Lookout::default();
        lookout.look(at(5), &scheduler);
        lookout.look(at(10), &scheduler);
        assert_eq!(seen(&lookout), 0, "it has time");
        lookout.look(at(15), &scheduler);
        assert_eq!(seen(&lookout), 1);
        scheduler.handle(Now::default(), Input::Journaled { upto: lsn });
        lookout.look(at(20), &scheduler);
        assert_eq!(seen(&lookout), 0);
    }

    #[test]
    fn a_look_is_due_once_in_a_while() {
        let scheduler = Scheduler::new(Config::default(), Now::default());
        let mut lookout = Lookout::default();
        let mut due = |seconds: u64| {
            lookout.pass(Now { time: at(seconds), ..Now::default() });
            let is_due = lookout.is_due;
            if is_due {
                lookout.look(at(seconds), &scheduler);
            }
            is_due
        };
        assert_eq!([1, 4, 5, 6, 9, 10].map(&mut due), [false, false, true, false, false, true]);
    }
}
