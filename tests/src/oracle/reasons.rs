//! Reasons: no outcome without its reason, and no budget overrun.
//!
//! Checks that a task is settled as failed only when a handler said that trying again is pointless or every
//! allowed attempt failed or timed out; as dead only when the crash limit was reached; as cancelled only
//! when somebody asked for it; as expired only when its time to live was over and it had not started; and
//! that no task fails or crashes more often than it may without being settled.
//!
//! Cannot see: how early a task expired, if a wall clock jumped in that run, since a broker that starts
//! again only has that one to count from.

use ganger_common::{Attempt, AttemptEnd, Outcome, TaskId};

use super::Violation;
use super::view::{Kept, Spec, Step, Story, View};
use crate::sim::Event;
use crate::sim::log::{Fact, LeaseId, RunEnd};

const NAME: &str = "reasons";

/// Records are dated to the millisecond, so a broker that has read them back may be that much early, once
/// for each life.
const ROUNDED: u64 = 10_000;

/// What is known of one task, in the broker's present life.
#[derive(Default)]
struct Past {
    accepted: Kept<u64>,
    /// How attempts ended, that which settled it included.
    ended: Kept<AttemptEnd>,
    /// Attempts whose handler said that trying again is pointless.
    hopeless: Vec<Attempt>,
    asked_to_cancel: bool,
    given: Option<LeaseId>,
    /// The current lease has been reported as started.
    started: bool,
}

pub(super) fn check(view: &View<'_>, found: &mut Vec<Violation>) {
    let jumped = view.entries.iter().any(|entry| matches!(entry.event, Event::WallJumped { .. }));
    for (task, story) in view.stories() {
        follow(view, found, task, story, jumped);
    }
}

fn follow(view: &View<'_>, found: &mut Vec<Violation>, task: TaskId, story: &Story<'_>, jumped: bool) {
    let Some(spec) = story.spec else { return };
    let mut past = Past::default();
    for step in view.steps(story) {
        match step {
            Step::Life(life) => {
                past.accepted.recover(life.recovered);
                past.ended.recover(life.recovered);
                (past.given, past.started) = (None, false);
            }
            Step::Forgotten => past = Past { asked_to_cancel: past.asked_to_cancel, ..Past::default() },
            Step::Line(line, event) => {
                let now = view.at(line).0;
                if let Some(what) = past.objection(view, spec, now, event, jumped) {
                    view.report(found, NAME, task, line, &what);
                }
                past.note(now, event);
            }
        }
    }
}

impl Past {
    fn count(&self, end: AttemptEnd) -> u32 {
        self.ended.iter().filter(|other| **other == end).count() as u32
    }

    fn objection(
        &self,
        view: &View<'_>,
        spec: Spec<'_>,
        now: u64,
        event: &Event,
        jumped: bool,
    ) -> Option<String> {
        let most = spec.options.max_attempts.unwrap_or(view.facts.max_attempts);
        let crash_limit = spec.options.crash_limit.unwrap_or(view.facts.crash_limit);
        let (failed, timed_out) = (self.count(AttemptEnd::Failed), self.count(AttemptEnd::TimedOut));
        let crashed = self.count(AttemptEnd::Crashed);
        let overrun = |what: &str, count: u32, most: u32| {
            (count >= most).then(|| format!("it {what} {count} times of {most} and goes on"))
        };
        match event {
            Event::LeaseGiven { .. } => overrun("failed", failed, most)
                .or_else(|| overrun("timed out", timed_out, most))
                .or_else(|| overrun("crashed", crashed, crash_limit)),
            Event::Appended { fact: Fact::Settled { outcome, attempt, .. }, .. } => match outcome {
                Outcome::Failed => {
                    let is_spent = failed >= most || timed_out >= most;
                    let is_hopeless = self.hopeless.contains(attempt);
                    (!is_spent && !is_hopeless)
                        .then(|| format!("failed for good after {failed} of {most} failures"))
                }
                Outcome::Dead => {
                    (crashed < crash_limit).then(|| format!("dead after {crashed} of {crash_limit} crashes"))
                }
                Outcome::Cancelled => {
                    (!self.asked_to_cancel).then(|| "cancelled, and nobody asked for it".to_owned())
                }
                Outcome::Expired => self.early_expiry(spec, now, jumped),
                Outcome::Succeeded => None,
            },
            _ => None,
        }
    }

    fn early_expiry(&self, spec: Spec<'_>, now: u64, jumped: bool) -> Option<String> {
        let Some(ttl) = spec.options.ttl_ms else {
            return Some("expired, and has no time to live".to_owned());
        };
        if self.started {
            return Some("expired, though its start had been reported".to_owned());
        }
        let (_, accepted) = self.accepted.last()?;
        let is_early = !jumped && now + ROUNDED < accepted + ttl * 1_000;
        is_early.then(|| format!("expired after {} of {ttl} ms", (now - accepted) / 1_000))
    }

