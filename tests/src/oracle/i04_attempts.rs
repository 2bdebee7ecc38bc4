//! I4: the attempts of a task are 1, 2, 3 … and never two of its leases live at once.
//!
//! Checks that no lease is given out twice, in no two lives of the broker; that within a life each attempt
//! is numbered one more than the one before, or than one that a worker brought from an earlier life; and
//! that a lease is given out only when the one before it is over: its worker has reported its end or left,
//! its end is on record, it was taken back, or the broker's life in which it was granted is over and its
//! worker has not brought it. The number is the fencing token of whoever writes results elsewhere, so it must
//! never stand for two runs.
//!
//! Cannot see: when exactly a lease ends that was lost with a connection before it started. From the moment
//! at which its worker has a new connection and has not named it, it counts as doubtful, not as live.

use ganger_common::{AttemptEnd, Epoch, TaskId, WorkerId};

use super::Violation;
use super::view::{Step, Story, View};
use crate::sim::Event;
use crate::sim::log::{Fact, LeaseId, Peer, WorkerNo};

const NAME: &str = "I4";

/// What is known of the leases of one task.
#[derive(Default)]
struct Leases {
    /// The newest that was given out.
    newest: Option<LeaseId>,
    /// The highest number that a worker brought, or a record has.
    known: u32,
    live: Option<Live>,
    settled: bool,
}

#[derive(Clone, Copy)]
struct Live {
    lease: LeaseId,
    worker: WorkerNo,
    incarnation: WorkerId,
    since: usize,
}

pub(super) fn check(view: &View<'_>, found: &mut Vec<Violation>) {
    let moves = Moves::of(view);
    for (task, story) in view.stories() {
        follow(view, found, &moves, task, story);
    }
}

fn follow(view: &View<'_>, found: &mut Vec<Violation>, moves: &Moves, task: TaskId, story: &Story<'_>) {
    let mut leases = Leases::default();
    for step in view.steps(story) {
        match step {
            Step::Life(_) => leases.live = None,
            Step::Forgotten => leases = Leases::default(),
            Step::Line(line, event) => {
                if let Event::LeaseGiven { lease, worker, incarnation, .. } = event {
                    if let Some(what) = leases.objection(moves, line, *lease) {
                        view.report(found, NAME, task, line, &what);
                    }
                    leases.newest = leases.newest.max(Some(*lease));
                    let (worker, incarnation) = (*worker, *incarnation);
                    leases.live = Some(Live { lease: *lease, worker, incarnation, since: line });
                } else {
                    let epoch = view.life_at(line).map_or(Epoch(0), |life| life.epoch);
                    leases.note(epoch, line, event);
                }
            }
        }
    }
}

impl Leases {
    /// What speaks against giving out this lease now.
    fn objection(&self, moves: &Moves, line: usize, lease: LeaseId) -> Option<String> {
        if let Some(newest) = self.newest {
            if lease <= newest {
                return Some(format!("{lease:?} is given out after {newest:?}"));
            }
            let expected = newest.attempt.0.max(self.known) + 1;
            let follows = lease.attempt.0 == newest.attempt.0 + 1 || lease.attempt.0 == expected;
            if lease.epoch == newest.epoch && !follows {
                return Some(format!("attempt {} follows attempt {}", lease.attempt, newest.attempt));
            }
        }
        let live = self.live?;
        let is_doubtful =
            moves.reconnected(live.worker, live.since, line) || moves.left(live.incarnation, line);
        (!is_doubtful).then(|| format!("{lease:?} is given out while {:?} is live", live.lease))
    }

    fn note(&mut self, epoch: Epoch, line: usize, event: &Event) {
        let ends = |lease: LeaseId| self.live.is_some_and(|live| live.lease == lease);
        match event {
            Event::LeaseBrought { lease, worker, incarnation, .. } => {
                let is_newer = lease.attempt.0 > self.known;
                let is_old = lease.epoch != epoch;
                if ends(*lease) || (is_old && is_newer && self.live.is_none() && !self.settled) {
                    let (worker, incarnation) = (*worker, *incarnation);
                    self.live = Some(Live { lease: *lease, worker, incarnation, since: line });
                }
                self.known = self.known.max(if is_old { lease.attempt.0 } else { 0 });
            }
            Event::EndReported { lease, .. } | Event::EndStale { lease, .. } if ends(*lease) => {
                self.live = None;
            }
            Event::CancelSent { lease, .. } if ends(*lease) => self.live = None,
            Event::Appended { fact: Fact::AttemptEnded { attempt, end, .. }, .. } => {
                self.known = self.known.max(attempt.0);
                // A verdict on a lease is its end; a lease that is newer goes on.
                let covers = |live: Live| live.lease.attempt <= *attempt;
                if self.live.is_some_and(covers) && *end != AttemptEnd::Returned {
                    self.live = None;
                }
            }
            Event::Appended { fact: Fact::Settled { .. }, .. } => {
                self.live = None;
                self.settled = true;
            }
            Event::Appended { fact: Fact::Retried(_), .. } => self.settled = false,
            _ => {}
        }
    }
}

