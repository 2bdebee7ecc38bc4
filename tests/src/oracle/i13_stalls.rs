//! I13 and I14: a stalled broker kills no live worker, and no jump of the wall clock does.
//!
//! Checks that whenever the broker takes the lease of a lost worker away, this worker could indeed not be
//! heard: its process was dead or stood still, it had no session, or its link was mute, and that for at
//! least the grace, not counting the time in which the broker itself stood still. When a wall clock jumped
//! in between, the loss is reported as I14, otherwise as I13. A broker that was paused for ten seconds and
//! then declares everybody dead runs everything twice.
//!
//! Cannot see: a loss that came a little early. Troubles that follow each other within a heartbeat count as
//! one, and a tolerance is left for what a message takes to arrive. Clients that are given up too early
//! lose nothing but a connection and are not looked at.

use std::collections::BTreeMap;
use std::time::Duration;

use ganger_common::{Attempt, AttemptEnd, Outcome, TaskId, WorkerId};

use super::Violation;
use super::reach::Reach;
use super::view::View;
use crate::sim::Event;
use crate::sim::log::Fact;

/// How much earlier than the grace a loss may come.
const TOLERANCE: Duration = Duration::from_millis(200);

pub(super) fn check(view: &View<'_>, found: &mut Vec<Violation>) {
    let reach = Reach::of(view);
    let mut had: BTreeMap<(TaskId, Attempt), WorkerId> = BTreeMap::new();
    for (line, entry) in view.entries.iter().enumerate() {
        let lost = match &entry.event {
            Event::LeaseGiven { lease, incarnation, .. } | Event::LeaseBrought { lease, incarnation, .. } => {
                had.insert((lease.task, lease.attempt), *incarnation);
                None
            }
            Event::Appended { fact: Fact::AttemptEnded { task, attempt, worker, end }, .. } => {
                // Whoever brought an attempt of this number from an earlier life may not have had it in this.
                had.insert((*task, *attempt), *worker);
                matches!(end, AttemptEnd::Lost | AttemptEnd::Crashed).then_some((*task, *worker))
            }
            Event::Appended { fact: Fact::Settled { task, outcome: Outcome::Dead, attempt, .. }, .. } => {
                had.get(&(*task, *attempt)).map(|worker| (*task, *worker))
            }
            _ => None,
        };
        let Some((task, worker)) = lost else { continue };
        let unheard = reach.unheard(worker, entry.at);
        let silence = view.facts.heartbeat * view.facts.liveness;
        if unheard.span + TOLERANCE < view.facts.grace.min(silence) {
            let name = if unheard.jumped { "I14" } else { "I13" };
            let stalled = if unheard.stalled { "; the broker had stood still" } else { "" };
            let what = format!(
                "worker {worker} is given up after {:?} in which it could not be heard{stalled}",
                unheard.span
            );
            view.report(found, name, task, line, &what);
        }
    }
}

#[cfg(test)]
mod tests {
    use ganger_common::{AttemptEnd, Outcome};

    use crate::oracle::script::*;
    use crate::sim::Event;
    use crate::sim::log::WorkerNo;

    fn given() -> Script {
        let mut script = Script::journal();
        script.worker(1, 1).submit(1).accept(1).give(1, 1, 1);
        script
    }

    #[test]
    fn a_loss_after_the_grace_passes() {
        let mut script = given();
        script.cut(1).wait_ms(2_000).attempt_ended(1, 1, 1, AttemptEnd::Lost);
        script.passes(super::check);
    }

    #[test]
    fn a_killed_worker_may_be_given_up_after_the_silence() {
        let mut script = given();
        let (worker, incarnation) = (WorkerNo(1), incarnation(1));
        script.push(Event::WorkerKilled { worker, incarnation, by_task: None }).wait_ms(3_000);
        script.append_settled(1, Outcome::Dead, 1);
        script.passes(super::check);
    }

    #[test]
    fn a_worker_that_can_be_heard_must_not_be_given_up() {
        let mut script = given();
        script.wait_ms(5_000).attempt_ended(1, 1, 1, AttemptEnd::Crashed);
        script.fails(super::check, "I13", "given up");
    }

    #[test]
    fn a_dead_task_needs_a_lost_worker_too() {
        let mut script = given();
        script.wait_ms(5_000).append_settled(1, Outcome::Dead, 1);
        script.fails(super::check, "I13", "given up");
    }

    #[test]
    fn whoever_brings_an_attempt_that_was_given_to_another_is_not_the_one_who_is_lost() {
        let mut script = given();
        script.worker(2, 1).cut(1).wait_ms(2_000);
        let old = script.lease(1, 1);
        script.bring(2, old).attempt_ended(1, 1, 1, AttemptEnd::Crashed).append_settled(1, Outcome::Dead, 1);
        script.passes(super::check);
    }

    #[test]
    fn the_brokers_own_stall_does_not_count() {
        let mut script = given();
        let life = script.life();
        script.cut(1).push(Event::BrokerPaused { life }).wait_ms(10_000).push(Event::BrokerResumed { life });
        script.attempt_ended(1, 1, 1, AttemptEnd::Lost);
        script.fails(super::check, "I13", "had stood still");
    }

    #[test]
    fn what_was_said_while_the_broker_stood_still_may_be_lost_with_the_connection() {
        let mut script = given();
        let life = script.life();
        script.push(Event::BrokerPaused { life }).wait_ms(500).cut(1).wait_ms(200);
        script.push(Event::BrokerResumed { life }).wait_ms(1_400).attempt_ended(1, 1, 1, AttemptEnd::Lost);
        script.passes(super::check);
    }

    #[test]
    fn the_wall_clock_does_not_count() {
        let mut script = given();
        let life = script.life();
        script.cut(1).push(Event::WallJumped { life, by_ms: 3_600_000 }).wait_ms(100);
        script.attempt_ended(1, 1, 1, AttemptEnd::Lost);
        script.fails(super::check, "I14", "given up");
    }

    #[test]
    fn several_troubles_in_a_row_are_one() {
        let mut script = given();
        script.cut(1).wait_ms(1_500).connect(1).wait_ms(100).cut(1).wait_ms(1_000);
        script.attempt_ended(1, 1, 1, AttemptEnd::Lost);
        script.passes(super::check);
    }
}
