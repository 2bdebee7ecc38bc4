//! When what happened to whom, and which extra runs that explains.

use std::time::Duration;

use crate::diary::{Line, now_ns};

/// A worker that was silent for this long may have been given up: it is dead after three heartbeats of one
/// second, of which the last may have been on its way for a moment.
const SILENCE_MIN: Duration = Duration::from_millis(2_500);
/// A worker whose way was closed for this long may have been given up: after the grace of two seconds, of
/// which the pause before it tries again takes a part.
const OUTAGE_MIN: Duration = Duration::from_millis(1_500);
/// What a worker has finished it has reported within this, if nothing holds it up.
const REPORTED_WITHIN: Duration = Duration::from_secs(2);
/// A task that was waiting at a worker that was given up may still start there until the worker is told.
const TOLD_WITHIN: Duration = Duration::from_secs(3);
/// After the death of the broker, a worker has found the next one within this: it stays away for a moment,
/// and the pause before another try is two seconds at most.
const FOUND_WITHIN: Duration = Duration::from_secs(6);
/// Pauses of one worker with no more than this between them are one pause: it did not come to say that it
/// lives.
const WAKING: Duration = Duration::from_millis(500);
/// Outages of one way with no more than this between them are one outage: nothing gets through in between.
const GAP_MAX: Duration = Duration::from_secs(2);

/// Why a task may run once more.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// It was to fail, or to run into its limit.
    AskedFor,
    /// Its worker was killed.
    Kill,
    /// Its worker was frozen for longer than a silence may be.
    Pause,
    /// The way between its worker and the broker was closed for longer than the grace.
    Partition,
    /// The broker was killed.
    BrokerDeath,
}

impl Cause {
    /// Every cause.
    pub const ALL: [Self; 5] = [Self::AskedFor, Self::Kill, Self::Pause, Self::Partition, Self::BrokerDeath];

    /// In words.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AskedFor => "asked for",
            Self::Kill => "worker killed",
            Self::Pause => "worker paused",
            Self::Partition => "partition",
            Self::BrokerDeath => "broker killed",
        }
    }
}

/// Something that happened, from its beginning to its end.
#[derive(Clone, PartialEq, Debug)]
struct Incident {
    cause: Cause,
    worker: String,
    from_ns: u64,
    to_ns: u64,
}

/// All that happened in a run.
#[derive(Debug, Default)]
pub struct Incidents {
    list: Vec<Incident>,
    broker_deaths: Vec<u64>,
    broker_stalls: Vec<(u64, u64)>,
}

/// One run of a task, from the diaries.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Run {
    /// Its first line.
    pub start: Line,
    /// When it ended, if its worker lived to write that down.
    pub end_ns: Option<u64>,
    /// Whether it ended with a result.
    pub has_result: bool,
}

impl Incidents {
    /// A worker was killed just now.
    pub fn killed(&mut self, worker: &str) {
        self.add(Cause::Kill, worker, now_ns());
    }

    /// A worker was frozen since a moment until now.
    pub fn paused(&mut self, worker: &str, from_ns: u64) {
        self.add_on(Cause::Pause, worker, from_ns, WAKING);
    }

    /// Too little got through between a worker and the broker since a moment until now.
    pub fn cut_off(&mut self, worker: &str, from_ns: u64) {
        self.add_on(Cause::Partition, worker, from_ns, GAP_MAX);
    }

    /// The broker was killed just now.
    pub fn broker_killed(&mut self) {
        self.broker_deaths.push(now_ns());
    }

    /// The broker was frozen since a moment until now.
    pub fn broker_stalled(&mut self, from_ns: u64) {
        self.broker_stalls.push((from_ns, now_ns()));
    }

    /// Times that the broker was killed.
    pub fn broker_deaths(&self) -> usize {
        self.broker_deaths.len()
    }