    fn note(&mut self, now: u64, event: &Event) {
        match event {
            Event::Appended { lsn, fact, .. } => match fact {
                Fact::Accepted(..) => self.accepted.add(*lsn, now),
                Fact::AttemptEnded { end, .. } => {
                    self.ended.add(*lsn, *end);
                    (self.given, self.started) = (None, false);
                }
                Fact::Retried(_) => self.ended.end(*lsn),
                _ => {}
            },
            Event::RunEnded { lease, how: RunEnd::FailedForGood, .. } => self.hopeless.push(lease.attempt),
            Event::CancelAsked { .. } => self.asked_to_cancel = true,
            Event::LeaseGiven { lease, .. } => (self.given, self.started) = (Some(*lease), false),
            Event::StartReported { lease, .. } if self.given == Some(*lease) => self.started = true,
            Event::EndReported { lease, .. } if self.given == Some(*lease) => {
                (self.given, self.started) = (None, false);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use ganger_common::{AttemptEnd, Outcome};

    use crate::oracle::script::*;
    use crate::sim::Event;
    use crate::sim::log::RunEnd;

    #[test]
    fn three_failures_are_a_reason() {
        let mut script = Script::journal();
        script.submit(1).accept(1);
        (1..=3).for_each(|attempt| {
            script.attempt_ended(1, 1, attempt, AttemptEnd::Failed);
        });
        script.append_settled(1, Outcome::Failed, 3);
        script.passes(super::check);
    }

    #[test]
    fn one_failure_is_none() {
        let mut script = Script::journal();
        script.submit(1).accept(1).give(1, 1, 1).attempt_ended(1, 1, 1, AttemptEnd::Failed);
        script.append_settled(1, Outcome::Failed, 1);
        script.fails(super::check, "reasons", "1 of 3");
    }

    #[test]
    fn one_failure_for_good_is_one() {
        let mut script = Script::journal();
        script.submit(1).accept(1).give(1, 1, 1);
        let lease = script.lease(1, 1);
        script.run_ended(1, lease, RunEnd::FailedForGood).append_settled(1, Outcome::Failed, 1);
        script.passes(super::check);
    }

    #[test]
    fn no_task_kills_more_workers_than_it_may() {
        let mut script = Script::journal();
        script.submit(1).accept(1);
        (1..=3).for_each(|attempt| {
            script.attempt_ended(1, 1, attempt, AttemptEnd::Crashed);
        });
        script.give(1, 2, 4);
        script.fails(super::check, "reasons", "goes on");
    }

    #[test]
    fn a_task_is_not_dead_before_its_limit() {
        let mut script = Script::journal();
        script.submit(1).accept(1).attempt_ended(1, 1, 1, AttemptEnd::Crashed);
        script.append_settled(1, Outcome::Dead, 1);
        script.fails(super::check, "reasons", "dead after 1");
    }

    #[test]
    fn nobody_cancels_what_nobody_asked_for() {
        let mut script = Script::journal();
        script.submit(1).accept(1).append_settled(1, Outcome::Cancelled, 0);
        script.fails(super::check, "reasons", "nobody asked");
    }

    #[test]
    fn a_cancellation_that_was_asked_for_passes() {
        let mut script = Script::journal();
        script.submit(1).accept(1).push(Event::CancelAsked { client: CLIENT, ask: 1, task: id(1) });
        script.append_settled(1, Outcome::Cancelled, 0);
        script.passes(super::check);
    }

    #[test]
    fn a_task_expires_when_its_time_is_over() {
        let mut script = Script::journal();
        script.options(|options| options.ttl_ms = Some(1_000)).submit(1).accept(1).wait_ms(1_000);
        script.append_settled(1, Outcome::Expired, 0);
        script.passes(super::check);
    }

    #[test]
    fn a_task_does_not_expire_early() {
        let mut script = Script::journal();
        script.options(|options| options.ttl_ms = Some(1_000)).submit(1).accept(1).wait_ms(500);
        script.append_settled(1, Outcome::Expired, 0);
        script.fails(super::check, "reasons", "expired after");
    }

    #[test]
    fn a_task_that_runs_does_not_expire() {
        let mut script = Script::journal();
        script.options(|options| options.ttl_ms = Some(1_000)).submit(1).accept(1).give(1, 1, 1);
        script.start_reported(1, 1, 1).wait_ms(2_000).append_settled(1, Outcome::Expired, 1);
        script.fails(super::check, "reasons", "had been reported");
    }
}
