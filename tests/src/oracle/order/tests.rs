use ganger_common::AttemptEnd;

use crate::oracle::script::*;

fn begun() -> Script {
    let mut script = Script::journal();
    script.wait_ms(6_000).submit(1).submit(2).submit(3).append_accepted(1).sync();
    script
}

#[test]
fn first_come_first_served_passes() {
    let mut script = begun();
    script.append_accepted(2).sync().append_accepted(3).sync().give(1, 1, 1).give(2, 2, 1).give(3, 1, 1);
    script.passes(super::check);
}

#[test]
fn a_task_that_lost_its_worker_goes_first() {
    let mut script = begun();
    script.append_accepted(2).sync().append_accepted(3).sync().give(1, 1, 1).give(2, 2, 1);
    script.attempt_ended(1, 1, 1, AttemptEnd::Lost).give(3, 2, 1).give(1, 2, 2);
    script.fails(super::check, "order", "came back");
}

#[test]
fn a_task_that_lost_its_worker_and_goes_first_passes() {
    let mut script = begun();
    script.append_accepted(2).sync().append_accepted(3).sync().give(1, 1, 1).give(2, 2, 1);
    script.attempt_ended(1, 1, 1, AttemptEnd::Lost).give(1, 2, 2).give(3, 2, 1);
    script.passes(super::check);
}

#[test]
fn the_older_goes_first() {
    let mut script = begun();
    script.append_accepted(2).sync().give(2, 1, 1);
    script.fails(super::check, "order", "goes first");
}

#[test]
fn the_higher_priority_goes_first() {
    let mut script = begun();
    script.options(|options| options.priority = 5).submit(4).append_accepted(4).sync().give(1, 1, 1);
    script.fails(super::check, "order", "goes first");
}

/// Client 0 has three tasks waiting, client 1 has one.
fn with_a_neighbour() -> Script {
    let mut script = begun();
    script.submit(4).append_accepted(2).append_accepted(3).append_accepted_of(1, 4).sync();
    script
}

#[test]
fn clients_that_take_turns_pass() {
    let mut script = with_a_neighbour();
    script.give(1, 1, 1).give(4, 2, 1).give(2, 1, 1).give(3, 1, 1);
    script.passes(super::check);
}

#[test]
fn no_client_has_two_turns_while_another_waits() {
    let mut script = with_a_neighbour();
    script.give(1, 1, 1).give(2, 1, 1).give(4, 2, 1);
    script.fails(super::check, "order", "second turn");
}

#[test]
fn a_client_that_has_come_after_the_first_turn_waits_for_one_more() {
    let mut script = begun();
    script.append_accepted(2).append_accepted(3).sync().give(1, 1, 1).submit(4);
    script.append_accepted_of(1, 4).sync().give(2, 1, 1).give(4, 2, 1).give(3, 1, 1);
    script.passes(super::check);
}

#[test]
fn a_client_of_lower_priority_waits_for_all_above_it() {
    let mut script = begun();
    script.options(|options| options.priority = -1).submit(4);
    script.append_accepted(2).append_accepted(3).append_accepted_of(1, 4).sync();
    script.give(1, 1, 1).give(2, 1, 1).give(3, 1, 1).give(4, 1, 1);
    script.passes(super::check);
}

#[test]
fn what_waits_for_something_else_is_not_passed_by() {
    let mut script = begun();
    script.options(|options| (options.priority, options.delay_ms) = (5, 1_000)).submit(4);
    script.append_accepted(4).sync().give(1, 1, 1);
    script.passes(super::check);
}