    /// What happened to a worker, and to the broker, for the reader of a verdict.
    pub fn told_of(&self, worker: &str) -> String {
        let span = |from: u64, to: u64| format!("{} to {}", seconds(from), seconds(to));
        let own = self.list.iter().filter(|incident| incident.worker == worker);
        let own = own.map(|one| format!("{} {}", one.cause.as_str(), span(one.from_ns, one.to_ns)));
        let deaths = self.broker_deaths.iter().map(|at| format!("broker killed {}", seconds(*at)));
        let stalls =
            self.broker_stalls.iter().map(|(from, to)| format!("broker paused {}", span(*from, *to)));
        own.chain(deaths).chain(stalls).collect::<Vec<_>>().join(", ")
    }

    /// Why a run was followed by another one that is not the same attempt, if there is a reason on record.
    /// `forgets`: whether the broker loses with its life what it has acknowledged.
    pub fn explain(&self, run: &Run, next: &Run, forgets: bool) -> Option<Cause> {
        if run.start.epoch != next.start.epoch {
            return self.explain_by_death(run, next, forgets);
        }
        let explains = |incident: &&Incident| {
            incident.worker == run.start.worker
                && incident.is_grave()
                && incident.from_ns <= next.start.at_ns
                && incident.to_ns + ns(TOLD_WITHIN) >= run.start.at_ns
                && self.could_still_matter(run, incident.from_ns)
        };
        let of = |cause| self.list.iter().filter(move |incident| incident.cause == cause);
        [Cause::Kill, Cause::Pause, Cause::Partition]
            .into_iter()
            .find(|cause| of(*cause).any(|incident| explains(&incident)))
    }

    fn explain_by_death(&self, run: &Run, next: &Run, forgets: bool) -> Option<Cause> {
        let explains = |death: &u64| {
            *death <= next.start.at_ns
                // A worker goes on with what it has until it has found the broker again.
                && death + ns(FOUND_WITHIN) >= run.start.at_ns
                // What was forgotten may be handed in at any time.
                && (forgets || self.could_still_matter(run, *death))
        };
        self.broker_deaths.iter().any(explains).then_some(Cause::BrokerDeath)
    }

    /// Whether the end of a run may still have been unreported at a moment.
    fn could_still_matter(&self, run: &Run, at_ns: u64) -> bool {
        let Some(end_ns) = run.end_ns else { return true };
        let stalled = self.broker_stalls.iter().map(|(from, to)| {
            let overlap = (*to).min(at_ns).saturating_sub((*from).max(end_ns));
            // A report that waits at a frozen broker is read some time after it wakes.
            if *to >= end_ns && *from <= at_ns { overlap + ns(REPORTED_WITHIN) } else { 0 }
        });
        end_ns + ns(REPORTED_WITHIN) + stalled.sum::<u64>() >= at_ns
    }

    /// Adds something that may be the continuation of what happened last.
    fn add_on(&mut self, cause: Cause, worker: &str, from_ns: u64, gap: Duration) {
        let before = self.list.iter().rfind(|before| before.worker == worker && before.cause == cause);
        let before = before.filter(|before| before.to_ns + ns(gap) >= from_ns);
        let from_ns = before.map_or(from_ns, |before| before.from_ns);
        self.add(cause, worker, from_ns);
    }

    fn add(&mut self, cause: Cause, worker: &str, from_ns: u64) {
        self.list.push(Incident { cause, worker: worker.to_owned(), from_ns, to_ns: now_ns() });
    }
}

impl Incident {
    /// Whether it was long enough for a worker to be given up.
    fn is_grave(&self) -> bool {
        let least = match self.cause {
            Cause::Pause => SILENCE_MIN,
            Cause::Partition => OUTAGE_MIN,
            Cause::Kill | Cause::BrokerDeath | Cause::AskedFor => Duration::ZERO,
        };
        self.to_ns - self.from_ns >= ns(least)
    }
}

/// A moment on the clock that all share, short enough to be compared by eye.
pub(super) fn seconds(at_ns: u64) -> String {
    format!("{:.3} s", (at_ns / 1_000_000) as f64 / 1_000.0)
}

