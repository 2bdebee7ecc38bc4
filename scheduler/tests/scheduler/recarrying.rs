//! A state that was carried more than once, by brokers that did not all live to end it (I10).

use ganger_common::message::Durability;
use ganger_scheduler::{Lsn, Record, RecoveryError, Scheduler};

use crate::support::*;

/// A state of four tasks of which an earlier life carried the first, and this one all.
fn carried_twice(first_ended: bool) -> Desk {
    let mut desk =
        Desk::with(|config| (config.durability, config.carry_tasks_max) = (Durability::Journal, 1));
    let client = desk.client(1);
    desk.submit(client, tasks(1..=4));
    match first_ended {
        true => assert_eq!(desk.carry().len(), 1),
        false => {
            desk.hold_journal();
            assert_eq!(desk.carry(), []);
            desk.journal_all();
            desk.journal_all();
        }
    }
    desk.journals_at_once = true;
    desk.restart();
    let client = desk.client(1);
    assert_eq!(desk.cancel(client, &[1, 3]), []);
    assert_eq!(desk.carry().len(), 1);
    desk.submit(client, tasks(5..=6));
    desk.take();
    desk
}

fn begun(desk: &Desk) -> Vec<usize> {
    let is_begun = |record: &Record| matches!(record, Record::CarryBegun(_));
    let places = desk.journal.iter().enumerate().filter(|(_, (_, record))| is_begun(record));
    places.map(|(place, _)| place).collect()
}

#[test]
fn i10_a_carry_that_its_broker_did_not_live_to_end_does_not_stand_in_the_way_of_a_later_one() {
    let desk = carried_twice(false);
    let places = begun(&desk);
    assert_eq!(places.len(), 2);
    for first in places[0]..=places[1] {
        let mut short = desk.recovered_from(first);
        assert_eq!(
            short.scheduler.remembered()[1..],
            desk.scheduler.remembered()[1..],
            "from record {first}"
        );
        short.take();
    }
}

#[test]
fn i10_a_carry_that_ended_is_whole_whatever_another_after_it_came_to() {
    let desk = carried_twice(true);
    let places = begun(&desk);
    let config = desk.scheduler.config().clone();
    let recover = |records: &[(Lsn, Record)]| {
        let records = records.iter().map(|(lsn, record)| (*lsn, record));
        Scheduler::recover(config.clone(), desk.now, records).map(|scheduler| scheduler.status().parked)
    };
    assert_eq!(recover(&desk.journal[places[0]..=places[1] + 1]), Ok(2), "two of four were cancelled");
    let from = desk.journal[places[1]].0;
    assert_eq!(recover(&desk.journal[places[1]..=places[1] + 1]), Err(RecoveryError::NotWhole { from }));
    let mut short = desk.recovered_from(places[0]);
    assert_eq!(short.scheduler.remembered()[1..], desk.scheduler.remembered()[1..]);
    short.take();
}

#[test]
fn of_two_carries_that_nobody_ended_the_second_is_what_is_missing() {
    let desk = carried_twice(false);
    let places = begun(&desk);
    let records = desk.journal[places[0]..=places[1] + 1].iter().map(|(lsn, record)| (*lsn, record));
    let recovered = Scheduler::recover(desk.scheduler.config().clone(), desk.now, records).map(|_| ());
    assert_eq!(recovered, Err(RecoveryError::NotWhole { from: desk.journal[places[1]].0 }));
}
