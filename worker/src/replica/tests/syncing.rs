use ganger_common::ErrorCode;

use super::*;

#[test]
fn changes_in_order_are_applied_as_they_come() {
    let mut rig = Rig::following();
    for revision in 1..=12 {
        rig.publish(revision);
        assert_eq!(rig.revision(), revision);
    }
    assert_eq!(rig.effects(), [""; 0]);
    assert_eq!(rig.value("k2").as_deref(), Some("v12"));
    assert_eq!(rig.knowledge.len(), 10);
}

#[test]
fn a_removed_key_is_gone() {
    let mut rig = Rig::following();
    rig.publish(1);
    let removal = Change { value: None, key: "k1".to_owned(), ..change(2) };
    rig.replica.on_publication(rig.now, Publication::Change { epoch: Epoch(1), change: removal });
    assert_eq!((rig.value("k1"), rig.revision()), (None, 2));
}

#[test]
fn a_gap_is_asked_for_at_once_and_what_came_early_is_not_lost() {
    let mut rig = Rig::following();
    rig.publish(1);
    rig.publish(4);
    rig.publish(5);
    assert_eq!(rig.effects(), ["1: since 1"]);
    assert_eq!(rig.revision(), 1);
    rig.changes(1, 5, 2..=3);
    assert_eq!(rig.revision(), 5);
    assert_eq!(rig.effects(), [""; 0]);
}

#[test]
fn what_came_twice_changes_nothing() {
    let mut rig = Rig::following();
    rig.publish(1);
    rig.publish(2);
    rig.publish(1);
    rig.changes(1, 2, 1..=2);
    assert_eq!(rig.revision(), 2);
    assert_eq!(rig.effects(), [""; 0]);
}

#[test]
fn a_long_gap_is_closed_page_by_page() {
    let mut rig = Rig::following();
    rig.publish(2_500);
    assert_eq!(rig.effects(), ["1: since 0"]);
    rig.changes(1, 2_500, 1..=1_000);
    assert_eq!(rig.effects(), ["2: since 1000"]);
    rig.changes(2, 2_500, 1_001..=2_000);
    assert_eq!(rig.effects(), ["3: since 2000"]);
    rig.changes(3, 2_600, 2_001..=2_600);
    assert_eq!((rig.revision(), rig.effects()), (2_600, vec![]));
}

#[test]
fn early_changes_are_bounded_and_the_rest_is_asked_for() {
    let mut rig = Rig::following();
    for revision in 2..=5_000 {
        rig.publish(revision);
    }
    assert_eq!(rig.replica.early.len(), EARLY_MAX);
    assert_eq!(rig.effects(), ["1: since 0"]);
    rig.changes(1, 5_000, 1..=1_000);
    assert_eq!(rig.revision(), 1 + EARLY_MAX as u64);
    assert_eq!(rig.effects(), [format!("2: since {}", 1 + EARLY_MAX)]);
}

#[test]
fn a_newer_revision_that_is_only_heard_of_is_asked_for_soon() {
    let mut rig = Rig::following();
    rig.replica.on_newest(rig.now, Revision(1));
    rig.pass(Duration::from_millis(49));
    assert_eq!(rig.effects(), [""; 0]);
    rig.pass(Duration::from_millis(1));
    assert_eq!(rig.effects(), ["1: since 0"]);
}

#[test]
fn a_change_that_was_on_its_way_is_not_asked_for() {
    let mut rig = Rig::following();
    rig.replica.on_newest(rig.now, Revision(1));
    rig.publish(1);
    rig.pass(Duration::from_secs(60));
    assert_eq!(rig.effects(), [""; 0]);
}

#[test]
fn a_beat_on_the_knowledge_socket_shows_a_gap_too() {
    let mut rig = Rig::following();
    let beat = Publication::Beat { epoch: Epoch(1), revision: Revision(3) };
    rig.replica.on_publication(rig.now, beat);
    rig.pass(Duration::from_millis(50));
    assert_eq!(rig.effects(), ["1: since 0"]);
}

#[test]
fn a_late_joiner_fetches_a_snapshot_and_then_what_changed_meanwhile() {
    let mut rig = Rig::new();
    rig.attach(1, 12, None);
    assert_eq!(rig.effects(), ["1: list"]);
    rig.page(1, 12, &[10, 11], true);
    assert_eq!((rig.revision(), rig.effects()), (0, vec!["2: list after t/k1".to_owned()]));
    rig.publish(13);
    rig.publish(14);
    rig.page(2, 14, &[12, 13, 14], false);
    assert_eq!((rig.revision(), rig.effects()), (14, vec![]));
    assert_eq!(rig.value("k4").as_deref(), Some("v14"));
}

#[test]
fn what_a_late_page_brought_is_not_set_back_by_older_changes() {
    let mut rig = Rig::new();
    rig.attach(1, 1, None);
    rig.effects();
    rig.page(1, 1, &[1], true);
    rig.effects();
    rig.page(2, 12, &[12], false);
    assert_eq!(rig.revision(), 1);
    assert_eq!(rig.effects(), ["3: since 1"]);
    let older = Change { key: "k2".to_owned(), ..change(2) };
    let answer = Answer::Changes { newest: Revision(12), changes: vec![older] };
    rig.replica.on_answer(rig.now, 3, answer);
    assert_eq!((rig.revision(), rig.value("k2").as_deref()), (2, Some("v12")));
}