fn ns(span: Duration) -> u64 {
    span.as_nanos() as u64
}

#[cfg(test)]
mod tests {
    use ganger_common::{Attempt, Epoch, TaskId};

    use super::*;
    use crate::diary::Mark;

    const SECOND: u64 = 1_000_000_000;

    fn run(worker: &str, epoch: u64, start: u64, end: Option<u64>) -> Run {
        let start = Line {
            mark: Mark::Start,
            task: TaskId::from_bytes([1; 16]),
            attempt: Attempt(1),
            epoch: Epoch(epoch),
            checksum: 0,
            at_ns: start * SECOND,
            worker: worker.to_owned(),
        };
        Run { start, end_ns: end.map(|end| end * SECOND), has_result: end.is_some() }
    }

    fn incident(cause: Cause, from: u64, to: u64) -> Incidents {
        let worker = "one".to_owned();
        let (from_ns, to_ns) = (from * SECOND, to * SECOND);
        Incidents { list: vec![Incident { cause, worker, from_ns, to_ns }], ..Incidents::default() }
    }

    #[test]
    fn a_kill_explains_what_ran_then_and_there() {
        let kill = incident(Cause::Kill, 100, 100);
        let explain = |run: &Run, next: &Run| kill.explain(run, next, false);
        let next = run("two", 1, 101, Some(102));
        assert_eq!(explain(&run("one", 1, 99, None), &next), Some(Cause::Kill));
        assert_eq!(explain(&run("one", 1, 98, Some(99)), &next), Some(Cause::Kill));
        // Elsewhere; reported long before; before it happened.
        assert_eq!(explain(&run("three", 1, 99, None), &next), None);
        assert_eq!(explain(&run("one", 1, 90, Some(91)), &next), None);
        assert_eq!(explain(&run("one", 1, 90, None), &run("two", 1, 99, None)), None);
    }

    #[test]
    fn only_what_is_longer_than_a_silence_may_be_explains() {
        let (before, next) = (run("one", 1, 99, None), run("two", 1, 110, None));
        let explain = |cause, to| incident(cause, 100, to).explain(&before, &next, false);
        assert_eq!(explain(Cause::Pause, 102), None);
        assert_eq!(explain(Cause::Pause, 104), Some(Cause::Pause));
        assert_eq!(explain(Cause::Partition, 101), None);
        assert_eq!(explain(Cause::Partition, 102), Some(Cause::Partition));
    }

    #[test]
    fn what_starts_late_at_a_worker_that_was_frozen_is_explained() {
        let pause = incident(Cause::Pause, 100, 105);
        let late = run("one", 1, 106, Some(106));
        assert_eq!(pause.explain(&late, &run("two", 1, 103, Some(104)), false), Some(Cause::Pause));
        let too_late = run("one", 1, 110, Some(110));
        assert_eq!(pause.explain(&too_late, &run("two", 1, 103, Some(104)), false), None);
    }

    #[test]
    fn a_death_of_the_broker_explains_another_life_and_no_run_that_was_safe() {
        let death = Incidents { broker_deaths: vec![100 * SECOND], ..Incidents::default() };
        let (long_ago, at_work) = (run("one", 1, 50, Some(51)), run("one", 1, 99, None));
        let next = run("two", 2, 102, None);
        assert_eq!(death.explain(&at_work, &next, false), Some(Cause::BrokerDeath));
        assert_eq!(death.explain(&long_ago, &next, true), Some(Cause::BrokerDeath));
        assert_eq!(death.explain(&long_ago, &next, false), None);
        assert_eq!(death.explain(&at_work, &run("two", 1, 102, None), false), None);
        // Started by a worker that had not heard of it, and not so late any more.
        let unaware = run("one", 1, 101, Some(101));
        assert_eq!(death.explain(&unaware, &next, false), Some(Cause::BrokerDeath));
        assert_eq!(death.explain(&run("one", 1, 107, None), &run("two", 2, 108, None), false), None);
    }
}
