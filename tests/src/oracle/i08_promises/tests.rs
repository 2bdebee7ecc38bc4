//! The rule against logs made by hand.

use ganger_common::{AttemptEnd, Outcome, Revision};

use crate::oracle::script::*;
use crate::sim::log::{Fact, Promise};

#[test]
fn promises_after_the_sync_pass() {
    let mut script = Script::journal();
    script.submit(1).accept(1).run_through(1);
    let lease = script.lease(1, 1);
    script.acknowledge(1, lease).promise(Promise::RevisionNamed(Revision(0)));
    script.passes(super::check);
}

#[test]
fn an_acceptance_waits_for_the_sync() {
    let mut script = Script::journal();
    script.submit(1).append_accepted(1).promise(Promise::Accepted(id(1))).sync();
    script.fails(super::check, "I8", "needs record 1");
}

#[test]
fn an_acceptance_has_a_record() {
    let mut script = Script::journal();
    script.submit(1).promise(Promise::Accepted(id(1)));
    script.fails(super::check, "I8", "no record");
}

#[test]
fn an_outcome_waits_for_the_sync() {
    let mut script = Script::journal();
    script.submit(1).accept(1).run(1).append_settled(1, Outcome::Succeeded, 1);
    script.promise_outcome(1, Outcome::Succeeded, 1);
    script.fails(super::check, "I8", "needs record 2");
}

#[test]
fn an_outcome_may_be_told_after_its_task_was_let_go_and_its_id_taken_anew() {
    let mut script = Script::journal();
    script.submit(1).accept(1).settle(1, Outcome::Expired).append(Fact::Forgotten(9, 0)).sync();
    script.append_accepted(1).append_settled(1, Outcome::Expired, 1);
    script.promise_outcome(1, Outcome::Expired, 1);
    script.passes(super::check);
}

#[test]
fn an_end_is_acknowledged_after_the_sync() {
    let mut script = Script::journal();
    script.submit(1).accept(1).give(1, 1, 1).report(1, 1, 1, AttemptEnd::Failed);
    script.attempt_ended(1, 1, 1, AttemptEnd::Failed);
    let lease = script.lease(1, 1);
    script.acknowledge(1, lease);
    script.fails(super::check, "I8", "needs record 2");
}

#[test]
fn a_failure_that_is_acknowledged_and_not_stale_is_on_record() {
    let mut script = Script::journal();
    script.submit(1).accept(1).give(1, 1, 1).report(1, 1, 1, AttemptEnd::Failed);
    let lease = script.lease(1, 1);
    script.acknowledge(1, lease);
    script.fails(super::check, "I8", "no record");
}

#[test]
fn a_failure_of_the_last_life_is_on_record_too() {
    let mut script = Script::journal();
    script.submit(1).accept(1).give(1, 1, 1);
    let lease = script.lease(1, 1);
    script.restart().report_lease(1, lease, AttemptEnd::Failed).acknowledge(1, lease);
    script.fails(super::check, "I8", "no record");
}

#[test]
fn a_failure_of_the_last_life_is_not_stale_while_nobody_else_has_the_task() {
    let mut script = Script::journal();
    script.submit(1).accept(1).give(1, 1, 1);
    let lease = script.lease(1, 1);
    script.restart().report_lease(1, lease, AttemptEnd::Failed).stale(1, lease);
    script.fails(super::check, "I8", "nobody else");
}

#[test]
fn a_failure_of_the_last_life_is_stale_when_another_brought_an_earlier_attempt() {
    let mut script = Script::memory();
    script.submit(1).accept(1).give(1, 1, 1);
    let first = script.lease(1, 1);
    script.attempt_ended(1, 1, 1, AttemptEnd::Lost).give(1, 2, 2);
    let second = script.lease(1, 2);
    script.restart().bring(1, first).accept(1).report_lease(2, second, AttemptEnd::Failed).stale(2, second);
    script.passes(super::check);
}

#[test]
fn a_failure_is_stale_when_its_task_was_cancelled_in_the_turn_in_which_it_came() {
    let mut script = Script::journal();
    script.submit(1).accept(1).give(1, 1, 1);
    let lease = script.lease(1, 1);
    script.restart().report_lease(1, lease, AttemptEnd::Failed);
    script.at_once().append_settled(1, Outcome::Cancelled, 1).stale(1, lease);
    script.passes(super::check);
}

#[test]
fn a_failure_that_changes_nothing_needs_no_record_and_none_of_another_with_its_number() {
    let mut script = Script::journal();
    script.submit(1).accept(1).give(1, 1, 1);
    let old = script.lease(1, 1);
    script.restart().give(1, 2, 1).report(1, 2, 1, AttemptEnd::Failed);
    script.report_lease(1, old, AttemptEnd::Failed).attempt_ended(1, 2, 1, AttemptEnd::Failed);
    script.stale(1, old).acknowledge(1, old);
    script.passes(super::check);
    let new = script.lease(1, 1);
    script.acknowledge(2, new);
    script.fails(super::check, "I8", "needs record");
}

#[test]
fn a_worker_may_bring_the_end_of_an_attempt_whose_number_it_was_given_again_and_never_heard() {
    let mut script = Script::journal();
    script.submit(1).accept(1).give(1, 1, 1);
    let old = script.lease(1, 1);
    script.restart().give(1, 1, 1).restart().report_lease(1, old, AttemptEnd::Failed);
    script.attempt_ended(1, 1, 1, AttemptEnd::Failed).sync().acknowledge(1, old);
    script.passes(super::check);
}

#[test]
fn one_worker_may_have_an_attempt_of_the_same_number_in_two_lives() {
    let mut script = Script::journal();
    script.submit(1).accept(1).give(1, 1, 1);
    let old = script.lease(1, 1);
    script.restart().give(1, 1, 1).report_lease(1, old, AttemptEnd::Failed);
    script.report(1, 1, 1, AttemptEnd::Failed).attempt_ended(1, 1, 1, AttemptEnd::Failed);
    script.stale(1, old).acknowledge(1, old);
    script.passes(super::check);
    let new = script.lease(1, 1);
    script.acknowledge(1, new);
    script.fails(super::check, "I8", "needs record");
}

#[test]
fn a_success_that_settled_its_task_is_acknowledged_after_the_sync() {
    let mut script = Script::journal();
    script.submit(1).accept(1).run(1).append_settled(1, Outcome::Succeeded, 1);
    let lease = script.lease(1, 1);
    script.acknowledge(1, lease);
    script.fails(super::check, "I8", "needs record 2");
}

#[test]
fn a_task_is_not_given_out_before_it_is_safe() {
    let mut script = Script::journal();
    script.submit(1).append_accepted(1).give(1, 1, 1);
    script.fails(super::check, "I8", "is given out");
}

#[test]
fn a_revision_is_named_after_the_sync() {
    let mut script = Script::journal();
    let (topic, key) = ("topic".to_owned(), "key".to_owned());
    script.append(Fact::Knowledge { revision: Revision(1), topic, key, value: None });
    script.promise(Promise::RevisionNamed(Revision(1)));
    script.fails(super::check, "I8", "needs record 1");
}

#[test]
fn a_cancellation_has_a_record() {
    let mut script = Script::journal();
    script.submit(1).accept(1).promise(Promise::Cancelled(id(1)));
    script.fails(super::check, "I8", "no record");
}

#[test]
fn what_was_lost_with_the_disk_is_no_ground_for_a_promise() {
    let mut script = Script::journal();
    script.submit(1).append_accepted(1).lose_and_restart().promise(Promise::Accepted(id(1)));
    script.fails(super::check, "I8", "no record");
}
