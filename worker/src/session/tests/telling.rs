use super::*;
use crate::replica::{Change, Publication};

fn with_events(rig: &mut Rig) -> Ticket {
    rig.tasks_with(&[1], "a", &DispatchDetail { events: true, ..DispatchDetail::default() });
    let ticket = rig.take_some();
    rig.effects();
    ticket
}

#[test]
fn progress_is_told_now_and_then_and_the_newest_word_wins() {
    let mut rig = Rig::open(1);
    let ticket = with_events(&mut rig);
    for percent in 0..10_u8 {
        rig.session.progress(rig.now, ticket, Some(f32::from(percent) / 10.0), String::new());
    }
    assert_eq!(rig.effects(), ["progress 1 Some(0.0) "]);
    rig.pass(PROGRESS_INTERVAL);
    assert_eq!(rig.effects(), ["progress 1 Some(0.9) "]);
    rig.pass(PROGRESS_INTERVAL);
    assert_eq!(rig.effects(), [""; 0]);
}

#[test]
fn progress_that_nobody_asked_for_is_not_told() {
    let mut rig = Rig::open(1);
    rig.tasks(&[1]);
    let ticket = rig.take_some();
    rig.effects();
    rig.session.progress(rig.now, ticket, None, "x".to_owned());
    assert!(!rig.session.partial(ticket, &Bytes::from_static(b"x")));
    assert_eq!(rig.effects(), [""; 0]);
}

#[test]
fn nonsense_fractions_do_not_reach_the_broker() {
    let mut rig = Rig::open(1);
    let ticket = with_events(&mut rig);
    rig.session.progress(rig.now, ticket, Some(f32::NAN), "x".to_owned());
    assert_eq!(rig.effects(), ["progress 1 None x"]);
}

#[test]
fn parts_are_numbered_and_come_before_the_end() {
    let mut rig = Rig::open(1);
    let ticket = with_events(&mut rig);
    assert!(rig.session.partial(ticket, &Bytes::from_static(b"x")));
    assert!(rig.session.partial(ticket, &Bytes::from_static(b"yy")));
    rig.finish(ticket, ok());
    assert_eq!(
        rig.effects(),
        ["partial 1 0 Blob(1 bytes)", "partial 1 1 Blob(2 bytes)", "report 1 1:succeeded",]
    );
}

#[test]
fn parts_that_nobody_sends_on_are_bounded() {
    let mut rig = Rig::open(1);
    let ticket = with_events(&mut rig);
    let part = Bytes::from(vec![0; PARTIAL_BYTES_MAX / 4]);
    let taken = (0..10).filter(|_| rig.session.partial(ticket, &part)).count();
    assert_eq!(taken, 3);
    assert_eq!(rig.effects().len(), 3);
    assert!(rig.session.partial(ticket, &part));
}

#[test]
fn nothing_is_told_after_the_connection_is_lost() {
    let mut rig = Rig::open(1);
    let ticket = with_events(&mut rig);
    rig.session.partial(ticket, &Bytes::from_static(b"x"));
    rig.session.progress(rig.now, ticket, None, "a".to_owned());
    rig.session.progress(rig.now, ticket, None, "b".to_owned());
    rig.lose_connection();
    assert!(!rig.session.partial(ticket, &Bytes::from_static(b"x")));
}

#[test]
fn a_new_revision_is_told_soon_but_not_for_every_change() {
    let mut rig = Rig::open(1);
    let change = |revision| Publication::Change {
        epoch: Epoch(1),
        change: Change {
            revision: Revision(revision),
            topic: "t".to_owned(),
            key: "k".to_owned(),
            value: Some(Bytes::new()),
        },
    };
    rig.pass(Duration::from_millis(100));
    for revision in 1..=5 {
        rig.input(Input::Publication(change(revision)));
    }
    rig.pass(Duration::ZERO);
    assert_eq!(rig.effects(), ["heartbeat mark=0 revision=5"]);
    rig.input(Input::Publication(change(6)));
    rig.pass(REVISION_INTERVAL - Duration::from_micros(1));
    assert_eq!(rig.effects(), [""; 0]);
    rig.pass(Duration::from_micros(1));
    assert_eq!(rig.effects(), ["heartbeat mark=0 revision=6"]);
    rig.pass(Duration::from_millis(999));
    assert_eq!(rig.effects(), [""; 0]);
}

#[test]
fn a_revision_that_is_heard_of_is_asked_for() {
    let mut rig = Rig::open(1);
    rig.beat(1, 4);
    rig.pass(Duration::from_millis(50));
    assert_eq!(rig.effects(), ["knowledge 1 Since { revision: Revision(0) }"]);
}