/// When workers came anew, and when they left.
struct Moves {
    connected: Vec<(usize, WorkerNo)>,
    left: Vec<(usize, WorkerId)>,
}

impl Moves {
    fn of(view: &View<'_>) -> Self {
        let mut moves = Self { connected: Vec::new(), left: Vec::new() };
        for (line, entry) in view.entries.iter().enumerate() {
            match &entry.event {
                // Either may come after the lease: the connection, or the answer to the hello on it.
                Event::Connected { peer: Peer::Worker(worker), .. }
                | Event::Joined { peer: Peer::Worker(worker), .. } => moves.connected.push((line, *worker)),
                Event::WorkerLeft { incarnation, .. } => moves.left.push((line, *incarnation)),
                _ => {}
            }
        }
        moves
    }

    fn reconnected(&self, worker: WorkerNo, since: usize, until: usize) -> bool {
        self.connected.iter().any(|(line, who)| *who == worker && (since..until).contains(line))
    }

    fn left(&self, incarnation: WorkerId, until: usize) -> bool {
        self.left.iter().any(|(line, who)| *who == incarnation && *line < until)
    }
}

#[cfg(test)]
mod tests {
    use ganger_common::{AttemptEnd, Outcome};

    use crate::oracle::script::*;

    #[test]
    fn one_attempt_after_the_other_passes() {
        let mut script = Script::journal();
        script.worker(1, 1).worker(2, 1).submit(1).accept(1);
        script.give(1, 1, 1).attempt_ended(1, 1, 1, AttemptEnd::Lost);
        script.give(1, 2, 2).report(1, 2, 2, AttemptEnd::Returned).give(1, 1, 3);
        script.passes(super::check);
    }

    #[test]
    fn the_same_lease_is_never_given_out_twice() {
        let mut script = Script::journal();
        script.submit(1).accept(1).give(1, 1, 1).report(1, 1, 1, AttemptEnd::Returned).give(1, 2, 1);
        script.fails(super::check, "I4", "after");
    }

    #[test]
    fn no_number_is_left_out() {
        let mut script = Script::journal();
        script.submit(1).accept(1).give(1, 1, 1).report(1, 1, 1, AttemptEnd::Returned).give(1, 2, 3);
        script.fails(super::check, "I4", "follows");
    }

    #[test]
    fn two_leases_are_never_live_at_once() {
        let mut script = Script::journal();
        script.worker(1, 1).submit(1).accept(1).give(1, 1, 1).give(1, 2, 2);
        script.fails(super::check, "I4", "is live");
    }

    #[test]
    fn a_late_end_of_an_old_lease_does_not_end_the_new_one() {
        let mut script = Script::journal();
        script.worker(1, 1).submit(1).accept(1).give(1, 1, 1).attempt_ended(1, 1, 1, AttemptEnd::Lost);
        script.give(1, 2, 2).report(1, 1, 1, AttemptEnd::Failed).give(1, 3, 3);
        script.fails(super::check, "I4", "is live");
    }

    #[test]
    fn what_was_lost_with_a_connection_may_be_given_out_again() {
        let mut script = Script::journal();
        script.worker(1, 1).submit(1).accept(1).give(1, 1, 1).cut(1).connect(1).wait_ms(2_000);
        script.give(1, 2, 2);
        script.passes(super::check);
    }

    #[test]
    fn a_lease_that_was_brought_over_a_restart_is_live() {
        let mut script = Script::journal();
        script.worker(1, 1).submit(1).accept(1).give(1, 1, 1);
        let lease = script.lease(1, 1);
        script.restart().connect(1).bring(1, lease).give(1, 2, 2);
        script.fails(super::check, "I4", "is live");
    }

    #[test]
    fn a_settled_task_has_no_live_lease() {
        let mut script = Script::journal();
        script.submit(1).accept(1).run(1).settle(1, Outcome::Failed);
        script.append(crate::sim::log::Fact::Retried(id(1))).give(1, 1, 2);
        script.passes(super::check);
    }
}