#[test]
fn history_that_is_gone_leads_to_a_snapshot_that_also_removes() {
    let mut rig = Rig::following();
    rig.publish(1);
    rig.publish(2);
    rig.replica.on_newest(rig.now, Revision(500));
    rig.pass(Duration::from_millis(50));
    assert_eq!(rig.effects(), ["1: since 2"]);
    rig.replica.on_refused(rig.now, 1, ErrorCode::HistoryGone, None);
    assert_eq!(rig.effects(), ["2: list"]);
    assert_eq!(rig.revision(), 2, "it never goes back");
    rig.page(2, 500, &[2, 500], false);
    assert_eq!((rig.revision(), rig.value("k1")), (500, None));
    assert_eq!(rig.knowledge.topic("t").len(), 2);
}

#[test]
fn another_epoch_is_another_map() {
    let mut rig = Rig::following();
    for revision in 1..=5 {
        rig.publish(revision);
    }
    rig.replica.on_detached();
    rig.attach(2, 1, None);
    assert_eq!((rig.revision(), rig.effects()), (0, vec!["1: list".to_owned()]));
    assert_eq!(rig.value("k5").as_deref(), Some("v5"), "the old map serves until the new one is there");
    rig.publish(6);
    rig.page(1, 1, &[1], false);
    assert_eq!((rig.revision(), rig.knowledge.len()), (1, 1));
}

#[test]
fn the_same_epoch_goes_on_where_it_was() {
    let mut rig = Rig::following();
    rig.publish(1);
    rig.replica.on_detached();
    rig.attach(1, 3, None);
    assert_eq!((rig.revision(), rig.effects()), (1, vec!["1: since 1".to_owned()]));
}

#[test]
fn a_question_without_an_answer_is_asked_again() {
    let mut rig = Rig::following();
    rig.publish(3);
    assert_eq!(rig.effects(), ["1: since 0"]);
    rig.pass(Duration::from_secs(5));
    assert_eq!(rig.effects(), ["2: since 0"]);
    rig.changes(1, 3, 1..=2);
    assert_eq!(rig.revision(), 0, "an answer to the old question");
    rig.changes(2, 3, 1..=2);
    assert_eq!(rig.revision(), 3);
}

#[test]
fn an_answer_that_does_not_help_is_not_asked_for_without_pause() {
    let mut rig = Rig::following();
    rig.publish(3);
    rig.effects();
    rig.changes(1, 3, 2..=2);
    assert_eq!(rig.effects(), [""; 0]);
    rig.pass(Duration::from_millis(500));
    assert_eq!(rig.effects(), ["2: since 0"]);
}

#[test]
fn a_busy_broker_is_asked_again_when_it_says() {
    let mut rig = Rig::new();
    rig.attach(1, 3, None);
    rig.effects();
    rig.replica.on_refused(rig.now, 1, ErrorCode::Busy, Some(Duration::from_millis(70)));
    rig.pass(Duration::from_millis(69));
    assert_eq!(rig.effects(), [""; 0]);
    rig.pass(Duration::from_millis(1));
    assert_eq!(rig.effects(), ["2: list"]);
}

#[test]
fn without_the_right_to_read_nothing_more_is_asked() {
    let mut rig = Rig::new();
    rig.attach(1, 3, None);
    rig.effects();
    rig.replica.on_refused(rig.now, 1, ErrorCode::Denied, None);
    rig.replica.on_newest(rig.now, Revision(9));
    rig.pass(Duration::from_secs(60));
    assert_eq!(rig.effects(), [""; 0]);
}

#[test]
fn a_snapshot_that_a_lost_connection_broke_off_is_begun_again() {
    let mut rig = Rig::following();
    rig.publish(1);
    // A new life of the broker, whose map never had that key; the connection breaks before the answer.
    rig.attach(2, 0, None);
    assert_eq!(rig.effects(), ["1: list"]);
    rig.replica.on_detached();
    // What is published meanwhile follows on a map that is not there.
    let change = Change { revision: Revision(1), ..change(2) };
    let publication = Publication::Change { epoch: Epoch(2), change };
    rig.replica.on_publication(rig.now, publication);
    assert_eq!(rig.revision(), 0);
    rig.attach(2, 0, None);
    assert_eq!(rig.effects(), ["2: list"]);
    rig.page(2, 0, &[], false);
    assert_eq!((rig.value("k1"), rig.revision()), (None, 0), "nothing of the last life is left");
    // From now on a new connection of the same life needs no snapshot.
    rig.replica.on_detached();
    rig.attach(2, 0, None);
    assert_eq!(rig.effects(), [""; 0]);
}

/// Only a hostile broker names it, and it must not do more harm than to its own knowledge.
#[test]
fn the_last_revision_of_all_is_survived() {
    let mut rig = Rig::following();
    rig.publish(u64::MAX);
    assert_eq!(rig.effects(), ["1: since 0"]);
    rig.replica.on_refused(rig.now, 1, ErrorCode::HistoryGone, None);
    assert_eq!(rig.effects(), ["2: list"]);
    rig.page(2, u64::MAX, &[u64::MAX], false);
    assert_eq!(rig.revision(), u64::MAX);
    rig.publish(u64::MAX);
    rig.publish(1);
    assert_eq!((rig.revision(), rig.effects()), (u64::MAX, vec![]));
}
